"""Take files in: recognise, check, link persons, write to the lake; wholly or not at all.

One file is one transaction. Its rows stream through in batches: while one batch is linked to
persons and written, the next is read and checked. The lake's segment lies on disk before the
commit that makes it count; whatever happens before that commit leaves nothing behind but a file
that no manifest names, and that the lake sweeps away.
"""

# pyarrow makes its compute functions at import, where pyright cannot see them.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import asyncio
import errno
import hashlib
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kangshu.declarations import Dataset, Field, Pack, Role, Severity
from kangshu.intake import store
from kangshu.intake.checking import CheckedBatch, CheckEngine, FileCheck
from kangshu.intake.compiling import compile_plan
from kangshu.intake.errors import (
    FileRejectedError,
    InstitutionUnknownError,
    NoRowsError,
    NothingAcceptedError,
    say,
)
from kangshu.intake.events import announce_committed
from kangshu.intake.examining import count_days, find_institution
from kangshu.intake.findings import Examined, FindingsTally, reasons_of
from kangshu.intake.model import (
    Arrival,
    FileState,
    Outcome,
    ReasonCount,
    kept_name,
    part_in_name,
    period_in_name,
    period_of_days,
)
from kangshu.intake.queries import ZONE, rejects_path
from kangshu.intake.recognition import Recognition, recognise
from kangshu.intake.rejects import RejectsFile
from kangshu.kernel.clock import Clock
from kangshu.kernel.errors import KangshuError, Kind
from kangshu.kernel.periods import Period
from kangshu.kernel.texts import Text
from kangshu.lake import (
    SegmentFile,
    SegmentWriter,
    commit_file,
    lake_schema,
    new_segment_path,
    supersede_file,
)
from kangshu.standards.tables import Batch, TableError, TableReader, open_table
from kangshu.storage.database import Connection, Database, UniqueViolationError

_T = TypeVar("_T")
_P = ParamSpec("_P")

_SENDERS_FAULTS = frozenset({Kind.INCORRECT, Kind.UNSUPPORTED})
_LEFT_OVER_SECONDS = 86_400  # arbitrary: nobody sends or works on one file for a day

_CLAIM_COLUMNS = {
    Role.RESIDENT_NUMBER: "resident_number",
    Role.DOCUMENT_TYPE: "document_type",
    Role.DOCUMENT_NUMBER: "document_number",
    Role.LOCAL_NUMBER: "local_number",
    Role.NAME: "name",
    Role.SEX: "sex",
    Role.BIRTH_DATE: "birth_date",
    Role.PHONE: "phone",
}


class Linked(Protocol):
    """What linking gives back: a person (or -1) for each claim and how many persons are new."""

    @property
    def persons(self) -> np.ndarray: ...

    @property
    def created(self) -> int: ...


class PersonLinker(Protocol):
    """Makes persons of claims; identity is above intake, so app passes it in. One linker serves one file."""

    async def link(self, connection: Connection, claims: pa.Table, *, now: datetime) -> Linked: ...


