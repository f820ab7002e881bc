"""Passwords, one-time codes and tokens, each alone."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyotp.totp import TOTP

from kangshu.security import keys as keys_module
from kangshu.security import second_factor, tokens
from kangshu.security.errors import PasswordTooWeakError
from kangshu.security.passwords import check_password, hash_password, needs_new_hash, verify_password

NOW = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # RFC 6238, appendix B: "12345678901234567890" in base 32


@pytest.mark.parametrize(
    ("password", "good"),
    [
        ("Abcdef12", True),
        ("abcdef1!", True),
        ("康枢平台Aa1!", True),
        ("Abcde12", False),
        ("abcdefgh", False),
        ("abcdefg1", False),
        ("ABCDEFG1", False),
        ("Aa1" * 43, False),
        ("", False),
        ("Li.Wei-2026", False),
    ],
)
def test_a_password_needs_eight_places_of_three_kinds_without_the_name(password: str, good: bool):
    if good:
        check_password(password, account_name="li.wei")
    else:
        with pytest.raises(PasswordTooWeakError) as refused:
            check_password(password, account_name="li.wei")
        assert not password or password not in str(refused.value)


def test_a_hash_fits_its_password_only_and_hides_it():
    async def scenario() -> tuple[str, list[bool]]:
        stored = await hash_password("Synthetic-1")
        tries = ["Synthetic-1", "synthetic-1", "", "Synthetic-1" + "x" * 200]
        return stored, [await verify_password(offered, stored=stored) for offered in tries]

    stored, fits = asyncio.run(scenario())

    assert fits == [True, False, False, False]
    assert stored.startswith("$argon2id$")
    assert "Synthetic" not in stored
    assert not needs_new_hash(stored)
    assert needs_new_hash(stored.replace("t=2", "t=1"))


def test_nobodys_password_fits_nothing_not_even_itself():
    async def scenario() -> list[bool]:
        return [await verify_password(offered, stored=None) for offered in ("", "the password of nobody")]

    assert asyncio.run(scenario()) == [False, False]


@pytest.mark.parametrize("stored", ["", "plain", "$argon2id$v=19$m=19456,t=2,p=1$broken"])
def test_a_damaged_hash_fits_nothing(stored: str):
    assert asyncio.run(verify_password("Synthetic-1", stored=stored)) is False


@pytest.mark.parametrize(
    ("moment", "code"), [(59, "287082"), (1111111109, "081804"), (20000000000, "353130")]
)
def test_the_codes_are_those_of_rfc_6238(moment: int, code: str):
    now = datetime.fromtimestamp(moment, tz=UTC)

    assert second_factor.accepted_step(SECRET, code=code, now=now, after=None) == moment // 30


@pytest.mark.parametrize(("offset", "good"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)])
def test_a_code_is_good_one_step_before_and_after_its_own(offset: int, good: bool):
    code = TOTP(SECRET).at(NOW + timedelta(seconds=offset))

    assert (second_factor.accepted_step(SECRET, code=code, now=NOW, after=None) is not None) == good


def test_a_code_is_good_once():
    code = TOTP(SECRET).at(NOW)
    step = second_factor.accepted_step(SECRET, code=code[:3] + " " + code[3:], now=NOW, after=None)

    assert step is not None
    assert second_factor.accepted_step(SECRET, code=code, now=NOW, after=step) is None
    assert second_factor.accepted_step(SECRET, code=code, now=NOW, after=step - 1) == step


@given(code=st.text(max_size=8))
def test_whatever_is_typed_as_a_code_breaks_nothing(code: str):
    assert second_factor.accepted_step(SECRET, code=code, now=NOW, after=10**9) is None


def test_a_phone_finds_account_and_secret_in_the_address():
    secret = second_factor.new_secret(random=os.urandom)
    address = urlsplit(second_factor.provisioning_uri(secret, account_name="li.wei"))

    assert (address.scheme, address.netloc, address.path) == ("otpauth", "totp", "/Kangshu:li.wei")
    assert parse_qs(address.query)["secret"] == [secret]
    assert len(secret) == 32


def test_a_stored_secret_opens_for_its_own_account_only():
    keys = keys_module.make(random=os.urandom)
    sealed = second_factor.seal_secret(SECRET, keys=keys, account_name="li.wei", nonce=os.urandom(12))

    assert SECRET.encode() not in sealed
    assert second_factor.open_secret(sealed, keys=keys, account_name="li.wei") == SECRET
    with pytest.raises(ValueError, match="does not belong"):
        second_factor.open_secret(sealed, keys=keys, account_name="wang.fang")


def test_tokens_are_long_and_their_digests_tell_nothing():
    token = tokens.new_token(random=os.urandom)

    assert len(token) == 43
    assert len(tokens.digest_token(token)) == 32
    assert token.encode() not in tokens.digest_token(token)


@given(offered=st.text(max_size=80))
def test_a_form_is_taken_only_with_its_own_sessions_token(offered: str):
    keys = keys_module.make(random=lambda size: b"\1" * size)
    own = tokens.form_token(keys, session_token="one")

    assert tokens.form_token_fits(keys, session_token="one", offered=own)
    assert not tokens.form_token_fits(keys, session_token="other", offered=own)
    assert not tokens.form_token_fits(keys, session_token="one", offered=offered)
