"""Backup and restore: everything comes back, a damaged file brings back nothing."""

from __future__ import annotations

import asyncio
import errno
import gzip
import io
import json
import os
import tarfile
import tempfile
from pathlib import Path

import pytest

from kangshu.storage import backup as backups
from kangshu.storage import embedded, jobs, migrations, outbox
from kangshu.storage.database import Database
from kangshu.storage.errors import (
    BackupDamagedError,
    BackupTargetError,
    DatabaseNewerError,
    MigrationChangedError,
    StorageError,
    StorageFullError,
)

pytestmark = pytest.mark.database


async def _content(database):
    """Every row of every table and the state of every sequence."""
    async with database.connection() as connection:
        tables = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        )
        content = {}
        for (table,) in tables:
            query = f"SELECT array_agg(t ORDER BY t::text)::text FROM {table} t"
            content[table] = await connection.fetchval(query)
        sequences = await connection.fetch(
            "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public' ORDER BY 1"
        )
        return content, [tuple(row) for row in sequences]


@pytest.fixture
def home(tmp_path):
    home = tmp_path / "home"
    for path, text in {
        "keys/keys.json": "secret",
        "settings.toml": "name = '枢'",
        "rejects/1/行.csv": "row,field,reason",
        "lake/front_page/a.parquet": "PAR1" * 1000,
        "lake/front_page/orphan.parquet": "not in the manifest",
        "audit/anchor.json": "{}",
        "scratch/upload.tmp": "not asked for",
    }.items():
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(text)
    (home / "keys/keys.json").chmod(0o600)
    return home


@pytest.fixture
def take(database_url, run, home, tmp_path, fixed_clock):
    """Fill the database, back it up, return the summary, the file and what was there."""

    def take(fill=None, url=database_url, out=tmp_path / "kangshu.backup", **options):
        async def live_files(connection):
            assert await connection.fetchval("SHOW transaction_isolation") == "repeatable read"
            return ["lake/front_page/a.parquet"]

        async def work():
            async with await Database.open(url) as database:
                await (fill or fill_some)(database)
                summary = await backups.backup(
                    database,
                    home=home,
                    out=out,
                    now=fixed_clock.now(),
                    folders=["keys", "rejects", "settings.toml", "nowhere"],
                    early_folders=["audit"],
                    **{"live_files": live_files, **options},
                )
                return summary, out, await _content(database)

        return run(work())

    return take


async def fill_some(database):
    async with database.transaction() as connection:
        for number in range(300):
            await outbox.announce(
                connection, topic="t", payload={"n": number, "zh": "康枢"}, key=f"k{number}"
            )
        await jobs.enqueue(connection, kind="score", payload={})


def _files(home: Path) -> dict[str, bytes]:
    return {
        path.relative_to(home).as_posix(): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and "postgres" not in path.parts and not path.name.startswith(".")
    }


def _restore(run, source, target, url):
    async def work():
        summary = await backups.restore(source, home=target, url=url)
        async with await Database.open(url) as database:
            return summary, await _content(database)

    return run(work())


def test_everything_comes_back_rows_sequences_and_files(take, run, tmp_path, make_database, home):
    summary, source, before = take()

    restored, after = _restore(run, source, tmp_path / "new" / "home", make_database(empty=True))

    assert after == before
    assert restored == summary
    assert (summary.rows > 300, summary.files) == (True, 5)
    assert _files(tmp_path / "new" / "home") == {
        path: data
        for path, data in _files(home).items()
        if path not in ("lake/front_page/orphan.parquet", "scratch/upload.tmp")
    }
    assert (tmp_path / "new/home/keys/keys.json").stat().st_mode & 0o777 == 0o600
    assert not backups.is_half_restored(tmp_path / "new/home")
    assert not (home / ".backup").exists()


def test_the_file_is_private_and_readable_with_any_tar(take):
    _, source, _ = take()

    assert source.stat().st_mode & 0o777 == 0o600
    with tarfile.open(source) as tar:
        names = tar.getnames()
    assert names[0] == "backup.json"
    assert names[-1] == "manifest.json"
    assert "home/keys/keys.json" in names


