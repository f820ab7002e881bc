"""What a check finds: issues with a severity, FHIR's code for them, the place, and a sentence; frozen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kangshu.kernel.texts import Text


class Severity(StrEnum):
    """FHIR's issue-severity. Only errors (and fatal ones) make a resource unacceptable."""

    FATAL = "fatal"
    ERROR = "error"
    WARNING = "warning"
    INFORMATION = "information"


@dataclass(frozen=True, kw_only=True, slots=True)
class Issue:
    """One finding. `code` is of FHIR's issue-type; `expression` is the element (`Patient.birthDate`)."""

    severity: Severity
    code: str
    expression: str
    text: Text

    @property
    def is_error(self) -> bool:
        """Whether the resource must be refused for this."""
        return self.severity in (Severity.ERROR, Severity.FATAL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """One resource of a file with many. `number` counts from 1, `place` names the line."""

    number: int
    data: bytes
    place: str
