"""Counts requests and their time by route, never by address: an address may name somebody."""

from __future__ import annotations

from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class MeasureRequests:
    """Wraps a whole application and counts what passes."""

    def __init__(self, app: ASGIApp, *, registry: CollectorRegistry) -> None:
        self.app = app
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._requests = Counter(
            "kangshu_http_requests",
            "Requests answered, by method, route and status",
            ("method", "route", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "kangshu_http_request_seconds",
            "Time from request to the end of the answer",
            ("route",),
            buckets=_BUCKETS,
            registry=registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and count it, also when it fails."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 500
        begun = perf_counter()

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, seen)
        finally:
            route = _route(scope)
            method = scope["method"] if scope["method"] in _METHODS else "OTHER"
            requests, seconds = self._children(method, route, status)
            requests.inc()
            seconds.observe(perf_counter() - begun)

    def _children(self, method: str, route: str, status: int) -> tuple[Counter, Histogram]:
        """Return what counts requests of this kind; there are as many kinds as routes, methods, statuses."""
        found = self._known.get((method, route, status))
        if found is None:
            found = self._requests.labels(method, route, str(status)), self._seconds.labels(route)
            self._known[(method, route, status)] = found
        return found


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _route(scope: Scope) -> str:
    """Return the route's pattern; one label for everything that fits no route."""
    route = scope.get("route")
    path = getattr(route, "path", None)
    return str(path) if path else "none"
