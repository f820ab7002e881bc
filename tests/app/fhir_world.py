"""The FHIR door over a platform of its own, with machines and staff; nobody in it exists (division 99)."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from zlib import crc32

import httpx
from app_world import World, open_world
from message_world import HOSPITAL, OTHER_HOSPITAL
from starlette.applications import Starlette

from kangshu.app.messages.lane import MessageLane
from kangshu.app.messages.opening import open_lane
from kangshu.app.serving import build_app
from kangshu.audit import list_entries
from kangshu.audit.model import RecordedEntry
from kangshu.security.operations import create_account, create_client
from kangshu.security.principals import Reach, Role
from kangshu.standards import fhir

ORIGIN = "http://kangshu.test"
PASSWORD = "Riverbank-2026"
NUMBERS = "urn:kangshu:test:patient"


@dataclass(frozen=True)
class FhirWorld:
    """A platform whose doors answer, and the tokens of those who may ask."""

    world: World
    app: Starlette
    lane: MessageLane
    tokens: Mapping[str, str]

    def run(
        self, work: Callable[[httpx.AsyncClient], Awaitable[Any]], *, app: Starlette | None = None
    ) -> Any:
        """Run `async work(http)` with a client of the hospital's machine."""

        async def scenario() -> Any:
            async with self.client("hospital", app=app) as http:
                return await work(http)

        return self.world.run(scenario)

    def client(self, who: str, *, app: Starlette | None = None) -> httpx.AsyncClient:
        """Return a client that is signed in as `who`."""
        transport = httpx.ASGITransport(app=app or self.app, raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {self.tokens[who]}"} if who else {}
        return httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=headers)

    def ask(self, method: str, path: str, *, who: str = "hospital", **more: Any) -> httpx.Response:
        """Ask once and return the answer."""

        async def scenario() -> httpx.Response:
            async with self.client(who) as http:
                return await http.request(method, path, **more)

        return self.world.run(scenario)

    def create(self, resource: Mapping[str, Any], *, who: str = "hospital", **headers: str) -> httpx.Response:
        """Create a resource."""
        path = f"/fhir/{resource['resourceType']}"
        return self.ask("POST", path, who=who, content=fhir.dumps(resource), headers=headers)

    def put(self, resource: Mapping[str, Any], *, who: str = "hospital", **headers: str) -> httpx.Response:
        """Update a resource under its id."""
        path = f"/fhir/{resource['resourceType']}/{resource['id']}"
        return self.ask("PUT", path, who=who, content=fhir.dumps(resource), headers=headers)

    def get(self, path: str, *, who: str = "hospital", **headers: str) -> httpx.Response:
        """Read."""
        return self.ask("GET", path if path.startswith("http") else f"/fhir/{path}", who=who, headers=headers)

    def bundle(
        self, kind: str, *entries: Mapping[str, Any], who: str = "hospital", **more: str
    ) -> httpx.Response:
        """Send a transaction or a batch."""
        body: dict[str, Any] = {"resourceType": "Bundle", "type": kind}
        if entries:
            body["entry"] = list(entries)
        return self.ask("POST", "/fhir", who=who, content=fhir.dumps(body), headers=more)

    def entries(self, action: str, *, limit: int = 20) -> list[RecordedEntry]:
        """Return what the audit says of an action, the newest first."""

        async def scenario() -> list[RecordedEntry]:
            async with self.world.platform.database.connection() as connection:
                return await list_entries(connection, action=action, limit=limit)

        return self.world.run(scenario)


def patient(number: str, *, name: str = "", birth: str = "", **more: Any) -> dict[str, Any]:
    """Return a Patient with a number of the hospital, unlike those with other numbers."""
    told = {"resourceType": "Patient", "identifier": [{"system": NUMBERS, "value": number}], **unlike(number)}
    if name:
        told["name"] = [{"text": name}]
    if birth:
        told["birthDate"] = birth
    return {**told, **more}


