"""Paths into FHIR resources as declarations write them: `code.coding[system=$icd10].code`.

    path   = step { "." step }
    step   = name [ "[" [ filter { "," filter } ] "]" ]
    filter = path "=" value

`[]` says that the element is a list: reading tries its members in order, writing uses the first. With filters
only a member that holds these values counts, and writing makes one that does. `$name` at the start of a value
stands for a system of `fhir.toml`. `{institution}` and `{self}` in a value are filled in for each row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from kangshu.declarations.errors import say
from kangshu.kernel.texts import Text

_NAME = re.compile(r"^_?[a-z][A-Za-z0-9]*$")
_SYSTEM = re.compile(r"^\$([a-z][a-z0-9_]*)")
_PLACE = re.compile(r"\{([^{}]*)\}")
PLACES = ("institution", "self")
"""What a value may leave open until a row is at hand: the institution, the anchor's reference."""
_MOST_STEPS = 12


class PathError(ValueError):
    """A path that cannot be read; `text` says why."""

    def __init__(self, text: Text) -> None:
        super().__init__(text)
        self.text = text


@dataclass(frozen=True, slots=True)
class Filter:
    """A member counts where `path` in it holds `value`."""

    path: FhirPath
    value: str


@dataclass(frozen=True, slots=True)
class Step:
    """One element of a path; `many` where it is a list."""

    name: str
    many: bool = False
    where: tuple[Filter, ...] = ()


FhirPath: TypeAlias = tuple[Step, ...]


def parse_path(text: str, *, systems: Mapping[str, str]) -> FhirPath:
    """Return the steps that `text` names.

    Raises:
        PathError: it is no path, or names a system that is not among `systems`.
    """
    steps = tuple(_step(part, text, systems) for part in _split(text.strip(), ".", text))
    if len(steps) > _MOST_STEPS:
        raise PathError(say("wrong_path", path=text))
    return steps


def fill_system(value: str, *, systems: Mapping[str, str]) -> str:
    """Return `value` with a leading `$name` replaced by the system of that name.

    Raises:
        PathError: there is no such system, or the value leaves something unknown open.
    """
    if found := _SYSTEM.match(value):
        if found[1] not in systems:
            raise PathError(say("unknown_system", name=found[1], known=", ".join(systems)))
        value = systems[found[1]] + value[found.end() :]
    for place in _PLACE.findall(value):
        if place not in PLACES:
            raise PathError(say("unknown_place", name=place, known=", ".join(PLACES)))
    return value


def _step(text: str, whole: str, systems: Mapping[str, str]) -> Step:
    name, bracket, rest = text.partition("[")
    if not _NAME.match(name):
        raise PathError(say("wrong_path", path=whole))
    if not bracket:
        return Step(name)
    if not rest.endswith("]"):
        raise PathError(say("wrong_path", path=whole))
    inside = rest[:-1].strip()
    filters = _split(inside, ",", whole) if inside else []
    return Step(name, many=True, where=tuple(_filter(one, whole, systems) for one in filters))


def _filter(text: str, whole: str, systems: Mapping[str, str]) -> Filter:
    path, equals, value = text.partition("=")
    if not equals or not value.strip() or "[" in value:
        # A filter inside a filter's path would be split at its own sign; nothing needs one.
        raise PathError(say("wrong_path", path=whole))
    return Filter(parse_path(path, systems=systems), fill_system(value.strip(), systems=systems))


def _split(text: str, sign: str, whole: str) -> list[str]:
    """Split at `sign` where it stands outside brackets."""
    parts, depth, start = list[str](), 0, 0
    for place, letter in enumerate(text):
        depth += (letter == "[") - (letter == "]")
        if depth < 0:
            raise PathError(say("wrong_path", path=whole))
        if letter == sign and not depth:
            parts.append(text[start:place])
            start = place + 1
    if depth:
        raise PathError(say("wrong_path", path=whole))
    return [*parts, text[start:]]
