"""Take identifiers out of a person into a new one, and take that back.

A split is for what was linked wrongly. The identifiers go to a new person, and with the resident number the
birth date that it tells; nothing else of the old person is known to be the new one's, so a name, sex or phone
must be told. No program brings the two together again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import orjson
import pyarrow as pa

from kangshu.identity import store as index
from kangshu.identity.apart import Cause, keep_apart, lift_of_operation
from kangshu.identity.errors import (
    SplitFollowedError,
    SplitRefusedError,
    SplitUndoneError,
    SplitUnknownError,
)
from kangshu.identity.history import store
from kangshu.identity.linkage import default_model
from kangshu.identity.matching import HOLDERS_MOST, asked_of
from kangshu.identity.model import EventKind, IdentifierKind, PersonSplit
from kangshu.identity.normalising import NAME_PREFIX, PART_PREFIX
from kangshu.identity.operations import locked_groups
from kangshu.identity.subjects import display_name, name_key_of, name_parts_of, phone_of
from kangshu.kernel.texts import load_catalogue
from kangshu.security.keys import Keys
from kangshu.security.sealing import NONCE_BYTES, digest_many, open_many, seal_many
from kangshu.storage.database import Connection, Record

_LIMIT_MOST = 200
_RESIDENT = int(IdentifierKind.RESIDENT_NUMBER)
_LOCAL = int(IdentifierKind.LOCAL_NUMBER)

say = load_catalogue("kangshu.identity")


@dataclass(frozen=True, kw_only=True)
class ToldFacts:
    """What is known of the person whose the identifiers are; None: not known."""

    name: str | None = field(default=None, repr=False)
    sex: str | None = None
    birth_date: date | None = field(default=None, repr=False)
    phone: str | None = field(default=None, repr=False)


async def split_person(
    connection: Connection,
    *,
    person: int,
    identifiers: Sequence[str],
    actor: str,
    reason: str,
    now: datetime,
    facts: ToldFacts | None = None,
    keys: Keys | None = None,
    random: Callable[[int], bytes] | None = None,
) -> PersonSplit:
    """Give some identifiers of a person to a new one, and return the split.

    `identifiers` are the keys of what the person itself holds (`Identifier.key`), at least one and not all;
    what somebody holds who was merged into it is taken out of him. `facts` need `keys` and `random`. With
    `keys` the new person is also weighed by what records told that came with the identifiers.

    Raises:
        PersonUnknownError: there is no such person.
        SplitRefusedError: an identifier is not the person's own, or all are named, or none.
        LinkingBusyError: others kept changing the same persons.
    """
    await locked_groups(connection, persons=[person])
    held = {
        f"{row['digest'].hex()}-{row['variant']}": row
        for row in await store.list_held(connection, person=person)
    }
    taken = sorted(set(identifiers))
    if not taken or len(taken) >= len(held) or not held.keys() >= set(taken):
        raise SplitRefusedError(say["split_refused"])
    told = _stored(facts, keys, random) if facts and keys and random else {}
    created = await store.add_person(connection, facts=told, now=now)
    if facts and keys and facts.name:
        await _add_parts(connection, person=created, name=facts.name, keys=keys)
    if keys:
        told_by = _told_by([held[key] for key in taken], keys)
        await _move_profiles(connection, person=person, created=created, taken=told_by, keys=keys)
    split = await store.add_split(
        connection, person=person, created=created, actor=actor, reason=reason, now=now
    )
    await store.move(
        connection,
        split=split,
        holdings=[(held[key]["digest"], held[key]["variant"], created) for key in taken],
        undoing=False,
    )
    if any(held[key]["kind"] == _RESIDENT and not held[key]["disputed"] for key in taken):
        await store.copy_birth(connection, source=person, target=created)
    await store.own_numbers(connection, persons=[person, created])
    await keep_apart(
        connection, one=person, other=created, actor=actor, cause=Cause.SPLIT, operation=split, now=now
    )
    await _note(
        connection, person, created, EventKind.SEPARATED, actor=actor, reason=reason, split=split, now=now
    )
    return PersonSplit(
        id=split,
        person=person,
        created=created,
        at=now,
        actor=actor,
        reason=reason,
        identifiers=len(taken),
        undone_at=None,
        undone_by=None,
    )


async def undo_split(connection: Connection, *, split: int, actor: str, now: datetime) -> PersonSplit:
    """Take a split back, and return it: each identifier is whose it would be without the split.

    The person that the split created means the old one from then on, with all that it was told since.

    Raises:
        SplitUnknownError: there is no such split.
        SplitUndoneError: it has been undone.
        SplitFollowedError: the person that it created was merged with others since.
        LinkingBusyError: others kept changing the same persons.
    """
    found = await _get(connection, split)
    group, other = await locked_groups(connection, persons=[found.person, found.created])
    if list(other) != [found.created]:
        raise SplitFollowedError(say["split_followed"])
    back = await store.holders_without(connection, split=split)
    await locked_groups(connection, persons=sorted({found.created, *(row["target"] for row in back)}))
    await store.move(
        connection,
        split=split,
        holdings=[(row["digest"], row["variant"], row["target"]) for row in back],
        undoing=True,
    )
    changed = sorted({found.person, found.created, *(row["target"] for row in back)})
    await store.own_numbers(connection, persons=changed)
    # Not by `merge_persons`: the new person follows the old one, wherever that one comes to stand.
    merge = await index.add_merge(
        connection,
        survivor=found.person,
        absorbed=found.created,
        followers=[],
        actor=actor,
        reason=f"split/{split}",
        origin=None,
        now=now,
    )
    await index.point_at(connection, person=found.created, survivor=group[0])
    await store.close_split(connection, split=split, merge=merge["id"], actor=actor, now=now)
    await lift_of_operation(connection, cause=Cause.SPLIT, operation=split, actor=actor, now=now)
    await _note(
        connection,
        found.person,
        found.created,
        EventKind.REUNITED,
        actor=actor,
        reason=None,
        split=split,
        now=now,
    )
    return await _read(connection, split)


async def list_splits(connection: Connection, *, person: int, limit: int = 50) -> list[PersonSplit]:
    """Return the splits, also undone ones, of the person and who is merged with it, the newest first."""
    rows = await index.read_groups(connection, persons=[person])
    group = {person, *(row["survivor"] for row in rows), *(row["member"] for row in rows if row["member"])}
    found = await store.list_splits(connection, persons=sorted(group), limit=min(max(limit, 1), _LIMIT_MOST))
    return [_split(row) for row in found]


async def _move_profiles(
    connection: Connection, *, person: int, created: int, taken: frozenset[str], keys: Keys
) -> None:
    """Give the new person what records told that came with the identifiers, so that it is found by it.

    A record goes with its institution's number where it told one, else with its resident number.
    """
    rows = await store.list_profiles(connection, person=person)
    if not rows:
        return
    profiles = [orjson.loads(text) for text in open_many(keys, [row["sealed"] for row in rows])]
    asked = asked_of(default_model(), keys, profiles)
    gone = {
        place for place, one in enumerate(profiles) if (one.get("local") or one.get("number") or "") in taken
    }
    theirs = {key for place in gone for key in asked[place].keys}
    kept = {key for place, one in enumerate(asked) if place not in gone for key in one.keys}
    if gone:
        await store.move_profiles(
            connection,
            person=person,
            created=created,
            profiles=sorted(rows[place]["digest"] for place in gone),
            keys=sorted(theirs - kept),
            shared=sorted(theirs & kept),
            most=HOLDERS_MOST,
        )


def _told_by(rows: Sequence[Record], keys: Keys) -> frozenset[str]:
    """Return the numbers as profiles tell them: an institution's with its issuer."""
    there = [row for row in rows if row["sealed"] is not None]
    values = open_many(keys, [row["sealed"] for row in there])
    return frozenset(
        f"{row['issuer']}:{value}" if row["kind"] == _LOCAL else value
        for row, value in zip(there, values, strict=True)
    )