def unlike(key: str) -> dict[str, Any]:
    """Return name, sex and birth of a human whom nothing makes alike to those of other keys."""
    number = crc32(key.encode())
    characters = "安柏朝德恩方谷海江康林明宁平青若山棠文星雁云泽竹"
    name = "".join(characters[(number >> shift) % len(characters)] for shift in (0, 8, 16))
    born = date(1940, 1, 1) + timedelta(days=number % 25_000)
    return {
        "name": [{"text": f"测{name}"}],
        "gender": ("male", "female")[number >> 20 & 1],
        "birthDate": born.isoformat(),
    }


def observation(subject: str, *, value: str = "6.30", number: str = "", **more: Any) -> dict[str, Any]:
    """Return a laboratory result."""
    from decimal import Decimal

    content: dict[str, Any] = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "14647-2"}]},
        "subject": {"reference": subject},
        "effectiveDateTime": "2026-03-01T08:30:00+08:00",
        "valueQuantity": {"value": Decimal(value), "unit": "mmol/L"},
    }
    if number:
        content["identifier"] = [{"system": "urn:kangshu:test:result", "value": number}]
    return content | more


def entry(method: str, url: str, resource: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Return an entry of a Bundle."""
    full_url = more.pop("full_url", None)
    made: dict[str, Any] = {"fullUrl": full_url} if full_url else {}
    if resource is not None:
        made["resource"] = resource
    return made | {"request": {"method": method, "url": url, **more}}


def address(answer: httpx.Response) -> str:
    """Return `Type/id` of what an answer says was written."""
    return answer.headers["location"].removeprefix(f"{ORIGIN}/fhir/").partition("/_history")[0]


def assert_outcome(answer: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """Return the first issue of an OperationOutcome."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/fhir+json")
    told = answer.json()
    assert told["resourceType"] == "OperationOutcome"
    assert fhir.is_acceptable(fhir.validate(told))
    issue = told["issue"][0]
    assert code is None or issue["code"] == code, issue
    return issue


@contextmanager
def open_fhir_world(server_url: str) -> Iterator[FhirWorld]:
    """Open a platform with an empty index, its doors, two machines of two hospitals and some staff."""
    with open_world(server_url) as world:
        tokens: dict[str, str] = {"": ""}
        machines = {
            "hospital": (HOSPITAL, ("messages.write", "records.read")),
            "other": (OTHER_HOSPITAL, ("messages.write", "records.read")),
            "sender": (HOSPITAL, ("messages.write",)),
            "reader": (HOSPITAL, ("records.read",)),
        }
        lane = open_lane(world.platform)
        app = build_app(world.platform, lane)
        made = FhirWorld(world=world, app=app, lane=lane, tokens=tokens)
        for who, (institution, scopes) in machines.items():
            tokens[who] = world.run(lambda i=institution, s=scopes: _machine(made, i, s))
        for who, (role, reach) in {
            "doctor": (Role.CLINICIAN, f"institution:{OTHER_HOSPITAL}"),
            "centre": (Role.CENTRE_STAFF, "region"),
        }.items():
            tokens[who] = world.run(lambda w=who, r=role, o=reach: _staff(made, w, r, o))
        yield made


async def _machine(made: FhirWorld, institution: str, scopes: tuple[str, ...]) -> str:
    platform = made.world.platform
    async with platform.database.transaction() as connection:
        client = await create_client(
            connection,
            institution=institution,
            scopes=scopes,
            now=platform.clock.now(),
            random=secrets.token_bytes,
        )
    async with made.client("") as http:
        answer = await http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=client)
    return answer.json()["access_token"]


async def _staff(made: FhirWorld, who: str, role: Role, reach: str) -> str:
    platform = made.world.platform
    async with platform.database.transaction() as connection:
        await create_account(
            connection,
            name=who,
            title="合成",
            password=PASSWORD,
            roles=[role],
            reaches=[Reach.parse(reach)],
            now=platform.clock.now(),
        )
    async with made.client("") as http:
        form = {"grant_type": "password", "username": who, "password": PASSWORD}
        answer = await http.post("/oauth/token", data=form)
    return answer.json()["access_token"]
