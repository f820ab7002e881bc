"""Codes of a long list and the editions in which such lists come; frozen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from kangshu.kernel.texts import Text


@dataclass(frozen=True, kw_only=True)
class CodeEntry:
    """One code of a list with its title."""

    code: str
    title: Text


@dataclass(frozen=True, kw_only=True)
class Edition:
    """One edition of a code system, in force from `valid_from` up to, not including, `valid_to`.

    An edition ends where the next one begins; the latest has no end.
    """

    system: str
    name: str
    valid_from: date
    valid_to: date | None
    codes: int
