"""The self-test of institutions at the health card interface: their keys, what was refused, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from starlette.responses import Response

from kangshu.audit import RecordedEntry, list_entries
from kangshu.console.card_checking import Tried, judge
from kangshu.console.reach import names, own_codes
from kangshu.console.visits import Visit, page
from kangshu.security.principals import Permission
from kangshu.security.signing import SigningKey
from kangshu.security.signing_keys import KeyInfo, find_signing_key, list_signing_keys
from kangshu.storage.database import Connection

_REFUSALS = ("card.signature", "card.call")
_SHOWN = 20
_KEYS_SHOWN = 200
_INSTITUTIONS_ASKED = 20  # a centre sees the refusals of all at once, a group of hospitals of so many
_MOST = {"method": 8, "path": 200, "query": 400, "key": 40, "time": 20, "nonce": 80, "signature": 200}
_BODY_MOST = 60_000


@dataclass(frozen=True, kw_only=True)
class RefusalRow:
    """A request that was refused."""

    at: datetime
    institution: str
    what: str
    why: str


async def show_card_check(visit: Visit) -> Response:
    """Show the keys, the latest refusals and the form."""
    return await _page(visit, tried=None)


async def take_card_check(visit: Visit) -> Response:
    """Judge a request that was pasted in; nothing is kept."""
    words = {name: visit.form.get(name, "").strip()[:most] for name, most in _MOST.items()}
    body = visit.form.get("body", "")[:_BODY_MOST].replace("\r\n", "\n")
    path, _, query = words.pop("path").partition("?")
    words["query"] = words["query"] or query
    return await _page(visit, tried=Tried(path=path, body=body, **words))


async def _page(visit: Visit, *, tried: Tried | None) -> Response:
    async with visit.services.database.connection() as connection:
        codes = await own_codes(visit, connection)
        keys = await list_signing_keys(connection, institutions=codes)
        refusals = await _refusals(connection, codes)
        institution_names = await names(
            connection, [*(key.institution for key in keys), *(one.institution for one in refusals)]
        )
        own = await _own_key(visit, connection, keys, tried)
    verdict = judge(tried, key=own, now=visit.now) if tried else None
    return visit.page(
        "card_check.html",
        keys=keys[:_KEYS_SHOWN],
        keys_total=len(keys),
        institution_names=institution_names,
        refusals=[_refusal_row(visit, one, institution_names) for one in refusals[:_SHOWN]],
        tried=tried,
        verdict=verdict,
        now_milliseconds=int(visit.now.timestamp() * 1000),
    )


async def _own_key(
    visit: Visit, connection: Connection, keys: list[KeyInfo], tried: Tried | None
) -> SigningKey | None:
    """Return the key that was named if it is one of the visitor's institutions'."""
    if tried is None or tried.key not in {key.id for key in keys if key.in_use}:
        return None
    return await find_signing_key(connection, keys=visit.services.keys, key_id=tried.key)


async def _refusals(connection: Connection, codes: list[str] | None) -> list[RecordedEntry]:
    wanted: list[str | None] = [None] if codes is None else [*codes[:_INSTITUTIONS_ASKED]]
    found = [
        entry
        for institution in wanted
        for action in _REFUSALS
        for entry in await list_entries(connection, action=action, institution=institution, limit=_SHOWN)
    ]
    return sorted(found, key=lambda entry: entry.at, reverse=True)


def _refusal_row(visit: Visit, entry: RecordedEntry, institution_names: dict[str, str]) -> RefusalRow:
    word = str(entry.detail.get("refused_for", ""))
    known = {"signature", "replay", "scope", "institution"}
    code = entry.institution or ""
    return RefusalRow(
        at=entry.at,
        institution=institution_names.get(code, code),
        what=entry.resource or "",
        why=visit.say(f"card_check.refused_{word}") if word in known else word,
    )


routes = [
    page("/cards/check", show_card_check, may=Permission.USE_CARDS),
    page("/cards/check", take_card_check, may=Permission.USE_CARDS, method="POST"),
]
