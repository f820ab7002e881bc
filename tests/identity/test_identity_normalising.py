"""Columns are normalised as the standards and the policy say, value by value."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from identity_reference import Claim, table

from kangshu.identity import IdentifierKind
from kangshu.identity.normalising import (
    UNKNOWN_DAY,
    display_names,
    fold_names,
    local_numbers_of,
    normalise,
    numbers_of,
    phone_values,
    phones_of,
    read_resident_numbers,
)
from kangshu.standards.identifiers import ResidentNumber, resident_check_digit

digits = st.text("0123456789X", min_size=14, max_size=19)
dated = st.builds(
    lambda day, serial, check, off: f"990101{day:%Y%m%d}{serial:03d}" + (check if off else ""),
    st.dates(date(1795, 1, 1), date(2100, 1, 1)),
    st.integers(0, 999),
    st.sampled_from("0123456789X"),
    st.booleans(),
)
right = dated.map(lambda text: text[:17] + resident_check_digit(text[:17]))
old = st.builds(
    lambda day, serial: f"990101{day:%y%m%d}{serial:03d}", st.dates(date(1900, 1, 1)), st.integers(0, 999)
)


@given(numbers=st.lists(st.one_of(st.none(), digits, dated, right, old), max_size=20))
def test_resident_numbers_in_columns_are_read_as_one_by_one(numbers: list[str | None]):
    expected: list[ResidentNumber | None] = []
    for number in numbers:
        try:
            expected.append(ResidentNumber.parse(number) if number else None)
        except ValueError:
            expected.append(None)

    found, days = read_resident_numbers(pa.array(numbers, pa.string()))

    assert found.to_pylist() == [read.number if read else None for read in expected]
    assert days.tolist() == [
        (read.birth_date - date(1970, 1, 1)).days if read else UNKNOWN_DAY for read in expected
    ]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("９９０１０１ 19850505－0018", "990101198505050018"),
        ("e 12345678", "E12345678"),
        ("-", None),
        ("—", None),
        ("无", None),
        ("0000000", None),
        ("", None),
        (None, None),
    ],
)
def test_numbers_are_half_width_capitals_without_separators(sent: str | None, kept: str | None):
    assert numbers_of(pa.array([sent], pa.string())).to_pylist() == [kept]


@pytest.mark.parametrize(
    ("sent", "kept"), [(" ａ-１2b ", "a-12b"), ("A-1", "A-1"), ("000", None), ("无", None), ("null", None)]
)
def test_what_an_institution_writes_in_its_own_numbers_stays(sent: str, kept: str | None):
    assert local_numbers_of(pa.array([sent])).to_pylist() == [kept]


@pytest.mark.parametrize("dot", "·•‧∙⋅・⸱●･.．")
def test_the_middle_dot_of_minority_names_is_one_whatever_the_sender_used(dot: str):
    assert fold_names(pa.array([f"买买提{dot}吐尔逊"])).to_pylist() == ["买买提·吐尔逊"]


@pytest.mark.parametrize(
    ("sent", "folded"),
    [
        ("张 伟", "张伟"),
        ("张\u3000伟", "张伟"),
        ("ｓｍｉｔｈ  John", "SMITHJOHN"),
        ("𠮷田", "𠮷田"),
        ("凉\uf979", "凉凉"),  # a compatibility ideograph
        ("无名氏", None),
        ("unknown", None),
        ("张?", None),
        ("—", None),
        ("123", None),
        ("", None),
        (None, None),
    ],
)
def test_names_compare_without_blanks_and_width_and_unknown_ones_not_at_all(sent: str, folded: str | None):
    assert fold_names(pa.array([sent], pa.string())).to_pylist() == [folded]


def test_names_are_shown_as_sent_but_tidy():
    sent = pa.array(["  张 伟 ", "John\u00a0 \tSmith", "   ", None])

    assert display_names(sent).to_pylist() == ["张 伟", "John Smith", None, None]


def test_phones_are_digits_without_the_country():
    sent = pa.array(["+86 138-0000-0001", "0086 13800000001", "０１０－12345678", "无", "12", None])

    found = phones_of(sent)

    assert found.to_pylist() == ["13800000001", "13800000001", "01012345678", None, None, None]
    assert phone_values(found).tolist() == [13800000001, 13800000001, 1012345678, 0, 0, 0]


def test_a_resident_number_sent_as_a_document_is_a_resident_number():
    number = "990101198505050018"
    number = number[:17] + resident_check_digit(number[:17])
    rows = [("01", number), (None, number), ("05", number), ("09", number), ("03", number), ("02", number)]
    claims = table([Claim()] * len(rows))
    claims = claims.set_column(1, "document_type", pa.array([kind for kind, _ in rows], pa.string()))
    claims = claims.set_column(2, "document_number", pa.array([sent for _, sent in rows]))

    found = normalise(claims)

    assert found.resident.to_pylist() == [number] * 4 + [None] * 2
    assert found.document.to_pylist() == [None] * 6  # 18 places are no passport, a household is nobody


def test_permits_are_known_by_the_part_that_lasts():
    claims = table([Claim(), Claim(), Claim()])
    claims = claims.set_column(1, "document_type", pa.array(["06", "06", "99"]))
    claims = claims.set_column(2, "document_number", pa.array(["h12345678 01", "H1234567802", "X1234"]))

    texts = normalise(claims).texts(IdentifierKind.DOCUMENT)

    assert texts.to_pylist() == ["2:06:H12345678", "2:06:H12345678", None]


def test_ill_formed_resident_numbers_are_counted_and_absent_ones_are_not():
    claims = [Claim(resident=text) for text in ("990101198505050019", "abc", "-", None)]

    found = normalise(table(claims))

    assert found.invalid_numbers == 2
    assert found.resident.null_count == 4


def test_a_demographic_identifier_needs_everything_and_nothing_better():
    whole = Claim(institution="A", name="张伟", birth=date(1985, 5, 5), sex="1")
    lacking = [Claim(**{**vars(whole), name: None}) for name in ("institution", "name", "birth", "sex")]
    better = Claim(**{**vars(whole), "local": "7"})
    unsure = Claim(**{**vars(whole), "sex": "9"})

    found = normalise(table([whole, *lacking, better, unsure]))

    assert np.flatnonzero(found.demographic.is_valid()).tolist() == [0]


@given(rows=st.lists(st.lists(st.one_of(st.none(), st.text()), min_size=9, max_size=9), max_size=5))
def test_any_text_is_normalised_or_absent(rows: list[list[str | None]]):
    names = table([]).column_names
    columns = {name: pa.array([row[place] for row in rows], pa.string()) for place, name in enumerate(names)}
    columns["birth_date"] = pa.nulls(len(rows), pa.date32())

    found = normalise(pa.table(columns))

    assert len(found) == len(rows)
    for kind in IdentifierKind:
        assert len(found.texts(kind)) == len(rows)
