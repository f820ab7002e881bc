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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
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
from kangshu.identity.normalising import COLUMNS, NAME_PREFIX, PHONE_PREFIX, UNKNOWN_DAY, Claims, normalise
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
_RESIDENT = int(IdentifierKind.RESIDENT_NUMBER)

_MOMENT = pa.timestamp("us", tz="UTC")

Columns = dict[str, Any]
Seal = Callable[[pa.Array], pa.Array]

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

    def _prepare(self, table: pa.Table) -> _Batch:
        """Return the claims normalised, with the digests of their identifiers."""
        claims = normalise(table)
        identifiers = self._identify(claims, tuple(IdentifierKind))
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
        return _Batch(claims=claims, evidence=evidence, identifiers=identifiers)

    def _identify(self, claims: Claims, kinds: Sequence[IdentifierKind]) -> Identifiers:
        rows: list[Ints] = []
        texts: list[pa.Array] = []
        for kind in kinds:
            column = claims.texts(kind)
            there = np.flatnonzero(pc.is_valid(column).to_numpy(zero_copy_only=False))
            rows.append(there)
            texts.append(column.take(pa.array(there)))
        different = pa.concat_arrays(texts).dictionary_encode()
        return Identifiers(
            claim=np.concatenate(rows),
            kind=np.repeat([int(kind) for kind in kinds], [len(there) for there in rows]),
            slot=different.indices.to_numpy(zero_copy_only=False).astype(np.int64),
            digests=self._digests(different.dictionary.to_pylist()),
        )

    def _numbers_of(self, texts: pa.Array, prefix: str) -> Ints:
        """Return the first eight bytes of each text's digest as a number, 0 for null."""
        different = texts.dictionary_encode()
        digests = self._digests([prefix + text for text in different.dictionary.to_pylist()])
        numbers = np.append(halves(digests)[0], 0)
        return numbers[pc.fill_null(different.indices, len(digests)).to_numpy(zero_copy_only=False)]

    def _digests(self, texts: Sequence[str]) -> npt.NDArray[np.void]:
        return np.frombuffer(b"".join(digest_many(self._keys.lookup_key, texts)), dtype="V16")

    async def _link_unknown(self, connection: Connection, batch: _Batch, now: datetime) -> Linked:
        known = _Known(connection, slots=len(batch.identifiers.digests))
        persons = await self._settle(batch, known)
        rows = np.flatnonzero((persons == NOBODY) & (batch.weakest != NOBODY))
        created = reviews = 0
        if len(rows):
            open_batch, rows = await self._open(batch, known, rows)
            decisions = await asyncio.to_thread(
                decide, open_batch.evidence, open_batch.identifiers, known.holders, known.persons
            )
            ids = await self._store(connection, open_batch, decisions, now)
            persons[rows] = _resolved(decisions.person, ids)
            created, reviews = len(ids), len(_gathered(decisions.reviews, 4)[0])
        invalid = batch.claims.invalid_numbers
        return Linked(persons=persons, created=created, reviews=reviews, invalid_numbers=invalid)

    async def _settle(self, batch: _Batch, known: _Known) -> Ints:
        """Return the persons of the claims about which nothing is left to do."""
        weakest = batch.identifiers.take(batch.weakest[batch.weakest != NOBODY])
        await known.look_up(weakest)
        by = partial(
            settle,
            named=_is_there(batch.claims.name_key),
            phoned=_is_there(batch.claims.phone),
            identifiers=weakest.take(batch.may_be_settled[weakest.claim]),
            holders=known.holders,
            persons=known.persons,
        )
        persons, hopeful = by(batch.evidence)
        if hopeful.any():
            rows = np.flatnonzero(hopeful)
            names = batch.evidence.name.copy()
            names[rows] = await asyncio.to_thread(
                self._numbers_of, batch.claims.name_key.take(pa.array(rows)), NAME_PREFIX
            )
            persons, _ = by(replace(batch.evidence, name=names))
        return persons

    async def _open(self, batch: _Batch, known: _Known, rows: Ints) -> tuple[_Batch, Ints]:
        """Return the claims at `rows` ready to be decided: with all digests, without useless numbers."""
        opened = await asyncio.to_thread(self._complete, batch, rows)
        await known.look_up(opened.identifiers)
        useless = overused(opened.identifiers, known.holders, limit=HOLDERS_MOST)
        if not useless.any():
            return opened, rows
        opened = await asyncio.to_thread(self._without, opened, useless)
        known.widen(len(opened.identifiers.digests))
        await known.look_up(opened.identifiers)
        left = np.unique(opened.identifiers.claim)
        return opened.take(left), rows[left]

    def _complete(self, batch: _Batch, rows: Ints) -> _Batch:
        taken = batch.take(rows)
        evidence = replace(
            taken.evidence,
            name=self._numbers_of(taken.claims.name_key, NAME_PREFIX),
            phone=self._numbers_of(taken.claims.phone, PHONE_PREFIX),
        )
        return replace(taken, evidence=evidence)

    def _without(self, batch: _Batch, useless: Flags) -> _Batch:
        """Return the claims without the useless identifiers; who has no other is known by name, if at all."""
        dropped = batch.identifiers.take(useless[batch.identifiers.slot])
        kept = batch.identifiers.take(~useless[batch.identifiers.slot])
        numberless = dropped.claim[dropped.kind == _RESIDENT]
        resident, number_birth = batch.evidence.resident.copy(), batch.evidence.number_birth.copy()
        resident[numberless], number_birth[numberless] = 0, UNKNOWN_DAY
        evidence = replace(batch.evidence, resident=resident, number_birth=number_birth)
        bare = np.setdiff1d(dropped.claim, kept.claim)
        claims = batch.claims.with_demographics(bare)
        named = self._identify(claims.take(bare), (IdentifierKind.DEMOGRAPHIC,))
        first = len(kept.digests)
        identifiers = Identifiers(
            claim=np.concatenate([kept.claim, bare[named.claim]]),
            kind=np.concatenate([kept.kind, named.kind]),
            slot=np.concatenate([kept.slot, first + named.slot]),
            digests=np.concatenate([kept.digests, named.digests]),
        )
        return _Batch(claims=claims, evidence=evidence, identifiers=identifiers)

    async def _store(
        self, connection: Connection, batch: _Batch, decisions: Decisions, now: datetime
    ) -> Ints:
        """Store what is new and return the ids of the new persons."""
        if not decisions.anything_to_store:
            return np.empty(0, dtype=np.int64)
        if self._exclusive and not self._locked:
            await store.take_bulk_lock(connection)
            self._locked = True
        async with connection.transaction():
            return await self._store_new(connection, _Outcome(batch, decisions), now)

    async def _store_new(self, connection: Connection, outcome: _Outcome, now: datetime) -> Ints:
        ids = np.empty(0, dtype=np.int64)
        stamp = {"origin": self._origin, "now": now}
        if count := len(outcome.newcomers[0]):
            ids = await store.take_person_ids(connection, count=count)
            persons = await asyncio.to_thread(outcome.person_columns, ids, self._seal, **stamp)
            # The server stores the persons while the identifiers are being sealed.
            _, identifiers = await asyncio.gather(
                store.add_persons(connection, columns=persons, day=now.date()),
                asyncio.to_thread(outcome.identifier_columns, ids, self._seal, **stamp),
            )
        else:
            identifiers = await asyncio.to_thread(outcome.identifier_columns, ids, self._seal, **stamp)
        if len(identifiers["person"]):
            await store.add_identifiers(connection, columns=identifiers)
        if len(outcome.changes[0]):
            changes = await asyncio.to_thread(outcome.change_columns, self._seal)
            await store.change_persons(connection, columns=changes)
        if len(outcome.settlements[0]):
            await store.settle_identifiers(connection, **outcome.settlement_lists())
        if len(outcome.reviews[0]):
            await store.add_reviews(connection, columns=outcome.review_columns(ids, **stamp))
        await store.add_events(connection, columns=outcome.event_columns(ids, actor=self._actor, **stamp))
        return ids

    def _seal(self, texts: pa.Array) -> pa.Array:
        """Return the texts sealed; null stays null."""
        there = _is_there(texts)
        sealed = seal_many(self._keys, texts.drop_null().to_pylist(), nonce=self._random(12))
        return pa.array(sealed, pa.binary()).take(pa.array(np.cumsum(there) - 1, mask=~there))


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """Claims on their way: what they say, their digests, and their identifiers."""

    claims: Claims
    evidence: Evidence
    identifiers: Identifiers

    def take(self, rows: Ints) -> _Batch:
        return _Batch(
            claims=self.claims.take(rows),
            evidence=self.evidence.take(rows),
            identifiers=self.identifiers.of_claims(rows),
        )

    @property
    def weakest(self) -> Ints:
        """The entry of each claim's weakest identifier, `NOBODY` where it has none."""
        entry = np.full(len(self.claims), NOBODY, dtype=np.int64)
        order = np.argsort(self.identifiers.kind, kind="stable")
        entry[self.identifiers.claim[order]] = order  # the last one written stays
        return entry

    @property
    def may_be_settled(self) -> Flags:
        """Whether a claim has at most one identifier beside the resident number."""
        others = self.identifiers.claim[self.identifiers.kind != _RESIDENT]
        return np.bincount(others, minlength=len(self.claims)) <= 1


