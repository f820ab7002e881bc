"""What can be wrong with a document as a whole; `place` is a line, or a path such as `ClinicalDocument/id`.

KangshuError
└── CdaError
    ├── NotXmlError            empty, cut off, not well-formed
    ├── CharsetError           the bytes are in no encoding that is read here
    ├── ForbiddenXmlError      a document type, and with it entities: never read, nothing is fetched
    ├── NotADocumentError      well-formed, but a part of a document, or something else
    ├── DocumentTooLargeError  over one of the `Limits`: bytes, elements, depth
    └── IncompleteHeaderError  without identifier, class, patient or body it cannot be filed

Neither texts nor places hold a value out of the document. The XML library's messages quote it; they are
dropped.
"""

from __future__ import annotations

from kangshu.kernel.errors import KangshuError, Kind
from kangshu.kernel.texts import load_catalogue

say = load_catalogue(__package__ or __name__)


class CdaError(KangshuError):
    """The root of this package's failures: the sender must correct the document."""

    kind = Kind.INCORRECT


class NotXmlError(CdaError):
    """The bytes are not well-formed XML."""


class CharsetError(CdaError):
    """The encoding is unknown, or the bytes are not in it."""


class ForbiddenXmlError(CdaError):
    """The XML declares a document type; CDA has none, and it is the door of entity attacks."""


class NotADocumentError(CdaError):
    """The root is not `ClinicalDocument` in the namespace `urn:hl7-org:v3`."""

    kind = Kind.UNSUPPORTED


class DocumentTooLargeError(CdaError):
    """The document goes beyond one of the `Limits`."""


class IncompleteHeaderError(CdaError):
    """Something is missing without which the document cannot be filed under a patient and a class."""
