"""The SQL of accounts, sessions, machine clients and tokens."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from kangshu.security.model import Account, Client
from kangshu.security.principals import Role, parse_reaches

# The same as `storage.database.Connection`; storage and security do not know each other.
Connection: TypeAlias = asyncpg.Connection | PoolConnectionProxy


@dataclass(frozen=True, kw_only=True)
class StoredAccount:
    """An account with what proves it; stays inside this package."""

    id: int
    account: Account
    password_hash: str
    otp_secret: bytes | None
    otp_pending: bytes | None
    otp_last_step: int | None
    failures: int


async def insert_account(
    connection: Connection,
    *,
    name: str,
    title: str,
    password_hash: str,
    roles: Sequence[str],
    reaches: Sequence[str],
    now: datetime,
) -> StoredAccount | None:
    """Return the new account, or `None` where the name is taken."""
    row = await connection.fetchrow(
        """INSERT INTO security_account
             (name, title, password_hash, roles, reaches, created_at, password_set_at)
           VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT (name) DO NOTHING RETURNING *""",
        name,
        title,
        password_hash,
        roles,
        reaches,
        now,
    )
    return _stored(row) if row else None


async def find_account(connection: Connection, *, name: str, lock: bool = False) -> StoredAccount | None:
    """Return the account; with `lock` nobody else changes it until the transaction ends."""
    if not name.isprintable():  # PostgreSQL refuses NUL and half a surrogate pair
        return None
    row = await connection.fetchrow(
        "SELECT * FROM security_account WHERE name = $1" + (" FOR UPDATE" if lock else ""), name
    )
    return _stored(row) if row else None


async def list_accounts(connection: Connection) -> list[Account]:
    rows = await connection.fetch("SELECT * FROM security_account ORDER BY name")
    return [_account(row) for row in rows]


async def record_success(connection: Connection, *, account_id: int, step: int | None, now: datetime) -> None:
    await connection.execute(
        """UPDATE security_account
           SET failures = 0, locked_until = NULL, last_sign_in_at = $3,
               otp_last_step = coalesce($2, otp_last_step)
           WHERE id = $1""",
        account_id,
        step,
        now,
    )


async def record_failures(
    connection: Connection, *, account_id: int, failures: int, locked_until: datetime | None
) -> None:
    await connection.execute(
        "UPDATE security_account SET failures = $2, locked_until = $3 WHERE id = $1",
        account_id,
        failures,
        locked_until,
    )


async def update_password(
    connection: Connection, *, account_id: int, password_hash: str, now: datetime
) -> None:
    await connection.execute(
        "UPDATE security_account SET password_hash = $2, password_set_at = $3 WHERE id = $1",
        account_id,
        password_hash,
        now,
    )


async def update_hash(connection: Connection, *, account_id: int, password_hash: str) -> None:
    """Store the same password hashed anew."""
    await connection.execute(
        "UPDATE security_account SET password_hash = $2 WHERE id = $1", account_id, password_hash
    )


async def update_rights(
    connection: Connection, *, account_id: int, roles: Sequence[str], reaches: Sequence[str]
) -> None:
    await connection.execute(
        "UPDATE security_account SET roles = $2, reaches = $3 WHERE id = $1", account_id, roles, reaches
    )


async def update_active(connection: Connection, *, account_id: int, active: bool) -> None:
    await connection.execute("UPDATE security_account SET active = $2 WHERE id = $1", account_id, active)


async def update_pending_factor(connection: Connection, *, account_id: int, sealed: bytes) -> None:
    await connection.execute("UPDATE security_account SET otp_pending = $2 WHERE id = $1", account_id, sealed)


async def update_second_factor(
    connection: Connection, *, account_id: int, sealed: bytes | None, step: int | None
) -> None:
    await connection.execute(
        """UPDATE security_account SET otp_secret = $2, otp_last_step = $3, otp_pending = NULL
           WHERE id = $1""",
        account_id,
        sealed,
        step,
    )


async def insert_session(
    connection: Connection, *, token_digest: bytes, account_name: str, now: datetime
) -> bool:
    """Return whether there is such an active account to open a session for."""
    status = await connection.execute(
        """INSERT INTO security_session (token_digest, account_id, opened_at, seen_at)
           SELECT $1, id, $3, $3 FROM security_account WHERE name = $2 AND active""",
        token_digest,
        account_name,
        now,
    )
    return status == "INSERT 0 1"


async def find_session(
    connection: Connection, *, token_digest: bytes, opened_after: datetime, seen_after: datetime
) -> tuple[Account, datetime, datetime] | None:
    """Return the account of a session that is still good, when it was opened and last seen."""
    row = await connection.fetchrow(
        """SELECT a.*, s.opened_at, s.seen_at
           FROM security_session s JOIN security_account a ON a.id = s.account_id
           WHERE s.token_digest = $1 AND s.opened_at > $2 AND s.seen_at > $3 AND a.active""",
        token_digest,
        opened_after,
        seen_after,
    )
    return (_account(row), row["opened_at"], row["seen_at"]) if row else None


async def touch_session(connection: Connection, *, token_digest: bytes, now: datetime) -> None:
    await connection.execute(
        "UPDATE security_session SET seen_at = $2 WHERE token_digest = $1 AND seen_at < $2", token_digest, now
    )


async def delete_session(connection: Connection, *, token_digest: bytes) -> None:
    await connection.execute("DELETE FROM security_session WHERE token_digest = $1", token_digest)


async def delete_proofs(connection: Connection, *, account_id: int) -> None:
    """End every session and token of the account."""
    await connection.execute("DELETE FROM security_session WHERE account_id = $1", account_id)
    await connection.execute("DELETE FROM security_token WHERE account_id = $1", account_id)


async def insert_client(
    connection: Connection,
    *,
    client_id: str,
    institution: str,
    secret_digest: bytes,
    scopes: Sequence[str],
    now: datetime,
) -> None:
    await connection.execute(
        """INSERT INTO security_client (id, institution, secret_digest, scopes, created_at)
           VALUES ($1, $2, $3, $4, $5)""",
        client_id,
        institution,
        secret_digest,
        scopes,
        now,
    )


async def find_client(connection: Connection, *, client_id: str) -> tuple[Client, bytes] | None:
    """Return the client and the digest of its secret."""
    if not client_id.isprintable():
        return None
    row = await connection.fetchrow("SELECT * FROM security_client WHERE id = $1", client_id)
    return (_client(row), row["secret_digest"]) if row else None


async def list_clients(connection: Connection, *, institution: str | None) -> list[Client]:
    rows = await connection.fetch(
        """SELECT * FROM security_client WHERE $1::text IS NULL OR institution = $1
           ORDER BY institution, created_at, id""",
        institution,
    )
    return [_client(row) for row in rows]


async def retire_client(connection: Connection, *, client_id: str) -> bool:
    """Return whether there was such a client; its tokens end at once."""
    if not client_id.isprintable():
        return False
    status = await connection.execute("UPDATE security_client SET active = false WHERE id = $1", client_id)
    await connection.execute("DELETE FROM security_token WHERE client_id = $1", client_id)
    return status == "UPDATE 1"


async def insert_token(
    connection: Connection,
    *,
    token_digest: bytes,
    client_id: str | None,
    account_id: int | None,
    scopes: Collection[str],
    expires_at: datetime,
) -> None:
    await connection.execute(
        """INSERT INTO security_token (token_digest, client_id, account_id, scopes, expires_at)
           VALUES ($1, $2, $3, $4, $5)""",
        token_digest,
        client_id,
        account_id,
        sorted(scopes),
        expires_at,
    )


async def find_client_of_token(
    connection: Connection, *, token_digest: bytes, now: datetime
) -> tuple[Client, frozenset[str]] | None:
    """Return the client of a token that is still good, and the token's own scopes."""
    row = await connection.fetchrow(
        """SELECT c.*, t.scopes AS token_scopes
           FROM security_token t JOIN security_client c ON c.id = t.client_id
           WHERE t.token_digest = $1 AND t.expires_at > $2 AND c.active""",
        token_digest,
        now,
    )
    return (_client(row), frozenset(row["token_scopes"])) if row else None


