"""What can go wrong with records.

RecordsError
  GrantMissingError         forbidden    the resource is about a person: ask consent for a grant
  VersionConflictError      conflict     the stored version is not the expected one; nothing is stored
  ResourceUnknownError      not-found    nothing has this type and id, or not this version
  ResourceDeletedError      not-found    it was deleted; its earlier versions can be read
  DocumentUnknownError      not-found    no document has this id
  SearchRefusedError        incorrect    a search parameter that is not known here, or a value it cannot have
  SearchTooWideError        incorrect    more matches than a search may have: narrow it
  SearchOverError           not-found    the following pages are kept for a while only: search again
  ContentDamagedError       fault        what is stored cannot be read back
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from kangshu.kernel.errors import KangshuError, Kind
from kangshu.kernel.texts import Text, load_catalogue

say = load_catalogue(__package__ or __name__)


class RecordsError(KangshuError):
    """Anything this package refuses."""


class GrantMissingError(RecordsError):
    """Ask `consent` for a grant: what is about a person opens with one only."""

    kind: ClassVar[Kind] = Kind.FORBIDDEN


class VersionConflictError(RecordsError):
    """Look at the present version first. Nothing of the refused call was stored.

    `conflicts` are the places of the refused writes in the call.
    """

    kind: ClassVar[Kind] = Kind.CONFLICT

    def __init__(self, text: Text, *, place: str | None = None, conflicts: Sequence[int] = ()) -> None:
        super().__init__(text, place=place)
        self.conflicts = tuple(conflicts)


class ResourceUnknownError(RecordsError):
    """Name a resource and a version that exist."""

    kind: ClassVar[Kind] = Kind.NOT_FOUND


class ResourceDeletedError(RecordsError):
    """It was there and is no more; name one of its earlier versions."""

    kind: ClassVar[Kind] = Kind.NOT_FOUND


class DocumentUnknownError(RecordsError):
    """Name a document that exists."""

    kind: ClassVar[Kind] = Kind.NOT_FOUND


class SearchRefusedError(RecordsError):
    """Correct the search; `place` names the parameter."""

    kind: ClassVar[Kind] = Kind.INCORRECT


class SearchTooWideError(RecordsError):
    """Narrow the search, by a date or a code."""

    kind: ClassVar[Kind] = Kind.INCORRECT


class SearchOverError(RecordsError):
    """Search again: the pages of a search are kept for a while only."""

    kind: ClassVar[Kind] = Kind.NOT_FOUND


class ContentDamagedError(RecordsError):
    """Restore the database from a backup: stored content cannot be read back."""
