"""Link the claims of a file to persons, a chunk at a time, in sets.

A call takes: digests of what the claims tell; one look-up by the weakest identifier of each claim, which
settles nearly all that is known; for the rest a look-up of their other identifiers, the decisions
(`deciding`), and what is new by COPY. If somebody else stored the same first, the primary key says so, and
the call goes back to its savepoint and looks again. The server looks up while this process computes
digests, and stores persons while their identifiers are being sealed.
"""

# pyarrow makes its compute functions at import, where pyright cannot see them.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kangshu.identity import store
from kangshu.identity.deciding import decide, overused, settle
from kangshu.identity.errors import LinkingBusyError
from kangshu.identity.evidence import (
    NOBODY,
    Decisions,
    Digests,
    Evidence,
    Flags,
    Holders,
    Identifiers,
    Ints,
    Persons,
    halves,
    index_order,
    resolved,
)
from kangshu.identity.model import IdentifierKind
from kangshu.identity.normalising import (
    COLUMNS,
    NAME_PREFIX,
    PART_PREFIX,
    UNKNOWN_DAY,
    Claims,
    normalise,
    phone_values,
)
from kangshu.identity.outcome import Outcome
from kangshu.kernel.texts import load_catalogue
from kangshu.security.keys import Keys
from kangshu.security.sealing import NONCE_BYTES, digest_many, seal_column
from kangshu.storage.database import Connection

