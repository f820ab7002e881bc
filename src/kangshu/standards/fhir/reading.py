"""Content of any of FHIR's forms: tell which it is, and read it."""

from __future__ import annotations

import re
from typing import Any, Literal

from kangshu.standards.fhir.errors import NotAResourceError, say
from kangshu.standards.fhir.json_form import MAXIMUM_BYTES, loads
from kangshu.standards.fhir.xml_form import FHIR, from_xml

Form = Literal["json", "xml", "ndjson"]

_HEAD = 4096
_BOMS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_next_object = re.compile(rb'\}[ \t]*\r?\n\s*\{\s*"').search


def looks_like(data: bytes) -> Form | None:
    """Return the form that `data` seems to be in, or `None`; nothing is parsed.

    XML counts where FHIR's namespace stands in its beginning, JSON where there is an object with
    `resourceType`.
    """
    head = _plain_head(data)
    if head.startswith("<"):
        return "xml" if FHIR in head else None
    if not head.startswith("{") or b'"resourceType"' not in data:
        return None
    return "ndjson" if _is_lines(data) else "json"


def read(
    data: bytes, *, content_type: str | None = None, maximum_bytes: int = MAXIMUM_BYTES
) -> dict[str, Any]:
    """Return the resource in `data`, whether it is JSON or XML; the content decides, `content_type` only
    helps.

    Raises:
        FhirError: it cannot be read; see `json_form.loads` and `xml_form.from_xml`.
    """
    head = _plain_head(data)
    if head.startswith("<"):
        return from_xml(data, maximum_bytes=maximum_bytes)
    if not head and "xml" not in (content_type or ""):
        raise NotAResourceError(say("empty"))
    if head[:1] not in "{[" and "xml" in (content_type or ""):
        return from_xml(data, maximum_bytes=maximum_bytes)
    return loads(data, maximum_bytes=maximum_bytes)


def _plain_head(data: bytes) -> str:
    head = data[:_HEAD]
    for mark, encoding in _BOMS.items():
        if head.startswith(mark):
            return head[len(mark) :].decode(encoding, "ignore").lstrip()
    return head.decode("utf-8", "ignore").lstrip()


def _is_lines(data: bytes) -> bool:
    """Whether an object ends its line and another begins the next."""
    return _next_object(data) is not None and data.lstrip(b"\xef\xbb\xbf \t\r\n")[:2] != b"{\n"
