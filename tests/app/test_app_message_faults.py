"""Kill -9 of program or database under load: no acknowledged message is lost, none stored twice."""

from __future__ import annotations

import asyncio
import itertools
import pickle
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import numpy as np
import orjson
import psutil
import pytest
from app_world import temporary_home
from message_peers import PATIENCE_SECONDS, Peer, Program, acknowledged, kill_database, serving_program
from message_world import (
    HOSPITAL,
    OTHER_HOSPITAL,
    MessageWorld,
    admission,
    open_message_world,
    reader,
    report,
    unlike,
)

from kangshu import audit, identity, lake, records
from kangshu.app.errors import EnvironmentFaultError
from kangshu.app.maintenance import bring_messages_to_lake, seal_audit
from kangshu.app.messages.files import MessageFigures, MessageFile, take_message_files
from kangshu.app.messages.opening import open_lane
from kangshu.app.platform import Platform, open_platform
from kangshu.app.whereabouts import LakeWhereabouts
from kangshu.consent import Purpose, grant_read
from kangshu.intake.messages import MessageState, count_messages
from kangshu.kernel.texts import Text
from kangshu.mapping.rows import RowMapper
from kangshu.storage import embedded
from kangshu.storage.errors import StorageFullError

pytestmark = pytest.mark.database

ROUNDS = [
    pytest.param(3, id="few"),
    pytest.param(100, id="many", marks=[pytest.mark.slow, pytest.mark.timeout(4 * 3600)]),
]
VICTIMS = [frozenset({"program"}), frozenset({"database"}), frozenset({"program", "database"})]
MLLP_PEERS, FHIR_CLIENTS = 8, 2


@pytest.fixture
def home() -> Iterator[Path]:
    with temporary_home() as place:
        yield place


@dataclass
class Ledger:
    """What the senders know: what they sent, and what was acknowledged to them."""

    sent: dict[str, bytes] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)
    visits: Counter[str] = field(default_factory=Counter)
    """By patient."""
    results: dict[str, dict[str, str]] = field(default_factory=dict)
    """By patient and the laboratory's number: the latest value."""
    versions: Counter[str] = field(default_factory=Counter)
    """By the laboratory's number: how often it was told."""
    created: int = 0

    @property
    def open(self) -> list[str]:
        return [one for one in self.sent if one not in self.acknowledged]


class Sender:
    """A hospital's machine over MLLP: what is not acknowledged is sent again before anything else is."""

    def __init__(self, ledger: Ledger, program: Program, number: int) -> None:
        self._ledger, self._program, self._number = ledger, program, number
        self._count = itertools.count(1)
        self._outstanding: tuple[str, bytes] | None = None

    async def work(self, stop: asyncio.Event) -> None:
        """Send until told to stop, and then only what is outstanding."""
        while not stop.is_set() or self._outstanding:
            with suppress(OSError):
                await self._talk(stop)
            await asyncio.sleep(0.05)

    async def _talk(self, stop: asyncio.Event) -> None:
        peer = await Peer.connect(self._program.mllp_port)
        try:
            while self._outstanding or not stop.is_set():
                self._outstanding = self._outstanding or self._next()
                control_id, body = self._outstanding
                answer = acknowledged(await peer.ask(body))
                if answer is None:
                    return
                assert answer[1] == control_id, "an acknowledgement of something else"
                if answer[0] == "AA":
                    self._ledger.acknowledged.add(control_id)
                else:
                    self._ledger.refused.append(control_id)
                self._outstanding = None
        finally:
            await peer.close()

    def _next(self) -> tuple[str, bytes]:
        """Make a visit, a result of it, and a correction of that, in turn; three patients for each sender."""
        ledger, number = self._ledger, next(self._count)
        turn, at = divmod(number - 1, 3)
        patient = f"P{self._number}-{turn % 3}"
        key = f"{self._number}-{turn}"
        control_id = f"M{self._number}-{number}"
        more: dict[str, Any] = {
            "number": patient,
            "resident": "",
            **unlike(patient),
            "sender": HOSPITAL if self._number % 2 else OTHER_HOSPITAL,
        }
        if at == 0:
            body = admission(control_id, visit_number=f"V{key}", **more)
            ledger.visits[patient] += 1
        else:
            value = f"{number % 7}.{at}0"
            body = report(
                control_id,
                filler=f"L{key}",
                status="F" if at == 1 else "C",
                value=value,
                visit_number=f"V{key}",
                **more,
            )
            ledger.results.setdefault(patient, {})[f"L{key}"] = value
            ledger.versions[f"L{key}"] += 1
        ledger.sent[control_id] = body
        return control_id, body


