"""A made-up data set with measures and rules about cells, and a lake to fill; nobody here is anybody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from kangshu.declarations import (
    Dataset,
    Dimension,
    Expectation,
    Field,
    FieldType,
    Measure,
    Obligation,
    Pack,
    QualitySettings,
    Rule,
    Scope,
    Severity,
)
from kangshu.kernel.periods import Period
from kangshu.kernel.texts import Text
from kangshu.lake import Engine, SegmentWriter, commit_file, lake_schema, new_segment_path, supersede_file
from kangshu.quality.plausibility import add_months
from kangshu.storage.database import Connection, Database

NO_TEXT = Text(zh="", en="")
MAY = date(2026, 5, 1)
HOSPITAL = "YH000001999010211A1001"  # a fictional division: no province begins with 99


def months_before(month: date, count: int) -> list[date]:
    """The `count` months that lead up to `month`, it included."""
    return [add_months(month, -back) for back in range(count - 1, -1, -1)]


def declared(name: str, kind: FieldType, **more: Any) -> Field:
    return Field(name=name, title=Text(zh=name, en=name), type=kind, obligation=Obligation.OPTIONAL, **more)


def measure(name: str, **more: Any) -> Measure:
    return Measure(name=name, title=Text(zh=name, en=name), **more)


def cell_rule(number: str, sql: str, **more: Any) -> Rule:
    return Rule(
        id=number,
        severity=Severity.WARNING,
        dimension=Dimension.PLAUSIBILITY,
        scope=Scope.CELL,
        fields=(),
        message=NO_TEXT,
        sql=sql,
        **more,
    )


RESULT = Dataset(
    name="result",
    title=Text(zh="结果", en="Result"),
    edition="1",
    source="test",
    category="clinical",
    description=NO_TEXT,
    valid_from=date(2020, 1, 1),
    fields=(
        declared("number", FieldType.STRING, length=20),
        declared("patient", FieldType.INTEGER),
        declared("value", FieldType.INTEGER),
        declared("reported_at", FieldType.DATETIME),
    ),
    event_time="reported_at",
    rules=(
        cell_rule("RT901", "now.rows >= 0.5 * usual.rows"),
        cell_rule("RT902", "now.round_share <= 0.6", suspects="value % 5 = 0"),
        cell_rule("RT903", "now.copied <= 0.5", suspects="copied"),
        cell_rule("RT904", "now.rows <= peers.rows + 8 * peers_spread.rows"),
    ),
    measures=(
        measure("round_share", sql="avg((value % 5 = 0)::INT)"),
        measure("copied", fingerprint=("patient", "value")),
    ),
)
RETURN = Dataset(
    name="institution_month",
    title=Text(zh="月报", en="Return"),
    edition="1",
    source="test",
    category="registry",
    description=NO_TEXT,
    valid_from=date(2020, 1, 1),
    fields=(declared("month", FieldType.DATE), declared("tests", FieldType.INTEGER)),
    event_time="month",
    rules=(),
)


def pack_of(*datasets: Dataset, expectations: Sequence[Expectation] = ()) -> Pack:
    return Pack(
        name="test",
        edition="1",
        title=NO_TEXT,
        datasets={one.name: one for one in datasets},
        quality=QualitySettings(expectations=tuple(expectations)),
    )


PACK = pack_of(RESULT, RETURN)


def figures_table(
    series: Mapping[str, Sequence[float | None]],
    *,
    last: date = MAY,
    measure_name: str = "rows",
    kinds: Mapping[str, str] | None = None,
) -> pa.Table:
    """Figures by institution, the last one being that of the month `last`; None where a month has none."""
    rows = [
        (month, institution, (kinds or {}).get(institution), value)
        for institution, values in series.items()
        for month, value in zip(months_before(last, len(values)), values, strict=True)
        if value is not None
    ]
    months, institutions, kind, values = zip(*rows, strict=True) if rows else ((), (), (), ())
    return pa.table(
        {
            "_month": pa.array(months, pa.date32()),
            "_institution": pa.array(institutions, pa.string()),
            "_kind": pa.array(kind, pa.string()),
            measure_name: pa.array(values, pa.float64()),
        }
    )


@dataclass(frozen=True, kw_only=True)
class Row:
    """One result as a test writes it down; `day` None is a row without a time."""

    patient: int
    value: int
    day: date | None


@dataclass
class MadeUpLake:
    """A lake under test with the units of its files, put in as the intake would."""

    home: Path
    database: Database
    engine: Engine
    files: int = field(default=0)

    async def put(
        self,
        rows: Iterable[Row],
        *,
        period: str,
        institution: str = HOSPITAL,
        dataset: Dataset = RESULT,
        received_at: datetime = datetime(2026, 6, 3, tzinfo=UTC),
        replaces: int | None = None,
    ) -> int:
        self.files += 1
        rows, number, span = list(rows), self.files, Period.parse(period)
        path = new_segment_path(home=self.home, dataset=dataset.name)
        with SegmentWriter(path, lake_schema(dataset)) as writer:
            writer.write(_table(rows, file=number, institution=institution, dataset=dataset))
            segment = writer.close()
        async with self.database.transaction() as connection:
            if replaces is not None:
                await supersede_file(connection, file_id=replaces)
                await connection.execute("DELETE FROM quality_unit WHERE file_id = $1", replaces)
            await commit_file(
                connection,
                file_id=number,
                dataset=dataset.name,
                institution=institution,
                period=span,
                segments=[segment],
            )
            for month, count in _months(rows, span).items():
                await put_unit(
                    connection, file=number, month=month, institution=institution, rows=count,
                    received_at=received_at, dataset=dataset.name,
                )  # fmt: skip
        return number


def _table(rows: Sequence[Row], *, file: int, institution: str, dataset: Dataset) -> pa.Table:
    moments = [
        None if row.day is None else datetime(row.day.year, row.day.month, row.day.day) for row in rows
    ]
    columns: dict[str, Any] = {
        "_file": [file] * len(rows),
        "_row": list(range(2, len(rows) + 2)),
        "_person": [row.patient for row in rows],
        "_institution": [institution] * len(rows),
        "_at": moments,
        "number": [f"{file}-{place}" for place in range(len(rows))],
        "patient": [row.patient for row in rows],
        "value": [row.value for row in rows],
        "reported_at": moments,
        "month": [row.day for row in rows],
        "tests": [row.value for row in rows],
    }
    schema = lake_schema(dataset)
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def _months(rows: Sequence[Row], span: Period) -> dict[date, int]:
    first, last = span.start.replace(day=1), date.fromordinal(span.end.toordinal() - 1).replace(day=1)
    found: dict[date, int] = {}
    for row in rows:
        month = first if first == last else (row.day or last).replace(day=1)
        found[month] = found.get(month, 0) + 1
    return found


async def put_unit(
    connection: Connection,
    *,
    file: int,
    month: date,
    rows: int,
    institution: str = HOSPITAL,
    dataset: str = RESULT.name,
    received_at: datetime = datetime(2026, 6, 3, tzinfo=UTC),
) -> None:
    await connection.execute(
        """INSERT INTO quality_unit
             (file_id, institution, month, dataset, rows, rejected, received_at, edition)
           VALUES ($1, $2, $3, $4, $5, 0, $6, '1')""",
        file,
        institution,
        month,
        dataset,
        rows,
        received_at,
    )
