"""Make codes and accept them: many at once in one statement each, every one with its audit entry.

`ScanDesk` gathers what arrives at the same moment, so that a busy door pays for few transactions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from kangshu.audit import Outcome, record
from kangshu.healthcard import store
from kangshu.healthcard.codes import ReadCode, dynamic_text, read_code, signed_text, static_text
from kangshu.healthcard.errors import CardStateError, CardUnknownError, HealthCardError
from kangshu.healthcard.masking import view_of
from kangshu.healthcard.model import (
    Attribute,
    Caller,
    Code,
    CodeKind,
    Refusal,
    Scan,
    ScanRequest,
    Status,
)
from kangshu.healthcard.office import Office, entry
from kangshu.healthcard.settings import CardSettings
from kangshu.kernel.clock import Clock
from kangshu.kernel.texts import load_catalogue
from kangshu.storage.database import Connection, Database, Record

GATHERED_MOST = 200
_LONGEST = 64

_Asked = TypeVar("_Asked")
_Told = TypeVar("_Told")

say = load_catalogue(__package__ or __name__)


# Making codes


async def issue_code(
    connection: Connection,
    *,
    office: Office,
    card: int,
    kind: CodeKind = CodeKind.DYNAMIC,
    caller: Caller,
    now: datetime,
) -> Code:
    """Return a code of the card to be shown; it is on record that it was made.

    Raises:
        CardUnknownError: there is no such card.
        CardStateError: it is lost, cancelled, not issued or expired.
    """
    (code,) = await issue_codes(connection, office=office, requests=[(card, kind, caller)], now=now)
    if isinstance(code, HealthCardError):
        raise code
    return code


async def issue_codes(
    connection: Connection,
    *,
    office: Office,
    requests: Sequence[tuple[int, CodeKind, Caller]],
    now: datetime,
) -> list[Code | HealthCardError]:
    """Return for each request its code, or why there is none (see `issue_code`)."""
    office.saw(now)
    wanted = sorted({card for card, _, _ in requests if 0 < card < 1 << 63})
    rows = {row["id"]: row for row in await store.get_cards(connection, cards=wanted, now=now)}
    codes = [_code(office, rows.get(card), card, kind, now) for card, kind, _ in requests]
    entries = [
        entry(
            caller,
            action="card.code",
            now=now,
            card=card,
            person=_person(rows.get(card)),
            outcome=Outcome.DONE if isinstance(code, Code) else Outcome.REFUSED,
            detail={"kind": str(kind)},
        )
        for (card, kind, caller), code in zip(requests, codes, strict=True)
    ]
    await record(connection, entries=entries)
    return codes


def _person(row: Record | None) -> int | None:
    if row is None:
        return None
    return row["person"] if row["survivor"] is None else row["survivor"]


def _code(
    office: Office, row: Record | None, card: int, kind: CodeKind, now: datetime
) -> Code | HealthCardError:
    if row is None:
        return CardUnknownError(say["card_unknown"])
    expired = row["valid_until"] is not None and row["valid_until"] <= now
    if row["status"] != Status.NORMAL or expired:
        return CardStateError(say["card_state"])
    settings = office.settings
    _, card_id, _ = office.open_holder(row["sealed"], digest=row["card"])
    temporary = row["attribute"] == Attribute.TEMPORARY
    suffix = settings.temporary_suffix if temporary else settings.formal_suffix
    if kind is CodeKind.STATIC:
        return Code(
            card=card,
            kind=kind,
            text=static_text(card_id, suffix=suffix),
            issued_at=now,
            expires_at=row["valid_until"],
        )
    seconds = settings.dynamic_seconds if kind is CodeKind.DYNAMIC else settings.signed_seconds
    ends = now.replace(microsecond=0) + timedelta(seconds=seconds)
    key = office.ring.codes[0].value
    if kind is CodeKind.DYNAMIC:
        text = dynamic_text(key, card_id, suffix=suffix, expires_at=ends, zone=settings.zone)
    else:
        private = office.ring.signs[0].value
        text = signed_text(key, private, card_id, suffix=suffix, expires_at=ends, zone=settings.zone)
    return Code(card=card, kind=kind, text=text, issued_at=now, expires_at=ends)


# Accepting codes


async def scan(connection: Connection, *, office: Office, request: ScanRequest, now: datetime) -> Scan:
    """Return what the code comes to, with the least that the caller's role needs of its holder.

    A code that is not accepted is no error: `Scan.refusal` says why, for the audit and the dashboard; tell
    the bearer `Refusal.told_as`. Run it in a transaction of its own and commit before answering: marks,
    audit and count stand together.
    """
    (found,) = await scan_all(connection, office=office, requests=[request], now=now)
    return found


async def scan_all(
    connection: Connection, *, office: Office, requests: Sequence[ScanRequest], now: datetime
) -> list[Scan]:
    """Return what each of many codes comes to, as `scan` does, in their order."""
    if not requests:
        return []
    office.saw(now)
    read = _read(office, requests, now)
    if Refusal.UNKNOWN in read and await office.refresh(connection, now=now):
        read = _read(office, requests, now)
    readings = _readings(office, requests, read, now)
    rows = await store.scan(
        connection,
        readings=readings,
        reuse=office.settings.reuse,
        now=now,
        today=office.today(now),
    )
    scans = [_scan(office, request, row, now) for request, row in zip(requests, rows, strict=True)]
    await record(
        connection,
        entries=[_entry(request, found, now) for request, found in zip(requests, scans, strict=True)],
    )
    return scans


def _read(office: Office, requests: Sequence[ScanRequest], now: datetime) -> list[ReadCode | Refusal]:
    code_keys = office.ring.code_keys(now)
    zone = office.settings.zone
    return [read_code(request.text, code_keys=code_keys, zone=zone) for request in requests]


def _readings(
    office: Office, requests: Sequence[ScanRequest], read: Sequence[ReadCode | Refusal], now: datetime
) -> list[store.Reading]:
    verdicts = [
        _verdict(office.settings, request, one, now) for request, one in zip(requests, read, strict=True)
    ]
    ids = [one.card_id for one in read if isinstance(one, ReadCode)]
    digests = iter(office.card_digests(ids))
    readings: list[store.Reading] = []
    for request, one, verdict in zip(requests, read, verdicts, strict=True):
        known = isinstance(one, ReadCode)
        caller = request.caller
        institution = caller.institution or ""
        scene = office.settings.scene_of(request.scene)
        readings.append(
            store.Reading(
                card=next(digests) if known else None,
                temporary=known and one.suffix == office.settings.temporary_suffix,
                mark=one.mark if known and one.expires_at is not None else None,
                ends=one.expires_at if known else None,
                terminal=f"{institution}/{caller.terminal}"[: 2 * _LONGEST],
                institution=institution[:_LONGEST],
                scene=scene.key if scene else "",
                verdict=verdict,
            )
        )
    return readings


def _verdict(settings: CardSettings, request: ScanRequest, read: ReadCode | Refusal, now: datetime) -> str:
    """Return the refusal that is known without asking, or an empty text."""
    if isinstance(read, Refusal):
        return str(read)
    if read.suffix not in (settings.formal_suffix, settings.temporary_suffix):
        return str(Refusal.UNKNOWN)
    if read.expires_at is not None:
        return str(Refusal.EXPIRED) if read.expires_at <= now else ""
    scene = settings.scene_of(request.scene)
    return "" if scene is not None and scene.static else str(Refusal.STATIC_REFUSED)


def _scan(office: Office, request: ScanRequest, row: Record, now: datetime) -> Scan:
    if row["verdict"]:
        genuine = row["verdict"] not in (Refusal.UNREADABLE, Refusal.UNKNOWN)
        return Scan(
            at=now,
            scene=request.scene,
            refusal=Refusal(row["verdict"]),
            card=row["id"] if genuine else None,
            person=row["person"] if genuine else None,
        )
    assert row["sealed"] is not None, "a card in force stands for its person, or another does"
    holder, card_id, index = office.open_holder(row["sealed"], digest=row["card"])
    return Scan(
        at=now,
        scene=request.scene,
        card=row["id"],
        active=row["active"],
        person=row["person"],
        card_id=card_id,
        index_id=index,
        attribute=Attribute(row["attribute"]),
        view=view_of(office.settings, holder=holder, role=request.caller.role),
        repeated=row["repeated"],
    )


def _entry(request: ScanRequest, found: Scan, now: datetime) -> Any:
    detail: dict[str, object] = {"scene": request.scene[:_LONGEST], "role": request.caller.role[:_LONGEST]}
    if request.caller.terminal:
        detail["terminal"] = request.caller.terminal[:_LONGEST]
    if found.refusal is not None:
        detail["refusal"] = str(found.refusal)
    if found.active is not None and found.active != found.card:
        detail["active"] = found.active
    return entry(
        request.caller,
        action="card.scan",
        now=now,
        card=found.card,
        person=found.person,
        outcome=Outcome.DONE if found.refusal is None else Outcome.REFUSED,
        detail=detail,
    )


# Gathering


@dataclass(eq=False)
class _Waiting(Generic[_Asked, _Told]):
    asked: _Asked
    told: asyncio.Future[_Told]


class ScanDesk:
    """Gathers scans and codes that are asked for at the same moment into few transactions.

    Each answer is given after the commit of its transaction. At most `connections` transactions of scans, and
    as many of codes, run at a time; what arrives meanwhile goes into the next. One is best where processors
    are few: the groups are larger.
    """

    def __init__(self, database: Database, *, office: Office, clock: Clock, connections: int = 1) -> None:
        self._database, self._office, self._clock = database, office, clock
        self._scans = _Gatherer[ScanRequest, Scan](self._scan_all, workers=connections)
        self._codes = _Gatherer[tuple[int, CodeKind, Caller], Code | HealthCardError](
            self._issue_all, workers=connections
        )

    async def scan(self, request: ScanRequest) -> Scan:
        """Return what the code comes to; see `scan`."""
        return await self._scans.ask(request)

    async def issue(self, card: int, kind: CodeKind, caller: Caller) -> Code:
        """Return a code of the card; see `issue_code`.

        Raises:
            CardUnknownError, CardStateError: as for `issue_code`.
        """
        code = await self._codes.ask((card, kind, caller))
        if isinstance(code, HealthCardError):
            raise code
        return code

    async def close(self) -> None:
        """Wait until everybody has his answer."""
        await self._scans.close()
        await self._codes.close()

    async def _scan_all(self, requests: Sequence[ScanRequest]) -> list[Scan]:
        async with self._database.transaction() as connection:
            return await scan_all(connection, office=self._office, requests=requests, now=self._clock.now())

    async def _issue_all(
        self, requests: Sequence[tuple[int, CodeKind, Caller]]
    ) -> list[Code | HealthCardError]:
        async with self._database.transaction() as connection:
            return await issue_codes(
                connection, office=self._office, requests=requests, now=self._clock.now()
            )


class _Gatherer(Generic[_Asked, _Told]):
    """Calls `work` with all that waits, as soon as one of its workers is free."""

    def __init__(self, work: Callable[[Sequence[_Asked]], Awaitable[list[_Told]]], *, workers: int) -> None:
        self._work = work
        self._free = workers
        self._waiting: list[_Waiting[_Asked, _Told]] = []
        self._running: set[asyncio.Task[None]] = set()

    async def ask(self, asked: _Asked) -> _Told:
        waiting = _Waiting(asked, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._free:
            self._start()
        return await waiting.told

    async def close(self) -> None:
        while self._running:
            await asyncio.wait(set(self._running))

    def _start(self) -> None:
        self._free -= 1
        task = asyncio.get_running_loop().create_task(self._run())
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = self._waiting[:GATHERED_MOST]
                del self._waiting[:GATHERED_MOST]
                await self._answer(batch)
        finally:
            self._free += 1

    async def _answer(self, batch: Sequence[_Waiting[_Asked, _Told]]) -> None:
        try:
            answers = await self._work([one.asked for one in batch])
        except BaseException as error:
            for one in batch:
                if not one.told.done():
                    one.told.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for one, answer in zip(batch, answers, strict=True):
            if not one.told.done():  # whoever asked may have gone away
                one.told.set_result(answer)
