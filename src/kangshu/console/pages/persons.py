"""Find a resident; nothing personal in an address.

A search travels to its result sealed in a cookie. What is found is masked; the record behind it opens for a
stated purpose only (`record`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from kangshu.console import formats
from kangshu.console.acts import SEARCH, note
from kangshu.console.openings import sex_title, today
from kangshu.console.pages.audit import parse_day
from kangshu.console.reach import choices
from kangshu.console.visits import Visit, page
from kangshu.identity import PersonSummary, SearchTooWideError, find_persons
from kangshu.security.principals import Permission

_SEARCH_COOKIE = "kangshu_search"
_SEARCH_MINUTES = 30
_FOUND_MOST = 20
_WORDS = ("number", "name", "birth_date", "institution", "local_number")
_CONDITIONS = ("number", "name", "birth_date", "local_number")
"""Those that the page names; an institution only says whose a local number is."""


@dataclass(frozen=True, kw_only=True)
class FoundRow:
    """One person found, masked."""

    id: int
    name: str
    sex: str
    birth: str
    age: str
    numbers: tuple[str, ...]


async def show_search(visit: Visit) -> Response:
    """Show the form and, if this session searched, what it found."""
    words = visit.pocket(_SEARCH_COOKIE) or {}
    found: list[PersonSummary] = []
    refusal = ""
    async with visit.services.database.connection() as connection:
        offered = await choices(visit, connection)
    if words:
        try:
            found = await _search(visit, words)
        except SearchTooWideError as error:
            refusal, words = visit.own(error.text), {}
    return visit.page(
        "persons.html",
        refusal=refusal,
        searched=[visit.say(f"persons.{name}") for name in _CONDITIONS if words.get(name)],
        found=[found_row(visit, person) for person in found[:_FOUND_MOST]],
        more=len(found) > _FOUND_MOST,
        most=_FOUND_MOST,
        institution_choices=offered.pairs,
        only_institution=offered.only[0] if offered.only else "",
    )


async def take_search(visit: Visit) -> Response:
    """Seal what is searched for into a cookie and lead to the result."""
    words = {name: visit.form.get(name, "").strip() for name in _WORDS}
    if not words["local_number"]:
        words["institution"] = ""  # an institution alone, offered by the form, is no condition
    response = visit.go("/console/persons")
    if words["number"] or words["name"] or (words["local_number"] and words["institution"]):
        visit.put_pocket(response, _SEARCH_COOKIE, words, minutes=_SEARCH_MINUTES, path="/console/persons")
        return response
    async with visit.services.database.connection() as connection:
        offered = await choices(visit, connection)
    return visit.page(
        "persons.html",
        status=422,
        refusal=visit.say("persons.too_little"),
        searched=[],
        found=[],
        more=False,
        most=_FOUND_MOST,
        institution_choices=offered.pairs,
        only_institution=offered.only[0] if offered.only else "",
    )


async def clear_search(visit: Visit) -> Response:
    """Forget what was searched for."""
    response = visit.go("/console/persons")
    response.delete_cookie(_SEARCH_COOKIE, path="/console/persons")
    return response


async def _search(visit: Visit, words: Mapping[str, Any]) -> list[PersonSummary]:
    """Return whom the words mean, and put on record that somebody searched, not for whom."""
    async with visit.services.database.transaction() as connection:
        found = await find_persons(
            connection,
            keys=visit.services.keys,
            name=words.get("name") or None,
            resident_number=words.get("number") or None,
            document_number=words.get("number") or None,
            local_number=words.get("local_number") or None,
            institution=words.get("institution") or None,
            birth_date=parse_day(words.get("birth_date") or ""),
            limit=_FOUND_MOST + 1,
        )
        conditions = [name for name in _WORDS if words.get(name)]
        await note(
            connection, visit, SEARCH, resource="persons", detail={"by": conditions, "found": len(found)}
        )
    return found


def found_row(visit: Visit, person: PersonSummary) -> FoundRow:
    """Return a person as a list shows one: masked."""
    return FoundRow(
        id=person.id,
        name=formats.mask_name(person.name),
        sex=sex_title(visit, person.sex),
        birth=formats.mask_birth(person.birth_date),
        age=formats.age(person.birth_date, today=today(visit), language=visit.language),
        numbers=(formats.mask_number(person.resident_number),) if person.resident_number else (),
    )


routes = [
    page("/persons", show_search, may=Permission.FIND_PERSONS),
    page("/persons", take_search, may=Permission.FIND_PERSONS, method="POST"),
    page("/persons/clear", clear_search, may=Permission.FIND_PERSONS, method="POST"),
]