class _Known:
    """What the database knew of the identifiers asked for, gathered by several look-ups."""

    def __init__(self, connection: Connection, *, slots: int) -> None:
        self._connection = connection
        self._asked = np.zeros(slots, dtype=np.bool_)
        none = np.empty(0, dtype=np.int64)
        flags = np.empty(0, dtype=np.bool_)
        self.holders = Holders(slot=none, variant=none, person=none, disputed=flags)
        self.persons = Persons(
            person=none, name=none, birth=none, resident=none, has_sex=flags, has_phone=flags, seen=none
        )

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
        # In the order of the index, neighbours share its pages.
        first = identifiers.digests[slots].view(">u8").reshape(-1, 2)[:, 0]
        found = await store.find_holders(
            self._connection,
            slots=slots[np.argsort(first)],
            digests=identifiers.digests,
            limit=HOLDERS_MOST,
        )
        self.holders = Holders(**_joined(self.holders, found))
        unread = np.setdiff1d(found.person, self.persons.person)
        if len(unread):
            more = Persons(
                **_joined(self.persons, await store.read_persons(self._connection, persons=unread))
            )
            self.persons = more.take(np.argsort(more.person))


class _Outcome:
    """Decisions about a batch as the columns of what is to be stored."""

    def __init__(self, batch: _Batch, decisions: Decisions) -> None:
        self._batch = batch
        self.newcomers = _gathered(decisions.newcomers, 5)
        self.holdings = _gathered(decisions.holdings, 4)
        self.changes = _gathered(decisions.changes, 7)
        self.settlements = _gathered(decisions.settlements, 2)
        self.reviews = _gathered(decisions.reviews, 4)

    def person_columns(self, ids: Ints, seal: Seal, *, origin: int | None, now: datetime) -> Columns:
        name, sex, phone, birth, resident = self.newcomers
        return {
            "id": ids,
            **self._facts(name, sex, phone, birth, resident, seal),
            "origin": _same(origin, len(ids), pa.int64()),
            "created_at": _same(now, len(ids), _MOMENT),
        }

    def change_columns(self, seal: Seal) -> Columns:
        person, seen, name, sex, phone, birth, resident = self.changes
        return {"person": person, "seen": seen, **self._facts(name, sex, phone, birth, resident, seal)}

    def _facts(self, name: Ints, sex: Ints, phone: Ints, birth: Ints, resident: Ints, seal: Seal) -> Columns:
        claims, evidence = self._batch.claims, self._batch.evidence
        sealed = seal(pa.concat_arrays([_taken(claims.name, name), _taken(claims.phone, phone)]))
        return {
            "name_sealed": sealed.slice(0, len(name)),
            "name_digest": _unless(evidence.name[name], (name < 0) | (evidence.name[name] == 0)),
            "sex": _unless(evidence.sex[sex], sex < 0).cast(pa.int16()),
            "phone_sealed": sealed.slice(len(name)),
            "phone_digest": _unless(evidence.phone[phone], phone < 0),
            "birth_date": _unless(birth, birth == UNKNOWN_DAY).cast(pa.int32()).cast(pa.date32()),
            "resident": _unless(resident, resident == 0),
        }

    def identifier_columns(self, ids: Ints, seal: Seal, *, origin: int | None, now: datetime) -> Columns:
        entry, variant, person, disputed = self.holdings
        digests = self._batch.identifiers.digests[self._batch.identifiers.slot[entry]]
        # One order for everybody, so that two writers cannot wait for each other; and that of the index.
        order = np.argsort(digests.view(">u8").reshape(-1, 2)[:, 0], kind="stable")
        entry = entry[order]
        return {
            "person": _resolved(person[order], ids),
            "origin": _same(origin, len(entry), pa.int64()),
            "seen_at": _same(now, len(entry), _MOMENT),
            "kind": self._batch.identifiers.kind[entry].astype(np.int16),
            "variant": variant[order].astype(np.int16),
            "disputed": disputed[order].astype(np.bool_),
            "digest": store.digest_array(digests[order]),
            "sealed": seal(self._by_kind(entry, _stored_values)),
            "issuer": self._by_kind(entry, Claims.issuers),
        }

    def settlement_lists(self) -> dict[str, list[Any]]:
        entry, variant = self.settlements
        digests = self._batch.identifiers.digests[self._batch.identifiers.slot[entry]]
        return {"digests": [digest.tobytes() for digest in digests], "variants": variant.tolist()}

    def review_columns(self, ids: Ints, *, origin: int | None, now: datetime) -> Columns:
        entry, person, other, reason = self.reviews
        return {
            "person": _resolved(person, ids),
            "other": _resolved(other, ids),
            "kind": self._batch.identifiers.kind[entry].astype(np.int16),
            "reason": reason.astype(np.int16),
            "digest": store.digest_array(
                self._batch.identifiers.digests[self._batch.identifiers.slot[entry]]
            ),
            "issuer": self._by_kind(entry, Claims.issuers),
            "origin": _same(origin, len(entry), pa.int64()),
            "created_at": _same(now, len(entry), _MOMENT),
        }

    def event_columns(self, ids: Ints, *, actor: str, origin: int | None, now: datetime) -> Columns:
        gained = self.holdings[2][self.holdings[2] > 0]
        parts = {
            EventKind.CREATED: ids,
            EventKind.IDENTIFIED: gained,
            EventKind.COMPLETED: self.changes[0],
        }
        person = np.concatenate(list(parts.values()))
        kinds = np.repeat([int(kind) for kind in parts], [len(rows) for rows in parts.values()])
        return {
            "person": person,
            "origin": _same(origin, len(person), pa.int64()),
            "at": _same(now, len(person), _MOMENT),
            "kind": kinds.astype(np.int16),
            "actor": _same(actor, len(person), pa.string()),
        }

    def _by_kind(self, entry: Ints, column: Callable[[Claims, IdentifierKind], pa.Array]) -> pa.Array:
        """Return for each entry the claim's value in the column that belongs to the entry's kind."""
        claims, identifiers = self._batch.claims, self._batch.identifiers
        stored = [column(claims, kind) for kind in IdentifierKind]
        place = (identifiers.kind[entry] - 1) * len(claims) + identifiers.claim[entry]
        return pa.concat_arrays(stored).take(pa.array(place))