def test_a_backup_is_one_moment_although_writing_goes_on(take, run, tmp_path, make_database):
    async def fill_and_go_on(database):
        await fill_some(database)

    async def live_files(connection):
        async def write_meanwhile():
            async with await Database.open(take_url) as other, other.transaction() as writing:
                await jobs.enqueue(writing, kind="late", payload={})

        await write_meanwhile()
        return []

    take_url = make_database()
    _, source, _ = take(fill_and_go_on, url=take_url, live_files=live_files)

    async def kinds():
        async with await Database.open(target) as database, database.connection() as connection:
            return [count.kind for count in await jobs.count_jobs(connection)]

    target = make_database(empty=True)
    _restore(run, source, tmp_path / "new", target)
    assert run(kinds()) == ["score"]


def test_a_file_that_compaction_removes_meanwhile_is_in_the_backup_all_the_same(take, home):
    kept = (home / "lake/front_page/a.parquet").read_bytes()
    real = backups._write_table

    async def compact_meanwhile(connection, writer, **table):
        (home / "lake/front_page/a.parquet").unlink(missing_ok=True)
        await real(connection, writer, **table)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backups, "_write_table", compact_meanwhile)
        _, source, _ = take()

    with tarfile.open(source) as tar:
        member = tar.extractfile("home/lake/front_page/a.parquet")
        assert member is not None
        assert member.read() == kept


def test_a_table_larger_than_a_piece_comes_back(take, run, tmp_path, make_database):
    async def fill_much(database):
        async with database.transaction() as connection:
            await connection.execute(
                """INSERT INTO storage_job (kind, payload)
                   SELECT 'big', (SELECT jsonb_agg(sha512((n * 40 + m)::text::bytea)::text)
                                  FROM generate_series(1, 40) m)
                   FROM generate_series(1, 4000) n"""
            )

    summary, source, before = take(fill_much)
    with tarfile.open(source) as tar:
        pieces = [name for name in tar.getnames() if name.startswith("tables/storage_job/")]

    _, after = _restore(run, source, tmp_path / "new", make_database(empty=True))

    assert len(pieces) > 1
    assert after == before
    assert summary.rows >= 4000


def test_a_home_or_database_that_holds_something_is_left_alone(
    take, run, tmp_path, make_database, database_url
):
    _, source, _ = take()
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "note").write_text("mine")

    with pytest.raises(BackupTargetError, match="empty home"):
        run(backups.restore(source, home=tmp_path / "used", url=make_database(empty=True)))
    with pytest.raises(BackupTargetError, match="empty database"):
        run(backups.restore(source, home=tmp_path / "new", url=database_url))

    assert (tmp_path / "used" / "note").read_text() == "mine"
    assert list((tmp_path / "new").iterdir()) == []


def _rewrite(source: Path, change) -> None:
    """Copy a backup member by member; `change(name, data)` gives the new data, or `None` to leave it out."""
    _rewrite_members(source, lambda name, data: (name, change(name, data)))


def _rewrite_members(source: Path, change) -> None:
    with tarfile.open(source) as tar:
        members = [(entry.name, tar.extractfile(entry).read()) for entry in tar]
    with tarfile.open(source, "w") as tar:
        for name, data in (change(*member) for member in members):
            if data is not None:
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))


def _only(prefix: str, change):
    """Change the members whose names begin with `prefix`."""
    return lambda path: _rewrite(path, lambda name, data: change(data) if name.startswith(prefix) else data)


def _flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


