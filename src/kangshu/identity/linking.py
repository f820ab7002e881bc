"""Link the claims of a file to persons, a chunk at a time, in sets.

A call takes: digests of what the claims tell; one look-up by the weakest identifier of each claim, which
settles nearly all that is known; for the rest a look-up of their other identifiers, the decisions
(`deciding`), and what is new by COPY. If somebody else stored the same first, the primary key says so, and
the call goes back to its savepoint and looks again.
"""

# pyarrow makes its compute functions at import, where pyright cannot see them.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kangshu.identity import store
from kangshu.identity.deciding import (
    NOBODY,
    Decisions,
    Evidence,
    Flags,
    Holders,
    Identifiers,
    Ints,
    Persons,
    decide,
    halves,
    newcomer,
    overused,
    settle,
)
from kangshu.identity.errors import LinkingBusyError
from kangshu.identity.model import EventKind, IdentifierKind
from kangshu.identity.normalising import COLUMNS, UNKNOWN_DAY, Claims, demographic_texts, normalise
from kangshu.kernel.texts import load_catalogue
from kangshu.security.keys import Keys
from kangshu.security.sealing import digest_many, seal_many
from kangshu.storage.database import Connection

# Arbitrary: a person holds a handful, a number that a program fills in is held by thousands.
HOLDERS_MOST = 100
# About 200 bytes each.
_CACHE_CLAIMS = 200_000
# Each round waits for whoever was first, so a second one is rare and a third nearly never seen.
_ROUNDS = 10
_RESIDENT, _DOCUMENT, _LOCAL, _DEMOGRAPHIC = (int(kind) for kind in IdentifierKind)

say = load_catalogue(__package__ or __name__)


@dataclass(frozen=True, kw_only=True)
class Linked:
    """What became of the claims: a person id for each, -1 where a claim does not say enough."""

    persons: Ints
    created: int
    reviews: int
    invalid_numbers: int
    """Resident numbers that are not well-formed; they were ignored."""


