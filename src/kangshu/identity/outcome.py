"""Put what was decided about a batch of claims into the columns of the tables that keep it."""

# pyarrow makes its compute functions at import, where pyright cannot see them.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kangshu.identity.evidence import (
    REASONS,
    Decisions,
    Digests,
    Evidence,
    Flags,
    Identifiers,
    Ints,
    gathered,
    index_order,
    resolved,
)
from kangshu.identity.model import EventKind, IdentifierKind
from kangshu.identity.normalising import UNKNOWN_DAY, Claims
from kangshu.identity.subjects import name_parts_of

Columns = dict[str, Any]
_MOMENT = pa.timestamp("us", tz="UTC")


class Outcome:
    """What is to be stored. `ids` are those that `assigned` gave to the new persons."""

    def __init__(
        self,
        claims: Claims,
        evidence: Evidence,
        identifiers: Identifiers,
        decisions: Decisions,
        *,
        seal: Callable[[pa.Array], pa.Array],
        origin: int | None,
        now: datetime,
    ) -> None:
        self._claims = claims
        self._evidence = evidence
        self._identifiers = identifiers
        self._seal = seal
        self._origin = origin
        self.now = now
        self._newcomers = gathered(decisions.newcomers, 5)
        self._holdings = gathered(decisions.holdings, 4)
        self._changes = gathered(decisions.changes, 7)
        self._settlements = gathered(decisions.settlements, 2)
        self._reviews = gathered(decisions.reviews, 4)
        self.newcomers, self.holdings, self.changes, self.settlements, self.reviews = (
            len(rows[0])
            for rows in (self._newcomers, self._holdings, self._changes, self._settlements, self._reviews)
        )

    def assigned(self, ids: Ints) -> Ints:
        """Return which of these ids each new person gets: ascending in the order of the index of names."""
        persons = np.empty(len(ids), dtype=np.int64)
        persons[self._name_order()] = np.sort(ids)
        return persons

    def person_columns(self, ids: Ints) -> Columns:
        """Return the new persons."""
        order = self._name_order()
        name, sex, phone, birth, resident = (column[order] for column in self._newcomers)
        return {
            "id": ids[order],
            **self._facts(name, sex, phone, birth, resident),
            "origin": _same(self._origin, len(ids), pa.int64()),
            "created_at": _same(self.now, len(ids), _MOMENT),
        }

    def change_columns(self) -> Columns:
        """Return what is learnt of known persons."""
        person, seen, name, sex, phone, birth, resident = self._changes
        return {"person": person, "seen": seen, **self._facts(name, sex, phone, birth, resident)}

    def identifier_columns(self, ids: Ints) -> Columns:
        """Return the new holders, in the order of their digests."""
        entry, variant, person, disputed = self._holdings
        order = index_order(self._identifiers.digests_of(entry))
        entry = entry[order]
        return {
            "person": resolved(person[order], ids),
            "origin": _same(self._origin, len(entry), pa.int64()),
            "seen_at": _same(self.now, len(entry), _MOMENT),
            "kind": self._identifiers.kind[entry].astype(np.int16),
            "variant": variant[order].astype(np.int16),
            "disputed": disputed[order].astype(np.bool_),
            "digest": digest_array(self._identifiers.digests_of(entry)),
            "sealed": self._seal(self._by_kind(entry, _stored_values)),
            "issuer": self._by_kind(entry, Claims.issuers),
        }

    def name_parts(self, ids: Ints) -> list[tuple[str, int]]:
        """Return the parts of new names that are written with blanks, each with its person."""
        rows = np.concatenate([self._newcomers[0], self._changes[2]])
        persons = np.concatenate([ids, self._changes[0]])
        names = _taken(self._claims.name, rows)
        with_blank = np.flatnonzero(
            pc.fill_null(pc.match_substring(names, " "), False).to_numpy(zero_copy_only=False)
        )
        return [
            (part, int(persons[place]))
            for place in with_blank.tolist()
            for part in name_parts_of(names[place].as_py())
        ]

    def settled_holdings(self) -> tuple[list[bytes], list[int]]:
        """Return digest and variant of each holding that is no longer disputed."""
        entry, variant = self._settlements
        return [digest.tobytes() for digest in self._identifiers.digests_of(entry)], variant.tolist()

    def review_columns(self, ids: Ints) -> Columns:
        """Return the new review entries."""
        entry, person, other, reason = self._reviews
        return {
            "person": resolved(person, ids),
            "other": resolved(other, ids),
            "kind": self._identifiers.kind[entry].astype(np.int16),
            "reason": pa.array(REASONS, pa.string()).take(pa.array(reason)),
            "digest": digest_array(self._identifiers.digests_of(entry)),
            "issuer": self._by_kind(entry, Claims.issuers),
            "origin": _same(self._origin, len(entry), pa.int64()),
            "created_at": _same(self.now, len(entry), _MOMENT),
        }

    def event_columns(self, actor: str) -> Columns:
        """Return the changes as events."""
        size = self.changes
        return {
            "person": self._changes[0],
            "origin": _same(self._origin, size, pa.int64()),
            "at": _same(self.now, size, _MOMENT),
            "kind": np.full(size, int(EventKind.COMPLETED), dtype=np.int16),
            "actor": _same(actor, size, pa.string()),
        }

    def _name_order(self) -> Ints:
        names = self._newcomers[0]
        return np.argsort(np.where(names < 0, 0, self._evidence.name[names]), kind="stable")

    def _facts(self, name: Ints, sex: Ints, phone: Ints, birth: Ints, resident: Ints) -> Columns:
        names, phones = _taken(self._claims.name, name), _taken(self._claims.phone, phone)
        sealed = self._seal(pa.concat_arrays([names, phones]))
        digests = np.where(name < 0, 0, self._evidence.name[name])
        return {
            "name_sealed": sealed.slice(0, len(name)),
            "name_digest": _unless(digests, digests == 0),
            "sex": _unless(self._evidence.sex[sex], sex < 0).cast(pa.int16()),
            "phone_sealed": sealed.slice(len(name)),
            "birth_date": _unless(birth, birth == UNKNOWN_DAY).cast(pa.int32()).cast(pa.date32()),
            "resident": _unless(resident, resident == 0),
        }

    def _by_kind(self, entry: Ints, column: Callable[[Claims, IdentifierKind], pa.Array]) -> pa.Array:
        """Return for each entry the claim's value in the column that belongs to the entry's kind."""
        columns = [column(self._claims, kind) for kind in IdentifierKind]
        place = (self._identifiers.kind[entry] - 1) * len(self._claims) + self._identifiers.claim[entry]
        return pa.concat_arrays(columns).take(pa.array(place))


def digest_array(digests: Digests) -> pa.Array:
    """Return 16-byte digests as an Arrow column."""
    data = pa.py_buffer(np.ascontiguousarray(digests).tobytes())
    return pa.Array.from_buffers(pa.binary(16), len(digests), [None, data])


def _stored_values(claims: Claims, kind: IdentifierKind) -> pa.Array:
    """Return what is sealed beside an identifier: its number. A name is the person's already."""
    if kind is IdentifierKind.DEMOGRAPHIC:
        return pa.nulls(len(claims), pa.string())
    return claims.values(kind)


def _taken(column: pa.Array, rows: Ints) -> pa.Array:
    return column.take(pa.array(rows, mask=rows < 0))


def _unless(values: Ints, absent: Flags) -> pa.Array:
    return pa.array(values, mask=absent)


def _same(value: Any, size: int, kind: pa.DataType) -> pa.Array:
    return pa.nulls(size, kind) if value is None else pa.repeat(pa.scalar(value, kind), size)
