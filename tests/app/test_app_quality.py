"""Quality from file to figure: platform and self-test agree to the byte; everybody is made up."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import orjson
import pytest
from app_world import CLINIC, World, csv_bytes, csv_text, open_world, row

from kangshu import quality
from kangshu.app.assessing import assess_job, assess_waiting, expect_message_rows
from kangshu.app.pipeline import ASSESS_JOB
from kangshu.app.taking import take_in_files
from kangshu.declarations import Dimension, load_pack
from kangshu.intake.findings import Examined
from kangshu.lake import StagedRow, flush_staged, stage_rows
from kangshu.quality import Origin
from kangshu.quality.scoring import assess_file
from kangshu.quality.selftest import check_file
from kangshu.simulation import simulate
from kangshu.storage import jobs

pytestmark = pytest.mark.database

PACK = load_pack()
MARCH = date(2026, 3, 1)


@pytest.fixture
def world(database_server: str) -> Iterator[World]:
    with open_world(database_server) as opened:
        yield opened


def report_of(world: World, receipt: int, dataset: str) -> dict:
    """Return the platform's report about a file, made from what it keeps."""

    async def read() -> dict:
        async with world.platform.database.connection() as connection:
            shares, findings = await quality.file_findings(connection, file=receipt, origin=Origin.ARRIVAL)
        examined = Examined(shares=tuple(shares), findings=tuple(findings), filled={})
        return assess_file(dataset=PACK.dataset(dataset), pack=PACK, examined=examined).document()

    return world.run(read)


def cells(world: World, month: date = MARCH) -> list[quality.CellTally]:
    async def read() -> list[quality.CellTally]:
        async with world.platform.database.connection() as connection:
            return await quality.list_tallies(connection, first=month, last=month)

    return world.run(read)


def wrong_rows() -> list[dict[str, str]]:
    """Return 30 rows: three without a birth date, two of these with a wrong sex, one number twice."""
    rows = [row(number) for number in range(30)]
    for number in (3, 4, 5):
        rows[number]["birth_date"] = ""
    for number in (4, 5):
        rows[number]["sex"] = "8"
    rows[9]["vaccination_number"] = rows[8]["vaccination_number"]
    return rows


def test_what_counts_adds_up_from_the_moment_the_file_does(world: World):
    answer = world.send(csv_bytes(wrong_rows()))

    (cell,) = cells(world)
    assert (cell.rows, cell.accepted, cell.rejected) == (30, 26, 4)
    assert (cell.rows, cell.accepted) == (answer.receipt.rows, answer.receipt.accepted)
    assert cell.whole.errors == 4
    assert cell.by_dimension[Dimension.COMPLETENESS].errors == 3
    assert cell.by_dimension[Dimension.VALIDITY].errors == 2
    assert cell.by_dimension[Dimension.UNIQUENESS].errors == 1


def test_a_resent_file_takes_its_predecessors_findings_away(world: World):
    world.send(csv_bytes(wrong_rows()))
    world.send(csv_bytes([row(number) for number in range(30)]))

    (cell,) = cells(world)
    assert (cell.rows, cell.rejected, cell.whole.errors, cell.files) == (30, 0, 0, 1)


def test_a_file_that_is_refused_as_a_whole_counts_until_a_better_one_comes(world: World):
    nothing = [row(number, sex="8") for number in range(5)]

    world.send(csv_bytes(nothing))
    refused = cells(world)
    world.send(csv_bytes([row(number, sex="9x") for number in range(6)]))
    again = cells(world)
    world.send(csv_bytes([row(number) for number in range(5)]))
    mended = cells(world)
    world.send(csv_bytes([row(number, sex="7") for number in range(7)]))
    stands = cells(world)

    assert [(one.rows, one.rejected) for one in refused] == [(5, 5)]
    assert [(one.rows, one.rejected) for one in again] == [(6, 6)]
    assert [(one.rows, one.rejected) for one in mended] == [(5, 0)]
    assert stands == mended, "what was taken in before still stands"


def test_a_row_that_cannot_be_read_belongs_to_the_sender(world: World):
    content = csv_text([row(number) for number in range(4)]).splitlines()
    content[2] += ",one cell too many"

    world.send("\n".join(content).encode())

    (cell,) = cells(world)
    assert (cell.cell.institution, cell.rows, cell.rejected) == (CLINIC, 4, 1)


def test_the_platform_reports_about_a_file_what_the_self_test_reports_at_home(world: World, tmp_path: Path):
    path = tmp_path / "immunization_2026-03.csv"
    path.write_bytes(csv_bytes(wrong_rows()))
    answer = world.send(path.read_bytes(), name=path.name)

    at_home = check_file(
        path=path, pack=PACK, received_at=world.platform.clock.now().replace(tzinfo=None)
    ).assessment.document()
    platform = report_of(world, answer.receipt.id, "immunization")

    assert orjson.dumps(platform) == orjson.dumps(at_home)
    assert at_home["findings"]


