"""Compare the persons whom files created with everybody else, some hundred at a time, after their commit.

A file's claims are linked by their numbers alone, so that files stay quick. Here its new persons get their
profiles and keys, and are decided as a message would be: who must be somebody known is merged into him, with
the account; who may be goes to a human. What humans told apart stays apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pyarrow as pa

from kangshu.identity import store
from kangshu.identity.accounts import account_columns
from kangshu.identity.apart import pairs_apart
from kangshu.identity.errors import KeptApartError, LinkingBusyError
from kangshu.identity.linkage import Account, LinkageModel, Verdict, prepare
from kangshu.identity.matching import Asked, Decision, Found, asked_of, decide, look_up, weigh
from kangshu.identity.model import IdentifierKind, ReviewReason
from kangshu.identity.operations import merge_persons
from kangshu.kernel.texts import load_catalogue
from kangshu.security.keys import Keys
from kangshu.security.sealing import NONCE_BYTES, open_many, seal_many
from kangshu.storage.database import Connection, Record

# Arbitrary: a transaction of about a second.
CHUNK = 500
_ROUNDS = 10

say = load_catalogue(__package__ or __name__)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What became of some newcomers; `more` tells whether others wait."""

    persons: int
    merged: int
    reviews: int
    more: bool


async def match_newcomers(
    connection: Connection,
    *,
    keys: Keys,
    model: LinkageModel,
    actor: str,
    now: datetime,
    random: Callable[[int], bytes],
    most: int = CHUNK,
) -> Compared:
    """Compare up to `most` persons who wait for it, in the caller's transaction (READ COMMITTED).

    Several callers work on different persons at the same time.

    Raises:
        LinkingBusyError: others kept changing the same keys.
    """
    span = await store.take_unmatched(connection)
    if span is None:
        return Compared(persons=0, merged=0, reviews=0, more=False)
    rows = await store.read_unmatched(connection, span=span, limit=most)
    last = rows[-1]["id"] if len(rows) == most else span["last"]
    await store.advance_unmatched(connection, span=span, done=last)
    if not rows:
        return Compared(persons=0, merged=0, reviews=0, more=True)
    profiles = await _profiles(connection, keys, rows)
    asked = asked_of(model, keys, profiles)
    for _ in range(_ROUNDS):
        try:
            async with connection.transaction():
                work = _Work(model, rows, asked)
                await work.load(connection, keys)
                work.decide()
                merged, reviews = await work.store(connection, keys, actor=actor, now=now, random=random)
                return Compared(persons=len(rows), merged=merged, reviews=reviews, more=True)
        except store.CollisionError:
            continue
    raise LinkingBusyError(say["linking_busy"])


async def _profiles(connection: Connection, keys: Keys, rows: Sequence[Record]) -> list[dict[str, Any]]:
    """Return what is known of the persons as profiles, made by columns."""
    held = await store.list_identifiers(connection, persons=[row["id"] for row in rows])
    numbers: dict[int, dict[int, tuple[str | None, bytes]]] = {}
    for one in held:
        if one["sealed"] is not None:
            numbers.setdefault(one["person"], {}).setdefault(one["kind"], (one["issuer"], one["sealed"]))
    kinds = (IdentifierKind.RESIDENT_NUMBER, IdentifierKind.DOCUMENT, IdentifierKind.LOCAL_NUMBER)
    told = [[numbers.get(row["id"], {}).get(int(kind), (None, None)) for kind in kinds] for row in rows]
    table = pa.table(
        {
            "record": pa.array([row["id"] for row in rows], pa.int64()),
            "name": _opened(keys, [row["name_sealed"] for row in rows]),
            "phone": _opened(keys, [row["phone_sealed"] for row in rows]),
            "sex": pa.array([None if row["sex"] is None else str(row["sex"]) for row in rows], pa.string()),
            "birth_date": pa.array([row["birth_date"] for row in rows], pa.date32()),
            "resident_number": _opened(keys, [one[0][1] for one in told]),
            "document_type": pa.array([one[1][0] for one in told], pa.string()),
            "document_number": _opened(keys, [one[1][1] for one in told]),
            "institution": pa.array([one[2][0] for one in told], pa.string()),
            "local_number": _opened(keys, [one[2][1] for one in told]),
        }
    )
    return prepare(table).drop_columns(["record"]).to_pylist()


def _opened(keys: Keys, sealed: Sequence[bytes | None]) -> pa.Array:
    opened = iter(open_many(keys, [one for one in sealed if one is not None]))
    return pa.array([None if one is None else next(opened) for one in sealed], pa.string())


