"""The chain: sealed in sets, readable, and no tampering goes unseen."""

from __future__ import annotations

import asyncio
import shutil
from datetime import timedelta

import asyncpg
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from kangshu import audit
from kangshu.audit import AuditBrokenError, AuditEntry
from kangshu.storage.database import Database

pytestmark = pytest.mark.database


@pytest.fixture
def anchor(tmp_path):
    return tmp_path / "audit" / "anchor.json"


def entries(count: int, clock, *, person: int | None = 7, first: int = 0) -> list[AuditEntry]:
    return [
        AuditEntry(
            at=clock.moment + timedelta(seconds=number),
            actor=f"staff:{number % 3}",
            actor_name="测试 医生",
            action="person.read",
            purpose="treatment",
            person=person,
            resource=f"person/{number}",
            institution="12430000445176125A",
            detail={"rows": number},
        )
        for number in range(first, first + count)
    ]


async def _record(database, some):
    async with database.transaction() as connection:
        await audit.record(connection, entries=some)


async def _tamper(database, *statements):
    """Do what a database administrator with bad intentions can do."""
    async with database.connection() as connection:
        await connection.execute("ALTER TABLE audit_entry DISABLE TRIGGER USER")
        for statement in statements:
            await connection.execute(statement)


@pytest.fixture
def chain_of(database_run, keys, anchor, fixed_clock):
    """Seal `count` entries, let `meanwhile(database)` happen, return what `verify` finds."""

    def scenario(count, *tampering, meanwhile=None):
        async def work(database):
            await _record(database, entries(count, fixed_clock))
            await audit.seal(database, keys=keys, anchor=anchor, now=fixed_clock.now())
            await _tamper(database, *tampering)
            if meanwhile:
                await meanwhile(database)
            return await audit.verify(database, keys=keys, anchor=anchor, now=fixed_clock.now())

        return database_run(work)

    return scenario


def test_an_untouched_chain_is_intact(chain_of):
    found = chain_of(12)

    assert (found.entries, found.intact, found.fault, found.at) == (12, True, None, None)


def test_an_empty_chain_is_intact(chain_of):
    found = chain_of(0)

    assert (found.entries, found.intact) == (0, True)


CHANGED_FIELDS = [
    "at = at + interval '1 microsecond'",
    "at = 'infinity'",
    "at = '4000-01-01 BC'",
    "actor = 'staff:9'",
    "actor_name = '别人'",
    "action = 'person.find'",
    "purpose = NULL",
    "purpose = ''",
    "person = 8",
    "person = NULL",
    "resource = institution, institution = resource",
    "institution = '0'",
    "outcome = 'refused'",
    """detail = '{"rows": 4}'""",
    "hash = decode(repeat('00', 32), 'hex')",
]


@pytest.mark.parametrize("change", CHANGED_FIELDS)
def test_any_changed_field_is_found_with_its_number(chain_of, change):
    found = chain_of(9, f"UPDATE audit_entry SET {change} WHERE chain = 5")

    assert (found.intact, found.at) == (False, 5)


COPY_OF_LAST = """
    INSERT INTO audit_entry SELECT {}, at, actor, actor_name, action, purpose, person, resource, institution,
      outcome, detail, hash FROM audit_entry WHERE chain = 9"""


