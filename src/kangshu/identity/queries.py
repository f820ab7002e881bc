"""Look persons up and show what is known of them, in clear text.

Whoever calls has settled who may see it: the doors ask `consent` for a grant and mask what the role may
not read. Sealed values are compared with their digests as they are opened, so a changed one is found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import pyarrow as pa

from kangshu.identity import store
from kangshu.identity.errors import (
    MergeUnknownError,
    PersonUnknownError,
    ReviewUnknownError,
    SearchTooWideError,
)
from kangshu.identity.model import (
    DayCount,
    Event,
    EventKind,
    FormerFacts,
    Identifier,
    IdentifierKind,
    PersonMerge,
    PersonSummary,
    Review,
    ReviewState,
)
from kangshu.identity.normalising import (
    COLUMNS,
    NAME_PREFIX,
    Claims,
    identifier_text,
    normalise,
)
from kangshu.identity.policy import STRONG_DOCUMENTS
from kangshu.identity.subjects import name_key_of
from kangshu.kernel.periods import Period
from kangshu.kernel.texts import load_catalogue
from kangshu.security.errors import SealBrokenError
from kangshu.security.keys import Keys
from kangshu.security.sealing import digest_many, open_many
from kangshu.storage.database import Connection, Record

LIMIT_MOST = 200

say = load_catalogue(__package__ or __name__)


async def find_persons(
    connection: Connection,
    *,
    keys: Keys,
    name: str | None = None,
    resident_number: str | None = None,
    document_number: str | None = None,
    document_type: str | None = None,
    local_number: str | None = None,
    institution: str | None = None,
    birth_date: date | None = None,
    limit: int = 50,
) -> list[PersonSummary]:
    """Return the persons for whom everything given holds, by id, at most `limit` (1 to 200).

    Of persons who were merged the survivor is returned. Numbers and names are normalised as on arrival and
    must be whole. Of several numbers one is enough. A number that cannot be one finds nobody. Without
    `document_type` every type is tried.

    Raises:
        SearchTooWideError: neither a number nor a name is given.
    """
    limit = min(max(limit, 1), LIMIT_MOST)
    documents = [document_type] if document_type else [None, *sorted(STRONG_DOCUMENTS)]
    first: dict[str, Any] = {
        "resident_number": resident_number,
        "institution": institution,
        "local_number": local_number,
        "name": name,
    }
    numbers = ({"document_type": kind, "document_number": document_number} for kind in documents)
    wanted = _claims([first, *numbers])
    (name_digest,) = _name_digests(keys, wanted.name_key.slice(0, 1))
    if name and name_digest is None:
        return []
    if resident_number or document_number or local_number:
        rows = await store.find_by_digests(
            connection,
            digests=digest_many(keys.lookup_key, _number_texts(wanted)),
            name=name_digest,
            birth_date=birth_date,
            limit=limit,
        )
    elif name_digest is not None:
        rows = await store.find_by_name(connection, name=name_digest, birth_date=birth_date, limit=limit)
    else:
        raise SearchTooWideError(say["search_too_wide"])
    return await list_persons(connection, keys=keys, persons=[row["id"] for row in rows])


async def get_person(connection: Connection, *, keys: Keys, person: int) -> PersonSummary:
    """Return what is known of the person; of one that was merged into another, that other.

    Raises:
        PersonUnknownError: there is none with this id.
    """
    for found in await list_persons(connection, keys=keys, persons=[person]):
        return found
    raise PersonUnknownError(say["person_unknown"])


async def list_persons(connection: Connection, *, keys: Keys, persons: Sequence[int]) -> list[PersonSummary]:
    """Return what is known of these persons, by id; ids that nobody has are left out.

    Whoever was merged is shown as the survivor, once, with what the survivor lacks from those it absorbed.
    """
    groups: dict[int, list[int]] = {}
    for row in await store.read_groups(connection, persons=persons):
        group = groups.setdefault(row["survivor"], [row["survivor"]])
        if row["member"] is not None and row["member"] not in group:
            group.append(row["member"])
    everybody = [one for group in groups.values() for one in group]
    rows = await store.get_persons(connection, persons=everybody)
    known = {one.id: one for one in _summaries(keys, rows)}
    return [_as_one([known[one] for one in groups[person]]) for person in sorted(groups)]


async def list_alone(connection: Connection, *, keys: Keys, persons: Sequence[int]) -> list[PersonSummary]:
    """Return what is known of each of these persons itself, by id, whatever was merged with it."""
    return _summaries(keys, await store.get_persons(connection, persons=persons))


def _as_one(group: Sequence[PersonSummary]) -> PersonSummary:
    """Return the first, with what it lacks from the others."""
    if len(group) == 1:
        return group[0]

    def first(fact: str) -> Any:
        return next((value for one in group if (value := getattr(one, fact)) is not None), None)

    facts = ("name", "sex", "birth_date", "resident_number", "phone")
    return replace(
        group[0], **{fact: first(fact) for fact in facts}, absorbed=tuple(one.id for one in group[1:])
    )


async def persons_meaning(connection: Connection, *, persons: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """Return for each of these persons all numbers that mean the same human, the survivor first.

    Who was never merged, and a number that nobody has, means itself alone.
    """
    groups: dict[int, list[int]] = {}
    for row in await store.read_groups(connection, persons=persons):
        group = groups.setdefault(row["id"], [row["survivor"]])
        if row["member"] is not None:
            group.append(row["member"])
    return {person: tuple(groups.get(person, (person,))) for person in persons}


async def list_identifiers(connection: Connection, *, keys: Keys, person: int) -> list[Identifier]:
    """Return what the person, and who was merged with it, is known by, the strongest first.

    Raises:
        PersonUnknownError: there is no person with this id.
    """
    groups = await store.read_groups(connection, persons=[person])
    if not groups:
        raise PersonUnknownError(say["person_unknown"])
    (found,) = (await list_identifiers_of(connection, keys=keys, groups=[_members(groups)])).values()
    return found


async def list_identifiers_of(
    connection: Connection, *, keys: Keys, groups: Sequence[Sequence[int]]
) -> dict[int, list[Identifier]]:
    """Return for the first person of each group what the persons of the group are known by."""
    first = {person: group[0] for group in groups for person in group}
    found: dict[int, list[Identifier]] = {group[0]: [] for group in groups}
    rows = await store.list_identifiers(connection, persons=list(first))
    for row, value in zip(rows, _open_numbers(keys, rows), strict=True):
        found[first[row["person"]]].append(
            Identifier(
                kind=IdentifierKind(row["kind"]),
                issuer=row["issuer"],
                value=value,
                variant=row["variant"],
                disputed=row["disputed"],
                seen_at=row["seen_at"],
                origin=row["origin"],
                person=row["person"],
                key=f"{row['digest'].hex()}-{row['variant']}",
            )
        )
    return found


def _members(rows: Sequence[Record]) -> list[int]:
    """Return survivor and members out of the rows of one person's group."""
    return [rows[0]["survivor"], *(row["member"] for row in rows if row["member"] is not None)]