# Arbitrary: a number disputed among people is held by a handful, one that a program fills in by thousands.
HOLDERS_MOST = 100
# About 400 bytes each.
_CACHE_CLAIMS = 100_000
_NOT_CACHED = -2
# Each round waits for whoever was first, so a second one is rare and a third nearly never seen.
_ROUNDS = 10
_RESIDENT = int(IdentifierKind.RESIDENT_NUMBER)

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
        transaction (READ COMMITTED) holds all that is stored; it may be used for many calls. The linker
        remembers what it linked in it: a claim told again has the same answer, and the transaction must
        not go back to a savepoint between the calls.

        The result does not depend on the order of the rows. Over several calls it does not depend on their
        order or on the chunks either, as long as the claims about each person agree with one another,
        share an identifier that all of them tell, and tell no identifier of somebody else. Of claims that
        contradict, the first keeps the identifier and the later gets a person of its own and a review
        entry; who is first may then depend on the chunks.

        Raises:
            LinkingBusyError: others changed the same persons in every round.
            KeyError: a column is missing.
        """
        await self._enter(connection)
        keys = await asyncio.to_thread(_cache_keys, claims)
        persons = np.fromiter((self._cache.get(key, _NOT_CACHED) for key in keys), np.int64, len(keys))
        rows = np.flatnonzero(persons == _NOT_CACHED)
        if not len(rows):
            return Linked(persons=persons, created=0, reviews=0, invalid_numbers=0)
        asked = claims if len(rows) == len(claims) else claims.take(pa.array(rows))
        linked = await self._link_rounds(connection, await asyncio.to_thread(self._batch, asked), now)
        persons[rows] = linked.persons
        self._remember(keys, rows, linked.persons)
        return replace(linked, persons=persons)

    async def _enter(self, connection: Connection) -> None:
        transaction = await store.begin(connection)
        if transaction != self._transaction:
            # What an undone transaction linked is gone.
            self._transaction, self._locked = transaction, False
            self._cache.clear()

    def _remember(self, keys: Sequence[str], rows: Ints, persons: Ints) -> None:
        if len(self._cache) + len(rows) > _CACHE_CLAIMS:
            self._cache.clear()
        for row, person in zip(rows.tolist(), persons.tolist(), strict=True):
            self._cache[keys[int(row)]] = person

    async def _link_rounds(self, connection: Connection, batch: _Batch, now: datetime) -> Linked:
        for _ in range(_ROUNDS):
            try:
                return await self._link_batch(connection, batch, now)
            except store.CollisionError:
                continue
        raise LinkingBusyError(say["linking_busy"])

    async def _link_batch(self, connection: Connection, batch: _Batch, now: datetime) -> Linked:
        known = _Known(connection, slots=len(batch.texts))
        persons = await self._settle(batch, known)
        rows = np.flatnonzero((persons == NOBODY) & batch.identified)
        created = reviews = 0
        if len(rows):
            opened, rows = await self._open(batch, known, rows)
            decisions = await asyncio.to_thread(
                decide, opened.evidence, opened.identifiers, known.holders, known.persons
            )
            ids = await self._store(connection, opened, decisions, now)
            persons[rows] = resolved(decisions.person, ids)
            created, reviews = len(ids), sum(len(columns[0]) for columns in decisions.reviews)
        invalid = batch.claims.invalid_numbers
        return Linked(persons=persons, created=created, reviews=reviews, invalid_numbers=invalid)

    async def _settle(self, batch: _Batch, known: _Known) -> Ints:
        """Return the persons of the claims about which nothing is left to do."""
        weakest = batch.weakest()
        await asyncio.to_thread(batch.digest, weakest.slot)
        await asyncio.gather(known.look_up(weakest), asyncio.to_thread(batch.digest, batch.identifiers.slot))
        batch.evidence = replace(batch.evidence, resident=batch.owned_numbers())
        by = partial(
            settle,
            named=_is_there(batch.claims.name_key),
            identifiers=weakest.take(batch.may_be_settled()[weakest.claim]),
            holders=known.holders,
            persons=known.persons,
        )
        persons, hopeful = by(batch.evidence)
        if hopeful.any():
            named = await asyncio.to_thread(batch.with_names, np.flatnonzero(hopeful))
            persons, _ = by(named)
        return persons

    async def _open(self, batch: _Batch, known: _Known, rows: Ints) -> tuple[_Batch, Ints]:
        """Return the claims at `rows` ready to be decided: with all digests, without useless numbers."""
        opened = batch.take(rows)
        _, opened.evidence = await asyncio.gather(
            known.look_up(opened.identifiers),
            asyncio.to_thread(opened.with_names, np.arange(len(rows))),
        )
        useless = overused(opened.evidence, opened.identifiers, known.holders, limit=HOLDERS_MOST)
        if not useless.any():
            return opened, rows
        opened = await asyncio.to_thread(opened.without, useless)
        known.widen(len(opened.texts))
        await known.look_up(opened.identifiers)
        left = np.unique(opened.identifiers.claim)
        return opened.take(left), rows[left]

    async def _store(
        self, connection: Connection, batch: _Batch, decisions: Decisions, now: datetime
    ) -> Ints:
        """Store what is new and return the ids of the new persons."""
        if not decisions.anything_to_store:
            return np.empty(0, dtype=np.int64)
        if self._exclusive and not self._locked:
            await store.take_bulk_lock(connection)
            self._locked = True
        outcome = Outcome(
            batch.claims,
            batch.evidence,
            batch.identifiers,
            decisions,
            seal=self._seal,
            origin=self._origin,
            now=now,
        )
        async with connection.transaction():
            return await self._store_outcome(connection, outcome)

    async def _store_outcome(self, connection: Connection, outcome: Outcome) -> Ints:
        ids = np.empty(0, dtype=np.int64)
        if count := outcome.newcomers:
            ids = outcome.assigned(await store.take_person_ids(connection, count=count))
            persons = await asyncio.to_thread(outcome.person_columns, ids)
            _, identifiers = await asyncio.gather(
                store.add_persons(connection, columns=persons, day=outcome.now.date()),
                asyncio.to_thread(outcome.identifier_columns, ids),
            )
            await store.add_unmatched(
                connection, first=int(ids.min()), last=int(ids.max()), origin=self._origin
            )
        else:
            identifiers = await asyncio.to_thread(outcome.identifier_columns, ids)
        if outcome.holdings:
            await store.add_identifiers(connection, columns=identifiers)
        if outcome.changes:
            changes = await asyncio.to_thread(outcome.change_columns)
            await store.change_persons(connection, columns=changes)
            await store.add_events(connection, columns=outcome.event_columns(self._actor))
        if parts := outcome.name_parts(ids):
            digests = digest_many(self._keys.lookup_key, [PART_PREFIX + part for part, _ in parts])
            numbers = halves(np.frombuffer(b"".join(digests), dtype="V16"))[0].tolist()
            await store.add_name_parts(connection, digests=numbers, persons=[person for _, person in parts])
        if outcome.settlements:
            digests, variants = outcome.settled_holdings()
            await store.settle_identifiers(connection, digests=digests, variants=variants)
        if outcome.reviews:
            await store.add_reviews(connection, columns=outcome.review_columns(ids))
        return ids

    def _batch(self, table: pa.Table) -> _Batch:
        return _Batch.of(normalise(table), digest=partial(digest_many, self._keys.lookup_key))

    def _seal(self, texts: pa.Array) -> pa.Array:
        return seal_column(self._keys, texts, nonce=self._random(NONCE_BYTES))


@dataclass(kw_only=True)
class _Batch:
    """Claims on their way. Digests are dear, so they are computed as they are needed.

    `texts` are the different identifiers' texts by slot; the digests of a slot are zero until `digest`.
    """

    claims: Claims
    evidence: Evidence
    identifiers: Identifiers
    texts: pa.Array
    digested: Flags
    digest_many: Callable[[Sequence[str]], list[bytes]]

    @classmethod
    def of(cls, claims: Claims, *, digest: Callable[[Sequence[str]], list[bytes]]) -> _Batch:
        """Return the batch of these claims, with all their identifiers."""
        texts, entries = _told(claims, tuple(IdentifierKind))
        nothing = np.zeros(len(claims), dtype=np.int64)
        evidence = Evidence(
            name=nothing,
            birth=claims.birth,
            number_birth=claims.number_birth,
            resident=nothing,
            sex=claims.sex,
            phone=phone_values(claims.phone),
        )
        return cls(
            claims=claims,
            evidence=evidence,
            identifiers=entries,
            texts=texts,
            digested=np.zeros(len(texts), dtype=np.bool_),
            digest_many=digest,
        )

    def take(self, rows: Ints) -> _Batch:
        """Return these claims; their identifiers keep their slots."""
        return replace(
            self,
            claims=self.claims.take(rows),
            evidence=self.evidence.take(rows),
            identifiers=self.identifiers.of_claims(rows),
        )

    def digest(self, slots: Ints) -> None:
        """Compute the digests of these slots, as far as they are not there."""
        asked = np.zeros(len(self.texts), dtype=np.bool_)
        asked[slots] = True
        missing = np.flatnonzero(asked & ~self.digested)
        self.identifiers.digests[missing] = self._digests(self.texts.take(pa.array(missing)).to_pylist())
        self.digested[missing] = True

    def with_names(self, rows: Ints) -> Evidence:
        """Return the evidence with the digests of these claims' names."""
        different = self.claims.name_key.take(pa.array(rows)).dictionary_encode()
        digests = self._digests([NAME_PREFIX + name for name in different.dictionary.to_pylist()])
        numbers = np.append(halves(digests)[0], 0)
        names = self.evidence.name.copy()
        names[rows] = numbers[pc.fill_null(different.indices, len(digests)).to_numpy(zero_copy_only=False)]
        return replace(self.evidence, name=names)

    def owned_numbers(self) -> Ints:
        """Return the first half of the digest of each claim's resident number, 0 where it tells none."""
        numbers = np.flatnonzero(self.identifiers.kind == _RESIDENT)
        resident = np.zeros(len(self.claims), dtype=np.int64)
        resident[self.identifiers.claim[numbers]] = halves(self.identifiers.digests_of(numbers))[0]
        return resident

    @property
    def identified(self) -> Flags:
        """Which claims tell an identifier."""
        return np.bincount(self.identifiers.claim, minlength=len(self.claims)) > 0

    def weakest(self) -> Identifiers:
        """Return each claim's weakest identifier."""
        entry = np.full(len(self.claims), NOBODY, dtype=np.int64)
        order = np.argsort(self.identifiers.kind, kind="stable")
        entry[self.identifiers.claim[order]] = order  # the last one written stays
        return self.identifiers.take(entry[entry != NOBODY])

    def may_be_settled(self) -> Flags:
        """Return which claims have at most one identifier beside the resident number."""
        others = self.identifiers.claim[self.identifiers.kind != _RESIDENT]
        return np.bincount(others, minlength=len(self.claims)) <= 1

    def without(self, useless: Flags) -> _Batch:
        """Return the claims without useless identifiers; who has no other is known by name, if at all."""
        gone = useless[self.identifiers.slot]
        dropped, kept = self.identifiers.take(gone), self.identifiers.take(~gone)
        numberless = dropped.claim[dropped.kind == _RESIDENT]
        resident, number_birth = self.evidence.resident.copy(), self.evidence.number_birth.copy()
        resident[numberless], number_birth[numberless] = 0, UNKNOWN_DAY
        bare = np.setdiff1d(dropped.claim, kept.claim)
        claims = self.claims.with_demographics(bare)
        texts, named = _told(claims.take(bare), (IdentifierKind.DEMOGRAPHIC,))
        # Another claim of the batch may be known in the same way.
        known = pc.index_in(texts, value_set=self.texts)
        new = texts.filter(pc.is_null(known))
        slots = pc.coalesce(known, pc.add(pc.index_in(texts, value_set=new), len(self.texts)))
        slot = slots.to_numpy(zero_copy_only=False).astype(np.int64)[named.slot]
        batch = replace(
            self,
            claims=claims,
            evidence=replace(self.evidence, resident=resident, number_birth=number_birth),
            identifiers=Identifiers(
                claim=np.concatenate([kept.claim, bare[named.claim]]),
                kind=np.concatenate([kept.kind, named.kind]),
                slot=np.concatenate([kept.slot, slot]),
                digests=np.concatenate([kept.digests, np.zeros(len(new), dtype="V16")]),
            ),
            texts=pa.concat_arrays([self.texts, new]),
            digested=np.append(self.digested, np.zeros(len(new), dtype=np.bool_)),
        )
        batch.digest(batch.identifiers.slot)
        return batch

    def _digests(self, texts: Sequence[str]) -> Digests:
        return np.frombuffer(b"".join(self.digest_many(texts)), dtype="V16")


