"""What the speakers of the region say: in which forms, with which slips, and the truth about it."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from simulated_region import SimulatedRegion

from kangshu.declarations import Pack
from kangshu.simulation import simulate
from kangshu.simulation.region import Kind, build_region
from kangshu.simulation.speech import MESSAGE_DATASETS, Speakers
from kangshu.standards import cda, fhir, hl7v2

LAST_MONTH = "2026-02"


@pytest.fixture(scope="session")
def told(region: SimulatedRegion) -> list[dict[str, str]]:
    """The truth about the messages of the region of 20,000."""
    with (region.folder / "truth" / "messages.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _pieces(content: bytes) -> int:
    if hl7v2.looks_like(content):
        return sum(1 for _ in hl7v2.split(content))
    return sum(1 for _ in fhir.split_ndjson(content)) if fhir.looks_like(content) == "ndjson" else 1


def test_a_region_of_twenty_thousand_says_ten_to_thirty_thousand_messages(
    region: SimulatedRegion, told: list[dict[str, str]]
) -> None:
    assert 10_000 <= len(told) <= 30_000
    assert region.summary.messages == len(told)
    assert region.summary.message_files == len({row["file"] for row in told})


def test_every_message_has_its_place_in_the_truth(
    region: SimulatedRegion, told: list[dict[str, str]]
) -> None:
    places: defaultdict[str, list[int]] = defaultdict(list)
    for row in told:
        places[row["file"]].append(int(row["place"]))

    written = sorted(path for path in (region.folder / "submissions").glob("*/messages/*"))
    assert [path.relative_to(region.folder / "submissions").as_posix() for path in written] == sorted(places)
    for name, numbers in places.items():
        assert numbers == list(range(1, _pieces(region.path(name).read_bytes()) + 1)), name


def test_files_are_named_in_the_order_of_time(told: list[dict[str, str]]) -> None:
    days = {Path(row["file"]).name[:10] for row in told}

    assert {day[:7] for day in days} == {LAST_MONTH}
    assert len(days) == 28
    for sender in {row["sender"] for row in told}:
        files = [row["file"] for row in told if row["sender"] == sender]
        assert files == sorted(files)


def test_all_forms_and_kinds_of_messages_are_there(told: list[dict[str, str]]) -> None:
    kinds = {row["type"] for row in told}

    assert {
        f"ADT^A{event}" for event in ("01", "02", "03", "04", "08", "11", "13", "28", "31", "40")
    } <= kinds
    assert {"ORU^R01", "RDE^O11", "VXU^V04", "SIU^S12", "SIU^S15", "MDM^T02", "OML^O21"} <= kinds
    assert {"Bundle/transaction", "Observation", "C0002", "C0006", "C0007", "C0049", "C0053"} <= kinds
    suffixes = Counter(Path(row["file"]).suffix for row in told)
    assert suffixes.keys() == {".hl7", ".ndjson", ".json", ".xml"}


def test_every_slip_is_made_and_has_its_fate(told: list[dict[str, str]]) -> None:
    fates: defaultdict[str, set[str]] = defaultdict(set)
    for row in told:
        fates[row["fault"]].add(row["fate"])

    assert fates == {
        "": {"accepted"},
        "sent-twice": {"repeat"},
        "control-id-reused": {"conflict"},
        "patient-number-missing": {"refused"},
        "birth-date-wrong": {"refused"},
        "code-wrong": {"refused"},
        "element-unknown": {"refused"},
        "cut-off": {"refused"},
        "charset-undeclared": {"accepted"},
        "correction": {"accepted"},
        "visit-cancelled": {"accepted"},
        "discharge-cancelled": {"accepted"},
        "vaccination-withdrawn": {"accepted"},
        "explicit-null": {"accepted"},
        "registered-twice": {"accepted"},
        "merge": {"accepted"},
    }


def test_what_was_refused_is_said_again_rightly(told: list[dict[str, str]]) -> None:
    said = Counter((row["sender"], row["type"], row["person"]) for row in told if row["fate"] == "accepted")

    refused = [row for row in told if row["fate"] == "refused"]
    assert refused
    assert all(said[row["sender"], row["type"], row["person"]] for row in refused)


def test_no_control_id_is_used_twice_but_by_a_slip(told: list[dict[str, str]]) -> None:
    accepted = Counter(
        (row["sender"], row["control_id"]) for row in told if row["fate"] == "accepted" and row["control_id"]
    )

    assert set(accepted.values()) == {1}


def test_a_repeat_has_the_bytes_of_what_it_repeats(
    region: SimulatedRegion, told: list[dict[str, str]]
) -> None:
    twice = next(row for row in told if row["fault"] == "sent-twice" and row["file"].endswith(".hl7"))
    pieces = [one.data for one in hl7v2.split(region.path(twice["file"]).read_bytes())]

    assert pieces[int(twice["place"]) - 1] == pieces[int(twice["place"]) - 2]


def test_an_undeclared_character_set_is_found_by_content(
    region: SimulatedRegion, told: list[dict[str, str]]
) -> None:
    row = next(row for row in told if row["fault"] == "charset-undeclared")
    pieces = [one.data for one in hl7v2.split(region.path(row["file"]).read_bytes())]
    message = hl7v2.parse(pieces[int(row["place"]) - 1])

    assert not message.text("MSH-18")
    assert any("\u4e00" <= letter <= "\u9fff" for letter in message.text("PID-5"))


def test_documents_of_one_sender_are_written_in_gb18030(
    region: SimulatedRegion, told: list[dict[str, str]]
) -> None:
    row = next(row for row in told if row["type"] == "C0002" and row["fate"] == "accepted")
    content = region.path(row["file"]).read_bytes()

    assert b'encoding="GB18030"' in content
    assert cda.parse(content).title == "门（急）诊病历"


def test_speakers_send_no_tables_of_what_they_say(
    region: SimulatedRegion, told: list[dict[str, str]]
) -> None:
    speakers = {row["sender"] for row in told}

    for file in region.files:
        if file["institution"] in speakers and file["dataset"] in MESSAGE_DATASETS:
            assert file["period"] != LAST_MONTH
    assert any(
        file["institution"] in speakers and file["dataset"] == "charge_item" and file["period"] == LAST_MONTH
        for file in region.files
    )


def test_the_provincial_hospital_always_speaks_and_the_seed_chooses_the_others() -> None:
    region = build_region(residents=200_000, seed=1)
    kinds = region.institutions.kinds
    provincial = int((kinds == Kind.TERTIARY).argmax())

    chosen = [Speakers.of(region, seed).manners for seed in range(6)]

    assert all(provincial in manners for manners in chosen)
    assert {len(manners) for manners in chosen} == {5}
    assert len({tuple(manners) for manners in chosen}) > 1


@pytest.mark.parametrize("residents", [100, 700, 3_000])
def test_a_small_region_keeps_senders_of_files(residents: int) -> None:
    region = build_region(residents=residents, seed=1)
    kinds = region.institutions.kinds

    manners = Speakers.of(region, 3).manners

    primary = [number for number in region.reporting() if kinds[number] in (Kind.COMMUNITY, Kind.TOWNSHIP)]
    assert any(number not in manners for number in primary)


def test_a_pack_without_visits_is_told_of_no_visits(tmp_path: Path, pack: Pack) -> None:
    fewer = {name: pack.datasets[name] for name in ("resident", "immunization")}

    simulate(out=tmp_path, residents=800, months=1, pack=replace(pack, datasets=fewer))

    with (tmp_path / "truth" / "messages.csv").open(encoding="utf-8", newline="") as stream:
        kinds = {row["type"] for row in csv.DictReader(stream)}
    assert kinds <= {"VXU^V04", "Bundle/transaction"}
