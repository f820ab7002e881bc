"""A mail server and a hook for the tests of notices: they answer well, badly, slowly, or not at all."""

from __future__ import annotations

import asyncio
import base64
import email
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import default
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HOST = "127.0.0.1"


@dataclass
class MailSink:
    """Takes letters over SMTP. `answers` are the replies to the next letters, 250 when none is left."""

    answers: list[str] = field(default_factory=list)
    context: ssl.SSLContext | None = None
    drip_seconds: float = 0.0
    """With it the greeting comes a byte at a time, so that it never ends."""
    letters: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    signed_in: list[str] = field(default_factory=list)
    encrypted: int = 0
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            if self.drip_seconds:
                while not writer.is_closing():
                    writer.write(b"2")
                    await writer.drain()
                    await asyncio.sleep(self.drip_seconds)
            await self._say(writer, "220 sink")
            secure = False
            while line := (await reader.readline()).decode().strip():
                word = line.split(" ")[0].upper()
                self.commands.append(word)
                if word == "EHLO":
                    offers = ["sink", "8BITMIME", *(["STARTTLS"] if self.context and not secure else [])]
                    offers += ["AUTH PLAIN"] if secure else []
                    for offer in offers[:-1]:
                        await self._say(writer, f"250-{offer}")
                    await self._say(writer, f"250 {offers[-1]}")
                elif word == "STARTTLS" and self.context:
                    await self._say(writer, "220 go on")
                    await writer.start_tls(self.context)
                    secure, self.encrypted = True, self.encrypted + 1
                elif word == "AUTH":
                    told = base64.b64decode(line.split(" ")[2]).decode()
                    self.signed_in.append(told.split("\0")[1])
                    await self._say(writer, "235 welcome" if told.endswith("\0river") else "535 no")
                elif word == "DATA":
                    await self._say(writer, "354 go on")
                    body = await reader.readuntil(b"\r\n.\r\n")
                    answer = self.answers.pop(0) if self.answers else "250 taken"
                    if answer.startswith("250"):
                        self.letters.append(email.message_from_bytes(body[:-5], policy=default))  # type: ignore[arg-type]
                    await self._say(writer, answer)
                elif word == "RCPT":
                    self.recipients.append(line)
                    await self._say(writer, "250 fine")
                elif word == "QUIT":
                    await self._say(writer, "221 bye")
                    break
                else:
                    await self._say(writer, "250 fine")
        writer.close()

    @staticmethod
    async def _say(writer: asyncio.StreamWriter, line: str) -> None:
        writer.write(f"{line}\r\n".encode())
        await writer.drain()


@dataclass
class HookOwner:
    """Takes posts. `answers` are what is sent back to the next ones: a status, or None for silence."""

    answers: list[int | None] = field(default_factory=list)
    posts: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}/quality?from=kangshu"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
            body = await reader.readexactly(int(headers["content-length"]))
            self.posts.append(({"line": head[0], **headers}, body))
            answer = self.answers.pop(0) if self.answers else 204
            if answer is None:
                await reader.read()  # until the other side gives up
            else:
                more = f"Location: http://{HOST}:{self.port}/elsewhere\r\n" if 300 <= answer < 400 else ""
                writer.write(f"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 {answer} So\r\n{more}\r\n".encode())
                await writer.drain()
        writer.close()


@asynccontextmanager
async def running(peer: MailSink | HookOwner) -> AsyncIterator[None]:
    """Let a peer answer on a free port."""
    server = await asyncio.start_server(peer.serve, HOST, 0, limit=1 << 22)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield
    finally:
        server.close()


def certificate(folder: Path) -> Path:
    """Write a certificate for this machine that signs itself, with its key; return the file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sink")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "sink.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


def server_context(path: Path) -> ssl.SSLContext:
    """Return what a server needs to speak TLS with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
