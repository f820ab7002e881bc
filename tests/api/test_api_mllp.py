"""The MLLP door with peers that behave and peers that do not; all messages are synthetic."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from datetime import UTC, datetime, timedelta

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kangshu.api import mllp
from kangshu.api.mllp import MllpLimits, Peer, serve_mllp
from kangshu.standards.hl7v2 import acknowledge, parse, serialise_frame

NOW = datetime(2026, 3, 1, 8, 30, tzinfo=UTC)
START, END = b"\x0b", b"\x1c\r"


class Clock:
    def now(self) -> datetime:
        return NOW


def admission(number: int, *, size: int = 0) -> bytes:
    lines = [f"MSH|^~\\&|HIS|990100|KANGSHU|990000|20260301||ADT^A01|M{number}|P|2.5", "PID|1||P1^^^HIS^MR"]
    return "\r".join([*lines, f"NTE|1||{'x' * size}", ""]).encode()


async def accept(data: bytes, peer: Peer) -> bytes:
    return acknowledge(parse(data), code="AA", control_id="1", now=NOW)


async def answer(reader: asyncio.StreamReader) -> str:
    """Return the code and the control id of the next acknowledgement."""
    frame = await asyncio.wait_for(reader.readuntil(END), 5)
    message = parse(frame)
    return f"{message.text('MSA-1')} {message.text('MSA-2')}"


async def answers(reader: asyncio.StreamReader) -> list[str]:
    """Return all acknowledgements until the connection ends."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        data = await asyncio.wait_for(reader.read(), 5)
    messages = [parse(part) for part in data.split(END) if part]
    return [f"{message.text('MSA-1')} {message.text('MSA-2')}" for message in messages]


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture(params=["asyncio", "uvloop"])
def serve(request, monkeypatch):
    """Run a scenario beside a server: `serve(scenario, take=..., **limits)`."""
    monkeypatch.setattr(mllp, "_SWEEP_SECONDS", 0.01)
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run(scenario, *, take=accept, tls=None, **limits):
        async def whole():
            server = await serve_mllp(
                host="127.0.0.1", port=0, take=take, clock=Clock(), limits=MllpLimits(**limits), tls=tls
            )

            async def connect(**more):
                return await asyncio.open_connection("127.0.0.1", server.port, **more)

            try:
                await scenario(server, connect)
            finally:
                await server.close()
            assert server.counters.connections == 0
            assert server.counters.held_bytes == 0

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(asyncio.wait_for(whole(), 30))

    return run


def test_each_message_is_answered_on_its_connection(serve):
    async def scenario(server, connect):
        peers = [await connect() for _ in range(4)]
        for number in range(3):
            for at, (_, writer) in enumerate(peers):
                writer.write(serialise_frame(admission(number * 10 + at)))
            for at, (reader, _) in enumerate(peers):
                assert await answer(reader) == f"AA M{number * 10 + at}"
        assert server.counters.frames == server.counters.answers == 12
        for _, writer in peers:
            writer.close()

    serve(scenario)


def test_messages_sent_ahead_are_begun_and_answered_in_their_order(serve):
    begun, running, most = [], 0, 0

    async def take(data, peer):
        nonlocal running, most
        number = int(parse(data).control_id[1:])
        begun.append(number)
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01 if number % 2 else 0)
        running -= 1
        return await accept(data, peer)

    async def scenario(server, connect):
        reader, writer = await connect()
        writer.write(b"".join(serialise_frame(admission(n)) for n in range(40)))
        assert [await answer(reader) for _ in range(40)] == [f"AA M{n}" for n in range(40)]
        writer.close()

    serve(scenario, take=take, frames_in_work=4)

    assert begun == list(range(40))
    assert most == 4


def test_a_message_may_come_byte_by_byte_with_bytes_before_and_behind(serve):
    async def scenario(server, connect):
        reader, writer = await connect()
        for byte in (
            b"\r\nnoise" + serialise_frame(admission(1)) + b"\nmore noise" + serialise_frame(admission(2))
        ):
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert [await answer(reader), await answer(reader)] == ["AA M1", "AA M2"]
        assert server.counters.events["stray"] == 2
        writer.close()

    serve(scenario)


def test_a_half_frame_before_a_whole_one_is_not_taken(serve):
    async def scenario(server, connect):
        reader, writer = await connect()
        writer.write(START + admission(1)[:40] + serialise_frame(admission(2)))
        assert await answer(reader) == "AA M2"
        assert server.counters.events["cut-off"] == 1
        writer.close()

    serve(scenario)


def test_a_frame_without_its_last_byte_is_taken_after_a_pause(serve):
    async def scenario(server, connect):
        reader, writer = await connect()
        writer.write(START + admission(1) + END[:1])
        assert await answer(reader) == "AA M1"
        writer.write(START + admission(2) + END)
        assert await answer(reader) == "AA M2"
        writer.close()

    serve(scenario, pause_seconds=0.02)


