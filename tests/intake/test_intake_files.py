"""A file's way: wholly in or wholly out; a copy is a duplicate, a correction replaces its predecessor."""

from __future__ import annotations

import asyncio
import csv
import io
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from kangshu import lake
from kangshu.declarations import load_pack
from kangshu.intake import (
    FileState,
    IntakeServices,
    Receipt,
    describe_file,
    get_receipt,
    list_reasons,
    list_receipts,
    process_stored,
    recover,
    register,
    rejects_path,
    take_in,
)
from kangshu.storage.database import Connection, Database

pytestmark = pytest.mark.database

PACK = load_pack()
CLINIC = "99000101599010211A1001"
HEADINGS = [field.title.zh for field in PACK.datasets["immunization"].fields]


@dataclass(frozen=True)
class Linked:
    persons: np.ndarray
    created: int


class CountingLinker:
    """Gives every distinct claim a number, as identity does for strangers."""

    async def link(self, connection: Connection, claims: pa.Table, *, now: datetime) -> Linked:
        return Linked(persons=np.arange(1, claims.num_rows + 1), created=claims.num_rows)


class EverybodySends:
    async def allowed(self, connection: Connection, *, institution: str) -> list[str] | None:
        return [institution]

    async def seen(self, connection: Connection, *, institution: str, now: datetime) -> None:
        return None


@pytest.fixture
def intake(tmp_path: Path, database_url: str, fixed_clock, run):
    """Run `async fn(services)` on an open intake."""

    def run_with(scenario, **changes):
        async def opened():
            async with await Database.open(database_url) as database:
                services = IntakeServices(
                    database=database,
                    pack=PACK,
                    home=tmp_path / "home",
                    clock=fixed_clock,
                    make_linker=lambda _file_id: CountingLinker(),
                    senders=EverybodySends(),
                    **changes,
                )
                return await scenario(services)

        return run(opened())

    return run_with


def row(number: int, **changes: str) -> dict[str, str]:
    fields = PACK.datasets["immunization"].fields
    values = {field.name: field.example for field in fields}
    values |= {"institution_code": CLINIC, "vaccination_number": f"V{number:05d}"}
    return values | changes


def write(path: Path, rows: list[dict[str, str]], *, encoding: str = "utf-8") -> Path:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(HEADINGS)
    fields = PACK.datasets["immunization"].fields
    writer.writerows([one[field.name] for field in fields] for one in rows)
    path.write_bytes(text.getvalue().encode(encoding))
    return path


async def send(services: IntakeServices, path: Path, **told: str) -> Receipt:
    arrival = describe_file(path=path, now=services.clock.now(), received_by="test", **told)
    file_id = await take_in(services, arrival)
    async with services.database.connection() as connection:
        return await get_receipt(connection, receipt_id=file_id)


async def rows_in_lake(services: IntakeServices) -> int:
    async with services.database.connection() as connection:
        return (await lake.count_rows(connection)).get("immunization", 0)


def test_a_good_file_is_taken_in_whole(intake, tmp_path: Path):
    path = write(tmp_path / "immunization_2026-03.csv", [row(number) for number in range(50)])

    async def scenario(services):
        return await send(services, path), await rows_in_lake(services)

    receipt, rows = intake(scenario)

    assert receipt.state is FileState.COMMITTED, receipt.reason
    assert (receipt.rows, receipt.accepted, receipt.rejected) == (50, 50, 0)
    assert (receipt.dataset, receipt.institution, receipt.period) == ("immunization", CLINIC, "2026-03")
    assert rows == 50


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_the_encoding_is_found_by_content(intake, tmp_path: Path, encoding: str):
    path = write(tmp_path / "a_2026-03.csv", [row(1), row(2)], encoding=encoding)

    receipt = intake(lambda services: send(services, path))

    assert (receipt.state, receipt.accepted) == (FileState.COMMITTED, 2)


def test_bad_rows_are_listed_with_row_field_and_reason_but_never_the_value(intake, tmp_path: Path):
    secret = "王小明的秘密"
    bad = row(2, vaccinated_at="20240230", patient_name=secret)
    path = write(tmp_path / "a_2026-03.csv", [row(1), bad, row(3)])

    async def scenario(services):
        receipt = await send(services, path)
        async with services.database.connection() as connection:
            reasons = await list_reasons(connection, receipt_id=receipt.id)
        return receipt, reasons, rejects_path(services.home, receipt.id).read_text(encoding="utf-8-sig")

    receipt, reasons, listed = intake(scenario)

    assert (receipt.accepted, receipt.rejected) == (2, 1)
    assert any(one.rule == "type" and one.field == "vaccinated_at" and one.rows == 1 for one in reasons)
    assert secret not in listed
    assert "20240230" not in listed
    lines = list(csv.reader(io.StringIO(listed)))
    assert lines[1][0] == "3", "the heading is row 1, so the second row of data is row 3"


def test_the_same_bytes_again_are_a_duplicate(intake, tmp_path: Path):
    path = write(tmp_path / "a_2026-03.csv", [row(1)])

    async def scenario(services):
        first, second = await send(services, path), await send(services, path)
        return first, second, await rows_in_lake(services)

    first, second, rows = intake(scenario)

    assert second.state is FileState.DUPLICATE
    assert second.duplicate_of == first.id
    assert rows == 1


