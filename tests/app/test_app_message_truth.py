"""The messages of the simulated region against their own truth; all people in it are synthetic."""

from __future__ import annotations

import asyncio
import csv
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

from kangshu import lake, records
from kangshu.app.demonstration import arrival_of
from kangshu.app.files import institution_of_folder
from kangshu.app.messages.files import MessageFigures, MessageFile, take_message_files
from kangshu.app.messages.opening import open_lane
from kangshu.app.platform import Platform, open_platform
from kangshu.app.taking import take_in_files
from kangshu.app.whereabouts import LakeWhereabouts
from kangshu.consent import Purpose, grant_read
from kangshu.declarations import load_pack
from kangshu.identity import persons_meaning
from kangshu.intake import FileState, list_receipts
from kangshu.intake.messages import MessageResult
from kangshu.security.principals import Principal, PrincipalKind, Reach, Role
from kangshu.simulation import simulate
from kangshu.simulation.world import build_world, month_blocks
from kangshu.storage import embedded

pytestmark = pytest.mark.database

RESIDENTS, MONTHS, SEED, START = 1500, 2, 7, date(2026, 2, 1)
NOW = datetime(2026, 4, 20, tzinfo=UTC)
STATES = {"accepted": "accepted", "repeat": "duplicate", "refused": "refused", "conflict": "conflict"}


@dataclass(frozen=True)
class Region:
    """What was said, what became of it, and who was taken for whom."""

    truth: list[dict[str, str]]
    results: list[MessageResult]
    kept: dict[int, Any]
    bulk_people: set[tuple[int, int]]  # platform's person, true person
    message_people: set[tuple[int, int]]
    meaning: dict[int, tuple[int, ...]]
    results_in_lake: set[tuple[str, str, str, str]]
    emptied_visits: int  # registered, and yet without the time that the registration told
    lanes: dict[str, set[str]]  # of the timeline of somebody who is in both lanes: sources by kind


@pytest.fixture(scope="module")
def region() -> Iterable[Region]:
    place = Path(tempfile.mkdtemp(prefix="kangshu-test-"))
    simulate(
        out=place / "region", residents=RESIDENTS, months=MONTHS, seed=SEED, start=START, pack=load_pack()
    )
    with (place / "region" / "truth" / "messages.csv").open(encoding="utf-8", newline="") as stream:
        truth = list(csv.DictReader(stream))
    try:
        yield asyncio.run(_take_in(place, truth))
    finally:
        embedded.stop(place / "home")
        shutil.rmtree(place, ignore_errors=True)


async def _take_in(place: Path, truth: list[dict[str, str]]) -> Region:
    submissions = place / "region" / "submissions"
    tables = sorted(path for path in submissions.glob("*/*") if path.is_file())
    async with open_platform(place / "home") as platform:
        await take_in_files(
            platform, tables, quiet=True, arrival_of=lambda path: arrival_of(path, now=NOW, start=START)
        )
        results = await _say(platform, submissions, truth)
        await lake.flush_staged(platform.database, platform.engine, pack=platform.pack)
        async with platform.database.connection() as connection:
            rows = await connection.fetch("SELECT id, control_id, persons FROM intake_message")
            kept = {row["id"]: row for row in rows}
            bulk = await _bulk_people(platform, place / "region" / "truth" / "records.csv")
            said = {
                (person, int(told["person"]))
                for told, result in zip(truth, results, strict=True)
                if told["fate"] == "accepted"
                for person in kept[result.message or 0]["persons"]
            }
            everybody = sorted({person for person, _ in bulk | said})
            meaning = await persons_meaning(connection, persons=everybody)
            emptied = await connection.fetch(
                "SELECT id FROM records_resource WHERE type = 'Encounter' AND version > 1 AND at IS NULL"
            )
        return Region(
            truth=truth,
            results=results,
            kept=kept,
            bulk_people=bulk,
            message_people=said,
            meaning=meaning,
            results_in_lake=await _results_in_lake(platform, {told["sender"] for told in truth}),
            emptied_visits=len(emptied),
            lanes=await _lanes(platform, bulk, said, truth),
        )


