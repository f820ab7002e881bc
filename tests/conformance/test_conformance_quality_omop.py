"""The checks of OMOP are declared, and every answer is that of the OHDSI Data Quality Dashboard."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from kangshu.app.conformance.quality import Compared, as_markdown, compare_omop
from kangshu.quality.checksets import Report, State

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = Path(os.environ.get("KANGSHU_SAMPLES", ROOT.parent / "shared" / "samples"))
PAGE = ROOT / "docs" / "conformance" / "quality.md"
MEASURED = "When this page was written, "

pytestmark = [
    pytest.mark.samples,
    pytest.mark.skipif(
        not (SAMPLES / "quality").is_dir(), reason="the sample files are not here: set KANGSHU_SAMPLES"
    ),
]

Outcome = tuple[Report, list[Compared], str]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    start = time.perf_counter()
    report, compared = compare_omop(SAMPLES, scratch=tmp_path_factory.mktemp("omop"))
    took = time.perf_counter() - start
    measured = (
        f"{MEASURED}all {len(report.answers):,} checks over {len(report.rows)} tables with "
        f"{sum(report.rows.values()):,} rows took {took:.1f} s with loading and unpacking on two threads "
        f"(load {os.getloadavg()[0]:.1f}), {sum(report.seconds.values()):.1f} s of them for the checks; "
        "one scan of a table answers up to 60 checks."
    )
    return report, compared, measured


def test_all_answers_are_equal_to_those_of_the_dashboard(outcome: Outcome):
    _, compared, _ = outcome

    assert [(one.check, one.about, one.expected, one.found) for one in compared if not one.equal] == []
    assert len(compared) == 1263


def test_all_thresholds_are_those_of_the_dashboard(outcome: Outcome):
    _, compared, _ = outcome

    assert [
        (one.check, one.about) for one in compared if float(one.expected_threshold or 0) != one.threshold
    ] == []


def test_every_declared_check_could_be_asked(outcome: Outcome):
    report, _, _ = outcome

    assert report.count(State.NOT_RUN) == 0


def test_the_page_of_answers_is_current(outcome: Outcome):
    report, compared, measured = outcome
    text = as_markdown(report, compared, measured=measured)
    print(text)  # noqa: T201 - the table is what the suite is run for
    if os.environ.get("KANGSHU_WRITE_DOCS"):
        PAGE.write_text(text, encoding="utf-8")

    assert _without_times(PAGE.read_text(encoding="utf-8")) == _without_times(text)


def _without_times(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith(MEASURED)]
