"""What can go wrong with persons.

KangshuError
  IdentityError
    PersonUnknownError    not found    no person has this id
    ReviewUnknownError    not found    no review entry has this id
    ReviewDecidedError    conflict     somebody decided the entry before: look at it again
    SearchTooWideError    incorrect    give a number or a name to search by
    SearchUnsupportedError  unsupported  the index does not find by this: ask in another way
    MergeUnknownError     not found    no merge has this id, or nobody absorbed this person
    MergeUndoneError      conflict     the merge has been undone: look at it again
    LinkingBusyError      busy         others kept changing the same persons: try again later
"""

from __future__ import annotations

from typing import ClassVar

from kangshu.kernel.errors import KangshuError, Kind


class IdentityError(KangshuError):
    """The root of this package's failures."""


class PersonUnknownError(IdentityError):
    """Name a person that exists."""

    kind: ClassVar[Kind] = Kind.NOT_FOUND


class ReviewUnknownError(IdentityError):
    """Name a review entry that exists."""

    kind: ClassVar[Kind] = Kind.NOT_FOUND


class ReviewDecidedError(IdentityError):
    """Look at the entry again: it has been decided."""

    kind: ClassVar[Kind] = Kind.CONFLICT


class SearchTooWideError(IdentityError):
    """Give something to search by that few people share."""

    kind: ClassVar[Kind] = Kind.INCORRECT


class SearchUnsupportedError(IdentityError):
    """Give whole values, and something the index keeps."""

    kind: ClassVar[Kind] = Kind.UNSUPPORTED


class MergeUnknownError(IdentityError):
    """Name a merge that exists, or a person that was merged into another."""

    kind: ClassVar[Kind] = Kind.NOT_FOUND


class MergeUndoneError(IdentityError):
    """Look at the merge again: it has been undone."""

    kind: ClassVar[Kind] = Kind.CONFLICT


class LinkingBusyError(IdentityError):
    """Link the file again later: other arrivals changed the same persons each time."""

    kind: ClassVar[Kind] = Kind.BUSY
