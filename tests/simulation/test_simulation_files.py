"""Benchmark files have exactly the rows asked for; a pack's unknown required field is filled."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from kangshu.declarations import Field, FieldType, Obligation, Pack
from kangshu.kernel.texts import Text
from kangshu.simulation import simulate, write_front_pages, write_lab_results
from kangshu.simulation.exchange import span_label
from kangshu.simulation.operations import month_labels


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_front_pages_are_as_many_as_asked_and_the_same_for_the_same_seed(tmp_path: Path, pack: Pack) -> None:
    first = write_front_pages(tmp_path / "a.csv", rows=30_001, persons=9_000, seed=4, pack=pack)
    write_front_pages(tmp_path / "b.csv", rows=30_001, persons=9_000, seed=4, pack=pack)
    rows = _rows(tmp_path / "a.csv")

    assert first.rows == len(rows) == 30_001
    assert first.rejected == 0
    assert {"A01", "A48", "C06x02C", "D34"} <= set(rows[0])
    assert len({(row["A48"], row["A49"]) for row in rows}) == 30_001
    assert len({row["A48"] for row in rows}) == 9_000
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_laboratory_results_are_as_many_as_asked_and_carry_errors_on_demand(
    tmp_path: Path, pack: Pack
) -> None:
    clean = write_lab_results(tmp_path / "clean.csv", rows=200_000, persons=5_000, pack=pack)
    faulty = write_lab_results(
        tmp_path / "faulty.csv", rows=50_000, persons=5_000, error_rate=0.05, pack=pack
    )
    rows = _rows(tmp_path / "clean.csv")

    assert clean.rows == len(rows) == 200_000
    assert clean.rejected == 0
    assert len({(row["report_number"], row["item_number"]) for row in rows}) == 200_000
    assert faulty.rows == 50_000
    assert 0.02 * 50_000 < faulty.rejected < 0.05 * 50_000


def test_a_required_field_that_the_simulator_does_not_know_is_filled(tmp_path: Path, pack: Pack) -> None:
    known = pack.datasets["birth"]
    new = [
        _field("care_class", FieldType.STRING, value_set="visit_type"),
        _field("weighed_on", FieldType.DATE),
        _field("weighed_at", FieldType.DATETIME),
        _field("score", FieldType.INTEGER, minimum=3),
        _field("first_born", FieldType.BOOLEAN),
        _field("remark", FieldType.STRING, example="无"),
    ]
    extended = replace(known, fields=(*known.fields, *new))
    wider = replace(pack, datasets={**pack.datasets, "birth": extended})

    simulate(out=tmp_path, residents=3_000, months=3, pack=wider)

    births = [path for path in tmp_path.rglob("*.csv") if "birth" in path.name or "出生" in path.name]
    headings = births[0].read_bytes().split(b"\n", 1)[0].decode("utf-8-sig", errors="ignore")
    assert all(field.name in headings or field.title.zh in headings for field in new)


def _field(name: str, kind: FieldType, **more: object) -> Field:
    title = Text(zh=f"新项 {name}", en=name)
    return Field(name=name, title=title, type=kind, obligation=Obligation.REQUIRED, **more)  # type: ignore[arg-type]


def test_a_pack_without_a_data_set_sends_the_others(tmp_path: Path, pack: Pack) -> None:
    fewer = {
        name: dataset for name, dataset in pack.datasets.items() if name in ("birth", "outpatient_visit")
    }

    done = simulate(out=tmp_path, residents=500, months=1, pack=replace(pack, datasets=fewer))

    assert done.rows > 100
    names = {path.name.split("_")[0] for path in (tmp_path / "submissions").glob("*/*") if path.is_file()}
    assert names <= {"birth", "outpatient", "出生医学登记", "门（急）诊就诊记录"}
    told = _rows(tmp_path / "truth" / "messages.csv")
    assert {row["type"].split("^")[0] for row in told} <= {
        "ADT",
        "SIU",
        "Bundle/transaction",
        "Observation",
        "C0002",
    }


@pytest.mark.parametrize(
    ("first", "last", "label"),
    [
        ("2026-03", "2026-03", "2026-03"),
        ("2026-04", "2026-06", "2026Q2"),
        ("2026-01", "2026-12", "2026"),
        ("2026-02", "2026-04", "2026-02..2026-04"),
        ("2025-12", "2026-11", "2025-12..2026-11"),
    ],
)
def test_a_file_is_named_by_the_shortest_label_of_its_months(first: str, last: str, label: str) -> None:
    assert span_label(first, last) == label


def test_months_run_over_the_end_of_a_year() -> None:
    from datetime import date

    assert month_labels(date(2025, 11, 1), 3) == ["2025-11", "2025-12", "2026-01"]
