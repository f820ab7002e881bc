"""The errors that institutions make: which kinds there are, how often each institution makes them.

The one place for rates. `PROFILES` says how careless an institution is, `KINDS` what goes wrong and
what a platform should do about it, `FILE_KINDS` what goes wrong with whole files.

SimulationError
  SimulationRefusedError   correct the arguments
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kangshu.kernel.errors import KangshuError, Kind


class SimulationError(KangshuError):
    """The region could not be simulated."""


class SimulationRefusedError(SimulationError):
    """The arguments make no region; correct them."""

    kind = Kind.INCORRECT


class Outcome(StrEnum):
    """What a platform should do with a row that carries an error."""

    REJECTED = "rejected"
    WARNED = "warned"
    LINKED = "linked"  # accepted, and yet to be recognised as the right person's
    ACCEPTED = "accepted"  # nobody can tell from the file


@dataclass(frozen=True, kw_only=True)
class ErrorKind:
    """One kind of error: its share among all errors of rows, and what finds it.

    `found_by` is a check of every field (`required`, `domain`, `type`, `length`), or names what a
    declared rule must be about (see `injection.rule_for`); without such a rule the row passes.
    """

    name: str
    share: float
    found_by: str
    otherwise: Outcome = Outcome.ACCEPTED


KINDS = (
    ErrorKind(name="missing-required", share=16, found_by="required"),
    ErrorKind(name="wrong-code", share=13, found_by="domain"),
    ErrorKind(name="invalid-date", share=10, found_by="type"),
    ErrorKind(name="invalid-number", share=5, found_by="type"),
    ErrorKind(name="too-long", share=2, found_by="length"),
    ErrorKind(name="check-digit", share=10, found_by="check-digit"),
    ErrorKind(name="sex-contradiction", share=6, found_by="sex"),
    ErrorKind(name="birth-contradiction", share=4, found_by="birth"),
    ErrorKind(name="times-out-of-order", share=6, found_by="times"),
    ErrorKind(name="sum-wrong", share=5, found_by="sum"),
    ErrorKind(name="duplicate-row", share=6, found_by="unique"),
    ErrorKind(name="ragged-row", share=2, found_by="ragged"),
    ErrorKind(name="orphan", share=4, found_by="linkage"),
    ErrorKind(name="name-homophone", share=3, found_by="", otherwise=Outcome.LINKED),
    ErrorKind(name="name-variant", share=2, found_by="", otherwise=Outcome.LINKED),
    ErrorKind(name="name-spaced", share=2, found_by="", otherwise=Outcome.LINKED),
    ErrorKind(name="old-number", share=2, found_by="", otherwise=Outcome.LINKED),
    ErrorKind(name="missing-number", share=5, found_by="", otherwise=Outcome.LINKED),
    ErrorKind(name="other-number", share=1, found_by="birth", otherwise=Outcome.LINKED),
    ErrorKind(name="mother-number", share=2, found_by="birth", otherwise=Outcome.LINKED),
    ErrorKind(name="local-number-reused", share=1, found_by="", otherwise=Outcome.LINKED),
)

# What old systems do to every name of the sort; not counted in the rates below.
SYSTEMATIC = (
    ErrorKind(name="middle-dot", share=0, found_by="", otherwise=Outcome.LINKED),
    ErrorKind(name="rare-character-lost", share=0, found_by="", otherwise=Outcome.LINKED),
    ErrorKind(name="sex-as-text", share=0, found_by="domain"),
)

MIDDLE_DOTS = ("·", "•", "・", ".", "‧", "･")
"""Forms of the middle dot in names; an institution uses one of them throughout."""


class FileKind(StrEnum):
    """What goes wrong with a whole file; each is followed by a file that is right."""

    SENT_TWICE = "sent-twice"  # the same bytes under another name
    CORRECTED = "corrected"  # a first version with many wrong rows, then a corrected one
    CUT_OFF = "cut-off"  # ends in the middle of a row; sent again whole
    MIXED_ENCODING = "mixed-encoding"  # UTF-8 with a tail in GB18030; sent again whole


@dataclass(frozen=True, kw_only=True)
class Profile:
    """How careless an institution is: errors per row, and per file by kind."""

    name: str
    rows: float
    files: dict[FileKind, float]


def _profile(name: str, rows: float, files: float) -> Profile:
    shares = {
        FileKind.SENT_TWICE: 0.4,
        FileKind.CORRECTED: 0.4,
        FileKind.CUT_OFF: 0.1,
        FileKind.MIXED_ENCODING: 0.1,
    }
    return Profile(name=name, rows=rows, files={kind: files * share for kind, share in shares.items()})


PROFILES = {
    "good": _profile("good", 0.001, 0.008),
    "fair": _profile("fair", 0.006, 0.02),
    "poor": _profile("poor", 0.025, 0.05),
    "bad": _profile("bad", 0.06, 0.08),
}

PROFILE_ORDER = ("good", "good", "fair", "good", "poor", "good", "fair", "bad", "good", "fair")
"""Profiles of institutions in the order of the directory, over and over."""

CORRECTED_SHARE = 0.3
"""Share of rows that are wrong in the first version of a file that is later corrected."""

LEAST_ROWS = 30
"""A file with fewer rows is not made faulty as a whole."""
