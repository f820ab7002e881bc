"""Put everything that must not be lost into one file, and bring it back into an empty home.

The tables come from one snapshot of the database, the files from the home: whole folders (keys, settings,
rejects) and those that the lake's manifest names in the same snapshot. Files are pinned by hard links, so
a compaction meanwhile takes nothing away. Memory stays bounded whatever the size.

The file is a plain tar, readable with any tool:

    backup.json               what it is, the migrations applied, tables with their columns, sequences
    tables/NAME/000001 ...    pieces of one gzip stream of PostgreSQL's binary COPY format
    home/PATH                 the files
    manifest.json             size and SHA-256 of every table's stream and every file; last, so a file that
                              was cut off has none

It holds the keys and is only as safe as the place where it is kept.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import io
import json
import os
import shutil
import stat
import tarfile
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, TypeAlias

import asyncpg

from kangshu.kernel.texts import load_catalogue
from kangshu.storage import embedded, migrations
from kangshu.storage.database import Connection, Database
from kangshu.storage.errors import (
    BackupDamagedError,
    BackupTargetError,
    DatabaseNewerError,
    MigrationChangedError,
    StorageFullError,
)

_FORMAT = "kangshu-backup"
_VERSION = 1
_PIECE = 8 << 20
_BLOCK = 1 << 20
_HEADER = "backup.json"
_MANIFEST = "manifest.json"
_MOST_JSON = 1 << 28
_MARKER = ".restoring"
_GZIP = 16 + zlib.MAX_WBITS

LiveFiles: TypeAlias = Callable[[Connection], Awaitable[Sequence[str]]]
"""Names, in the backup's own snapshot, the files of the home that the tables need (paths inside the home)."""

say = load_catalogue(__package__ or __name__)


@dataclass(frozen=True, kw_only=True)
class BackupSummary:
    """What a backup holds."""

    tables: int
    rows: int
    files: int
    bytes: int
    taken_at: str


async def backup(
    database: Database,
    *,
    home: Path,
    out: Path,
    now: datetime,
    folders: Sequence[str],
    early_folders: Sequence[str] = (),
    live_files: LiveFiles | None = None,
) -> BackupSummary:
    """Write a backup to `out`, replacing what is there only when the new one is whole.

    `folders` are files and folders directly inside the home that are taken as they are; those of
    `early_folders` are taken before the snapshot, because they must not be newer than the tables (the
    audit anchor). Names that do not exist are passed over. `live_files` names further files, which must.

    Raises:
        StorageFullError: no room for the file.
        BackupDamagedError: a file that `live_files` names is not there.
        BackupTargetError: another backup of this home is under way.
    """
    with _pins(home) as pins, _finished_file(out) as file:
        with _writing(file, now=now) as writer:
            await asyncio.to_thread(pins.take_folders, early_folders)
            async with database.transaction(readonly=True, snapshot=True) as connection:
                # The first statement makes the snapshot; what is linked from here on fits to it.
                header = {"format": _FORMAT, "version": _VERSION, "taken_at": now.isoformat()}
                header |= await _describe(connection)
                await asyncio.to_thread(pins.take_folders, folders)
                if live_files is not None:
                    await asyncio.to_thread(pins.take_files, await live_files(connection))
                await asyncio.to_thread(writer.add_json, _HEADER, header)
                for table in header["tables"]:
                    await _write_table(connection, writer, name=table["name"], columns=table["columns"])
            for path in pins.paths():
                await asyncio.to_thread(writer.add_file, path, pins.folder / path)
            await asyncio.to_thread(writer.finish)
        size = file.tell()
    return BackupSummary(
        tables=len(writer.tables),
        rows=sum(int(table["rows"]) for table in writer.tables.values()),
        files=len(writer.files),
        bytes=size,
        taken_at=now.isoformat(),
    )


async def check(source: Path) -> BackupSummary:
    """Read the whole backup and compare every digest; return what it holds.

    Raises:
        BackupDamagedError: it is no backup, or not a whole one.
    """
    return await asyncio.to_thread(_check, source)


