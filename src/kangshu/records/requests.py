"""What a FHIR door is asked to write, and what it answers: the values that doors and lane exchange."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from kangshu.consent import Purpose
from kangshu.security.principals import Principal


@dataclass(frozen=True, kw_only=True, slots=True)
class FhirRequest:
    """One writing request. `method` is create, update, delete, or bundle (a transaction).

    `request_id` is the client's own name of the request (`X-Request-Id`): sent again under it, the request
    is carried out once. `if_none_exist` is the query of a conditional create, `if_match` the version that
    the client has seen. `resource` is the body where the door has read it already. `base` is the door's
    address as the client writes it: references that begin with it lead here.
    """

    method: str
    body: bytes = field(repr=False)
    type: str | None = None
    id: str | None = None
    content_type: str | None = None
    if_match: int | None = None
    if_none_exist: str | None = None
    request_id: str | None = None
    resource: dict[str, Any] | None = field(default=None, repr=False)
    base: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FhirAnswer:
    """The status, the resource or OperationOutcome as JSON (or nothing), and which version it is.

    Where a conditional create found the resource, `body` is empty and type, id and version name it.
    `media_type` is told where the body is a document as it was sent.
    """

    status: int
    body: bytes = field(repr=False)
    type: str | None = None
    id: str | None = None
    version: int | None = None
    updated_at: datetime | None = None
    media_type: str | None = None


class WriteFhir(Protocol):
    """Carries a writing request out, durably, before it answers."""

    async def __call__(self, request: FhirRequest, *, principal: Principal) -> FhirAnswer:
        """Return the answer; a refusal is an answer too.

        Raises:
            DatabaseUnavailableError: it was not carried out, or nobody knows.
            StorageFullError: it was not carried out.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class FhirLook:
    """One reading request: the present version of a resource, or an earlier one.

    A `Binary` is a document as it was sent, or else the resource of this id.
    """

    type: str
    id: str
    version: int | None = None


class ReadFhir(Protocol):
    """Reads one resource for somebody, authorised and on record before it answers."""

    async def __call__(
        self, look: FhirLook, *, principal: Principal, purpose: Purpose, reason: str = ""
    ) -> FhirAnswer:
        """Return status 200 with the resource, 404 where there is none, 410 where it was deleted.

        Raises:
            ConsentError: the principal may not read it.
            DatabaseUnavailableError: nothing can be read, or not be put on record.
        """
        ...
