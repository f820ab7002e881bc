"""Fill the places of a declared SQL text: `{field}`, `{low}`, `{person.born}`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from kangshu.quality.checksets.model import ParameterKind

NAME = re.compile(r"^[a-z_][a-z0-9_]*$")
_PLACE = re.compile(r"\{([a-z_][a-z0-9_]*)(?:\.([a-z_][a-z0-9_]*))?\}")
_NUMBER = re.compile(r"^-?[0-9]{1,18}(\.[0-9]{1,9})?$")


def fill(text: str, *, place: Callable[[str, str | None], str]) -> str:
    """Return `text` with each place replaced by what `place(name, part)` says."""
    return _PLACE.sub(lambda found: place(found[1], found[2]), text)


def places_of(text: str) -> set[str]:
    """Return the names of the places in `text`, without their parts."""
    return {found[1] for found in _PLACE.finditer(text)}


def written(value: str, kind: ParameterKind) -> str | None:
    """Return a parameter as it stands in SQL, or None where it is not of its kind."""
    if kind in (ParameterKind.TABLE, ParameterKind.FIELD):
        return quoted(value) if NAME.match(value) else None
    if kind is ParameterKind.NUMBER:
        return value if _NUMBER.match(value) else None
    if kind is ParameterKind.NUMBERS:
        numbers = value.split()
        return ", ".join(numbers) if numbers and all(map(_NUMBER.match, numbers)) else None
    if kind is ParameterKind.TEXT:
        return literal(value)
    if kind is ParameterKind.FLAG:
        return "" if value == "yes" else None
    return value


def missing_parameters(row: Mapping[str, str], kinds: Mapping[str, ParameterKind]) -> bool:
    """Tell whether a row of a parameter file lacks something, so that the kind of check is not for it."""
    return any(not row.get(name, "") for name in kinds)


def quoted(name: str) -> str:
    """Return a name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"