class _Known:
    """What the database knew of the identifiers asked for, gathered by several look-ups."""

    def __init__(self, connection: Connection, *, slots: int) -> None:
        self._connection = connection
        self._asked = np.zeros(slots, dtype=np.bool_)
        self.holders = Holders.none()
        self.persons = Persons.none()

    def widen(self, slots: int) -> None:
        """Make place for identifiers that came later."""
        self._asked = np.append(self._asked, np.zeros(slots - len(self._asked), dtype=np.bool_))

    async def look_up(self, identifiers: Identifiers) -> None:
        """Learn who holds these identifiers and what is known of them, as far as it was not asked before."""
        asked = np.zeros(len(self._asked), dtype=np.bool_)
        asked[identifiers.slot] = True
        slots = np.flatnonzero(asked & ~self._asked)
        if not len(slots):
            return
        self._asked |= asked
        digests = identifiers.digests[slots]
        order = index_order(digests)
        found = await store.find_holders(
            self._connection, slots=slots[order], digests=digests[order], limit=HOLDERS_MOST
        )
        await self._read(np.setdiff1d(found.person, self.persons.person))
        survivors = self.persons.survivor[self.persons.survivor != 0]
        await self._read(np.setdiff1d(survivors, self.persons.person))
        self.holders = self.holders.and_(found.with_survivors(self.persons))

    async def _read(self, persons: Ints) -> None:
        if len(persons):
            self.persons = self.persons.and_(await store.read_persons(self._connection, persons=persons))