class Linker:
    """Links the claims of one file to persons; see `link`.

    `random(n)` gives n unpredictable bytes. `actor` and `origin` (the id of the file) are written to what
    is created. With `exclusive` one bulk file at a time creates persons and the others wait for its end:
    two files that bring the same new persons in another order would else fall into a deadlock and one of
    them would have to start anew. Looking up known persons never waits. Without it the primary key alone
    keeps parallel arrivals of one new person together.
    """

    def __init__(
        self,
        keys: Keys,
        *,
        random: Callable[[int], bytes],
        actor: str = "intake",
        origin: int | None = None,
        exclusive: bool = True,
    ) -> None:
        self._keys = keys
        self._random = random
        self._actor = actor
        self._origin = origin
        self._exclusive = exclusive
        self._transaction: int | None = None
        self._locked = False
        self._cache: dict[str, int] = {}

    async def link(self, connection: Connection, claims: pa.Table, *, now: datetime) -> Linked:
        """Return the person of each claim, creating those whom nobody knows.

        `claims` has the columns resident_number, document_type, document_number, institution,
        local_number, name, sex, phone (strings) and birth_date (date32), null where absent. The caller's
        transaction (READ COMMITTED) holds all that is stored; it may be used for many calls. Between them
        it must not go back to a savepoint, as the linker remembers what it linked.

        The result does not depend on the order of the rows. Over several calls it does not depend on their
        order or on the chunks either, as long as the claims about each person agree with one another,
        share an identifier that all of them tell, and tell no identifier of somebody else. Of claims that
        contradict, the first keeps the identifier and the later gets a person of its own and a review
        entry; who is first may then depend on the chunks. Linking the same claims again changes nothing.

        Raises:
            LinkingBusyError: others changed the same persons in every round.
            KeyError: a column is missing.
        """
        await self._enter(connection)
        keys = await asyncio.to_thread(_cache_keys, claims)
        persons = np.fromiter((self._cache.get(key, -2) for key in keys), np.int64, len(keys))
        unknown = np.flatnonzero(persons == -2)
        if not len(unknown):
            return Linked(persons=persons, created=0, reviews=0, invalid_numbers=0)
        prepared = await asyncio.to_thread(self._prepare, claims.take(pa.array(unknown)))
        for _ in range(_ROUNDS):
            try:
                outcome = await self._link_unknown(connection, prepared, now)
            except store.CollisionError:
                continue
            persons[unknown] = outcome.persons
            self._remember(keys, unknown, outcome.persons)
            return replace(outcome, persons=persons)
        raise LinkingBusyError(say["linking_busy"])

    async def _enter(self, connection: Connection) -> None:
        transaction = await store.begin(connection)
        if transaction != self._transaction:
            # What an undone transaction linked is gone.
            self._transaction, self._locked = transaction, False
            self._cache.clear()

    def _remember(self, keys: list[str], rows: Ints, persons: Ints) -> None:
        if len(self._cache) + len(rows) > _CACHE_CLAIMS:
            self._cache.clear()
        self._cache.update(zip((keys[row] for row in rows.tolist()), persons.tolist(), strict=True))

    def _prepare(self, table: pa.Table) -> _Prepared:
        """Return the claims normalised, with the digests of their identifiers."""
        claims = normalise(table)
        rows, kinds, texts = [], [], []
        for kind in IdentifierKind:
            text = _identifier_texts(claims, kind)
            there = np.flatnonzero(pc.is_valid(text).to_numpy(zero_copy_only=False))
            rows.append(there)
            kinds.append(np.full(len(there), int(kind), dtype=np.int64))
            texts.append(text.take(pa.array(there)))
        identifiers = self._identify(np.concatenate(rows), np.concatenate(kinds), pa.concat_arrays(texts))
        resident = np.zeros(len(claims), dtype=np.int64)
        numbers = identifiers.kind == _RESIDENT
        resident[identifiers.claim[numbers]] = halves(identifiers.digests)[0][identifiers.slot[numbers]]
        nothing = np.zeros(len(claims), dtype=np.int64)
        evidence = Evidence(
            name=nothing,
            birth=claims.birth,
            number_birth=claims.number_birth,
            resident=resident,
            sex=claims.sex,
            phone=nothing,
        )
        return _Prepared(claims=claims, evidence=evidence, identifiers=identifiers)

    def _identify(self, rows: Ints, kinds: Ints, texts: pa.Array) -> Identifiers:
        different = texts.dictionary_encode()
        digests = digest_many(self._keys.lookup_key, different.dictionary.to_pylist())
        return Identifiers(
            claim=rows,
            kind=kinds,
            slot=different.indices.to_numpy(zero_copy_only=False).astype(np.int64),
            digests=np.frombuffer(b"".join(digests), dtype="V16"),
        )

    def _numbers_of(self, texts: pa.Array, prefix: str) -> Ints:
        """Return the first eight bytes of each text's digest as a number, 0 for null."""
        different = texts.dictionary_encode()
        digests = digest_many(
            self._keys.lookup_key, [prefix + text for text in different.dictionary.to_pylist()]
        )
        numbers = np.append(halves(np.frombuffer(b"".join(digests), dtype="V16"))[0], 0)
        return numbers[pc.fill_null(different.indices, len(digests)).to_numpy(zero_copy_only=False)]

    async def _link_unknown(self, connection: Connection, prepared: _Prepared, now: datetime) -> Linked:
        view = _View(prepared)
        persons = await self._settle(connection, prepared, view)
        rows = np.flatnonzero((persons == NOBODY) & prepared.identified)
        created = reviews = 0
        if len(rows):
            await view.look_up(connection, prepared.identifiers.of_claims(rows))
            opened = await self._open(connection, prepared, view, rows)
            decisions = await asyncio.to_thread(
                decide, opened.evidence, opened.identifiers, view.holders, view.persons
            )
            ids = await self._store(connection, opened, decisions, now)
            decided = decisions.person
            new = decided < NOBODY
            decided[new] = ids[newcomer(decided[new])]
            persons[rows] = decided
            created, reviews = len(ids), sum(len(columns[0]) for columns in decisions.reviews)
        return Linked(
            persons=persons,
            created=created,
            reviews=reviews,
            invalid_numbers=prepared.claims.invalid_numbers,
        )

    async def _settle(self, connection: Connection, prepared: _Prepared, view: _View) -> Ints:
        """Return the persons of the claims about which nothing is left to do."""
        weakest = prepared.identifiers.take(prepared.deciding)
        await view.look_up(connection, weakest)
        flags = {"named": prepared.named, "phoned": prepared.phoned}

        def by(evidence: Evidence) -> tuple[Ints, Flags]:
            return settle(
                evidence, **flags, identifiers=weakest, holders=view.holders, persons=view.persons
            )

        persons, hopeful = by(prepared.evidence)
        if hopeful.any():
            rows = np.flatnonzero(hopeful)
            names = prepared.evidence.name.copy()
            names[rows] = await asyncio.to_thread(
                self._numbers_of, prepared.claims.name_key.take(pa.array(rows)), "name:"
            )
            persons, _ = by(replace(prepared.evidence, name=names))
        return persons

    async def _open(
        self, connection: Connection, prepared: _Prepared, view: _View, rows: Ints
    ) -> _Prepared:
        """Return the claims that are to be decided, with their names and phones, without useless numbers."""
        opened = await asyncio.to_thread(self._complete, prepared, rows)
        useless = overused(opened.identifiers, view.holders, limit=HOLDERS_MOST)
        if not useless.any():
            return opened
        opened = await asyncio.to_thread(self._without, opened, useless)
        await view.look_up(connection, opened.identifiers)
        return opened


    def _complete(self, prepared: _Prepared, rows: Ints) -> _Prepared:
        claims = prepared.claims.take(rows)
        evidence = replace(
            prepared.evidence.take(rows),
            name=self._numbers_of(claims.name_key, "name:"),
            phone=self._numbers_of(claims.phone, "phone:"),
        )
        return _Prepared(
            claims=claims, evidence=evidence, identifiers=prepared.identifiers.of_claims(rows)
        )
