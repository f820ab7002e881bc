"""All doors in one program: console, machine APIs, worker, watched folder."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
    suppress,
)
from pathlib import Path

import structlog
import uvicorn
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import RedirectResponse
from starlette.routing import BaseRoute, Mount, Route

from kangshu import __version__, api, console
from kangshu.app.assessing import assess_job, expect_message_rows
from kangshu.app.cards import Offices
from kangshu.app.demonstration import DemoPerson
from kangshu.app.errors import EnvironmentFaultError, say
from kangshu.app.logs import set_up_logs
from kangshu.app.maintenance import (
    bring_messages_to_lake,
    fold_counts,
    keep_cards,
    merge_dataset,
    merge_segments,
    prune_messages,
    refresh_catalogue,
    seal_audit,
    sweep,
    watch_deadlines,
)
from kangshu.app.matching import match_job
from kangshu.app.memory import spare_collector
from kangshu.app.messages.lane import MessageLane
from kangshu.app.messages.looking import ReadLane
from kangshu.app.messages.mllp import mllp_door
from kangshu.app.messages.opening import open_lane
from kangshu.app.messages.replaying import Replays
from kangshu.app.notices import Notifier, mail_server, make_workers
from kangshu.app.pipeline import ASSESS_JOB
from kangshu.app.platform import Platform, open_platform
from kangshu.app.subscriptions import MATCH_JOB, MERGE_JOB, subscribers
from kangshu.app.uploads import JOB, Uploads, queue_file
from kangshu.app.watching import watch
from kangshu.app.whereabouts import LakeWhereabouts
from kangshu.declarations import Dataset
from kangshu.intake import recover
from kangshu.intake.template import template_workbook
from kangshu.kernel.texts import Text
from kangshu.storage import jobs
from kangshu.storage.outbox import Dispatcher
from kangshu.storage.patience import describe

log = structlog.get_logger(__name__)

_SEAL_SECONDS = 1.0
_MERGE_SECONDS = 300.0
_FALLEN_SECONDS = 5.0
_SWEEP_SECONDS = 6 * 3600.0
_FOLD_SECONDS = 60.0
_PRUNE_SECONDS = 3600.0
_MESSAGE_ROWS_SECONDS = 60.0
_DEADLINE_SECONDS = 3600.0
_CATALOGUE_SECONDS = 1800.0
_CARDS_SECONDS = 3600.0
_PARENT_SECONDS = 1.0
_FAREWELL_SECONDS = 20  # what requests under way are given at a stop
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


async def serve(
    *,
    home: Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    mllp_port: int | None = None,
    demo_people: Sequence[DemoPerson] = (),
    ready: asyncio.Event | None = None,
) -> None:
    """Serve until the process is told to stop.

    One process serves and works. With `workers` over 1 the others only serve: they share the port,
    and the first one does the background work.

    Raises:
        EnvironmentFaultError: the port is taken.
    """
    set_up_logs()
    listener = _listen(host, port)
    async with open_platform(home) as platform:
        siblings = [await _start_sibling(home, listener) for _ in range(1, workers)]
        try:
            lane = open_lane(platform)
            registry = CollectorRegistry()
            pages = build_app(platform, lane, demo_people=demo_people, registry=registry)
            server = _Server(_config(pages))
            port = platform.settings.mllp_port if mllp_port is None else mllp_port
            async with background(platform), _mllp(platform, lane, port=port, registry=registry):
                spare_collector()
                if ready:
                    ready.set()
                await server.serve(sockets=[listener])
        finally:
            for sibling in siblings:
                with suppress(ProcessLookupError):
                    sibling.send_signal(signal.SIGTERM)
                await sibling.wait()


@asynccontextmanager
async def serving(platform: Platform, lane: MessageLane, *, port: int) -> AsyncIterator[int]:
    """Serve the doors over HTTP while the block runs; gives the port, a free one for 0."""
    listener = _listen("127.0.0.1", port)
    server = _Server(_config(build_app(platform, lane)))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started and not task.done():
            await asyncio.sleep(0.01)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task


def _mllp(
    platform: Platform, lane: MessageLane, *, port: int, registry: CollectorRegistry
) -> AbstractAsyncContextManager[object]:
    return mllp_door(platform, lane, port=port, registry=registry) if port else nullcontext()


async def serve_only(*, home: Path, descriptor: int, parent: int) -> None:
    """Serve on an inherited socket, without background work, as long as the first process lives."""
    set_up_logs()
    listener = socket.socket(fileno=descriptor)
    async with open_platform(home) as platform:
        server = _Server(_config(build_app(platform, open_lane(platform))))
        watching = asyncio.create_task(_end_with(parent, server))
        try:
            await server.serve(sockets=[listener])
        finally:
            watching.cancel()


async def _end_with(parent: int, server: uvicorn.Server) -> None:
    """Stop when the first process is gone: killed, it could not say so, and the port would stay taken."""
    while os.getppid() == parent:
        await asyncio.sleep(_PARENT_SECONDS)
    server.should_exit = True


class _Server(uvicorn.Server):
    """A server that returns when it is told to stop.

    Uvicorn's own would raise the signal once more and end the process there and then: before jobs
    are handed back and the further processes are stopped.
    """

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in _STOP_SIGNALS:
                loop.remove_signal_handler(number)


def build_app(
    platform: Platform,
    lane: MessageLane | None = None,
    *,
    demo_people: Sequence[DemoPerson] = (),
    registry: CollectorRegistry | None = None,
) -> Starlette:
    """Return the web application with every door mounted; `demo_people` stand on the sign-in page.

    `registry` holds what else the page of metrics tells.
    """
    lane = lane or open_lane(platform)
    uploads = Uploads(platform)
    inbox = platform.home / "inbox"
    inbox.mkdir(parents=True, exist_ok=True)
    whereabouts = LakeWhereabouts(platform)
    region = platform.settings.region_name
    limit = platform.settings.upload_limit_mib << 20
    registry = CollectorRegistry() if registry is None else registry
    offices = Offices(platform)
    pages = console.build(
        console.Services(
            database=platform.database,
            keys=platform.keys,
            engine=platform.engine,
            pack=platform.pack,
            clock=platform.clock,
            random=secrets.token_bytes,
            whereabouts=whereabouts,
            submit_upload=uploads.submit,
            rows=lane.tools.rows,
            replay=Replays(platform.database, lane),
            write_template=lambda dataset: _template(platform, dataset),
            lake_home=platform.home,
            inbox=inbox,
            anchor=platform.anchor,
            linkage=platform.linkage,
            card_office=offices,
            region=Text(zh=region, en=region) if region else platform.pack.title,
            upload_limit_bytes=limit,
            fonts=Path(platform.settings.pdf_fonts) if platform.settings.pdf_fonts else None,
            demo_accounts=tuple(
                console.DemoAccount(name=one.name, password=one.password, title=one.title)
                for one in demo_people
            ),
            secure_cookies=platform.settings.secure_cookies,
        )
    )
    machine = api.build(
        api.Services(
            database=platform.database,
            keys=platform.keys,
            pack=platform.pack,
            clock=platform.clock,
            random=secrets.token_bytes,
            submit_upload=uploads.submit,
            take_message=lane.take,
            write_fhir=lane.write_fhir,
            linkage=platform.linkage,
            card_office=offices,
            read_fhir=ReadLane(platform.database, clock=platform.clock, whereabouts=whereabouts),
            authorities=lane.tools.authorities,
            whereabouts=whereabouts,
            lake_home=platform.home,
            inbox=inbox,
            upload_limit_bytes=limit,
            registry=registry,
            version=__version__,
        )
    )
    routes: list[BaseRoute] = [
        Route("/", lambda _request: RedirectResponse("/console/")),
        Mount("/console", app=pages),
        Mount("/", app=machine),
    ]
    return Starlette(routes=routes, middleware=[Middleware(api.MeasureRequests, registry=registry)])


@asynccontextmanager
async def background(platform: Platform) -> AsyncIterator[None]:
    """Work in the background: queued files, the audit chain, the lake's order, the watched folder."""
    await _settle_after_start(platform)
    stop = asyncio.Event()
    uploads, offices = Uploads(platform), Offices(platform)
    worker = jobs.Worker(
        platform.database,
        {
            JOB: uploads.work,
            MERGE_JOB: lambda job: merge_dataset(platform, job),
            ASSESS_JOB: lambda job: assess_job(platform, job),
            MATCH_JOB: lambda job: match_job(platform, job),
        },
        platform.clock,
        platform.settings.job_lease_seconds,
        concurrency=2,
    )
    dispatcher = Dispatcher(
        platform.database, subscribers(with_mail=bool(platform.settings.smtp_host)), platform.clock
    )
    messengers = make_workers(_notifier(platform))
    lanes = [
        _keep_going(stop, "jobs", lambda: worker.run(stop)),
        _keep_going(stop, "announcements", lambda: dispatcher.run(stop)),
        *(
            _keep_going(stop, "notices", lambda messenger=messenger: messenger.run(stop))
            for messenger in messengers
        ),
        _repeat(stop, _SEAL_SECONDS, "seal", lambda: seal_audit(platform)),
        # What messages bring is flushed in many small files, and announced by nobody.
        _repeat(stop, _MERGE_SECONDS, "merge", lambda: merge_segments(platform)),
        _repeat(stop, _SWEEP_SECONDS, "sweep", lambda: sweep(platform)),
        _repeat(stop, platform.settings.lake_seconds, "lake", lambda: bring_messages_to_lake(platform)),
        _repeat(stop, _FOLD_SECONDS, "fold", lambda: fold_counts(platform)),
        _repeat(stop, _PRUNE_SECONDS, "prune", lambda: prune_messages(platform)),
        _repeat(stop, _MESSAGE_ROWS_SECONDS, "quality", lambda: expect_message_rows(platform)),
        _repeat(stop, _DEADLINE_SECONDS, "deadlines", lambda: watch_deadlines(platform)),
        _repeat(stop, _CARDS_SECONDS, "cards", lambda: keep_cards(platform, offices)),
        _repeat(stop, _CATALOGUE_SECONDS, "catalogue", lambda: refresh_catalogue(platform)),
    ]
    if folder := platform.settings.watch_folder:
        lanes.append(_keep_going(stop, "watch", lambda: watch(platform, Path(folder))))
    tasks = [asyncio.create_task(lane) for lane in lanes]
    try:
        yield
    finally:
        stop.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _notifier(platform: Platform) -> Notifier:
    return Notifier(
        database=platform.database,
        pack=platform.pack,
        keys=platform.keys,
        clock=platform.clock,
        mail=mail_server(platform.settings),
        address=platform.settings.public_url,
    )


