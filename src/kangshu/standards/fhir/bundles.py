"""Bundles: what is in them, and what R4 says of their entries beyond its invariants."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kangshu.standards.fhir.definitions import RESOURCE_TYPES
from kangshu.standards.fhir.findings import Finding, Findings
from kangshu.standards.fhir.model import Severity

# Entries of these kinds may do without a fullUrl.
_REQUESTS = frozenset({"batch", "transaction"})
_RESPONSES = frozenset({"batch-response", "transaction-response"})
_SINGLE_LINKS = frozenset({"self", "first", "last", "next", "previous"})
_has_scheme = re.compile(r"[A-Za-z][A-Za-z0-9+\-.]*:").match


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One entry of a Bundle. `index` counts from 0, `place` is its expression; what is not told is empty."""

    index: int
    resource: dict[str, Any] | None = field(repr=False)
    full_url: str
    method: str
    url: str = field(repr=False)
    request: Mapping[str, Any] = field(repr=False)

    @property
    def place(self) -> str:
        """The entry's place in the Bundle."""
        return f"Bundle.entry[{self.index}]"


def bundle_type(resource: Mapping[str, Any]) -> str | None:
    """Return the type of a Bundle (`transaction`), or `None` where the resource is none."""
    return resource.get("type", "") if resource.get("resourceType") == "Bundle" else None


def entries(bundle: Mapping[str, Any]) -> Iterator[Entry]:
    """Yield the entries of a Bundle that `validate` found good, in their order."""
    for index, one in enumerate(bundle.get("entry", ())):
        request = one.get("request", {})
        yield Entry(
            index=index,
            resource=one.get("resource"),
            full_url=one.get("fullUrl", ""),
            method=request.get("method", ""),
            url=request.get("url", ""),
            request=request,
        )


def check_bundle(bundle: Any) -> Findings | None:
    """Check what R4 says of fullUrl and link in words only; the structure is right."""
    found: Findings = []
    relations = [one["relation"] for one in bundle.get("link", ())]
    if len(relations) != len(set(relations)) and any(relations.count(one) > 1 for one in _SINGLE_LINKS):
        found.append(Finding("link_twice", "business-rule", path=".link"))
    kind = bundle.get("type")
    for index, entry in enumerate(bundle.get("entry", ())):
        if (key := _fault_of_url(entry, kind)) is not None:
            # The platform gives the ids of a transaction; all that it needs of these is that they differ.
            severity = Severity.WARNING if kind in _REQUESTS else Severity.ERROR
            found.append(Finding(key, "value", path=f".entry[{index}].fullUrl", severity=severity))
    return found or None


def _fault_of_url(entry: Mapping[str, Any], kind: str) -> str | None:
    url, resource = entry.get("fullUrl"), entry.get("resource")
    if url is None:
        needs_none = kind in _REQUESTS or kind in _RESPONSES or not resource
        return None if needs_none else "full_url_missing"
    if url.startswith("urn:"):
        return None
    if not _has_scheme(url):
        return "full_url_relative"
    parts = url.rsplit("/", 2)
    if not resource or len(parts) < 3 or parts[1] not in RESOURCE_TYPES:
        return None
    own = resource.get("id")
    if own is None:
        return None if kind in _REQUESTS else "full_url_disagrees"
    return None if parts[1:] == [resource.get("resourceType"), own] else "full_url_disagrees"
