"""Why somebody reads, as the request's headers state it."""

from __future__ import annotations

from urllib.parse import unquote

from starlette.requests import Request

from kangshu.api.errors import ParameterRefusedError, say
from kangshu.consent import Purpose

_PURPOSES = {purpose.value: purpose for purpose in Purpose}
_REASON_MOST = 4000  # as it is written in the header; consent bounds what it says


def stated_purpose(request: Request) -> tuple[Purpose, str]:
    """Return purpose and reason out of `X-Purpose` and `X-Purpose-Reason` (percent-encoded UTF-8).

    Raises:
        ParameterRefusedError: the purpose is none of the known ones.
    """
    text = request.headers.get("x-purpose")
    if text is None:
        return Purpose.TREATMENT, ""
    purpose = _PURPOSES.get(text.strip().lower())
    if purpose is None:
        raise ParameterRefusedError(say["fhir_purpose"], place="X-Purpose")
    reason = unquote(request.headers.get("x-purpose-reason", "")[:_REASON_MOST])
    return purpose, "".join(character for character in reason if character.isprintable())
