"""Persons of a synthetic region who may be one, and links that a program made, for the review pages."""

from __future__ import annotations

import secrets
from datetime import date
from typing import Any

from console_world import HOSPITAL, PASSWORD, SECOND_HOSPITAL

from kangshu.app.platform import Platform
from kangshu.identity import explain, link_claims
from kangshu.mapping import IdentifierKind, Subject, SubjectIdentifier
from kangshu.security.operations import create_account
from kangshu.security.principals import Reach, Role
from kangshu.standards.identifiers import resident_check_digit

SECOND_REVIEWER = "centre2"


def number(day: date, serial: int) -> str:
    """Return a resident number of a division that does not exist."""
    head = f"990101{day:%Y%m%d}{serial:03d}"
    return head + resident_check_digit(head)


def told(institution: str, local: str, name: str, born: date, sex: str, phone: str, *more: str) -> Subject:
    """Return a record; `more` is a resident number."""
    identifiers = [SubjectIdentifier(kind=IdentifierKind.LOCAL_NUMBER, issuer=institution, value=local)]
    identifiers += [
        SubjectIdentifier(kind=IdentifierKind.RESIDENT_NUMBER, issuer=None, value=one) for one in more
    ]
    return Subject(
        institution=institution,
        identifiers=tuple(identifiers),
        name=name,
        birth_date=born,
        sex=sex,
        phone=phone,
    )


SERIAL = number(date(1985, 5, 5), 1)
PEOPLE = (
    told(HOSPITAL, "T1", "测试佳琪", date(1985, 5, 5), "2", "13800000001", SERIAL),
    told(SECOND_HOSPITAL, "Z1", "测试佳其", date(1985, 5, 5), "2", "13800000001"),
    told(HOSPITAL, "T1", "测试明", date(1971, 1, 7), "1", "13900000002"),
    told(SECOND_HOSPITAL, "Z1", "测试佳琪", date(1985, 5, 5), "2", "13800000001", SERIAL),
)
"""The first two may be one; the third contradicts the first; the last ties the first two together."""


async def fill(platform: Platform) -> list[int]:
    """Link the people, keep an automatic link and open a second reviewer's account; return their numbers."""
    async with platform.database.transaction() as connection:
        found = await link_claims(
            connection,
            keys=platform.keys,
            claims=PEOPLE,
            now=platform.clock.now(),
            origin=None,
            actor="message",
            random=secrets.token_bytes,
        )
        persons = [one for one in found if one]
        await create_account(
            connection,
            name=SECOND_REVIEWER,
            title="郑复核",
            password=PASSWORD,
            roles=[Role.CENTRE_STAFF],
            reaches=[Reach.region()],
            now=platform.clock.now(),
        )
        await keep_link(platform, connection, persons[0], persons[1])
    return persons


async def keep_link(platform: Platform, connection: Any, one: int, other: int) -> None:
    """Keep the account of two persons as if a program had linked them."""
    account = (await explain(connection, keys=platform.keys, one=one, other=other)).account
    parts = [[part.comparison, part.level, part.weight] for part in account.parts]
    await connection.execute(
        """INSERT INTO identity_account
               (id, person, other, at, weight, prior, verdict, model, actor, parts, guards)
           VALUES (nextval('identity_account_id'), $1, $2, $3, $4, $5, 'link', $6, 'matching', $7, '{}')""",
        one,
        other,
        platform.clock.now(),
        account.weight,
        account.prior,
        account.model,
        parts,
    )
