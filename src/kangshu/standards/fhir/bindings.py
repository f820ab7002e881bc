"""Required bindings: codes that must be from a list, as a code, a Coding or a CodeableConcept."""

from __future__ import annotations

import re
from typing import Any

from kangshu.standards.fhir import primitives
from kangshu.standards.fhir.definitions import definitions
from kangshu.standards.fhir.findings import Check, Finding, Findings

# R4 itself writes `xml` and `json` where it asks for a MIME type.
_mime_type = re.compile(r"[A-Za-z0-9!#$&^_.+\-]+(?:/[A-Za-z0-9!#$&^_.+\-]+(?:\s*;[^\x00-\x1f]*)?)?").fullmatch
# The lists that are too long to be written down, by their form; the rest of `definitions().open` is not
# checked.
_FORMS = {"mimetypes": _mime_type, "currencies": re.compile(r"[A-Z]{3}").fullmatch}


def bound(check: Check, *, kind: str, name: str) -> Check:
    """Return `check` of a value of type `kind` with a required binding to the value set `name`."""
    if (form := _FORMS.get(name)) is not None:
        return _code_of_form(check, form, name)
    listed = definitions().codes.get(name)
    if listed is None:
        return check
    pairs = frozenset((system, code) for system, codes in listed.items() for code in codes)
    if kind == "CodeableConcept":
        return _concept_from(check, pairs, name)
    if kind == "Coding":
        return _coding_from(check, pairs, name)
    return (
        _code_from(check, frozenset(code for _, code in pairs), name) if kind in primitives.CHECKS else check
    )


def _not_in(name: str) -> Finding:
    return Finding("not_in_codes", "code-invalid", set=name)


def _code_of_form(check: Check, matches: Any, name: str) -> Check:
    def check_form(value: Any) -> Findings | None:
        if type(value) is str and matches(value):
            return None
        return check(value) or [_not_in(name)]

    return check_form


def _code_from(check: Check, codes: frozenset[str], name: str) -> Check:
    def check_code(value: Any) -> Findings | None:
        if type(value) is str and value in codes:
            return None
        return check(value) or [_not_in(name)]

    return check_code


def _coding_from(check: Check, pairs: frozenset[tuple[str, str]], name: str) -> Check:
    def check_coding(value: Any) -> Findings | None:
        found = check(value)
        if found is None and (value.get("system"), value.get("code")) not in pairs:
            return [_not_in(name)]
        return found

    return check_coding


def _concept_from(check: Check, pairs: frozenset[tuple[str, str]], name: str) -> Check:
    """A concept in words only has no code of the list either."""

    def check_concept(value: Any) -> Findings | None:
        found = check(value)
        if found is not None:
            return found
        for coding in value.get("coding", ()):
            if (coding.get("system"), coding.get("code")) in pairs:
                return None
        return [_not_in(name)]

    return check_concept
