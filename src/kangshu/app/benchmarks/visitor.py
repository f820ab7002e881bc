"""Somebody at the console, without a browser or a network: requests go straight into the application."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import quote, urlencode

from starlette.types import ASGIApp

_HOST = "benchmark"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back: the status and the page."""

    status: int
    body: bytes


@dataclass
class Visitor:
    """Keeps cookies as a browser does: each goes to the paths below its own."""

    app: ASGIApp
    _cookies: dict[tuple[str, str], str] = field(default_factory=dict)

    async def get(self, path: str, query: Mapping[str, Any] | None = None) -> Answer:
        """Open a page."""
        return await self._request("GET", path, query=urlencode(query or {}))

    async def post(self, path: str, form: Mapping[str, str]) -> Answer:
        """Send a form of our own site."""
        return await self._request("POST", path, body=urlencode(form).encode())

    def cookie(self, name: str) -> str:
        """Return the cookie called `name`."""
        return next(value for (known, _), value in self._cookies.items() if known == name)

    async def _request(self, method: str, path: str, *, query: str = "", body: bytes = b"") -> Answer:
        sent = [(name, value) for (name, root), value in self._cookies.items() if path.startswith(root)]
        headers = {
            "host": _HOST,
            "origin": f"http://{_HOST}",
            "cookie": "; ".join(f"{name}={value}" for name, value in sent),
            "content-type": "application/x-www-form-urlencoded",
            "content-length": str(len(body)),
        }
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": quote(path).encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 0),
            "server": (_HOST, 80),
        }
        status, parts = 0, list[bytes]()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Mapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._keep(message["headers"])
            elif message["type"] == "http.response.body":
                parts.append(message.get("body", b""))

        await self.app(scope, receive, send)  # type: ignore[arg-type]
        return Answer(status=status, body=b"".join(parts))

    def _keep(self, headers: list[tuple[bytes, bytes]]) -> None:
        for name, value in headers:
            if name.lower() == b"set-cookie":
                for cookie in SimpleCookie(value.decode()).values():
                    self._cookies[cookie.key, cookie["path"]] = cookie.value