def _told(claims: Claims, kinds: Sequence[IdentifierKind]) -> tuple[pa.Array, Identifiers]:
    """Return the different texts of the claims' identifiers of these kinds, and who tells them."""
    rows: list[Ints] = []
    texts: list[pa.Array] = []
    for kind in kinds:
        column = claims.texts(kind)
        there = np.flatnonzero(_is_there(column))
        rows.append(there)
        texts.append(column.take(pa.array(there)))
    different = pa.concat_arrays(texts).dictionary_encode()
    return different.dictionary, Identifiers(
        claim=np.concatenate(rows),
        kind=np.repeat([int(kind) for kind in kinds], [len(there) for there in rows]),
        slot=different.indices.to_numpy(zero_copy_only=False).astype(np.int64),
        digests=np.zeros(len(different.dictionary), dtype="V16"),
    )


def _cache_keys(claims: pa.Table) -> list[str]:
    """Return a text for each claim that is equal for equal claims only."""
    columns = [claims.column(name).cast(pa.string()) for name in COLUMNS]
    joined = pc.binary_join_element_wise(*columns, "\x1f", null_handling="replace", null_replacement="\x1e")
    return joined.to_pylist()


def _is_there(column: pa.Array) -> Flags:
    return pc.is_valid(column).to_numpy(zero_copy_only=False)
