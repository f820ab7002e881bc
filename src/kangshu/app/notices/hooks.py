"""Post a signed notice to the address that an administrator has set for an institution."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urlsplit

from kangshu.app.notices.errors import HookFailedError, say
from kangshu.quality.rectifying import Algorithm
from kangshu.security.sm import hmac_sm3

SECONDS = 10.0
"""For so long a hook may take from connecting to its answer's first line."""

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)[ \r\n]")
_HEAD_BYTES = 16 << 10


def sign(*, secret: str, algorithm: Algorithm, seconds: int, body: bytes) -> str:
    """Return the signature of a body posted at a moment: hexadecimal HMAC over `<seconds>.<body>`.

    Who receives it computes the same with the secret, and refuses what is older than some minutes.
    """
    signed = b"%d.%b" % (seconds, body)
    if algorithm is Algorithm.SM3:
        return hmac_sm3(secret.encode(), signed).hex()
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


async def post(
    address: str, *, body: bytes, headers: Mapping[str, str], wait_seconds: float = SECONDS
) -> None:
    """Post `body`; done when the answer is a success (2xx). Redirections are not followed.

    Raises:
        HookFailedError: nobody answers in time, or with anything but success.
    """
    try:
        async with asyncio.timeout(wait_seconds):
            status = await _post(address, body, headers)
    except TimeoutError:
        raise HookFailedError(say("hook_slow", seconds=f"{wait_seconds:g}")) from None
    except (OSError, EOFError, ssl.SSLError, asyncio.LimitOverrunError) as error:
        raise HookFailedError(say("hook_unreachable", reason=type(error).__name__)) from None
    if not 200 <= status < 300:
        raise HookFailedError(say("hook_answer", status=status))


async def _post(address: str, body: bytes, headers: Mapping[str, str]) -> int:
    """Return the answer's status. Its body is nobody's business and is not read."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    context = ssl.create_default_context() if parts.scheme == "https" else None
    port = parts.port or (443 if context else 80)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"POST {target} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    reader, writer = await asyncio.open_connection(host, port, ssl=context, limit=_HEAD_BYTES)
    try:
        writer.write("\r\n".join(lines).encode("ascii") + body)
        with suppress(ConnectionError):  # who answers without reading to the end has answered all the same
            await writer.drain()
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            found = _STATUS.match(head)
            status = int(found[1]) if found else 0
            if not 100 <= status < 200:  # 100 Continue and the like come before the answer
                return status
    finally:
        writer.transport.abort()
