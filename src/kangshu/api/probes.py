"""Probes for whoever keeps the service running, and the metrics page."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable

import orjson
from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from kangshu.api.services import Services
from kangshu.kernel.errors import KangshuError

_DATABASE_SECONDS = 5
_DISK_BYTES = 256 << 20  # below this a front-page file of a large hospital no longer fits

router = APIRouter(tags=["operation"])


@router.get("/health/live", summary="Is the process alive?")
async def tell_live(request: Request) -> Response:
    """Answer as long as the process runs."""
    services: Services = request.app.state.services
    return _json({"status": "alive", "version": services.version})


@router.get(
    "/health/ready",
    summary="Can it work?",
    responses={503: {"description": "Not now; `checks` tells what is missing"}},
)
async def tell_ready(request: Request) -> Response:
    """Answer 200 if database and disk are there, else 503."""
    services: Services = request.app.state.services
    checks = {
        "database": await _holds(lambda: _database(services)),
        "disk": await _holds(lambda: asyncio.to_thread(_disk, services)),
    }
    ready = all(checks.values())
    content = {"status": "ready" if ready else "not ready", "checks": checks}
    return _json(content, status=200 if ready else 503)


@router.get("/metrics", summary="Metrics for Prometheus", responses={200: {"content": {"text/plain": {}}}})
async def tell_metrics(request: Request) -> Response:
    """Answer with the counters of this process; no personal value is in any of them."""
    services: Services = request.app.state.services
    return Response(generate_latest(services.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _holds(check: Callable[[], Awaitable[None]]) -> bool:
    try:
        await asyncio.wait_for(check(), timeout=_DATABASE_SECONDS)
    except (KangshuError, OSError, TimeoutError):
        return False
    return True


async def _database(services: Services) -> None:
    async with services.database.connection() as connection:
        await connection.execute("SELECT 1")


def _disk(services: Services) -> None:
    if not os.access(services.lake_home, os.W_OK):
        raise OSError("the lake's folder is not writable")
    if shutil.disk_usage(services.lake_home).free < _DISK_BYTES:
        raise OSError("the disk is nearly full")


def _json(content: dict[str, object], *, status: int = 200) -> Response:
    return Response(
        orjson.dumps(content),
        status_code=status,
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
