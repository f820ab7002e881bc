"""Code systems and vocabulary maps: what a code that a sender writes is in FHIR."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kangshu.mapping.hl7v2.model import Code, Settings, VocabularyMap

_HL7_TABLE = re.compile(r"HL7-?(\d{4})\Z")
_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+\Z")
_URI = re.compile(r"(https?://|urn:[a-z0-9-]{2,31}:)[!-~]+\Z", re.IGNORECASE)
_NOT_IN_URI = re.compile(r"[\s\"<>\\^`{|}]+")
_NO_NAMES = frozenset({"", "L", "LOCAL", "LOCALCODE"})


class Systems:
    """Turns the names of code systems (HL7 table 0396 and what senders write in its place) into URIs."""

    def __init__(self, *, settings: Settings, known: Mapping[str, str]) -> None:
        self._known = known
        self._local = settings.local_codes
        self._named = settings.named_codes

    def uri(self, name: str, *, sender: str) -> str:
        """Return the URI of the code system `name`; a code without a system is the sender's own."""
        upper = name.upper()
        if known := self._known.get(upper):
            return known
        if upper in _NO_NAMES:
            return self._local.replace("{sender}", sender)
        if table := _HL7_TABLE.match(upper):
            return f"http://terminology.hl7.org/CodeSystem/v2-{table[1]}"
        if _OID.match(name):
            return f"urn:oid:{name}"
        if _URI.match(name):
            return name
        return self._named.replace("{sender}", sender).replace("{name}", plain(name))


def plain(text: str) -> str:
    """Return `text` fit to be part of a URI."""
    return _NOT_IN_URI.sub("-", text)


def is_oid(text: str) -> bool:
    """Return whether `text` is an object identifier."""
    return _OID.match(text) is not None


def is_uri(text: str) -> bool:
    """Return whether `text` is an absolute URI."""
    return _URI.match(text) is not None


def look_up(vocabulary: VocabularyMap, *texts: str) -> Code | None:
    """Return the entry for the first of `texts` that has one; case does not matter."""
    for text in texts:
        if text and (found := vocabulary.codes.get(text.upper())):
            return found
    return None


def coding(code: Code) -> dict[str, Any]:
    """Return a code as a FHIR Coding."""
    made: dict[str, Any] = {}
    if code.system:
        made["system"] = code.system
    made["code"] = code.code
    if code.display:
        made["display"] = code.display
    return made
