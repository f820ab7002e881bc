"""Signed requests: what binds a signature, what makes it stale, and how keys and nonces are kept.

No person occurs here; keys and institutions are made up.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kangshu.security.errors import AccountRefusedError, AccountUnknownError, SignatureRefusedError
from kangshu.security.operations import create_client, retire_client
from kangshu.security.principals import Principal, PrincipalKind
from kangshu.security.signing import (
    WINDOW,
    Envelope,
    Procedure,
    SigningKey,
    fits,
    open_envelope,
    require_fresh,
    sign,
    signed_text,
)
from kangshu.security.signing_keys import (
    add_public_key,
    find_signing_key,
    forget_nonces,
    list_signing_keys,
    make_signing_key,
    retire_signing_key,
    spend_nonces,
)
from kangshu.security.sm import sm2_keypair, sm2_to_der

NOW = datetime(2026, 3, 18, 2, 30, tzinfo=UTC)
INSTITUTION = "99010100000000010A1000"
REQUEST = {
    "method": "POST",
    "path": "/cards/scan",
    "query": "",
    "key": "ks-0011223344556677",
    "time": "1773801000000",
    "nonce": "n0123456789abcdef",
    "body": b'{"scene":"register"}',
}
MACHINE = Principal(id="machine:kc-1", name="kc-1", kind=PrincipalKind.MACHINE)


def key_of(procedure: Procedure, secret: bytes) -> SigningKey:
    return SigningKey(
        id=REQUEST["key"], procedure=procedure, secret=secret, principal=MACHINE, institution=INSTITUTION
    )


def envelope(nonce: str = "n0123456789abcdef", *, at: datetime = NOW, key: str = "ks-0011223344556677"):
    return Envelope(key=key, time=str(int(at.timestamp() * 1000)), nonce=nonce, signature="00" * 32)


def test_the_signed_text_is_eight_lines_that_anybody_can_write():
    assert signed_text(**{**REQUEST, "body": b"abc"}) == (
        b"KANGSHU1\nPOST\n/cards/scan\n\nks-0011223344556677\n1773801000000\nn0123456789abcdef\n"
        b"66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0\n"
    )


@given(
    changed=st.sampled_from(sorted(REQUEST)),
    extra=st.text(alphabet="abcdefXYZ0189/-_?&", min_size=1, max_size=8),
)
def test_whatever_is_changed_in_a_request_its_signature_no_longer_fits(changed, extra):
    key = key_of(Procedure.HMAC_SM3, b"a secret of the tests")
    signature = sign(Procedure.HMAC_SM3, secret=key.secret, text=signed_text(**REQUEST))
    value = REQUEST[changed]
    other = {**REQUEST, changed: value + extra.encode() if isinstance(value, bytes) else value + extra}

    assert fits(key, text=signed_text(**REQUEST), signature=signature)
    assert not fits(key, text=signed_text(**other), signature=signature)


def test_an_sm2_signature_fits_raw_and_in_der_and_not_for_another_key():
    private, public = sm2_keypair(secrets.token_bytes)
    _, other = sm2_keypair(secrets.token_bytes)
    text = signed_text(**REQUEST)
    signature = sign(Procedure.SM2, secret=private, text=text)

    assert fits(key_of(Procedure.SM2, public), text=text, signature=signature)
    assert fits(
        key_of(Procedure.SM2, public), text=text, signature=sm2_to_der(bytes.fromhex(signature)).hex()
    )
    assert not fits(key_of(Procedure.SM2, other), text=text, signature=signature)
    assert not fits(key_of(Procedure.SM2, public), text=text + b"x", signature=signature)


def test_the_public_half_of_a_key_is_no_hmac_secret():
    _, public = sm2_keypair(secrets.token_bytes)
    text = signed_text(**REQUEST)
    forged = sign(Procedure.HMAC_SM3, secret=public, text=text)

    assert not fits(key_of(Procedure.SM2, public), text=text, signature=forged)


@given(signature=st.text(alphabet="0123456789abcdefABCDEFxyz ", max_size=200))
def test_no_text_in_the_place_of_a_signature_falls_over(signature):
    _, public = _PAIR
    for key in (key_of(Procedure.SM2, public), key_of(Procedure.HMAC_SM3, b"secret")):
        assert not fits(key, text=b"text", signature=signature)


_PAIR = sm2_keypair(secrets.token_bytes)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("key", ""),
        ("key", "ks-00112233445566zz"),
        ("time", "2026-03-18T02:30:00Z"),
        ("time", "١٧٧٣٨٠١٠٠٠٠٠٠"),
        ("nonce", "short"),
        ("nonce", "n" * 65),
        ("nonce", "n0123456789abcdef\n"),
        ("signature", "not hexadecimal"),
        ("signature", "0" * 200),
    ],
)
def test_a_header_of_another_form_is_refused_with_its_name(header, value):
    headers = {
        "key": REQUEST["key"],
        "time": REQUEST["time"],
        "nonce": REQUEST["nonce"],
        "signature": "00" * 32,
    }

    with pytest.raises(SignatureRefusedError) as refusal:
        open_envelope(**{**headers, header: value})

    assert refusal.value.place == f"x-kangshu-{header}"
    assert refusal.value.word == "header"


@pytest.mark.parametrize("away", [WINDOW + timedelta(seconds=1), -WINDOW - timedelta(seconds=1)])
def test_a_request_from_outside_the_window_is_refused_in_both_directions(away):
    require_fresh(envelope(at=NOW + away / 2), now=NOW)
    with pytest.raises(SignatureRefusedError):
        require_fresh(envelope(at=NOW + away), now=NOW)


def test_two_keys_may_use_the_same_nonce():
    assert envelope().nonce_digest != envelope(key="ks-ffffffffffffffff").nonce_digest
    assert envelope().nonce_digest == replace(envelope(), time="1").nonce_digest


async def a_client(connection) -> str:
    client_id, _ = await create_client(
        connection, institution=INSTITUTION, scopes=["cards.use"], now=NOW, random=secrets.token_bytes
    )
    return client_id


@pytest.mark.database
def test_a_key_is_found_with_its_secret_which_lies_sealed(database_run, keys):
    async def scenario(database):
        async with database.transaction() as connection:
            client = await a_client(connection)
            key_id, secret = await make_signing_key(
                connection, keys=keys, client_id=client, now=NOW, random=secrets.token_bytes
            )
            found = await find_signing_key(connection, keys=keys, key_id=key_id)
            stored = await connection.fetchval("SELECT secret FROM security_signing_key")

        assert found is not None
        assert found.secret == secret.encode()
        assert found.institution == INSTITUTION
        assert secret.encode() not in stored
        assert secret not in repr(found)

    database_run(scenario)


@pytest.mark.database
def test_a_retired_key_and_the_keys_of_a_retired_machine_are_no_keys(database_run, keys):
    async def scenario(database):
        async with database.transaction() as connection:
            client, other = await a_client(connection), await a_client(connection)
            made = {"keys": keys, "now": NOW, "random": secrets.token_bytes}
            one, _ = await make_signing_key(connection, client_id=client, **made)
            second, _ = await make_signing_key(connection, client_id=client, **made)
            others, _ = await make_signing_key(connection, client_id=other, **made)
            await retire_signing_key(connection, key_id=one)
            await retire_client(connection, client_id=other)

            assert await find_signing_key(connection, keys=keys, key_id=one) is None
            assert await find_signing_key(connection, keys=keys, key_id=second) is not None
            assert await find_signing_key(connection, keys=keys, key_id=others) is None
            infos = await list_signing_keys(connection, institutions=[INSTITUTION])
            assert {info.id: info.in_use for info in infos} == {one: False, second: True, others: False}
            assert await list_signing_keys(connection, institutions=[]) == []

        with pytest.raises(AccountUnknownError):
            async with database.transaction() as connection:
                await make_signing_key(connection, client_id=other, **made)
        with pytest.raises(AccountUnknownError):
            async with database.transaction() as connection:
                await retire_signing_key(connection, key_id="ks-\x00")

    database_run(scenario)


@pytest.mark.database
def test_an_sm2_key_is_taken_with_and_without_its_prefix_and_must_be_a_point(database_run, keys):
    async def scenario(database):
        _, public = sm2_keypair(secrets.token_bytes)
        async with database.transaction() as connection:
            client = await a_client(connection)
            made = {"client_id": client, "now": NOW, "random": secrets.token_bytes}
            for text in (public.hex(), "04" + public.hex().upper()):
                key_id = await add_public_key(connection, public=text, **made)
                found = await find_signing_key(connection, keys=keys, key_id=key_id)
                assert found is not None
                assert found.secret == public
            for text in ("", "zz" * 64, "00" * 64, "11" * 64):
                with pytest.raises(AccountRefusedError):
                    await add_public_key(connection, public=text, **made)

    database_run(scenario)


@pytest.mark.database
def test_a_nonce_is_new_once_also_within_one_call(database_run):
    async def scenario(database):
        async with database.connection() as connection:
            one, other = envelope("a" * 16), envelope("b" * 16)
            first = await spend_nonces(connection, envelopes=[one, other, one])
            again = await spend_nonces(connection, envelopes=[other, envelope("c" * 16)])

        assert first == [True, True, False]
        assert again == [False, True]

    database_run(scenario)


@pytest.mark.database
def test_a_nonce_is_forgotten_only_when_its_request_is_too_old_to_be_sent_again(database_run):
    async def scenario(database):
        async with database.connection() as connection:
            await spend_nonces(connection, envelopes=[envelope()])

            assert await forget_nonces(connection, now=NOW + WINDOW) == 0
            assert await spend_nonces(connection, envelopes=[envelope()]) == [False]
            assert await forget_nonces(connection, now=NOW + 2 * WINDOW) == 1

    database_run(scenario)