def test_files_of_a_simulated_region_get_the_same_report_at_home(world: World, tmp_path: Path):
    simulate(out=tmp_path, residents=300, months=1, seed=3, start=date(2026, 1, 1), pack=PACK)
    paths = sorted(path for path in (tmp_path / "submissions").rglob("*") if path.is_file())

    async def take() -> list[tuple[bytes, int, str]]:
        await take_in_files(world.platform, paths)
        async with world.platform.database.connection() as connection:
            rows = await connection.fetch(
                "SELECT digest, id, dataset FROM intake_file WHERE state = 'committed' ORDER BY id"
            )
        return [(one["digest"], one["id"], one["dataset"]) for one in rows]

    of_digest = {hashlib.sha256(path.read_bytes()).digest(): path for path in paths}
    moment = world.platform.clock.now().replace(tzinfo=None)
    with_findings = 0
    for digest, receipt, dataset in world.run(take):
        at_home = check_file(path=of_digest[digest], pack=PACK, received_at=moment, dataset=dataset)
        document = at_home.assessment.document()
        assert orjson.dumps(report_of(world, receipt, dataset)) == orjson.dumps(document), at_home.file
        with_findings += bool(document["findings"])
    assert with_findings >= 3


def example(dataset: str, **changes: str) -> dict[str, str]:
    """Return a row of a data set made of its fields' examples; nobody in it exists."""
    values = {field.name: field.example for field in PACK.dataset(dataset).fields if field.repeat == 1}
    return values | {"institution_code": CLINIC} | changes


def as_csv(rows: list[dict[str, str]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def send_visits(world: World, *numbers: str) -> None:
    rows = [
        example("outpatient_visit", visit_number=number, visited_at=f"2026-03-{10 + place} 09:00:00")
        for place, number in enumerate(numbers)
    ]
    answer = world.send(as_csv(rows), name="outpatient_visit_2026-03.csv", dataset="outpatient_visit")
    assert answer.receipt.accepted == len(numbers), answer.lines


def send_diagnoses(world: World, *visits: str) -> None:
    rows = [
        example(
            "diagnosis",
            diagnosis_number=f"D{place}",
            visit_number=number,
            visit_kind="1",
            diagnosed_at="2026-03-11 09:30:00",
        )
        for place, number in enumerate(visits)
    ]
    answer = world.send(as_csv(rows), name="diagnosis_2026-03.csv", dataset="diagnosis")
    assert answer.receipt.accepted == len(visits), answer.lines


def found_by(world: World, rule: str) -> list[list[int]]:
    """Return the rows that a rule over the lake found, by file."""

    async def read() -> list[list[int]]:
        await assess_waiting(world.platform)
        async with world.platform.database.connection() as connection:
            counts = await quality.list_findings(connection, first=MARCH, last=MARCH, rule=rule)
            return [
                (
                    await quality.finding_rows(
                        connection,
                        file=one.file,
                        institution=one.cell.institution,
                        month=one.cell.month,
                        rule=one.rule,
                        field=one.field,
                    )
                ).tolist()
                for one in counts
            ]

    return world.run(read)


def test_a_diagnosis_without_its_visit_is_found_and_forgotten_when_the_visit_comes(world: World):
    send_visits(world, "V1", "V2", "V3")
    send_diagnoses(world, "V1", "V9", "V2")
    before = found_by(world, "DG065")

    send_visits(world, "V1", "V9", "V2", "V3")
    after = found_by(world, "DG065")

    assert before == [[3]]
    assert after == []


def test_a_visit_that_is_withdrawn_leaves_its_diagnosis_alone(world: World):
    send_visits(world, "V1", "V2", "V3")
    send_diagnoses(world, "V1", "V2")
    before = found_by(world, "DG065")

    send_visits(world, "V1", "V3", "V4")
    after = found_by(world, "DG065")

    assert before == []
    assert after == [[3]]


def test_the_work_is_queued_with_the_commit_and_done_once(world: World):
    send_visits(world, "V1")

    async def work() -> tuple[list[str], list[str]]:
        async with world.platform.database.connection() as connection:
            queued = await jobs.list_jobs(connection)
            waiting = await quality.datasets_waiting(connection)
        for job in queued:
            if job.kind == ASSESS_JOB:
                await assess_job(world.platform, job)
        async with world.platform.database.connection() as connection:
            return waiting, await quality.datasets_waiting(connection)

    before, after = world.run(work)
    assert "outpatient_visit" in before
    assert after == []


def test_rows_out_of_messages_are_counted_and_judged_like_those_out_of_files(world: World):
    rows = [
        StagedRow(
            dataset="immunization",
            institution=CLINIC,
            person=None,
            at=datetime(2026, 3, 9, 10),
            values={"institution_code": CLINIC, "vaccination_number": f"M{number}", "dose_number": 1},
            key=f"Immunization/{number}",
            message=number,
        )
        for number in (1, 2, 3)
    ]

    async def bring(some: list[StagedRow]) -> list[int]:
        async with world.platform.database.transaction() as connection:
            await stage_rows(connection, rows=some)
        await flush_staged(world.platform.database, world.platform.engine, pack=PACK)
        await expect_message_rows(world.platform)
        await assess_waiting(world.platform)
        async with world.platform.database.connection() as connection:
            tallies = await quality.list_tallies(connection, first=MARCH, last=MARCH)
        return [one.rows for one in tallies if one.cell.dataset == "immunization"]

    assert world.run(lambda: bring(rows)) == [3]
    withdrawn = replace(rows[1], values=None, message=4)
    assert world.run(lambda: bring([withdrawn])) == [2]
