"""The numbers of cards, after the test vector of the technical specification. No person is real."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kangshu.healthcard.numbering import (
    application_key,
    card_id,
    diversification,
    document_of,
    index_id,
    is_number,
)
from kangshu.security.sm import sm3

ROOT = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
INDEX = "ABD17E7ED399EF68AB5660155D6E226D2C92EAC3254A4A66BED83AED0ADA1E9E"

indexes = st.binary(min_size=32, max_size=32).map(lambda data: data.hex().upper())
numbers = st.text("0123456789X", min_size=4, max_size=29)


def test_the_vector_of_the_specification():
    assert diversification(INDEX).hex().upper() == "92CDCE45A16799FD"
    assert application_key(ROOT, INDEX).hex().upper() == "86C63180C2806ED1F47B859DE501215B"
    assert (
        card_id(ROOT, INDEX, type_code="01", number="11010020171225006X")
        == "98FF9F2C05145CB9305E9D8A57E072BB51180CA49E5BE5E9D41BCE3A9A571928"
    )


def test_the_index_id_is_sm3_of_the_declared_text():
    values = {"document_type": "01", "document_number": "9901", "name": "测试甲", "sex": "", "birth_date": ""}
    assert index_id("{document_type}|{name}", values) == sm3("01|测试甲".encode()).hex().upper()


@given(indexes, numbers)
def test_a_card_id_has_64_digits_and_gives_the_document_back_to_who_has_the_root(index: str, number: str):
    card = card_id(ROOT, index, type_code="03", number=number)
    assert is_number(card)
    assert document_of(ROOT, index, card) == ("03", number)


@given(indexes, numbers, st.integers(0, 255), st.integers(0, 255))
def test_every_issue_has_a_card_id_of_its_own(index: str, number: str, one: int, other: int):
    ids = [card_id(ROOT, index, type_code="01", number=number, issue=issue) for issue in (one, other)]
    assert (ids[0] == ids[1]) == (one == other)
    assert document_of(ROOT, index, ids[0]) == document_of(ROOT, index, ids[1])