class _Work:
    """Some newcomers on their way."""

    def __init__(self, model: LinkageModel, rows: Sequence[Record], asked: Sequence[Asked]) -> None:
        self._model, self._rows, self._asked = model, rows, asked
        self._found = Found()
        self._residents: dict[int, int] = {}
        self._apart: set[tuple[int, int]] = set()
        self._links: list[tuple[int, int, Account]] = []
        self._possible: list[tuple[int, int, Account]] = []
        self._profiles: list[tuple[Asked, int]] = []
        self._keys: list[tuple[int, int, int]] = []

    async def load(self, connection: Connection, keys: Keys) -> None:
        """Learn who is known under the newcomers' keys."""
        self._found, persons = await look_up(connection, keys=keys, asked=self._asked)
        self._residents = {row["id"]: row["resident"] or 0 for row in persons}
        for row in self._rows:
            self._residents.setdefault(row["root"], row["resident"] or 0)
            self._found.roots.setdefault(row["id"], row["root"])
        self._apart = set(await pairs_apart(connection, persons=sorted({row["root"] for row in self._rows})))

    def decide(self) -> None:
        """Decide the newcomers one after the other, each seeing what became of those before."""
        for row, asked in zip(self._rows, self._asked, strict=True):
            person, root = row["id"], self._found.roots[row["id"]]
            decision = self._decision(asked, root)
            if decision.link:
                known, account = decision.link
                self._links.append((known, root, account))
                self._join(root, known)
                root = known
            self._possible += [(root, other, account) for other, account in decision.possible]
            new, added = self._found.learn(asked, person, root)
            if new:
                self._profiles.append((asked, person))
                self._keys += added

    def _decision(self, asked: Asked, root: int) -> Decision:
        weighed: dict[int, Account] = {}
        for other in self._found.candidates(asked):
            apart = (min(root, other), max(root, other)) in self._apart
            if other == root or apart:
                continue
            account = weigh(self._model, asked.profile, self._found.profiles.get(other, ()))
            if account is None:
                continue
            mine, theirs = self._residents.get(root, 0), self._residents.get(other, 0)
            if account.verdict is Verdict.LINK and mine and theirs and mine != theirs:
                account = replace(account, verdict=Verdict.POSSIBLE)
            weighed[other] = account
        return decide(self._model, weighed)

    def _join(self, gone: int, kept: int) -> None:
        for person, root in self._found.roots.items():
            if root == gone:
                self._found.roots[person] = kept
        self._found.profiles.setdefault(kept, []).extend(self._found.profiles.pop(gone, []))
        self._residents[kept] = self._residents.get(kept) or self._residents.get(gone, 0)

    async def store(
        self,
        connection: Connection,
        keys: Keys,
        *,
        actor: str,
        now: datetime,
        random: Callable[[int], bytes],
    ) -> tuple[int, int]:
        """Store profiles, keys, accounts and reviews; merge. Return how many were merged and reviewed."""
        texts = [asked.text for asked, _ in self._profiles]
        sealed = seal_many(keys, texts, nonce=random(NONCE_BYTES)) if texts else []
        possible = await self._unreviewed(connection)
        weighings = [*possible, *((known, gone, account) for known, gone, account in self._links)]
        new = store.NewRows(
            profiles=[
                (asked.digest, value, person)
                for (asked, person), value in zip(self._profiles, sealed, strict=True)
            ],
            keys=sorted(self._keys),
            accounts=[(one, other, *account_columns(account), None) for one, other, account in weighings],
            reviews=[
                (one, other, None, ReviewReason.POSSIBLE_MATCH.value, None, None, place + 1)
                for place, (one, other, _) in enumerate(possible)
            ],
        )
        if new:
            await store.add_new(connection, new, origin=None, actor=actor, now=now)
        merged = 0
        for known, gone, account in self._links:
            merged += await self._merge(connection, known, gone, account, actor=actor, now=now)
        return merged, len(possible)

    async def _unreviewed(self, connection: Connection) -> list[tuple[int, int, Account]]:
        asked = {(min(one, other), max(one, other)) for one, other, _ in self._possible if one != other}
        known = await store.reviewed_pairs(connection, pairs=sorted(asked)) if asked else set()
        found: dict[tuple[int, int], tuple[int, int, Account]] = {}
        for one, other, account in self._possible:
            pair = (min(one, other), max(one, other))
            if one != other and pair not in known:
                found.setdefault(pair, (one, other, account))
        return list(found.values())

    async def _merge(
        self, connection: Connection, known: int, gone: int, account: Account, *, actor: str, now: datetime
    ) -> bool:
        try:
            merge = await merge_persons(
                connection,
                survivor=known,
                absorbed=gone,
                actor=actor,
                reason="match",
                now=now,
                weight=account.weight,
                model=account.model,
            )
        except KeptApartError:  # told apart a moment ago
            return False
        if merge is None:
            return False
        await store.note_merge(connection, one=known, other=gone, merge=merge.id)
        return True
