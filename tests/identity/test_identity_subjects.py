"""One subject is read as the columns read it. Everybody here is synthetic."""

from __future__ import annotations

from datetime import date
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from identity_reference import Claim, table

from kangshu.identity import normalising, subjects
from kangshu.identity.normalising import UNKNOWN_DAY, normalise
from kangshu.identity.online import differ_in_one
from kangshu.mapping import IdentifierKind, Subject, SubjectIdentifier
from kangshu.standards.identifiers import resident_check_digit

texts = st.text(max_size=12) | st.text(
    alphabet="芳测试·•‧・.Aaz09 -+86?X\u3000\u200b\u00a0\t\n８Ａ\U00020000ß", max_size=12
)


def of_column(function: Any, text: str) -> Any:
    return function(pa.array([text], pa.string()))[0].as_py()


@given(text=texts)
def test_one_number_is_read_as_the_column_reads_it(text):
    assert subjects.number_of(text) == of_column(normalising.numbers_of, text)
    assert subjects.local_number_of(text) == of_column(normalising.local_numbers_of, text)
    assert subjects.phone_of(text) == of_column(normalising.phones_of, text)


@given(text=texts)
@example("A. B")
@example("买买提•测试")
@example("·测试·")
@example("无名氏")
@example("UNKNOWN")
def test_one_name_is_read_as_the_column_reads_it(text):
    shown = subjects.display_name(text)
    assert shown == of_column(normalising.display_names, text)
    if shown is not None:
        assert subjects.name_key_of(shown) == of_column(normalising.fold_names, shown)


digits = st.text(alphabet="0123456789", min_size=14, max_size=18)


@given(digits=digits, day=st.dates(), exact=st.booleans())
@example(digits="99010119000229001", day=date(1900, 2, 28), exact=False)
@example(digits="990101000229001", day=date(2000, 2, 29), exact=False)
@example(digits="990101120229996", day=date(2000, 2, 29), exact=False)
def test_one_resident_number_is_read_as_the_column_reads_it(digits, day, exact):
    whole = f"990101{day:%Y%m%d}".ljust(17, "1") if exact else digits[:17].ljust(17, "1")
    for number in (digits, whole + resident_check_digit(whole), whole + "X"):
        found = normalise(table([Claim(resident=number, institution="A")]))
        identifier = SubjectIdentifier(kind=IdentifierKind.RESIDENT_NUMBER, issuer=None, value=number)
        told = subjects.read_subject(Subject(institution="A", identifiers=(identifier,)))
        expected = found.resident[0].as_py()
        assert [one.value for one in told.identifiers] == ([expected] if expected else [])
        assert told.number_birth == (found.number_birth[0] if expected else UNKNOWN_DAY)


@given(
    local=texts,
    passport=texts,
    institution=st.text(alphabet="A:9", min_size=1, max_size=4),
    name=texts,
    birth=st.dates() | st.none(),
    sex=st.sampled_from(["1", "2", "9", None]),
)
def test_one_subject_has_the_identifiers_that_the_columns_give_it(
    local, passport, institution, name, birth, sex
):
    claim = Claim(passport=passport, institution=institution, local=local, name=name, birth=birth, sex=sex)
    found = normalise(table([claim]))
    expected = [found.texts(kind)[0].as_py() for kind in normalising.IdentifierKind]

    told = subjects.read_subject(
        Subject(
            institution=institution,
            identifiers=(
                SubjectIdentifier(kind=IdentifierKind.LOCAL_NUMBER, issuer=None, value=local),
                SubjectIdentifier(kind=IdentifierKind.DOCUMENT, issuer="03", value=passport),
            ),
            name=name,
            birth_date=birth,
            sex=sex,
        )
    )

    assert [one.text for one in told.identifiers] == [text for text in expected if text]
    assert (told.birth, told.sex) == (found.birth[0], found.sex[0])


@pytest.mark.parametrize(
    ("kind", "number", "expected"),
    [
        ("03", "e12345678", ["E12345678"]),
        ("06", "H12345678 01", ["H12345678"]),
        ("05", "99010119900101002" + resident_check_digit("99010119900101002"), ["resident"]),
        (None, "99010119900101002" + resident_check_digit("99010119900101002"), ["resident"]),
        ("02", "12345678", []),
        ("99", "12345678", []),
        ("no kind", "E12345678", []),
    ],
)
def test_documents_that_name_one_person_are_read(kind, number, expected):
    identifier = SubjectIdentifier(kind=IdentifierKind.DOCUMENT, issuer=kind, value=number)
    told = subjects.read_subject(Subject(institution="A", identifiers=(identifier,)))
    found = ["resident" if one.kind == 1 else one.value for one in told.identifiers]
    assert found == expected


def test_no_value_is_shown_in_a_repr():
    identifier = SubjectIdentifier(kind=IdentifierKind.LOCAL_NUMBER, issuer="A", value="777")
    told = subjects.read_subject(
        Subject(institution="A", identifiers=(identifier,), name="测试芳", phone="13800000001")
    )
    for value in ("777", "测试芳", "1380"):
        assert value not in repr(told)


@given(name=st.text("ABCDE", min_size=5, max_size=9), other=st.text("ABCDE", min_size=5, max_size=9))
def test_nearness_of_names_is_symmetric_and_counts_one_letter(name, other):
    assert differ_in_one(name, other) == differ_in_one(other, name)
    if abs(len(name) - len(other)) > 1:
        assert not differ_in_one(name, other)


@given(name=st.text("ABCDE", min_size=6, max_size=9), place=st.integers(0, 5))
def test_one_letter_left_out_exchanged_or_swapped_is_near(name, place):
    swapped = name[:place] + name[place + 1 : place + 2] + name[place] + name[place + 2 :]
    for other in (name[:place] + name[place + 1 :], name[:place] + "Z" + name[place + 1 :], swapped):
        assert differ_in_one(name, other)
