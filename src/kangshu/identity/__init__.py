"""The person index: who is meant by the names and numbers that institutions send.

Files are linked in sets by a `Linker`, subjects of messages by `link_claims`, by the same rules. A person is
found again by resident number, passport or permit, or the number of an institution or another authority, if
name or birth date agree; who contradicts gets a person of his own and a review entry. Names and numbers are
stored sealed and found by keyed digests. Merging moves nothing: `persons_meaning` tells which persons are
one human.
"""

from kangshu.identity.errors import (
    IdentityError,
    LinkingBusyError,
    MergeUndoneError,
    MergeUnknownError,
    PersonUnknownError,
    ReviewDecidedError,
    ReviewUnknownError,
    SearchTooWideError,
    SearchUnsupportedError,
)
from kangshu.identity.linking import Linked, Linker
from kangshu.identity.model import (
    Candidate,
    DayCount,
    Event,
    EventKind,
    FormerFacts,
    Identifier,
    IdentifierKind,
    Mother,
    PersonMerge,
    PersonSummary,
    Review,
    ReviewReason,
    ReviewState,
    ToldMother,
)
from kangshu.identity.online import link_claims
from kangshu.identity.operations import (
    decide_review,
    merge_persons,
    merge_reviewed,
    note_mothers,
    undo_merge,
)
from kangshu.identity.queries import (
    count_created,
    count_open_reviews,
    count_persons,
    find_persons,
    get_merge_of,
    get_person,
    get_review,
    list_events,
    list_identifiers,
    list_merges,
    list_persons,
    list_reviews,
    persons_meaning,
)
from kangshu.identity.searching import cross_references, known_issuers, search_demographics

__all__ = [
    "Candidate",
    "DayCount",
    "Event",
    "EventKind",
    "FormerFacts",
    "Identifier",
    "IdentifierKind",
    "IdentityError",
    "Linked",
    "Linker",
    "LinkingBusyError",
    "MergeUndoneError",
    "MergeUnknownError",
    "Mother",
    "PersonMerge",
    "PersonSummary",
    "PersonUnknownError",
    "Review",
    "ReviewDecidedError",
    "ReviewReason",
    "ReviewState",
    "ReviewUnknownError",
    "SearchTooWideError",
    "SearchUnsupportedError",
    "ToldMother",
    "count_created",
    "count_open_reviews",
    "count_persons",
    "cross_references",
    "decide_review",
    "find_persons",
    "get_merge_of",
    "get_person",
    "get_review",
    "known_issuers",
    "link_claims",
    "list_events",
    "list_identifiers",
    "list_merges",
    "list_persons",
    "list_reviews",
    "merge_persons",
    "merge_reviewed",
    "note_mothers",
    "persons_meaning",
    "search_demographics",
    "undo_merge",
]
