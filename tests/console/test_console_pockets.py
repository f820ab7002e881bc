"""What a browser carries for us cannot be read, changed, kept too long or used by somebody else."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

import pytest

from kangshu.console.pockets import Pockets

NOW = datetime(2026, 3, 18, 2, 30, tzinfo=UTC)
VALUE = {"number": "990102196805121016", "name": "张伟"}


def _pockets(session: str = "session-one", key: bytes = b"k" * 32) -> Pockets:
    return Pockets.of_session(session_key=key, session=session, random=secrets.token_bytes)


def test_a_pocket_gives_back_what_was_put_in():
    sealed = _pockets().seal("search", VALUE, until=NOW + timedelta(minutes=5))

    assert _pockets().open("search", sealed, now=NOW) == VALUE


def test_a_pocket_shows_nothing_of_its_content():
    sealed = _pockets().seal("search", VALUE, until=NOW + timedelta(minutes=5))

    assert "990102" not in sealed
    assert sealed.isascii()
    assert not set(sealed) & set(' ;,"=')


@pytest.mark.parametrize(
    "opener",
    [
        lambda sealed: _pockets("session-two").open("search", sealed, now=NOW),
        lambda sealed: _pockets(key=b"x" * 32).open("search", sealed, now=NOW),
        lambda sealed: _pockets().open("purpose", sealed, now=NOW),
        lambda sealed: _pockets().open("search", sealed, now=NOW + timedelta(minutes=6)),
        lambda sealed: _pockets().open("search", sealed[:-4] + "AAAA", now=NOW),
        lambda sealed: _pockets().open("search", sealed[:10], now=NOW),
        lambda sealed: _pockets().open("search", "not sealed at all ☃", now=NOW),
        lambda sealed: _pockets().open("search", "", now=NOW),
        lambda sealed: _pockets().open("search", None, now=NOW),
    ],
    ids=[
        "another session",
        "another key",
        "another name",
        "too late",
        "changed",
        "cut",
        "nonsense",
        "empty",
        "none",
    ],
)
def test_a_pocket_does_not_open(opener):
    sealed = _pockets().seal("search", VALUE, until=NOW + timedelta(minutes=5))

    assert opener(sealed) is None
