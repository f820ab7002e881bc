"""Simulated registrations: the same seed the same table, errors of every kind, nobody real."""

from __future__ import annotations

import pyarrow.compute as pc
import pytest

from kangshu.simulation import Rates, Registrations, simulate_registrations


@pytest.fixture(scope="module")
def made() -> Registrations:
    return simulate_registrations(records=20_000, seed=5)


def test_the_same_seed_gives_the_same_table(made: Registrations):
    again = simulate_registrations(records=20_000, seed=5)

    assert again.table.equals(made.table)
    assert again.truth.equals(made.truth)
    assert not simulate_registrations(records=20_000, seed=6).table.equals(made.table)


def test_every_record_has_its_truth(made: Registrations):
    assert made.table["record"].to_pylist() == made.truth["record"].to_pylist() == list(range(20_000))
    assert 1.4 < 20_000 / len(made.truth["person"].unique()) < 2.0


def test_resident_numbers_are_nobodys(made: Registrations):
    told = [one.replace(" ", "") for one in made.table["resident_number"].drop_null().to_pylist()]

    # A mistyped digit may lie in the division; nearly all begin with one that no place has.
    assert sum(one.startswith("99") for one in told) > 0.99 * len(told)


@pytest.mark.parametrize(
    ("column", "pattern"),
    [
        ("name", "之|婴"),
        ("name", "^[A-Za-z ,]+$"),
        ("name", "[張劉陳楊]"),
        ("name", "[•‧∙⋅・]"),
        ("resident_number", "^.{15}$"),
        ("resident_number", "^.{17}$"),
        ("resident_number", " "),
        ("phone", r"^\+86"),
        ("phone", "-"),
        ("address", r"\d-\d-\d"),
        ("address", "^[^省]+$"),
        ("document_number", "^XX"),
    ],
)
def test_what_goes_wrong_at_counters_goes_wrong_here(made: Registrations, column: str, pattern: str):
    assert pc.sum(pc.match_substring_regex(made.table[column], pattern)).as_py() > 0


def test_each_column_is_sometimes_missing_but_names_and_institutions(made: Registrations):
    missing = {name for name in made.table.column_names if made.table[name].null_count}

    assert missing == {
        "sex",
        "birth_date",
        "resident_number",
        "document_type",
        "document_number",
        "phone",
        "address",
        "local_number",
    }


def test_there_are_twins_and_newborns(made: Registrations):
    assert 0.005 < pc.mean(made.truth["twin"]).as_py() < 0.03
    assert 0.003 < pc.mean(made.truth["newborn"]).as_py() < 0.02


def test_without_errors_a_person_has_one_number():
    clean = simulate_registrations(
        records=3_000,
        seed=5,
        rates=Rates(
            number_mistyped=0,
            number_of_15=0,
            number_of_mother=0,
            number_of_mother_newborn=0,
            number_of_spouse=0,
        ),
    )
    number = pc.replace_substring(pc.utf8_upper(clean.table["resident_number"]), " ", "")
    pairs = {
        (person, one)
        for person, one in zip(clean.truth["person"].to_pylist(), number.to_pylist(), strict=True)
        if one is not None
    }

    assert len(pairs) == len({person for person, _ in pairs}) == len({one for _, one in pairs})