async def restore(
    source: Path, *, home: Path, url: str | None = None, settings: Mapping[str, str] | None = None
) -> BackupSummary:
    """Bring a backup back into an empty home and an empty database; return what was brought back.

    Without `url` the home's embedded server is made (with `settings`) and left running. A backup of an
    earlier version is upgraded. The file is read and checked to its end before anything is written; on
    failure the home is empty again, and one left by a killed restore may be restored into again.

    Raises:
        BackupTargetError: home or database hold something.
        BackupDamagedError: the file is no backup, or not a whole one.
        DatabaseNewerError: the backup was made by a newer version.
    """
    summary = await check(source)
    await asyncio.to_thread(_claim_home, home)
    try:
        target = url or await asyncio.to_thread(embedded.start, home, settings=settings)
        async with await Database.open(target) as database:
            await _restore_into(database, source, home)
    except BaseException:
        await asyncio.to_thread(_empty_home, home)
        raise
    (home / _MARKER).unlink()
    return summary


def is_half_restored(home: Path) -> bool:
    """Tell whether a restore into this home was begun and never finished: nothing in it may be used."""
    return (home / _MARKER).exists()


# --- taking ---------------------------------------------------------------------------------------------


async def _describe(connection: Connection) -> dict[str, Any]:
    """Return what restore needs to know before the rows come."""
    steps = await connection.fetch("SELECT package, number, digest FROM storage_migration ORDER BY 1, 2")
    columns = await connection.fetch(
        """SELECT c.relname AS name, array_agg(a.attname::text ORDER BY a.attnum) AS columns
           FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
           WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
             AND c.relpersistence = 'p' AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
           GROUP BY c.relname"""
    )
    references = await connection.fetch(
        """SELECT DISTINCT f.relname AS name, t.relname AS target
           FROM pg_constraint k JOIN pg_class f ON f.oid = k.conrelid JOIN pg_class t ON t.oid = k.confrelid
           WHERE k.contype = 'f' AND k.conrelid <> k.confrelid"""
    )
    named = {row["name"]: list(row["columns"]) for row in columns}
    order = _parents_first(named, [(row["name"], row["target"]) for row in references])
    return {
        "migrations": [[row["package"], row["number"], row["digest"].hex()] for row in steps],
        "tables": [{"name": name, "columns": named[name]} for name in order],
        "sequences": await _read_sequences(connection),
    }


def _parents_first(names: Mapping[str, object], references: Sequence[tuple[str, str]]) -> list[str]:
    """Return the tables so that each stands after those it refers to; among equals by name."""
    waiting = {name: {target for child, target in references if child == name} for name in sorted(names)}
    order: list[str] = []
    while waiting:
        ready = [name for name, targets in waiting.items() if not targets.intersection(waiting)]
        assert ready, "tables refer to each other in no circle"
        order += ready
        for name in ready:
            del waiting[name]
    return order


async def _read_sequences(connection: Connection) -> list[list[Any]]:
    names = await connection.fetch(
        "SELECT sequencename AS name FROM pg_sequences WHERE schemaname = 'public' ORDER BY 1"
    )
    found: list[list[Any]] = []
    for row in names:
        state = await connection.fetchrow(f"SELECT last_value, is_called FROM {_quote(row['name'])}")
        assert state is not None, "a sequence has one row"
        found.append([row["name"], state["last_value"], state["is_called"]])
    return found


async def _write_table(connection: Connection, writer: _Writer, *, name: str, columns: Sequence[str]) -> None:
    pieces = _Pieces(writer, name)
    held = bytearray()

    async def take(data: bytes) -> None:
        held.extend(data)
        if len(held) >= _BLOCK:
            block = bytes(held)
            held.clear()
            await asyncio.to_thread(pieces.write, block)

    query = f"SELECT {', '.join(map(_quote, columns))} FROM {_quote(name)}"
    status = await connection.copy_from_query(query, output=take, format="binary")
    await asyncio.to_thread(pieces.write, bytes(held))
    await asyncio.to_thread(pieces.close, rows=int(status.split()[-1]))


