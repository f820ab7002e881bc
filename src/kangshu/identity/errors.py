"""What can go wrong with persons.

KangshuError
  IdentityError
    PersonUnknownError    not found    no person has this id
    ReviewUnknownError    not found    no review entry has this id
    ReviewDecidedError    conflict     somebody decided the entry before: look at it again
    SearchTooWideError    incorrect    give a number or a name to search by
    SearchUnsupportedError  unsupported  the index does not find by this: ask in another way
    KeptApartError        conflict     a human said that they are two persons: only a human merges them
    SplitUnknownError     not found    no split has this id
    SplitUndoneError      conflict     the split has been undone: look at it again
    SplitFollowedError    conflict     take back first what followed from the split
    SplitRefusedError     incorrect    name identifiers of the person, and not all of them
    OpinionGivenError     conflict     a second opinion is somebody else's
    SampleUnknownError    not found    no link with this number was drawn
    MergeUnknownError     not found    no merge has this id, or nobody absorbed this person
    MergeUndoneError      conflict     the merge has been undone: look at it again
    AccountUnknownError   not found    no account has this number
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


class AccountUnknownError(IdentityError):
    """Name an account that exists."""

    kind: ClassVar[Kind] = Kind.NOT_FOUND


class LinkingBusyError(IdentityError):
    """Link the file again later: other arrivals changed the same persons each time."""

    kind: ClassVar[Kind] = Kind.BUSY


class KeptApartError(IdentityError):
    """Let a human merge these persons: a human said that they are two."""

    kind: ClassVar[Kind] = Kind.CONFLICT


class SplitUnknownError(IdentityError):
    """Name a split that exists."""

    kind: ClassVar[Kind] = Kind.NOT_FOUND


class SplitUndoneError(IdentityError):
    """Look at the split again: it has been undone."""

    kind: ClassVar[Kind] = Kind.CONFLICT


class SplitFollowedError(IdentityError):
    """Undo first the merges of the person that the split created."""

    kind: ClassVar[Kind] = Kind.CONFLICT


class SplitRefusedError(IdentityError):
    """Name identifiers that the person holds itself, at least one and not all of them."""

    kind: ClassVar[Kind] = Kind.INCORRECT


class OpinionGivenError(IdentityError):
    """Let somebody else say it: who gave one opinion gives no second."""

    kind: ClassVar[Kind] = Kind.CONFLICT


class SampleUnknownError(IdentityError):
    """Name a link that was drawn."""

    kind: ClassVar[Kind] = Kind.NOT_FOUND
