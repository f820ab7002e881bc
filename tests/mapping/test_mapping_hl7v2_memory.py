"""What the mapping remembers of earlier messages changes no answer; the people in them do not exist."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kangshu.declarations import BASE_PACK
from kangshu.mapping import Mapped, MappingError, load_authorities
from kangshu.mapping.hl7v2 import Hl7v2Mapping, load_hl7v2
from kangshu.standards import hl7v2

AUTHORITIES = load_authorities(BASE_PACK / "authorities.toml")
KNOWING = load_hl7v2(BASE_PACK / "hl7v2", authorities=AUTHORITIES)

_EVENTS = st.sampled_from(["A01", "A03", "A04", "A08", "A11", "A13", "A29"])
_NAMES = st.sampled_from(["测试甲", "测^试乙", "TESTER^ANN", '""', ""])
_CODES = st.sampled_from(["14647-2^总胆固醇^LN", "X1^自定项目", "^无码", "718-7^血红蛋白^LN"])
_BIRTHS = st.sampled_from(["19680512", "1968", "196813", ""])


def _fresh() -> Hl7v2Mapping:
    return load_hl7v2(BASE_PACK / "hl7v2", authorities=AUTHORITIES)


def _apply(mapping: Hl7v2Mapping, text: str, *, sender: str) -> Mapped | tuple[str | None, str]:
    try:
        return mapping.apply(
            hl7v2.parse(text.encode()), sender=sender, make_id=lambda kind, key: f"{kind}.{abs(hash(key))}"
        )
    except MappingError as error:
        return error.place, str(error.text)


def _admission(event: str, name: str, birth: str) -> str:
    return (
        f"MSH|^~\\&|HIS|H1|K|R|20260301083000||ADT^{event}|C1|P|2.4\rEVN|{event}|20260301083000\r"
        f"PID|1||P1^^^H1^PI||{name}||{birth}|M|||测试路1号\rPV1|1|I|W1^2^3||||D1^测试医生|||||||||||||V1\r"
    )


def _report(code: str, name: str) -> str:
    return (
        "MSH|^~\\&|LIS|H1|K|R|20260301083000||ORU^R01|C2|P|2.4\r"
        f"PID|1||P1^^^H1^PI||{name}||19680512|M\rOBR|1||L1|{code}|||20260301\r"
        f"OBX|1|NM|{code}||7.30|mmol/L|2.8-5.2|H|||F\r"
    )


@settings(max_examples=20)
@given(st.lists(st.tuples(_EVENTS, _NAMES, _BIRTHS, st.sampled_from(["H1", "H2"])), min_size=1, max_size=8))
def test_admissions_become_the_same_whatever_came_before(messages: list[tuple[str, str, str, str]]):
    for event, name, birth, sender in messages:
        text = _admission(event, name, birth)

        assert _apply(KNOWING, text, sender=sender) == _apply(_fresh(), text, sender=sender)


@settings(max_examples=15)
@given(st.lists(st.tuples(_CODES, _NAMES), min_size=1, max_size=6))
def test_reports_become_the_same_whatever_came_before(messages: list[tuple[str, str]]):
    for code, name in messages:
        text = _report(code, name)

        assert _apply(KNOWING, text, sender="H1") == _apply(_fresh(), text, sender="H1")


@pytest.mark.parametrize("event", ["A01", "A11", "A29"])
def test_the_event_is_part_of_what_is_remembered(event: str):
    text = _admission(event, "测试甲", "19680512")
    for other in ("A01", "A11", "A29"):
        _apply(KNOWING, _admission(other, "测试甲", "19680512"), sender="H1")

    assert _apply(KNOWING, text, sender="H1") == _apply(_fresh(), text, sender="H1")
