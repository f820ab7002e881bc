"""The functions that rules call, each on a table of values."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kangshu.declarations import load_pack


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        connection.execute(load_pack().functions)
        yield connection


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        ("given('-')", False),
        ("given('—')", False),
        ("given('')", False),
        ("given(NULL)", False),
        ("given('0')", True),
        ("filled('-')", True),
        ("filled('')", False),
        ("filled(NULL)", False),
        ("amount(NULL::DECIMAL(10, 2)) = 0", True),
        # The synthetic resident numbers of the division 990102, which does not exist.
        ("resident_number_valid('990102196805121016')", True),
        ("resident_number_valid('99010219680512118X')", True),
        ("resident_number_valid('99010219680512118x')", True),
        ("resident_number_valid('990102680512101')", True),
        ("resident_number_valid('990102196805121017')", False),
        ("resident_number_valid('990102196800121017')", False),
        ("resident_number_valid('9901021968051210160')", False),
        ("resident_number_valid('99010219680512101')", False),
        ("resident_number_valid('1e17')", False),
        ("resident_number_valid('-')", False),
        ("resident_number_valid(NULL)", False),
        ("resident_number_birth('990102196805121016')", 19680512),
        ("resident_number_birth('990102680512101')", 19680512),
        ("resident_number_birth('E12345678')", None),
        ("resident_number_sex('990102196805121016')", "1"),
        ("resident_number_sex('990102680512102')", "2"),
        ("resident_number_sex('-')", None),
        ("agrees_with_birth('-', DATE '1968-05-12')", None),
        ("agrees_with_sex('990102196805121016', '9')", None),
        ("day_number(TIMESTAMP '2026-03-05 23:59:00')", 20260305),
        ("completed_years(DATE '2000-02-29', DATE '2001-02-28')", 0),
        ("completed_years(DATE '2000-02-29', DATE '2001-03-01')", 1),
        ("completed_years(DATE '1968-05-12', TIMESTAMP '2026-05-12 00:00:00')", 58),
        ("completed_years(NULL::DATE, DATE '2026-05-12')", None),
        ("days_between(TIMESTAMP '2026-03-02 23:00:00', TIMESTAMP '2026-03-03 01:00:00')", 1),
        ("is_postcode('990102')", True),
        ("is_postcode('99010')", False),
        ("all_codes_text('A09.000', ['I10.x00', NULL, '-'])", "A09.000 I10.x00 -"),
        ("all_codes_text(NULL, NULL)", ""),
        ("any_begins('A09.000 S06.500', 'S06')", True),
        ("any_begins('A09.000 I10.x00S06', 'S06')", False),
        ("all_icd10('')", True),
        ("all_icd10('I63.900x007 A17.000+G01* — -')", True),
        ("all_icd10('I63.900x07')", False),
        ("all_icd9cm3('36.0700x004 17.912A0 51.23')", True),
        ("all_icd9cm3('5.1230')", False),
        ("codes_differ('A09.000 I10.x00 - -')", True),
        ("codes_differ('A09.000 I10.x00 A09.000')", False),
        ("codes_differ('')", True),
        ("is_tumour('D48.900')", True),
        ("is_tumour('D50.900')", False),
        ("is_injury('T98.300')", True),
        ("is_injury('V01.000')", False),
        ("any_female('I10.x00 N98.900')", True),
        ("any_female('N69.000')", False),
        ("any_male('N40.x00')", True),
        ("any_live_birth('O80.000 Z37.000x001')", True),
        ("any_live_birth('O80.000 Z37.100')", False),
        ("is_intervention('36.0700x004')", True),
        ("is_intervention('51.2300')", False),
        ("is_surgery('51.2300')", True),
        ("is_surgery('36.0700')", False),
        ("is_surgery('45.2300')", False),
        ("is_surgery('87.0300')", False),
        ("is_surgery('00.6600')", False),
    ],
)
def test_a_function_answers(engine: duckdb.DuckDBPyConnection, call: str, answer: object):
    assert engine.execute(f"SELECT {call}").fetchone() == (answer,)


def test_nothing_is_too_late_where_the_time_of_receipt_is_not_told(engine: duckdb.DuckDBPyConnection):
    assert engine.execute("SELECT not_after_receipt(TIMESTAMP '2999-01-01')").fetchone() == (None,)


def test_a_day_is_allowed_for_clocks_and_zones():
    with duckdb.connect(":memory:") as engine:
        engine.execute(load_pack().functions)
        engine.execute("SET VARIABLE received_at = TIMESTAMP '2026-03-05 10:00:00'")
        moments = "TIMESTAMP '2026-03-06 10:00:00', TIMESTAMP '2026-03-06 10:00:01'"

        found = engine.execute(f"SELECT not_after_receipt(x) FROM unnest([{moments}]) AS t(x)").fetchall()

    assert found == [(True,), (False,)]


def check_character(seventeen: str) -> str:
    """The check character as GB 11643 writes it: weights, then a table."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(int(digit) * weight for digit, weight in zip(seventeen, weights, strict=True))
    return "10X98765432"[total % 11]


@given(
    division=st.integers(100000, 999999),
    birth=st.dates(min_value=date(1900, 1, 1), max_value=date(2099, 12, 31)),
    serial=st.integers(0, 999),
    last=st.sampled_from("0123456789X"),
)
def test_a_number_is_valid_with_the_check_character_of_the_standard_and_no_other(
    engine: duckdb.DuckDBPyConnection, division: int, birth: date, serial: int, last: str
):
    seventeen = f"{division}{birth:%Y%m%d}{serial:03d}"

    found = engine.execute("SELECT resident_number_valid(?)", [seventeen + last]).fetchone()

    assert found == (last == check_character(seventeen),)
