"""Where benchmarks run: a home of their own that is gone afterwards, with somebody watching the memory."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import psutil

from kangshu.app.platform import Platform, open_platform
from kangshu.storage import embedded

_T = TypeVar("_T")

_MIB = 1 << 20
_SAMPLE_SECONDS = 0.1
_SERVER_SAMPLES = 10  # the server's memory is looked at every tenth time: many processes, dearly read


@contextmanager
def fresh_folder() -> Iterator[Path]:
    """Lend an empty folder in the folder for temporary files (`TMPDIR`)."""
    folder = Path(tempfile.mkdtemp(prefix="kangshu-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def fresh_platform(folder: Path) -> AsyncIterator[Platform]:
    """Open a platform of its own in `folder`, with a durable database; its server ends with it.

    Settings in the environment are passed over: a benchmark must not write into a centre's database.
    """
    home = folder / "home"
    with _without_settings():
        try:
            async with open_platform(home) as platform:
                yield platform
        finally:
            await asyncio.to_thread(embedded.stop, home)


@contextmanager
def _without_settings() -> Iterator[None]:
    kept = {name: value for name, value in os.environ.items() if name.startswith("KANGSHU_")}
    for name in kept:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(kept)


async def elsewhere(work: Callable[..., _T], /, *parts: Any, **named: Any) -> _T:
    """Return what `work` returns in a process of its own, whose memory does not count as ours."""
    loop, context = asyncio.get_running_loop(), multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return await loop.run_in_executor(pool, _call, work, parts, named)


def _call(work: Callable[..., _T], parts: tuple[Any, ...], named: dict[str, Any]) -> _T:
    return work(*parts, **named)


@dataclass(frozen=True, kw_only=True)
class Use:
    """Time and memory between two moments; the server is PostgreSQL with all its processes."""

    seconds: float
    cpu_seconds: float
    server_cpu_seconds: float
    peak_mib: int
    server_peak_mib: int | None


class Watch:
    """Measures what this process and the home's server use while the block runs.

    Our memory is what is resident. The server's is its proportional share (PSS): its processes have
    pages in common; not every system tells it.
    """

    def __init__(self, home: Path | None = None) -> None:
        self._ours = psutil.Process()
        self._server = _server_of(home) if home else None
        self._stop = threading.Event()
        self._peak = self._server_peak = 0
        self._thread = threading.Thread(target=self._look, name="memory watch", daemon=True)
        self.use: Use | None = None

    def __enter__(self) -> Self:
        self._started = time.perf_counter()
        self._cpu, self._server_cpu = _cpu_seconds([self._ours]), _cpu_seconds(self._servers())
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.perf_counter() - self._started
        self._stop.set()
        self._thread.join()
        self.use = Use(
            seconds=seconds,
            cpu_seconds=_cpu_seconds([self._ours]) - self._cpu,
            server_cpu_seconds=_cpu_seconds(self._servers()) - self._server_cpu,
            peak_mib=round(self._peak / _MIB),
            server_peak_mib=round(self._server_peak / _MIB) or None,
        )

    def _look(self) -> None:
        turn = 0
        while True:
            self._peak = max(self._peak, self._ours.memory_info().rss)
            if turn % _SERVER_SAMPLES == 0:
                self._server_peak = max(self._server_peak, sum(map(_share, self._servers())))
            turn += 1
            if self._stop.wait(_SAMPLE_SECONDS):
                return

    def _servers(self) -> list[psutil.Process]:
        if self._server is None:
            return []
        with suppress(psutil.Error):
            return [self._server, *self._server.children(recursive=True)]
        return []


def _server_of(home: Path) -> psutil.Process | None:
    """Return the home's database server; `None` where an external one is used."""
    with suppress(OSError, ValueError, IndexError, psutil.Error):
        return psutil.Process(
            int((home / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0])
        )
    return None


def _share(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return getattr(process.memory_full_info(), "pss", 0)
    return 0


def _cpu_seconds(processes: list[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        with suppress(psutil.Error):
            times = process.cpu_times()
            # Children that have ended are told by their parent alone.
            total += times.user + times.system
    return total


def machine() -> dict[str, Any]:
    """Return what a figure depends on that is not ours; `load` counts what ran or waited a minute ago."""
    return {
        "load": round(os.getloadavg()[0], 1),
        "cores": len(psutil.Process().cpu_affinity())
        if hasattr(psutil.Process, "cpu_affinity")
        else os.cpu_count(),
        "memory_mib": psutil.virtual_memory().total // _MIB,
    }