async def list_reviews(
    connection: Connection,
    *,
    state: ReviewState | None = ReviewState.OPEN,
    person: int | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[Review]:
    """Return review entries, the newest first; `before` is the last id of the page before."""
    return await store.list_reviews(
        connection,
        state=state.value if state else None,
        person=person,
        before=before,
        limit=min(max(limit, 1), LIMIT_MOST),
    )


async def get_review(connection: Connection, *, review: int) -> Review:
    """Return the review entry.

    Raises:
        ReviewUnknownError: there is none with this id.
    """
    entry = await store.get_review(connection, review=review, locked=False)
    if entry is None:
        raise ReviewUnknownError(say["review_unknown"])
    return entry


async def list_events(
    connection: Connection,
    *,
    person: int,
    keys: Keys | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[Event]:
    """Return what happened to the person and who was merged with it, the newest first.

    What a correction replaced is opened with `keys`; without them it stays closed.
    """
    groups = await store.read_groups(connection, persons=[person])
    rows = await store.list_events(
        connection,
        persons=_members(groups) if groups else [person],
        before=before,
        limit=min(max(limit, 1), LIMIT_MOST),
    )
    return [
        Event(
            id=row["id"],
            at=row["at"],
            kind=EventKind(row["kind"]),
            person=row["person"],
            other=row["other"],
            actor=row["actor"],
            origin=row["origin"],
            former=_former(keys, row) if keys and row["kind"] == EventKind.CORRECTED else None,
            reason=row["reason"],
            weight=row["weight"],
            model=row["model"],
            operation=row["operation"],
        )
        for row in rows
    ]


def _former(keys: Keys, row: Record) -> FormerFacts:
    (name,), (phone,) = _open_column(keys, [row], "name_sealed"), _open_column(keys, [row], "phone_sealed")
    sex = None if row["sex"] is None else str(row["sex"])
    return FormerFacts(name=name, sex=sex, birth_date=row["birth_date"], phone=phone)


async def list_merges(connection: Connection, *, person: int, limit: int = 50) -> list[PersonMerge]:
    """Return the merges, also undone ones, of the person and who is merged with it, the newest first."""
    groups = await store.read_groups(connection, persons=[person])
    rows = await store.list_merges(
        connection,
        persons=_members(groups) if groups else [person],
        limit=min(max(limit, 1), LIMIT_MOST),
    )
    return [PersonMerge(**row) for row in rows]


async def get_merge_of(connection: Connection, *, absorbed: int) -> PersonMerge:
    """Return the merge by which this person stands behind another now.

    Raises:
        MergeUnknownError: it was not merged into another.
    """
    row = await store.find_merge_of(connection, absorbed=absorbed)
    if row is None:
        raise MergeUnknownError(say["not_absorbed"])
    return PersonMerge(**row)


async def count_persons(connection: Connection) -> int:
    """Return how many persons the index holds."""
    return await store.count_persons(connection)


async def count_open_reviews(connection: Connection) -> int:
    """Return how many review entries wait for a human."""
    return await store.count_reviews(connection)


async def count_created(connection: Connection, *, period: Period) -> list[DayCount]:
    """Return how many persons were created on each day of the period; days without any are left out."""
    rows = await store.count_created(connection, first=period.start, end=period.end)
    return [DayCount(day=row["day"], persons=row["persons"]) for row in rows]


def _summaries(keys: Keys, rows: Sequence[Record]) -> list[PersonSummary]:
    names = _open_column(keys, rows, "name_sealed")
    phones = _open_column(keys, rows, "phone_sealed")
    numbers = _open_column(keys, rows, "number_sealed")
    # One by one: these are few, and the columns' way costs milliseconds however few they are.
    folded = pa.array([name_key_of(name) for name in names], pa.string())
    owned = [
        None if number is None else identifier_text(IdentifierKind.RESIDENT_NUMBER, "", number)
        for number in numbers
    ]
    _check([row["name_digest"] for row in rows], _name_digests(keys, folded))
    _check([row["number_digest"] for row in rows], _digests(keys, owned))
    return [
        PersonSummary(
            id=row["id"],
            name=name,
            sex=None if row["sex"] is None else str(row["sex"]),
            birth_date=row["birth_date"],
            resident_number=number,
            phone=phone,
            created_at=row["created_at"],
            origin=row["origin"],
        )
        for row, name, number, phone in zip(rows, names, numbers, phones, strict=True)
    ]


def _open_numbers(keys: Keys, rows: Sequence[Record]) -> list[str | None]:
    """Return the numbers of identifiers, each compared with its digest."""
    values = _open_column(keys, rows, "sealed")
    texts = [
        None if value is None else identifier_text(row["kind"], row["issuer"] or "", value)
        for row, value in zip(rows, values, strict=True)
    ]
    stored = [row["digest"] if text is not None else None for row, text in zip(rows, texts, strict=True)]
    _check(stored, _digests(keys, texts))
    return values


def _open_column(keys: Keys, rows: Sequence[Record], name: str) -> list[str | None]:
    opened = iter(open_many(keys, [row[name] for row in rows if row[name] is not None]))
    return [None if row[name] is None else next(opened) for row in rows]


def _check(stored: Sequence[Any], computed: Sequence[Any]) -> None:
    if list(stored) != list(computed):
        raise SealBrokenError(say["seal_broken"])


def _claims(rows: Sequence[Mapping[str, Any]]) -> Claims:
    """Return search words as claims, so that they are normalised in the same way."""
    kinds = {name: pa.date32() if name == "birth_date" else pa.string() for name in COLUMNS}
    return normalise(
        pa.table({name: pa.array([row.get(name) for row in rows], kind) for name, kind in kinds.items()})
    )


def _number_texts(claims: Claims) -> list[str]:
    kinds = (IdentifierKind.RESIDENT_NUMBER, IdentifierKind.DOCUMENT, IdentifierKind.LOCAL_NUMBER)
    return [text for kind in kinds for text in claims.texts(kind).drop_null().to_pylist()]


def _digests(keys: Keys, texts: Sequence[str | None]) -> list[bytes | None]:
    known = iter(digest_many(keys.lookup_key, [text for text in texts if text is not None]))
    return [None if text is None else next(known) for text in texts]


def _name_digests(keys: Keys, folded: pa.Array) -> list[int | None]:
    """Return the first eight bytes of the digest of each folded name, as the number that is stored."""
    texts = [None if name is None else NAME_PREFIX + name for name in folded.to_pylist()]
    digests = _digests(keys, texts)
    return [None if digest is None else int.from_bytes(digest[:8], signed=True) for digest in digests]