class SenderRules(Protocol):
    """Which institutions a sender may report for, and that a new one is on record."""

    async def allowed(self, connection: Connection, *, institution: str) -> Sequence[str] | None: ...

    async def seen(self, connection: Connection, *, institution: str, now: datetime) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Committed:
    """A file that is about to be committed, for those who act in the same transaction.

    `replaces` are the files whose place it takes: the one it supersedes, and those for the same data that
    were refused before. `received_at` is when it arrived, `at` when it was taken in.
    """

    file_id: int
    dataset: Dataset
    outcome: Outcome
    segment: SegmentFile
    examined: Examined
    received_by: str
    supersedes: int | None
    replaces: tuple[int, ...]
    received_at: datetime
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A file none of whose rows passed and in whose place no other one stands."""

    file_id: int
    dataset: Dataset
    outcome: Outcome
    examined: Examined
    replaces: tuple[int, ...]
    received_at: datetime


Listener = Callable[[Connection, Committed], Awaitable[None]]
RefusalListener = Callable[[Connection, Refused], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class IntakeServices:
    """What intake works with; `home` is the folder that holds lake, rejects and scratch files."""

    database: Database
    pack: Pack
    home: Path
    clock: Clock
    make_linker: Callable[[int], PersonLinker]
    senders: SenderRules
    listeners: Sequence[Listener] = ()
    refusal_listeners: Sequence[RefusalListener] = ()
    engines: CheckEnginePool = field(default_factory=lambda: CheckEnginePool())


class CheckEnginePool:
    """Keeps check engines for reuse: making one costs more than checking a small file."""

    def __init__(self) -> None:
        self._idle: list[CheckEngine] = []

    def take(self, pack: Pack) -> CheckEngine:
        """Return an engine that nobody else uses."""
        return self._idle.pop() if self._idle else CheckEngine(pack=pack)

    def give_back(self, engine: CheckEngine) -> None:
        """Take an engine back for the next file."""
        self._idle.append(engine)


def describe_file(
    *,
    path: Path,
    now: datetime,
    received_by: str,
    name: str | None = None,
    institution: str | None = None,
    dataset: str | None = None,
    period: str | None = None,
    spooled: bool = False,
) -> Arrival:
    """Return the arrival of the file at `path`; its digest is read from the bytes.

    Raises:
        OSError: it is no file, or cannot be read.
        ValueError: `period` is no period.
    """
    if not path.is_file():  # opening a pipe would wait for ever
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    name = kept_name(name or path.name)
    told = Period.parse(period) if period else period_in_name(name)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").digest()
    return Arrival(
        path=path,
        name=name,
        bytes=path.stat().st_size,
        digest=digest,
        received_by=received_by,
        received_at=now,
        institution=institution,
        dataset=dataset,
        period=told.label if told else None,
        part=part_in_name(name),
        spooled=spooled,
    )


async def register(
    services: IntakeServices,
    arrival: Arrival,
    *,
    queue: Callable[[Connection, int], Awaitable[object]] | None = None,
) -> int:
    """Put an arrival on record and return its receipt's number; nothing is read yet.

    `queue` asks for the work in the same transaction, so that no file waits that nobody will work on.
    """
    async with services.database.transaction() as connection:
        file_id = await store.insert_file(connection, arrival, state=FileState.RECEIVED)
        if queue is not None:
            await queue(connection, file_id)
        return file_id


async def take_in(services: IntakeServices, arrival: Arrival) -> int:
    """Register a file and take it in at once; return its receipt's number."""
    file_id = await register(services, arrival)
    await process(services, file_id=file_id, arrival=arrival)
    return file_id


async def process_stored(services: IntakeServices, *, file_id: int) -> None:
    """Take in a registered file whose bytes lie in `home/spool`; a finished one is left as it is."""
    async with services.database.connection() as connection:
        row = await store.find_arrival(connection, file_id=file_id)
    if row is None or row["spool_name"] is None:
        return
    path = services.home / "spool" / row["spool_name"]
    if row["state"] not in ("received", "working", "failed"):
        path.unlink(missing_ok=True)  # its worker died, or lost the answer, just after the commit
        return
    arrival = Arrival(
        path=path,
        name=row["name"],
        bytes=row["bytes"],
        digest=row["digest"],
        received_by=row["received_by"],
        received_at=row["received_at"],
        institution=row["institution"],
        dataset=row["dataset"],
        period=row["period"],
        part=row["part"],
        spooled=True,
    )
    await process(services, file_id=file_id, arrival=arrival)
    # The bytes are kept until the answer is on record.
    path.unlink(missing_ok=True)


