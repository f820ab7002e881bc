"""Reads of records: by id, by version, by what a search wants, and everything about a person."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from operator import itemgetter
from typing import Any

from kangshu.consent import AccessGrant
from kangshu.records.content import parse, parse_whole, unpack
from kangshu.records.errors import (
    DocumentUnknownError,
    ResourceUnknownError,
    SearchOverError,
    SearchRefusedError,
    SearchTooWideError,
    say,
)
from kangshu.records.model import (
    Criterion,
    HistoryPage,
    ResourceHeader,
    ResourcePage,
    SealedDocument,
    SealedResource,
    day_bounds,
    require,
)
from kangshu.records.paths import places_of, span_at, tokens_of, values_at
from kangshu.records.searching import (
    COUNT_MOST,
    COUNT_USUAL,
    Plan,
    Sort,
    compile_search,
    is_about_persons,
    read_scope,
)
from kangshu.records.store import (
    Wanted,
    find_document,
    find_search,
    list_all_of,
    list_by_identifiers,
    list_candidates,
    list_headers,
    list_history,
    list_institutions,
    list_resources,
    list_versions,
    save_search,
)
from kangshu.records.summary import identifier_digest
from kangshu.security.principals import Principal
from kangshu.storage.database import Connection, Record

MATCHES_MOST = 20_000
"""More matches than this a search may not have: contents are opened and put in order in memory."""
EVERYTHING_MOST = 200_000
HISTORY_MOST = 500
PAGES_GOOD_FOR = timedelta(minutes=30)

_TOKEN = re.compile(r"(\d{1,18})\.(\d{1,9})\.(\d{1,6})", re.ASCII)
_Found = tuple[str, str, int]  # type, id, version
_Candidate = tuple[Record, Mapping[str, Any]]  # its columns, its content


async def read_headers(
    connection: Connection, *, requests: Sequence[tuple[str, str]]
) -> list[ResourceHeader | None]:
    """Return what these resources (type, id) are known by, in their order; None where there is none.

    Deleted ones are there, and say so. Contents are not part of it, so no grant is needed.
    """
    rows = {(row["type"], row["id"]): row for row in await list_headers(connection, requests=requests)}
    return [ResourceHeader(**row) if (row := rows.get(request)) else None for request in requests]


async def read_many(
    connection: Connection, *, requests: Sequence[tuple[str, str]]
) -> list[SealedResource | None]:
    """Return the present versions of these resources (type, id), in their order; None where there is none.

    Deleted ones are there, and say so.
    """
    rows = await list_resources(connection, requests=requests)
    found = {(row["type"], row["id"]): _sealed(row) for row in rows}
    return [found.get(request) for request in requests]


async def read_context(
    connection: Connection, *, requests: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], dict[str, Any]]:
    """Return resources that a newly sent one refers to, for the platform's own use while it stores that one.

    No grant is asked for, as nobody gets to see them: a door that answers somebody uses `read_many`.
    """
    rows = await list_resources(connection, requests=requests)
    return {
        (row["type"], row["id"]): {
            **parse_whole(unpack(row["content"])),
            "resourceType": row["type"],
            "id": row["id"],
        }
        for row in rows
        if not row["deleted"]
    }


async def read_version(
    connection: Connection,
    *,
    type: str,  # noqa: A002 - FHIR's word
    id: str,  # noqa: A002 - FHIR's word
    version: int,
) -> SealedResource:
    """Return one version of a resource; a version may say that it was deleted.

    Raises:
        ResourceUnknownError: there is no such resource or version.
    """
    for row in await list_versions(connection, requests=[(type, id, version)]):
        return _sealed(row)
    raise ResourceUnknownError(say["resource_unknown"])


async def history(
    connection: Connection,
    *,
    type: str,  # noqa: A002 - FHIR's word
    id: str,  # noqa: A002 - FHIR's word
    before: int | None = None,
    limit: int = 50,
) -> HistoryPage:
    """Return versions of a resource, the newest first, at most `limit` (500); deletions are versions.

    `before` is the `next` of the page before.

    Raises:
        ResourceUnknownError: there never was such a resource.
    """
    limit = min(max(limit, 1), HISTORY_MOST)
    rows = await list_history(connection, type=type, id=id, before=before, limit=limit + 1)
    if not rows and before is None:
        raise ResourceUnknownError(say["resource_unknown"])
    versions = tuple(_sealed(row) for row in rows[:limit])
    return HistoryPage(versions=versions, next=versions[-1].version if len(rows) > limit else None)


async def find_by_identifiers(
    connection: Connection, *, criteria: Sequence[Criterion]
) -> list[tuple[str, ...]]:
    """Return for each criterion the ids of the resources that have all its identifiers, in order.

    A system of None means any, an empty one means an identifier without system. Deleted resources are left
    out. Only ids are told, so no grant is needed.
    """
    first = [identifier_digest(*identifiers[0]) for _, identifiers in criteria if identifiers]
    types = sorted({type_ for type_, _ in criteria})
    rows = await list_by_identifiers(connection, digests=first, types=types) if first else []
    held: dict[tuple[str, str], set[tuple[str | None, str]]] = {}
    for row in rows:
        held[(row["type"], row["id"])] = _identifiers_in(row)
    return [
        tuple(
            sorted(
                id_
                for (of, id_), have in held.items()
                if of == type_ and identifiers and all(_has(have, *one) for one in identifiers)
            )
        )
        for type_, identifiers in criteria
    ]


async def institutions_of(connection: Connection, *, persons: Sequence[int]) -> frozenset[str]:
    """Return the codes of the institutions that have stored anything about `persons`."""
    return frozenset(await list_institutions(connection, persons=persons))


async def read_document(
    connection: Connection,
    *,
    id: str,  # noqa: A002 - as for resources
    version: int | None = None,
) -> SealedDocument:
    """Return a document as it was sent, the latest under this id where no version is named.

    Raises:
        DocumentUnknownError: there is none.
    """
    row = await find_document(connection, id=id, version=version)
    if row is None:
        raise DocumentUnknownError(say["document_unknown"])
    fields = {name: value for name, value in row.items() if name != "content"}
    return SealedDocument(**fields, _content=row["content"])


async def find_subject(
    connection: Connection,
    *,
    type: str,  # noqa: A002 - FHIR's word
    parameters: Sequence[tuple[str, str]],
) -> frozenset[int] | None:
    """Return the persons whom a search names by Patient, number or visit; None where it names nobody.

    An empty set means that whoever is named is not known here: the search finds nothing. The caller finds
    out which numbers mean the same human being, gets a grant, and passes both to `search`.

    Raises:
        SearchRefusedError: more than one patient is named.
    """
    scope = read_scope(type=type, parameters=parameters)
    if scope.is_open:
        return None
    wanted = [
        (kind, id_) for kind, id_ in (("Patient", scope.patient), ("Encounter", scope.encounter)) if id_
    ]
    named: list[frozenset[int]] = []
    if scope.identifier:
        (ids,) = await find_by_identifiers(connection, criteria=[("Patient", (scope.identifier,))])
        headers = await read_headers(connection, requests=[("Patient", id_) for id_ in ids])
        named.append(_persons(headers))
    named += [_persons([header]) for header in await read_headers(connection, requests=wanted)]
    # Patient and visit may have come under two numbers of one person; who they mean is not known here.
    return frozenset[int]().union(*named) if all(named) else frozenset()


async def search(
    connection: Connection,
    *,
    type: str,  # noqa: A002 - FHIR's word
    parameters: Sequence[tuple[str, str]],
    principal: Principal,
    persons: Sequence[int] | None,
    grant: AccessGrant | None,
    now: datetime,
    institutions: Sequence[str] | None = None,
) -> ResourcePage:
    """Return the first page of what a FHIR search finds; `search_next` gives the others.

    `persons` are all numbers of the person whom the search names (`find_subject`), and `grant` is for one of
    them. Without a person, an identifier, an `_id` or a `_lastUpdated` must narrow the search (but for what
    is about nobody); each resource then opens with a grant for its own person, and `institutions` leaves
    only what these sent.

    What is found, and in which version, is settled now: writes between pages neither repeat nor lose an
    entry. Pages are kept for half an hour, for this principal.

    Raises:
        SearchRefusedError: a parameter is not known or not done here, cannot have its value, or nothing
            narrows the search.
        SearchTooWideError: there are more than 20,000 matches.
        GrantMissingError: a person is named and there is no grant.
        AccessRefusedError: the grant is for somebody else, or over.
    """
    plan = compile_search(type=type, parameters=parameters)
    if not plan.scope.is_open and persons is None:
        raise ValueError("the search names somebody: pass whom it means")
    if persons is not None:
        _require_one_of(grant, persons, now)
    elif plan.is_open and is_about_persons(type):
        raise SearchRefusedError(say["search_open"])
    rows = await list_candidates(
        connection,
        wanted=_wanted(plan, persons, institutions),
        with_content=plan.opens_contents,
        limit=MATCHES_MOST + 1,
    )
    if len(rows) > MATCHES_MOST:
        raise SearchTooWideError(say("search_too_wide", most=MATCHES_MOST))
    found = _choose(plan, rows)
    return await _first_page(
        connection,
        found,
        count=plan.count,
        total=len(found) if plan.total else None,
        persons=persons or (),
        principal=principal,
        now=now,
    )


async def search_next(
    connection: Connection, *, token: str, principal: Principal, grant: AccessGrant | None, now: datetime
) -> ResourcePage:
    """Return a further page of a search, or of everything about a person; `token` is the `next` before it.

    Raises:
        SearchOverError: it is no longer kept, or was somebody else's.
        GrantMissingError: it is about a person and there is no grant.
        AccessRefusedError: the grant is for somebody else, or over.
    """
    parts = _TOKEN.fullmatch(token)
    if not parts:
        raise SearchOverError(say["search_over"])
    number, offset, count = int(parts[1]), int(parts[2]), min(int(parts[3]), COUNT_MOST)
    row = await find_search(
        connection, search=number, principal=principal.id, now=now, offset=offset, limit=count
    )
    if row is None:
        raise SearchOverError(say["search_over"])
    if row["persons"]:
        _require_one_of(grant, row["persons"], now)
    page = list(zip(row["types"], row["ids"], row["versions"], strict=True))
    following = offset + count
    return ResourcePage(
        resources=await _open_page(connection, page, row["persons"]),
        total=row["total"],
        next=f"{number}.{following}.{count}" if count and following < row["size"] else None,
    )


async def find_search_subject(
    connection: Connection, *, token: str, principal: Principal, now: datetime
) -> tuple[int, ...]:
    """Return all numbers of the person whom a search is about, by the `next` of one of its pages.

    Nothing where it names nobody. `search_next` needs a grant for one of them.

    Raises:
        SearchOverError: it is no longer kept, or was somebody else's.
    """
    parts = _TOKEN.fullmatch(token)
    row = parts and await find_search(
        connection, search=int(parts[1]), principal=principal.id, now=now, offset=0, limit=0
    )
    if not row:
        raise SearchOverError(say["search_over"])
    return tuple(row["persons"])


async def everything(
    connection: Connection,
    *,
    persons: Sequence[int],
    grant: AccessGrant | None,
    principal: Principal,
    now: datetime,
    types: Sequence[str] | None = None,
    since: datetime | None = None,
    start: date | None = None,
    end: date | None = None,
    count: int = COUNT_USUAL,
) -> ResourcePage:
    """Return the first page of everything that is stored about a person; `search_next` gives the others.

    `persons` are all numbers of the person, `grant` is for one of them. `since` leaves what was stored
    before; of what has a time, `start` and `end` (exclusive) leave what lies outside. The Patients come
    first. What is found is settled now, as for `search`.

    Raises:
        SearchTooWideError: there are more than 200,000 resources.
        GrantMissingError: there is no grant.
        AccessRefusedError: the grant is for somebody else, or over.
    """
    _require_one_of(grant, persons, now)
    first, last = day_bounds(start, end)
    rows = await list_all_of(
        connection,
        persons=persons,
        types=types,
        since=since,
        starts_before=last,
        ends_after=first,
        limit=EVERYTHING_MOST + 1,
    )
    if len(rows) > EVERYTHING_MOST:
        raise SearchTooWideError(say("search_too_wide", most=EVERYTHING_MOST))
    found = [(row["type"], row["id"], row["version"]) for row in rows]
    return await _first_page(
        connection,
        found,
        count=min(max(count, 1), COUNT_MOST),
        total=len(found),
        persons=persons,
        principal=principal,
        now=now,
    )


def _sealed(row: Record, persons: Iterable[int] = ()) -> SealedResource:
    same = frozenset(persons)
    return SealedResource(
        type=row["type"],
        id=row["id"],
        version=row["version"],
        person=row["person"],
        institution=row["institution"],
        message=row["message"],
        deleted=row["deleted"],
        updated_at=row["updated_at"],
        same_person=same if row["person"] in same else frozenset(),
        _content=row["content"],
    )


def _persons(headers: Iterable[ResourceHeader | None]) -> frozenset[int]:
    return frozenset(header.person for header in headers if header and header.person is not None)


def _require_one_of(grant: AccessGrant | None, persons: Sequence[int], now: datetime) -> None:
    """Do nothing if the grant is for one of the numbers of a person; nobody needs none."""
    if persons:
        require(grant, person=persons[0], same_person=frozenset(persons), now=now)


def _identifiers_in(row: Record) -> set[tuple[str | None, str]]:
    resource = parse(unpack(row["content"]))
    found: set[tuple[str | None, str]] = set()
    for value in values_at(resource, places_of(row["type"], "identifier")):
        found.update(tokens_of(value))
    return found


def _has(held: set[tuple[str | None, str]], system: str | None, value: str) -> bool:
    if system is None:
        return any(code == value for _, code in held)
    return (system or None, value) in held


def _wanted(plan: Plan, persons: Sequence[int] | None, institutions: Sequence[str] | None) -> Wanted:
    return Wanted(
        type=plan.type,
        persons=persons,
        about_nobody=plan.is_open and persons is None,
        institutions=institutions,
        ids=None if plan.ids is None else sorted(plan.ids),
        digests=[[identifier_digest(*one) for one in group] for group in plan.identifiers],
        masks=plan.masks,
        starts_before=plan.starts_before,
        ends_after=plan.ends_after,
        updated_from=plan.updated_from,
        updated_before=plan.updated_before,
    )


def _choose(plan: Plan, rows: Sequence[Record]) -> list[_Found]:
    """Return what holds by its content, in the order that is wanted."""
    chosen: list[_Candidate] = []
    for row in rows:
        resource = parse(unpack(row["content"])) if plan.opens_contents else {}
        if all(test(resource) for test in plan.tests):
            chosen.append((row, resource))
    chosen.sort(key=lambda one: (one[0]["type"], one[0]["id"]))
    for sort in reversed(plan.sort or (Sort(by="at", descending=True),)):
        _put_in_order(chosen, sort)
    return [(row["type"], row["id"], row["version"]) for row, _ in chosen]


def _put_in_order(chosen: list[_Candidate], sort: Sort) -> None:
    """Sort in place, keeping the order of equals; what has no value comes last whatever the direction."""
    key = _sort_key(sort)
    known = [(value, one) for one in chosen if (value := key(one)) is not None]
    known.sort(key=itemgetter(0), reverse=sort.descending)
    unknown = [one for one in chosen if key(one) is None]
    chosen[:] = [one for _, one in known] + unknown


def _sort_key(sort: Sort) -> Callable[[_Candidate], Any]:
    column = {"_id": "id", "_lastUpdated": "updated_at", "at": "at"}.get(sort.by)
    if column:
        return lambda one: one[0][column]

    def told(one: _Candidate) -> Any:
        starts = [span.start for value in values_at(one[1], sort.places) if (span := span_at(value))]
        if not starts:
            return None
        return max(starts) if sort.descending else min(starts)

    return told


async def _first_page(
    connection: Connection,
    found: Sequence[_Found],
    *,
    count: int,
    total: int | None,
    persons: Sequence[int],
    principal: Principal,
    now: datetime,
) -> ResourcePage:
    token = None
    if count and len(found) > count:
        number = await save_search(
            connection,
            found=found,
            persons=persons,
            principal=principal.id,
            total=total,
            now=now,
            good_for=PAGES_GOOD_FOR,
        )
        token = f"{number}.{count}.{count}"
    resources = await _open_page(connection, found[:count], persons)
    return ResourcePage(resources=resources, total=total, next=token)


async def _open_page(
    connection: Connection, page: Sequence[_Found], persons: Sequence[int]
) -> tuple[SealedResource, ...]:
    """Return these versions in their order. None is ever lost: what changed meanwhile is in the history."""
    if not page:
        return ()
    rows = await list_versions(connection, requests=page)
    found = {(row["type"], row["id"], row["version"]): _sealed(row, persons) for row in rows}
    return tuple(found[one] for one in page)
