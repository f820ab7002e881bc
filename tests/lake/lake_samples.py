"""A small declared data set and ways to fill it; every person here is a number and nobody."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from kangshu.declarations import Dataset, Field, FieldType, Obligation, Pack
from kangshu.kernel.periods import Period
from kangshu.kernel.texts import Text
from kangshu.lake import Engine, SegmentFile, SegmentWriter, commit_file, lake_schema, new_segment_path

DAY_ONE = datetime(2026, 1, 1, 8)
SOME_PERIOD = Period.parse("2026-01")


def declared(name: str, type_: FieldType, **more: Any) -> Field:
    title = Text(zh=name, en=name)
    return Field(name=name, title=title, type=type_, obligation=Obligation.OPTIONAL, **more)


VISIT = Dataset(
    name="visit",
    title=Text(zh="就诊", en="Visit"),
    edition="1",
    source="test",
    category="clinical",
    description=Text(zh="", en=""),
    valid_from=date(2020, 1, 1),
    fields=(
        declared("visit_number", FieldType.STRING, length=20),
        declared("cost", FieldType.DECIMAL, length=10, scale=2),
        declared("visited_at", FieldType.DATETIME),
        declared("born_on", FieldType.DATE),
        declared("doses", FieldType.INTEGER),
        declared("urgent", FieldType.BOOLEAN),
        declared("diagnoses", FieldType.STRING, length=10, repeat=3),
    ),
    rules=(),
)
PACK = Pack(name="test", edition="1", title=Text(zh="", en=""), datasets={"visit": VISIT})


def another(name: str) -> Dataset:
    """The same data set under another name."""
    return replace(VISIT, name=name)


@dataclass(frozen=True)
class Row:
    """One row as a test writes it down."""

    person: int | None
    day: int | None = 0
    number: int = 0
    diagnoses: tuple[str, ...] = ("I10", "E11")


def rows_table(rows: Iterable[Row], *, file: int, institution: str, dataset: Dataset = VISIT) -> pa.Table:
    """`rows` as the intake hands them over."""
    rows = list(rows)
    moments = [None if row.day is None else DAY_ONE + timedelta(days=row.day) for row in rows]
    columns: dict[str, Any] = {
        "_file": [file] * len(rows),
        "_row": list(range(2, len(rows) + 2)),
        "_person": [row.person for row in rows],
        "_institution": [institution] * len(rows),
        "_at": moments,
        "visit_number": [f"V{file}-{row.number}" for row in rows],
        "cost": [Decimal(row.number) / 100 for row in rows],
        "visited_at": moments,
        "born_on": [date(1980, 1, 1)] * len(rows),
        "doses": [row.number for row in rows],
        "urgent": [row.number % 2 == 0 for row in rows],
        "diagnoses": [list(row.diagnoses) for row in rows],
    }
    schema = lake_schema(dataset)
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def write_segment(
    home: Path, rows: Sequence[Row], *, file: int, institution: str = "H1", dataset: Dataset = VISIT
) -> SegmentFile:
    path = new_segment_path(home=home, dataset=dataset.name)
    with SegmentWriter(path, lake_schema(dataset)) as writer:
        writer.write(rows_table(rows, file=file, institution=institution, dataset=dataset))
        return writer.close()


@dataclass
class Lake:
    """A lake under test: put files in with one line."""

    home: Path
    engine: Engine
    files: int = field(default=0)

    async def put(
        self,
        database: Any,
        rows: Sequence[Row],
        *,
        file: int | None = None,
        institution: str = "H1",
        dataset: Dataset = VISIT,
        period: Period | None = SOME_PERIOD,
    ) -> int:
        self.files += 1
        file = file or self.files
        segment = write_segment(self.home, rows, file=file, institution=institution, dataset=dataset)
        async with database.transaction() as connection:
            await commit_file(
                connection,
                file_id=file,
                dataset=dataset.name,
                institution=institution,
                period=period,
                segments=[segment],
            )
        return file

    def parquet_files(self) -> list[Path]:
        return sorted((self.home / "lake").rglob("*.parquet"))


def make_rows(count: int, *, persons: int = 50, step: int = 7) -> list[Row]:
    """So many rows about persons 1 to `persons`, in no order of persons."""
    return [Row(person=1 + place * step % persons, day=place % 365, number=place) for place in range(count)]
