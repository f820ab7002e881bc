"""A machine of an institution that signs its calls to the health card interface; everybody is synthetic."""

from __future__ import annotations

import json
import secrets
from typing import Any

import httpx
from console_world import HOSPITAL, Resident, Site, residents

from kangshu.security.operations import create_client
from kangshu.security.signing import Procedure, sign, signed_text
from kangshu.security.signing_keys import add_public_key, make_signing_key
from kangshu.security.sm import sm2_keypair

SCOPES = ("cards.use", "cards.manage", "cards.hold")
PEOPLE: list[Resident] = [one for one in residents(40) if one.birth_date.year < 2000][:12]
"""Grown-ups: a minor needs a guardian's card."""


class CardMachine:
    """Signs calls as `docs/health-card.md` says; what is signed can be spoilt on purpose."""

    def __init__(self, site: Site, *, client: str, key: str, secret: bytes, procedure: Procedure) -> None:
        transport = httpx.ASGITransport(app=site.app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://cards.test")
        self.site, self.client, self.key = site, client, key
        self._secret, self._procedure = secret, procedure

    @classmethod
    async def of(
        cls, site: Site, *, institution: str = HOSPITAL, scopes=SCOPES, sm2: bool = False
    ) -> CardMachine:
        """Return a machine with a client and a signing key of its own."""
        made = {"now": site.clock.moment, "random": secrets.token_bytes}
        async with site.platform.database.transaction() as connection:
            client, _ = await create_client(connection, institution=institution, scopes=scopes, **made)
            if sm2:
                private, public = sm2_keypair(secrets.token_bytes)
                key = await add_public_key(connection, client_id=client, public=public.hex(), **made)
                return cls(site, client=client, key=key, secret=private, procedure=Procedure.SM2)
            key, secret = await make_signing_key(
                connection, keys=site.platform.keys, client_id=client, **made
            )
        return cls(site, client=client, key=key, secret=secret.encode(), procedure=Procedure.HMAC_SM3)

    def headers(self, path: str, body: bytes, **changed: str) -> dict[str, str]:
        """Return the headers of a signed request; `changed` replaces parts before they are signed."""
        parts = {
            "key": self.key,
            "time": str(int(self.site.clock.moment.timestamp() * 1000)),
            "nonce": secrets.token_urlsafe(18),
            **changed,
        }
        text = signed_text(method="POST", path=path, query="", body=body, **parts)
        signature = sign(self._procedure, secret=self._secret, text=text)
        return {f"X-Kangshu-{name.capitalize()}": value for name, value in parts.items()} | {
            "X-Kangshu-Signature": signature
        }

    async def call(self, operation: str, **members: Any) -> httpx.Response:
        """Make a signed call."""
        return await self.send(operation, json.dumps(members, ensure_ascii=False).encode())

    async def send(
        self, operation: str, body: bytes, *, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """Send these bytes, signed, or with these headers."""
        path = f"/cards/{operation}"
        return await self.http.post(path, content=body, headers=headers or self.headers(path, body))

    async def register(self, person: Resident, **more: Any) -> dict[str, Any]:
        """Apply for a card of a grown-up resident and return the answer."""
        answer = await self.call("register", **application(person), **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def code(self, card: str, **more: Any) -> str:
        """Return the text of a fresh code."""
        answer = await self.call("dynamic-code", healthCardId=card, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()["qrCodeText"]


def application(person: Resident) -> dict[str, Any]:
    """Return what a resident tells who wants a card."""
    return {
        "name": person.name,
        "idType": "01",
        "idNumber": person.number,
        "sex": person.sex,
        "birthday": person.birth_date.isoformat(),
        "phone": person.phone,
        "applyType": 3,
    }
