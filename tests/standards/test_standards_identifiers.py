"""Identifiers against the standards' examples and against laws. All numbers are synthetic or examples."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kangshu.standards.identifiers import (
    DivisionLevel,
    DocumentKind,
    InstitutionCode,
    ResidentNumber,
    credit_check_character,
    division_level,
    division_prefix,
    division_within,
    is_credit_code,
    is_organisation_code,
    is_resident_number,
    normalise,
    organisation_check_digit,
    read_document_number,
    resident_check_digit,
    upgrade_resident_number,
)

CREDIT_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
divisions = st.from_regex(r"[1-9][0-9]{5}", fullmatch=True)
birth_dates = st.dates(min_value=date(1800, 1, 1), max_value=date(2100, 12, 31))
serials = st.integers(min_value=0, max_value=999).map("{:03}".format)
resident_numbers = st.builds(
    lambda division, birth, serial: _with_check(f"{division}{birth:%Y%m%d}{serial}"),
    divisions,
    birth_dates,
    serials,
)
organisation_codes = st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=8, max_size=8).map(
    lambda first: first + organisation_check_digit(first)
)
credit_codes = st.builds(
    lambda head, division, organisation: (
        (first := head + division + organisation) + credit_check_character(first)
    ),
    st.sampled_from(["11", "12", "91", "92", "N1"]),
    divisions,
    organisation_codes.filter(lambda code: set(code) <= set(CREDIT_ALPHABET)),
)


def _with_check(first_17: str) -> str:
    return first_17 + resident_check_digit(first_17)


@given(division=divisions, birth=birth_dates, serial=serials)
def test_a_resident_number_tells_where_when_and_which_sex(division: str, birth: date, serial: str):
    number = ResidentNumber.parse(_with_check(f"{division}{birth:%Y%m%d}{serial}"))

    assert number.division_code == division
    assert number.birth_date == birth
    assert number.sex == ("1" if int(serial) % 2 else "2")


def test_the_example_of_the_standard_is_well_formed():
    assert is_resident_number("11010519491231002X")  # GB 11643-1999, annex


@given(number=resident_numbers, place=st.integers(0, 16), step=st.integers(1, 9))
def test_one_wrong_digit_is_always_noticed(number: str, place: int, step: int):
    wrong = str((int(number[place]) + step) % 10)

    assert not is_resident_number(number[:place] + wrong + number[place + 1 :])


@given(number=resident_numbers, place=st.integers(0, 15))
def test_two_neighbours_exchanged_are_noticed_unless_they_are_the_same(number: str, place: int):
    exchanged = number[:place] + number[place + 1] + number[place] + number[place + 2 :]

    assert is_resident_number(exchanged) == (exchanged == number)


@given(number=resident_numbers.filter(lambda number: number[6:8] == "19" and number[14:17] < "996"))
def test_an_old_number_is_the_new_one_without_century_and_check_digit(number: str):
    old = number[:6] + number[8:17]

    assert upgrade_resident_number(old) == number
    assert ResidentNumber.parse(old) == ResidentNumber.parse(number)


@pytest.mark.parametrize("serial", ["996", "997", "998", "999"])
def test_old_serials_kept_for_centenarians_mean_the_19th_century(serial: str):
    assert ResidentNumber.parse("990101" + "850228" + serial).birth_date == date(1885, 2, 28)


@pytest.mark.parametrize(
    "written", ["99010119900307663x", "９９０１０１１９９００３０７６６３Ｘ", " 990101 19900307 663X\t"]
)
def test_careless_writing_does_not_matter(written: str):
    first = normalise(written)[:17]

    assert is_resident_number(written) == (resident_check_digit(first) == "X")
    assert ResidentNumber.parse(first + resident_check_digit(first).lower()).number[:17] == first


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "17 digits"),
        ("1101051949123100X2", "17 digits"),
        ("01010519491231002X", "17 digits"),
        ("110105194912310020", "check digit"),
        (_with_check("99010120240230001"), "birth date"),
        (_with_check("99010117991231001"), "birth date"),
        ("990101850230001", "birth date"),
        ("110105１94912310023456", "17 digits"),
    ],
)
def test_what_is_no_resident_number_is_refused_with_the_reason_and_without_the_number(text: str, why: str):
    with pytest.raises(ValueError, match=why) as refused:
        ResidentNumber.parse(text)

    assert not text or text not in str(refused.value)


def test_digits_of_other_scripts_are_no_digits():
    arabic = "11010519491231002X".translate({ord(str(n)): 0x660 + n for n in range(10)})

    assert not is_resident_number(arabic)


def test_a_resident_number_does_not_show_in_its_representation():
    assert "1949" not in repr(ResidentNumber.parse("11010519491231002X"))


@given(text=st.text(max_size=30))
def test_any_text_is_either_well_formed_or_not_and_nothing_breaks(text: str):
    assert is_resident_number(text) in (True, False)
    assert is_credit_code(text) in (True, False)
    assert is_organisation_code(text) in (True, False)
    for kind in DocumentKind:
        assert read_document_number(kind, text) != ""


@pytest.mark.parametrize("compute", [resident_check_digit, organisation_check_digit, credit_check_character])
@pytest.mark.parametrize("text", ["", "1234567", "１２３４５６７８", "x" * 17, "I" * 17])
def test_check_digits_are_computed_of_the_right_places_only(compute, text: str):
    with pytest.raises(ValueError, match="computed from"):
        compute(text)


@pytest.mark.parametrize("number", ["", "12345678901234", "012345678901234", "1234567890123456"])
def test_only_fifteen_digits_are_upgraded(number: str):
    with pytest.raises(ValueError, match="15 digits"):
        upgrade_resident_number(number)


def test_organisation_codes_of_the_standard():
    assert is_organisation_code("D2143569-X")  # GB 11714-1997
    assert not is_organisation_code("D2143569-1")


@given(code=organisation_codes, place=st.integers(0, 7), digit=st.sampled_from("0123456789"))
def test_one_wrong_digit_in_an_organisation_code_is_noticed(code: str, place: int, digit: str):
    if code[place].isdigit() and code[place] != digit:
        assert not is_organisation_code(code[:place] + digit + code[place + 1 :])


def test_a_credit_code_of_the_standard():
    assert is_credit_code("91350100M000100Y43")  # GB 32100-2015


@given(code=credit_codes)
def test_credit_codes_with_their_check_characters_are_well_formed(code: str):
    assert is_credit_code(code)
    assert is_credit_code(code.lower())


@given(code=credit_codes, place=st.integers(0, 17), other=st.sampled_from(CREDIT_ALPHABET))
def test_one_wrong_place_in_a_credit_code_is_noticed(code: str, place: int, other: str):
    if code[place] != other:
        assert not is_credit_code(code[:place] + other + code[place + 1 :])


@given(organisation=organisation_codes, division=divisions)
def test_an_institution_code_tells_its_parts(organisation: str, division: str):
    code = InstitutionCode(code=f"{organisation}{division}11A1001")

    assert (code.organisation_code, code.division_code) == (organisation, division)
    assert (code.economic_type, code.type, code.management_type) == ("11", "A100", "1")


@pytest.mark.parametrize("code", ["", "D2143569X99010111A10", "D2143569199010111A1001"])
def test_other_codes_are_no_institution_codes(code: str):
    with pytest.raises(ValueError, match=r"institution code is|check digit"):
        InstitutionCode(code=code)


@pytest.mark.parametrize(
    ("code", "prefix", "level"),
    [
        ("99", "99", DivisionLevel.PROVINCE),
        ("990000", "99", DivisionLevel.PROVINCE),
        ("9900", "99", DivisionLevel.PROVINCE),
        ("990100", "9901", DivisionLevel.CITY),
        ("990102", "990102", DivisionLevel.COUNTY),
        ("429004", "429004", DivisionLevel.COUNTY),
        ("990102000", "990102", DivisionLevel.COUNTY),
        ("990102001", "990102001", DivisionLevel.TOWNSHIP),
        ("990102001000", "990102001", DivisionLevel.TOWNSHIP),
        ("990102001200", "990102001200", DivisionLevel.VILLAGE),
        ("990000000000", "99", DivisionLevel.PROVINCE),
    ],
)
def test_divisions_know_their_level_whatever_zeros_follow(code: str, prefix: str, level: DivisionLevel):
    assert division_prefix(code) == prefix
    assert division_level(code) is level


@given(code=st.from_regex(r"[1-9][0-9]{11}", fullmatch=True), length=st.sampled_from([2, 4, 6, 9, 12]))
def test_a_division_lies_within_every_shorter_form_of_itself(code: str, length: int):
    assert division_within(code, code[:length])
    assert division_within(code, code[:length].ljust(12, "0"))


def test_a_division_does_not_lie_in_its_neighbour():
    assert not division_within("990102", "990200")
    assert not division_within("990100", "990102")


@pytest.mark.parametrize("code", ["", "9", "000000", "99010", "9901021", "ab", "９９"])
def test_other_texts_are_no_divisions(code: str):
    with pytest.raises(ValueError, match="division code"):
        division_prefix(code)


@pytest.mark.parametrize(
    ("kind", "written", "lasting"),
    [
        ("01", "110105491231002", "11010519491231002X"),
        ("01", "110105194912310021", None),
        ("03", "e12345678", "E12345678"),
        ("03", "EA1234567", "EA1234567"),
        ("03", "ABCDEFGH", None),
        ("03", "1234", None),
        ("06", "H1234567801", "H12345678"),
        ("06", "M12345678", "M12345678"),
        ("06", "X12345678", None),
        ("07", "1234567801", "12345678"),
        ("07", "1234567801(B)", "12345678"),
        ("07", "12345678", "12345678"),
        ("07", "1234567", None),
        ("08", "R990123456", "R990123456"),
        ("09", _with_check("81000019900307001"), _with_check("81000019900307001")),
        ("09", "81000019900307", None),
        ("10", "USA110078010101", "USA110078010101"),
        ("10", _with_check("91101019900307001"), _with_check("91101019900307001")),
        ("04", "军字第2001988号", "军字第2001988号"),
        ("99", "???", None),
    ],
)
def test_documents_are_known_by_their_lasting_part(kind: str, written: str, lasting: str | None):
    assert read_document_number(DocumentKind(kind), written) == lasting