@pytest.mark.parametrize(
    ("what", "statements", "at"),
    [
        ("first removed", ["DELETE FROM audit_entry WHERE chain = 1"], 1),
        ("middle removed", ["DELETE FROM audit_entry WHERE chain = 5"], 5),
        (
            "middle removed and the rest moved up",
            [
                "DELETE FROM audit_entry WHERE chain = 5",
                *(f"UPDATE audit_entry SET chain = {n - 1} WHERE chain = {n}" for n in range(6, 10)),
            ],
            5,
        ),
        (
            "two exchanged",
            [
                "UPDATE audit_entry SET chain = 100 WHERE chain = 4",
                "UPDATE audit_entry SET chain = 4 WHERE chain = 5",
                "UPDATE audit_entry SET chain = 5 WHERE chain = 100",
            ],
            4,
        ),
        ("tail cut", ["DELETE FROM audit_entry WHERE chain > 7"], 8),
        (
            "tail cut in table and head",
            [
                "DELETE FROM audit_entry WHERE chain > 7",
                "UPDATE audit_head SET chain = 7, hash = (SELECT hash FROM audit_entry WHERE chain = 7)",
            ],
            None,
        ),
        ("all removed", ["DELETE FROM audit_entry", "DELETE FROM audit_head"], 1),
        (
            "one added at the end",
            [
                COPY_OF_LAST.format(10)
            ],
            10,
        ),
        (
            "one added before the first",
            [
                "ALTER TABLE audit_entry DROP CONSTRAINT audit_entry_chain_check",
                COPY_OF_LAST.format(-3),
            ],
            1,
        ),
        ("head removed", ["DELETE FROM audit_head"], 10),
        ("head forged", ["UPDATE audit_head SET mac = decode(repeat('00', 32), 'hex')"], None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_every_cut_and_exchange_is_found(chain_of, what, statements, at):
    found = chain_of(9, *statements)

    assert not found.intact, what
    assert found.fault is not None
    if at is not None:
        assert found.at == at


def test_a_tail_cut_together_with_a_truly_older_head_row_is_found_by_the_anchor(
    database_run, keys, anchor, fixed_clock
):
    async def scenario(database):
        async def seal():
            await audit.seal(database, keys=keys, anchor=anchor, now=fixed_clock.now())

        await _record(database, entries(5, fixed_clock))
        await seal()
        async with database.connection() as connection:
            await connection.execute("CREATE TABLE older_head AS SELECT * FROM audit_head")
        await _record(database, entries(4, fixed_clock, first=5))
        await seal()
        await _tamper(
            database,
            "DELETE FROM audit_entry WHERE chain > 5",
            "DELETE FROM audit_head",
            "INSERT INTO audit_head SELECT * FROM older_head",
        )
        await _record(database, entries(6, fixed_clock, first=50))
        with pytest.raises(AuditBrokenError, match="the anchor proves 9 entries, 5 are there"):
            await seal()
        return await audit.verify(database, keys=keys, anchor=anchor, now=fixed_clock.now())

    found = database_run(scenario)

    assert (found.intact, found.entries, found.at) == (False, 5, 6)


def test_a_chain_recomputed_as_a_whole_is_found_by_the_anchor(chain_of, keys, fixed_clock, tmp_path):
    async def rewrite(database):
        # Someone with this program, all the tables and another key, but not ours.
        from dataclasses import replace

        other = replace(keys, anchor_key=bytes(32))
        await _tamper(database, "DELETE FROM audit_entry", "DELETE FROM audit_head")
        await _record(database, entries(9, fixed_clock, person=8))
        await audit.seal(database, keys=other, anchor=tmp_path / "other.json", now=fixed_clock.now())
        await _tamper(database, "DELETE FROM audit_head")

    found = chain_of(9, meanwhile=rewrite)

    assert (found.intact, found.at) == (False, 9)
    assert found.fault is not None
    assert "rewritten" in found.fault.en


@pytest.mark.parametrize(
    "content", [None, b"", b"{}", b'{"chain": 1, "hash": "00", "mac": "00"}', b"\xff\x00"]
)
def test_a_lost_or_forged_anchor_is_found_and_stops_sealing(chain_of, anchor, keys, fixed_clock, content):
    async def spoil(database):
        if content is None:
            anchor.unlink()
        else:
            anchor.write_bytes(content)
        await _record(database, entries(1, fixed_clock))
        with pytest.raises(AuditBrokenError):
            await audit.seal(database, keys=keys, anchor=anchor, now=fixed_clock.now())

    found = chain_of(9, meanwhile=spoil)

    assert (found.intact, found.entries) == (False, 9)


def test_an_anchor_that_a_crash_left_behind_is_mended_by_the_next_sealing(
    chain_of, anchor, fixed_clock, keys
):
    async def crash_after_commit(database):
        older = anchor.read_bytes()
        await _record(database, entries(3, fixed_clock))
        await audit.seal(database, keys=keys, anchor=anchor, now=fixed_clock.now())
        newer = anchor.read_bytes()
        anchor.write_bytes(older)
        assert await audit.seal(database, keys=keys, anchor=anchor, now=fixed_clock.now()) == 0
        assert anchor.read_bytes() == newer

    found = chain_of(9, meanwhile=crash_after_commit)

    assert (found.intact, found.entries) == (True, 12)


def test_after_a_break_was_accepted_sealing_goes_on_and_the_acceptance_is_on_record(
    database_run, keys, anchor, fixed_clock
):
    async def scenario(database):
        now = fixed_clock.now()
        await _record(database, entries(9, fixed_clock))
        await audit.seal(database, keys=keys, anchor=anchor, now=now)
        await _tamper(database, "DELETE FROM audit_entry WHERE chain > 7")
        await audit.accept_break(
            database, keys=keys, anchor=anchor, now=now, actor="staff:1", actor_name="管理员"
        )
        await _record(database, entries(1, fixed_clock))
        found = await audit.verify(database, keys=keys, anchor=anchor, now=now)
        async with database.connection() as connection:
            return found, await audit.list_entries(connection, action="audit.accept-break")

    found, acceptances = database_run(scenario)

    assert (found.intact, found.entries) == (True, 9)
    assert [(entry.chain, entry.detail) for entry in acceptances] == [
        (8, {"anchored": 9, "found": 7, "head": 9})
    ]


def test_the_table_itself_refuses_changes(database_run, keys, anchor, fixed_clock):
    async def scenario(database):
        await _record(database, entries(2, fixed_clock))
        await audit.seal(database, keys=keys, anchor=anchor, now=fixed_clock.now())
        refused = 0
        for statement in (
            "UPDATE audit_entry SET actor = 'x'",
            "DELETE FROM audit_entry",
            "TRUNCATE audit_entry",
        ):
            async with database.connection() as connection:
                try:
                    await connection.execute(statement)
                except asyncpg.RestrictViolationError as error:
                    refused += "append-only" in str(error)
        return refused

    assert database_run(scenario) == 3


def test_an_entry_stands_only_with_its_transaction_and_sealing_waits_for_nobody(
    database_run, keys, anchor, fixed_clock
):
    async def scenario(database):
        async def seal():
            return await audit.seal(database, keys=keys, anchor=anchor, now=fixed_clock.now())

        first, second, third = (entries(1, fixed_clock, first=n) for n in range(3))
        async with database.transaction() as slow:
            await audit.record(slow, entries=first)
            await _record(database, second)
            sealed_meanwhile = await seal()
        async with database.connection() as connection:
            undone = connection.transaction()
            await undone.start()
            await audit.record(connection, entries=third)
            await undone.rollback()
        sealed_after = await seal()
        async with database.connection() as connection:
            return sealed_meanwhile, sealed_after, await audit.list_entries(connection)

    meanwhile, after, listed = database_run(scenario)

    assert (meanwhile, after) == (1, 1)
    assert [(entry.chain, entry.resource) for entry in listed] == [(2, "person/0"), (1, "person/1")]


def test_many_writers_and_sealers_at_once_make_one_dense_chain(database_url, run, keys, anchor, fixed_clock):
    async def write(database, number):
        for turn in range(10):
            await _record(database, entries(5, fixed_clock, first=100 * number + 5 * turn))

    async def seal_often(database):
        for _ in range(6):
            await audit.seal(database, keys=keys, anchor=anchor, now=fixed_clock.now())

    async def scenario():
        async with await Database.open(database_url, max_size=10) as database:
            writers = [write(database, number) for number in range(6)]
            await asyncio.gather(*writers, *(seal_often(database) for _ in range(3)))
            return await audit.verify(database, keys=keys, anchor=anchor, now=fixed_clock.now())

    found = run(scenario())

    assert (found.entries, found.intact) == (300, True)


def test_a_person_sees_who_looked_newest_first_page_by_page(database_run, keys, anchor, fixed_clock):
    async def scenario(database):
        await _record(database, [*entries(5, fixed_clock, person=7), *entries(3, fixed_clock, person=8)])
        await audit.seal(database, keys=keys, anchor=anchor, now=fixed_clock.now())
        await _record(database, entries(1, fixed_clock, person=7, first=5))
        async with database.connection() as connection:
            page = await audit.list_for_person(connection, person=7, limit=3)
            rest = await audit.list_for_person(connection, person=7, limit=3, before=page[-1].chain)
            since = await audit.list_entries(connection, since=fixed_clock.moment + timedelta(seconds=4))
            actor = await audit.list_entries(connection, actor="staff:2", institution="12430000445176125A")
        return page, rest, since, actor

    page, rest, since, actor = database_run(scenario)

    assert [(entry.chain, entry.detail["rows"]) for entry in page] == [(None, 5), (5, 4), (4, 3)]
    assert [entry.chain for entry in rest] == [3, 2, 1]
    assert [entry.detail["rows"] for entry in since] == [5, 4]
    assert [entry.detail["rows"] for entry in actor] == [5, 2, 2]


def test_what_was_recorded_comes_back_as_it_was(database_run, fixed_clock):
    entry = AuditEntry(
        at=fixed_clock.moment, actor="1", actor_name="甲", action="x", detail={"a": [1, None, "康"]}
    )

    async def scenario(database):
        await _record(database, [entry])
        async with database.connection() as connection:
            return (await audit.list_entries(connection))[0]

    found = database_run(scenario)

    assert {name: getattr(found, name) for name in entry.__dataclass_fields__} == {
        name: getattr(entry, name) for name in entry.__dataclass_fields__
    }


TEXT_COLUMNS = ["actor", "actor_name", "action", "purpose", "resource", "institution", "outcome", "detail"]
numbers = st.integers(1, 20)
CONTENT = """
    SELECT (SELECT array_agg(e ORDER BY chain)::text FROM audit_entry e),
           (SELECT array_agg(h)::text FROM audit_head h)"""
KEEP = """
    CREATE TABLE kept_entry AS TABLE audit_entry;
    CREATE TABLE kept_head AS TABLE audit_head;"""
BRING_BACK = """
    DELETE FROM audit_entry;
    INSERT INTO audit_entry TABLE kept_entry;
    DROP TABLE kept_entry;
    DELETE FROM audit_head;
    INSERT INTO audit_head TABLE kept_head;
    DROP TABLE kept_head;"""
tamperings = st.one_of(
    st.builds(
        lambda column, number, text: (f"UPDATE audit_entry SET {column} = $1 WHERE chain = $2", text, number),
        st.sampled_from(TEXT_COLUMNS),
        numbers,
        st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=5),
    ),
    st.builds(
        lambda number, value: ("UPDATE audit_entry SET person = $1 WHERE chain = $2", value, number),
        numbers,
        st.integers(0, 9) | st.none(),
    ),
    st.builds(
        lambda number, micros: (
            "UPDATE audit_entry SET at = at + $1 * interval '1 microsecond' WHERE chain = $2",
            micros,
            number,
        ),
        numbers,
        st.floats(-1e6, 1e6).map(round).map(float),
    ),
    st.builds(
        lambda number, place, value: (
            "UPDATE audit_entry SET hash = set_byte(hash, $1, $2) WHERE chain = $3",
            place,
            value,
            number,
        ),
        numbers,
        st.integers(0, 31),
        st.integers(0, 255),
    ),
    st.builds(lambda number: ("DELETE FROM audit_entry WHERE chain = $1", number), numbers),
    st.builds(lambda number: ("DELETE FROM audit_entry WHERE chain > $1", number), numbers),
    st.builds(
        lambda a, b: ("UPDATE audit_entry SET chain = chain + $2 WHERE chain = $1", a, b + 20),
        numbers,
        numbers,
    ),
    st.builds(
        lambda number: (
            "UPDATE audit_head SET chain = $1, hash = (SELECT hash FROM audit_entry WHERE chain = $1)",
            number,
        ),
        numbers,
    ),
)  # fmt: skip


@pytest.fixture
def sealed_chain(database_url, run, keys, anchor, fixed_clock):
    async def prepare():
        async with await Database.open(database_url) as database:
            await _record(database, entries(20, fixed_clock))
            await audit.seal(database, keys=keys, anchor=anchor, now=fixed_clock.now())
            await _tamper(database)

    run(prepare())
    shutil.copy(anchor, anchor.with_suffix(".kept"))
    return database_url


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(plan=st.lists(tamperings, min_size=1, max_size=4))
def test_random_tampering_is_found_whenever_it_changed_anything(
    sealed_chain, run, keys, anchor, fixed_clock, plan
):

    async def scenario():
        async with await Database.open(sealed_chain) as database, database.connection() as connection:
            before = tuple(await connection.fetchrow(CONTENT))
            await connection.execute(KEEP)
            try:
                for statement, *values in plan:
                    savepoint = connection.transaction()
                    await savepoint.start()
                    try:
                        await connection.execute(statement, *values)
                    except asyncpg.IntegrityConstraintViolationError:
                        await savepoint.rollback()
                    else:
                        await savepoint.commit()
                changed = before != tuple(await connection.fetchrow(CONTENT))
                found = await audit.verify(database, keys=keys, anchor=anchor, now=fixed_clock.now())
            finally:
                await connection.execute(BRING_BACK)
            return changed, found.intact

    changed, intact = run(scenario())
    event(f"changed: {changed}")

    assert intact != changed