async def find_account_of_token(
    connection: Connection, *, token_digest: bytes, now: datetime
) -> Account | None:
    row = await connection.fetchrow(
        """SELECT a.* FROM security_token t JOIN security_account a ON a.id = t.account_id
           WHERE t.token_digest = $1 AND t.expires_at > $2 AND a.active""",
        token_digest,
        now,
    )
    return _account(row) if row else None


async def delete_token(connection: Connection, *, token_digest: bytes) -> None:
    await connection.execute("DELETE FROM security_token WHERE token_digest = $1", token_digest)


async def delete_expired(
    connection: Connection, *, now: datetime, session_time: timedelta, idle_time: timedelta
) -> int:
    """Return how many sessions and tokens were over and are gone."""
    sessions = await connection.execute(
        "DELETE FROM security_session WHERE opened_at <= $1 OR seen_at <= $2",
        now - session_time,
        now - idle_time,
    )
    tokens = await connection.execute("DELETE FROM security_token WHERE expires_at <= $1", now)
    return int(sessions.split()[-1]) + int(tokens.split()[-1])


async def insert_signing_key(
    connection: Connection,
    *,
    key_id: str,
    client_id: str,
    procedure: str,
    secret: bytes,
    digest: bytes,
    now: datetime,
) -> bool:
    """Return whether there is such an active client, whose key this is from now on."""
    status = await connection.execute(
        """INSERT INTO security_signing_key (id, client_id, procedure, secret, digest, created_at)
           SELECT $1, id, $3, $4, $5, $6 FROM security_client WHERE id = $2 AND active""",
        key_id,
        client_id,
        procedure,
        secret,
        digest,
        now,
    )
    return status == "INSERT 0 1"


