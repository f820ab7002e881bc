"""The self-test of institutions at the health card interface; keys, requests and institutions are made up."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from console_world import HOSPITAL, SECOND_HOSPITAL, Site
from hypothesis import given
from hypothesis import strategies as st

from kangshu.audit import AuditEntry, Outcome, record
from kangshu.console.card_checking import Tried, judge
from kangshu.security.operations import create_client
from kangshu.security.principals import Principal, PrincipalKind
from kangshu.security.signing import Procedure, SigningKey, sign
from kangshu.security.signing_keys import make_signing_key

NOW = datetime(2026, 3, 18, 2, 30, tzinfo=UTC)
KEY = SigningKey(
    id="ks-0011223344556677",
    procedure=Procedure.HMAC_SM3,
    secret=b"c2VjcmV0LW9mLXRoZS10ZXN0cw",
    principal=Principal(id="machine:kc-1", name="kc-1", kind=PrincipalKind.MACHINE),
    institution=HOSPITAL,
)
RIGHT = Tried(
    method="POST",
    path="/cards/echo",
    query="",
    key=KEY.id,
    time=str(int(NOW.timestamp() * 1000)),
    nonce="n0123456789abcdef",
    signature="",
    body='{"text":"hello"}',
)


def signed(tried: Tried, text: bytes, *, secret: bytes = KEY.secret) -> Tried:
    return replace(tried, signature=sign(Procedure.HMAC_SM3, secret=secret, text=text))


def test_a_right_request_passes_every_check():
    verdict = judge(signed(RIGHT, RIGHT.text), key=KEY, now=NOW)

    assert [check.holds for check in verdict.checks] == [True] * 4
    assert verdict.mistake == ""
    assert len(verdict.lines) == 8


@pytest.mark.parametrize(
    ("text", "secret", "mistake"),
    [
        (RIGHT.text.removesuffix(b"\n"), KEY.secret, "last_line_end"),
        (RIGHT.text.replace(b"\n", b"\r\n"), KEY.secret, "crlf"),
        (replace(RIGHT, body="").text, KEY.secret, "empty_body"),
        (replace(RIGHT, body=RIGHT.body + "\n").text, KEY.secret, "body_end"),
        (RIGHT.text.replace(b"POST", b"post"), KEY.secret, "method"),
        (RIGHT.text.replace(b"echo\n\n", b"echo\n"), KEY.secret, "no_query_line"),
        (replace(RIGHT, time=RIGHT.time[:10]).text, KEY.secret, "seconds"),
        (RIGHT.text, b"secret-of-the-tests", "secret_decoded"),
        (RIGHT.text, KEY.secret + b"\n", "secret_line"),
        (b"something else", KEY.secret, ""),
    ],
)
def test_a_usual_mistake_is_named(text, secret, mistake):
    verdict = judge(signed(RIGHT, text, secret=secret), key=KEY, now=NOW)

    assert not verdict.checks[-1].holds
    assert verdict.mistake == mistake


@given(
    words=st.fixed_dictionaries(
        {
            name: st.text(max_size=70)
            for name in ("method", "path", "query", "key", "time", "nonce", "signature")
        }
    ),
    body=st.text(max_size=50),
)
def test_nothing_that_is_pasted_falls_over(words, body):
    verdict = judge(Tried(body=body, **words), key=KEY, now=NOW)

    assert not verdict.checks[-1].holds


async def _key(site: Site, institution: str) -> tuple[str, str]:
    made = {"now": site.clock.moment, "random": secrets.token_bytes}
    async with site.platform.database.transaction() as connection:
        client, _ = await create_client(connection, institution=institution, scopes=["cards.use"], **made)
        return await make_signing_key(connection, keys=site.platform.keys, client_id=client, **made)


@pytest.mark.database
def test_an_institution_checks_with_its_own_keys_and_sees_no_others(site_run):
    async def scenario(site: Site) -> None:
        own, secret = await _key(site, HOSPITAL)
        other, other_secret = await _key(site, SECOND_HOSPITAL)
        browser = await site.signed_in("hospital")

        async def check(key: str, secret: str) -> str:
            tried = replace(RIGHT, key=key, time=str(int(site.clock.moment.timestamp() * 1000)))
            tried = signed(tried, tried.text, secret=secret.encode())
            fields = {
                name: getattr(tried, name)
                for name in ("method", "path", "key", "time", "nonce", "signature", "body")
            }
            return (await browser.post("/console/cards/check", {**fields, "query": ""})).text

        page = (await browser.get("/console/cards/check")).text
        assert own in page
        assert other not in page
        assert secret not in page
        right, foreign = await check(own, secret), await check(other, other_secret)
        assert right.count("不通过</") == 0
        assert foreign.count("不通过</") == 2

    site_run(scenario)


@pytest.mark.database
def test_refused_requests_are_listed_with_their_reason_for_their_own_institution(site_run):
    async def scenario(site: Site) -> None:
        async with site.platform.database.transaction() as connection:
            for institution, word in ((HOSPITAL, "replay"), (SECOND_HOSPITAL, "scope")):
                entry = AuditEntry(
                    at=site.clock.moment,
                    actor="unknown",
                    actor_name="",
                    action="card.signature",
                    resource=f"signing-key/of-{institution}",
                    institution=institution,
                    outcome=Outcome.REFUSED,
                    detail={"refused_for": word},
                )
                await record(connection, entries=[entry])

        page = (await (await site.signed_in("hospital")).get("/console/cards/check")).text
        all_of_them = (await (await site.signed_in("centre")).get("/console/cards/check")).text

        assert f"of-{HOSPITAL}" in page
        assert "随机串已用过" in page
        assert f"of-{SECOND_HOSPITAL}" not in page
        assert f"of-{SECOND_HOSPITAL}" in all_of_them

    site_run(scenario)


@pytest.mark.database
def test_who_does_not_use_cards_does_not_open_the_page(site_run):
    async def scenario(site: Site) -> None:
        browser = await site.signed_in("doctor")

        assert (await browser.get("/console/cards/check")).status_code == 403

    site_run(scenario)
