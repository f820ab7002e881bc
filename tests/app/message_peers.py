"""The served program, and peers who send it messages over MLLP and FHIR; nobody in them exists."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil
from app_world import write_settings

START, END = b"\x0b", b"\x1c\r"
PATIENCE_SECONDS = 120.0


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def framed(body: bytes) -> bytes:
    """Return a message as it goes over MLLP."""
    return START + body + END


def acknowledged(answer: bytes | None) -> tuple[str, str] | None:
    """Return the code and the control id of an acknowledgement."""
    if answer is None:
        return None
    for line in answer.decode("utf-8", "replace").split("\r"):
        if line.startswith("MSA"):
            parts = line.split("|")
            return parts[1], parts[2]
    return None


@dataclass
class Peer:
    """One connection over MLLP."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def connect(cls, port: int, *, tls: ssl.SSLContext | None = None) -> Peer:
        """Return an open connection."""
        name = "localhost" if tls else None
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name))

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> bytes | None:
        """Return the content of the next frame, or None where the connection ended instead."""
        try:
            frame = await self.reader.readuntil(END)
        except (asyncio.IncompleteReadError, OSError):
            return None
        return frame[len(START) : -len(END)]

    async def ask(self, body: bytes) -> bytes | None:
        """Send a message and return its acknowledgement, or None where the connection ended instead."""
        try:
            await self.send(framed(body))
        except OSError:
            return None
        return await self.answer()

    async def ended(self) -> bool:
        """Return when the other side has ended the connection; what it still sends is passed over."""
        with suppress(OSError):
            while await self.reader.read(1 << 16):
                pass
        return True

    async def close(self) -> None:
        """End the connection."""
        self.writer.close()
        with suppress(OSError, ssl.SSLError):
            await self.writer.wait_closed()


@dataclass
class Program:
    """`kangshu serve` in a home, which is started and killed again and again."""

    home: Path
    port: int = field(default_factory=free_port)
    mllp_port: int = field(default_factory=free_port)
    process: psutil.Popen | None = None

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and return when it takes messages."""
        words = ["serve", "--port", str(self.port), "--mllp-port", str(self.mllp_port)]
        self.process = psutil.Popen(
            [sys.executable, "-m", "kangshu", "--home", str(self.home), *words],
            stdout=subprocess.DEVNULL,
            stderr=(self.home / "served.log").open("ab"),
        )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "it ended by itself"
            with suppress(OSError, httpx.HTTPError):
                if httpx.get(f"{self.base}/health/live", timeout=5).status_code == 200:
                    socket.create_connection(("127.0.0.1", self.mllp_port), timeout=5).close()
                    return
            time.sleep(0.1)
        raise AssertionError("it never served")

    def end(self, *, way: signal.Signals = signal.SIGKILL) -> None:
        """End it: without a warning, or in good order."""
        if self.process is not None:
            with suppress(psutil.NoSuchProcess):
                self.process.send_signal(way)
            self.process.wait()
            self.process = None

    @property
    def resident_bytes(self) -> int:
        """What it holds in memory."""
        assert self.process is not None, "it runs"
        return self.process.memory_info().rss

    def metrics(self) -> dict[str, float]:
        """Return what the page of metrics tells, by name."""
        text = httpx.get(f"{self.base}/metrics", timeout=PATIENCE_SECONDS).text
        lines = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    def command(self, *words: str) -> dict[str, Any]:
        """Run another command of the program in its home."""
        done = subprocess.run(
            [sys.executable, "-m", "kangshu", "--home", str(self.home), *words, "--json"],
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return orjson.loads(done.stdout)

    def client(self, institution: str, *scopes: str) -> dict[str, str]:
        """Return the header with a token of an institution's machine."""
        words = [word for scope in scopes for word in ("--scope", scope)]
        made = self.command("clients", "create", "--institution", institution, *words)
        answer = httpx.post(
            f"{self.base}/oauth/token",
            data={"grant_type": "client_credentials"},
            auth=(made["client_id"], made["client_secret"]),
            timeout=PATIENCE_SECONDS,
        )
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}


@contextmanager
def serving_program(home: Path, **settings: Any) -> Iterator[Program]:
    """Serve in a home until the block ends; the home's settings are written first."""
    write_settings(home, **settings)
    program = Program(home)
    try:
        program.start()
        yield program
    finally:
        program.end()


def kill_database(home: Path) -> None:
    """Kill -9 the home's database server and every process of it."""
    pid_file = home / "postgres" / "data" / "postmaster.pid"
    if not pid_file.exists():
        return
    with suppress(psutil.NoSuchProcess):
        server = psutil.Process(int(pid_file.read_text().splitlines()[0]))
        family = [server, *server.children(recursive=True)]
        for process in family:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        psutil.wait_procs(family, timeout=10)