async def find_signing_key(connection: Connection, *, key_id: str) -> tuple[Client, str, bytes, bytes] | None:
    """Return the client, procedure, stored secret and its digest of a key that is in use."""
    row = await connection.fetchrow(
        """SELECT c.*, k.procedure, k.secret, k.digest
           FROM security_signing_key k JOIN security_client c ON c.id = k.client_id
           WHERE k.id = $1 AND k.active AND c.active""",
        key_id,
    )
    return (_client(row), row["procedure"], row["secret"], row["digest"]) if row else None


async def list_signing_keys(
    connection: Connection, *, institutions: Sequence[str] | None, limit: int
) -> list[tuple[Client, str, str, bool, datetime]]:
    """Return client, id, procedure, whether in use, and when made, of the keys of these institutions."""
    rows = await connection.fetch(
        """SELECT c.*, k.id AS key_id, k.procedure, k.active AND c.active AS in_use, k.created_at AS made_at
           FROM security_signing_key k JOIN security_client c ON c.id = k.client_id
           WHERE $1::text[] IS NULL OR c.institution = ANY($1)
           ORDER BY c.institution, c.id, k.created_at, k.id LIMIT $2""",
        institutions,
        limit,
    )
    return [(_client(row), row["key_id"], row["procedure"], row["in_use"], row["made_at"]) for row in rows]


async def retire_signing_key(connection: Connection, *, key_id: str) -> bool:
    """Return whether there was such a key."""
    status = await connection.execute("UPDATE security_signing_key SET active = false WHERE id = $1", key_id)
    return status == "UPDATE 1"


async def insert_nonces(
    connection: Connection, *, digests: Sequence[bytes], expiries: Sequence[datetime]
) -> set[bytes]:
    """Return those of the nonces that were new; the others were seen before.

    The commit is not waited for on the disk: a crash may forget the last half second of nonces, which would
    let those requests be sent again within their five minutes, and never loses an act itself.
    """
    rows = await connection.fetch(
        """WITH relaxed AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true) AS done)
           INSERT INTO security_nonce (digest, expires_at)
           SELECT n.digest, n.expires_at
           FROM relaxed, unnest($1::bytea[], $2::timestamptz[]) AS n(digest, expires_at)
           WHERE relaxed.done IS NOT NULL
           ON CONFLICT (digest) DO NOTHING RETURNING digest""",
        digests,
        expiries,
    )
    return {row["digest"] for row in rows}


async def delete_nonces(connection: Connection, *, before: datetime) -> int:
    """Forget nonces whose requests nobody could send again any more."""
    status = await connection.execute("DELETE FROM security_nonce WHERE expires_at < $1", before)
    return int(status.split()[-1])


def _stored(row: asyncpg.Record) -> StoredAccount:
    return StoredAccount(
        id=row["id"],
        account=_account(row),
        password_hash=row["password_hash"],
        otp_secret=row["otp_secret"],
        otp_pending=row["otp_pending"],
        otp_last_step=row["otp_last_step"],
        failures=row["failures"],
    )


def _account(row: asyncpg.Record) -> Account:
    return Account(
        name=row["name"],
        title=row["title"],
        roles=frozenset(Role(role) for role in row["roles"]),
        reaches=parse_reaches(row["reaches"]),
        active=row["active"],
        second_factor=row["otp_secret"] is not None,
        created_at=row["created_at"],
        password_set_at=row["password_set_at"],
        last_sign_in_at=row["last_sign_in_at"],
        locked_until=row["locked_until"],
    )


def _client(row: asyncpg.Record) -> Client:
    return Client(
        id=row["id"],
        institution=row["institution"],
        scopes=frozenset(row["scopes"]),
        active=row["active"],
        created_at=row["created_at"],
    )
