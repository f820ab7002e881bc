"""A small declared region for figures over a lake: stays, charges, the monthly return; all of it made up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from kangshu.declarations import (
    Dataset,
    Field,
    FieldType,
    Obligation,
    Pack,
    QualitySettings,
    Reconciliation,
    ReconciliationSide,
)
from kangshu.kernel.periods import Period
from kangshu.kernel.texts import Text
from kangshu.lake import (
    Engine,
    SegmentWriter,
    StagedRow,
    commit_file,
    flush_staged,
    lake_schema,
    new_segment_path,
    stage_rows,
    supersede_file,
)
from kangshu.storage.database import Database

NOW = datetime(2026, 5, 3, 9, tzinfo=UTC)
MARCH, APRIL = date(2026, 3, 1), date(2026, 4, 1)


def said(text: str) -> Text:
    return Text(zh=text, en=text)


def declared(name: str, kind: FieldType, **more: Any) -> Field:
    return Field(name=name, title=said(name), type=kind, obligation=Obligation.OPTIONAL, **more)


def data_set(name: str, *fields: Field, event_time: str, **more: Any) -> Dataset:
    return Dataset(
        name=name,
        title=said(name),
        edition="1",
        source="test",
        category="clinical",
        description=said(""),
        valid_from=date(2020, 1, 1),
        fields=fields,
        rules=(),
        event_time=event_time,
        **more,
    )


STAY = data_set(
    "stay",
    declared("stay_number", FieldType.STRING, length=20),
    declared("discharged_at", FieldType.DATETIME),
    declared("cost", FieldType.DECIMAL, length=10, scale=2),
    declared("diagnoses", FieldType.STRING, length=10, repeat=3),
    event_time="discharged_at",
)
CHARGE = data_set(
    "charge",
    declared("stay_number", FieldType.STRING, length=20),
    declared("charged_at", FieldType.DATETIME),
    declared("amount", FieldType.DECIMAL, length=10, scale=2),
    event_time="charged_at",
)
RETURN = data_set(
    "monthly",
    declared("month", FieldType.DATE),
    declared("discharges", FieldType.INTEGER),
    event_time="month",
)
DISCHARGES = Reconciliation(
    id="RC1",
    title=said("discharges"),
    left=ReconciliationSide(dataset="stay", title=said("front pages"), value="count(*)"),
    right=ReconciliationSide(
        dataset="monthly", title=said("reported"), value="sum(discharges)", month="month"
    ),
    relative=0.02,
)
COSTS = Reconciliation(
    id="RC2",
    title=said("costs"),
    left=ReconciliationSide(
        dataset="stay", title=said("costs of stays"), value="sum(cost)", key=("stay_number",)
    ),
    right=ReconciliationSide(
        dataset="charge",
        title=said("charges"),
        value="sum(amount)",
        month="charged_at",
        where="amount > 0",
        key=("stay_number",),
    ),
    absolute=1.0,
)
PACK = Pack(
    name="test",
    edition="1",
    title=said(""),
    datasets={one.name: one for one in (STAY, CHARGE, RETURN)},
    quality=QualitySettings(reconciliations=(DISCHARGES, COSTS)),
)


def stay(number: str, *, day: str = "2026-03-10", cost: str = "10.00") -> dict[str, Any]:
    at = datetime.fromisoformat(day)
    return {
        "_at": at,
        "stay_number": number,
        "discharged_at": at,
        "cost": Decimal(cost),
        "diagnoses": ["I10"],
    }


def charge(number: str | None, *, day: str = "2026-03-10", amount: str = "10.00") -> dict[str, Any]:
    at = datetime.fromisoformat(day)
    return {"_at": at, "stay_number": number, "charged_at": at, "amount": Decimal(amount)}


def monthly(discharges: int | None, *, month: date = MARCH) -> dict[str, Any]:
    return {
        "_at": datetime(month.year, month.month, 1),
        "month": month,
        "discharges": discharges,
    }


@dataclass
class Region:
    """A lake under test: put files in with one line."""

    home: Path
    database: Database
    engine: Engine
    files: int = field(default=0)

    async def put(
        self,
        dataset: Dataset,
        rows: Sequence[Mapping[str, Any]],
        *,
        institution: str = "H1",
        institutions: Sequence[str] | None = None,
        replaces: int | None = None,
        period: str = "2026-03",
    ) -> int:
        """Commit a file and return its number; `replaces` is the file whose place it takes."""
        self.files += 1
        path = new_segment_path(home=self.home, dataset=dataset.name)
        schema = lake_schema(dataset)
        columns: dict[str, Any] = {
            "_file": [self.files] * len(rows),
            "_row": list(range(2, len(rows) + 2)),
            "_person": [None] * len(rows),
            "_institution": list(institutions or [institution] * len(rows)),
        }
        for name in schema.names:
            columns.setdefault(name, [row.get(name) for row in rows])
        with SegmentWriter(path, schema) as writer:
            writer.write(pa.table({name: columns[name] for name in schema.names}, schema=schema))
            segment = writer.close()
        async with self.database.transaction() as connection:
            if replaces is not None:
                await supersede_file(connection, file_id=replaces)
            await commit_file(
                connection,
                file_id=self.files,
                dataset=dataset.name,
                institution=institution,
                period=Period.parse(period),
                segments=[segment],
            )
        return self.files

    async def tell(
        self, dataset: Dataset, rows: Mapping[str, Mapping[str, Any] | None], *, institution: str = "H1"
    ) -> None:
        """Let messages give rows by the key of their resource, and put them in the lake."""
        staged = [
            StagedRow(
                dataset=dataset.name,
                institution=institution,
                person=None,
                at=values["_at"] if values else None,
                values=None if values is None else {n: v for n, v in values.items() if n != "_at"},
                key=key,
                message=1,
            )
            for key, values in rows.items()
        ]
        async with self.database.transaction() as connection:
            await stage_rows(connection, rows=staged)
        await flush_staged(self.database, self.engine, pack=PACK)
