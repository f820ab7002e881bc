"""Between the shapes in which health data travel: HL7 v2, CDA, data-set rows, and FHIR in the middle.

Everything that arrives becomes FHIR R4 resources, each with an id that follows from what it is about, so
that a second message about the same visit is a new version of the same resource. The tables that say what
becomes what are declarations of the region pack. Pure: nothing here reads a clock or a database.
"""

from kangshu.mapping.authorities import Authorities, load_authorities
from kangshu.mapping.errors import MappingError
from kangshu.mapping.model import (
    Draft,
    IdentifierKind,
    MakeId,
    Mapped,
    Merge,
    Note,
    Subject,
    SubjectIdentifier,
)
from kangshu.mapping.subjects import mother_told_by, named_subject_of, patient_of, subject_of

__all__ = [
    "Authorities",
    "Draft",
    "IdentifierKind",
    "MakeId",
    "Mapped",
    "MappingError",
    "Merge",
    "Note",
    "Subject",
    "SubjectIdentifier",
    "load_authorities",
    "mother_told_by",
    "named_subject_of",
    "patient_of",
    "subject_of",
]