def test_a_peer_that_has_said_all_still_gets_its_answers(serve):
    async def take(data, peer):
        await asyncio.sleep(0.02)
        return await accept(data, peer)

    async def scenario(server, connect):
        reader, writer = await connect()
        writer.write(b"".join(serialise_frame(admission(n)) for n in range(6)) + START + b"half")
        writer.write_eof()
        assert await answers(reader) == [f"AA M{n}" for n in range(6)]
        writer.close()

    serve(scenario, take=take, frames_in_work=2)


def test_a_message_that_is_not_stored_is_not_answered_and_its_connection_ends(serve):
    taken = []

    async def take(data, peer):
        message = parse(data)
        taken.append(message.control_id)
        if message.control_id == "M2":
            raise RuntimeError("database gone")
        return await accept(data, peer)

    async def scenario(server, connect):
        reader, writer = await connect()
        writer.write(b"".join(serialise_frame(admission(n)) for n in (1, 2, 3)))
        assert await answers(reader) == ["AA M1"]
        assert server.counters.events["failed"] == 1
        writer.close()
        reader, writer = await connect()
        writer.write(serialise_frame(admission(4)))
        assert await answer(reader) == "AA M4"
        writer.close()

    serve(scenario, take=take)


def test_a_failure_is_logged_without_the_message(serve, caplog):
    async def take(data, peer):
        raise ValueError(data.decode())

    async def scenario(server, connect):
        reader, writer = await connect()
        writer.write(serialise_frame(admission(7)))
        assert await answers(reader) == []
        writer.close()

    serve(scenario, take=take)

    assert "ValueError" in caplog.text
    assert "M7" not in caplog.text


def test_no_answer_is_sent_where_none_is_wanted(serve):
    async def take(data, peer):
        return b"" if b"M1" in data else await accept(data, peer)

    async def scenario(server, connect):
        reader, writer = await connect()
        writer.write(serialise_frame(admission(1)) + serialise_frame(admission(2)))
        assert await answer(reader) == "AA M2"
        writer.close()

    serve(scenario, take=take)


def test_a_message_that_is_too_long_is_refused_by_its_control_id_after_those_before_it(serve):
    async def take(data, peer):
        await asyncio.sleep(0.02)
        return await accept(data, peer)

    async def scenario(server, connect):
        reader, writer = await connect()
        writer.write(serialise_frame(admission(1)) + START + admission(2, size=50_000))
        for _ in range(20):
            writer.write(b"x" * 10_000)
        assert [await answer(reader), await answer(reader)] == ["AA M1", "AR M2"]
        assert await reader.read() == b""
        writer.close()

    serve(scenario, take=take, frame_bytes=20_000)


def test_a_peer_that_goes_on_after_a_refusal_is_cut_off(serve):
    async def scenario(server, connect):
        _, writer = await connect()
        with contextlib.suppress(ConnectionError, RuntimeError):  # uvloop says that it is closed
            writer.write(START)
            while True:
                writer.write(b"x" * 100_000)
                await writer.drain()
        await until(lambda: not server.counters.connections)
        writer.close()

    serve(scenario, frame_bytes=20_000, close_seconds=0.05)


def test_a_silent_peer_is_left_after_a_time_and_a_busy_one_is_not(serve):
    async def scenario(server, connect):
        silent, silent_writer = await connect()
        busy, writer = await connect()
        for number in range(10):
            writer.write(serialise_frame(admission(number)))
            assert await answer(busy) == f"AA M{number}"
            await asyncio.sleep(0.02)
        assert await asyncio.wait_for(silent.read(), 5) == b""
        assert server.counters.events["idle"] >= 1
        writer.close()
        silent_writer.close()

    serve(scenario, idle_seconds=0.1)


def test_a_frame_that_never_ends_is_left_after_a_time(serve):
    async def scenario(server, connect):
        _, writer = await connect()
        writer.write(START)
        with contextlib.suppress(ConnectionError, RuntimeError):  # uvloop says that it is closed
            for _ in range(300):
                writer.write(b"M")
                await writer.drain()
                await asyncio.sleep(0.005)
        await until(lambda: server.counters.events["slow-frame"])
        writer.close()

    serve(scenario, frame_seconds=0.1)


def test_a_long_task_does_not_make_its_peer_a_silent_one(serve):
    async def take(data, peer):
        await asyncio.sleep(0.3)
        return await accept(data, peer)

    async def scenario(server, connect):
        reader, writer = await connect()
        writer.write(serialise_frame(admission(1)))
        assert await answer(reader) == "AA M1"
        writer.close()

    serve(scenario, take=take, idle_seconds=0.1)