async def process(services: IntakeServices, *, file_id: int, arrival: Arrival) -> None:
    """Take a registered file in and finish its receipt.

    Raises:
        KangshuError: the platform failed (database away, disk full); the receipt says so where it can
            and the file can be processed again.
    """
    database, now = services.database, services.clock.now()
    try:
        async with database.transaction() as connection:
            standing = await store.find_standing(
                connection, digest=arrival.digest, institution=arrival.institution
            )
            if standing is not None:
                await store.close_duplicate(connection, file_id=file_id, original=standing, now=now)
                return
            await store.set_state(connection, file_id=file_id, state=FileState.WORKING)
        await database.run(lambda connection: _take_in(connection, services, file_id, arrival))
    except BaseException as error:
        if isinstance(error, UniqueViolationError) and error.constraint_name == "intake_file_once":
            await _close_as_twin(services, file_id, arrival)
        elif isinstance(error, KangshuError) and _is_senders_fault(error):
            await _close(services, file_id, FileState.REJECTED, error.text, place=error.place)
        else:
            # Whatever it was, the transaction took everything back; the receipt must not claim work goes on.
            text = say("failed") if arrival.spooled else say("interrupted")
            with suppress(Exception):
                await _close(services, file_id, FileState.FAILED, text, place=None)
            raise


def _is_senders_fault(error: KangshuError) -> bool:
    """Tell whether the file must be corrected; the directory refuses codes and rows by errors of its own."""
    return isinstance(error, TableError | FileRejectedError) or error.kind in _SENDERS_FAULTS


async def _close(
    services: IntakeServices, file_id: int, state: FileState, text: Text, *, place: str | None
) -> None:
    async with services.database.transaction() as connection:
        await store.close_refused(
            connection, file_id=file_id, state=state, text=text, place=place, now=services.clock.now()
        )


async def recover(services: IntakeServices) -> list[int]:
    """Return the files that wait for work after a restart; those read in place are closed as interrupted.

    Call it when no other process of the platform takes files in.
    """
    async with services.database.transaction() as connection:
        await store.close_interrupted(connection, text=say("interrupted"), now=services.clock.now())
        return await store.list_unfinished(connection)


async def sweep(services: IntakeServices) -> None:
    """Remove what dead processes left: drafts of lists, and bytes whose arrival was never put on record."""
    async with services.database.connection() as connection:
        wanted = await store.list_spooled(connection)
    before = services.clock.now().timestamp() - _LEFT_OVER_SECONDS
    await asyncio.to_thread(_remove_left_over, services.home, wanted, before)


def _remove_left_over(home: Path, wanted: frozenset[str], before: float) -> None:
    drafts = (home / "rejects").glob("*/*.draft")
    spooled = (path for path in (home / "spool").glob("*") if path.name not in wanted)
    for path in (*drafts, *spooled, *(home / "inbox").glob("*.part")):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < before:
                path.unlink()


async def _close_as_twin(services: IntakeServices, file_id: int, arrival: Arrival) -> None:
    """Two copies arrived at the same moment and the other one was committed first."""
    async with services.database.transaction() as connection:
        original = await store.find_standing(connection, digest=arrival.digest, institution=None)
        assert original is not None, "the constraint that failed names a standing file"
        await store.close_duplicate(connection, file_id=file_id, original=original, now=services.clock.now())


async def _take_in(connection: Connection, services: IntakeServices, file_id: int, arrival: Arrival) -> None:
    """Read, check, link and write one file inside the transaction of `connection`."""
    scratch = services.home / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    reader = await _in_thread(open_table, arrival.path, scratch=scratch)
    try:
        recognition = recognise(
            headings=reader.headings,
            pack=services.pack,
            dataset=arrival.dataset,
            file_name=arrival.name,
        )
        institution = arrival.institution or await _in_thread(_institution_of, reader, recognition)
        await services.senders.seen(connection, institution=institution, now=services.clock.now())
        allowed = await services.senders.allowed(connection, institution=institution)
        plan = compile_plan(recognition=recognition, pack=services.pack, allowed=allowed)
        engine = services.engines.take(services.pack)
        try:
            check = FileCheck(engine=engine, plan=plan, received_at=_wall_clock(arrival.received_at))
            work = _FileWork(services, file_id, arrival, recognition, institution, reader=reader)
            await work.run(connection, _then(_ahead(reader.batches()), check.check))
        finally:
            services.engines.give_back(engine)
    finally:
        reader.close()


