"""Answer the questions of PIX and PDQ: under which numbers is this person known, and who fits this?

IHE ITI Technical Framework, volume 2a: Patient Identity Cross-referencing (ITI-9) and Patient Demographics
Query (ITI-21). Values are compared whole, as only their digests can be looked up; a name may be given in
one piece or as family and given name in either order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta

from kangshu.identity import store
from kangshu.identity.errors import PersonUnknownError, SearchTooWideError, SearchUnsupportedError
from kangshu.identity.keeping import half_of
from kangshu.identity.model import Candidate, Identifier, IdentifierKind, Mother, PersonSummary
from kangshu.identity.normalising import NAME_PREFIX, PART_PREFIX
from kangshu.identity.queries import list_identifiers_of, list_persons
from kangshu.identity.subjects import (
    display_name,
    issuer_of,
    name_key_of,
    name_parts_of,
    phone_of,
    read_identifier,
)
from kangshu.kernel.periods import Period
from kangshu.kernel.texts import load_catalogue
from kangshu.mapping import IdentifierKind as ToldKind
from kangshu.mapping import SubjectIdentifier
from kangshu.security.keys import Keys
from kangshu.security.sealing import digest_many, open_many
from kangshu.storage.database import Connection

LIMIT_MOST = 200
# Arbitrary: so many candidates are opened to compare their phones before a search is left.
_OPENED_MOST = 2_000
_WILDCARDS = frozenset("*%_?")
_TOLD_KINDS = {
    IdentifierKind.RESIDENT_NUMBER: ToldKind.RESIDENT_NUMBER,
    IdentifierKind.DOCUMENT: ToldKind.DOCUMENT,
    IdentifierKind.LOCAL_NUMBER: ToldKind.LOCAL_NUMBER,
}

say = load_catalogue(__package__ or __name__)


async def cross_references(
    connection: Connection,
    *,
    keys: Keys,
    issuer: str | None,
    value: str,
    kind: ToldKind = ToldKind.LOCAL_NUMBER,
    wanted_issuers: Sequence[str | None] | None = None,
) -> list[Identifier]:
    """Return every number of the person who holds this one, it too, the strongest first.

    With `wanted_issuers` only numbers of these; None among them stands for the state, whose are resident
    numbers. None of them may be there: an empty list. Where several persons hold the number, the first who
    holds it undisputed is meant.

    Raises:
        PersonUnknownError: nobody holds the number.
    """
    told = SubjectIdentifier(kind=kind, issuer=issuer, value=value)
    survivor = await find_holder(connection, keys=keys, identifier=told)
    if survivor is None:
        raise PersonUnknownError(say["person_unknown"])
    (person,) = await list_persons(connection, keys=keys, persons=[survivor])
    found = await list_identifiers_of(connection, keys=keys, groups=[(survivor, *person.absorbed)])
    return _wanted(found[survivor], wanted_issuers)


async def find_holder(connection: Connection, *, keys: Keys, identifier: SubjectIdentifier) -> int | None:
    """Return the person (of merged ones the survivor) who holds this number, the first undisputed one.

    None where nobody does.
    """
    told = read_identifier(identifier, institution=None)
    digests = digest_many(keys.lookup_key, [one.text for one in told])
    holders = await store.find_holders_of(connection, digest=digests[0]) if digests else []
    return holders[0]["survivor"] if holders else None


async def describe_persons(connection: Connection, *, keys: Keys, persons: Sequence[int]) -> list[Candidate]:
    """Return what an answer tells of these persons, in their order; ids that nobody has are left out.

    Of one who was merged the survivor is described, once.
    """
    known = await list_persons(connection, keys=keys, persons=persons)
    of = {one.person.id: one for one in await _candidates(connection, keys, known, None)}
    standing = {number: one for one in of.values() for number in (one.person.id, *one.person.absorbed)}
    found = [standing[person] for person in persons if person in standing]
    return list({one.person.id: one for one in found}.values())


async def known_issuers(connection: Connection, *, issuers: Sequence[str]) -> list[str]:
    """Return those of the issuers of whose numbers messages ever told, in order.

    Institutions that only send files are not among them: those stand in the directory.
    """
    asked = [name for issuer in issuers if (name := issuer_of(issuer))]
    return await store.find_issuers(connection, issuers=asked)


async def search_demographics(
    connection: Connection,
    *,
    keys: Keys,
    name: str | None = None,
    family: str | None = None,
    given: str | None = None,
    birth_date: date | Period | None = None,
    sex: str | None = None,
    identifier: tuple[str, str] | SubjectIdentifier | None = None,
    phone: str | None = None,
    address: str | None = None,
    mother_identifier: tuple[str, str] | SubjectIdentifier | None = None,
    mother_name: str | None = None,
    mother_family: str | None = None,
    mother_given: str | None = None,
    wanted_issuers: Sequence[str | None] | None = None,
    limit: int = 20,
    after: int | None = None,
) -> list[Candidate]:
    """Return the persons for whom everything given holds, at most `limit` (1 to 200), in a fixed order.

    A name is given whole, or as family and given name, or (where it is written with blanks) one of them; a
    former name finds too. `identifier` is issuer and number of an institution, or any other. A `Period` is a
    birth date known in part. The sex is a code of GB/T 2261.1. With `wanted_issuers` only their numbers are
    returned, and only persons who have one. `after` is the last person of the page before.

    Raises:
        SearchTooWideError: nothing is given by which few are found: sex or phone alone, a family name alone
            that is written without blanks.
        SearchUnsupportedError: a value holds a wildcard, or an address is given.
    """
    if address:
        raise SearchUnsupportedError(say["address_search"])
    own, hers = _Name(name, family, given), _Name(mother_name, mother_family, mother_given)
    if any(not _WILDCARDS.isdisjoint(text) for text in (*own.texts, *hers.texts, phone or "")):
        raise SearchUnsupportedError(say["wildcard"])
    filters: list[Callable[[PersonSummary], bool]] = []
    if own.is_half:
        filters.append(own.is_half_of)
    if phone:
        digits = phone_of(phone)
        filters.append(lambda person: digits is not None and person.phone == digits)
    told = _identifier_texts(identifier), _identifier_texts(mother_identifier)
    if not (identifier or mother_identifier or birth_date or hers.texts or (own.texts and not own.is_half)):
        raise SearchTooWideError(say["demographics_too_wide"])
    if (identifier and not told[0]) or (mother_identifier and not told[1]) or own.is_none or hers.is_none:
        return []  # nobody has what cannot be
    return await _first_fitting(
        connection,
        _criteria(keys, own, hers, *told, birth_date, sex),
        keys=keys,
        filters=filters,
        wanted_issuers=wanted_issuers,
        limit=min(max(limit, 1), LIMIT_MOST),
        after=after,
    )


class _Name:
    """A name that is searched by: in one piece, as family and given name, or only one of these."""

    def __init__(self, name: str | None, family: str | None, given: str | None) -> None:
        both = bool(family and given) and not name
        self.texts = [text for text in (name, family, given) if text]
        tried = [f"{given} {family}", f"{family} {given}"] if both else self.texts[:1]
        shown = [tidy for text in tried if (tidy := display_name(text))]
        self.keys = list(dict.fromkeys(key for text in shown if (key := name_key_of(text))))
        alone = len(self.texts) == 1 and not name
        # Kept apart from the whole are only the parts of names that are written with blanks.
        self.parts = self.keys if alone else name_parts_of(shown[0]) if shown else []
        self.is_half = alone and bool(self.keys) and not self.keys[0].isascii()
        self._begins = bool(family)

    @property
    def is_none(self) -> bool:
        """Whether something is given that no name could be."""
        return bool(self.texts) and not self.keys

    def is_half_of(self, person: PersonSummary) -> bool:
        """Return whether the person's name begins with this family name, or ends with this given name."""
        key = name_key_of(display_name(person.name)) or ""
        half = self.keys[0]
        return len(key) > len(half) and (key.startswith(half) if self._begins else key.endswith(half))


