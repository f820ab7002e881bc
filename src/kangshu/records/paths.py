"""Where in a resource the values of a search parameter lie, read from the FHIRPath that R4 gives for it.

Of FHIRPath only what the definitions of search parameters use is read: names, `as` and `where`. What uses
anything else has no places here, and a search by it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from kangshu.records.moments import Span, span_of, span_of_period, span_of_timing
from kangshu.standards.fhir import search_parameters

_PIECE = re.compile(
    r"^\(?(?P<path>[A-Za-z]+(?:\.[a-z][A-Za-z]*)+)"
    r"(?: as (?P<cast>[A-Za-z]+)\)|\.as\((?P<called>[A-Za-z]+)\)"
    r"|\.where\(resolve\(\) is (?P<target>[A-Za-z]+)\)"
    r"|\.where\((?P<name>[a-z]+) ?= ?'(?P<value>[^']*)'\))?\)?$"
)


class Place(NamedTuple):
    """One path of names; `cast` is the type of a choice, `where` a name and value that the last has."""

    names: tuple[str, ...]
    cast: str
    where: tuple[str, str] | None


@cache
def places_of(type_: str, parameter: str) -> tuple[Place, ...]:
    """Return where the parameter's values lie in resources of the type; nothing where that is not known."""
    definition = search_parameters(type=type_).get(parameter)
    if definition is None:
        return ()
    pieces = [piece.strip() for piece in definition.expression.split("|")]
    own = [piece for piece in pieces if re.match(rf"\(?(?:{type_}|Resource|DomainResource)\.", piece)]
    places = [_place(piece) for piece in own]
    return tuple(place for place in places if place) if all(places) else ()


def values_at(resource: Mapping[str, Any], places: tuple[Place, ...]) -> Iterator[Any]:
    """Yield the values at these places, lists one by one."""
    for place in places:
        found: list[Any] = [resource]
        last = len(place.names) - 1
        for number, name in enumerate(place.names):
            cast = place.cast if number == last else ""
            found = [value for one in found if isinstance(one, dict) for value in _step(one, name, cast)]
        if place.where:
            key, wanted = place.where
            found = [one for one in found if isinstance(one, dict) and one.get(key) == wanted]
        yield from found


def tokens_of(value: Any) -> Iterator[tuple[str | None, str]]:
    """Yield system and code of whatever a token parameter points at."""
    if isinstance(value, bool):
        yield None, "true" if value else "false"
    elif isinstance(value, str):
        yield None, value
    elif isinstance(value, dict):
        for coding in value.get("coding") or ():
            if isinstance(coding, dict):
                yield from _coded(coding.get("system"), coding.get("code"))
        yield from _coded(value.get("system"), value.get("code"))
        yield from _coded(value.get("system"), value.get("value"))


def _coded(system: Any, code: Any) -> Iterator[tuple[str | None, str]]:
    if isinstance(code, str):
        yield system if isinstance(system, str) else None, code


def reference_of(value: Any) -> tuple[str, str] | None:
    """Return type and id of what a reference leads to; a canonical or an absolute address by its end."""
    literal = value.get("reference") if isinstance(value, dict) else value
    if not isinstance(literal, str):
        return None
    kind, _, identity = literal.partition("/_history/")[0].rpartition("/")
    return kind.rpartition("/")[2], identity


def span_at(value: Any) -> Span | None:
    """Return what a date parameter's value covers."""
    if isinstance(value, str):
        return span_of(value)
    return span_of_period(value) or span_of_timing(value)


def texts_of(value: Any) -> Iterator[str]:
    """Yield every text of what a string parameter points at: a name or an address has several."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from texts_of(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts_of(one)


def _step(holder: Mapping[str, Any], name: str, cast: str) -> Iterator[Any]:
    if cast:
        yield from _each(holder.get(f"{name}{cast[0].upper()}{cast[1:]}"))
        if name not in holder:
            return
    if name in holder:
        yield from _each(holder[name])
        return
    start = len(name)
    for key, value in holder.items():
        if key.startswith(name) and key[start : start + 1].isupper():
            yield from _each(value)


def _each(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for one in value:
            yield from _each(one)
    elif value is not None:
        yield value


def _place(piece: str) -> Place | None:
    found = _PIECE.match(piece)
    if found is None:
        return None
    names = tuple(found["path"].split(".")[1:])
    where = (found["name"], found["value"]) if found["name"] else None
    return Place(names, found["cast"] or found["called"] or "", where)