class _FileWork:
    """The figures and the open segment of one file on its way through."""

    def __init__(
        self,
        services: IntakeServices,
        file_id: int,
        arrival: Arrival,
        recognition: Recognition,
        institution: str,
        *,
        reader: TableReader,
    ) -> None:
        self._reader = reader
        self._services = services
        self._file_id = file_id
        self._arrival = arrival
        self._dataset = recognition.dataset
        self._recognition = recognition
        self._institution = institution
        self._linker = services.make_linker(file_id) if recognition.dataset.about_persons else None
        self._claim_columns = [
            field.name
            for role in (*_CLAIM_COLUMNS, Role.INSTITUTION)
            if (field := recognition.dataset.with_role(role))
        ]
        self._schema = lake_schema(recognition.dataset)
        self._rejected = self._accepted = self._unlinked = self._created = 0
        self._tally = FindingsTally()
        self._days: Counter[date] = Counter()

    async def run(self, connection: Connection, batches: AsyncGenerator[CheckedBatch]) -> None:
        place = new_segment_path(home=self._services.home, dataset=self._dataset.name)
        writer = SegmentWriter(place, self._schema)
        path = rejects_path(self._services.home, self._file_id)
        async with aclosing(batches) as stream:
            with writer, RejectsFile(path=path, dataset=self._dataset) as rejects:
                await self._through(connection, stream, writer, rejects)

    async def _through(
        self,
        connection: Connection,
        batches: AsyncGenerator[CheckedBatch],
        writer: SegmentWriter,
        rejects: RejectsFile,
    ) -> None:
        await self._link_and_write(connection, batches, writer, rejects)
        if not self._accepted + self._rejected:
            raise NoRowsError()
        await _in_thread(rejects.publish)
        period = self._period()
        examined = self._tally.examined(sender=self._institution, period=period)
        outcome = self._outcome(examined, period)
        if not self._accepted:
            await self._close_empty(connection, outcome, examined)
            return
        segment = await _in_thread(writer.close)
        try:
            await self._commit(connection, outcome, examined, segment)
        except BaseException:
            # Not yet asked to commit, so certainly out: tried again and again it must not fill the disk.
            segment.path.unlink(missing_ok=True)
            raise

    async def _link_and_write(
        self,
        connection: Connection,
        batches: AsyncGenerator[CheckedBatch],
        writer: SegmentWriter,
        rejects: RejectsFile,
    ) -> None:
        """Link each batch's persons while the batch before it is being written."""
        writing: asyncio.Task[None] | None = None
        try:
            async for batch in batches:
                rejects.add(batch.failures)
                self._count(batch)
                if batch.good.num_rows:
                    persons = await self._link(connection, batch.good)
                    if writing:
                        await asyncio.shield(writing)
                    writing = asyncio.create_task(asyncio.to_thread(self._write, writer, batch.good, persons))
            if writing:
                await asyncio.shield(writing)
        finally:
            await _settled(writing)

    async def _commit(
        self, connection: Connection, outcome: Outcome, examined: Examined, segment: SegmentFile
    ) -> None:
        now = self._services.clock.now()
        await store.set_outcome(connection, file_id=self._file_id, outcome=outcome)
        refused = await store.list_refused_before(connection, file_id=self._file_id, outcome=outcome)
        earlier = await store.take_place(connection, file_id=self._file_id, outcome=outcome, now=now)
        if earlier is not None:
            await supersede_file(connection, file_id=earlier)
        await commit_file(
            connection,
            file_id=self._file_id,
            dataset=self._dataset.name,
            institution=self._institution,
            period=outcome.period,
            segments=[segment],
        )
        committed = Committed(
            file_id=self._file_id,
            dataset=self._dataset,
            outcome=outcome,
            segment=segment,
            examined=examined,
            received_by=self._arrival.received_by,
            supersedes=earlier,
            replaces=(*refused, *(() if earlier is None else (earlier,))),
            received_at=self._arrival.received_at,
            at=now,
        )
        await announce_committed(connection, file_id=self._file_id, outcome=outcome, supersedes=earlier)
        for listener in self._services.listeners:
            await listener(connection, committed)

    async def _close_empty(self, connection: Connection, outcome: Outcome, examined: Examined) -> None:
        """A file none of whose rows passed is refused, but its figures and reasons stay on record."""
        error = NothingAcceptedError(rows=outcome.rows)
        await store.set_outcome(connection, file_id=self._file_id, outcome=outcome)
        await store.close_refused(
            connection,
            file_id=self._file_id,
            state=FileState.REJECTED,
            text=error.text,
            place=error.place,
            now=self._services.clock.now(),
        )
        if await store.is_place_taken(connection, file_id=self._file_id, outcome=outcome):
            return
        refused = Refused(
            file_id=self._file_id,
            dataset=self._dataset,
            outcome=outcome,
            examined=examined,
            replaces=tuple(
                await store.list_refused_before(connection, file_id=self._file_id, outcome=outcome)
            ),
            received_at=self._arrival.received_at,
        )
        for listener in self._services.refusal_listeners:
            await listener(connection, refused)

    def _count(self, batch: CheckedBatch) -> None:
        self._rejected += batch.rejected
        self._accepted += batch.good.num_rows
        self._tally.add(batch)
        self._days += count_days(batch.good, event=self._dataset.event_time)

    async def _link(self, connection: Connection, good: pa.Table) -> np.ndarray | None:
        """Return the person of each row; rows with the same claim are linked once."""
        if self._linker is None:
            return None
        first, which = _distinct(good["_claim"])
        names = [name for name in self._claim_columns if name in good.column_names]
        claims = self._claims(good.select([*names, "_row"]).take(first))
        linked = await self._linker.link(connection, claims, now=self._services.clock.now())
        persons = np.asarray(linked.persons)[which]
        self._created += linked.created
        self._unlinked += int(np.count_nonzero(persons < 0))
        return persons

    def _claims(self, rows: pa.Table) -> pa.Table:
        columns: dict[str, pa.Array | pa.ChunkedArray] = {}
        for role, name in _CLAIM_COLUMNS.items():
            wanted = pa.date32() if role is Role.BIRTH_DATE else pa.string()
            field = self._dataset.with_role(role)
            if field is not None and field.name in rows.column_names:
                columns[name] = pc.cast(rows[field.name], wanted, safe=False)
            else:
                columns[name] = pa.nulls(rows.num_rows, wanted)
        columns["institution"] = self._institutions(rows)
        return pa.table(columns)

    def _institutions(self, rows: pa.Table) -> pa.Array | pa.ChunkedArray:
        field = self._dataset.with_role(Role.INSTITUTION)
        sender = pa.scalar(self._institution, pa.string())
        if field is None or self._dataset.category == "directory" or field.name not in rows.column_names:
            return pa.repeat(sender, rows.num_rows)
        return pc.fill_null(rows[field.name], sender)

    def _write(self, writer: SegmentWriter, good: pa.Table, persons: np.ndarray | None) -> None:
        rows = good.num_rows
        event = self._event(good)
        columns: list[pa.Array | pa.ChunkedArray] = [
            pa.repeat(pa.scalar(self._file_id, pa.int64()), rows),
            good["_row"],
            pa.nulls(rows, pa.int64())
            if persons is None
            else pa.array(persons, pa.int64(), mask=persons < 0),
            self._institutions(good),
            event,
            *(self._column(good, one) for one in self._dataset.fields),
        ]
        arrays = [
            column if column.type == wanted.type else pc.cast(column, wanted.type)
            for column, wanted in zip(columns, self._schema, strict=True)
        ]
        writer.write(pa.Table.from_arrays(arrays, schema=self._schema))

    def _event(self, good: pa.Table) -> pa.Array | pa.ChunkedArray:
        """Return when each row's event took place; null where the data set or the file does not tell."""
        name = self._dataset.event_time
        if name is None or name not in good.column_names:
            return pa.nulls(good.num_rows, pa.timestamp("us"))
        return pc.cast(good[name], pa.timestamp("us"))

    def _column(self, good: pa.Table, field: Field) -> pa.Array | pa.ChunkedArray:
        """Return a field's column, nulls where the file does not have it."""
        if field.name in good.column_names:
            return good[field.name]
        return pa.nulls(good.num_rows, self._schema.field(field.name).type)

    def _outcome(self, examined: Examined, period: Period) -> Outcome:
        reasons = list(reasons_of(examined))
        if self._unlinked:
            reasons.append(ReasonCount(rule="unlinked", field="", severity="warning", rows=self._unlinked))
        reasons += [
            ReasonCount(rule="unknown_column", field=f"#{position + 1}", severity="warning", rows=0)
            for position in self._recognition.unknown
        ]
        return Outcome(
            dataset=self._dataset.name,
            institution=self._institution,
            period=period,
            format=str(self._reader.format),  # final only now that all rows were read
            rows=self._accepted + self._rejected,
            accepted=self._accepted,
            rejected=self._rejected,
            warnings=sum(
                len(finding.rows) for finding in examined.findings if finding.severity is Severity.WARNING
            ),
            unlinked=self._unlinked,
            persons_created=self._created,
            reasons=tuple(reasons),
        )

    def _period(self) -> Period:
        if self._arrival.period:
            return Period.parse(self._arrival.period)
        found = period_of_days(self._days)
        if found:
            return found
        day = self._arrival.received_at.date()
        return Period.around(first=day, last=day)