async def _settle_after_start(platform: Platform) -> None:
    """Queue again what waits since the last stop."""
    for file_id in await recover(platform.intake):
        async with platform.database.transaction() as connection:
            await queue_file(connection, file_id)


async def _keep_going(stop: asyncio.Event, what: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do something that ends with `stop` only; what falls over is logged and set up again."""
    while not stop.is_set():
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - a service that takes files in must also work on them
            log.error("background work fell", work=what, error=describe(error))
            await _pause(stop, _FALLEN_SECONDS)


async def _repeat(
    stop: asyncio.Event, seconds: float, what: str, work: Callable[[], Awaitable[None]]
) -> None:
    """Do something again and again; a failure is logged and the next turn tries again."""
    while not stop.is_set():
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - the database may be away for a while
            log.warning("background work failed", work=what, error=describe(error))
        await _pause(stop, seconds)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


def _template(platform: Platform, dataset: Dataset) -> bytes:
    return template_workbook(dataset=dataset, pack=platform.pack)


def _config(app: Starlette) -> uvicorn.Config:
    # Addresses of persons' pages hold no personal value, but who asked for them is the audit's business:
    # no access log.
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=True,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_FAREWELL_SECONDS,
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Where the protocol is named asyncio sends small packets at once; else a body waits 40 ms for the
    # receipt of its head.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise EnvironmentFaultError(say("port_taken", port=port)) from error
    listener.listen(2048)
    listener.set_inheritable(True)
    return listener


async def _start_sibling(home: Path, listener: socket.socket) -> asyncio.subprocess.Process:
    import sys

    descriptor = listener.fileno()
    words = ("-m", "kangshu.app.sibling", str(home), str(descriptor), str(os.getpid()))
    return await asyncio.create_subprocess_exec(sys.executable, *words, pass_fds=(descriptor,))


__all__ = ["background", "build_app", "serve", "serve_only", "spare_collector"]
