"""One message on its way out: when it is said, about whom, and what should become of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Fate(StrEnum):
    """What a platform should do with a message."""

    ACCEPTED = "accepted"
    REPEAT = "repeat"  # acknowledged again, stored once
    REFUSED = "refused"
    CONFLICT = "conflict"  # the control id of an accepted message with other content


class Slip(StrEnum):
    """What is out of the ordinary about a message; most are faults that senders make."""

    SENT_TWICE = "sent-twice"
    CONTROL_ID_REUSED = "control-id-reused"
    NUMBER_MISSING = "patient-number-missing"
    DATE_WRONG = "birth-date-wrong"
    CODE_WRONG = "code-wrong"
    ELEMENT_UNKNOWN = "element-unknown"
    CUT_OFF = "cut-off"
    CHARSET_UNDECLARED = "charset-undeclared"
    CORRECTION = "correction"
    VISIT_CANCELLED = "visit-cancelled"
    DISCHARGE_CANCELLED = "discharge-cancelled"
    VACCINATION_WITHDRAWN = "vaccination-withdrawn"
    EXPLICIT_NULL = "explicit-null"
    REGISTERED_TWICE = "registered-twice"
    MERGE = "merge"


@dataclass(frozen=True, kw_only=True)
class Said:
    """A message before it has its control id.

    `at` is local time in seconds since 1970; `channel` names the sending program and so the file.
    `make` writes the message under a control id; `control_id` is given where the content decides it (the
    number of a document). `name` is the name of a file of its own, without it the channel's file of the day
    takes it.
    """

    at: int
    channel: str
    type: str
    person: int
    make: Callable[[str], str]
    control_id: str = ""
    name: str = ""
    slip: str = ""
    fate: Fate = Fate.ACCEPTED
