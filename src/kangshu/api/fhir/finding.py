"""Search, history and everything about a patient: pages of resources, each opened under its grant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import urlencode

import orjson
from starlette.responses import Response

from kangshu import directory, identity, records
from kangshu.api.errors import ParameterRefusedError, say
from kangshu.api.fhir.answers import base, outcome_response, resource_response
from kangshu.api.fhir.asking import Asked
from kangshu.api.fhir.demographics import is_by_number, is_for_index, search_index
from kangshu.api.fhir.granting import Finder
from kangshu.api.fhir.parameters import SHOWING, read_parameters, shown_name
from kangshu.api.fhir.persons import person_of
from kangshu.security.principals import Permission, Principal
from kangshu.standards import fhir
from kangshu.storage.database import Connection

_PAGE = "_page"
_SINCE, _START, _END, _TYPES, _COUNT = "_since", "start", "end", "_type", "_count"
_COUNT_USUAL = 50


async def search(asked: Asked) -> Response:
    """Answer a search with a Bundle; a parameter that is not known is refused, never ignored.

    Patients by demographics are the index's to find, and by a number where nobody within reach sent one.
    """
    principal = await (asked.seeker() if asked.type == "Patient" else asked.reader())
    parameters = await read_parameters(asked)
    by_number = asked.type == "Patient" and is_by_number(parameters)
    reads = principal.may(Permission.READ_RECORDS)
    if asked.type == "Patient" and (is_for_index(parameters) or (by_number and not reads)):
        return await search_index(asked, principal, parameters)
    principal = await asked.reader()
    token = next((value for name, value in parameters if name == _PAGE), None)
    if token is not None:
        return await _following(asked, principal, parameters, token, what=f"{asked.type}?")
    finder = Finder(asked, principal, what=f"{asked.type}?")
    async with asked.services.database.connection() as connection:
        persons = await _named(connection, asked.type, parameters)
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
    if by_number and not contents:  # nobody within reach sent a Patient; a file may have told of the person
        return await search_index(asked, principal, parameters)
    return _page(asked, page, contents, parameters)


async def everything(asked: Asked) -> Response:
    """Answer with everything about a patient, page by page."""
    principal = await asked.reader()
    parameters = await read_parameters(asked)
    given = dict(parameters)
    if unknown := sorted(given.keys() - {_PAGE, _SINCE, _START, _END, _TYPES, _COUNT, *SHOWING}):
        raise ParameterRefusedError(say["fhir_parameter"], place=shown_name(unknown[0]))
    what = f"Patient/{asked.id}/$everything"
    if _PAGE in given:
        return await _following(asked, principal, parameters, given[_PAGE], what=what)
    first, last = _day(given, _START), _day(given, _END)
    finder = Finder(asked, principal, what=what)
    async with asked.services.database.connection() as connection:
        person = person_of(asked.id)
        if person is None:
            (header,) = await records.read_headers(connection, requests=[("Patient", asked.id)])
            if header is not None and header.deleted:
                return outcome_response(asked.request, status=410, code="deleted", text=say["fhir_deleted"])
            person = header.person if header is not None else None
        elif not await identity.list_persons(connection, keys=asked.services.keys, persons=[person]):
            person = None
        if person is None:
            return outcome_response(asked.request, status=404, code="not-found", text=say["fhir_no_resource"])
        meant = await _meaning(connection, [person])
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
    parameters = await read_parameters(asked)
    given = dict(parameters)
    if unknown := sorted(given.keys() - {_PAGE, _COUNT, *SHOWING}):
        raise ParameterRefusedError(say["fhir_parameter"], place=shown_name(unknown[0]))
    finder = Finder(asked, principal, what=f"{asked.type}/{asked.id}/_history")
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
    if unknown := [name for name, _ in parameters if name not in (_PAGE, *SHOWING)]:
        raise ParameterRefusedError(say["fhir_parameter"], place=shown_name(unknown[0]))
    finder = Finder(asked, principal, what=what)
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


async def _named(
    connection: Connection, kind: str, parameters: Sequence[tuple[str, str]]
) -> frozenset[int] | None:
    """Return the persons whom a search names, also by a Patient of the index; None where it names nobody."""
    persons = await records.find_subject(connection, type=kind, parameters=parameters)
    if persons is None or persons:
        return persons
    told = (
        person_of(value.rpartition("/")[2])
        for name, value in parameters
        if name.partition(":")[0] in ("patient", "subject")
    )
    return frozenset(person for person in told if person is not None)


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
        kept = (*SHOWING, _COUNT) if kind == "history" else SHOWING
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