def _stored_values(claims: Claims, kind: IdentifierKind) -> pa.Array:
    """Return what is sealed beside an identifier: its number. A name is the person's already."""
    if kind is IdentifierKind.DEMOGRAPHIC:
        return pa.nulls(len(claims), pa.string())
    return claims.values(kind)


def _cache_keys(claims: pa.Table) -> list[str]:
    """Return a text for each claim that is equal for equal claims only."""
    columns = [claims.column(name).cast(pa.string()) for name in COLUMNS]
    joined = pc.binary_join_element_wise(*columns, "\x1f", null_handling="replace", null_replacement="\x1e")
    return joined.to_pylist()


def _resolved(persons: Ints, ids: Ints) -> Ints:
    """Return the persons with the stand-ins of new ones replaced by their ids."""
    resolved = persons.copy()
    new = persons < NOBODY
    resolved[new] = ids[newcomer(persons[new])]
    return resolved


def _gathered(rows: Sequence[tuple[Ints, ...]], width: int) -> tuple[Ints, ...]:
    """Return the columns of several lists of rows as one."""
    if not rows:
        return (np.empty(0, dtype=np.int64),) * width
    return tuple(np.concatenate([part[place] for part in rows]) for place in range(width))


def _joined(one: Any, other: Any) -> dict[str, Any]:
    return {name: np.concatenate([column, getattr(other, name)]) for name, column in vars(one).items()}


def _is_there(column: pa.Array) -> Flags:
    return pc.is_valid(column).to_numpy(zero_copy_only=False)


def _taken(column: pa.Array, rows: Ints) -> pa.Array:
    return column.take(pa.array(rows, mask=rows < 0))


def _unless(values: Ints, absent: Flags) -> pa.Array:
    return pa.array(values, mask=absent)


def _same(value: Any, size: int, kind: pa.DataType) -> pa.Array:
    return pa.nulls(size, kind) if value is None else pa.repeat(pa.scalar(value, kind), size)