class Creator:
    """A FHIR client that creates Observations, each under a request id of its own."""

    def __init__(self, ledger: Ledger, program: Program, number: int, token: dict[str, str]) -> None:
        self._ledger, self._program, self._number, self._token = ledger, program, number, token
        self._count = itertools.count(1)

    async def work(self, stop: asyncio.Event) -> None:
        """Send until told to stop; each request until it is carried out."""
        async with httpx.AsyncClient(base_url=self._program.base, timeout=PATIENCE_SECONDS) as http:
            while not stop.is_set():
                request_id = f"F{self._number}-{next(self._count)}"
                body = self._body(request_id)
                self._ledger.sent[request_id] = body
                self._ledger.created += 1
                while not await self._create(http, request_id, body):
                    await asyncio.sleep(0.05)

    async def _create(self, http: httpx.AsyncClient, request_id: str, body: bytes) -> bool:
        headers = {"Content-Type": "application/fhir+json", "X-Request-Id": request_id, **self._token}
        try:
            answer = await http.post("/fhir/Observation", content=body, headers=headers)
        except httpx.HTTPError:
            return False
        if answer.status_code in (200, 201):
            self._ledger.acknowledged.add(request_id)
            return True
        if answer.status_code == 503:
            assert answer.headers["retry-after"]
            return False
        self._ledger.refused.append(f"{request_id}: {answer.status_code} {answer.text}")
        return True

    def _body(self, request_id: str) -> bytes:
        return orjson.dumps(
            {
                "resourceType": "Observation",
                "status": "final",
                "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
                "identifier": [{"system": "urn:test:device", "value": request_id}],
                "subject": {"identifier": {"system": "urn:test:device-users", "value": f"W{self._number}"}},
                "effectiveDateTime": "2026-03-01T08:30:00+08:00",
                "valueQuantity": {"value": 71, "unit": "/min"},
            }
        )


@pytest.mark.parametrize("rounds", ROUNDS)
def test_kill_9_at_any_moment_loses_no_acknowledged_message_and_stores_none_twice(home: Path, rounds: int):
    moments = np.random.default_rng(rounds).uniform(0.1, 2.0, rounds)
    ledger = Ledger()
    with serving_program(home, lake_seconds=1) as program:
        token = program.client(HOSPITAL, "messages.write")

        async def scenario() -> None:
            stop = asyncio.Event()
            workers = [Sender(ledger, program, number) for number in range(MLLP_PEERS)]
            clients = [Creator(ledger, program, number, token) for number in range(FHIR_CLIENTS)]
            tasks = [asyncio.create_task(one.work(stop)) for one in (*workers, *clients)]
            for number, moment in enumerate(moments):
                await asyncio.sleep(moment)
                await strike(program, ledger, what=VICTIMS[number % len(VICTIMS)])
                await assert_kept_once(home, set(ledger.acknowledged))
            stop.set()
            await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE_SECONDS)

        asyncio.run(scenario())
        assert ledger.refused == []
        assert ledger.open == []

    assert len(ledger.sent) > rounds * MLLP_PEERS, "the load was one"
    asyncio.run(assert_all_agrees(home, ledger))