async def _ahead(batches: Iterator[Batch]) -> AsyncGenerator[Batch]:
    """Yield the batches, the next one being read in a thread while the caller works on this one."""
    coming = asyncio.create_task(asyncio.to_thread(next, batches, None))
    try:
        while (batch := await asyncio.shield(coming)) is not None:
            coming = asyncio.create_task(asyncio.to_thread(next, batches, None))
            yield batch
    finally:
        await _settled(coming)


async def _then(
    batches: AsyncGenerator[Batch], work: Callable[[Batch], CheckedBatch]
) -> AsyncGenerator[CheckedBatch]:
    """Yield what `work` makes of each batch, the next one in work while the caller has this one."""
    coming: asyncio.Task[CheckedBatch] | None = None
    try:
        async for batch in batches:
            done = await asyncio.shield(coming) if coming else None
            coming = asyncio.create_task(asyncio.to_thread(work, batch))
            if done is not None:
                yield done
        if coming:
            yield await asyncio.shield(coming)
    finally:
        await _settled(coming)
        await batches.aclose()


async def _in_thread(work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Return what `work` returns, done in a thread; when cancelled, first wait for the thread's end."""
    task = asyncio.create_task(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(task)
    finally:
        await _settled(task)


async def _settled(task: asyncio.Task[Any] | None) -> None:
    """Wait for a thread that cannot be stopped: nothing may be closed or lent out again under it."""
    if task is not None:
        with suppress(Exception):
            await task


def _distinct(column: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    """Return where each different value stands first, and for each row which of these is its own."""
    encoded = column.combine_chunks().dictionary_encode()
    codes = encoded.indices.to_numpy()
    first = np.empty(len(encoded.dictionary), np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)  # of equal codes the last one written stays
    return pa.array(first), codes


def _wall_clock(moment: datetime) -> datetime:
    """Return a moment as the clocks of the region's institutions show it, without zone, as rows do."""
    return moment.astimezone(ZoneInfo(ZONE)).replace(tzinfo=None)


def _institution_of(reader: TableReader, recognition: Recognition) -> str:
    """Return the institution that a file's first rows name.

    Raises:
        NoRowsError: there are no rows.
        InstitutionUnknownError: the rows name none, or what they name is no code.
    """
    found = find_institution(reader, recognition)
    if found is None:
        raise InstitutionUnknownError()
    return found
