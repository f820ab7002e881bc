"""Search, history and everything about a patient: pages of resources, each opened under its grant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import parse_qsl, urlencode

import orjson
from starlette.responses import Response

from kangshu import directory, identity, records
from kangshu.api.errors import BodyUnsupportedError, ParameterRefusedError, say
from kangshu.api.fhir.answers import base, outcome_response, resource_response
from kangshu.api.fhir.asking import Asked
from kangshu.api.fhir.purposes import stated_purpose
from kangshu.consent import (
    AccessGrant,
    ConsentError,
    ReadRequest,
    UnlinkedRead,
    allow_unlinked,
    grant_reads,
)
from kangshu.security.principals import Principal
from kangshu.standards import fhir
from kangshu.storage.database import Connection

_PAGE = "_page"
_FORM = "application/x-www-form-urlencoded"
_FORM_MOST = 64 << 10
_FIELDS_MOST = 100
_SINCE, _START, _END, _TYPES, _COUNT = "_since", "start", "end", "_type", "_count"
_SHOWING = ("_format", "_pretty")  # parameters that choose the form, not what is found
_COUNT_USUAL = 50


async def search(asked: Asked) -> Response:
    """Answer a search with a Bundle; a parameter that is not known is refused, never ignored."""
    principal = await asked.reader()
    parameters = await _parameters(asked)
    token = next((value for name, value in parameters if name == _PAGE), None)
    if token is not None:
        return await _following(asked, principal, parameters, token, what=f"{asked.type}?")
    finder = _Finder(asked, principal, what=f"{asked.type}?")
    async with asked.services.database.connection() as connection:
        persons = await records.find_subject(connection, type=asked.type, parameters=parameters)
        if persons is not None and not persons:
            # Whoever is named is not known here; that the search itself is right is looked at all the same.
            records.check_search(type=asked.type, parameters=parameters)
            return _page(asked, records.ResourcePage(resources=(), total=0, next=None), [], parameters)
        meant = None if persons is None else await _meaning(connection, sorted(persons))
        grant = await finder.grant(connection, meant) if meant else None
        page = await records.search(
            connection,
            type=asked.type,
            parameters=parameters,
            principal=principal,
            persons=meant,
            grant=grant,
            now=finder.now,
            institutions=None if meant else await _senders_in_reach(connection, asked.type, principal),
        )
        contents = await finder.open(connection, page.resources, grant)
    return _page(asked, page, contents, parameters)


async def everything(asked: Asked) -> Response:
    """Answer with everything about a patient, page by page."""
    principal = await asked.reader()
    parameters = await _parameters(asked)
    given = dict(parameters)
    if unknown := sorted(given.keys() - {_PAGE, _SINCE, _START, _END, _TYPES, _COUNT, *_SHOWING}):
        raise ParameterRefusedError(say["fhir_parameter"], place=_shown(unknown[0]))
    what = f"Patient/{asked.id}/$everything"
    if _PAGE in given:
        return await _following(asked, principal, parameters, given[_PAGE], what=what)
    first, last = _day(given, _START), _day(given, _END)
    finder = _Finder(asked, principal, what=what)
    async with asked.services.database.connection() as connection:
        (header,) = await records.read_headers(connection, requests=[("Patient", asked.id)])
        if header is None or header.person is None:
            return outcome_response(asked.request, status=404, code="not-found", text=say["fhir_no_resource"])
        if header.deleted:
            return outcome_response(asked.request, status=410, code="deleted", text=say["fhir_deleted"])
        meant = await _meaning(connection, [header.person])
        grant = await finder.grant(connection, meant)
        page = await records.everything(
            connection,
            persons=meant,
            grant=grant,
            principal=principal,
            now=finder.now,
            types=_types(given),
            since=_moment(given),
            start=first.start.date() if first else None,
            end=last.end.date() if last else None,
            count=_count(given.get(_COUNT)),
        )
        contents = await finder.open(connection, page.resources, grant)
    return _page(asked, page, contents, parameters)


async def show_history(asked: Asked) -> Response:
    """Answer with the versions of a resource, the newest first."""
    principal = await asked.reader()
    parameters = await _parameters(asked)
    given = dict(parameters)
    if unknown := sorted(given.keys() - {_PAGE, _COUNT, *_SHOWING}):
        raise ParameterRefusedError(say["fhir_parameter"], place=_shown(unknown[0]))
    finder = _Finder(asked, principal, what=f"{asked.type}/{asked.id}/_history")
    async with asked.services.database.connection() as connection:
        try:
            page = await records.history(
                connection,
                type=asked.type,
                id=asked.id,
                before=_count(given[_PAGE], _PAGE) if _PAGE in given else None,
                limit=_count(given.get(_COUNT)),
            )
        except records.ResourceUnknownError:
            return outcome_response(asked.request, status=404, code="not-found", text=say["fhir_no_resource"])
        there = [version for version in page.versions if not version.deleted]
        opened = await finder.open(connection, there, None)
    contents = {version.version: content for version, content in zip(there, opened, strict=True)}
    entries = [_past(asked, version, contents.get(version.version)) for version in page.versions]
    return _bundle(asked, "history", entries, total=None, given=parameters, following=page.next)


async def _following(
    asked: Asked, principal: Principal, parameters: Sequence[tuple[str, str]], token: str, *, what: str
) -> Response:
    """Answer with a further page: whom it is about is known by the page's name."""
    if unknown := [name for name, _ in parameters if name not in (_PAGE, *_SHOWING)]:
        raise ParameterRefusedError(say["fhir_parameter"], place=_shown(unknown[0]))
    finder = _Finder(asked, principal, what=what)
    async with asked.services.database.connection() as connection:
        persons = await records.find_search_subject(
            connection, token=token, principal=principal, now=finder.now
        )
        grant = await finder.grant(connection, persons) if persons else None
        page = await records.search_next(
            connection, token=token, principal=principal, grant=grant, now=finder.now
        )
        contents = await finder.open(connection, page.resources, grant)
    return _page(asked, page, contents, parameters)


