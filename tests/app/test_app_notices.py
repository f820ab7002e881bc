"""Notices leave the platform: by mail and by hook, signed, tried again, never with what people wrote."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from notice_peers import HOST, HookOwner, MailSink, certificate, running, server_context

from kangshu import directory
from kangshu.app.notices import HOOK_JOB, MAIL_JOB, MailServer, Notifier, make_workers, sign, subscribers
from kangshu.declarations import Grade, Pack, QualitySettings, Severity, load_pack
from kangshu.kernel.texts import Text
from kangshu.quality import Cell
from kangshu.quality.rectifying import (
    Algorithm,
    ContactRefusedError,
    ContactUnknownError,
    Figures,
    Standing,
    StandingFinding,
    Task,
    acknowledge,
    close,
    count_unread,
    escalate_due,
    list_contacts,
    list_notices,
    mark_read,
    remove_contact,
    return_task,
    review_standings,
    set_contact,
)
from kangshu.security.errors import NotPermittedError, SealBrokenError
from kangshu.security.principals import SYSTEM, Principal, PrincipalKind, Reach, Role
from kangshu.security.sm import hmac_sm3
from kangshu.storage import jobs
from kangshu.storage.database import Database
from kangshu.storage.outbox import Dispatcher

pytestmark = pytest.mark.database

# Synthetic: no division begins with 99, and example.org receives no mail.
HOSPITAL = "99010100000000010A1000"
MAIL = "quality@hospital.example.org"
MONTH = date(2026, 3, 1)
SECRET = "a secret no longer, for it stands here"  # with blanks it is none
GRADES = (
    Grade(name="orange", title=Text(zh="橙色预警", en="orange"), score_below=75, days=10, escalate_days=5),
)
PACK = replace(load_pack(), quality=QualitySettings(grades=GRADES))
CENTRE = Principal(
    id="staff:centre",
    name="周业务",
    kind=PrincipalKind.STAFF,
    roles=frozenset({Role.CENTRE_STAFF}),
    reaches=(Reach.region(),),
)
NOTE = "请联系王小明 13800001234"


class World:
    """A task about a bad month, a dispatcher, the workers and a clock."""

    def __init__(self, database: Database, keys: Any, clock: Any, **notifier: Any) -> None:
        self.database, self.keys, self.clock = database, keys, clock
        self.notifier = Notifier(
            database=database, pack=PACK, keys=keys, clock=clock, hook_seconds=0.3, **notifier
        )
        with_mail = notifier.get("mail") is not None
        self.dispatcher = Dispatcher(database, subscribers(with_mail=with_mail), clock)
        self.workers = make_workers(self.notifier)

    async def contact(self, **more: Any) -> Any:
        values = {"code": HOSPITAL, "principal": SYSTEM, "random": fixed_bytes, **more}
        async with self.database.transaction() as connection:
            return await set_contact(connection, keys=self.keys, now=self.clock.now(), **values)

    async def open_task(self) -> Task:
        standing = Standing(
            cell=Cell(month=MONTH, dataset="front_page", institution=HOSPITAL),
            figures=Figures(score=71.25, rows=1200, rejected=80, wrong=90),
            findings=(
                StandingFinding(rule="required", field="sex", severity=Severity.ERROR, rows=80, points=3.5),
            ),
            last_arrival=self.clock.now(),
        )
        async with self.database.transaction() as connection:
            done = await review_standings(
                connection, grades=GRADES, standings=[standing], month=MONTH, now=self.clock.now()
            )
        await self.dispatcher.deliver()
        return done.opened[0]

    async def work(self) -> int:
        """Do what is due; return how many jobs were tried."""
        count = 0
        for worker in self.workers:
            while await worker.run_one():
                count += 1
        return count

    async def left(self) -> list[jobs.Job]:
        async with self.database.connection() as connection:
            return await jobs.list_jobs(connection)


def fixed_bytes(count: int) -> bytes:
    return bytes(range(7, 7 + count))


@pytest.fixture
def notices_run(database_run: Any, keys: Any, fixed_clock: Any) -> Callable[..., Any]:
    """Run `async fn(world)`; further words go to the notifier."""

    def run(work: Callable[[World], Awaitable[None]], **notifier: Any) -> None:
        async def scenario(database: Database) -> None:
            await work(World(database, keys, fixed_clock, **notifier))

        database_run(scenario)

    return run


def plain(sink: MailSink, **more: Any) -> MailServer:
    """Return the sink as a mail server without TLS."""
    values = {"sender": "kangshu@centre.example.org", "tls": "none", **more}
    return MailServer(host=HOST, port=sink.port, **values)


def with_mail(world: World, server: MailServer) -> World:
    return World(world.database, world.keys, world.clock, mail=server, address="https://health.example.org")


def test_a_letter_tells_what_to_mend_by_when_in_both_languages_and_nothing_that_people_wrote(notices_run):
    async def scenario(world: World) -> None:
        sink = MailSink()
        async with running(sink):
            world = with_mail(world, plain(sink))
            await world.contact(mail=MAIL)
            task = await world.open_task()
            assert await world.work() == 1
            async with world.database.transaction() as connection:
                await acknowledge(
                    connection, task=task.id, principal=CENTRE, now=world.clock.now(), note=NOTE
                )
                await close(connection, task=task.id, principal=CENTRE, now=world.clock.now(), note=NOTE)
            await world.dispatcher.deliver()
            assert await world.work() == 1

        first, second = sink.letters
        text = first.get_content()
        assert first["To"] == MAIL
        assert first["Subject"] == "【橙色预警】住院病案首页 2026-03 需整改，2026-03-12 前完成"
        assert "71.25" in text
        assert "（80 行，值 3.50 分）" in text
        assert "(80 rows, worth 3.50 points)" in text
        assert f"https://health.example.org/console/quality/tasks/{task.id}" in text
        assert text.index("机构：") < text.index("Institution:")
        assert second["Subject"].startswith("【已销号】")
        for letter in sink.letters:
            assert "王小明" not in letter.as_string() + letter.get_content()
        assert first["Message-ID"] != second["Message-ID"]
        assert await world.left() == []

    notices_run(scenario)


def test_a_letter_that_is_refused_is_tried_again_and_arrives_once(notices_run):
    async def scenario(world: World) -> None:
        sink = MailSink(answers=["451 later", "451 later"])
        async with running(sink):
            world = with_mail(world, plain(sink))
            await world.contact(mail=MAIL)
            await world.open_task()
            for _ in range(5):
                await world.work()
                world.clock.advance(seconds=10)

        assert len(sink.letters) == 1
        assert sink.commands.count("DATA") == 3
        assert await world.left() == []

    notices_run(scenario)


def test_while_the_mail_server_is_away_letters_wait_and_never_die(notices_run):
    async def scenario(world: World) -> None:
        sink = MailSink()
        async with running(sink):
            port = sink.port
        world = with_mail(world, plain(sink))
        await world.contact(mail=MAIL)
        await world.open_task()
        for _ in range(20):
            assert await world.work() == 1
            world.clock.advance(seconds=31)
        (waiting,) = await world.left()
        assert (waiting.state, waiting.attempts) == ("waiting", 0)
        assert waiting.error is not None
        assert waiting.error.startswith("MailServerError")
        assert MAIL not in waiting.error

        server = await asyncio.start_server(sink.serve, HOST, port)
        await world.work()
        server.close()
        assert len(sink.letters) == 1

    notices_run(scenario)


def test_a_mail_server_that_drips_is_cut_off(notices_run):
    async def scenario(world: World) -> None:
        sink = MailSink(drip_seconds=0.05)
        async with running(sink):
            world = with_mail(world, plain(sink, whole_seconds=0.3))
            await world.contact(mail=MAIL)
            await world.open_task()
            assert await world.work() == 1
        (waiting,) = await world.left()
        assert waiting.error is not None
        assert waiting.error.startswith("MailServerError")

    notices_run(scenario)


def test_the_password_goes_only_to_a_server_whose_certificate_is_vouched_for(
    notices_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def scenario(world: World) -> None:
        path = certificate(tmp_path)
        sink = MailSink(context=server_context(path))
        async with running(sink):
            world = with_mail(world, plain(sink, tls="starttls", user="kangshu", password="river"))
            await world.contact(mail=MAIL)
            await world.open_task()
            await world.work()
            assert (sink.signed_in, sink.letters) == ([], [])

            monkeypatch.setenv("SSL_CERT_FILE", str(path))
            world.clock.advance(seconds=31)
            await world.work()
        assert sink.signed_in == ["kangshu"]
        assert sink.encrypted == 1
        assert len(sink.letters) == 1

    notices_run(scenario)


def test_a_server_without_starttls_gets_no_letter(notices_run):
    async def scenario(world: World) -> None:
        sink = MailSink()
        async with running(sink):
            world = with_mail(world, plain(sink, tls="starttls"))
            await world.contact(mail=MAIL)
            await world.open_task()
            await world.work()
        assert sink.letters == []
        assert len(await world.left()) == 1

    notices_run(scenario)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_hook_gets_a_signed_document_that_its_owner_can_check(notices_run, algorithm: Algorithm):
    async def scenario(world: World) -> None:
        owner = HookOwner()
        async with running(owner):
            contact = await world.contact(hook=owner.address, algorithm=algorithm)
            task = await world.open_task()
            await world.work()

        ((headers, body),) = owner.posts
        signed = headers["kangshu-time"].encode() + b"." + body
        secret = contact.secret.encode()
        digest = (
            hmac_sm3(secret, signed).hex()
            if algorithm is Algorithm.SM3
            else hmac.new(secret, signed, hashlib.sha256).hexdigest()
        )
        assert headers["line"] == "POST /quality?from=kangshu HTTP/1.1"
        assert headers["host"] == f"{HOST}:{owner.port}"
        assert headers["kangshu-signature"] == f"hmac-{algorithm}={digest}"
        assert int(headers["kangshu-time"]) == int(world.clock.now().timestamp())
        document = json.loads(body)
        assert (document["task"], document["topic"]) == (task.id, "quality.task_opened")
        assert document["findings"][0]["rows"] == 80
        assert await world.left() == []

    notices_run(scenario)


def test_a_hook_that_is_silent_then_fails_then_moves_then_answers_gets_the_notice_once(notices_run):
    async def scenario(world: World) -> None:
        owner = HookOwner(answers=[None, 500, 302])
        async with running(owner):
            await world.contact(hook=owner.address)
            await world.open_task()
            errors = []
            for _ in range(4):
                await world.work()
                errors += [one.error for one in await world.left()]
                world.clock.advance(seconds=20)
            await world.work()

        assert [error.split(":")[0] for error in errors if error] == ["HookFailedError"] * 3
        assert ["秒内没有应答" in errors[0], "500" in errors[1], "302" in errors[2]] == [True] * 3
        assert not any(owner.address in error for error in errors)
        assert len(owner.posts) == 4
        assert len({body for _, body in owner.posts}) == 1

    notices_run(scenario)


def test_a_hook_that_never_answers_ends_as_a_dead_letter_that_can_be_sent_on(notices_run):
    async def scenario(world: World) -> None:
        owner = HookOwner()
        async with running(owner):
            pass
        await world.contact(hook=owner.address)
        await world.open_task()
        for _ in range(30):
            await world.work()
            world.clock.advance(hours=2)
        async with world.database.transaction() as connection:
            (dead,) = await jobs.list_dead(connection)
            assert (dead.kind, dead.attempts) == (HOOK_JOB, 16)
            assert await jobs.retry_dead(connection) == 1
        server = await asyncio.start_server(owner.serve, HOST, owner.port)
        await world.work()
        server.close()
        assert len(owner.posts) == 1

    notices_run(scenario)


def test_a_job_that_is_done_again_after_its_notice_went_out_sends_nothing(notices_run):
    async def scenario(world: World) -> None:
        owner = HookOwner()
        async with running(owner):
            await world.contact(hook=owner.address)
            await world.open_task()
            await world.work()
            async with world.database.transaction() as connection:
                await jobs.enqueue(connection, kind=HOOK_JOB, payload={"notice": 1})
                await jobs.enqueue(connection, kind=HOOK_JOB, payload={"notice": 999})
            assert await world.work() == 2
        assert len(owner.posts) == 1
        assert await world.left() == []

    notices_run(scenario)


def test_without_a_contact_or_a_mail_server_there_is_the_console(notices_run):
    async def scenario(world: World) -> None:
        await world.contact(mail=MAIL)
        task = await world.open_task()

        assert await world.left() == []
        async with world.database.transaction() as connection:
            (notice,) = await list_notices(connection, codes=[HOSPITAL])
            assert (notice.task, notice.topic) == (task.id, "quality.task_opened")
            assert await count_unread(connection, codes=[HOSPITAL]) == 1
            assert await count_unread(connection, codes=["other"]) == 0
            assert await mark_read(
                connection, codes=[HOSPITAL], upto=notice.id, principal=CENTRE, now=world.clock.now()
            )
            assert await count_unread(connection, codes=[HOSPITAL]) == 0

    notices_run(scenario)


def test_an_announcement_that_comes_twice_is_told_once(notices_run):
    async def scenario(world: World) -> None:
        await world.contact(hook="http://hook.example.org/")
        await world.open_task()
        async with world.database.transaction() as connection:
            await connection.execute(
                """INSERT INTO storage_outbox (topic, payload)
                   VALUES ('quality.task_opened', $1)""",
                {"task": 1, "event": 1, "institution": HOSPITAL, "at": "2026-03-02T08:30:00+00:00"},
            )
        await world.dispatcher.deliver()

        async with world.database.connection() as connection:
            assert len(await list_notices(connection, codes=[HOSPITAL])) == 1
        assert [job.kind for job in await world.left()] == [HOOK_JOB]

    notices_run(scenario)


def test_of_late_tasks_the_county_hears_then_the_city_then_the_province(notices_run):
    async def scenario(world: World) -> None:
        async with world.database.transaction() as connection:
            await directory.load_divisions(
                connection,
                rows=[
                    {"division_code": "990000", "name": "云泽省"},
                    {"division_code": "990100", "name": "云泽市", "parent_code": "990000"},
                    {"division_code": "990101", "name": "桐山区", "parent_code": "990100"},
                ],
            )
            await directory.load_institutions(
                connection,
                rows=[{"institution_code": HOSPITAL, "name": "桐山区人民医院", "division_code": "990101"}],
            )
        await world.open_task()
        for _ in range(60):
            world.clock.advance(days=1)
            async with world.database.transaction() as connection:
                await escalate_due(connection, now=world.clock.now())
            await world.dispatcher.deliver()

        async with world.database.connection() as connection:
            codes = {
                code: await count_unread(connection, codes=[code]) for code in ("990101", "990100", "990000")
            }
            own = await list_notices(connection, codes=[HOSPITAL])
        assert codes == {"990101": 1, "990100": 1, "990000": 1}
        assert len(own) == 4

    notices_run(scenario)


def test_returned_tasks_are_told_with_the_new_deadline(notices_run):
    async def scenario(world: World) -> None:
        sink = MailSink()
        async with running(sink):
            world = with_mail(world, plain(sink))
            await world.contact(mail=MAIL)
            task = await world.open_task()
            async with world.database.transaction() as connection:
                await connection.execute("UPDATE quality_task SET state = 'rechecked'")
                await return_task(
                    connection,
                    task=task.id,
                    principal=CENTRE,
                    now=world.clock.now(),
                    reason=NOTE,
                    deadline=date(2026, 3, 31),
                )
            await world.dispatcher.deliver()
            await world.work()
        assert sink.letters[-1]["Subject"] == "【退回】住院病案首页 2026-03 整改未通过，2026-03-31 前完成"
        assert "王小明" not in sink.letters[-1].get_content()

    notices_run(scenario)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mail": "no address"},
        {"mail": "a@example.org\r\nBcc: b@example.org"},
        {"mail": "a@example.org,b@example.org"},
        {"hook": "ftp://example.org/"},
        {"hook": "file:///etc/passwd"},
        {"hook": "http://user:word@example.org/"},
        {"hook": "http://example.org/ x"},
        {"hook": "http://example.org/\r\nX: y"},
        {"hook": "http://"},
        {"hook": "http://example.org:99999/"},
        {"hook": "https://例子.example.org/"},
        {"hook": "https://example.org/", "algorithm": "md5"},
        {"hook": "https://example.org/", "secret": SECRET},
        {"hook": "https://example.org/", "secret": "short"},
        {"code": "../x", "mail": MAIL},
        {"code": "", "mail": MAIL},
    ],
)
def test_a_contact_that_makes_no_sense_is_refused(notices_run, wrong: dict[str, str]):
    async def scenario(world: World) -> None:
        with pytest.raises(ContactRefusedError):
            await world.contact(**wrong)

    notices_run(scenario)


def test_only_administrators_set_contacts_and_their_secrets_are_sealed(notices_run):
    async def scenario(world: World) -> None:
        first = await world.contact(hook="https://hook.example.org/a")
        again = await world.contact(hook="https://hook.example.org/b", mail=MAIL)
        with pytest.raises(NotPermittedError):
            await world.contact(mail=MAIL, principal=CENTRE)

        assert len(first.secret) == 48
        assert again.secret == first.secret
        assert first.secret not in repr(first)
        async with world.database.transaction() as connection:
            row = await connection.fetchrow("SELECT to_jsonb(c)::text FROM quality_contact c")
            assert row is not None
            assert first.secret not in row[0]
            assert [one.hook for one in await list_contacts(connection, keys=world.keys)] == [again.hook]
            actions = await connection.fetch("SELECT action FROM audit_pending ORDER BY id")
            assert [one[0] for one in actions] == ["quality.contact-set"] * 2
        async with world.database.transaction() as connection:
            await connection.execute(
                "UPDATE quality_contact SET secret_sealed = set_byte(secret_sealed, 20, 1)"
            )
            with pytest.raises(SealBrokenError):
                await list_contacts(connection, keys=world.keys)
            await remove_contact(connection, code=HOSPITAL, principal=SYSTEM, now=world.clock.now())
            with pytest.raises(ContactUnknownError):
                await remove_contact(connection, code=HOSPITAL, principal=SYSTEM, now=world.clock.now())

    notices_run(scenario)


def test_a_signature_differs_with_the_moment_the_body_and_the_secret():
    plain_one = {"secret": "k" * 16, "algorithm": Algorithm.SHA256, "seconds": 1, "body": b"{}"}

    signatures = {
        sign(**{**plain_one, **change})
        for change in (
            {},
            {"seconds": 2},
            {"body": b"{ }"},
            {"secret": "l" * 16},
            {"algorithm": Algorithm.SM3},
        )
    }

    assert len(signatures) == 5
    assert MAIL_JOB != HOOK_JOB
    assert isinstance(PACK, Pack)
    assert datetime(2026, 3, 1, tzinfo=UTC).date() == MONTH
