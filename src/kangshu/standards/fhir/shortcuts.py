"""The types that make up half of every resource, accepted at a glance in their usual form.

A shortcut may only accept what the whole check accepts; everything else goes to the whole check, which also
says what is wrong and where. That is why nothing is found here, and why a property test holds the two
together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kangshu.standards.fhir.findings import Check, Findings
from kangshu.standards.fhir.primitives import MAXIMUM_TEXT, check_string


def for_coding(check: Check) -> Check:
    """Accept `{system, code}` and `{system, code, display}`."""

    def check_coding(value: Any) -> Findings | None:
        if type(value) is dict:
            system, code = value.get("system"), value.get("code")
            if (
                type(system) is str
                and type(code) is str
                and system
                and code
                and system.isprintable()
                and code.isprintable()
                and " " not in system
                and " " not in code
                and system[:4] != "urn:"
            ):
                length = len(value)
                if length == 2 or (length == 3 and _is_plain(value.get("display"))):
                    return None
        return check(value)

    return check_coding


def for_concept(check: Check, *, check_coding: Callable[[Any], Findings | None]) -> Check:
    """Accept `{coding: [one]}` and `{coding: [one], text}`."""

    def check_concept(value: Any) -> Findings | None:
        if type(value) is dict:
            coding = value.get("coding")
            if type(coding) is list and len(coding) == 1 and check_coding(coding[0]) is None:
                length = len(value)
                if length == 1 or (length == 2 and check_string(value.get("text")) is None):
                    return None
        return check(value)

    return check_concept


def for_reference(check: Check) -> Check:
    """Accept `{reference}` and `{reference, display}`; where it leads is another matter."""

    def check_reference(value: Any) -> Findings | None:
        if type(value) is dict and _is_plain(value.get("reference")):
            length = len(value)
            if length == 1 or (length == 2 and _is_plain(value.get("display"))):
                return None
        return check(value)

    return check_reference


def _is_plain(text: Any) -> bool:
    return (
        type(text) is str
        and text != ""
        and text.isprintable()
        and "<" not in text
        and len(text) <= MAXIMUM_TEXT
    )