def test_a_peer_that_reads_no_answers_is_not_heard_and_left_after_a_time(serve):
    async def take(data, peer):
        return b"MSH|^~\\&|" + b"x" * 100_000

    async def scenario(server, connect):
        _, writer = await connect()
        frames = serialise_frame(admission(1)) * 100
        with contextlib.suppress(ConnectionError, TimeoutError):
            for _ in range(100):
                writer.write(frames)
                await asyncio.wait_for(writer.drain(), 0.2)
        await until(lambda: server.counters.events["slow-reader"])
        assert server.counters.frames < 10_000
        writer.close()

    serve(scenario, take=take, answer_bytes=50_000, answer_seconds=0.1)


def test_too_many_connections_are_turned_away_and_others_stay(serve):
    async def scenario(server, connect):
        peers = [await connect() for _ in range(3)]
        for number, (reader, writer) in enumerate(peers):
            writer.write(serialise_frame(admission(number)))
            assert await answer(reader) == f"AA M{number}"
        extra, extra_writer = await connect()
        assert await answers(extra) == []
        assert server.counters.events["refused"] == 1
        extra_writer.close()
        peers[0][1].close()
        await until(lambda: server.counters.connections == 2)
        reader, writer = await connect()
        writer.write(serialise_frame(admission(9)))
        assert await answer(reader) == "AA M9"
        writer.close()
        for _, one in peers[1:]:
            one.close()

    serve(scenario, connections_per_address=3)


def test_when_all_hold_too_much_the_one_that_holds_most_is_cut_off(serve):
    async def scenario(server, connect):
        greedy, greedy_writer = await connect()
        modest, writer = await connect()
        greedy_writer.write(START + b"x" * 60_000)
        await until(lambda: server.counters.held_bytes >= 60_000)
        writer.write(START + b"x" * 50_000)
        assert await answers(greedy) == []
        assert server.counters.events["overload"] == 1
        writer.write(serialise_frame(admission(1)))
        assert await answer(modest) == "AA M1"
        writer.close()
        greedy_writer.close()

    serve(scenario, memory_bytes=100_000)


@pytest.mark.parametrize(
    "noise", [b"GET / HTTP/1.1\r\n" * 10_000, START + b"half" + START + END, b"x" + START]
)
def test_another_protocol_is_not_listened_to_for_long(serve, noise):
    async def scenario(server, connect):
        reader, writer = await connect()
        writer.write(noise * 200)
        assert await answers(reader) == []
        assert server.counters.events["no-mllp"] == 1
        writer.close()

    serve(scenario)


def test_a_stopping_server_answers_what_it_has_begun_and_no_more(serve):
    begun = asyncio.Event()

    async def take(data, peer):
        begun.set()
        await asyncio.sleep(0.05)
        return await accept(data, peer)

    async def scenario(server, connect):
        reader, writer = await connect()
        idle, idle_writer = await connect()
        writer.write(serialise_frame(admission(1)) + serialise_frame(admission(2)))
        await begun.wait()
        await server.close()
        assert await answers(reader) == ["AA M1"]
        assert await answers(idle) == []
        with pytest.raises(OSError, match=r".*"):
            await connect()
        writer.close()
        idle_writer.close()

    serve(scenario, take=take, frames_in_work=1)


def test_a_task_that_never_ends_does_not_keep_the_server_from_stopping(serve):
    async def take(data, peer):
        await asyncio.Event().wait()
        return b""

    async def scenario(server, connect):
        reader, writer = await connect()
        writer.write(serialise_frame(admission(1)))
        await until(lambda: server.counters.frames)
        await server.close()
        assert await answers(reader) == []
        writer.close()

    serve(scenario, take=take, close_seconds=0.05)


@pytest.fixture
def certificate(tmp_path):
    """A key and a certificate of a host that does not exist."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "his.example")])
    paper = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("his.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "both.pem"
    path.write_bytes(
        paper.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return path


def test_over_tls_the_peers_name_is_known(serve, certificate):
    inside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    inside.load_cert_chain(certificate)
    inside.load_verify_locations(certificate)
    inside.verify_mode = ssl.CERT_REQUIRED
    outside = ssl.create_default_context(cafile=str(certificate))
    outside.load_cert_chain(certificate)
    seen = []

    async def take(data, peer):
        seen.append(peer)
        return await accept(data, peer)

    async def scenario(server, connect):
        reader, writer = await connect(ssl=outside, server_hostname="his.example")
        writer.write(serialise_frame(admission(1)))
        assert await answer(reader) == "AA M1"
        writer.close()
        plain, plain_writer = await connect()
        plain_writer.write(serialise_frame(admission(2)))
        plain_writer.write_eof()
        assert b"MSA" not in await asyncio.wait_for(plain.read(), 5)
        plain_writer.close()

    serve(scenario, take=take, tls=inside)

    assert [(peer.address, peer.encrypted, peer.names) for peer in seen] == [
        ("127.0.0.1", True, ("his.example",))
    ]
