"""Quality of the small synthetic region: what was found in made-up files of its institutions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
from console_world import base_pack, institution_rows

from kangshu.app.platform import Platform
from kangshu.declarations import Dataset, Scope
from kangshu.intake import Examined, Finding, Share
from kangshu.quality.operations import record_file
from kangshu.quality.plausibility import add_months

FEBRUARY = date(2026, 2, 1)
JANUARY = date(2026, 1, 1)
DATASETS = (
    "front_page",
    "outpatient_visit",
    "diagnosis",
    "prescription_item",
    "charge_item",
    "lab_report",
    "lab_result",
    "exam_report",
    "immunization",
)


async def fill(platform: Platform, *, months: Sequence[date] = (JANUARY, FEBRUARY), each: int = 2) -> None:
    """Record files of most institutions and data sets, some with many errors, some late, some missing."""
    chance = np.random.default_rng(4)
    number = 1000
    async with platform.database.transaction() as connection:
        for month in months:
            for institution in institution_rows(each):
                for name in DATASETS:
                    number += 1
                    if chance.random() < 0.15:
                        continue
                    dataset = base_pack().datasets[name]
                    arrived = add_months(month, 1) + timedelta(days=int(chance.integers(1, 15)))
                    await record_file(
                        connection,
                        file=number,
                        dataset=dataset,
                        examined=_examined(dataset, institution["institution_code"], month, chance),
                        received_at=datetime(arrived.year, arrived.month, arrived.day, 3).astimezone(),
                    )


def _examined(dataset: Dataset, institution: str, month: date, chance: Any) -> Examined:
    rows = int(chance.integers(100, 3000))
    rules = [rule for rule in dataset.rules if rule.scope is Scope.ROW and rule.fields]
    found: list[Finding] = []
    for place in chance.choice(len(rules), size=min(6, len(rules)), replace=False):
        hit = chance.integers(2, rows + 2, size=int(rows * chance.random() ** 3 * 0.4))
        if len(hit):
            found.append(
                Finding(
                    rule=rules[place].id,
                    field=rules[place].fields[0],
                    severity=rules[place].severity,
                    institution=institution,
                    month=month,
                    rows=np.unique(hit.astype(np.int64)),
                )
            )
    wrong = [one.rows for one in found if one.severity == "error"]
    rejected = len(np.unique(np.concatenate(wrong))) if wrong else 0
    share = Share(institution=institution, month=month, rows=rows, rejected=rejected)
    return Examined(shares=(share,), findings=tuple(found), filled={})
