"""FHIR attributes as the v2-to-FHIR guide writes them, made into functions that set a value there.

birthDate                          set
name[]                             a new element for each value
dosageInstruction[1].text          the first element, made where it is missing, shared by all maps
participant[+].actor               a new element for each segment, shared by the rows of one map
extension(http://...).valueCode    a new extension with that url
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from kangshu.kernel.texts import Text
from kangshu.mapping.hl7v2.errors import say

Put: TypeAlias = Callable[[dict[str, Any], dict[str, Any], Any], None]
"""Sets a value in a resource; the second argument holds the elements that `[+]` made for this segment."""

_Enter: TypeAlias = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]

_STEP = re.compile(r"([#_]?[a-z][A-Za-z0-9]*)(?:\[(\+|\d?)\])?(?:\(([^()\s]+)\))?\Z")
_SPLIT = re.compile(r"\.(?![^(]*\))")


class PathError(ValueError):
    """An attribute that cannot be read; `text` says why."""

    def __init__(self, text: Text) -> None:
        super().__init__(text)
        self.text = text


@dataclass(frozen=True, slots=True)
class Step:
    """One element on the way: `index` is what stands in brackets, `url` an extension's."""

    name: str
    index: str | None
    url: str | None


def compile_path(text: str) -> tuple[Put, bool]:
    """Return the function that sets the attribute, and whether each repetition gets an element of its own.

    Raises:
        PathError: `text` is no attribute.
    """
    steps = steps_of(text)
    many = any(step.index == "" for step in steps)
    entries = [
        _enter(step, ".".join(_shown(one) for one in steps[: place + 1]))
        for place, step in enumerate(steps[:-1])
    ]
    return _put(entries, _last(steps[-1], text)), many


def steps_of(text: str) -> list[Step]:
    """Return the elements that the attribute names.

    Raises:
        PathError: `text` is no attribute.
    """
    return [_step(part, text) for part in _SPLIT.split(text.strip())]


def is_simple(text: str) -> bool:
    """Return whether the attribute is an element of the resource itself that does not repeat."""
    return text.isalnum()


def _step(part: str, text: str) -> Step:
    found = _STEP.match(part)
    if found is None or (found[3] and (found[1] not in ("extension", "modifierExtension") or found[2])):
        raise PathError(say("wrong_attribute", text=text))
    return Step(found[1], found[2], found[3])


def _shown(step: Step) -> str:
    return f"{step.name}({step.url})" if step.url else f"{step.name}[{step.index}]"


def _enter(step: Step, mark: str) -> _Enter:
    name = step.name
    if step.url:
        return _enter_extension(name, step.url, mark)
    if step.index is None:
        return lambda holder, _: holder.setdefault(name, {})
    if step.index == "+":
        return _enter_fresh(name, mark)
    if step.index == "":
        return lambda holder, _: _appended(holder, name)
    return _enter_nth(name, int(step.index))


def _appended(holder: dict[str, Any], name: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    holder.setdefault(name, []).append(made)
    return made


def _enter_extension(name: str, url: str, mark: str) -> _Enter:
    def enter(holder: dict[str, Any], fresh: dict[str, Any]) -> dict[str, Any]:
        made = fresh.get(mark)
        if made is None:
            made = fresh[mark] = {"url": url}
            holder.setdefault(name, []).append(made)
        return made

    return enter


def _enter_fresh(name: str, mark: str) -> _Enter:
    def enter(holder: dict[str, Any], fresh: dict[str, Any]) -> dict[str, Any]:
        made = fresh.get(mark)
        if made is None:
            made = fresh[mark] = _appended(holder, name)
        return made

    return enter


def _enter_nth(name: str, number: int) -> _Enter:
    def enter(holder: dict[str, Any], _: dict[str, Any]) -> dict[str, Any]:
        elements = holder.setdefault(name, [])
        return elements[number - 1] if len(elements) >= number else _appended(holder, name)

    return enter


def _last(step: Step, text: str) -> Callable[[dict[str, Any], Any], None]:
    name = step.name
    if step.url:
        raise PathError(say("wrong_attribute", text=text))
    if step.index is None:
        return lambda holder, value: holder.__setitem__(name, value)

    def append(holder: dict[str, Any], value: Any) -> None:
        elements = holder.setdefault(name, [])
        if isinstance(value, list):
            elements.extend(value)
        else:
            elements.append(value)

    return append


def _put(entries: list[_Enter], last: Callable[[dict[str, Any], Any], None]) -> Put:
    if not entries:
        return lambda resource, _, value: last(resource, value)
    if len(entries) == 1:
        enter = entries[0]
        return lambda resource, fresh, value: last(enter(resource, fresh), value)

    def put(resource: dict[str, Any], fresh: dict[str, Any], value: Any) -> None:
        for one in entries:
            resource = one(resource, fresh)
        last(resource, value)

    return put
