"""The person index: who is meant by the names and numbers that institutions send.

Files are linked in sets by a `Linker`. A person is found again by resident number, passport or permit, or
the institution's own number, if name or birth date agree; who contradicts gets a person of his own and a
review entry. Names and numbers are stored sealed and found by keyed digests.
"""

from kangshu.identity.errors import (
    IdentityError,
    LinkingBusyError,
    PersonUnknownError,
    ReviewDecidedError,
    ReviewUnknownError,
    SearchTooWideError,
)
from kangshu.identity.linking import Linked, Linker
from kangshu.identity.model import (
    DayCount,
    Event,
    EventKind,
    Identifier,
    IdentifierKind,
    PersonSummary,
    Review,
    ReviewReason,
    ReviewState,
)
from kangshu.identity.operations import decide_review
from kangshu.identity.queries import (
    count_created,
    count_open_reviews,
    count_persons,
    find_persons,
    get_person,
    get_review,
    list_events,
    list_identifiers,
    list_persons,
    list_reviews,
)

__all__ = [
    "DayCount",
    "Event",
    "EventKind",
    "Identifier",
    "IdentifierKind",
    "IdentityError",
    "Linked",
    "Linker",
    "LinkingBusyError",
    "PersonSummary",
    "PersonUnknownError",
    "Review",
    "ReviewDecidedError",
    "ReviewReason",
    "ReviewState",
    "ReviewUnknownError",
    "SearchTooWideError",
    "count_created",
    "count_open_reviews",
    "count_persons",
    "decide_review",
    "find_persons",
    "get_person",
    "get_review",
    "list_events",
    "list_identifiers",
    "list_persons",
    "list_reviews",
]
