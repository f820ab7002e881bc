"""Counters of requests."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from kangshu.api import MeasureRequests


def test_requests_are_counted_by_pattern_also_when_they_fail():
    registry = CollectorRegistry()

    async def answer(request: Request) -> PlainTextResponse:
        if request.path_params["id"] == "13":
            raise RuntimeError("broken")
        return PlainTextResponse("fine")

    app = MeasureRequests(Starlette(routes=[Route("/things/{id}", answer)]), registry=registry)

    async def scenario() -> None:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
            await http.get("/things/1")
            await http.get("/things/2")
            await http.get("/nowhere/990102196805121016")
            await http.request("MADEUP", "/things/1")
            with pytest.raises(RuntimeError):
                await http.get("/things/13")

    asyncio.run(scenario())

    def counted(method: str, route: str, status: str) -> float | None:
        return registry.get_sample_value(
            "kangshu_http_requests_total", {"method": method, "route": route, "status": status}
        )

    assert counted("GET", "/things/{id}", "200") == 2
    assert counted("GET", "/things/{id}", "500") == 1
    assert counted("GET", "none", "404") == 1
    assert counted("OTHER", "/things/{id}", "405") == 1
    assert registry.get_sample_value("kangshu_http_request_seconds_count", {"route": "/things/{id}"}) == 4
