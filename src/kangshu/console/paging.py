"""Pages of a list: by number where the list is at hand, by key where the database holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import urlencode

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class NumberedPage(Generic[_T]):
    """One page: its items, which of all they are, and the way to its neighbours."""

    items: Sequence[_T]
    first: int
    last: int
    total: int
    newer: str | None
    older: str | None


def numbered_page(
    items: Sequence[_T], *, path: str, query: Mapping[str, str], asked: str | None, size: int
) -> NumberedPage[_T]:
    """Return the page of `items` that `asked` (a number from 1) names; a wrong number is the first page."""
    count = max(1, -(-len(items) // size))
    number = int(asked) if asked and asked.isascii() and asked.isdigit() and len(asked) < 9 else 1
    number = min(max(1, number), count)
    start = (number - 1) * size
    part = items[start : start + size]
    return NumberedPage(
        items=part,
        first=start + 1 if part else 0,
        last=start + len(part),
        total=len(items),
        newer=address(path, query) if number > 1 else None,
        older=address(path, {**query, "page": str(number + 1)}) if number < count else None,
    )


def address(path: str, query: Mapping[str, str | None]) -> str:
    """Return `path` with those words of `query` that say something."""
    kept = {name: value for name, value in query.items() if value}
    return f"{path}?{urlencode(kept)}" if kept else path


def address_of_pairs(path: str, pairs: Sequence[tuple[str, str]]) -> str:
    """Return `path` with these words, of which some may come several times."""
    return f"{path}?{urlencode(pairs)}" if pairs else path
