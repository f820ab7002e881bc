"""Sealed values open to what they were, alone or together; digests tell equal from different."""

from __future__ import annotations

import hashlib
import os

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kangshu.security import keys, sealing
from kangshu.security.errors import SealBrokenError
from kangshu.security.sm import hmac_sm3

KEYS = keys.make(random=lambda size: hashlib.shake_128(size.to_bytes(2)).digest(size))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(values=st.lists(texts, max_size=20), nonce=st.binary(min_size=12, max_size=12))
def test_what_was_sealed_opens_together_and_each_alone(values: list[str], nonce: bytes):
    sealed = sealing.seal_many(KEYS, values, nonce=nonce)

    assert sealing.open_many(KEYS, sealed) == values
    assert [sealing.open_many(KEYS, [one])[0] for one in reversed(sealed)] == values[::-1]


@given(values=st.lists(texts, max_size=20))
def test_a_digest_is_the_keyed_sm3_of_the_text_cut_to_sixteen_bytes(values: list[str]):
    digests = sealing.digest_many(KEYS.lookup_key, values)

    assert digests == [hmac_sm3(KEYS.lookup_key, value.encode())[:16] for value in values]


@given(values=st.lists(st.one_of(st.none(), texts), max_size=20), nonce=st.binary(min_size=12, max_size=12))
def test_a_sealed_column_is_the_same_as_its_values_sealed_together(values: list[str | None], nonce: bytes):
    column = sealing.seal_column(KEYS, pa.array(values, pa.string()), nonce=nonce)

    together = iter(sealing.seal_many(KEYS, [value for value in values if value is not None], nonce=nonce))
    assert column.to_pylist() == [None if value is None else next(together) for value in values]


def test_a_column_needs_a_whole_nonce():
    with pytest.raises(ValueError, match="12 bytes"):
        sealing.seal_column(KEYS, pa.array(["a"]), nonce=bytes(11))


def test_where_python_has_no_sm3_digests_are_the_same(monkeypatch: pytest.MonkeyPatch):
    expected = sealing.digest_many(KEYS.lookup_key, ["synthetic", ""])

    def refuse(name: str) -> None:
        raise ValueError(name)

    monkeypatch.setattr(hashlib, "new", refuse)
    assert sealing.digest_many(KEYS.lookup_key, ["synthetic", ""]) == expected


@given(values=st.lists(texts, min_size=2, max_size=20, unique=True))
def test_no_two_values_of_a_batch_use_the_same_part_of_the_key_stream(values: list[str]):
    sealed = sealing.seal_many(KEYS, values, nonce=bytes(12))

    used: set[int] = set()
    for one in sealed:
        first = int.from_bytes(one[12:16])
        blocks = set(range(first, first + (len(one) - 16 + 15) // 16))
        assert not used & blocks
        used |= blocks


def test_the_same_value_looks_different_each_time_it_is_sealed():
    one, other = sealing.seal_many(KEYS, ["synthetic", "synthetic"], nonce=bytes(12))
    (later,) = sealing.seal_many(KEYS, ["synthetic"], nonce=b"1" * 12)

    assert len({one[16:], other[16:], later[16:]}) == 3


def test_another_lookup_key_gives_other_digests():
    other = keys.make(random=os.urandom)

    assert sealing.digest_many(KEYS.lookup_key, ["a"]) != sealing.digest_many(other.lookup_key, ["a"])


def test_checked_opening_gives_the_texts_that_the_digests_belong_to():
    values = ["甲", "乙丙", ""]
    sealed = sealing.seal_many(KEYS, values, nonce=bytes(12))
    digests = sealing.digest_many(KEYS.lookup_key, ["name:" + value for value in values])

    assert sealing.open_checked(KEYS, sealed, digests, prefix="name:") == values
    with pytest.raises(SealBrokenError):
        sealing.open_checked(KEYS, sealed, digests)


@given(flip=st.integers(min_value=0))
def test_checked_opening_notices_any_changed_bit(flip: int):
    (sealed,) = sealing.seal_many(KEYS, ["11010119900307001X"], nonce=bytes(12))
    digests = sealing.digest_many(KEYS.lookup_key, ["11010119900307001X"])
    changed = bytearray(sealed)
    bit = flip % (8 * len(changed))
    changed[bit // 8] ^= 1 << bit % 8

    with pytest.raises(SealBrokenError) as refused:
        sealing.open_checked(KEYS, [bytes(changed)], digests)

    assert refused.value.__cause__ is None


def test_checked_opening_notices_exchanged_values():
    sealed = sealing.seal_many(KEYS, ["one", "two"], nonce=bytes(12))
    digests = sealing.digest_many(KEYS.lookup_key, ["one", "two"])

    with pytest.raises(SealBrokenError):
        sealing.open_checked(KEYS, sealed[::-1], digests)


def test_a_value_too_short_to_be_sealed_is_refused():
    with pytest.raises(SealBrokenError):
        sealing.open_many(KEYS, [bytes(15)])


@pytest.mark.parametrize("size", [0, 11, 13, 16])
def test_a_nonce_of_another_length_is_refused(size: int):
    with pytest.raises(ValueError, match="12 bytes"):
        sealing.seal_many(KEYS, ["a"], nonce=bytes(size))