def _identifier_texts(identifier: tuple[str, str] | SubjectIdentifier | None) -> list[str]:
    if identifier is None:
        return []
    if isinstance(identifier, tuple):
        issuer, value = identifier
        identifier = SubjectIdentifier(kind=ToldKind.LOCAL_NUMBER, issuer=issuer, value=value)
    return [one.text for one in read_identifier(identifier, institution=None)]


def _criteria(
    keys: Keys,
    own: _Name,
    hers: _Name,
    identifiers: Sequence[str],
    mothers: Sequence[str],
    birth_date: date | Period | None,
    sex: str | None,
) -> store.Criteria:
    groups = (
        identifiers,
        mothers,
        [NAME_PREFIX + key for key in hers.keys],
        [NAME_PREFIX + key for key in own.keys],
        [PART_PREFIX + key for key in own.parts],
    )
    digests = iter(digest_many(keys.lookup_key, [text for group in groups for text in group]))
    found = [[next(digests) for _ in group] for group in groups]
    period = birth_date
    if isinstance(birth_date, date):
        period = Period(start=birth_date, end=birth_date + timedelta(days=1))
    assert not isinstance(period, date), "a day has become a period"
    by_name = not own.is_half
    return store.Criteria(
        identifiers=found[0],
        mothers=[*found[1], *found[2]],
        mother_names=[half_of(digest) for digest in found[2]],
        names=[half_of(digest) for digest in found[3]] if by_name else [],
        parts=[half_of(digest) for digest in found[4]] if by_name else [],
        born_from=period.start if period else None,
        born_before=period.end if period else None,
        sex=int(sex) if sex in ("1", "2") else None,
    )


