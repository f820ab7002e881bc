"""How fast one file comes in: from its bytes on the disk to the commit, its persons linked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from kangshu.app.benchmarks.model import Measurement, Stage
from kangshu.app.benchmarks.surroundings import Watch, elsewhere, fresh_folder, fresh_platform, machine
from kangshu.app.platform import Platform
from kangshu.intake import FileState, Receipt, describe_file, get_receipt, take_in
from kangshu.simulation import write_front_pages, write_lab_results

_ERROR_RATE = 0.01  # what a good sender's file has
_REGISTERED_AT = datetime(2025, 1, 2, 8, 0)  # noqa: DTZ001 - rows hold the region's wall-clock time


@dataclass(frozen=True, kw_only=True)
class _Lane:
    """A data set's file: who writes it, its persons for so many rows, and where it tells who they are."""

    dataset: str
    write: Callable[..., Any]
    rows_per_person: int
    columns: dict[str, str]


LAB_COLUMNS = {
    "institution_code": "institution_code",
    "resident_number": "resident_number",
    "patient_number": "patient_number",
    "patient_name": "patient_name",
    "sex": "sex",
    "birth_date": "birth_date",
    "phone": "NULL",
}
_FRONT_PAGES = _Lane(
    dataset="front_page",
    write=write_front_pages,
    rows_per_person=2,
    columns={
        "institution_code": "A01",
        "resident_number": "A20",
        "patient_number": "A48",
        "patient_name": "A11",
        "sex": "A12C",
        "birth_date": "A13",
        "phone": "A27",
    },
)
_LAB_RESULTS = _Lane(
    dataset="lab_result",
    write=write_lab_results,
    rows_per_person=20,
    columns=LAB_COLUMNS,
)


async def front_page_intake(size: int, stage: Stage) -> Measurement:
    """Take in a file of `size` discharge front pages, all 135 fields and all rules."""
    return await _measure(_FRONT_PAGES, size, stage)


async def lab_intake(size: int, stage: Stage) -> Measurement:
    """Take in a file of `size` laboratory results, 20 fields."""
    return await _measure(_LAB_RESULTS, size, stage)


async def _measure(lane: _Lane, size: int, stage: Stage) -> Measurement:
    with fresh_folder() as folder:
        file, residents = folder / f"{lane.dataset}.csv", folder / "resident.parquet"
        persons = max(size // lane.rows_per_person, 100)
        stage(f"{size:,} rows of {lane.dataset}")
        await elsewhere(lane.write, file, rows=size, persons=persons, error_rate=_ERROR_RATE)
        known = await elsewhere(write_residents, file, residents, columns=lane.columns)
        async with fresh_platform(folder) as platform:
            stage(f"{known:,} residents registered first")
            await take_one(platform, residents)
            stage("intake")
            with Watch(platform.home) as watch:
                receipt = await take_one(platform, file)
    assert watch.use is not None, "the watch has ended"
    use = watch.use
    return Measurement(
        value=round(size / use.seconds),
        unit="rows/s",
        peak_mib=use.peak_mib,
        conditions={
            "seconds": round(use.seconds, 2),
            "accepted": receipt.accepted,
            "rejected": receipt.rejected,
            "file_mib": receipt.bytes >> 20,
            "format": receipt.format,
            "persons_known_before": known,
            "persons_created": receipt.persons_created,
            "cpu_us_per_row": round(use.cpu_seconds / size * 1e6, 1),
            "server_cpu_us_per_row": round(use.server_cpu_seconds / size * 1e6, 1),
            "server_peak_mib": use.server_peak_mib,
            "commit": "durable; database on the same machine",
            **machine(),
        },
    )


async def take_one(platform: Platform, path: Path) -> Receipt:
    """Take one file in and return its receipt."""
    arrival = describe_file(path=path, now=platform.clock.now(), received_by="benchmark")
    file_id = await take_in(platform.intake, arrival)
    async with platform.database.connection() as connection:
        receipt = await get_receipt(connection, receipt_id=file_id)
    assert receipt.state is FileState.COMMITTED, f"the benchmark's file was {receipt.state}"
    return receipt


def write_residents(source: Path, target: Path, *, columns: dict[str, str]) -> int:
    """Write the persons of a CSV file as resident registrations, each once; return how many they are.

    `columns` say under which heading the file has the fields of `resident`. Numbers and names that more
    than one way are told, as in rows with errors, count as the first one.
    """
    chosen = ", ".join(
        f"NULL::VARCHAR AS {name}" if heading == "NULL" else f'any_value("{heading}") AS {name}'
        for name, heading in columns.items()
        if name != "resident_number"
    )
    number = f'"{columns["resident_number"]}"'
    query = f"""
        SELECT {number} AS resident_number, {chosen}, TIMESTAMP '{_REGISTERED_AT}' AS registered_at
        FROM read_csv($source, all_varchar = true, header = true, ignore_errors = true)
        WHERE length({number}) = 18 GROUP BY ALL
    """
    with duckdb.connect() as engine:
        engine.execute("SET enable_progress_bar = false")
        engine.execute(f"COPY ({query}) TO '{_escaped(target)}' (FORMAT parquet)", {"source": str(source)})
        found = engine.execute(
            "SELECT count(*) FROM read_parquet($target)", {"target": str(target)}
        ).fetchone()
    assert found is not None, "a count has one row"
    return found[0]


def _escaped(path: Path) -> str:
    return str(path).replace("'", "''")
