"""The benchmarks at a small size: they run, tell what they promise, and both ways of asking rules agree."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from typer.testing import CliRunner

from kangshu.app.benchmarks import BENCHMARKS, Measurement
from kangshu.app.benchmarks.model import percentiles
from kangshu.app.benchmarks.surroundings import Watch
from kangshu.app.benchmarks.visitor import Visitor
from kangshu.app.cli import app

NAMES = [
    "front-page-intake",
    "lab-intake",
    "rule-scan",
    "quality-scan",
    "quality-scan-spark",
    "findings",
    "front-page-rules",
    "person-page",
    "hl7-files",
    "mllp",
    "fhir-create",
    "fhir-read",
    "bundles",
    "timeline",
    "card-scan",
    "card-batch",
    "result-peak",
    "plausibility",
    "match-one",
    "link-online",
    "link-batch",
]


def bench(*words: str) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(app, ["bench", *words, "--json"])
    return result.exit_code, json.loads(result.stdout)


def test_without_a_name_the_benchmarks_are_listed_with_a_sentence_each():
    status, told = bench()

    assert status == 0
    assert [one["name"] for one in told["benchmarks"]] == NAMES
    assert all(one["about"] and one["about_en"] and one["size"] for one in told["benchmarks"])


def test_an_unknown_name_is_wrong_usage_and_the_known_ones_are_told():
    status, told = bench("fast-everything")

    assert status == 2
    assert "rule-scan" in told["error"]["reason"]


def test_a_measurement_tells_only_what_applies():
    measured = Measurement(value=1.0, unit="rows/s", ratio=0.9)

    assert measured.facts() == {"value": 1.0, "unit": "rows/s", "ratio": 0.9, "conditions": {}}


def test_percentiles_are_times_that_were_measured():
    assert percentiles([float(time) for time in range(1, 101)]) == {"p50": 51.0, "p95": 96.0, "p99": 100.0}


def test_the_watch_sees_memory_that_is_gone_again():
    with Watch() as idle:
        time.sleep(0.15)
    with Watch() as busy:
        held = bytearray(b"x") * (200 << 20)
        time.sleep(0.25)
        del held

    assert idle.use is not None
    assert busy.use is not None
    assert busy.use.peak_mib >= idle.use.peak_mib + 150
    assert busy.use.seconds >= 0.25


def test_a_visitor_sends_each_cookie_to_its_own_paths_only():
    seen: list[tuple[str, bytes]] = []

    async def site(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        seen.append((scope["path"], headers[b"cookie"]))
        body = (await receive())["body"]
        cookie = b"kept=1; Path=/console/persons/7; HttpOnly"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"set-cookie", cookie)]})
        await send({"type": "http.response.body", "body": b"you sent " + body})

    async def scenario() -> None:
        visitor = Visitor(site)
        answer = await visitor.post("/console/persons/7/open", {"purpose": "treatment"})
        assert (answer.status, answer.body) == (200, b"you sent purpose=treatment")
        await visitor.get("/console/persons/7")
        await visitor.get("/console/persons/8")

    asyncio.run(scenario())

    assert seen == [
        ("/console/persons/7/open", b""),
        ("/console/persons/7", b"kept=1"),
        ("/console/persons/8", b""),
    ]


def test_the_compiled_rules_and_the_statement_by_hand_count_the_same():
    status, told = bench("rule-scan", "--size", "3000")

    assert status == 0
    assert told["unit"] == "rows/s"
    assert told["ratio"] == pytest.approx(told["value"] / told["baseline"], abs=0.01)
    assert told["conditions"]["rules_broken"] > 20, "rows that break nothing would prove nothing"


@pytest.mark.database
def test_a_file_is_taken_in_against_known_persons():
    status, told = bench("lab-intake", "--size", "4000")

    assert status == 0
    assert (told["name"], told["size"], told["unit"]) == ("lab-intake", 4000, "rows/s")
    assert told["value"] > 0
    assert told["peak_mib"] > 50
    conditions = told["conditions"]
    assert conditions["accepted"] + conditions["rejected"] == 4000
    assert conditions["persons_known_before"] > 100
    assert conditions["persons_created"] < conditions["persons_known_before"] / 4


@pytest.mark.database
@pytest.mark.slow
def test_pages_of_persons_with_500_rows_open():
    status, told = bench("person-page", "--size", "20000")

    assert status == 0
    assert told["unit"] == "ms"
    assert 0 < told["p50"] <= told["p95"] <= told["p99"]
    assert told["conditions"]["rows_of_a_person"] == 500
    assert told["conditions"]["grant_audit_rows_p50_ms"] < told["p50"]


@pytest.mark.database
@pytest.mark.slow
def test_what_is_wrong_in_a_simulated_region_is_found_and_hardly_anything_else():
    status, told = bench("plausibility", "--size", "1000")
    conditions = told["conditions"]

    assert status == 0
    assert told["value"] >= 0.9
    assert conditions["precision"] >= 0.8
    assert all(
        found.split(" of ")[0] == found.split(" of ")[1]
        for found in conditions["row_errors"]["found_of_put_in"].values()
    )
    assert conditions["row_errors"]["false_findings_on_clean_rows"] == {}
    assert all(found.endswith(" 0 false") for found in conditions["orphans"].values())


def test_every_benchmark_of_the_interface_is_there():
    assert list(BENCHMARKS) == NAMES
