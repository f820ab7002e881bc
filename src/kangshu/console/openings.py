"""An opened record: the stated purpose that a session carries, and the grant that each look asks for anew.

The purpose travels sealed in a cookie that the browser sends to the person's pages only. Every page of a
record goes through `enter_record`, so every look is decided and on record, and a right that was withdrawn
ends at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from starlette.responses import Response

from kangshu.consent import AccessGrant, Purpose, grant_read, purpose_title
from kangshu.console import formats
from kangshu.console.errors import PageNotFoundError
from kangshu.console.masking import Mask
from kangshu.console.visits import Visit
from kangshu.identity import (
    Identifier,
    IdentifierKind,
    PersonSummary,
    get_person,
    list_identifiers,
    persons_meaning,
)

OPEN_MINUTES = 30
"""As long as a grant is good: then the purpose is stated again."""
_SHORT = 4
"""Numbers of fewer characters are no secret by themselves, and would be found in any text."""


@dataclass(frozen=True, kw_only=True)
class Opening:
    """That this session stated why it reads a person's record."""

    person: int
    purpose: Purpose
    reason: str = field(repr=False)
    until: datetime
    revealed: bool


@dataclass(frozen=True, kw_only=True)
class Access:
    """A look that was granted: at whom, under which numbers, for what."""

    opening: Opening
    grant: AccessGrant
    persons: tuple[int, ...]
    """All numbers that mean this human being, the one of the address first."""

    @property
    def person(self) -> int:
        """The number of the address."""
        return self.persons[0]

    @property
    def path(self) -> str:
        """The address of the record."""
        return record_path(self.person)


@dataclass(frozen=True, kw_only=True)
class Known:
    """Who the record is about, in clear: for masking what pages show."""

    summary: PersonSummary
    identifiers: Sequence[Identifier] = field(repr=False)
    mask: Mask = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class RecordFrame:
    """What stands above every page of a record: whose it is, why it is open, until when."""

    person: int
    path: str
    back: str
    """The page to come back to when identifiers were shown or masked."""
    name: str
    sex: str
    age: str
    purpose: str
    alarm: bool
    until: datetime
    revealed: bool


def record_path(person: int) -> str:
    """Return the address of a person's record."""
    return f"/console/persons/{person}"


def person_of(visit: Visit) -> int:
    """Return the person that the address names.

    Raises:
        PageNotFoundError: it is no number that a person can have.
    """
    text = visit.request.path_params["id"]
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise PageNotFoundError
    return int(text)


def opening_of(visit: Visit, person: int) -> Opening | None:
    """Return the purpose that this session stated for the person, if it is still good."""
    content = visit.pocket(_cookie(person))
    if content is None or content["person"] != person:
        return None
    return Opening(
        person=person,
        purpose=Purpose(content["purpose"]),
        reason=content["reason"],
        until=datetime.fromtimestamp(content["until"], tz=UTC),
        revealed=content["revealed"],
    )


def begin_opening(visit: Visit, response: Response, *, person: int, purpose: Purpose, reason: str) -> None:
    """Let the browser carry a purpose that was just stated."""
    until = visit.now + timedelta(minutes=OPEN_MINUTES)
    keep_opening(
        visit,
        response,
        Opening(person=person, purpose=purpose, reason=reason, until=until, revealed=False),
    )


def keep_opening(visit: Visit, response: Response, opening: Opening) -> None:
    """Let the browser carry the opening, for as long as it is good."""
    minutes = max(1, round((opening.until - visit.now).total_seconds() / 60))
    content = {
        "person": opening.person,
        "purpose": opening.purpose.value,
        "reason": opening.reason,
        "until": int(opening.until.timestamp()),
        "revealed": opening.revealed,
    }
    visit.put_pocket(
        response, _cookie(opening.person), content, minutes=minutes, path=record_path(opening.person)
    )


def end_opening(response: Response, *, person: int) -> None:
    """Let the browser forget the purpose."""
    response.delete_cookie(_cookie(person), path=record_path(person))


async def enter_record(visit: Visit) -> Access | Response:
    """Return the grant for this look, or the way to the page where a purpose is stated.

    Of a person who was merged into another the way leads to that other.

    Raises:
        ConsentError: the purpose does not suffice; the refusal is on record.
        PageNotFoundError: the address names nobody.
    """
    person = person_of(visit)
    opening = opening_of(visit, person)
    if opening is None:
        return visit.go(record_path(person))
    async with visit.services.database.connection() as connection:
        persons = (await persons_meaning(connection, persons=[person]))[person]
        if persons[0] != person:
            return visit.go(record_path(persons[0]))
        grant = await grant_read(
            connection,
            principal=visit.staff,
            person=person,
            purpose=opening.purpose,
            now=visit.now,
            whereabouts=visit.services.whereabouts,
            reason=opening.reason,
        )
    grant.require(person=person, now=visit.now)
    return Access(opening=opening, grant=grant, persons=persons)


async def know(visit: Visit, access: Access) -> Known:
    """Return who the record is about, and what masks it."""
    services = visit.services
    async with services.database.connection() as connection:
        summary = await get_person(connection, keys=services.keys, person=access.person)
        identifiers = await list_identifiers(connection, keys=services.keys, person=access.person)
    mask = Mask.none() if access.opening.revealed else Mask(_secrets(summary, identifiers))
    return Known(summary=summary, identifiers=identifiers, mask=mask)


def frame_of(visit: Visit, access: Access, known: Known) -> RecordFrame:
    """Return what stands above a page of the record."""
    summary, revealed = known.summary, access.opening.revealed
    return RecordFrame(
        person=access.person,
        path=access.path,
        back=visit.here,
        name=(summary.name or "—") if revealed else formats.mask_name(summary.name),
        sex=sex_title(visit, summary.sex),
        age=formats.age(summary.birth_date, today=today(visit), language=visit.language),
        purpose=visit.own(purpose_title(access.grant.purpose)),
        alarm=access.grant.flagged,
        until=access.opening.until,
        revealed=revealed,
    )


def sex_title(visit: Visit, code: str | None) -> str:
    """Return the sex in the visitor's language."""
    table = visit.services.pack.codes.get("sex")
    title = table.titles().get(code or "") if table else None
    return visit.own(title) if title else "—"


def today(visit: Visit) -> date:
    """Return the day it is in the region."""
    return visit.now.astimezone(visit.services.zone).date()


def _secrets(summary: PersonSummary, identifiers: Sequence[Identifier]) -> dict[str, str]:
    """Return what must not be read of the person, and what is read instead."""
    secrets = {
        one.value: formats.mask_number(one.value)
        for one in identifiers
        if one.value and (one.kind is not IdentifierKind.LOCAL_NUMBER or len(one.value) >= _SHORT)
    }
    if summary.resident_number:
        secrets[summary.resident_number] = formats.mask_number(summary.resident_number)
    if summary.phone:
        secrets[summary.phone] = formats.mask_phone(summary.phone)
    if summary.name and len(summary.name) > 1:
        secrets[summary.name] = formats.mask_name(summary.name)
    return secrets


def _cookie(person: int) -> str:
    return f"kangshu_open_{person}"
