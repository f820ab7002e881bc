"""Declared paths as closures: read the first value or all values at a path, write one, find references.

Resources come from outside. A node of another shape than the path expects reads as nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from kangshu.declarations import FhirPath, Filter, Step

Leaf: TypeAlias = "Callable[[Any, Context], Any]"
"""Makes a field's value of what stands at the end of a path; None where it is none."""
Reader: TypeAlias = "Callable[[Any, Context], Any]"
Writer: TypeAlias = "Callable[[dict[str, Any], Any, Context], None]"
Values: TypeAlias = "Callable[[Any, Context], Iterable[Any]]"
_Fill: TypeAlias = "Callable[[Context], str]"
_Match: TypeAlias = "Callable[[dict[str, Any], Context], bool]"

# No element of a resource is looked at further than this; more members do occur only in hostile input.
_MOST_MEMBERS = 2000


class Context:
    """What is known while one row is made: whose it is, which resource is the anchor, what did not fit."""

    __slots__ = ("indexes", "institution", "misfits", "reference", "told")

    def __init__(self, institution: str) -> None:
        self.institution = institution
        self.reference = ""
        self.misfits: dict[str, None] = {}
        self.told: dict[int, dict[Any, Any]] = {}
        """What Patients tell of who they are, by their identity as objects."""
        self.indexes: dict[tuple[int, int], dict[Any, list[Any]]] = {}
        """Members of lists by the anchor that they name, where a filter asks for it."""


def compile_reader(path: FhirPath, leaf: Leaf) -> Reader:
    """Return a closure that gives the first value at `path` of which `leaf` makes something."""
    if not path:
        return leaf
    rest = compile_rest(path, leaf)
    name = path[0].name

    def read(node: Any, context: Context) -> Any:
        if isinstance(node, dict):
            child = node.get(name)
            if child is not None:
                return rest(child, context)
        return None

    return read


def compile_rest(path: FhirPath, leaf: Leaf) -> Reader:
    """Return a closure that reads on from the child that the first step of `path` names."""
    step, rest = path[0], path[1:]
    if not step.many:
        return compile_reader(rest, leaf)
    plain = _plain_filter(step)
    if plain and len(rest) == 1 and not rest[0].many:
        return _read_members_name(plain, rest[0].name, leaf)
    reader = compile_reader(rest, leaf)
    own = next((one for one in step.where if one.value == "{self}"), None)
    return _read_indexed(step, own, reader) if own else _read_members(step, reader)


def _plain_filter(step: Step) -> tuple[str, str] | None:
    """Return element and value of a filter that asks for one text; no element where there is no filter."""
    if not step.where:
        return "", ""
    one = step.where[0]
    is_plain = len(step.where) == 1 and len(one.path) == 1 and not one.path[0].many
    return (one.path[0].name, one.value) if is_plain and not leaves_open(one.value) else None


def _read_members_name(wanted: tuple[str, str], name: str, leaf: Leaf) -> Reader:
    """Read `coding[system=x].code`, the most frequent of all, in one closure."""
    element, value = wanted

    def read(members: Any, context: Context) -> Any:
        if not isinstance(members, list):
            return None
        for member in members[:_MOST_MEMBERS]:
            if isinstance(member, dict) and (not element or member.get(element) == value):
                child = member.get(name)
                if child is not None:
                    found = leaf(child, context)
                    if found is not None:
                        return found
        return None

    return read


def _read_members(step: Step, rest: Reader) -> Reader:
    matches = _matcher(step.where)

    def read(members: Any, context: Context) -> Any:
        if not isinstance(members, list):
            return None
        for member in members[:_MOST_MEMBERS]:
            if matches is None or (isinstance(member, dict) and matches(member, context)):
                found = rest(member, context)
                if found is not None:
                    return found
        return None

    return read


def _read_indexed(step: Step, own: Filter, rest: Reader) -> Reader:
    """Read from the members that name the anchor; a list is not gone through for each anchor anew."""
    values = compile_values(own.path)
    matches = _matcher(tuple(one for one in step.where if one is not own))
    number = id(values)

    def read(members: Any, context: Context) -> Any:
        if not isinstance(members, list):
            return None
        key = (number, id(members))
        index = context.indexes.get(key)
        if index is None:
            index = context.indexes[key] = {}
            for member in members[:_MOST_MEMBERS]:
                for value in values(member, context):
                    if isinstance(value, str):
                        index.setdefault(value, []).append(member)
        for member in index.get(context.reference, ()):
            if matches is None or matches(member, context):
                found = rest(member, context)
                if found is not None:
                    return found
        return None

    return read