class _Writer:
    """The tar under construction and the manifest that will close it."""

    def __init__(self, file: BinaryIO, *, now: datetime) -> None:
        self._tar = tarfile.open(  # noqa: SIM115 - closed by `finish` or `abandon`
            fileobj=file, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_BLOCK
        )
        self._moment = int(now.timestamp())
        self.tables: dict[str, dict[str, Any]] = {}
        self.files: dict[str, dict[str, Any]] = {}

    def add_bytes(self, name: str, data: bytes) -> None:
        self._add(self._entry(name, len(data)), io.BytesIO(data))

    def add_json(self, name: str, value: object) -> None:
        self.add_bytes(name, json.dumps(value, ensure_ascii=False, indent=1).encode())

    def add_file(self, path: str, source: Path) -> None:
        with source.open("rb") as file:
            status = os.fstat(file.fileno())
            digest = _DigestingReader(file, size=status.st_size)
            self._add(self._entry(f"home/{path}", status.st_size), digest)
        mode = stat.S_IMODE(status.st_mode) & 0o777
        self.files[path] = {"bytes": status.st_size, "sha256": digest.hexdigest(), "mode": mode}

    def finish(self) -> None:
        """Write the manifest and the tar's end."""
        self.add_json(_MANIFEST, {"tables": self.tables, "files": self.files})
        self._tar.close()

    def abandon(self) -> None:
        """Let go of the file, or tarfile would write to it at some later moment."""
        with suppress(OSError):
            self._tar.close()

    def _add(self, entry: tarfile.TarInfo, source: io.BytesIO | _DigestingReader) -> None:
        self._tar.addfile(entry, source)  # pyright: ignore[reportArgumentType] - it only reads
        _forget_members(self._tar)

    def _entry(self, name: str, size: int) -> tarfile.TarInfo:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mtime, entry.mode = size, self._moment, 0o600
        return entry


@contextmanager
def _writing(file: BinaryIO, *, now: datetime) -> Iterator[_Writer]:
    writer = _Writer(file, now=now)
    try:
        yield writer
    except BaseException:
        writer.abandon()
        raise


class _Pieces:
    """One table's stream, compressed and cut into members of the tar: their sizes come before their bytes."""

    def __init__(self, writer: _Writer, table: str) -> None:
        self._writer = writer
        self._table = table
        # Level 1: three times as fast as the usual level for a tenth more bytes.
        self._compressor = zlib.compressobj(1, wbits=_GZIP)
        self._held = bytearray()
        self._digest = hashlib.sha256()
        self._bytes = 0
        self._number = 0

    def write(self, data: bytes) -> None:
        self._digest.update(data)
        self._bytes += len(data)
        self._held += self._compressor.compress(data)
        if len(self._held) >= _PIECE:
            self._flush()

    def close(self, *, rows: int) -> None:
        self._held += self._compressor.flush()
        self._flush()
        self._writer.tables[self._table] = {
            "bytes": self._bytes,
            "sha256": self._digest.hexdigest(),
            "rows": rows,
        }

    def _flush(self) -> None:
        self._number += 1
        self._writer.add_bytes(f"tables/{self._table}/{self._number:06d}", bytes(self._held))
        self._held.clear()


class _DigestingReader:
    """Reads exactly `size` bytes of a file and digests them on the way."""

    def __init__(self, file: io.BufferedReader, *, size: int) -> None:
        self._file = file
        self._left = size
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(min(size, self._left) if size >= 0 else self._left)
        self._left -= len(data)
        self._digest.update(data)
        return data

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


@dataclass
class _Pinned:
    """Hard links to the files of one home, as they were when they were taken."""

    home: Path
    folder: Path
    _paths: list[str] = field(default_factory=list)

    def paths(self) -> list[str]:
        return sorted(self._paths)

    def take_folders(self, names: Sequence[str]) -> None:
        for name in names:
            root = self.home / _checked_path(name)
            found = [root] if root.is_file() else sorted(root.rglob("*"))
            for path in found:
                if path.is_file() and not path.is_symlink():
                    with suppress(FileNotFoundError):  # drafts come and go
                        self._take(path.relative_to(self.home).as_posix())

    def take_files(self, paths: Sequence[str]) -> None:
        for path in paths:
            try:
                self._take(_checked_path(path))
            except FileNotFoundError as error:
                raise BackupDamagedError(say["backup_file_missing"], place=path) from error

    def _take(self, path: str) -> None:
        target = self.folder / path
        if target.exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(self.home / path, target)
        except FileNotFoundError:
            raise
        except OSError:  # a file system without hard links
            shutil.copyfile(self.home / path, target)
            shutil.copymode(self.home / path, target)
        self._paths.append(path)