async def _say(platform: Platform, submissions: Path, truth: list[dict[str, str]]) -> list[MessageResult]:
    """Take the messages in, in the order of the truth, and return what became of each."""
    results: list[MessageResult] = []
    files = [
        MessageFile(
            path=submissions / name,
            sender=institution_of_folder(submissions / name),
            received_by="test",
            received_at=NOW,
        )
        for name in dict.fromkeys(told["file"] for told in truth)
    ]
    lane = open_lane(platform)
    await take_message_files(platform, lane, files, figures=MessageFigures(), listen=results.append)
    return results


async def _bulk_people(platform: Platform, truth: Path) -> set[tuple[int, int]]:
    """Return which person of the platform each true person's rows of files went to."""
    async with platform.database.connection() as connection:
        receipts = await list_receipts(connection, limit=5000)
        segments = await lake.live_segments(connection)
    files = {one.id: f"{one.institution}/{one.name}" for one in receipts if one.state is FileState.COMMITTED}
    parts = [
        f"SELECT _file, _row, _person FROM {platform.engine.table_sql(dataset=dataset, segments=found)}"
        for dataset in platform.pack.datasets.values()
        if dataset.about_persons and (found := [one for one in segments if one.dataset == dataset.name])
    ]
    with platform.engine.connection() as engine:
        engine.register("files", pa.table({"id": list(files), "file": list(files.values())}))
        engine.register("truth", pacsv.read_csv(truth))
        found = engine.execute(
            f"""SELECT DISTINCT rows._person, truth.person FROM ({" UNION ALL ".join(parts)}) AS rows
                JOIN files ON files.id = rows._file
                JOIN truth ON truth.file = files.file AND truth.row = rows._row
                WHERE rows._person IS NOT NULL"""
        ).fetchall()
    return {(person, true) for person, true in found}


async def _results_in_lake(platform: Platform, senders: set[str]) -> set[tuple[str, str, str, str]]:
    dataset = platform.pack.datasets["lab_result"]
    async with platform.database.connection() as connection:
        segments = [one for one in await lake.live_segments(connection) if one.dataset == "lab_result"]
    table = platform.engine.table_sql(dataset=dataset, segments=segments)
    first = datetime.combine(_last_month(), time())
    with platform.engine.connection() as engine:
        found = engine.execute(
            f"""SELECT institution_code, report_number, item_code, value_number FROM {table}
                WHERE reported_at >= ? AND value_number IS NOT NULL""",
            [first],
        ).fetchall()
    return {
        (sender, report, item, _number(value)) for sender, report, item, value in found if sender in senders
    }


async def _lanes(
    platform: Platform, bulk: set[tuple[int, int]], said: set[tuple[int, int]], truth: list[dict[str, str]]
) -> dict[str, set[str]]:
    """Return where the entries come from on the timeline of the person most spoken of who is in both."""
    both = {person for person, _ in bulk} & {person for person, _ in said}
    spoken: defaultdict[str, int] = defaultdict(int)
    for told in truth:
        spoken[told["person"]] += 1
    person = max(sorted(both), key=lambda one: max(spoken[str(true)] for own, true in said if own == one))
    reader = Principal(
        id="staff:test",
        name="测试医生",
        kind=PrincipalKind.STAFF,
        roles=frozenset({Role.CLINICIAN}),
        reaches=(Reach.region(),),
    )
    async with platform.database.connection() as connection:
        grant = await grant_read(
            connection,
            principal=reader,
            person=person,
            purpose=Purpose.TREATMENT,
            now=NOW,
            whereabouts=LakeWhereabouts(platform),
        )
    page = await records.timeline(
        platform.database,
        platform.engine,
        grant=grant,
        pack=platform.pack,
        rows=open_lane(platform).tools.rows,
        persons=[person],
        limit=500,
        now=NOW,
    )
    lanes: defaultdict[str, set[str]] = defaultdict(set)
    for entry in page.entries:
        lanes[entry.source].add(entry.kind)
    return dict(lanes)


def _last_month() -> date:
    return date(START.year, START.month + MONTHS - 1, 1)


