"""The model that ships: its policies for twins, newborns, foreigners, unknown persons and lent numbers.

All people are synthetic; resident numbers carry division codes that no place has.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from kangshu.identity.linkage import (
    PROFILE_COLUMNS,
    Account,
    Registration,
    Verdict,
    default_model,
    dump_model,
    load_model,
    prepare_one,
    score,
)
from kangshu.identity.linkage.conditions import All, Any, Edits, Either, Equal, Known, Near, Not
from kangshu.identity.linkage.declared import read_declaration, read_words, weights_of, with_weights
from kangshu.identity.linkage.scoring import columns_of
from kangshu.standards.identifiers import resident_check_digit

BORN = date(1988, 5, 17)
HOME = "云海省澜州市临江区青岩街道梧桐路12号锦绣花园3幢2单元502室"


def resident(born: date, serial: int) -> str:
    first = f"990101{born:%Y%m%d}{serial:03d}"
    return first + resident_check_digit(first)


WOMAN = Registration(
    name="白雅琴",
    sex="2",
    birth_date=BORN,
    resident_number=resident(BORN, 28),
    phone="16012345678",
    address=HOME,
    institution="A",
)
NEWBORN = Registration(
    name="白雅琴之女",
    sex="2",
    birth_date=date(2026, 2, 3),
    phone="16012345678",
    address=HOME,
    institution="B",
)


def judged(one: Registration, other: Registration) -> Account:
    account = score(default_model(), prepare_one(one), prepare_one(other))
    assert account == score(default_model(), prepare_one(one), prepare_one(other)), "the same every time"
    return account


@pytest.mark.parametrize(
    "other",
    [
        replace(WOMAN, name="白雅琹", institution="B"),
        replace(WOMAN, name="BAI YAQIN", resident_number=None),
        replace(WOMAN, resident_number=None, birth_date=date(1988, 1, 1), institution="B"),
        replace(WOMAN, resident_number=None, phone="16112345678", institution="B"),
        replace(WOMAN, birth_date=None, resident_number=None, institution="B"),
        replace(WOMAN, resident_number=WOMAN.resident_number[:-2] + "00", institution="B"),
    ],
    ids=["variant", "pinyin", "1 January", "new telephone", "no birth date", "mistyped number"],
)
def test_one_person_with_an_error_is_linked(other: Registration):
    assert judged(WOMAN, other).verdict is Verdict.LINK


def test_two_valid_numbers_are_never_one_person():
    account = judged(WOMAN, replace(WOMAN, resident_number=resident(BORN, 46)))

    assert account.verdict is Verdict.DIFFERENT
    assert "two_numbers" in account.guards


def test_numbers_without_a_check_digit_do_not_forbid():
    old = resident(BORN, 28)[:6] + resident(BORN, 28)[8:17]
    wrong = old[:-1] + str((int(old[-1]) + 2) % 10)

    assert "two_numbers" not in judged(WOMAN, replace(WOMAN, resident_number=wrong)).guards


def test_twins_go_to_a_human_where_no_number_tells_them_apart():
    account = judged(
        replace(WOMAN, resident_number=None),
        replace(WOMAN, name="白雅兰", resident_number=None, institution="B"),
    )

    assert account.verdict is Verdict.POSSIBLE
    assert "twin_names" in account.guards


def test_twins_of_different_sex_are_two():
    brother = replace(WOMAN, name="白雅军", sex="1", resident_number=None)

    assert judged(replace(WOMAN, resident_number=None), brother).verdict is Verdict.DIFFERENT


def test_a_newborn_with_the_mothers_number_is_not_the_mother():
    child = replace(NEWBORN, resident_number=WOMAN.resident_number)

    account = judged(WOMAN, child)

    assert account.verdict is Verdict.DIFFERENT
    assert "lent_number" in account.guards


def test_a_newborn_is_found_again_under_the_mothers_name():
    assert judged(NEWBORN, replace(NEWBORN, name="白雅琴女婴", institution="C")).verdict is Verdict.LINK


def test_newborn_twins_are_two_and_an_unmarked_one_goes_to_a_human():
    first, second = replace(NEWBORN, name="白雅琴之大女"), replace(NEWBORN, name="白雅琴之小女")

    assert judged(first, second).verdict is Verdict.DIFFERENT
    assert judged(first, NEWBORN).verdict is Verdict.POSSIBLE


def test_a_newborn_of_another_day_is_not_linked():
    sister = replace(NEWBORN, birth_date=date(2024, 1, 9))

    assert judged(NEWBORN, sister).verdict is not Verdict.LINK


def test_unknown_persons_are_never_linked():
    nobody = Registration(name="无名氏", sex="1", institution="A")

    assert judged(nobody, nobody).verdict is Verdict.DIFFERENT


def test_a_foreigner_is_found_by_passport_with_the_name_turned():
    one = Registration(
        name="JURGEN MULLER", sex="1", birth_date=BORN, document_type="03", document_number="XX9123456"
    )

    assert judged(one, replace(one, name="Müller, Jürgen")).verdict is Verdict.LINK


def test_a_foreigner_with_a_new_passport_is_still_found_by_all_else():
    one = Registration(
        name="JURGEN MULLER",
        sex="1",
        birth_date=BORN,
        document_type="03",
        document_number="XX9123456",
        phone="16012345678",
    )

    assert judged(one, replace(one, document_number="XX8123456")).verdict is Verdict.LINK


def test_a_lent_card_goes_to_a_human():
    friend = Registration(name="郭桂芬", sex="2", resident_number=WOMAN.resident_number, phone="16012345678")

    assert judged(WOMAN, friend).verdict is Verdict.POSSIBLE


def test_man_and_wife_are_two():
    man = replace(WOMAN, name="郭志远", sex="1", birth_date=date(1986, 5, 17), resident_number=None)

    assert judged(replace(WOMAN, resident_number=None), man).verdict is Verdict.DIFFERENT


def test_a_common_name_says_less_than_a_rare_one():
    common = Registration(name="王静", sex="2", birth_date=BORN)
    rare = Registration(name="逯嬛嬛", sex="2", birth_date=BORN)

    assert judged(common, common).weight < judged(rare, rare).weight


def test_the_model_survives_being_written_and_looks_at_columns_that_profiles_have():
    model = default_model()

    assert load_model(dump_model(model)) == model
    assert set(columns_of(model)) <= set(PROFILE_COLUMNS)


def test_what_was_learnt_is_told_apart_from_what_is_declared():
    model = default_model()

    again = with_weights(model, weights_of(model))

    assert again.comparisons == model.comparisons
    assert again.prior == model.prior
    assert {column: len(values) for column, values in again.terms.items()} == {
        column: len(values) for column, values in model.terms.items()
    }


def test_words_become_conditions():
    assert read_words("known a") == Known(column="a")
    assert read_words("equal a b") == Equal(column="a", across="b")
    assert read_words("differ a") == All(of=(Known(column="a"), Not(of=Equal(column="a"))))
    assert read_words(["edits a 1", "near b 31"]) == All(
        of=(Edits(column="a", most=1), Near(column="b", most=31))
    )
    assert read_words({"any": ["either a X", "not known b"]}) == Any(
        of=(Either(column="a", value="X"), Not(of=Known(column="b")))
    )


@pytest.mark.parametrize("words", ["", "sounds a", "edits a", "edits a b", "not", {"all": ["known a"]}, 3])
def test_words_without_a_meaning_are_refused(words: object):
    with pytest.raises(ValueError, match=r"\S"):
        read_words(words)  # type: ignore[arg-type]


def test_a_declaration_that_lacks_a_part_is_refused():
    with pytest.raises(KeyError):
        read_declaration('name = "x"')
