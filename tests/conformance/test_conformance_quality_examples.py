"""What the rules find in real exports is what plain queries over the files find, and what the pages tell."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import tempfile
from collections import Counter
from datetime import date
from pathlib import Path

import duckdb
import pytest

from kangshu import quality
from kangshu.app.assessing import assess_everything
from kangshu.app.conformance.tables import take_csv_samples
from kangshu.app.platform import open_platform
from kangshu.storage import embedded

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = Path(os.environ.get("KANGSHU_SAMPLES", ROOT.parent / "shared" / "samples"))
PAGES = {
    "mimic_": ROOT / "docs" / "examples" / "mimic-iv-ed.md",
    "synthea_": ROOT / "docs" / "examples" / "synthea.md",
}

pytestmark = [
    pytest.mark.samples,
    pytest.mark.database,
    pytest.mark.skipif(
        not (SAMPLES / "csv").is_dir(), reason="the sample files are not here: set KANGSHU_SAMPLES"
    ),
]

# Each found again without declarations or engine: SQL over the files' own columns. Times of Synthea are
# universal; the platform holds them on its own clock, with the summer times that China had.
_STAY = "LEFT JOIN edstays s USING (stay_id)"
_VISIT = "JOIN encounters e ON e.Id = x.ENCOUNTER"
_EARLY = "CAST(x.{0} AS DATE) < CAST({1} AS DATE)"
_CLOCK = "timezone('Asia/Shanghai', timezone('UTC', CAST(e.START AS TIMESTAMP)))"
_OUTSIDE = (
    "NOT CAST(x.charttime AS TIMESTAMP) BETWEEN CAST(s.intime AS TIMESTAMP) - INTERVAL 1 HOUR "
    "AND CAST(s.outtime AS TIMESTAMP) + INTERVAL 1 HOUR"
)
_NO_VITALS = "coalesce(temperature, heartrate, resprate, o2sat, sbp, dbp) IS NULL"
_IN_WORDS = "pain IS NOT NULL AND TRY_CAST(pain AS DOUBLE) IS NULL"
_SEVERAL_NAMES = "code IN (SELECT code FROM {0} GROUP BY code HAVING count(DISTINCT description) > 1)"
_OF_THE_DEAD = "x JOIN patients p ON p.Id = x.PATIENT WHERE x.STOP IS NULL AND p.DEATHDATE IS NOT NULL"

QUERIES = {
    "MED004": "SELECT count(*) FROM edstays WHERE hadm_id IS NOT NULL AND disposition <> 'ADMITTED'",
    "MED005": "SELECT count(*) FROM edstays "
    "WHERE epoch(CAST(outtime AS TIMESTAMP) - CAST(intime AS TIMESTAMP)) > 86400",
    "MED006": "SELECT count(*) FROM edstays WHERE arrival_transport = 'UNKNOWN'",
    "MED009": "SELECT count(*) FROM edstays s ANTI JOIN diagnosis USING (stay_id) "
    "WHERE disposition NOT IN ('LEFT WITHOUT BEING SEEN', 'ELOPED')",
    "MMR004": f"SELECT count(*) FROM medrecon x {_STAY} WHERE {_OUTSIDE}",
    "MPX002": "SELECT count(*) FROM pyxis WHERE gsn IS NULL",
    "MPX004": f"SELECT count(*) FROM pyxis x {_STAY} WHERE {_OUTSIDE}",
    "MPX005": "SELECT count(*) - count(DISTINCT (stay_id, charttime, med_rn)) FROM pyxis",
    "MTR005": "SELECT count(*) FROM triage WHERE CAST(dbp AS DOUBLE) > CAST(sbp AS DOUBLE)",
    "MTR006": "SELECT count(*) FROM triage WHERE acuity IS NULL",
    "MTR007": "SELECT count(*) FROM triage WHERE CAST(dbp AS DOUBLE) > 200",
    "MTR009": f"SELECT count(*) FROM triage WHERE {_NO_VITALS}",
    "MTR010": "SELECT count(*) FROM triage WHERE pain = '13'",
    "MTR011": f"SELECT count(*) FROM triage WHERE {_IN_WORDS}",
    "MTR012": "SELECT count(*) FROM triage WHERE resprate IN ('16', '18', '16.0', '18.0')",
    "MTR013": "SELECT count(*) FROM triage WHERE CAST(heartrate AS DOUBLE) % 10 = 0",
    "MVS002": "SELECT count(*) FROM vitalsign WHERE CAST(temperature AS DOUBLE) < 80",
    "MVS005": "SELECT count(*) FROM vitalsign WHERE CAST(dbp AS DOUBLE) > CAST(sbp AS DOUBLE)",
    "MVS006": "SELECT count(*) FROM vitalsign WHERE CAST(temperature AS DOUBLE) BETWEEN 30 AND 45",
    "MVS007": "SELECT count(*) FROM vitalsign WHERE CAST(sbp AS DOUBLE) < 40",
    "MVS009": f"SELECT count(*) FROM vitalsign WHERE {_NO_VITALS}",
    "MVS011": f"SELECT count(*) FROM vitalsign WHERE {_IN_WORDS}",
    "MVS012": "SELECT count(*) FROM vitalsign WHERE resprate IN ('16', '18', '16.0', '18.0')",
    "MVS013": "SELECT count(*) FROM vitalsign WHERE CAST(heartrate AS DOUBLE) % 10 = 0",
    "MVS015": f"SELECT count(*) FROM vitalsign x {_STAY} WHERE {_OUTSIDE}",
    "MVS016": "SELECT count(*) FROM vitalsign "
    "JOIN triage USING (stay_id, heartrate, resprate, o2sat, sbp, dbp)",
    "MVS017": "SELECT count(*) FROM (SELECT [heartrate, resprate, o2sat, sbp, dbp] AS now, lag(now) OVER "
    "(PARTITION BY stay_id ORDER BY charttime) AS earlier FROM vitalsign) WHERE now = earlier "
    "AND len(list_filter(now, lambda one: one IS NULL)) = 0",
    "SAL005": f"SELECT count(*) FROM allergies x {_VISIT} WHERE {_EARLY.format('START', _CLOCK)}",
    "SCP005": f"SELECT count(*) FROM careplans x {_VISIT} WHERE {_EARLY.format('START', _CLOCK)}",
    "SCP006": f"SELECT count(*) FROM careplans {_OF_THE_DEAD}",
    "SCO005": f"SELECT count(*) FROM conditions x {_VISIT} WHERE {_EARLY.format('START', _CLOCK)}",
    "SCO006": f"SELECT count(*) FROM conditions {_OF_THE_DEAD}",
    "SCO007": f"SELECT count(*) FROM conditions WHERE {_SEVERAL_NAMES.format('conditions')}",
    "SDE005": f"SELECT count(*) FROM devices {_OF_THE_DEAD}",
    "SEN007": "SELECT count(DISTINCT b.Id) FROM encounters a JOIN encounters b ON a.PATIENT = b.PATIENT "
    "AND (a.START, a.STOP, a.Id) < (b.START, b.STOP, b.Id) AND a.STOP > b.START",
    "SEN008": f"SELECT count(*) FROM encounters WHERE {_SEVERAL_NAMES.format('encounters')}",
    "SEN009": "SELECT sum(n) FROM "
    "(SELECT count(*) AS n FROM encounters GROUP BY PATIENT, START[-7:]) WHERE n > 5",
    "SEN010": "SELECT count(*) FROM encounters WHERE ENCOUNTERCLASS = 'emergency' "
    "AND epoch(CAST(STOP AS TIMESTAMP) - CAST(START AS TIMESTAMP)) >= 73 * 3600",
    "SME001": "SELECT count(*) FROM medications WHERE STOP < START",
    "SME005": f"SELECT count(*) FROM medications {_OF_THE_DEAD}",
    "SME006": f"SELECT count(*) FROM medications WHERE {_SEVERAL_NAMES.format('medications')}",
    "SOR002": "SELECT count(*) FROM organizations WHERE ADDRESS IS NULL OR PHONE IS NULL",
    "SOR003": "SELECT count(*) FROM organizations o WHERE CAST(UTILIZATION AS INTEGER) <> "
    "(SELECT count(*) FROM encounters e WHERE e.ORGANIZATION = o.Id)",
    "SPA003": "SELECT count(*) FROM patients WHERE ZIP = '00000'",
    "SPR005": f"SELECT count(*) FROM procedures x {_VISIT} WHERE x.START > e.STOP",
    "SPR006": f"SELECT count(*) FROM procedures WHERE {_SEVERAL_NAMES.format('procedures')}",
    "SPV003": "SELECT count(*) FROM providers o WHERE CAST(ENCOUNTERS AS INTEGER) <> "
    "(SELECT count(*) FROM encounters e WHERE e.PROVIDER = o.Id)",
    "SPY003": "SELECT count(*) FROM payers o WHERE CAST(COVERED_ENCOUNTERS AS INTEGER) + "
    "CAST(UNCOVERED_ENCOUNTERS AS INTEGER) <> (SELECT count(*) FROM encounters e WHERE e.PAYER = o.Id)",
    "SSU004": f"SELECT count(*) FROM supplies x {_VISIT} WHERE {_EARLY.format('DATE', _CLOCK)}",
    "SSU005": "SELECT sum(n) FROM "
    "(SELECT count(*) AS n FROM supplies GROUP BY PATIENT, ENCOUNTER, CODE, DATE) WHERE n > 1",
}


@pytest.fixture(scope="module")
def found() -> Counter[str]:
    place = Path(tempfile.mkdtemp(prefix="kangshu-test-"))

    async def work() -> Counter[str]:
        async with open_platform(place / "home") as platform:
            await take_csv_samples(platform, SAMPLES)
            names = [name for name in platform.pack.datasets if name.startswith(tuple(PAGES))]
            await assess_everything(platform, datasets=names)
            async with platform.database.connection() as connection:
                findings = await quality.list_findings(
                    connection, first=date(1, 1, 1), last=date(9999, 12, 1)
                )
        rows: Counter[str] = Counter()
        for one in findings:
            rows[one.rule] += one.rows
        return rows

    try:
        return asyncio.run(work())
    finally:
        embedded.stop(place / "home")
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def files() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    for source in ("mimic_iv_ed_demo", "synthea_csv"):
        for path in (SAMPLES / "csv" / source).glob("*.csv"):
            connection.execute(
                f"CREATE TABLE {path.stem} AS FROM read_csv('{path}', header = true, all_varchar = true)"
            )
    return connection


def test_the_rules_find_what_plain_queries_find(found: Counter[str], files: duckdb.DuckDBPyConnection):
    expected = {rule: (files.execute(sql).fetchone() or (0,))[0] for rule, sql in QUERIES.items()}

    assert dict(found) == {rule: int(rows) for rule, rows in expected.items()}


def test_dates_of_synthea_are_those_of_a_clock_in_the_central_united_states(
    files: duckdb.DuckDBPyConnection,
):
    def too_early(zone: str) -> int:
        row = files.execute(
            f"SELECT count(*) FROM conditions x {_VISIT} WHERE CAST(x.START AS DATE) "
            f"< CAST(timezone('{zone}', timezone('UTC', CAST(e.START AS TIMESTAMP))) AS DATE)"
        ).fetchone()
        return row[0] if row else -1

    assert [too_early(zone) for zone in ("UTC", "America/New_York", "America/Chicago", "Asia/Shanghai")] == [
        710,
        172,
        0,
        1635,
    ]


@pytest.mark.parametrize("prefix", sorted(PAGES))
def test_the_example_page_tells_the_figures_that_are_found(found: Counter[str], prefix: str):
    letter = prefix[0].upper()
    page = PAGES[prefix].read_text(encoding="utf-8")
    told = {rule: int(rows.replace(",", "")) for rule, rows in _ROW.findall(page)}

    assert told == {rule: rows for rule, rows in found.items() if rule.startswith(letter)}


_ROW = re.compile(r"^\| `([MS][A-Z]{2}\d{3})` \|.*\| ([\d,]+) of [\d,]+ \|", re.MULTILINE)