def _number(value: object) -> str:
    text = str(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def test_every_message_ends_as_the_truth_says(region: Region):
    ends = [result.state.value for result in region.results]

    assert ends == [STATES[told["fate"]] for told in region.truth]


def test_every_kind_of_fault_and_fate_was_there(region: Region):
    assert {told["fate"] for told in region.truth} == STATES.keys()
    assert {
        "sent-twice",
        "control-id-reused",
        "patient-number-missing",
        "birth-date-wrong",
        "charset-undeclared",
        "correction",
        "visit-cancelled",
        "explicit-null",
        "merge",
    } <= {told["fault"] for told in region.truth}


def test_a_refusal_names_the_place_in_the_sender_s_notation(region: Region):
    places = {
        (told["fault"], "HL7" if "^" in told["type"] else "FHIR"): result.place
        for told, result in zip(region.truth, region.results, strict=True)
        if told["fault"] in ("birth-date-wrong", "patient-number-missing")
    }

    assert places[("birth-date-wrong", "HL7")] == "PID-7"
    assert places[("patient-number-missing", "HL7")] == "PID-3"
    assert str(places.get(("birth-date-wrong", "FHIR"), "birthDate")).endswith("birthDate")


def test_a_message_is_kept_under_its_control_id(region: Region):
    for told, result in zip(region.truth, region.results, strict=True):
        if told["fate"] == "accepted":
            assert (region.kept[result.message or 0]["control_id"] or "") == told["control_id"]


def test_a_repeat_leads_to_the_message_that_was_stored(region: Region):
    stored = {
        (told["sender"], told["control_id"]): result.message
        for told, result in zip(region.truth, region.results, strict=True)
        if told["fate"] == "accepted"
    }

    repeats = [
        (result.message, stored[told["sender"], told["control_id"]])
        for told, result in zip(region.truth, region.results, strict=True)
        if told["fate"] == "repeat"
    ]
    assert repeats
    assert all(one == other for one, other in repeats)


def test_no_two_people_are_taken_for_one_across_lanes(region: Region):
    owners: defaultdict[int, set[int]] = defaultdict(set)
    for person, true_person in region.bulk_people | region.message_people:
        owners[region.meaning[person][0]].add(true_person)

    assert [true for true in owners.values() if len(true) > 1] == []


def test_few_people_are_taken_for_two_across_lanes(region: Region):
    owned: defaultdict[int, set[int]] = defaultdict(set)
    for person, true_person in region.bulk_people | region.message_people:
        owned[true_person].add(region.meaning[person][0])

    split = sum(len(persons) > 1 for persons in owned.values())
    # By strong identifiers alone: who comes without number, or with a wrong one, is a stranger at first.
    assert split / len(owned) < 0.05


def test_who_was_registered_twice_is_one_person_after_the_merge(region: Region):
    merged = [
        region.kept[result.message or 0]["persons"]
        for told, result in zip(region.truth, region.results, strict=True)
        if told["fault"] == "merge"
    ]
    twice = {
        (region.kept[result.message or 0]["persons"][0], int(told["person"]))
        for told, result in zip(region.truth, region.results, strict=True)
        if told["fault"] == "registered-twice"
    }

    assert merged
    for second, true_person in twice:
        survivors = {
            region.meaning[person][0] for person, true in region.message_people if true == true_person
        }
        assert survivors == {region.meaning[second][0]}
        assert second not in survivors


def test_a_visit_keeps_what_its_registration_told_when_others_name_it(region: Region):
    # Orders and reports bring class and number of the visit along; in one batch with its registration too.
    assert region.emptied_visits == 0


def test_the_results_of_messages_stand_in_the_lake_once_and_corrected(region: Region):
    world = build_world(residents=RESIDENTS, months=MONTHS, seed=SEED, start=START)
    senders = {told["sender"] for told in region.truth}
    true = {
        (row["institution_code"], row["report_number"], row["item_code"], _number(row["value_number"]))
        for block in month_blocks(world, MONTHS - 1, frozenset({"lab_report", "lab_result"}))
        if block.dataset == "lab_result"
        for row in pa.table(block.columns).to_pylist()
        if row["institution_code"] in senders and row["value_number"] is not None
    }

    assert true
    assert region.results_in_lake == true


def test_a_person_s_timeline_shows_both_lanes(region: Region):
    assert region.lanes.keys() == {"record", "row"}
