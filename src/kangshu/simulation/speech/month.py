"""What happened at one institution in a month, as rows that belong together, out of the world's blocks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from kangshu.declarations import Pack
from kangshu.simulation.blocks import Block, person_columns
from kangshu.simulation.columns import moment, picked, text
from kangshu.simulation.laboratory import stay_numbers
from kangshu.simulation.speech.speakers import MESSAGE_DATASETS
from kangshu.simulation.streams import Ints
from kangshu.simulation.visits import DAY, month_days
from kangshu.simulation.world import World, month_blocks

Row = Mapping[str, Any]
PERSON = "_person"
"""The true person in a row."""

_FIRST = datetime(1970, 1, 1)  # noqa: DTZ001 - local time without zone throughout


@dataclass(kw_only=True)
class Visit:
    """An outpatient visit with its diagnoses and prescriptions."""

    row: Row
    diagnoses: list[Row] = field(default_factory=list[Row])
    prescriptions: list[list[Row]] = field(default_factory=list[list[Row]])


@dataclass(kw_only=True)
class Stay:
    """A stay that begins, goes on or ends in the month; `row` has both its times.

    Diagnoses and prescriptions are those of the discharge, none where that lies outside the month.
    """

    row: Row
    diagnoses: list[Row] = field(default_factory=list[Row])
    prescriptions: list[list[Row]] = field(default_factory=list[list[Row]])


@dataclass(kw_only=True)
class Report:
    """A laboratory report with its results."""

    row: Row
    results: list[Row] = field(default_factory=list[Row])


@dataclass(kw_only=True)
class Month:
    """All that happened at one institution, in order of time; `first` and `after` bound it in seconds."""

    institution: int
    code: str
    name: str
    first: int
    after: int
    visits: list[Visit]
    stays: list[Stay]
    reports: list[Report]
    examinations: list[Row]
    immunizations: list[Row]
    departments: Mapping[str, str]
    """Titles of departments by their code."""

    def within(self, at: int) -> bool:
        """Whether a time lies in the month."""
        return self.first <= at < self.after

    def encounters(self) -> dict[str, Visit | Stay]:
        """Return visits and stays by their number."""
        return {one.row["visit_number"]: one for one in (*self.visits, *self.stays)}


def seconds(value: datetime) -> int:
    """Return a time of a row in seconds since 1970."""
    return int((value - _FIRST).total_seconds())


def when(at: int) -> datetime:
    """Return seconds since 1970 as a time of a row."""
    return _FIRST + timedelta(seconds=int(at))


def collect_months(world: World, *, month: int, institutions: Iterable[int], pack: Pack) -> list[Month]:
    """Return what happened in the month number `month`, for each of the institutions.

    Only what has a place in the data sets of `pack` is told of.
    """
    numbers = list(institutions)
    wanted = MESSAGE_DATASETS & pack.datasets.keys()
    titles = {one.code: one.title.zh for one in pack.codes["department"].codes} if wanted else {}
    rows: defaultdict[tuple[str, int], list[Row]] = defaultdict(list)
    for block in month_blocks(world, month, wanted):
        for row in _rows(block, np.isin(block.institutions, numbers)):
            rows[block.dataset, row["_institution"]].append(row)
    stays: defaultdict[int, list[Row]] = defaultdict(list)
    if "diagnosis" in wanted:
        for row in _stay_rows(world, month, numbers):
            stays[row["_institution"]].append(row)
    return [
        _month(
            world,
            number,
            month,
            {name: rows[name, number] for name in MESSAGE_DATASETS},
            stays[number],
            departments=titles,
        )
        for number in numbers
    ]


def _month(
    world: World,
    number: int,
    month: int,
    rows: Mapping[str, list[Row]],
    stays: list[Row],
    *,
    departments: Mapping[str, str],
) -> Month:
    diagnoses, drugs = _by(rows["diagnosis"], "visit_number"), _by(rows["prescription_item"], "visit_number")
    results = _by(rows["lab_result"], "report_number")

    def prescriptions(row: Row) -> list[list[Row]]:
        return list(_by(drugs.get(row["visit_number"], []), "prescription_number").values())

    first, after = month_days(world.start, month)
    return Month(
        institution=number,
        code=world.region.institutions.codes[number],
        name=world.region.institutions.names[number],
        first=first * DAY,
        after=after * DAY,
        visits=[
            Visit(row=row, diagnoses=diagnoses.get(row["visit_number"], []), prescriptions=prescriptions(row))
            for row in rows["outpatient_visit"]
        ],
        stays=[
            Stay(row=row, diagnoses=diagnoses.get(row["visit_number"], []), prescriptions=prescriptions(row))
            for row in stays
        ],
        reports=[
            Report(row=row, results=results.get(row["report_number"], [])) for row in rows["lab_report"]
        ],
        examinations=rows["exam_report"],
        immunizations=rows["immunization"],
        departments=departments,
    )


def _by(rows: Iterable[Row], column: str) -> dict[str, list[Row]]:
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row[column]].append(row)
    return dict(found)


def _rows(block: Block, where: Ints) -> list[Row]:
    chosen = np.flatnonzero(where)
    taken = block.taken(chosen)
    table = pa.table({**taken.columns, PERSON: taken.persons, "_institution": taken.institutions})
    return table.to_pylist()


def _stay_rows(world: World, month: int, numbers: list[int]) -> list[Row]:
    """Return the stays of the month with both times, where the patient lay and why he came."""
    first, after = month_days(world.start, month)
    stays = world.stays
    near = (stays.admitted < after * DAY) & (stays.discharged >= first * DAY)
    stays = stays.taken(np.flatnonzero(near & np.isin(stays.institution, numbers)))
    departments = text(world.clinic.departments)
    columns = person_columns(
        world.population,
        world.region,
        institutions=stays.institution,
        persons=stays.person,
        days=stays.admitted // DAY,
    ) | {
        "visit_number": stay_numbers(stays),
        "admitted_at": moment(stays.admitted),
        "discharged_at": moment(stays.discharged),
        "department_code": picked(departments, stays.department),
        "discharge_department": picked(departments, stays.discharge_department),
        "doctor_name": picked(world.region.doctor_names, stays.doctor),
        "diagnosis_code": picked(world.clinic.diagnosis_codes, stays.diagnosis),
        "diagnosis_name": picked(world.clinic.diagnosis_names, stays.diagnosis),
        "emergency": pa.array(stays.emergency),
        "died": pa.array(stays.died),
        PERSON: pa.array(stays.person),
        "_institution": pa.array(stays.institution),
    }
    return pa.table(columns).to_pylist()
