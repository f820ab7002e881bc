"""Put what was decided about subjects of messages into rows, sealed, and store them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import Any, TypeAlias

from kangshu.identity import store
from kangshu.identity.accounts import account_columns
from kangshu.identity.evidence import NOBODY, REASONS, newcomer
from kangshu.identity.linkage.model import Account
from kangshu.identity.matching import Asked, half_of
from kangshu.identity.model import EventKind
from kangshu.identity.normalising import PART_PREFIX, UNKNOWN_DAY
from kangshu.identity.rules import Known
from kangshu.identity.subjects import ToldIdentifier, name_parts_of
from kangshu.security.keys import Keys
from kangshu.security.sealing import NONCE_BYTES, digest_many, seal_many
from kangshu.storage.database import Connection, Record

Value: TypeAlias = "bytes | str | None"
"""Sealed as it is stored, or in clear as a subject told it, or not known."""

NO_ENTRY = -1
"""Stands for the identifier of a review entry about two persons that have none in common."""

_TALLY_ROWS_MOST = 2_000


@dataclass(kw_only=True, eq=False, slots=True)
class Person(Known):
    """A person with its facts; `stored` are those of its numbers that may change, as they were read."""

    sex: int = 0
    name_value: Value = None
    phone_value: Value = None
    stored: tuple[int, ...] = ()
    touched: bool = False

    @property
    def numbers(self) -> tuple[int, ...]:
        """The facts that are numbers."""
        return self.name, self.sex, self.birth, self.resident, self.former_name, self.former_birth


def known_person(row: Record) -> Person:
    """Return the person in a row of the store."""
    birth, former_birth = row["birth"], row["former_birth"]
    person = Person(
        id=row["id"],
        seen=row["revision"],
        name=row["name"] or 0,
        former_name=row["former_name"] or 0,
        birth=UNKNOWN_DAY if birth is None else birth,
        former_birth=UNKNOWN_DAY if former_birth is None else former_birth,
        resident=row["resident"] or 0,
        survivor=row["survivor"] or 0,
        has_sex=row["sex"] is not None,
        has_phone=row["phone_sealed"] is not None,
        sex=row["sex"] or 0,
        name_value=row["name_sealed"],
        phone_value=row["phone_sealed"],
    )
    person.stored = person.numbers
    return person


@dataclass(kw_only=True, eq=False, slots=True)
class Event:
    """What happened to a person, with the facts that were replaced."""

    person: int
    kind: EventKind
    name: Value = None
    phone: Value = None
    birth: int | None = None
    sex: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Weighing:
    """Why a record was linked to a person (then `other` is None), or may be one with another."""

    person: int
    other: int | None
    account: Account
    entries: tuple[int, ...] = ()
    """The identifiers that came to the person with the record."""


@dataclass(frozen=True, kw_only=True)
class News:
    """What is to be stored; holdings, settlements and reviews are as `Rules` gathers them.

    The entries of identifiers are their places in `identifiers` and `digests`; a review without one has
    `NO_ENTRY`. `profiles` go to the persons beside them, `keys` are as `Found.learn` returns them.
    `review_weighings` are places in `weighings` by the place of a review. Newcomers that are not `compared`
    wait for it.
    """

    newcomers: Sequence[Person]
    touched: Sequence[Person]
    holdings: Sequence[tuple[int, int, int, int]]
    settlements: Sequence[tuple[int, int]]
    reviews: Sequence[tuple[int, int, int, int]]
    events: Sequence[Event]
    identifiers: Sequence[ToldIdentifier]
    digests: Sequence[bytes]
    profiles: Sequence[tuple[Asked, int]] = ()
    keys: Sequence[tuple[int, int, int]] = ()
    weighings: Sequence[Weighing] = ()
    review_weighings: Mapping[int, int] = field(default_factory=dict[int, int])
    compared: bool = True


async def keep(
    connection: Connection,
    news: News,
    *,
    keys: Keys,
    random: Callable[[int], bytes],
    now: datetime,
    origin: int | None,
    actor: str,
) -> list[int]:
    """Store what is new and return the ids of the new persons.

    Raises:
        CollisionError: another transaction stored the same first; nothing of this was stored.
    """
    holdings = sorted(news.holdings, key=lambda holding: (news.digests[holding[0]], holding[1]))
    people = [*news.newcomers, *news.touched]
    values = [
        *(person.name_value for person in people),
        *(person.phone_value for person in people),
        *(news.identifiers[entry].value for entry, *_ in holdings),
        *(event.name for event in news.events),
        *(event.phone for event in news.events),
        *(asked.text for asked, _ in news.profiles),
    ]
    sealed = iter(_sealed(values, keys, random))
    names, phones = list(islice(sealed, len(people))), list(islice(sealed, len(people)))
    new = store.NewRows(
        persons=[_new_person(*person) for person in zip(news.newcomers, names, phones, strict=False)],
        identifiers=[
            _holding(news, holding, value)
            for holding, value in zip(holdings, islice(sealed, len(holdings)), strict=True)
        ],
        reviews=[_review(news, place) for place in range(len(news.reviews))],
        parts=_parts(people, keys),
        keys=sorted((key, variant, _place(person)) for key, variant, person in news.keys),
        accounts=[_weighing(news, one) for one in news.weighings],
        unmatched=bool(news.newcomers) and not news.compared,
    )
    first = len(news.newcomers)
    changes = zip(news.touched, names[first:], phones[first:], strict=True)
    changed = sorted((_change(*change) for change in changes), key=lambda row: row[0])
    old = list(islice(sealed, 2 * len(news.events)))
    new = replace(
        new,
        profiles=[
            (asked.digest, value, _place(person))
            for (asked, person), value in zip(news.profiles, sealed, strict=True)
        ],
    )
    if not (new or changed or news.events or news.settlements):
        return []
    ids: list[int] = []
    async with connection.transaction():
        if new:
            ids = await store.add_new(connection, new, origin=origin, actor=actor, now=now)
        if changed or news.events or news.settlements:
            rows = store.ChangedRows(
                persons=changed,
                events=[
                    (resolved(event.person, ids), int(event.kind), name, phone, event.birth, event.sex)
                    for event, name, phone in zip(
                        news.events, old[: len(news.events)], old[len(news.events) :], strict=True
                    )
                ],
                settlements=[(news.digests[entry], variant) for entry, variant in news.settlements],
            )
            await store.change_known(connection, rows, origin=origin, actor=actor, now=now)
        if ids and random(1) == b"\0":
            # One call in 256: each adds a row to the tally, and somebody has to add them up.
            await store.gather_tally(connection, most=_TALLY_ROWS_MOST)
    return ids


def resolved(person: int, ids: Sequence[int]) -> int:
    """Return the person, a new one's stand-in replaced by its id."""
    return ids[newcomer(person)] if person < NOBODY else person


