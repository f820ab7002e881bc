"""What is wrong with whole months: planned by seed, told in the truth, and found in the files as told."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kangshu.declarations import Pack
from kangshu.simulation import simulate
from kangshu.simulation.anomalies import DATASETS, Anomaly, AnomalyKind, Part, plan_anomalies
from kangshu.simulation.blocks import Block
from kangshu.simulation.distortion import Distortion
from kangshu.simulation.region import Kind
from kangshu.simulation.world import GROUPS, World, build_world, month_blocks

MONTHS = 8
Rows = dict[tuple[str, int], list[Block]]


@pytest.fixture(scope="module")
def small_world() -> World:
    return build_world(residents=6_000, months=MONTHS, seed=11, start=date(2026, 1, 1))


@pytest.fixture(scope="module")
def plan(small_world: World) -> list[Anomaly]:
    """One of each kind and more, at hospitals and two months apart."""
    kinds = small_world.region.institutions.kinds
    first, second, third, fourth = np.flatnonzero(kinds <= Kind.MATERNAL)[1:5].tolist()
    wanted = [
        (first, 2, AnomalyKind.DROP, Part.VISITS),
        (first, 4, AnomalyKind.COPIED, Part.VISITS),
        (first, 6, AnomalyKind.ROUNDED, Part.LABORATORY),
        (second, 2, AnomalyKind.REPEATED, Part.VISITS),
        (second, 4, AnomalyKind.MISSING, Part.STAYS),
        (second, 7, AnomalyKind.DEATHS, Part.STAYS),
        (third, 2, AnomalyKind.ALL_POSITIVE, Part.LABORATORY),
        (third, 4, AnomalyKind.ONE_DOCTOR, Part.VISITS),
        (third, 6, AnomalyKind.ONE_PRICE, Part.PRESCRIPTIONS),
        (fourth, 2, AnomalyKind.REPEATED, Part.LABORATORY),
        (fourth, 4, AnomalyKind.DROP, Part.CHARGES),
        (fourth, 6, AnomalyKind.MISSING, Part.LABORATORY),
    ]
    return [
        Anomaly(institution=institution, month=month, kind=kind, part=part)
        for institution, month, kind, part in wanted
    ]


@pytest.fixture(scope="module")
def both(small_world: World, plan: list[Anomaly]) -> tuple[Rows, Rows, list[Any]]:
    """The blocks as they were, as they are after the distortion, and what was done."""
    before: Rows = defaultdict(list)
    after: Rows = defaultdict(list)
    distortion = Distortion(plan, stays=small_world.stays, start=small_world.start, seed=11)
    for month in range(MONTHS):
        for group in GROUPS:
            for block in month_blocks(small_world, month, group):
                before[block.dataset, month].append(block)
                after[block.dataset, month].append(distortion.apply(block, month=month))
    return before, after, distortion.close()


def _column(blocks: list[Block], name: str, institution: int) -> list[Any]:
    return [
        value
        for block in blocks
        for value, code in zip(block.columns[name].to_pylist(), block.institutions.tolist(), strict=True)
        if code == institution
    ]


def _of(done: list[Any], kind: AnomalyKind, dataset: str) -> list[Any]:
    found = [one for one in done if one.kind == kind and one.dataset == dataset and one.rows]
    assert found, f"the seed gives no {kind} of {dataset}"
    return found


def test_each_kind_happens_at_least_once_and_one_thing_at_a_time(small_world: World) -> None:
    for seed in range(5):
        plan = plan_anomalies(region=small_world.region, months=MONTHS, seed=seed)
        places = {(one.institution, one.month) for one in plan}

        assert {one.kind for one in plan} == set(AnomalyKind) - {AnomalyKind.LATE}
        assert len(places) == len(plan)
        assert not any((institution, month + 1) in places for institution, month in places)


def test_the_plan_follows_from_the_seed_and_can_be_empty(small_world: World) -> None:
    def planned(seed: int, **more: Any) -> list[Any]:
        return plan_anomalies(region=small_world.region, months=MONTHS, seed=seed, **more)

    assert planned(1) == planned(1)
    assert planned(1) != planned(2)
    assert planned(1, share=0) == []


def test_nothing_is_wrong_with_the_last_month_of_those_who_speak(small_world: World) -> None:
    everyone = range(len(small_world.region.institutions))
    plan = plan_anomalies(region=small_world.region, months=MONTHS, seed=1, share=0.5, silent=list(everyone))

    assert max(one.month for one in plan) < MONTHS - 1


def test_what_is_not_planned_stays_as_it_was(
    both: tuple[Rows, Rows, list[Any]], plan: list[Anomaly], small_world: World
) -> None:
    before, after, done = both
    touched = {(one.dataset, one.month, one.institution) for one in done}
    compared = 0
    for (dataset, month), blocks in before.items():
        for institution in range(len(small_world.region.institutions)):
            if (dataset, month, institution) in touched or "visit_number" not in blocks[0].columns:
                continue
            rows = _column(blocks, "visit_number", institution)
            assert rows == _column(after[dataset, month], "visit_number", institution)
            compared += len(rows)
    assert compared > 10_000
    assert {one.institution for one in done} <= {one.institution for one in plan}


def test_the_truth_counts_the_rows_that_were_sent_or_not(both: tuple[Rows, Rows, list[Any]]) -> None:
    before, after, done = both
    for one in done:
        was = sum(
            int((block.institutions == one.institution).sum()) for block in before[one.dataset, one.month]
        )
        became = sum(
            int((block.institutions == one.institution).sum()) for block in after[one.dataset, one.month]
        )
        if one.kind in (AnomalyKind.DROP, AnomalyKind.MISSING):
            assert became == was - one.rows, one
        elif one.kind == AnomalyKind.REPEATED:
            assert became == was + one.rows, one
        elif one.kind == AnomalyKind.COPIED:
            assert became == one.of, one
        else:
            assert became == was == one.of, one


def test_a_month_that_drops_ends_after_ten_days_with_all_that_hangs_on_its_visits(
    both: tuple[Rows, Rows, list[Any]], plan: list[Anomaly]
) -> None:
    _, after, _ = both
    drop = next(one for one in plan if one.kind is AnomalyKind.DROP and one.part is Part.VISITS)
    for dataset in DATASETS[Part.VISITS]:
        numbers = _column(after[dataset, drop.month], "visit_number", drop.institution)
        assert all(int(number[7:9]) <= 10 for number in numbers if number.startswith("O")), dataset


def test_what_is_sent_again_differs_in_the_numbers_alone(both: tuple[Rows, Rows, list[Any]]) -> None:
    _, after, done = both
    for one in _of(done, AnomalyKind.REPEATED, "outpatient_visit"):
        blocks = after["outpatient_visit", one.month]
        names = [name for name in blocks[0].columns if name != "visit_number"]
        numbers = _column(blocks, "visit_number", one.institution)
        rows = list(zip(*(_column(blocks, name, one.institution) for name in names), strict=True))
        counts = Counter(rows)

        assert len(set(numbers)) == len(numbers)
        assert sum(count - 1 for count in counts.values() if count > 1) == one.rows


def test_a_copied_month_is_the_one_before_some_days_later(
    both: tuple[Rows, Rows, list[Any]],
) -> None:
    before, after, done = both
    for one in _of(done, AnomalyKind.COPIED, "outpatient_visit"):
        earlier = before["outpatient_visit", one.month - 1]
        now = after["outpatient_visit", one.month]
        moved = date(2026, one.month + 1, 1) - date(2026, one.month, 1)

        def told(blocks: list[Block], by: timedelta, institution: int = one.institution) -> Counter[Any]:
            names = ("patient_number", "total_cost", "diagnosis_code", "visited_at")
            rows = zip(*(_column(blocks, name, institution) for name in names), strict=True)
            return Counter((*row[:3], row[3] + by) for row in rows)

        expected = {row for row in told(earlier, moved) if row[3].month == one.month + 1}
        assert set(told(now, timedelta())) == expected


def test_rounded_values_end_with_0_or_5_and_their_flags_still_fit(
    both: tuple[Rows, Rows, list[Any]],
) -> None:
    before, after, done = both
    for one in _of(done, AnomalyKind.ROUNDED, "lab_result"):
        blocks = after["lab_result", one.month]
        values = [value for value in _column(blocks, "value_number", one.institution) if value]
        flags = _column(blocks, "flag", one.institution)
        was = _column(before["lab_result", one.month], "value_number", one.institution)

        assert sum(value[-1] in "05" for value in values) > 0.85 * len(values)
        for value, low, high, flag in zip(
            _column(blocks, "value_number", one.institution),
            _column(blocks, "reference_low", one.institution),
            _column(blocks, "reference_high", one.institution),
            flags,
            strict=True,
        ):
            if value and flag == "N":
                assert low is None or float(value) >= float(low)
                assert high is None or float(value) <= float(high)
        assert len(was) == len(flags)


def test_numbers_stay_unique_and_rows_find_their_visits(both: tuple[Rows, Rows, list[Any]]) -> None:
    _, after, _ = both
    visits: set[tuple[int, str]] = set()
    reports: set[tuple[int, str]] = set()
    for (dataset, _), blocks in after.items():
        if dataset in ("outpatient_visit", "lab_report"):
            key = "visit_number" if dataset == "outpatient_visit" else "report_number"
            target = visits if dataset == "outpatient_visit" else reports
            for block in blocks:
                pairs = list(zip(block.institutions.tolist(), block.columns[key].to_pylist(), strict=True))
                assert len(set(pairs)) == len(pairs)
                assert not target & set(pairs)
                target |= set(pairs)
    lost = Counter[str]()
    for (dataset, _), blocks in after.items():
        if dataset in ("diagnosis", "prescription_item", "charge_item", "exam_report", "lab_report"):
            for block in blocks:
                numbers = block.columns["visit_number"].to_pylist()
                lost[dataset] += sum(
                    number.startswith("O") and (institution, number) not in visits
                    for institution, number in zip(block.institutions.tolist(), numbers, strict=True)
                )
        if dataset == "lab_result":
            for block in blocks:
                numbers = block.columns["report_number"].to_pylist()
                pairs = set(zip(block.institutions.tolist(), numbers, strict=True))
                lost[dataset] += len(pairs - reports)

    assert +lost == Counter()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, pack: Pack) -> Path:
    folder = tmp_path_factory.mktemp("anomalies")
    simulate(out=folder, residents=4_000, months=9, seed=3, pack=pack, monthly=True, processes=1)
    return folder


def _truth(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "truth" / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_truth_names_institutions_data_sets_and_months(written: Path) -> None:
    told = _truth(written, "anomalies.csv")

    kinds = {row["kind"] for row in told}
    assert kinds <= {kind.value for kind in AnomalyKind}
    assert kinds >= {"drop", "missing", "repeated", "copied", "rounded", "late"}
    assert all(0 < int(row["rows"]) <= int(row["of"]) for row in told)
    keys = [(row["institution"], row["dataset"], row["month"], row["kind"]) for row in told]
    assert keys == sorted(set(keys))


def test_every_file_arrives_after_its_month_and_late_ones_are_told(written: Path) -> None:
    late = {
        (row["institution"], row["dataset"], row["month"]): row["detail"]
        for row in _truth(written, "anomalies.csv")
        if row["kind"] == "late"
    }
    seen: set[tuple[str, str, str]] = set()
    for file in _truth(written, "files.csv"):
        arrived = date.fromisoformat(file["arrived"])
        if len(file["period"]) != 7 or file["dataset"] in ("division", "institution", "population"):
            continue
        year, month = map(int, file["period"].split("-"))
        days = (arrived - date(year + month // 12, month % 12 + 1, 1)).days
        key = file["institution"], file["dataset"], file["period"]
        assert days >= 0
        assert (days > 10) == (key in late)
        seen |= {key} if days > 10 else set()

    assert seen == set(late)


def test_without_anomalies_no_month_is_wrong_and_nobody_late(tmp_path: Path, pack: Pack) -> None:
    simulate(out=tmp_path, residents=800, months=7, pack=pack, anomalies=0, monthly=True, processes=1)

    assert _truth(tmp_path, "anomalies.csv") == []


def test_orphans_name_a_visit_or_report_that_nobody_has(written: Path, pack: Pack) -> None:
    orphans = [row for row in _truth(written, "errors.csv") if row["kind"] == "orphan"]
    rules = {rule.id for dataset in pack.datasets.values() for rule in dataset.rules}

    assert orphans
    assert {row["outcome"] for row in orphans} == {"warned"}
    assert {row["rule"] for row in orphans} <= rules
    for file in {row["file"] for row in orphans if row["file"].endswith((".csv", ".txt"))}:
        content = (written / "submissions" / file).read_bytes().decode("utf-8", errors="replace")
        count = sum(row["file"] == file for row in orphans)
        assert len(re.findall(r"\b[A-Z]7\d{14,18}\b", content)) >= count
