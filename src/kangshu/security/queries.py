"""Find accounts and clients, and who is behind a session or a bearer token."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from kangshu.kernel.texts import load_catalogue
from kangshu.security import store
from kangshu.security.errors import AccountUnknownError
from kangshu.security.model import Account, Client, Session
from kangshu.security.policy import SESSION_IDLE_TIME, SESSION_TIME, SESSION_TOUCH_TIME
from kangshu.security.principals import Principal
from kangshu.security.store import Connection
from kangshu.security.tokens import digest_token

say = load_catalogue(__package__ or __name__)


async def get_account(connection: Connection, *, name: str) -> Account:
    """Return the account.

    Raises:
        AccountUnknownError: there is no such account.
    """
    found = await store.find_account(connection, name=name)
    if found is None:
        raise AccountUnknownError(say["account_unknown"])
    return found.account


async def list_accounts(connection: Connection) -> list[Account]:
    """Return every account, open or closed, by name."""
    return await store.list_accounts(connection)


async def list_clients(connection: Connection, *, institution: str | None = None) -> list[Client]:
    """Return the machine clients, of one institution or of all, retired ones too."""
    return await store.list_clients(connection, institution=institution)


async def find_session(connection: Connection, *, token: str, now: datetime) -> Session | None:
    """Return who is behind a session token, and keep the session from idling out.

    `None` for an unknown token, a closed account, 30 minutes without a request or 12 hours in all.
    Roles and reaches are those of the account at this moment.
    """
    digest = digest_token(token)
    found = await store.find_session(
        connection,
        token_digest=digest,
        opened_after=now - SESSION_TIME,
        seen_after=now - SESSION_IDLE_TIME,
    )
    if found is None:
        return None
    account, opened_at, seen_at = found
    if now - seen_at >= SESSION_TOUCH_TIME:
        await store.touch_session(connection, token_digest=digest, now=now)
    return Session(principal=account.principal, opened_at=opened_at, seen_at=seen_at)


async def find_token(connection: Connection, *, token: str, now: datetime) -> Principal | None:
    """Return who is behind a bearer token, or `None` if it is unknown, over, or its owner shut out.

    A machine has only those of the token's scopes that it still holds.
    """
    digest = digest_token(token)
    machine = await store.find_client_of_token(connection, token_digest=digest, now=now)
    if machine is not None:
        client, scopes = machine
        return replace(client.principal, scopes=scopes & client.scopes)
    account = await store.find_account_of_token(connection, token_digest=digest, now=now)
    return account.principal if account else None
