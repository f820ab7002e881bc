"""Make accounts, let people and machines in, and shut them out again.

Security lies below `audit` and does not write it: the door that calls these functions records who
did what, also for a refused sign-in.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Collection, Iterable
from datetime import datetime

from kangshu.kernel.texts import load_catalogue
from kangshu.security import passwords, second_factor, store, tokens
from kangshu.security.errors import (
    AccountExistsError,
    AccountRefusedError,
    AccountUnknownError,
    ClientRefusedError,
    SignInRefusedError,
)
from kangshu.security.keys import Keys
from kangshu.security.model import Account, Enrolment, Token
from kangshu.security.policy import (
    DEFAULT_SCOPES,
    EXCLUSIVE_ROLES,
    FAILURES_BEFORE_LOCK,
    LOCK_TIME,
    SCOPE_PERMISSIONS,
    SESSION_IDLE_TIME,
    SESSION_TIME,
    TOKEN_TIME,
)
from kangshu.security.principals import Principal, Reach, Role
from kangshu.security.store import Connection, StoredAccount

say = load_catalogue(__package__ or __name__)

Random = Callable[[int], bytes]
"""A source of unpredictable bytes, such as `secrets.token_bytes`."""

_ACCOUNT_NAME = re.compile(r"[a-z][a-z0-9._-]{1,39}", re.ASCII)
_TITLE_MAXIMUM = 80
_CODE_MAXIMUM = 64


async def create_account(
    connection: Connection,
    *,
    name: str,
    title: str,
    password: str,
    roles: Collection[Role],
    reaches: Collection[Reach] = (),
    now: datetime,
) -> Account:
    """Return the new account. Administrators and auditors reach over the region without being told so.

    Raises:
        AccountRefusedError: the name or title is malformed, roles exclude each other, or a reach is missing.
        PasswordTooWeakError: choose another password.
        AccountExistsError: the name is taken.
    """
    if not _ACCOUNT_NAME.fullmatch(name):
        raise AccountRefusedError(say["account_name_bad"])
    if not _is_line(title, longest=_TITLE_MAXIMUM):
        raise AccountRefusedError(say("account_title_bad", maximum=_TITLE_MAXIMUM))
    written_roles, written_reaches = _written_rights(roles, reaches)
    passwords.check_password(password, account_name=name)
    stored = await store.insert_account(
        connection,
        name=name,
        title=title,
        password_hash=await passwords.hash_password(password),
        roles=written_roles,
        reaches=written_reaches,
        now=now,
    )
    if stored is None:
        raise AccountExistsError(say["account_exists"])
    return stored.account


async def set_rights(
    connection: Connection, *, name: str, roles: Collection[Role], reaches: Collection[Reach] = ()
) -> None:
    """Give the account these roles and reaches instead of those it has; they hold from the next request.

    Raises:
        AccountRefusedError: roles exclude each other, or a reach is missing.
        AccountUnknownError: there is no such account.
    """
    written_roles, written_reaches = _written_rights(roles, reaches)
    account = await _get(connection, name)
    await store.update_rights(connection, account_id=account.id, roles=written_roles, reaches=written_reaches)


async def set_active(connection: Connection, *, name: str, active: bool) -> None:
    """Open or close an account; closing ends its sessions and tokens.

    Raises:
        AccountUnknownError: there is no such account.
    """
    async with connection.transaction():
        account = await _get(connection, name)
        await store.update_active(connection, account_id=account.id, active=active)
        if not active:
            await store.delete_proofs(connection, account_id=account.id)


async def unlock(connection: Connection, *, name: str) -> None:
    """Let an account that was locked after failures try again at once.

    Raises:
        AccountUnknownError: there is no such account.
    """
    account = await _get(connection, name)
    await store.record_failures(connection, account_id=account.id, failures=0, locked_until=None)


async def set_password(connection: Connection, *, name: str, password: str, now: datetime) -> None:
    """Give the account another password, end its sessions and tokens, and unlock it.

    Raises:
        PasswordTooWeakError: choose another password.
        AccountUnknownError: there is no such account.
    """
    passwords.check_password(password, account_name=name)
    password_hash = await passwords.hash_password(password)
    async with connection.transaction():
        account = await _get(connection, name)
        await store.update_password(connection, account_id=account.id, password_hash=password_hash, now=now)
        await store.record_failures(connection, account_id=account.id, failures=0, locked_until=None)
        await store.delete_proofs(connection, account_id=account.id)


async def enrol_second_factor(connection: Connection, *, keys: Keys, name: str, random: Random) -> Enrolment:
    """Return a new second factor to show once; it counts from `confirm_second_factor` on.

    Until then one that is in use stays in use.

    Raises:
        AccountUnknownError: there is no such account.
    """
    account = await _get(connection, name)
    secret = second_factor.new_secret(random=random)
    sealed = second_factor.seal_secret(secret, keys=keys, account_name=name, nonce=random(12))
    await store.update_pending_factor(connection, account_id=account.id, sealed=sealed)
    return Enrolment(secret=secret, uri=second_factor.provisioning_uri(secret, account_name=name))


async def confirm_second_factor(
    connection: Connection, *, keys: Keys, name: str, otp: str, now: datetime
) -> None:
    """Demand the enrolled second factor from now on; `otp` is a code of the new one.

    Raises:
        SignInRefusedError: the code does not fit, or nothing was enrolled.
        AccountUnknownError: there is no such account.
    """
    account = await _get(connection, name)
    step = _accepted_step(account, sealed=account.otp_pending, after=None, keys=keys, otp=otp, now=now)
    if step is None:
        raise SignInRefusedError(say["sign_in_refused"])
    await store.update_second_factor(connection, account_id=account.id, sealed=account.otp_pending, step=step)


async def remove_second_factor(connection: Connection, *, name: str) -> None:
    """Stop demanding a second factor (a lost phone); an administrator's act.

    Raises:
        AccountUnknownError: there is no such account.
    """
    account = await _get(connection, name)
    await store.update_second_factor(connection, account_id=account.id, sealed=None, step=None)


async def sign_in(
    connection: Connection, *, keys: Keys, name: str, password: str, otp: str = "", now: datetime
) -> Principal:
    """Return who signed in. `otp` is looked at only for accounts with a second factor.

    Counts failures in a transaction of its own, so the connection must not be in one: a failure that
    the caller rolls back would be a free guess. The fifth failure in a row locks the account for
    fifteen minutes; whether a guess was among the first five is decided when its check ends, under
    a row lock, so guessing in parallel gains nothing.

    Raises:
        SignInRefusedError: always with the same text, whatever the reason.
    """
    if connection.is_in_transaction():
        raise ValueError("sign_in commits its own count of failures: call it outside a transaction")
    seen = await store.find_account(connection, name=name)
    fits = await passwords.verify_password(password, stored=seen.password_hash if seen else None)
    async with connection.transaction():
        account = await store.find_account(connection, name=name, lock=True)
        entered = account is not None and await _try_entering(
            connection,
            account,
            # The password may have been changed while the old one was being checked.
            password_fits=fits and seen is not None and seen.password_hash == account.password_hash,
            keys=keys,
            otp=otp,
            now=now,
        )
    if account is None or not entered:
        raise SignInRefusedError(say["sign_in_refused"])
    if passwords.needs_new_hash(account.password_hash):
        await store.update_hash(
            connection, account_id=account.id, password_hash=await passwords.hash_password(password)
        )
    return account.account.principal


async def _try_entering(
    connection: Connection,
    account: StoredAccount,
    *,
    password_fits: bool,
    keys: Keys,
    otp: str,
    now: datetime,
) -> bool:
    """Return whether the proofs let the account in, and count. The caller holds the row's lock."""
    if not account.account.active or account.account.is_locked(now=now):
        return False
    step = _accepted_step(
        account, sealed=account.otp_secret, after=account.otp_last_step, keys=keys, otp=otp, now=now
    )
    if password_fits and (step is not None or not account.account.second_factor):
        await store.record_success(connection, account_id=account.id, step=step, now=now)
        return True
    lock_is_over = account.account.locked_until is not None
    failures = 1 if lock_is_over else account.failures + 1
    await store.record_failures(
        connection,
        account_id=account.id,
        failures=failures,
        locked_until=now + LOCK_TIME if failures >= FAILURES_BEFORE_LOCK else None,
    )
    return False