def test_a_process_that_shares_a_file_and_is_killed_loses_nothing_that_is_sent_again(
    database_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("kangshu.app.messages.files._SHARED_FROM_BYTES", 1)
    path = tmp_path / "messages.hl7"
    count = 2000
    path.write_bytes(b"".join(admission(f"W-{one}", number=f"W{one % 500}") for one in range(count)))
    with open_message_world(database_server) as house:

        def take(listen: Any = None) -> MessageFigures:
            platform, figures = house.world.platform, MessageFigures()
            file = MessageFile(
                path=path, sender=None, received_by="hospital", received_at=platform.clock.now()
            )

            async def work() -> None:
                await take_message_files(
                    platform, house.lane, [file], figures=figures, hands=2, listen=listen
                )

            house.world.run(work)
            return figures

        counter = itertools.count(1)

        def strike_once(_: object) -> None:
            if next(counter) != 1:
                return
            for child in psutil.Process().children():
                if "kangshu.app.messages.worker" in child.cmdline():
                    child.kill()

        with pytest.raises(EnvironmentFaultError):
            take(strike_once)
        again = take()

        assert again.accepted + again.duplicate == count
        assert again.rejected == 0
        query = "SELECT count(*), count(DISTINCT control_id) FROM intake_message WHERE state = 'accepted'"
        assert tuple(house.world.run(lambda: _row(house, query))) == (count, count)


async def _row(house: MessageWorld, query: str) -> Any:
    async with house.world.platform.database.connection() as connection:
        return await connection.fetchrow(query)


def test_a_failure_comes_back_from_another_process_as_it_was():
    sent = pickle.dumps(StorageFullError(Text(zh="满", en="full"), place="disk"))

    told = pickle.loads(sent)  # noqa: S301 - our own

    assert isinstance(told, StorageFullError)
    assert (told.text.en, told.place, str(told)) == ("full", "disk", "disk: 满 / full")


async def strike(program: Program, ledger: Ledger, *, what: frozenset[str]) -> None:
    """Kill the one, the other or both, and return when messages are acknowledged again."""
    if "program" in what:
        await asyncio.to_thread(program.end)
    if "database" in what:
        await asyncio.to_thread(kill_database, program.home)
    if "program" in what:
        await asyncio.to_thread(program.start)
    before = len(ledger.acknowledged)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(ledger.acknowledged) <= before + MLLP_PEERS + FHIR_CLIENTS:
        assert time.monotonic() < deadline, "it never came back"
        await asyncio.sleep(0.02)


async def assert_kept_once(home: Path, acknowledged_: set[str]) -> None:
    """Every message that was acknowledged until now is accepted, once."""
    connection = await asyncpg.connect(embedded.start(home))
    try:
        rows = await connection.fetch(
            "SELECT control_id, state, count(*) FROM intake_message GROUP BY control_id, state"
        )
    finally:
        await connection.close()
    kept = {row["control_id"]: row["count"] for row in rows if row["state"] == MessageState.ACCEPTED}
    assert acknowledged_ <= kept.keys()
    assert set(kept.values()) == {1}
    assert len(rows) == len(kept), "nothing was refused, nothing stood against another"


async def assert_all_agrees(home: Path, ledger: Ledger) -> None:
    """Messages, counts, resources, lake, timeline and audit tell the same."""
    async with open_platform(home) as platform:
        await seal_audit(platform)
        await bring_messages_to_lake(platform)
        await assert_kept_once(home, set(ledger.sent))
        async with platform.database.connection() as connection:
            segments = await lake.live_segments(connection)
            assert all((home / "lake" / one.path).exists() for one in segments)
            counted = await count_messages(connection, by=["state"])
            assert {one.state: one.messages for one in counted} == {MessageState.ACCEPTED: len(ledger.sent)}
            counts = await lake.count_rows(connection)
            assert counts["diagnosis"] == ledger.visits.total()
            assert counts["lab_result"] == len(ledger.versions)
            stored = dict(await connection.fetch("SELECT type, count(*) FROM records_resource GROUP BY type"))
            assert stored["Encounter"] >= ledger.visits.total()
            assert stored["Observation"] == len(ledger.versions) + ledger.created
            staged = await connection.fetchval("SELECT count(*) FROM lake_staged")
            assert staged == 0
            traces = await connection.fetchval(
                """SELECT count(*) FROM audit_entry WHERE action = 'message.take' AND outcome = 'done'
                   AND detail::jsonb->>'state' = 'accepted'"""
            )
            assert traces == len(ledger.sent)
        found = await audit.verify(
            platform.database, keys=platform.keys, anchor=platform.anchor, now=platform.clock.now()
        )
        assert found.intact, found.fault
        rows = open_lane(platform).tools.rows
        for patient in sorted(ledger.visits):
            await assert_timeline(platform, rows, ledger, patient)


async def assert_timeline(platform: Platform, rows: RowMapper, ledger: Ledger, patient: str) -> None:
    """A patient's timeline shows each visit and each result once, the latter with its latest value."""
    hospital = HOSPITAL if int(patient[1]) % 2 else OTHER_HOSPITAL
    now = platform.clock.now()
    async with platform.database.connection() as connection:
        (person,) = await identity.find_persons(
            connection, keys=platform.keys, local_number=patient, institution=hospital
        )
        grant = await grant_read(
            connection,
            principal=reader(hospital),
            person=person.id,
            purpose=Purpose.TREATMENT,
            now=now,
            whereabouts=LakeWhereabouts(platform),
        )
    entries: list[records.TimelineEntry] = []
    before: str | None = None
    while True:
        page = await records.timeline(
            platform.database,
            platform.engine,
            grant=grant,
            pack=platform.pack,
            rows=rows,
            persons=[person.id],
            now=now,
            limit=500,
            before=before,
        )
        entries += page.entries
        if (before := page.next) is None:
            break
    kinds = Counter(one.kind for one in entries)
    results = [str(one.value) for one in entries if one.kind is records.Kind.LABORATORY and one.value]
    told = ledger.results.get(patient, {})
    assert kinds[records.Kind.VISIT] == ledger.visits[patient]
    assert Counter(results) == Counter(told.values())