class _Finder:
    """Somebody who reads, for a stated purpose, at one moment."""

    def __init__(self, asked: Asked, principal: Principal, *, what: str) -> None:
        self._services, self._principal, self._what = asked.services, principal, what
        self._purpose, self._reason = stated_purpose(asked.request)
        self.now = asked.services.clock.now()

    async def grant(self, connection: Connection, persons: Sequence[int]) -> AccessGrant:
        """Return the grant for a person, by all of the person's numbers.

        Raises:
            ConsentError: it is refused.
        """
        known = await records.institutions_of(connection, persons=persons)
        (grant,) = await self._grants(connection, {persons[0]: known})
        return grant

    async def open(
        self,
        connection: Connection,
        resources: Sequence[records.SealedResource],
        grant: AccessGrant | None,
    ) -> list[bytes]:
        """Open what was found: under the one grant, or under one for each person where nobody was named.

        Raises:
            ConsentError: one of them may not be read.
        """
        if grant is not None:
            return [one.open(grant=grant, now=self.now) for one in resources]
        await self._allow_unlinked(connection, resources)
        known = {one.person: frozenset({one.institution}) for one in resources if one.person is not None}
        grants = {one.person: one for one in await self._grants(connection, known)}
        return [one.open(grant=grants.get(one.person or 0), now=self.now) for one in resources]

    async def _grants(
        self, connection: Connection, persons: Mapping[int, frozenset[str]]
    ) -> list[AccessGrant]:
        requests = [
            ReadRequest(
                principal=self._principal,
                person=person,
                purpose=self._purpose,
                reason=self._reason,
                known_institutions=known,
                what=self._what,
            )
            for person, known in persons.items()
        ]
        found = await grant_reads(
            connection, requests=requests, now=self.now, whereabouts=self._services.whereabouts
        )
        return [_granted(one) for one in found]

    async def _allow_unlinked(
        self, connection: Connection, resources: Sequence[records.SealedResource]
    ) -> None:
        senders = {
            one.institution
            for one in resources
            if one.person is None and records.may_concern_persons(type=one.type)
        }
        requests = [
            UnlinkedRead(
                principal=self._principal,
                institution=sender,
                purpose=self._purpose,
                reason=self._reason,
                what=self._what,
            )
            for sender in sorted(senders)
        ]
        for refusal in await allow_unlinked(connection, requests=requests, now=self.now):
            if refusal is not None:
                raise refusal


def _granted(found: AccessGrant | ConsentError) -> AccessGrant:
    if isinstance(found, ConsentError):
        raise found
    return found


async def _meaning(connection: Connection, persons: Sequence[int]) -> list[int]:
    """Return all numbers that mean the same human being.

    Raises:
        ParameterRefusedError: these are several people.
    """
    groups = await identity.persons_meaning(connection, persons=persons)
    if len({group[0] for group in groups.values()}) > 1:
        raise ParameterRefusedError(say["fhir_several_patients"], place="patient")
    return list(next(iter(groups.values())))


async def _senders_in_reach(connection: Connection, kind: str, principal: Principal) -> Sequence[str] | None:
    """Return whose resources a search finds that names nobody: what concerns no person is everybody's."""
    if not records.may_concern_persons(type=kind):
        return None
    codes = await directory.institution_codes(connection, within=principal.reaches)
    # A machine may act before its institution is listed.
    return None if codes is None else sorted({*codes, *principal.institutions})


