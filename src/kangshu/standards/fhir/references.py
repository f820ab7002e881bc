"""The references in a resource: where each is, so that it can be read or rewritten in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# The other elements that are called `reference` hold addresses of papers and of expressions.
_NO_REFERENCE = ("language", "documentType", "publicationDate", "resourceType")


def references(resource: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each literal reference as its holder and the key in it; assigning to it rewrites it in place.

    Those in extensions, in contained resources and in the entries of a Bundle are among them, so are local
    ones (`#x`). Canonical addresses, the addresses of attachments and links in narratives are none. The order
    is that of levels, outer ones first.

    >>> visit = {"resourceType": "Encounter", "subject": {"reference": "urn:uuid:1"}}
    >>> for holder, key in references(visit):
    ...     holder[key] = "Patient/1"
    >>> visit["subject"]["reference"]
    'Patient/1'
    """
    level: list[Any] = [resource]
    while level:
        below: list[Any] = []
        for one in level:
            if type(one) is dict:
                if "reference" in one and type(one["reference"]) is str and _is_reference(one):
                    yield one, "reference"
                below.extend(one.values())
            elif type(one) is list:
                below.extend(one)
        level = below


def _is_reference(holder: Mapping[str, Any]) -> bool:
    return len(holder) == 1 or not any(key in holder for key in _NO_REFERENCE)