def compile_values(path: FhirPath) -> Values:
    """Return a closure that gives every value at `path`."""
    if not path:
        return _itself
    step, rest = path[0], compile_values(path[1:])
    matches = _matcher(step.where)

    def values(node: Any, context: Context) -> Iterator[Any]:
        child: Any = node.get(step.name) if isinstance(node, dict) else None
        if child is None:
            return
        members: list[Any] = child[:_MOST_MEMBERS] if isinstance(child, list) else [child]
        for member in members:
            if matches is None or (isinstance(member, dict) and matches(member, context)):
                yield from rest(member, context)

    return values


def _itself(node: Any, context: Context) -> Iterator[Any]:
    del context
    yield node


def compile_writer(path: FhirPath, *, fresh: bool = False) -> Writer:
    """Return a closure that puts a value at `path`, making what is not there yet.

    With `fresh` the first list on the way gets a new member, also where one would fit.
    """
    step, rest = path[0], path[1:]
    if step.many:
        return _write_many(step, rest, fresh=fresh)
    if not rest:
        return _write_last(step.name)
    return _write_one(step.name, compile_writer(rest, fresh=fresh))


def _write_last(name: str) -> Writer:
    def write(node: dict[str, Any], value: Any, context: Context) -> None:
        del context
        node[name] = value

    return write


def _write_one(name: str, rest: Writer) -> Writer:
    def write(node: dict[str, Any], value: Any, context: Context) -> None:
        child = node.get(name)
        if child is None:
            child = node[name] = {}
        rest(child, value, context)

    return write


def _write_many(step: Step, path: FhirPath, *, fresh: bool) -> Writer:
    name = step.name
    matches = _matcher(step.where)
    parts = [(compile_writer(one.path), compile_filler(one.value)) for one in step.where]
    rest = compile_writer(path) if path else None

    def write(node: dict[str, Any], value: Any, context: Context) -> None:
        members = node.get(name)
        if members is None:
            members = node[name] = []
        if rest is None:
            members.append(value)
            return
        if not fresh:
            for member in members:
                if matches is None or matches(member, context):
                    rest(member, value, context)
                    return
        made: dict[str, Any] = {}
        members.append(made)
        for put, fill in parts:
            put(made, fill(context), context)
        rest(made, value, context)

    return write


def _matcher(filters: tuple[Filter, ...]) -> _Match | None:
    """Return whether a member holds what all `filters` ask for; None where they ask for nothing."""
    if not filters:
        return None
    if len(filters) == 1:
        return _match_one(filters[0])
    matches = [_match_one(one) for one in filters]

    def match(member: dict[str, Any], context: Context) -> bool:
        return all(one(member, context) for one in matches)

    return match


def _match_one(wanted: Filter) -> _Match:
    if len(wanted.path) == 1 and not wanted.path[0].many and not leaves_open(wanted.value):
        return _match_plain(wanted.path[0].name, wanted.value)
    fill = compile_filler(wanted.value)

    def is_wanted(value: Any, context: Context) -> Any:
        return True if value == fill(context) or str(value) == fill(context) else None

    find = compile_reader(wanted.path, is_wanted)
    return lambda member, context: find(member, context) is not None


def _match_plain(name: str, value: str) -> _Match:
    def match(member: dict[str, Any], context: Context) -> bool:
        del context
        found = member.get(name)
        return found == value or (found.__class__ is int and str(found) == value)

    return match


def leaves_open(value: str) -> bool:
    """Tell whether a value has places that are filled in for each row."""
    return "{institution}" in value or "{self}" in value


def depends_on_anchor(path: FhirPath) -> bool:
    """Tell whether what is found at `path` depends on which resource is the anchor."""
    return any("{self}" in one.value or depends_on_anchor(one.path) for step in path for one in step.where)


def compile_filler(value: str) -> _Fill:
    """Return what fills in the open places of a value."""
    if not leaves_open(value):
        return lambda context: value
    head, found, tail = value.partition("{institution}")
    if found and not leaves_open(head + tail):
        return lambda context: head + context.institution + tail
    return lambda context: value.replace("{institution}", context.institution).replace(
        "{self}", context.reference
    )
