"""A whole platform in a home of its own, and what may be asked about the traces that a file left in it."""

from __future__ import annotations

import asyncio
import csv
import io
import itertools
import json
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from kangshu import lake
from kangshu.app.platform import Platform, open_platform
from kangshu.declarations import load_pack
from kangshu.intake import (
    FileState,
    ReasonCount,
    Receipt,
    describe_file,
    get_receipt,
    list_reasons,
    process_stored,
    register,
    rejects_path,
)
from kangshu.storage import embedded

_T = TypeVar("_T")
_numbers = itertools.count(1)

PACK = load_pack()
CLINIC = "99000101599010211A1001"
OTHER_CLINIC = "99000102699010211A1001"
NAME = "immunization_2026-03.csv"
FIELDS = tuple(PACK.datasets["immunization"].fields)
HEADINGS = tuple(field.title.zh for field in FIELDS)


def row(number: int, **changes: str) -> dict[str, str]:
    """Return a good row of an immunization file; nobody in it exists."""
    values = {field.name: field.example for field in FIELDS}
    values |= {
        "institution_code": CLINIC,
        "vaccination_number": f"V{number:05d}",
        "patient_number": f"P{number:05d}",
        "resident_number": "",
    }
    return values | changes


def csv_text(rows: Sequence[Mapping[str, str]], *, headings: Sequence[str] = HEADINGS) -> str:
    """Return rows as the text of a CSV file with Chinese headings."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(headings)
    writer.writerows([one[field.name] for field in FIELDS] for one in rows)
    return text.getvalue()


def csv_bytes(rows: Sequence[Mapping[str, str]], *, encoding: str = "utf-8") -> bytes:
    """Return rows as a CSV file."""
    return csv_text(rows).encode(encoding)


@contextmanager
def temporary_home() -> Iterator[Path]:
    """Make a home that nobody else uses; its server, if it gets one, is stopped at the end."""
    # Not under pytest's own folder: the next session closes that one to the user that runs the server.
    place = Path(tempfile.mkdtemp(prefix="kangshu-test-"))
    home = place / "home"
    home.mkdir()
    try:
        yield home
    finally:
        embedded.stop(home)
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def temporary_database(server_url: str) -> Iterator[str]:
    """Make a database with the house's tables on the test session's server."""
    name = f"app_{next(_numbers)}"
    _execute(server_url, f"CREATE DATABASE {name} TEMPLATE kangshu_template STRATEGY FILE_COPY")
    try:
        yield server_url.replace("/postgres?", f"/{name}?", 1)
    finally:
        _execute(server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _execute(url: str, statement: str) -> None:
    async def work() -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(work())


@dataclass(frozen=True)
class Traces:
    """Everything that a file may leave behind."""

    rows: dict[str, int]
    persons: int
    institutions: int
    segments: tuple[str, ...]
    incoming: tuple[str, ...]
    scratch: tuple[str, ...]
    drafts: tuple[str, ...]
    spool: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """A receipt with its reasons and the list of its refused rows."""

    receipt: Receipt
    reasons: list[ReasonCount]
    listed: str

    @property
    def state(self) -> FileState:
        return self.receipt.state

    @property
    def lines(self) -> list[list[str]]:
        """The list of refused rows without its heading."""
        return list(csv.reader(io.StringIO(self.listed)))[1:]


class World:
    """A platform that is open from test to test."""

    def __init__(self, runner: asyncio.Runner, platform: Platform) -> None:
        self._runner = runner
        self.platform = platform

    @property
    def home(self) -> Path:
        return self.platform.home

    def run(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Run `work` in the loop that the platform lives in."""

        async def scenario() -> _T:
            return await work()

        return self._runner.run(scenario())

    def send(
        self,
        content: bytes,
        *,
        name: str = NAME,
        institution: str | None = CLINIC,
        dataset: str | None = None,
    ) -> Answer:
        """Take a file in the way of an upload: bytes into the spool, onto the record, then worked on."""
        return self.run(lambda: self._send(content, name, institution, dataset))

    async def _send(self, content: bytes, name: str, institution: str | None, dataset: str | None) -> Answer:
        platform = self.platform
        kept = platform.home / "spool" / f"sent{next(_numbers)}"
        kept.parent.mkdir(exist_ok=True)
        kept.write_bytes(content)
        arrival = describe_file(
            path=kept,
            name=name,
            now=platform.clock.now(),
            received_by="hospital",
            institution=institution,
            dataset=dataset,
            spooled=True,
        )
        receipt_id = await register(platform.intake, arrival)
        await process_stored(platform.intake, file_id=receipt_id)
        return await self.answer(receipt_id)

    async def answer(self, receipt_id: int) -> Answer:
        """Return what became of a file."""
        async with self.platform.database.connection() as connection:
            receipt = await get_receipt(connection, receipt_id=receipt_id)
            reasons = await list_reasons(connection, receipt_id=receipt_id)
        path = rejects_path(self.platform.home, receipt_id)
        listed = path.read_text(encoding="utf-8-sig") if path.exists() else ""
        return Answer(receipt, reasons, listed)

    def traces(self) -> Traces:
        """Return what lies in the lake, the person index and the folders."""
        return self.run(self._traces)

    async def _traces(self) -> Traces:
        async with self.platform.database.connection() as connection:
            rows = await lake.count_rows(connection)
            persons = await connection.fetchval("SELECT count(*) FROM identity_person")
            institutions = await connection.fetchval("SELECT count(*) FROM directory_institution")
        return Traces(
            rows=dict(rows),
            persons=persons,
            institutions=institutions,
            segments=_names(self.home / "lake" / "segments"),
            incoming=_names(self.home / "lake" / "incoming"),
            scratch=_names(self.home / "scratch"),
            drafts=tuple(name for name in _names(self.home / "rejects") if not name.endswith(".csv")),
            spool=_names(self.home / "spool"),
        )

    def record_of(self, receipt_id: int) -> str:
        """Return everything that tables hold about a file, as one text to search through."""

        async def read() -> str:
            async with self.platform.database.connection() as connection:
                rows: list[Any] = []
                for query in (
                    "SELECT to_jsonb(f)::text FROM intake_file f WHERE id = $1",
                    "SELECT to_jsonb(r)::text FROM intake_reason r WHERE file_id = $1",
                    "SELECT to_jsonb(p)::text FROM audit_pending p WHERE resource = 'file/' || $1::bigint",
                    "SELECT to_jsonb(o)::text FROM storage_outbox o WHERE (payload->>'file')::bigint = $1",
                ):
                    rows += [one[0] for one in await connection.fetch(query, receipt_id)]
                rows += [
                    one[0]
                    for one in await connection.fetch("SELECT to_jsonb(d)::text FROM directory_institution d")
                ]
                return "\n".join(rows)

        return self.run(read)


@contextmanager
def open_world(server_url: str, **settings: Any) -> Iterator[World]:
    """Open a platform on a database of its own on the test session's server."""
    with (
        temporary_home() as home,
        temporary_database(server_url) as url,
        asyncio.Runner() as runner,
    ):
        write_settings(home, database_url=url, **settings)
        context = open_platform(home)
        platform = runner.run(context.__aenter__())
        try:
            yield World(runner, platform)
        finally:
            runner.run(context.__aexit__(None, None, None))


def write_settings(home: Path, **settings: Any) -> None:
    """Write the settings file of a home."""
    home.mkdir(parents=True, exist_ok=True)
    # A JSON scalar is a TOML scalar.
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    (home / "settings.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _names(folder: Path) -> tuple[str, ...]:
    if not folder.exists():
        return ()
    return tuple(sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()))