async def _get(connection: Connection, split: int) -> PersonSplit:
    found = await _read(connection, split)
    if found.undone_at is not None:
        raise SplitUndoneError(say["split_undone"])
    return found


async def _read(connection: Connection, split: int) -> PersonSplit:
    row = await store.get_split(connection, split=split)
    if row is None:
        raise SplitUnknownError(say["split_unknown"])
    return _split(row)


def _split(row: Record) -> PersonSplit:
    return PersonSplit(**row)


def _stored(facts: ToldFacts, keys: Keys, random: Callable[[int], bytes]) -> dict[str, Any]:
    """Return the facts as they are stored: what tells who it is, sealed."""
    name, phone = display_name(facts.name), phone_of(facts.phone)
    key = name_key_of(name)
    texts = [text for text in (name, phone) if text]
    sealed = dict(zip(texts, seal_many(keys, texts, nonce=random(NONCE_BYTES)), strict=True)) if texts else {}
    digest = digest_many(keys.lookup_key, [NAME_PREFIX + key])[0] if name and key else None
    return {
        "name_sealed": sealed.get(name or ""),
        "name_digest": int.from_bytes(digest[:8], signed=True) if digest else None,
        "sex": int(facts.sex) if facts.sex in ("1", "2") else None,
        "birth_date": facts.birth_date,
        "phone_sealed": sealed.get(phone or ""),
    }


async def _add_parts(connection: Connection, *, person: int, name: str, keys: Keys) -> None:
    parts = name_parts_of(display_name(name))
    if parts:
        digests = digest_many(keys.lookup_key, [PART_PREFIX + part for part in parts])
        await index.add_name_parts(
            connection,
            digests=[int.from_bytes(digest[:8], signed=True) for digest in digests],
            persons=[person] * len(parts),
        )


async def _note(
    connection: Connection,
    person: int,
    created: int,
    kind: EventKind,
    *,
    actor: str,
    reason: str | None,
    split: int,
    now: datetime,
) -> None:
    await index.add_events(
        connection,
        columns={
            "person": pa.array([person, created]),
            "other": pa.array([created, person]),
            "at": pa.array([now, now], pa.timestamp("us", tz="UTC")),
            "kind": pa.array([int(kind)] * 2, pa.int16()),
            "actor": pa.array([actor, actor]),
            "reason": pa.array([reason or None] * 2, pa.string()),
            "operation": pa.array([split, split]),
        },
    )
