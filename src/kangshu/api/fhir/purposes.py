"""Why somebody reads, as the request's headers state it."""

from __future__ import annotations

from urllib.parse import unquote

from starlette.requests import Request

from kangshu.api.errors import BodyRefusedError, say
from kangshu.consent import Purpose


def stated_purpose(request: Request) -> tuple[Purpose, str]:
    """Return purpose and reason out of `X-Purpose` and `X-Purpose-Reason` (percent-encoded UTF-8).

    Raises:
        BodyRefusedError: the purpose is none of the known ones.
    """
    text = request.headers.get("x-purpose", Purpose.TREATMENT.value)
    try:
        purpose = Purpose(text)
    except ValueError:
        raise BodyRefusedError(say["fhir_purpose"], place="X-Purpose") from None
    return purpose, unquote(request.headers.get("x-purpose-reason", ""))
