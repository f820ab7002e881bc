"""Why the index holds two records for one person, as it was kept when it decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson

from kangshu.identity import store
from kangshu.identity.errors import AccountUnknownError
from kangshu.identity.linkage.model import Account, Part, Verdict
from kangshu.kernel.texts import load_catalogue
from kangshu.storage.database import Connection, Record

# Arbitrary: so often no pair is weighed.
_LIMIT = 200

say = load_catalogue(__package__ or __name__)


@dataclass(frozen=True, kw_only=True)
class StoredAccount:
    """Why a record was linked to a person, or two persons were held to be one, or may be, as it was kept.

    `other` is None where what arrived was linked at once and became no person of its own.
    """

    id: int
    one: int
    other: int | None
    at: datetime
    actor: str
    origin: int | None
    merge: int | None
    """The merge that followed from it."""
    account: Account


@dataclass(frozen=True, kw_only=True)
class Match:
    """A person of the index whom a record may tell of, and why."""

    person: int
    account: Account


async def get_account(connection: Connection, *, account: int) -> StoredAccount:
    """Return the account with this number.

    Raises:
        AccountUnknownError: there is none.
    """
    for row in await store.list_accounts(connection, account=account, limit=1):
        return _stored(row)
    raise AccountUnknownError(say["account_unknown"])


async def accounts_of(connection: Connection, *, persons: Sequence[int]) -> list[StoredAccount]:
    """Return the accounts that speak of one of these persons, the newest first."""
    rows = await store.list_accounts(connection, some=persons, limit=_LIMIT)
    return [_stored(row) for row in rows]


async def accounts_between(connection: Connection, *, one: int, other: int) -> list[StoredAccount]:
    """Return the accounts of these two persons, the newest first; who was merged is not asked for."""
    rows = await store.list_accounts(connection, some=[one], others=[other], limit=_LIMIT)
    return [_stored(row) for row in rows]


def account_columns(account: Account) -> tuple[str, float, float, str, str, str]:
    """Return verdict, weight, prior, model, parts and guards as they are stored."""
    parts = [(part.comparison, part.level, part.weight) for part in account.parts]
    return (
        account.verdict.value,
        account.weight,
        account.prior,
        account.model,
        orjson.dumps(parts).decode(),
        orjson.dumps(account.guards).decode(),
    )


def _stored(row: Record) -> StoredAccount:
    return StoredAccount(
        id=row["id"],
        one=row["person"],
        other=row["other"],
        at=row["at"],
        actor=row["actor"],
        origin=row["origin"],
        merge=row["merge"],
        account=Account(
            weight=row["weight"],
            prior=row["prior"],
            parts=tuple(
                Part(comparison=comparison, level=level, weight=weight)
                for comparison, level, weight in row["parts"]
            ),
            guards=tuple(row["guards"]),
            verdict=Verdict(row["verdict"]),
            model=row["model"],
        ),
    )