async def open_session(connection: Connection, *, principal: Principal, now: datetime, random: Random) -> str:
    """Return the token of a new session for the staff member who signed in; only its digest is kept.

    Raises:
        AccountUnknownError: the account was closed in the meantime, or the principal is no account.
    """
    token = tokens.new_token(random=random)
    opened = await store.insert_session(
        connection,
        token_digest=tokens.digest_token(token),
        account_name=principal.id.removeprefix("staff:"),
        now=now,
    )
    if not opened:
        raise AccountUnknownError(say["account_unknown"])
    return token


async def close_session(connection: Connection, *, token: str) -> None:
    """End the session, if there is one."""
    await store.delete_session(connection, token_digest=tokens.digest_token(token))


async def create_client(
    connection: Connection,
    *,
    institution: str,
    scopes: Collection[str] = DEFAULT_SCOPES,
    now: datetime,
    random: Random,
) -> tuple[str, str]:
    """Return id and secret of a new machine client of an institution; the secret is shown this once.

    Raises:
        AccountRefusedError: a scope does not exist or none was given, or the code is no code.
    """
    if not _is_line(institution, longest=_CODE_MAXIMUM):
        raise AccountRefusedError(say["client_institution_bad"])
    if not scopes or not set(scopes) <= set(SCOPE_PERMISSIONS):
        raise AccountRefusedError(say("scope_unknown", scopes=", ".join(SCOPE_PERMISSIONS)))
    client_id = f"kc-{random(8).hex()}"
    secret = tokens.new_token(random=random)
    await store.insert_client(
        connection,
        client_id=client_id,
        institution=institution,
        secret_digest=tokens.digest_token(secret),
        scopes=sorted(set(scopes)),
        now=now,
    )
    return client_id, secret


