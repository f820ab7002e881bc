"""The benchmarks of the scan at a small size: all ways of asking the rules agree. All rows are made up."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from kangshu.app.benchmarks import quality
from kangshu.app.benchmarks.quality_peers import missing_peers
from kangshu.app.benchmarks.quality_rows import benchmark_pack
from kangshu.app.cli import app


def bench(name: str, size: int) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["bench", name, "--size", str(size), "--json"])
    assert result.exit_code == 0
    return json.loads(result.stdout)


def test_twenty_rules_by_us_by_hand_and_by_the_peers_find_the_same(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(quality, "_RUNS", 1)

    told = bench("quality-scan", 20_000)

    assert told["unit"] == "rows/s"
    assert told["peak_mib"] > 50
    conditions = told["conditions"]
    assert conditions["rules"] == conditions["rules_broken"] == 20, (
        "a rule that nothing breaks proves nothing"
    )
    assert 0.09 < conditions["failing_rows"] / 20_000 < 0.12
    peers = {name.split("_")[0] for name in conditions if name.startswith(("pointblank", "pandera"))}
    assert peers == (set() if missing_peers() else {"pointblank", "pandera"})


def test_without_the_peers_the_benchmark_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(quality, "missing_peers", lambda: ("pointblank",))
    monkeypatch.setattr(quality, "_RUNS", 1)

    told = bench("quality-scan", 5_000)

    assert told["conditions"]["peers"] == "missing: pointblank; pip install 'kangshu[bench]'"


def test_places_and_counts_agree(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(quality, "_RUNS", 1)

    told = bench("findings", 5_000)

    assert told["conditions"]["places"] > 500
    assert told["conditions"]["times_the_time"] > 0


def test_all_rules_of_the_front_page_are_asked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(quality, "_RUNS", 1)

    told = bench("front-page-rules", 1_000)

    assert told["unit"] == "s"
    conditions = told["conditions"]
    assert conditions["rows"] == 1_000
    assert conditions["rules_of_scope_row"] >= 48
    assert conditions["rules_of_scope_region"] >= 5
    assert conditions["rules_broken"] >= 20


def test_the_rules_of_the_benchmark_are_declared_in_several_dimensions():
    _, _, rules = benchmark_pack()

    assert len({rule.id for rule in rules}) == 20
    assert len({rule.dimension for rule in rules}) >= 5
    assert [rule.id for rule in rules if rule.unique] == ["LB20"]
