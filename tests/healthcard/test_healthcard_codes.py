"""Codes: what is made is read, and what was altered is not. No person is real."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache

from hypothesis import assume, given
from hypothesis import strategies as st

from kangshu.healthcard.codes import (
    code_png,
    code_svg,
    dynamic_text,
    read_code,
    signed_text,
    static_text,
    verify_offline,
)
from kangshu.healthcard.model import CodeKind, Refusal
from kangshu.healthcard.settings import load_settings
from kangshu.security.sm import sm2_public_key

ZONE = load_settings().zone
KEY, OLD_KEY, FOREIGN = bytes(range(16)), bytes(range(1, 17)), bytes(range(2, 18))
PRIVATE = bytes(31) + b"\x07"
ENDS = datetime(2026, 3, 2, 8, 35, tzinfo=UTC)

cards = st.binary(min_size=32, max_size=32).map(lambda data: data.hex().upper())
moments = st.datetimes(datetime(2020, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=0)
)


@cache
def signed() -> str:
    return signed_text(KEY, PRIVATE, "AB" * 32, suffix="1", expires_at=ENDS, zone=ZONE)


@given(cards, moments, st.sampled_from("19"))
def test_a_dynamic_code_says_card_and_end(card: str, ends: datetime, suffix: str):
    text = dynamic_text(KEY, card, suffix=suffix, expires_at=ends, zone=ZONE)
    read = read_code(text.lower(), code_keys=[FOREIGN, KEY], zone=ZONE)
    assert not isinstance(read, Refusal)
    assert (read.kind, read.card_id, read.suffix, read.expires_at) == (CodeKind.DYNAMIC, card, suffix, ends)


@given(cards, st.integers(0, 175), st.sampled_from("0123456789ABCDEF"))
def test_a_dynamic_code_altered_in_one_place_is_unknown(card: str, place: int, digit: str):
    text = dynamic_text(KEY, card, suffix="1", expires_at=ENDS, zone=ZONE)
    altered = text[:place] + digit + text[place + 1 :]
    if altered != text:
        assert read_code(altered, code_keys=[KEY], zone=ZONE) is Refusal.UNKNOWN


@given(cards, cards)
def test_the_end_of_one_code_does_not_fit_behind_the_card_of_another(one: str, other: str):
    assume(one != other)
    old = dynamic_text(KEY, one, suffix="1", expires_at=ENDS, zone=ZONE)
    fresh = dynamic_text(KEY, other, suffix="1", expires_at=ENDS + timedelta(hours=1), zone=ZONE)
    # Four blocks of the card, the fifth with the end: under ECB alone this would be a genuine code.
    for mac in (old[160:], fresh[160:]):
        assert read_code(old[:128] + fresh[128:160] + mac, code_keys=[KEY], zone=ZONE) is Refusal.UNKNOWN


def test_a_foreign_code_is_unknown():
    text = dynamic_text(FOREIGN, "AB" * 32, suffix="1", expires_at=ENDS, zone=ZONE)
    assert read_code(text, code_keys=[KEY, OLD_KEY], zone=ZONE) is Refusal.UNKNOWN


def test_a_static_code_is_the_card_id_and_its_suffix():
    text = static_text("AB" * 32, suffix="9")
    assert text == "AB" * 32 + ":9"
    read = read_code(text, code_keys=[], zone=ZONE)
    assert not isinstance(read, Refusal)
    assert (read.kind, read.card_id, read.suffix, read.expires_at) == (
        CodeKind.STATIC,
        "AB" * 32,
        "9",
        None,
    )


@given(st.text(max_size=400))
def test_whatever_is_no_code_is_refused_and_nothing_else_happens(text: str):
    assert read_code(text, code_keys=[KEY], zone=ZONE) is Refusal.UNREADABLE


def test_a_signed_code_is_checked_without_the_platform():
    public = sm2_public_key(PRIVATE)
    stranger = sm2_public_key(bytes(31) + b"\x09")
    before, after = ENDS - timedelta(seconds=1), ENDS
    found = verify_offline(public_keys=[stranger, public], text=signed(), now=before)
    assert found is not None
    assert (found.card_id, found.expires_at, found.expired, found.temporary) == (
        "AB" * 32,
        ENDS,
        False,
        False,
    )
    late = verify_offline(public_keys=[public], text=signed(), now=after)
    assert late is not None
    assert late.expired
    assert verify_offline(public_keys=[stranger], text=signed(), now=before) is None


def test_a_signed_code_altered_anywhere_is_refused_offline_or_online():
    public = sm2_public_key(PRIVATE)
    text = signed()
    for place in (0, 63, 66, 79, 80, 150, 207):
        digit = "0" if text[place] != "0" else "1"
        altered = text[:place] + digit + text[place + 1 :]
        assert verify_offline(public_keys=[public], text=altered, now=ENDS) is None
        assert read_code(altered, code_keys=[KEY], zone=ZONE) is Refusal.UNKNOWN
    assert read_code(text[:-1] + ("0" if text[-1] != "0" else "1"), code_keys=[KEY], zone=ZONE) is (
        Refusal.UNKNOWN
    )
    assert verify_offline(public_keys=[public], text="x" * 1000, now=ENDS) is None


def test_pictures_are_svg_and_png():
    text = static_text("AB" * 32, suffix="1")
    assert code_svg(text).startswith("<svg")
    assert code_png(text).startswith(b"\x89PNG")
