"""FHIR R4 (4.0.1): bytes to plain values and back, what is wrong with them, where their references are.

    resource = fhir.read(body)                  # JSON or XML; FhirError says where it cannot be read
    issues = fhir.validate(resource)            # Issue(severity, code, expression, text); empty: good
    fhir.outcome(issues, language="zh")         # OperationOutcome

Resources are plain dicts, as JSON has them, with `Decimal` for decimals.
"""

from kangshu.standards.fhir.bundles import Entry, bundle_type, entries
from kangshu.standards.fhir.dates import Precision, Span, span_of
from kangshu.standards.fhir.definitions import (
    RESOURCE_TYPES,
    SearchParameter,
    patient_parameters,
    search_parameters,
)
from kangshu.standards.fhir.errors import (
    DuplicateKeyError,
    EntityError,
    FhirError,
    NotAResourceError,
    NotJsonError,
    NotXmlError,
    TooMuchError,
)
from kangshu.standards.fhir.json_form import dumps, loads, split_ndjson
from kangshu.standards.fhir.model import Issue, Piece, Severity
from kangshu.standards.fhir.reading import looks_like, read
from kangshu.standards.fhir.references import references
from kangshu.standards.fhir.validation import is_acceptable, outcome, validate
from kangshu.standards.fhir.xml_form import from_xml, to_xml

__all__ = [
    "RESOURCE_TYPES",
    "DuplicateKeyError",
    "EntityError",
    "Entry",
    "FhirError",
    "Issue",
    "NotAResourceError",
    "NotJsonError",
    "NotXmlError",
    "Piece",
    "Precision",
    "SearchParameter",
    "Severity",
    "Span",
    "TooMuchError",
    "bundle_type",
    "dumps",
    "entries",
    "from_xml",
    "is_acceptable",
    "loads",
    "looks_like",
    "outcome",
    "patient_parameters",
    "read",
    "references",
    "search_parameters",
    "span_of",
    "split_ndjson",
    "to_xml",
    "validate",
]