async def retire_client(connection: Connection, *, client_id: str) -> None:
    """Shut a machine client out; its tokens end at once.

    Raises:
        AccountUnknownError: there is no such client.
    """
    async with connection.transaction():
        if not await store.retire_client(connection, client_id=client_id):
            raise AccountUnknownError(say["client_unknown"])


async def issue_token(
    connection: Connection,
    *,
    client_id: str,
    secret: str,
    scopes: Iterable[str] = (),
    now: datetime,
    random: Random,
) -> Token:
    """Return a bearer token for a machine, good for an hour, with the asked or all of its scopes.

    Raises:
        ClientRefusedError: id or secret do not fit, or a scope was never given to this machine.
    """
    found = await store.find_client(connection, client_id=client_id)
    stored_digest = found[1] if found else bytes(32)
    fits = hmac.compare_digest(tokens.digest_token(secret), stored_digest)
    if found is None or not fits or not found[0].active:
        raise ClientRefusedError(say["client_refused"])
    granted = frozenset(scopes) or found[0].scopes
    if not granted <= found[0].scopes:
        raise ClientRefusedError(say["client_refused"])
    return await _issue(
        connection, client_id=client_id, account_id=None, scopes=granted, now=now, random=random
    )


async def issue_staff_token(
    connection: Connection, *, principal: Principal, now: datetime, random: Random
) -> Token:
    """Return a bearer token for the staff member who signed in; it carries the account's roles.

    Raises:
        AccountUnknownError: the principal is no staff account.
    """
    account = await _get(connection, principal.id.removeprefix("staff:"))
    return await _issue(
        connection, client_id=None, account_id=account.id, scopes=frozenset(), now=now, random=random
    )


async def revoke_token(connection: Connection, *, token: str) -> None:
    """End a bearer token, if there is one."""
    await store.delete_token(connection, token_digest=tokens.digest_token(token))


async def purge_expired(connection: Connection, *, now: datetime) -> int:
    """Forget sessions and tokens that are over, and return how many there were."""
    return await store.delete_expired(
        connection, now=now, session_time=SESSION_TIME, idle_time=SESSION_IDLE_TIME
    )


async def _issue(
    connection: Connection,
    *,
    client_id: str | None,
    account_id: int | None,
    scopes: frozenset[str],
    now: datetime,
    random: Random,
) -> Token:
    token = Token(token=tokens.new_token(random=random), scopes=scopes, expires_at=now + TOKEN_TIME)
    await store.insert_token(
        connection,
        token_digest=tokens.digest_token(token.token),
        client_id=client_id,
        account_id=account_id,
        scopes=scopes,
        expires_at=token.expires_at,
    )
    return token


async def _get(connection: Connection, name: str) -> StoredAccount:
    account = await store.find_account(connection, name=name)
    if account is None:
        raise AccountUnknownError(say["account_unknown"])
    return account


def _written_rights(roles: Collection[Role], reaches: Collection[Reach]) -> tuple[list[str], list[str]]:
    """Return roles and reaches as they are stored, once they have been found to go together."""
    if not roles:
        raise AccountRefusedError(say["account_without_role"])
    exclusive = EXCLUSIVE_ROLES & set(roles)
    if exclusive and len(set(roles)) > 1:
        raise AccountRefusedError(say["account_roles_conflict"])
    if not reaches and not exclusive:
        raise AccountRefusedError(say["account_without_reach"])
    return sorted(set(roles)), sorted({str(reach) for reach in reaches or (Reach.region(),)})


def _accepted_step(
    account: StoredAccount,
    *,
    sealed: bytes | None,
    after: int | None,
    keys: Keys,
    otp: str,
    now: datetime,
) -> int | None:
    if sealed is None:
        return None
    secret = second_factor.open_secret(sealed, keys=keys, account_name=account.account.name)
    return second_factor.accepted_step(secret, code=otp, now=now, after=after)


def _is_line(text: str, *, longest: int) -> bool:
    return bool(text.strip()) and len(text) <= longest and text.isprintable()