def test_two_copies_that_arrive_at_the_same_moment_count_once(intake, tmp_path: Path):
    path = write(tmp_path / "a_2026-03.csv", [row(number) for number in range(200)])

    async def scenario(services):
        receipts = await asyncio.gather(*(send(services, path) for _ in range(6)))
        return receipts, await rows_in_lake(services)

    receipts, rows = intake(scenario)

    states = sorted(str(one.state) for one in receipts)
    assert states == ["committed", *["duplicate"] * 5]
    assert rows == 200


def test_a_corrected_file_takes_the_place_of_its_predecessor_and_both_stay_on_record(intake, tmp_path: Path):
    first = write(tmp_path / "a_2026-03.csv", [row(1), row(2), row(3)])
    corrected = write(tmp_path / "b_2026-03.csv", [row(1), row(2)])

    async def scenario(services):
        old, new = await send(services, first), await send(services, corrected)
        async with services.database.connection() as connection:
            return await get_receipt(connection, receipt_id=old.id), new, await rows_in_lake(services)

    old, new, rows = intake(scenario)

    assert (old.state, old.superseded_by) == (FileState.SUPERSEDED, new.id)
    assert (new.state, new.supersedes) == (FileState.COMMITTED, old.id)
    assert rows == 2


def test_a_file_of_another_month_takes_nobodys_place(intake, tmp_path: Path):
    march = write(tmp_path / "a_2026-03.csv", [row(1)])
    april = write(tmp_path / "a_2026-04.csv", [row(2)])

    async def scenario(services):
        await send(services, march)
        await send(services, april)
        return await rows_in_lake(services)

    assert intake(scenario) == 2


def test_a_file_without_one_good_row_replaces_nothing(intake, tmp_path: Path):
    good = write(tmp_path / "a_2026-03.csv", [row(1)])
    bad = write(tmp_path / "b_2026-03.csv", [row(1, vaccinated_at="never")])

    async def scenario(services):
        await send(services, good)
        return await send(services, bad), await rows_in_lake(services)

    refused, rows = intake(scenario)

    assert refused.state is FileState.REJECTED
    assert refused.reason is not None
    assert refused.rejected == 1
    assert rows == 1


def test_a_failure_in_the_middle_leaves_nothing_behind(intake, tmp_path: Path):
    path = write(tmp_path / "a_2026-03.csv", [row(number) for number in range(20)])

    async def fall(_connection, _committed):
        raise RuntimeError("the power goes")

    async def broken(services):
        with pytest.raises(RuntimeError, match="the power goes"):
            await send(services, path)
        async with services.database.connection() as connection:
            return (await list_receipts(connection))[0], await rows_in_lake(services)

    receipt, rows = intake(broken, listeners=(fall,))
    again = intake(lambda services: send(services, path))

    assert receipt.state is FileState.FAILED
    assert rows == 0
    assert (again.state, again.accepted) == (FileState.COMMITTED, 20)


def test_a_file_that_waits_in_the_spool_is_found_after_a_restart(intake, tmp_path: Path):
    spool = tmp_path / "home" / "spool"
    spool.mkdir(parents=True)
    path = write(spool / "kept", [row(1)])

    async def before(services):
        arrival = describe_file(
            path=path, name="a_2026-03.csv", now=services.clock.now(), received_by="test", spooled=True
        )
        return await register(services, arrival)

    async def after(services):
        waiting = await recover(services)
        for file_id in waiting:
            await process_stored(services, file_id=file_id)
        async with services.database.connection() as connection:
            return waiting, await get_receipt(connection, receipt_id=waiting[0])

    file_id = intake(before)
    waiting, receipt = intake(after)

    assert waiting == [file_id]
    assert receipt.state is FileState.COMMITTED
    assert not path.exists(), "what was taken in need not be kept twice"


def test_rows_of_another_institution_are_refused(intake, tmp_path: Path):
    other = row(2, institution_code="99000102699010211A1001")
    path = write(tmp_path / "a_2026-03.csv", [row(1), other])

    receipt = intake(lambda services: send(services, path, institution=CLINIC))

    assert (receipt.accepted, receipt.rejected) == (1, 1)


def test_the_whole_file_is_one_receipt_with_its_figures_adding_up(intake, tmp_path: Path):
    rows = [row(number) if number % 3 else row(number, dose_number="x") for number in range(90)]
    path = write(tmp_path / "a_2026-03.csv", [*rows, row(1)])

    receipt = intake(lambda services: send(services, path))

    assert receipt.rows == 91
    assert receipt.accepted + receipt.rejected == receipt.rows
    assert receipt.rejected == 31, "thirty wrong doses and one repeated key"


def test_keys_that_are_built_alike_are_told_apart(intake, tmp_path: Path):
    # DuckDB's hash() takes these two for one (1.5.6).
    alike = [
        row(n, vaccination_number=key) for n, key in enumerate(["DI20260122000002-01", "DI20260622000005-01"])
    ]
    path = write(tmp_path / "a_2026-03.csv", alike)

    receipt = intake(lambda services: send(services, path))

    assert (receipt.accepted, receipt.rejected) == (2, 0)
