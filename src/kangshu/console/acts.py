"""Puts on record what somebody does at the console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kangshu.audit import AuditEntry, Outcome, record
from kangshu.console.visits import Visit
from kangshu.storage.database import Connection

SIGN_IN = "console.sign-in"
SIGN_OUT = "console.sign-out"
PASSWORD = "console.password"  # noqa: S105 - the name of an act
SECOND_FACTOR = "console.second-factor"
UPLOAD = "console.upload"
REJECTS = "console.rejects-download"
SEARCH = "person.search"
REVEAL = "person.reveal"
DOCUMENT = "document.download"
VERIFY = "audit.verify"
EXPORT = "console.receipts-export"
RULE_TRIAL = "quality.rule-try"
REVIEW_OPEN = "review.open"
REVIEW_SAY = "review.say"
LINK_DRAW = "link.draw"
LINK_JUDGE = "link.judge"
MERGE_UNDO = "person.split"
SPLIT = "person.separate"
SPLIT_UNDO = "person.reunite"
REFUSED = "console.refused"
CARDS_EXPORT = "console.cards-export"
CARD_SEARCH = "console.card-search"

ACTIONS = (
    SIGN_IN,
    SIGN_OUT,
    PASSWORD,
    SECOND_FACTOR,
    UPLOAD,
    REJECTS,
    SEARCH,
    REVEAL,
    DOCUMENT,
    VERIFY,
    EXPORT,
    RULE_TRIAL,
    REVIEW_OPEN,
    REVIEW_SAY,
    LINK_DRAW,
    LINK_JUDGE,
    SPLIT,
    SPLIT_UNDO,
    REFUSED,
    CARDS_EXPORT,
    CARD_SEARCH,
)
"""Every act that the console itself records."""


async def note(
    connection: Connection,
    visit: Visit,
    action: str,
    *,
    outcome: Outcome = Outcome.DONE,
    resource: str | None = None,
    institution: str | None = None,
    person: int | None = None,
    purpose: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Record, in the caller's transaction, what the visitor did. `detail` never holds a personal value."""
    entry = AuditEntry(
        at=visit.now,
        actor=visit.staff.id,
        actor_name=visit.staff.name,
        action=action,
        purpose=purpose,
        person=person,
        resource=resource,
        institution=institution,
        outcome=outcome,
        detail=detail or {},
    )
    await record(connection, entries=[entry])


async def note_alone(
    visit: Visit, action: str, *, outcome: Outcome = Outcome.DONE, resource: str | None = None
) -> None:
    """Record something that has no transaction of its own."""
    async with visit.services.database.transaction() as connection:
        await note(connection, visit, action, outcome=outcome, resource=resource)


async def note_sign_in(visit: Visit, *, account: str | None, name: str, outcome: Outcome) -> None:
    """Record an attempt to sign in; `account` is None where no account of the given name exists.

    A name that belongs to nobody is not recorded: people type passwords into that field.
    """
    entry = AuditEntry(
        at=visit.now,
        actor=account or "unknown",
        actor_name=name,
        action=SIGN_IN,
        resource="console",
        outcome=outcome,
    )
    async with visit.services.database.transaction() as connection:
        await record(connection, entries=[entry])
