"""Checks of references: their form, the types that they may lead to, those into the same resource."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from kangshu.standards.fhir.definitions import RESOURCE_TYPES
from kangshu.standards.fhir.findings import Check, Finding, Findings

_relative = re.compile(
    r"([A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?(?:#.*)?"
).fullmatch
_scheme = re.compile(r"[A-Za-z][A-Za-z0-9+\-.]*:").match


def reference_check(check: Check, targets: tuple[str, ...]) -> Check:
    """Return the check of a Reference that may lead to `targets` only (to anything, where there are none)."""
    allowed = frozenset(targets) or RESOURCE_TYPES
    named = ", ".join(targets) or "FHIR R4"

    def check_reference(value: Any) -> Findings | None:
        found = check(value)
        if found is not None:
            return found
        kind = value.get("type")
        if kind is not None and kind not in allowed and (kind in RESOURCE_TYPES or ":" not in kind):
            return [Finding("wrong_target", "structure", path=".type", types=named)]
        text = value.get("reference")
        if text is None or text[:4] == "urn:":
            return None
        if text.partition("/")[0] in allowed and _relative(text):
            return None
        return _check_address(text, allowed, named)

    return check_reference


def _check_address(text: str, allowed: frozenset[str], named: str) -> Findings | None:
    """Check a reference that is not of the usual kind `Patient/1`."""
    if text[0] == "#":
        # "#" alone is the resource that contains this one.
        return (
            [Finding("local_reference", "invariant", path=".reference", fragment=text[1:])]
            if text[1:]
            else None
        )
    if _scheme(text):
        parts = text.partition("?")[0].partition("/_history/")[0].rsplit("/", 2)
        # An address elsewhere may have any form; only one that ends in a type of R4 says what it leads to.
        if len(parts) == 3 and parts[1] in RESOURCE_TYPES and parts[1] not in allowed:
            return [Finding("wrong_target", "structure", path=".reference", types=named)]
        return None
    kind = re.split(r"[/?]", text, maxsplit=1)[0]
    if kind in RESOURCE_TYPES and kind not in allowed:
        return [Finding("wrong_target", "structure", path=".reference", types=named)]
    if kind in RESOURCE_TYPES and ("?" in text or _relative(text)):
        return None
    return [Finding("not_a_reference", "value", path=".reference")]


def check_extension_address(value: Any) -> Findings | None:
    """Check that the url of a good extension is a full address, as it is but inside another extension."""
    return None if ":" in value["url"] else [Finding("extension_url_relative", "value", path=".url")]


def check_contained(value: dict[str, Any], found: Findings | None) -> Findings | None:
    """Check ref-1 and dom-2 to dom-5 of a resource, of which `found` is known.

    A reference `#x` was noted as a finding where it stands; it is taken back where `x` is contained. What is
    contained contains nothing, has no version and no label, and is referred to.
    """
    contained = value.get("contained")
    named = {one.values["fragment"] for one in found or () if one.key == "local_reference"}
    more: Findings = []
    ids: set[Any] = set()
    for index, one in enumerate(contained if type(contained) is list else ()):
        if type(one) is dict:
            ids |= {one["id"]} if type(one.get("id")) is str else set()
            more.extend(_faults_of_contained(one, f".contained[{index}]", value, named))
    left = [one for one in found or () if one.key != "local_reference" or one.values["fragment"] not in ids]
    return [*left, *more] or None


def _faults_of_contained(
    one: dict[str, Any], place: str, value: dict[str, Any], named: set[Any]
) -> Iterator[Finding]:
    meta = one["meta"] if type(one.get("meta")) is dict else {}
    broken = {
        "dom-2": "contained" in one,
        "dom-3": one.get("id") not in named and not _is_tied(one, value),
        "dom-4": "versionId" in meta or "lastUpdated" in meta,
        "dom-5": "security" in meta,
    }
    return (
        Finding("rule", "invariant", path=place, rule=key) for key, is_broken in broken.items() if is_broken
    )


def _is_tied(one: dict[str, Any], value: dict[str, Any]) -> bool:
    """Whether a canonical or another address names what is contained, or it names what contains it."""
    return f"#{one.get('id')}" in _local_names(value) or "#" in _local_names(one)


def _local_names(value: Any) -> set[str]:
    """Return every text in `value` that begins as a local reference does."""
    names: set[str] = set()
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if type(one) is dict:
            waiting.extend(one.values())
        elif type(one) is list:
            waiting.extend(one)
        elif type(one) is str and one[:1] == "#":
            names.add(one)
    return names
