"""Search, history and everything about a patient: pages of resources, each opened under its grant."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from urllib.parse import parse_qsl, urlencode

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from kangshu import identity, records
from kangshu.api.errors import BodyRefusedError, say
from kangshu.api.fhir.answers import base, resource_response
from kangshu.api.fhir.purposes import stated_purpose
from kangshu.api.services import Services
from kangshu.api.tokens import authenticate_quickly
from kangshu.consent import AccessGrant, ConsentError, ReadRequest, grant_reads
from kangshu.security.principals import Permission, Principal
from kangshu.standards import fhir
from kangshu.storage.database import Connection

_PAGE = "_page"
_FORM_MOST = 64 << 10
_SINCE, _START, _END, _TYPES, _COUNT = "_since", "start", "end", "_type", "_count"


async def search(request: Request) -> Response:
    """Answer a search with a Bundle; a parameter that is not known is refused, never ignored."""
    services, principal = await _reader(request)
    kind = _type(request)
    parameters = await _parameters(request)
    token = next((value for name, value in parameters if name == _PAGE), None)
    asked = [(name, value) for name, value in parameters if name != _PAGE]
    now = services.clock.now()
    async with services.database.connection() as connection:
        persons = await records.find_subject(connection, type=kind, parameters=asked)
        if persons is not None and not persons:
            # Whoever is named is not known here; that the search itself is right is looked at all the same.
            page = records.ResourcePage(resources=(), total=0, next=None)
            records.check_search(type=kind, parameters=asked)
            return _bundle(request, page, [], asked)
        meant = await _meant(connection, persons)
        grant = await _grant(request, services, connection, principal, meant) if meant else None
        if token is not None:
            page = await records.search_next(
                connection, token=token, principal=principal, grant=grant, now=now
            )
        else:
            page = await records.search(
                connection,
                type=kind,
                parameters=asked,
                principal=principal,
                persons=meant,
                grant=grant,
                now=now,
                institutions=None if principal.region_wide else sorted(principal.institutions),
            )
        contents = await _open(request, services, connection, principal, page.resources, grant, now)
    return _bundle(request, page, contents, asked)


async def everything(request: Request) -> Response:
    """Answer with everything about a patient, page by page."""
    services, principal = await _reader(request)
    parameters = await _parameters(request)
    given = dict(parameters)
    if unknown := sorted(given.keys() - {_PAGE, _SINCE, _START, _END, _TYPES, _COUNT, "_format"}):
        raise BodyRefusedError(say["fhir_parameter"], place=unknown[0][:40])
    asked = [(name, value) for name, value in parameters if name != _PAGE]
    now = services.clock.now()
    async with services.database.connection() as connection:
        (header,) = await records.read_headers(connection, requests=[("Patient", request.path_params["id"])])
        if header is None or header.person is None:
            raise HTTPException(404)
        meant = await _meant(connection, [header.person])
        assert meant, "a person means at least itself"
        grant = await _grant(request, services, connection, principal, meant)
        if _PAGE in given:
            page = await records.search_next(
                connection, token=given[_PAGE], principal=principal, grant=grant, now=now
            )
        else:
            page = await records.everything(
                connection,
                persons=meant,
                grant=grant,
                principal=principal,
                now=now,
                types=given[_TYPES].split(",") if given.get(_TYPES) else None,
                since=_moment(given.get(_SINCE)),
                start=_day(given.get(_START), _START),
                end=_day(given.get(_END), _END),
                count=_count(given.get(_COUNT)),
            )
        contents = await _open(request, services, connection, principal, page.resources, grant, now)
    return _bundle(request, page, contents, asked)


async def show_history(request: Request) -> Response:
    """Answer with the versions of a resource, the newest first."""
    services, principal = await _reader(request)
    now = services.clock.now()
    async with services.database.connection() as connection:
        try:
            page = await records.history(
                connection,
                type=_type(request),
                id=request.path_params["id"],
                before=_count(request.query_params.get(_PAGE), usual=0) or None,
                limit=_count(request.query_params.get(_COUNT)),
            )
        except records.ResourceUnknownError:
            raise HTTPException(404) from None
        there = [version for version in page.versions if not version.deleted]
        contents = dict(
            zip(
                [version.version for version in there],
                await _open(request, services, connection, principal, there, None, now),
                strict=True,
            )
        )
    entries = []
    for version in page.versions:
        content = contents.get(version.version)
        entries.append(
            b'{"fullUrl":"%b",%b"request":{"method":"%b","url":"%b"},"response":{"status":"%b","etag":%b,'
            b'"lastModified":"%b"}}'
            % (
                f"{base(request)}/{version.type}/{version.id}".encode(),
                b'"resource":%b,' % content if content else b"",
                b"DELETE" if version.deleted else b"PUT",
                f"{version.type}/{version.id}".encode(),
                b"204" if version.deleted else b"200",
                orjson.dumps(version.etag),
                version.updated_at.isoformat().encode(),
            )
        )
    following = [(_PAGE, str(page.next))] if page.next else []
    return _answer(request, "history", entries, total=None, following=following)


async def _reader(request: Request) -> tuple[Services, Principal]:
    principal = await authenticate_quickly(request)
    principal.require(Permission.READ_RECORDS)
    return request.app.state.services, principal


async def _meant(connection: Connection, persons: Sequence[int] | frozenset[int] | None) -> list[int] | None:
    """Return all numbers that mean the same human being.

    Raises:
        BodyRefusedError: the search names several people.
    """
    if persons is None:
        return None
    groups = await identity.persons_meaning(connection, persons=sorted(persons))
    if len({group[0] for group in groups.values()}) > 1:
        raise BodyRefusedError(say["fhir_several_patients"], place="patient")
    return list(next(iter(groups.values())))


async def _grant(
    request: Request, services: Services, connection: Connection, principal: Principal, meant: Sequence[int]
) -> AccessGrant:
    purpose, reason = stated_purpose(request)
    asked = ReadRequest(
        principal=principal,
        person=meant[0],
        purpose=purpose,
        reason=reason,
        known_institutions=await records.institutions_of(connection, persons=meant),
    )
    (grant,) = await grant_reads(
        connection, requests=[asked], now=services.clock.now(), whereabouts=services.whereabouts
    )
    if isinstance(grant, ConsentError):
        raise grant
    return grant


async def _open(
    request: Request,
    services: Services,
    connection: Connection,
    principal: Principal,
    resources: Sequence[records.SealedResource],
    grant: AccessGrant | None,
    now: datetime,
) -> list[bytes]:
    """Open what was found: under the one grant, or under one for each person where nobody was named."""
    grants: dict[int, AccessGrant] = {}
    if grant is None:
        purpose, reason = stated_purpose(request)
        persons = {one.person: one.institution for one in resources if one.person is not None}
        asked = [
            ReadRequest(
                principal=principal,
                person=person,
                purpose=purpose,
                reason=reason,
                known_institutions=frozenset({institution}),
            )
            for person, institution in persons.items()
        ]
        for one, found in zip(
            asked,
            await grant_reads(connection, requests=asked, now=now, whereabouts=services.whereabouts),
            strict=True,
        ):
            if isinstance(found, ConsentError):
                raise found
            grants[one.person] = found
    return [
        one.open(grant=grant if grant is not None else grants.get(one.person or 0), now=now)
        for one in resources
    ]


def _bundle(
    request: Request,
    page: records.ResourcePage,
    contents: Sequence[bytes],
    asked: Sequence[tuple[str, str]],
) -> Response:
    root = base(request).encode()
    entries = [
        b'{"fullUrl":"%b/%b/%b","resource":%b,"search":{"mode":"match"}}'
        % (root, one.type.encode(), one.id.encode(), content)
        for one, content in zip(page.resources, contents, strict=True)
    ]
    following = [*asked, (_PAGE, page.next)] if page.next else []
    return _answer(request, "searchset", entries, total=page.total, following=following)


def _answer(
    request: Request,
    kind: str,
    entries: Sequence[bytes],
    *,
    total: int | None,
    following: Sequence[tuple[str, str | None]],
) -> Response:
    address = f"{base(request)}{request.url.path.removeprefix(request.scope.get('root_path', ''))}"
    links = [{"relation": "self", "url": address}]
    if following:
        links.append({"relation": "next", "url": f"{address}?{urlencode(list(following))}"})
    head = {"resourceType": "Bundle", "type": kind, "link": links}
    if total is not None:
        head["total"] = total  # type: ignore[assignment]
    body = orjson.dumps(head)
    if entries:
        body = body[:-1] + b',"entry":[' + b",".join(entries) + b"]}"
    return resource_response(request, body)


async def _parameters(request: Request) -> list[tuple[str, str]]:
    found = list(request.query_params.multi_items())
    if request.method == "POST":
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _FORM_MOST:
                raise BodyRefusedError(say["parameters"])
        found += parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=100)
    return found


def _type(request: Request) -> str:
    kind = request.path_params["type"]
    if kind not in fhir.RESOURCE_TYPES:
        raise HTTPException(404)
    return kind


def _count(text: str | None, *, usual: int = 50) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 7 else usual


def _day(text: str | None, name: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BodyRefusedError(say["fhir_parameter"], place=name) from None


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BodyRefusedError(say["fhir_parameter"], place=_SINCE) from None
    if moment.tzinfo is None:
        raise BodyRefusedError(say["fhir_parameter"], place=_SINCE)
    return moment
