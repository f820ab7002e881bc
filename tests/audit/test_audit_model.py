"""What an entry accepts, and that its canonical form is unambiguous."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kangshu.audit import AuditEntry
from kangshu.audit.model import canonical_form

AT = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)

texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)
absent_or_text = st.none() | texts
forms = st.fixed_dictionaries(
    {
        "chain": st.integers(1, 2**62),
        "at": st.datetimes(timezones=st.just(UTC)),
        "actor": texts,
        "actor_name": texts,
        "action": texts,
        "purpose": absent_or_text,
        "person": st.none() | st.integers(0, 2**62),
        "resource": absent_or_text,
        "institution": absent_or_text,
        "outcome": texts,
        "detail": texts,
    }
)


def read_form(data: bytes) -> list[bytes | None]:
    """Read a form as its description in the README says, by somebody who has only that."""
    head, rest = data.split(b"\n", 1)
    assert head == b"kangshu-audit-1"
    values: list[bytes | None] = []
    while rest:
        if rest.startswith(b"-\n"):
            values.append(None)
            rest = rest[2:]
            continue
        length, rest = rest.split(b":", 1)
        values.append(rest[: int(length)])
        assert rest[int(length) : int(length) + 1] == b"\n"
        rest = rest[int(length) + 1 :]
    return values


@given(values=forms)
def test_the_canonical_form_can_be_read_back_so_no_two_entries_share_one(values):
    written = read_form(canonical_form(**values))

    expected = [
        str(values["chain"]),
        values["at"].isoformat(timespec="microseconds"),
        *(values[name] for name in ("actor", "actor_name", "action", "purpose")),
        None if values["person"] is None else str(values["person"]),
        *(values[name] for name in ("resource", "institution", "outcome", "detail")),
    ]
    assert written == [None if value is None else value.encode() for value in expected]


def test_one_moment_has_one_form_whatever_its_time_zone():
    values = {field.name: "x" for field in fields(AuditEntry) if field.name not in ("at", "person", "detail")}
    shanghai = AT.astimezone(timezone(timedelta(hours=8)))

    one = canonical_form(chain=1, at=AT, person=None, detail="{}", **values)

    assert canonical_form(chain=1, at=shanghai, person=None, detail="{}", **values) == one


def test_strange_characters_and_lengths_never_lose_an_entry():
    entry = AuditEntry(at=AT, actor="x", actor_name="a\x00b\ud800", action="sign-in", resource="r" * 9000)

    assert entry.actor_name == "a\ufffdb?"
    assert entry.resource is not None
    assert len(entry.resource) == 2000
    assert entry.resource.endswith("…")


@pytest.mark.parametrize(
    "wrong",
    [
        {"at": AT.replace(tzinfo=None)},
        {"actor": ""},
        {"action": ""},
        {"detail": {"x": "y" * 20_000}},
        {"detail": {"x": float("nan")}},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_an_entry_that_says_nothing_sensible_cannot_exist(wrong):
    with pytest.raises(ValueError):  # noqa: PT011 - each wrong value has its own sentence
        AuditEntry(**{"at": AT, "actor": "1", "actor_name": "甲", "action": "person.read", **wrong})


def test_the_detail_has_one_text_whatever_the_order_of_its_keys():
    def entry(detail):
        return AuditEntry(at=AT, actor="1", actor_name="甲", action="x", detail=detail)

    assert (
        entry({"b": 1, "a": "康"}).detail_text
        == entry({"a": "康", "b": 1}).detail_text
        == '{"a":"\\u5eb7","b":1}'
    )