DAMAGES = {
    "not a backup": lambda path: path.write_bytes(b"hello" * 1000),
    "nothing": lambda path: path.write_bytes(b""),
    "cut off in the middle": lambda path: os.truncate(path, path.stat().st_size // 2),
    "cut off before the manifest": _only("manifest.json", lambda data: None),
    "a table changed": _only("tables/storage_outbox", lambda data: _flip(data, len(data) // 2)),
    "a table changed into nonsense": _only("tables/storage_outbox", lambda data: gzip.compress(b"x" * 5000)),
    "a piece missing": _only("tables/storage_job", lambda data: None),
    "a file changed": _only("home/keys/keys.json", lambda data: _flip(data, 0)),
    "a file missing": _only("home/keys/keys.json", lambda data: None),
    "another version": _only("backup.json", lambda data: data.replace(b'"version": 1', b'"version": 2')),
    "a header that is no object": _only("backup.json", lambda data: b"[]"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_file_is_refused_before_anything_is_written(take, run, tmp_path, make_database, damage):
    _, source, _ = take()
    damage(source)

    with pytest.raises(BackupDamagedError):
        run(backups.restore(source, home=tmp_path / "new", url=make_database(empty=True)))

    assert not (tmp_path / "new").exists()


def test_a_path_that_leads_out_of_the_home_is_refused(take, run, tmp_path, make_database):
    _, source, _ = take()
    _rewrite_members(source, lambda name, data: (name.replace("home/keys/", "home/../"), data))

    with pytest.raises(BackupDamagedError):
        run(backups.restore(source, home=tmp_path / "new", url=make_database(empty=True)))

    assert not (tmp_path / "keys.json").exists()


def test_no_such_file_is_a_clear_error(run, tmp_path):
    with pytest.raises(BackupDamagedError, match="no such backup file"):
        run(backups.check(tmp_path / "nowhere"))


def test_a_named_file_that_is_missing_spoils_the_backup_and_keeps_the_old_one(take, home, tmp_path):
    (tmp_path / "kangshu.backup").write_text("the old one")
    (home / "lake/front_page/a.parquet").unlink()

    with pytest.raises(BackupDamagedError, match="manifest names"):
        take()

    assert (tmp_path / "kangshu.backup").read_text() == "the old one"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["kangshu.backup"]


def test_a_full_disk_keeps_the_old_backup_and_says_so(take, tmp_path, monkeypatch):
    (tmp_path / "kangshu.backup").write_text("the old one")

    def no_room(self, path, source):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(backups._Writer, "add_file", no_room)

    with pytest.raises(StorageFullError, match="no room"):
        take()

    assert [(path.name, path.read_text()) for path in tmp_path.iterdir() if path.is_file()] == [
        ("kangshu.backup", "the old one")
    ]


def test_a_backup_of_an_earlier_version_is_upgraded_by_restore(take, run, tmp_path, make_database):
    house = migrations.load_migrations()
    old = make_database(empty=True)

    async def make_old(database):
        async with database.connection() as connection:
            await migrations.apply(connection, migrations=house[:1])
            await outbox.announce(connection, topic="t", payload={})

    _, source, _ = take(make_old, url=old)
    target = make_database(empty=True)
    _restore(run, source, tmp_path / "new", target)

    async def state():
        async with await Database.open(target) as database, database.connection() as connection:
            return await migrations.migrate(connection), (await outbox.get_backlog(connection)).waiting

    assert run(state()) == ([], 1)


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda steps: [*steps, ["storage", 9999, "00"]], DatabaseNewerError),
        (lambda steps: [[*steps[0][:2], "00"], *steps[1:]], MigrationChangedError),
    ],
    ids=["newer", "other history"],
)
def test_a_backup_that_does_not_fit_this_version_is_refused(take, run, tmp_path, make_database, spoil, error):
    _, source, _ = take()

    def change(name, data):
        if name != "backup.json":
            return data
        header = json.loads(data)
        return json.dumps({**header, "migrations": spoil(header["migrations"])}).encode()

    _rewrite(source, change)

    with pytest.raises(error):
        run(backups.restore(source, home=tmp_path / "new", url=make_database(empty=True)))

    assert list((tmp_path / "new").iterdir()) == []


def test_a_home_left_by_a_killed_restore_can_be_restored_into(take, run, tmp_path, make_database):
    _, source, before = take()
    left = tmp_path / "new"
    (left / "keys").mkdir(parents=True)
    (left / "keys" / "keys.json").write_text("half")
    (left / ".restoring").touch()

    assert backups.is_half_restored(left)
    _, after = _restore(run, source, left, make_database(empty=True))

    assert after == before
    assert (left / "keys/keys.json").read_text() == "secret"


def test_a_restored_home_has_its_own_running_database(take, run):
    _, source, before = take()
    with tempfile.TemporaryDirectory(prefix="kangshu-restore-", ignore_cleanup_errors=True) as folder:
        target = Path(folder) / "home"
        try:
            run(backups.restore(source, home=target, settings={"fsync": "off", "shared_buffers": "32MB"}))

            async def work():
                async with await Database.open(embedded.start(target)) as database:
                    return await _content(database)

            assert run(work()) == before
        finally:
            embedded.stop(target)


def test_two_backups_of_one_home_at_once_are_refused(take, home):
    with backups._pins(home), pytest.raises(BackupTargetError, match="another backup"):
        take()


def test_an_interrupted_restore_leaves_the_home_empty(take, run, tmp_path, make_database):
    _, source, _ = take()

    async def stop_in_the_middle(connection, reader):
        raise asyncio.CancelledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backups, "_load_tables", stop_in_the_middle)
        with pytest.raises(asyncio.CancelledError):
            run(backups.restore(source, home=tmp_path / "new", url=make_database(empty=True)))

    assert list((tmp_path / "new").iterdir()) == []
    assert issubclass(BackupDamagedError, StorageError)
