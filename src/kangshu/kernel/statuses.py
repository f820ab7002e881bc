"""The nine kinds of failure as HTTP status codes, the one place where they are mapped."""

from __future__ import annotations

from collections.abc import Mapping

from kangshu.kernel.errors import Kind

STATUS_OF_KIND: Mapping[Kind, int] = {
    Kind.INCORRECT: 422,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.CONFLICT: 409,
    Kind.UNSUPPORTED: 415,
    Kind.UNAVAILABLE: 503,
    Kind.BUSY: 429,
    Kind.INTERRUPTED: 503,
    Kind.FAULT: 500,
}