@contextmanager
def _pins(home: Path) -> Iterator[_Pinned]:
    folder = home / ".backup"
    descriptor = os.open(home / ".backup.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BackupTargetError(say["backup_running"]) from error
        shutil.rmtree(folder, ignore_errors=True)  # of a backup that was killed
        folder.mkdir(mode=0o700)
        yield _Pinned(home=home, folder=folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


@contextmanager
def _finished_file(out: Path) -> Iterator[BinaryIO]:
    """Give a draft beside `out` that takes its name only when everything went well and is on the disk."""
    draft = out.with_name(f"{out.name}.part")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb", buffering=_BLOCK) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, out)
    except OSError as error:
        draft.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError(say["backup_full"], place=str(out)) from error
        raise
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


# --- bringing back --------------------------------------------------------------------------------------


class _Reader:
    """A backup read from its beginning to its end, once, with every digest on the way."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._tar = tarfile.open(fileobj=file, mode="r|", bufsize=_BLOCK)  # noqa: SIM115 - needs no end
        self.tables: dict[str, dict[str, Any]] = {}
        self.files: dict[str, dict[str, Any]] = {}
        self._member: tarfile.TarInfo | None = None
        self._advance()
        self.header = self._read_json(_HEADER)
        if self.header.get("format") != _FORMAT or self.header.get("version") != _VERSION:
            raise BackupDamagedError(say["backup_foreign"])

    def table_blocks(self, name: str) -> Iterator[bytes]:
        """Give the table's COPY stream in blocks of at most a mebibyte."""
        prefix = f"tables/{name}/"
        decompressor = zlib.decompressobj(wbits=_GZIP)
        digest, size, number = hashlib.sha256(), 0, 0
        while self._member is not None and self._member.name == f"{prefix}{number + 1:06d}":
            number += 1
            for packed in self._member_blocks():
                while packed:
                    block = decompressor.decompress(packed, _BLOCK)
                    packed = decompressor.unconsumed_tail
                    digest.update(block)
                    size += len(block)
                    if block:
                        yield block
            self._advance()
        if rest := decompressor.flush():
            digest.update(rest)
            size += len(rest)
            yield rest
        if not decompressor.eof:
            raise BackupDamagedError(say["backup_damaged"], place=f"tables/{name}")
        self.tables[name] = {"bytes": size, "sha256": digest.hexdigest()}

    def file_blocks(self) -> Iterator[tuple[str, bytes]]:
        """Give the files one after the other: their path with each block, at least one block each."""
        while self._member is not None and self._member.name.startswith("home/"):
            path = _checked_path(self._member.name.removeprefix("home/"))
            digest, size = hashlib.sha256(), 0
            yield path, b""
            for block in self._member_blocks():
                digest.update(block)
                size += len(block)
                yield path, block
            self.files[path] = {"bytes": size, "sha256": digest.hexdigest()}
            self._advance()

    def finish(self) -> dict[str, Any]:
        """Return the manifest, having compared it with everything that was read."""
        manifest = self._read_json(_MANIFEST)
        for kind, seen in (("tables", self.tables), ("files", self.files)):
            promised = manifest[kind]
            if promised.keys() != seen.keys():
                raise BackupDamagedError(say["backup_damaged"], place=kind)
            for name, facts in seen.items():
                if facts["bytes"] != promised[name]["bytes"] or facts["sha256"] != promised[name]["sha256"]:
                    raise BackupDamagedError(say["backup_damaged"], place=f"{kind}/{name}")
        return manifest

    def _read_json(self, name: str) -> dict[str, Any]:
        if self._member is None or self._member.name != name or self._member.size > _MOST_JSON:
            raise BackupDamagedError(say["backup_damaged"], place=name)
        document = json.loads(b"".join(self._member_blocks()))
        self._advance()
        return document

    def _member_blocks(self) -> Iterator[bytes]:
        assert self._member is not None, "there is a member to read"
        file = self._tar.extractfile(self._member)
        if file is None:
            raise BackupDamagedError(say["backup_damaged"], place=self._member.name)
        while block := file.read(_BLOCK):
            yield block

    def _advance(self) -> None:
        self._member = self._tar.next()
        _forget_members(self._tar)
        if self._member is not None and not self._member.isreg():
            raise BackupDamagedError(say["backup_damaged"], place=self._member.name)


@contextmanager
def _reading(source: Path) -> Iterator[_Reader]:
    try:
        file = source.open("rb")
    except OSError as error:
        raise BackupDamagedError(say["backup_none"], place=str(source)) from error
    with file:
        try:
            yield _Reader(file)
        except (tarfile.TarError, zlib.error, EOFError) as error:
            raise BackupDamagedError(say["backup_damaged"], place=source.name) from error


def _check(source: Path) -> BackupSummary:
    try:
        return _read_all(source)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        # Whatever strange content makes our reading stumble over means the same.
        raise BackupDamagedError(say["backup_damaged"], place=source.name) from error


def _read_all(source: Path) -> BackupSummary:
    with _reading(source) as reader:
        for table in reader.header["tables"]:
            for _ in reader.table_blocks(table["name"]):
                pass
        for _ in reader.file_blocks():
            pass
        manifest = reader.finish()
        return BackupSummary(
            tables=len(manifest["tables"]),
            rows=sum(table["rows"] for table in manifest["tables"].values()),
            files=len(manifest["files"]),
            bytes=source.stat().st_size,
            taken_at=reader.header["taken_at"],
        )


def _claim_home(home: Path) -> None:
    """Mark the home as being restored; it is empty, or holds what a killed restore left."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if is_half_restored(home):
        _empty_home(home)
    if any(home.iterdir()):
        raise BackupTargetError(say["restore_not_empty"], place=str(home))
    (home / _MARKER).touch(mode=0o600)


def _empty_home(home: Path) -> None:
    embedded.stop(home)
    for path in home.iterdir():
        if path.name == _MARKER:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    (home / _MARKER).unlink(missing_ok=True)  # last: until then everything here is known to be refuse


async def _restore_into(database: Database, source: Path, home: Path) -> None:
    with _reading(source) as reader:
        async with database.transaction() as connection:
            if await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"):
                raise BackupTargetError(say["restore_database_not_empty"])
            await migrations.apply(connection, migrations=_migrations_of(reader.header))
            await _load_tables(connection, reader)
            for name, last, called in reader.header["sequences"]:
                await connection.execute(
                    "SELECT setval($1::text::regclass, $2, $3)", _quote(name), last, called
                )
            await asyncio.to_thread(_write_files, reader, home)
            await migrations.migrate(connection)
            await connection.execute("ANALYZE")


def _migrations_of(header: Mapping[str, Any]) -> list[migrations.Migration]:
    """Return the migrations that the backup's database had seen, in the order of the house."""
    seen = {(package, number): bytes.fromhex(digest) for package, number, digest in header["migrations"]}
    steps = [step for step in migrations.load_migrations() if (step.package, step.number) in seen]
    for step in steps:
        if step.digest != seen[step.package, step.number]:
            raise MigrationChangedError(say["migration_changed"], place=step.place)
    known = {(step.package, step.number) for step in steps}
    for package, number in sorted(seen.keys() - known):
        raise DatabaseNewerError(say["migration_unknown"], place=f"{package}/migrations/{number:04d}")
    return steps


async def _load_tables(connection: Connection, reader: _Reader) -> None:
    for table in reader.header["tables"]:
        # Migrations may have put rows there; the backup's take their place.
        if await connection.fetchval(f"SELECT true FROM {_quote(table['name'])} LIMIT 1"):
            await connection.execute(f"TRUNCATE {_quote(table['name'])} CASCADE")
    # What triggers wrote when the rows came is in the backup: written again, it would be there twice.
    for table in reader.header["tables"]:
        await connection.execute(f"ALTER TABLE {_quote(table['name'])} DISABLE TRIGGER USER")
    for table in reader.header["tables"]:
        blocks = _in_thread(reader.table_blocks(table["name"]))
        try:
            await connection.copy_to_table(
                table["name"], source=blocks, columns=table["columns"], format="binary"
            )
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
            raise BackupDamagedError(say["backup_damaged"], place=f"tables/{table['name']}") from error
    for table in reader.header["tables"]:
        await connection.execute(f"ALTER TABLE {_quote(table['name'])} ENABLE TRIGGER USER")


async def _in_thread(blocks: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (block := await asyncio.to_thread(next, blocks, None)) is not None:
        yield block


def _write_files(reader: _Reader, home: Path) -> None:
    for path, blocks in groupby(reader.file_blocks(), key=itemgetter(0)):
        with _create(home / path) as file:
            for _, block in blocks:
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
    files = reader.finish()["files"]
    for path, facts in files.items():
        (home / path).chmod(facts["mode"] & 0o777)
    for folder in {
        parent for path in files for parent in (home / path).parents if parent.is_relative_to(home)
    }:
        _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _create(path: Path) -> BinaryIO:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "wb", buffering=_BLOCK)


def _forget_members(tar: tarfile.TarFile) -> None:
    # tarfile keeps a note of every member it saw: memory would grow with their number.
    tar.members.clear()  # pyright: ignore[reportAttributeAccessIssue] - missing in its stubs


def _checked_path(path: str) -> str:
    """Return `path` if it stays inside the home."""
    pure = PurePosixPath(path)
    if (
        pure.is_absolute()
        or not pure.parts
        or any(part in ("..", ".") for part in pure.parts)
        or "\x00" in path
    ):
        raise ValueError("a path inside the home")
    return pure.as_posix()


def _quote(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