async def _first_fitting(
    connection: Connection,
    criteria: store.Criteria,
    *,
    keys: Keys,
    filters: Sequence[Callable[[PersonSummary], bool]],
    wanted_issuers: Sequence[str | None] | None,
    limit: int,
    after: int | None,
) -> list[Candidate]:
    """Return the first candidates that pass the filters too, having opened no more than a bounded number."""
    found: list[Candidate] = []
    opened = 0
    while len(found) < limit and opened < _OPENED_MOST:
        persons = await store.search(
            connection, criteria, after=after, limit=LIMIT_MOST if filters else limit
        )
        if not persons:
            break
        opened, after = opened + len(persons), persons[-1]
        known = {one.id: one for one in await list_persons(connection, keys=keys, persons=persons)}
        fitting = [known[person] for person in persons if all(fits(known[person]) for fits in filters)]
        found += await _candidates(connection, keys, fitting, wanted_issuers)
    return found[:limit]


async def _candidates(
    connection: Connection,
    keys: Keys,
    persons: Sequence[PersonSummary],
    wanted_issuers: Sequence[str | None] | None,
) -> list[Candidate]:
    groups = [(person.id, *person.absorbed) for person in persons]
    identifiers = await list_identifiers_of(connection, keys=keys, groups=groups)
    mothers = await _mothers(connection, keys, groups)
    candidates = [
        Candidate(
            person=person,
            identifiers=tuple(_wanted(identifiers[person.id], wanted_issuers)),
            mother=mothers.get(person.id),
        )
        for person in persons
    ]
    return [one for one in candidates if one.identifiers or wanted_issuers is None]


async def _mothers(connection: Connection, keys: Keys, groups: Sequence[Sequence[int]]) -> dict[int, Mother]:
    """Return the mothers of the first persons of these groups."""
    first = {person: group[0] for group in groups for person in group}
    rows = await store.list_mothers(connection, children=list(first))
    if not rows:
        return {}
    values = open_many(keys, [row["sealed"] for row in rows])
    known = await list_persons(
        connection, keys=keys, persons=[row["person"] for row in rows if row["person"]]
    )
    names = {one.id: one.name for one in known}
    mothers: dict[int, Mother] = {}
    for row, value in zip(rows, values, strict=True):
        child = first[row["child"]]
        before = mothers.get(child) or Mother(person=None, name=None, identifiers=())
        if row["kind"] is None:
            mothers[child] = replace(before, name=before.name or value)
            continue
        kind = _TOLD_KINDS[IdentifierKind(row["kind"])]
        told = SubjectIdentifier(kind=kind, issuer=row["issuer"], value=value)
        mothers[child] = replace(
            before,
            person=before.person or row["person"],
            name=before.name or names.get(row["person"]),
            identifiers=(*before.identifiers, told),
        )
    return mothers


def _wanted(
    identifiers: Sequence[Identifier], wanted_issuers: Sequence[str | None] | None
) -> list[Identifier]:
    """Return the numbers (what is known by name only has none), of the wanted issuers."""
    return [
        one
        for one in identifiers
        if one.value is not None and (wanted_issuers is None or one.issuer in wanted_issuers)
    ]