# Bundles


def _page(
    asked: Asked,
    page: records.ResourcePage,
    contents: Sequence[bytes],
    parameters: Sequence[tuple[str, str]],
) -> Response:
    root = base(asked.request).encode()
    entries = [
        b'{"fullUrl":"%b/%b/%b","resource":%b,"search":{"mode":"match"}}'
        % (root, one.type.encode(), one.id.encode(), content)
        for one, content in zip(page.resources, contents, strict=True)
    ]
    return _bundle(asked, "searchset", entries, total=page.total, given=parameters, following=page.next)


def _past(asked: Asked, version: records.SealedResource, content: bytes | None) -> bytes:
    address = f"{version.type}/{version.id}"
    entry: dict[str, object] = {
        "fullUrl": f"{base(asked.request)}/{address}",
        "request": {"method": "PUT" if content else "DELETE", "url": address},
        "response": {
            "status": "200" if content else "204",
            "etag": version.etag,
            "lastModified": version.updated_at.isoformat(timespec="milliseconds"),
        },
    }
    told = orjson.dumps(entry)
    return told[:-1] + b',"resource":' + content + b"}" if content else told


def _bundle(
    asked: Asked,
    kind: str,
    entries: Sequence[bytes],
    *,
    total: int | None,
    given: Sequence[tuple[str, str]],
    following: str | int | None,
) -> Response:
    """Return a Bundle; the link to the next page names the page alone, and nobody who is searched for."""
    request = asked.request
    path = request.scope["path"].removeprefix(request.scope.get("root_path", "")).removesuffix("/_search")
    address = f"{base(request)}{path}"
    links = [{"relation": "self", "url": _with(address, given)}]
    if following:
        kept = (*_SHOWING, _COUNT) if kind == "history" else _SHOWING
        further = [*((name, value) for name, value in given if name in kept), (_PAGE, str(following))]
        links.append({"relation": "next", "url": _with(address, further)})
    head: dict[str, object] = {"resourceType": "Bundle", "type": kind, "link": links}
    if total is not None:
        head["total"] = total
    body = orjson.dumps(head)
    if entries:
        body = body[:-1] + b',"entry":[' + b",".join(entries) + b"]}"
    return resource_response(request, body)


def _with(address: str, parameters: Sequence[tuple[str, str]]) -> str:
    return f"{address}?{urlencode(parameters)}" if parameters else address


# Parameters


async def _parameters(asked: Asked) -> list[tuple[str, str]]:
    """Return the parameters of address and form, in their order.

    Raises:
        ParameterRefusedError: there are too many, or one holds what no text holds.
        BodyUnsupportedError: the body is no form.
    """
    request = asked.request
    try:
        found = _fields(request.scope["query_string"])
        if request.method == "POST":
            media_type = request.headers.get("content-type", _FORM).partition(";")[0].strip().lower()
            if media_type != _FORM:
                raise BodyUnsupportedError(say["fhir_form"], place="Content-Type")
            async with asked.bodies.lend(request, most=_FORM_MOST) as body:
                found += _fields(body)
    except ValueError:
        raise ParameterRefusedError(say["parameters"]) from None
    if any(not value.isprintable() or not name.isprintable() for name, value in found):
        raise ParameterRefusedError(say["parameters"])
    return found


def _fields(encoded: bytes) -> list[tuple[str, str]]:
    return parse_qsl(encoded.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_FIELDS_MOST)


def _count(text: str | None, name: str = _COUNT) -> int:
    if text is None:
        return _COUNT_USUAL
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 7):
        raise ParameterRefusedError(say["fhir_parameter"], place=name)
    return int(text)


def _types(given: Mapping[str, str]) -> list[str] | None:
    if not given.get(_TYPES):
        return None
    kinds = given[_TYPES].split(",")
    if not fhir.RESOURCE_TYPES.issuperset(kinds):
        raise ParameterRefusedError(say["fhir_parameter"], place=_TYPES)
    return kinds


def _day(given: Mapping[str, str], name: str) -> fhir.Span | None:
    text = given.get(name)
    if text is None:
        return None
    span = fhir.span_of(text) if "T" not in text else None
    if span is None:
        raise ParameterRefusedError(say["fhir_parameter"], place=name)
    return span


def _moment(given: Mapping[str, str]) -> datetime | None:
    text = given.get(_SINCE)
    if text is None:
        return None
    span = fhir.span_of(text.replace(" ", "+"))
    if span is None:
        raise ParameterRefusedError(say["fhir_parameter"], place=_SINCE)
    return span.start


def _shown(name: str) -> str:
    """Return a parameter's name for a place, where it is one: a query may hold anything."""
    return name if name.isascii() and name.replace("_", "").isalnum() and len(name) <= 40 else "?"