def _sealed(values: Sequence[Value], keys: Keys, random: Callable[[int], bytes]) -> list[bytes | None]:
    """Return the values sealed; what is sealed stays as it is."""
    texts = [value for value in values if isinstance(value, str)]
    sealed = iter(seal_many(keys, texts, nonce=random(NONCE_BYTES)) if texts else ())
    return [next(sealed) if isinstance(value, str) else value for value in values]


def _new_person(person: Person, name: bytes | None, phone: bytes | None) -> tuple[Any, ...]:
    return (
        person.name or None,
        name,
        phone,
        _day(person.birth),
        person.sex or None,
        person.resident or None,
        person.former_name or None,
        _day(person.former_birth),
    )


def _day(day: int) -> int | None:
    return None if day == UNKNOWN_DAY else day


def _holding(news: News, holding: tuple[int, int, int, int], value: bytes | None) -> tuple[Any, ...]:
    entry, variant, person, disputed = holding
    told = news.identifiers[entry]
    return news.digests[entry], variant, int(told.kind), bool(disputed), value, told.issuer, _place(person)


def _review(news: News, place: int) -> tuple[Any, ...]:
    entry, person, other, reason = news.reviews[place]
    weighing = news.review_weighings.get(place)
    numbered = None if weighing is None else weighing + 1
    who, text = (_place(person), _place(other)), REASONS[reason].value
    if entry == NO_ENTRY:
        return *who, None, text, None, None, numbered
    told = news.identifiers[entry]
    return *who, int(told.kind), text, news.digests[entry], told.issuer, numbered


def _weighing(news: News, one: Weighing) -> tuple[Any, ...]:
    digests = b"".join(news.digests[entry] for entry in one.entries) if one.other is None else None
    other = None if one.other is None else _place(one.other)
    return _place(one.person), other, *account_columns(one.account), digests


def _change(person: Person, name: bytes | None, phone: bytes | None) -> tuple[Any, ...]:
    """Return the row that changes a person; None for each fact that stays."""
    pairs = zip(person.numbers, person.stored, strict=True)
    name_digest, sex, birth, resident, former_name, former_birth = (
        None if value == before else value for value, before in pairs
    )
    return (
        person.id,
        person.seen,
        name if isinstance(person.name_value, str) else None,
        name_digest,
        sex,
        phone if isinstance(person.phone_value, str) else None,
        birth,
        resident,
        former_name,
        former_birth,
    )


def _parts(people: Sequence[Person], keys: Keys) -> list[tuple[int, int]]:
    """Return the digests of the parts of names that are new, each with its person."""
    told = [
        (PART_PREFIX + part, _place(person.id))
        for person in people
        if isinstance(person.name_value, str)
        for part in name_parts_of(person.name_value)
    ]
    if not told:
        return []
    digests = digest_many(keys.lookup_key, [text for text, _ in told])
    return [(half_of(digest), person) for digest, (_, person) in zip(digests, told, strict=True)]


def _place(person: int) -> int:
    """Return the person, or which of the new rows it is, counted from -1 downwards."""
    return person + 1 if person < NOBODY else person
