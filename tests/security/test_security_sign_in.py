"""Accounts, sign-in, lock-out, sessions, machine clients and tokens against a real database."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyotp.totp import TOTP

from kangshu.security import operations, queries
from kangshu.security.errors import (
    AccountExistsError,
    AccountRefusedError,
    AccountUnknownError,
    ClientRefusedError,
    PasswordTooWeakError,
    SignInRefusedError,
)
from kangshu.security.keys import Keys
from kangshu.security.model import Account
from kangshu.security.policy import Permission
from kangshu.security.principals import SYSTEM, Principal, PrincipalKind, Reach, Role
from kangshu.storage.database import Connection, Database

pytestmark = pytest.mark.database

NOW = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
PASSWORD = "Synthetic-1"
MINUTE = timedelta(minutes=1)
Scenario = Callable[[Callable[[Connection], Awaitable[Any]]], Any]


@pytest.fixture
def on_connection(database_run) -> Scenario:
    """Run `async fn(connection)` outside a transaction, as a door does."""

    def run_on_connection(work: Callable[[Connection], Awaitable[Any]]) -> Any:
        async def scenario(database: Database) -> Any:
            async with database.connection() as connection:
                return await work(connection)

        return database_run(scenario)

    return run_on_connection


async def _account(connection: Connection, name: str = "li.wei", **changes: Any) -> Account:
    given = {
        "title": "李维（虚构）",
        "password": PASSWORD,
        "roles": {Role.CLINICIAN},
        "reaches": [Reach.institution("D2143569X")],
        "now": NOW,
    }
    return await operations.create_account(connection, name=name, **(given | changes))


async def _enter(connection: Connection, keys: Keys, **changes: Any) -> Principal:
    given = {"name": "li.wei", "password": PASSWORD, "otp": "", "now": NOW}
    return await operations.sign_in(connection, keys=keys, **(given | changes))


async def _is_refused(connection: Connection, keys: Keys, **changes: Any) -> str:
    with pytest.raises(SignInRefusedError) as refused:
        await _enter(connection, keys, **changes)
    return str(refused.value)


def test_who_signs_in_acts_with_the_accounts_roles_and_reaches(on_connection: Scenario, keys: Keys):
    async def scenario(connection: Connection) -> tuple[Principal, Account]:
        await _account(connection)
        return await _enter(connection, keys), await queries.get_account(connection, name="li.wei")

    principal, account = on_connection(scenario)

    assert principal == Principal(
        id="staff:li.wei",
        name="李维（虚构）",
        kind=PrincipalKind.STAFF,
        roles=frozenset({Role.CLINICIAN}),
        reaches=(Reach.institution("D2143569X"),),
    )
    assert account.last_sign_in_at == NOW


def test_all_refusals_read_the_same(on_connection: Scenario, keys: Keys):
    async def scenario(connection: Connection) -> set[str]:
        await _account(connection)
        await _account(connection, "closed")
        await operations.set_active(connection, name="closed", active=False)
        await _account(connection, "guarded")
        enrolment = await operations.enrol_second_factor(
            connection, keys=keys, name="guarded", random=os.urandom
        )
        code = TOTP(enrolment.secret).at(NOW)
        await operations.confirm_second_factor(connection, keys=keys, name="guarded", otp=code, now=NOW)
        return {
            await _is_refused(connection, keys, password="wrong"),
            await _is_refused(connection, keys, name="nobody"),
            await _is_refused(connection, keys, name="nul\0"),
            await _is_refused(connection, keys, name="half\ud800"),
            await _is_refused(connection, keys, name="closed"),
            await _is_refused(connection, keys, name="guarded"),
            await _is_refused(connection, keys, name="guarded", otp="000000"),
        }

    assert len(on_connection(scenario)) == 1


def test_the_fifth_failure_in_a_row_locks_for_fifteen_minutes(on_connection: Scenario, keys: Keys):
    async def scenario(connection: Connection) -> None:
        await _account(connection)
        for _ in range(5):
            await _is_refused(connection, keys, password="wrong")

        await _is_refused(connection, keys)
        await _is_refused(connection, keys, now=NOW + 14 * MINUTE)
        assert (await queries.get_account(connection, name="li.wei")).is_locked(now=NOW + 14 * MINUTE)
        assert await _enter(connection, keys, now=NOW + 15 * MINUTE)

    on_connection(scenario)


def test_a_success_and_the_end_of_a_lock_both_start_the_count_anew(on_connection: Scenario, keys: Keys):
    async def scenario(connection: Connection) -> None:
        await _account(connection)
        for _ in range(3):
            for _ in range(4):
                await _is_refused(connection, keys, password="wrong")
            assert await _enter(connection, keys)
        for _ in range(5):
            await _is_refused(connection, keys, password="wrong")
        later = NOW + 16 * MINUTE
        await _is_refused(connection, keys, password="wrong", now=later)
        assert await _enter(connection, keys, now=later)

    on_connection(scenario)


def test_an_administrator_can_unlock(on_connection: Scenario, keys: Keys):
    async def scenario(connection: Connection) -> None:
        await _account(connection)
        for _ in range(5):
            await _is_refused(connection, keys, password="wrong")
        await operations.unlock(connection, name="li.wei")
        assert await _enter(connection, keys)

    on_connection(scenario)


def test_guessing_in_parallel_gives_no_more_than_five_guesses(database_run, keys: Keys):
    async def scenario(database: Database) -> list[Any]:
        async with database.connection() as connection:
            await _account(connection)

        async def guess(password: str) -> Any:
            async with database.connection() as connection:
                return await _enter(connection, keys, password=password)

        wrong = await asyncio.gather(*(guess(f"wrong-{n}") for n in range(8)), return_exceptions=True)
        return [*wrong, *await asyncio.gather(guess(PASSWORD), return_exceptions=True)]

    outcomes = database_run(scenario)

    assert all(isinstance(outcome, SignInRefusedError) for outcome in outcomes)


def test_sign_in_refuses_to_run_where_its_count_could_be_rolled_back(on_connection: Scenario, keys: Keys):
    async def scenario(connection: Connection) -> None:
        async with connection.transaction():
            with pytest.raises(ValueError, match="outside a transaction"):
                await _enter(connection, keys)

    on_connection(scenario)


def test_a_second_factor_counts_from_its_confirmation_on_and_each_code_once(
    on_connection: Scenario, keys: Keys
):
    async def scenario(connection: Connection) -> None:
        await _account(connection)
        enrolment = await operations.enrol_second_factor(
            connection, keys=keys, name="li.wei", random=os.urandom
        )
        assert await _enter(connection, keys), "not confirmed, not demanded"
        with pytest.raises(SignInRefusedError):
            await operations.confirm_second_factor(
                connection, keys=keys, name="li.wei", otp="000000", now=NOW
            )
        totp = TOTP(enrolment.secret)
        await operations.confirm_second_factor(
            connection, keys=keys, name="li.wei", otp=totp.at(NOW), now=NOW
        )

        await _is_refused(connection, keys)
        await _is_refused(connection, keys, otp=totp.at(NOW))
        later = NOW + MINUTE
        assert await _enter(connection, keys, otp=totp.at(later), now=later)
        await _is_refused(connection, keys, otp=totp.at(later), now=later)
        await _is_refused(connection, keys, password="wrong", otp=totp.at(later + MINUTE), now=later + MINUTE)

        await operations.remove_second_factor(connection, name="li.wei")
        assert await _enter(connection, keys)

    on_connection(scenario)


def test_starting_another_enrolment_does_not_switch_the_present_factor_off(
    on_connection: Scenario, keys: Keys
):
    async def scenario(connection: Connection) -> None:
        await _account(connection)
        old, new = [
            await operations.enrol_second_factor(connection, keys=keys, name="li.wei", random=os.urandom)
            for _ in range(2)
        ]
        confirm = {"keys": keys, "name": "li.wei", "now": NOW}
        with pytest.raises(SignInRefusedError):
            await operations.confirm_second_factor(connection, otp=TOTP(old.secret).at(NOW), **confirm)
        await operations.confirm_second_factor(connection, otp=TOTP(new.secret).at(NOW), **confirm)
        third = await operations.enrol_second_factor(connection, keys=keys, name="li.wei", random=os.urandom)

        later = NOW + MINUTE
        await _is_refused(connection, keys, now=later)
        await _is_refused(connection, keys, otp=TOTP(third.secret).at(later), now=later)
        assert await _enter(connection, keys, otp=TOTP(new.secret).at(later), now=later)

    on_connection(scenario)


def test_nothing_enrolled_is_nothing_to_confirm(on_connection: Scenario, keys: Keys):
    async def scenario(connection: Connection) -> None:
        await _account(connection)
        with pytest.raises(SignInRefusedError):
            await operations.confirm_second_factor(
                connection, keys=keys, name="li.wei", otp="123456", now=NOW
            )

    on_connection(scenario)


def test_a_hash_of_older_parameters_is_renewed_at_the_next_sign_in(on_connection: Scenario, keys: Keys):
    from pwdlib.hashers.argon2 import Argon2Hasher

    old = Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)

    async def scenario(connection: Connection) -> str:
        await _account(connection)
        await connection.execute("UPDATE security_account SET password_hash = $1", old)
        assert await _enter(connection, keys)
        assert await _enter(connection, keys)
        return str(await connection.fetchval("SELECT password_hash FROM security_account"))

    assert "$m=19456,t=2,p=1$" in on_connection(scenario)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": "Li Wei"}, AccountRefusedError),
        ({"name": "x"}, AccountRefusedError),
        ({"title": "  "}, AccountRefusedError),
        ({"title": "a\0b"}, AccountRefusedError),
        ({"roles": set()}, AccountRefusedError),
        ({"reaches": []}, AccountRefusedError),
        ({"roles": {Role.AUDITOR, Role.CLINICIAN}}, AccountRefusedError),
        ({"roles": {Role.AUDITOR, Role.ADMINISTRATOR}}, AccountRefusedError),
        ({"password": "weak"}, PasswordTooWeakError),
    ],
)
def test_an_account_that_makes_no_sense_is_refused(on_connection: Scenario, changes, error: type[Exception]):
    async def scenario(connection: Connection) -> None:
        with pytest.raises(error):
            await _account(connection, **changes)
        assert await queries.list_accounts(connection) == []

    on_connection(scenario)


def test_a_name_is_taken_once(on_connection: Scenario):
    async def scenario(connection: Connection) -> None:
        await _account(connection)
        with pytest.raises(AccountExistsError):
            await _account(connection)

    on_connection(scenario)


def test_administrators_and_auditors_reach_over_the_region(on_connection: Scenario):
    async def scenario(connection: Connection) -> Account:
        return await _account(connection, "root", roles={Role.ADMINISTRATOR}, reaches=[])

    assert on_connection(scenario).reaches == (Reach.region(),)


def test_a_session_lives_half_an_hour_without_and_twelve_hours_with_requests(
    on_connection: Scenario, keys: Keys
):
    async def scenario(connection: Connection) -> None:
        await _account(connection)
        principal = await _enter(connection, keys)
        token = await operations.open_session(connection, principal=principal, now=NOW, random=os.urandom)
        other = await operations.open_session(connection, principal=principal, now=NOW, random=os.urandom)
        assert token != other

        moment = NOW
        while moment < NOW + timedelta(hours=11, minutes=30):
            moment += 29 * MINUTE
            session = await queries.find_session(connection, token=token, now=moment)
            assert session is not None
            assert session.principal == principal
        assert await queries.find_session(connection, token=token, now=NOW + timedelta(hours=12)) is None
        assert await queries.find_session(connection, token=other, now=NOW + 30 * MINUTE) is None
        assert await queries.find_session(connection, token="\0\ud800", now=NOW) is None

    on_connection(scenario)


def test_a_session_is_not_rewritten_more_than_once_a_minute(on_connection: Scenario, keys: Keys):
    async def scenario(connection: Connection) -> None:
        await _account(connection)
        token = await operations.open_session(
            connection, principal=await _enter(connection, keys), now=NOW, random=os.urandom
        )
        for seconds, seen in ((30, 0), (59, 0), (60, 60)):
            await queries.find_session(connection, token=token, now=NOW + timedelta(seconds=seconds))
            assert await connection.fetchval("SELECT seen_at FROM security_session") == NOW + timedelta(
                seconds=seen
            )

    on_connection(scenario)


def test_sign_out_a_new_password_and_closing_the_account_end_sessions_and_tokens(
    on_connection: Scenario, keys: Keys
):
    async def scenario(connection: Connection) -> None:
        await _account(connection)
        principal = await _enter(connection, keys)

        async def both() -> tuple[str, str]:
            session = await operations.open_session(
                connection, principal=principal, now=NOW, random=os.urandom
            )
            bearer = await operations.issue_staff_token(
                connection, principal=principal, now=NOW, random=os.urandom
            )
            assert await queries.find_session(connection, token=session, now=NOW)
            assert await queries.find_token(connection, token=bearer.token, now=NOW) == principal
            return session, bearer.token

        async def both_are_over(session: str, bearer: str) -> bool:
            return (
                await queries.find_session(connection, token=session, now=NOW) is None
                and await queries.find_token(connection, token=bearer, now=NOW) is None
            )

        session, bearer = await both()
        await operations.close_session(connection, token=session)
        await operations.revoke_token(connection, token=bearer)
        assert await both_are_over(session, bearer)

        session, bearer = await both()
        await operations.set_password(connection, name="li.wei", password="Synthetic-2", now=NOW)
        assert await both_are_over(session, bearer)
        await _is_refused(connection, keys)
        assert await _enter(connection, keys, password="Synthetic-2")

        session, bearer = await both()
        await operations.set_active(connection, name="li.wei", active=False)
        await operations.set_active(connection, name="li.wei", active=True)
        assert await both_are_over(session, bearer)

    on_connection(scenario)


def test_changed_roles_hold_from_the_next_request(on_connection: Scenario, keys: Keys):
    async def scenario(connection: Connection) -> None:
        await _account(connection)
        token = await operations.open_session(
            connection, principal=await _enter(connection, keys), now=NOW, random=os.urandom
        )
        await operations.set_rights(
            connection, name="li.wei", roles={Role.STATISTICIAN}, reaches=[Reach.division("990100")]
        )
        session = await queries.find_session(connection, token=token, now=NOW)
        assert session is not None
        assert session.principal.roles == {Role.STATISTICIAN}
        assert not session.principal.may(Permission.READ_RECORDS)

    on_connection(scenario)


def test_nobody_gets_a_session_without_an_account(on_connection: Scenario):
    async def scenario(connection: Connection) -> None:
        with pytest.raises(AccountUnknownError):
            await operations.open_session(connection, principal=SYSTEM, now=NOW, random=os.urandom)
        with pytest.raises(AccountUnknownError):
            await operations.issue_staff_token(connection, principal=SYSTEM, now=NOW, random=os.urandom)

    on_connection(scenario)


def test_what_concerns_an_unknown_account_is_said(on_connection: Scenario, keys: Keys):
    async def scenario(connection: Connection) -> None:
        for call in (
            operations.unlock(connection, name="nobody"),
            operations.set_active(connection, name="nobody", active=True),
            operations.set_password(connection, name="nobody", password=PASSWORD, now=NOW),
            operations.remove_second_factor(connection, name="nobody"),
            operations.enrol_second_factor(connection, keys=keys, name="nobody", random=os.urandom),
            operations.set_rights(connection, name="nobody", roles={Role.AUDITOR}),
            operations.retire_client(connection, client_id="nobody"),
            operations.retire_client(connection, client_id="\0"),
            queries.get_account(connection, name="nobody"),
        ):
            with pytest.raises(AccountUnknownError):
                await call

    on_connection(scenario)


def test_a_machine_gets_tokens_for_its_own_scopes_and_institution(on_connection: Scenario):
    async def scenario(connection: Connection) -> None:
        client_id, secret = await operations.create_client(
            connection,
            institution="D2143569X",
            scopes=["datasets.write", "records.read"],
            now=NOW,
            random=os.urandom,
        )
        proof = {"client_id": client_id, "secret": secret, "now": NOW, "random": os.urandom}
        everything = await operations.issue_token(connection, **proof)
        less = await operations.issue_token(connection, scopes=["datasets.write"], **proof)

        whole = await queries.find_token(connection, token=everything.token, now=NOW)
        part = await queries.find_token(connection, token=less.token, now=NOW)
        assert whole is not None
        assert part is not None
        assert (whole.id, whole.kind) == (f"machine:{client_id}", PrincipalKind.MACHINE)
        assert whole.institutions == {"D2143569X"}
        assert whole.may(Permission.READ_RECORDS)
        assert part.scopes == {"datasets.write"}
        assert not part.may(Permission.READ_RECORDS)
        assert await queries.find_token(connection, token=less.token, now=less.expires_at) is None
        assert secret not in repr(await queries.list_clients(connection))
        assert everything.token not in repr(everything)

    on_connection(scenario)


@pytest.mark.parametrize(
    "changes",
    [
        {"secret": "wrong"},
        {"client_id": "kc-0000000000000000"},
        {"client_id": "nul\0"},
        {"secret": "\ud800"},
        {"scopes": ["records.read"]},
        {"scopes": ["datasets.write", "unheard.of"]},
    ],
)
def test_a_machine_with_wrong_proofs_or_too_many_wishes_is_refused(on_connection: Scenario, changes):
    async def scenario(connection: Connection) -> None:
        client_id, secret = await operations.create_client(
            connection, institution="D2143569X", scopes=["datasets.write"], now=NOW, random=os.urandom
        )
        given = {"client_id": client_id, "secret": secret, "scopes": [], "now": NOW, "random": os.urandom}
        with pytest.raises(ClientRefusedError):
            await operations.issue_token(connection, **(given | changes))

    on_connection(scenario)


def test_a_retired_machine_is_shut_out_at_once(on_connection: Scenario):
    async def scenario(connection: Connection) -> None:
        client_id, secret = await operations.create_client(
            connection, institution="D2143569X", now=NOW, random=os.urandom
        )
        token = await operations.issue_token(
            connection, client_id=client_id, secret=secret, now=NOW, random=os.urandom
        )
        await operations.retire_client(connection, client_id=client_id)

        assert await queries.find_token(connection, token=token.token, now=NOW) is None
        with pytest.raises(ClientRefusedError):
            await operations.issue_token(
                connection, client_id=client_id, secret=secret, now=NOW, random=os.urandom
            )
        (client,) = await queries.list_clients(connection, institution="D2143569X")
        assert not client.active
        assert await queries.list_clients(connection, institution="other") == []

    on_connection(scenario)


@pytest.mark.parametrize(
    "changes", [{"scopes": []}, {"scopes": ["unheard.of"]}, {"institution": ""}, {"institution": "a\0"}]
)
def test_a_machine_client_that_makes_no_sense_is_refused(on_connection: Scenario, changes):
    async def scenario(connection: Connection) -> None:
        given = {"institution": "D2143569X", "scopes": ["datasets.write"]}
        with pytest.raises(AccountRefusedError):
            await operations.create_client(connection, now=NOW, random=os.urandom, **(given | changes))

    on_connection(scenario)


def test_what_is_over_is_forgotten_and_what_is_not_is_kept(on_connection: Scenario, keys: Keys):
    async def scenario(connection: Connection) -> None:
        await _account(connection)
        principal = await _enter(connection, keys)
        old = {"principal": principal, "now": NOW - timedelta(hours=13), "random": os.urandom}
        new = {"principal": principal, "now": NOW, "random": os.urandom}
        await operations.open_session(connection, **old)
        await operations.issue_staff_token(connection, **old)
        session = await operations.open_session(connection, **new)
        token = await operations.issue_staff_token(connection, **new)

        assert await operations.purge_expired(connection, now=NOW) == 2
        assert await queries.find_session(connection, token=session, now=NOW)
        assert await queries.find_token(connection, token=token.token, now=NOW)

    on_connection(scenario)


def test_no_secret_reaches_the_database_in_the_clear(on_connection: Scenario, keys: Keys):
    async def scenario(connection: Connection) -> None:
        await _account(connection)
        enrolment = await operations.enrol_second_factor(
            connection, keys=keys, name="li.wei", random=os.urandom
        )
        session = await operations.open_session(
            connection, principal=await _enter(connection, keys), now=NOW, random=os.urandom
        )
        client_id, secret = await operations.create_client(
            connection, institution="D2143569X", now=NOW, random=os.urandom
        )
        token = await operations.issue_token(
            connection, client_id=client_id, secret=secret, now=NOW, random=os.urandom
        )
        stored = ""
        for table in ("account", "session", "client", "token"):
            for row in await connection.fetch(f"SELECT t::text AS line FROM security_{table} t"):
                stored += row["line"]
        for clear in (PASSWORD, enrolment.secret, session, secret, token.token):
            assert clear not in stored
            assert clear.encode().hex() not in stored

    on_connection(scenario)
