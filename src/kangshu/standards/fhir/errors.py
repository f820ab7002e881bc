"""What cannot be read as FHIR at all; `place` is a line and column, or an element's path.

KangshuError
└── FhirError
    ├── NotJsonError          JSON that RFC 8259 does not allow
    │   └── DuplicateKeyError one property twice in one object
    ├── NotXmlError           XML that is not well formed, or not FHIR's form of it
    │   └── EntityError       a DOCTYPE: entities are neither read nor followed
    ├── NotAResourceError     well formed, but no FHIR resource
    └── TooMuchError          over a limit: bytes, depth, elements

A resource that can be read but breaks FHIR's rules is no exception: see `validation.validate`.
"""

from __future__ import annotations

from typing import ClassVar

from kangshu.kernel.errors import KangshuError, Kind
from kangshu.kernel.texts import load_catalogue

say = load_catalogue(__package__ or __name__)


class FhirError(KangshuError):
    """The sender must correct the content; no part of it is in the text."""

    kind: ClassVar[Kind] = Kind.INCORRECT


class NotJsonError(FhirError):
    """The content is no JSON."""


class DuplicateKeyError(NotJsonError):
    """One object has one property twice: it is not clear which counts."""


class NotXmlError(FhirError):
    """The content is no XML, or not FHIR's."""


class EntityError(NotXmlError):
    """A document type declaration, which FHIR forbids: it may name files and build bombs."""


class NotAResourceError(FhirError):
    """There is no `resourceType`, or no root element of FHIR's namespace."""


class TooMuchError(FhirError):
    """The content goes beyond a limit."""
