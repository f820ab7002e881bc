"""One request to the FHIR door, with what is needed to answer it: who asks, what for, and the body."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from kangshu.api.bodies import Bodies
from kangshu.api.errors import BodyRefusedError, BodyUnsupportedError, say
from kangshu.api.services import Services
from kangshu.api.tokens import TokenCache, authenticate_quickly
from kangshu.audit import AuditEntry, Outcome, record
from kangshu.security.errors import NotPermittedError
from kangshu.security.principals import Permission, Principal

BODY_MOST = 64 << 20  # a Bundle with a life in it
_MEDIA_TYPES = frozenset(
    {
        "",
        "application/fhir+json",
        "application/json",
        "text/json",
        "application/json+fhir",
        "application/fhir+xml",
        "application/xml",
        "text/xml",
        "application/xml+fhir",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What was asked: the address' type, id and version are empty where it has none."""

    request: Request
    services: Services
    tokens: TokenCache
    bodies: Bodies
    again: Callable[[Request], Awaitable[Response]]
    """Answers another request in this one's place."""
    request_id: str | None = None
    type: str = ""
    id: str = ""
    version: str = ""

    async def reader(self) -> Principal:
        """Return who asks, who may read records.

        Raises:
            TokenNeededError: nobody does.
            NotPermittedError: no role or scope includes it; that is on record.
        """
        return await self._somebody(Permission.READ_RECORDS, action="fhir.read")

    async def seeker(self) -> Principal:
        """Return who asks, who may read records or find persons; for what it raises see `reader`."""
        principal = await self.anybody()
        if not principal.may(Permission.FIND_PERSONS):
            return await self._permitted(principal, Permission.READ_RECORDS, action="person.query")
        return principal

    async def writer(self) -> Principal:
        """Return who asks, who may send messages; for what it raises see `reader`."""
        return await self._somebody(Permission.SUBMIT_MESSAGES, action="fhir.write")

    async def anybody(self) -> Principal:
        """Return who asks, whatever he may do.

        Raises:
            TokenNeededError: nobody does.
        """
        return await authenticate_quickly(self.request, services=self.services, tokens=self.tokens)

    async def _somebody(self, permission: Permission, *, action: str) -> Principal:
        return await self._permitted(await self.anybody(), permission, action=action)

    async def _permitted(self, principal: Principal, permission: Permission, *, action: str) -> Principal:
        try:
            principal.require(permission)
        except NotPermittedError:
            await self.note_refusal(principal, action=action)
            raise
        return principal

    async def note_refusal(self, principal: Principal, *, action: str) -> None:
        """Put on record that somebody asked for what his role or scope does not include."""
        entry = AuditEntry(
            at=self.services.clock.now(),
            actor=principal.id,
            actor_name=principal.name,
            action=action,
            resource=f"fhir/{self.type}" if self.type else "fhir",
            institution=min(principal.institutions, default=None),
            outcome=Outcome.REFUSED,
            detail={"refused_for": "permission"},
        )
        async with self.services.database.transaction() as connection:
            await record(connection, entries=[entry])

    @asynccontextmanager
    async def body(self, *, most: int | None = None) -> AsyncIterator[bytes]:
        """Give the body, which is FHIR in JSON or XML by what its head says.

        It may have `most` bytes, where that is not said those of a large Bundle.

        Raises:
            BodyUnsupportedError: it says to be something else.
            BodyRefusedError: it is empty.
            ApiError: it is too long or too slow, or there is no room for it now.
        """
        media_type = self.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type not in _MEDIA_TYPES:
            raise BodyUnsupportedError(say["fhir_content_type"], place="Content-Type")
        async with self.bodies.lend(self.request, most=BODY_MOST if most is None else most) as body:
            if not body:
                raise BodyRefusedError(say["body_empty"])
            yield body
