"""The doors for messages of the served program: peers that are broken, slow, silent or many harm nobody else.

Nobody in the messages exists (division 99).
"""

from __future__ import annotations

import asyncio
import datetime
import re
import secrets
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from app_world import temporary_home, write_settings
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from message_peers import (
    PATIENCE_SECONDS,
    START,
    Peer,
    Program,
    acknowledged,
    framed,
    serving_program,
)
from message_world import (
    HOSPITAL,
    OTHER_HOSPITAL,
    MessageWorld,
    admission,
    header,
    open_message_world,
    patient,
    report,
)
from prometheus_client import CollectorRegistry, generate_latest

from kangshu.app.errors import EnvironmentFaultError, SettingsError
from kangshu.app.messages.mllp import mllp_door
from kangshu.app.messages.opening import open_lane
from kangshu.app.platform import open_platform
from kangshu.app.serving import build_app
from kangshu.security import operations as security
from kangshu.storage import embedded

pytestmark = pytest.mark.database

MIB = 1 << 20
CONNECTIONS = 40
"""At most; half of them from one address."""


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    settings = {"mllp_connections": CONNECTIONS, "mllp_idle_seconds": 5, "mllp_queries": True}
    with temporary_home() as home, serving_program(home, **settings) as served:
        yield served


def run(work: Awaitable[Any]) -> Any:
    """Run a scenario, which hangs no longer than patience lasts."""

    async def scenario() -> Any:
        return await asyncio.wait_for(work, PATIENCE_SECONDS)

    return asyncio.run(scenario())


async def assert_others_are_served(program: Program, name: str) -> None:
    """Another hospital's messages go on being acknowledged."""
    other = await Peer.connect(program.mllp_port)
    for number in range(3):
        body = admission(f"{name}-other{number}", number="OT", sender=OTHER_HOSPITAL)
        assert acknowledged(await other.ask(body)) == ("AA", f"{name}-other{number}")
    await other.close()


# --- broken peers -----------------------------------------------------------------------------------------


def test_half_a_frame_waits_for_its_rest_while_others_are_served(program: Program):
    frame = framed(admission("HF-1", number="HF"))

    async def scenario() -> Any:
        peer = await Peer.connect(program.mllp_port)
        await peer.send(frame[:100])
        await assert_others_are_served(program, "HF")
        await peer.send(frame[100:])
        return await peer.answer()

    assert acknowledged(run(scenario())) == ("AA", "HF-1")


def test_half_a_frame_whose_sender_ends_is_no_message(program: Program):
    frame = framed(admission("HE-1", number="HE"))

    async def scenario() -> Any:
        peer = await Peer.connect(program.mllp_port)
        await peer.send(frame[:-1][: len(frame) // 2])
        await peer.close()
        again = await Peer.connect(program.mllp_port)
        return await again.ask(admission("HE-1", number="HE"))

    assert acknowledged(run(scenario())) == ("AA", "HE-1")


def test_two_messages_in_one_frame_are_refused_and_the_connection_goes_on(program: Program):
    async def scenario() -> Any:
        peer = await Peer.connect(program.mllp_port)
        both = await peer.ask(admission("TW-1", number="TW") + admission("TW-2", number="TW"))
        return both, await peer.ask(admission("TW-3", number="TW"))

    both, after = run(scenario())

    assert acknowledged(both) == ("AR", "TW-1")
    assert acknowledged(after) == ("AA", "TW-3")


def test_two_frames_in_one_packet_are_answered_in_their_order(program: Program):
    async def scenario() -> Any:
        peer = await Peer.connect(program.mllp_port)
        await peer.send(b"".join(framed(admission(f"TF-{number}", number="TF")) for number in range(20)))
        return [acknowledged(await peer.answer()) for _ in range(20)]

    assert run(scenario()) == [("AA", f"TF-{number}") for number in range(20)]


def test_bytes_between_frames_are_passed_over(program: Program):
    async def scenario() -> Any:
        peer = await Peer.connect(program.mllp_port)
        await peer.send(b"\r\n\0noise" + framed(admission("BB-1", number="BB")) + b"\x06\x15 more noise")
        first = await peer.answer()
        return first, await peer.ask(admission("BB-2", number="BB"))

    assert [acknowledged(one) for one in run(scenario())] == [("AA", "BB-1"), ("AA", "BB-2")]


def test_whoever_speaks_another_protocol_is_cut_off_and_nobody_else(program: Program):
    async def scenario() -> bool:
        peer = await Peer.connect(program.mllp_port)
        with suppress(OSError):
            await peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n" * 20_000)
        await assert_others_are_served(program, "HT")
        return await peer.ended()

    assert run(scenario())


def test_a_silent_peer_is_let_go_after_a_while_and_a_talking_one_is_not(program: Program):
    async def scenario() -> Any:
        silent, talking = await Peer.connect(program.mllp_port), await Peer.connect(program.mllp_port)
        ending = asyncio.create_task(silent.ended())
        number = 0
        while not ending.done():
            number += 1
            assert acknowledged(await talking.ask(admission(f"SI-{number}", number="SI")))
            await asyncio.sleep(0.2)
        return await talking.ask(admission("SI-last", number="SI"))

    assert acknowledged(run(scenario())) == ("AA", "SI-last")
    assert program.metrics()['kangshu_mllp_events_total{event="idle"}'] >= 1


def test_a_peer_that_reads_no_answers_is_held_back_and_gets_them_all_in_the_end(program: Program):
    count = 1500
    frames = [framed(admission(f"SR-{number}", number=f"SR{number % 9}")) for number in range(count)]

    async def scenario() -> Any:
        reader, writer = await asyncio.open_connection("127.0.0.1", program.mllp_port, limit=1024)
        peer = Peer(reader, writer)
        sending = asyncio.create_task(peer.send(b"".join(frames)))
        await assert_others_are_served(program, "SR")
        held = program.metrics()["kangshu_mllp_held_bytes"]
        answers = [acknowledged(await peer.answer()) for _ in range(count)]
        await sending
        return held, answers

    held, answers = run(scenario())

    assert held < 2 * MIB
    assert answers == [("AA", f"SR-{number}") for number in range(count)]


def test_a_frame_that_is_too_large_is_refused_by_its_control_id_and_costs_little(program: Program):
    body = admission("OV-1", number="OV") + b"NTE|1||" + b"x" * (17 * MIB)
    before = program.resident_bytes

    async def scenario() -> Any:
        peer = await Peer.connect(program.mllp_port)
        answer = await peer.ask(body)
        await assert_others_are_served(program, "OV")
        return answer, await peer.ended()

    answer, ended = run(scenario())

    assert acknowledged(answer) == ("AR", "OV-1")
    assert ended
    assert program.resident_bytes < before + 160 * MIB


# --- many -------------------------------------------------------------------------------------------------


async def flood(program: Program, count: int) -> list[Peer]:
    """Open connections from one address; those beyond the limit are ended at once."""
    peers = [await Peer.connect(program.mllp_port) for _ in range(count)]
    await asyncio.sleep(0.3)
    return peers


def test_a_flood_of_connections_from_one_address_leaves_room_for_the_others(program: Program):
    async def scenario() -> None:
        early = await Peer.connect(program.mllp_port)
        assert acknowledged(await early.ask(admission("CF-0", number="CF")))
        peers = await flood(program, CONNECTIONS * 2)
        assert acknowledged(await early.ask(admission("CF-1", number="CF"))) == ("AA", "CF-1")
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", program.mllp_port, local_addr=("127.0.0.2", 0)
        )
        other = Peer(reader, writer)
        assert acknowledged(await other.ask(admission("CF-2", number="CF"))) == ("AA", "CF-2")
        figures = program.metrics()
        assert figures["kangshu_mllp_connections"] <= CONNECTIONS // 2 + 1
        assert figures['kangshu_mllp_events_total{event="refused"}'] >= CONNECTIONS
        for peer in (early, other, *peers):
            await peer.close()

    run(scenario())


def test_large_halves_of_frames_from_many_peers_stay_within_bounds(program: Program):
    before = program.resident_bytes
    half = START + admission("LH", number="LH") + b"NTE|1||" + b"x" * (15 * MIB)

    async def send(peer: Peer) -> None:
        with suppress(OSError):
            await peer.send(half)

    async def scenario() -> None:
        # At most 19 from here, for the others need one as well: 285 MiB, more than all may hold together.
        peers = [await Peer.connect(program.mllp_port) for _ in range(CONNECTIONS // 2 - 1)]
        await asyncio.gather(*(send(peer) for peer in peers))
        await assert_others_are_served(program, "LH")
        assert program.metrics()["kangshu_mllp_held_bytes"] <= 256 * MIB
        assert program.resident_bytes < before + 700 * MIB
        for peer in peers:
            await peer.close()

    run(scenario())


def test_messages_of_thousands_of_results_at_once_stay_within_bounds(program: Program):
    def large(number: int) -> bytes:
        lines = report(f"TR-{number}", number="TR", filler=f"LTR{number}").split(b"\r")
        results = [
            f"OBX|{one}|NM|14647-2^总胆固醇^LN|{one}|7.30|mmol/L|2.80-5.20|H|||F|||20260301093000".encode()
            for one in range(2, 3000)
        ]
        return b"\r".join([*lines[:-1], *results, b""])

    before = program.resident_bytes

    async def scenario() -> list[Any]:
        peers = [await Peer.connect(program.mllp_port) for _ in range(8)]
        asking = [asyncio.create_task(peer.ask(large(number))) for number, peer in enumerate(peers)]
        await assert_others_are_served(program, "TR")
        return [acknowledged(await one) for one in asking]

    assert run(scenario()) == [("AA", f"TR-{number}") for number in range(8)]
    assert program.resident_bytes < before + 700 * MIB


def test_a_client_of_the_http_door_that_vanishes_has_its_message_stored_once(program: Program):
    headers = program.client(HOSPITAL, "messages.write")
    body = admission("HV-1", number="HV")
    token = headers["Authorization"]
    request = (
        f"POST /hl7v2 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n"
        f"Content-Type: application/hl7-v2\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", program.port)) as one:
            one.sendall(request + body)

    answer = httpx.post(f"{program.base}/hl7v2", content=body, headers=headers, timeout=PATIENCE_SECONDS)

    assert acknowledged(answer.content) == ("AA", "HV-1")
    found = program.metrics()
    assert found["kangshu_mllp_frames_total"] > 0
    assert run(stored(program, "HV-1")) == 1


async def stored(program: Program, control_id: str) -> int:
    async with open_platform(program.home) as platform, platform.database.connection() as connection:
        return await connection.fetchval(
            "SELECT count(*) FROM intake_message WHERE control_id = $1", control_id
        )


# --- acknowledgements -------------------------------------------------------------------------------------


def enhanced(control_id: str, accept: str, application: str, *, good: bool = True) -> bytes:
    """Return a message in enhanced mode; a bad one has no patient."""
    lines = admission(control_id, number="EN").decode().split("\r")
    fields = lines[0].split("|")
    fields[14:16] = accept, application
    lines[0] = "|".join(fields)
    return "\r".join(line for line in lines if good or not line.startswith("PID")).encode()


@pytest.mark.parametrize(
    ("accept", "application", "good", "code"),
    [
        ("AL", "NE", True, "CA"),
        ("AL", "NE", False, "CE"),
        ("NE", "AL", True, "AA"),
        ("AL", "AL", True, "AA"),
        ("NE", "ER", True, None),
        ("NE", "ER", False, "AE"),
        ("SU", "NE", True, "CA"),
        ("SU", "NE", False, None),
        ("NE", "NE", True, None),
    ],
)
def test_a_sender_is_told_what_it_asks_to_be_told(
    program: Program, accept: str, application: str, good: bool, code: str | None
):
    name = f"EN-{accept}-{application}-{good}"

    async def scenario() -> Any:
        peer = await Peer.connect(program.mllp_port)
        await peer.send(framed(enhanced(name, accept, application, good=good)))
        first = acknowledged(await peer.ask(admission(f"{name}-next", number="EN")))
        assert first is not None
        return first

    found = run(scenario())

    assert found == ((code, name) if code else ("AA", f"{name}-next"))


@pytest.mark.parametrize(
    ("body", "place", "error"),
    [
        (admission("ER-1").replace(b"ADT^A04^ADT_A01", b""), b"MSH^1^9", b"101"),
        (admission("ER-2").replace(b"|P|2.4|", b"|P||"), b"MSH^1^12", b"101"),
        (admission("ER-3").replace(b"|P|2.4|", b"|P|9.9|"), b"MSH^1^12", b"203"),
        (admission("ER-4").replace(b"\rPID", b"\rpid"), b"", b"100"),
    ],
    ids=["no type", "no version", "unknown version", "no segment"],
)
def test_a_refusal_names_the_place_and_the_code_of_table_0357(
    program: Program, body: bytes, place: bytes, error: bytes
):
    async def scenario() -> bytes:
        peer = await Peer.connect(program.mllp_port)
        answer = await peer.ask(body)
        assert answer is not None
        return answer

    answer = run(scenario())

    (line,) = [line for line in answer.split(b"\r") if line.startswith(b"ERR")]
    assert place in line
    assert re.search(rb"[|^&]" + error + rb"[\^&]", line)


# --- queries ----------------------------------------------------------------------------------------------


def query(control_id: str, event: str, parameters: str) -> bytes:
    lines = [
        header(f"QBP^{event}^QBP_Q21", control_id, version="2.5"),
        f"QPD|IHE {event} Query^^IHE|Q{control_id}|{parameters}",
        "RCP|I|10^RD",
        "",
    ]
    return "\r".join(lines).encode()


def test_queries_are_answered_and_on_the_audit_chain(program: Program):
    resident = "990102198203031231"

    async def scenario() -> Any:
        peer = await Peer.connect(program.mllp_port)
        told = {"resident": resident, "name": "测试询", "birth": "19820303"}
        await peer.ask(admission("QB-1", number="QA", **told))
        await peer.ask(admission("QB-2", number="QB", sender=OTHER_HOSPITAL, **told))
        pix = await peer.ask(query("QB-3", "Q23", f"QA^^^{HOSPITAL}^PI|^^^{OTHER_HOSPITAL}"))
        pdq = await peer.ask(query("QB-4", "Q22", f"@PID.3.1^QB~@PID.3.4^{OTHER_HOSPITAL}"))
        unknown = await peer.ask(query("QB-5", "Q23", f"NOBODY^^^{HOSPITAL}^PI"))
        return pix, pdq, unknown

    pix, pdq, unknown = run(scenario())

    assert acknowledged(pix) == ("AA", "QB-3")
    assert f"QB^^^{OTHER_HOSPITAL}".encode() in pix
    assert b"RSP^K23" in pix
    assert acknowledged(pdq) == ("AA", "QB-4")
    assert "测试询".encode() in pdq
    assert b"RSP^K22" in pdq
    assert acknowledged(unknown) == ("AE", "QB-5")
    found = run(asked(program))
    assert found.count(("done", True)) == 2, "each person shown is on record"
    assert ("refused", False) in found


async def asked(program: Program) -> list[tuple[str, bool]]:
    """Return how each question for a person ended, and whether it names somebody."""
    async with open_platform(program.home) as platform, platform.database.connection() as connection:
        rows = await connection.fetch(
            """SELECT outcome, person FROM audit_entry WHERE action = 'person.query'
               UNION ALL SELECT outcome, person FROM audit_pending WHERE action = 'person.query'"""
        )
        return [(row["outcome"], row["person"] is not None) for row in rows]


@pytest.mark.parametrize(
    "parameters",
    [
        "\\X00\\^^^A^PI",
        "@PID.5.1^\\X00\\",
        "@PID.7^\\X00\\1980",
        "@PID.3.1^" + "9" * 5000,
        "@^",
        "~~~",
        "^^^\\E\\",
    ],
)
@pytest.mark.parametrize("event", ["Q22", "Q23"])
def test_an_odd_query_is_answered_and_not_left_without_an_answer(
    program: Program, event: str, parameters: str
):
    async def scenario() -> Any:
        peer = await Peer.connect(program.mllp_port)
        return await peer.ask(query("QO-1", event, parameters))

    answer = acknowledged(run(scenario()))

    assert answer is not None
    assert answer[1] == "QO-1"


# --- in this process: the database away, certificates, the port -------------------------------------------


@pytest.fixture(scope="module")
def house(database_server: str) -> Iterator[MessageWorld]:
    with open_message_world(database_server) as world:
        yield world


def at_the_door(
    house: MessageWorld, work: Callable[[int], Awaitable[Any]], *, registry: Any = None, **settings: Any
) -> Any:
    """Run `async work(port)` while MLLP is served with other settings."""
    platform = replace(house.world.platform, settings=replace(house.world.platform.settings, **settings))

    async def scenario() -> Any:
        async with mllp_door(platform, open_lane(platform), port=0, registry=registry) as port:
            return await asyncio.wait_for(work(port), PATIENCE_SECONDS)

    return house.world.run(scenario)


def test_while_the_database_is_down_nothing_is_acknowledged_and_afterwards_stored_once():
    body = admission("DD-1", number="DD")
    resource = b'{"resourceType":"Observation","status":"final","code":{"text":"t"}}'

    async def scenario(home: Path, server_home: Path) -> Any:
        async with open_platform(home) as platform:
            lane, token = open_lane(platform), await machine_token(platform)
            headers = {"Authorization": f"Bearer {token}", "X-Request-Id": "DD-2"}
            transport = httpx.ASGITransport(app=build_app(platform, lane), raise_app_exceptions=False)
            async with (
                httpx.AsyncClient(transport=transport, base_url="http://kangshu.test") as http,
                mllp_door(platform, lane, port=0) as port,
            ):

                async def ask() -> Any:
                    return acknowledged(await (await Peer.connect(port)).ask(body))

                async def create() -> httpx.Response:
                    return await http.post("/fhir/Observation", content=resource, headers=headers)

                up = await create()
                await asyncio.to_thread(embedded.stop, server_home)
                headers["X-Request-Id"] = "DD-3"
                down = await asyncio.gather(ask(), ask()), await create(), await create()
                embedded.start(server_home)
                back = await ask(), await ask(), await create(), await create()
            async with platform.database.connection() as connection:
                rows = await connection.fetch("SELECT control_id FROM intake_message ORDER BY id")
            return up, down, back, sorted(row["control_id"] for row in rows)

    with temporary_home() as home:
        server_home = home.parent / "server"
        server_home.mkdir()
        write_settings(home, database_url=embedded.start(server_home))
        try:
            up, down, back, kept = asyncio.run(scenario(home, server_home))
        finally:
            embedded.stop(server_home)

    assert up.status_code == 201
    assert down[0] == [None, None], "no acknowledgement, and the connection ended"
    for answer in down[1:]:
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["resourceType"] == "OperationOutcome"
    assert back[:2] == (("AA", "DD-1"), ("AA", "DD-1"))
    assert [one.status_code for one in back[2:]] == [201, 200]
    assert kept == ["DD-1", "DD-2", "DD-3"]


async def machine_token(platform: Any) -> str:
    now = platform.clock.now()
    async with platform.database.transaction() as connection:
        client, secret = await security.create_client(
            connection,
            institution=HOSPITAL,
            scopes=["messages.write"],
            now=now,
            random=secrets.token_bytes,
        )
        token = await security.issue_token(
            connection, client_id=client, secret=secret, scopes=[], now=now, random=secrets.token_bytes
        )
    return token.token


def test_a_port_that_is_taken_is_said_so(house: MessageWorld):
    async def scenario() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with pytest.raises(EnvironmentFaultError):
                async with mllp_door(house.world.platform, house.lane, port=taken.getsockname()[1]):
                    pass

    house.world.run(scenario)


def test_what_happens_at_the_door_is_on_the_page_of_metrics_as_long_as_it_is_open(house: MessageWorld):
    registry = CollectorRegistry()

    async def work(port: int) -> str:
        peer = await Peer.connect(port)
        await peer.ask(admission("ME-1", number="ME"))
        return generate_latest(registry).decode()

    page = at_the_door(house, work, registry=registry)

    assert "kangshu_mllp_connections 1.0" in page
    assert "kangshu_mllp_frames_total 1.0" in page
    assert "kangshu_mllp_answers_total 1.0" in page
    assert "kangshu_mllp" not in generate_latest(registry).decode()


# --- certificates -----------------------------------------------------------------------------------------


class Authority:
    """Makes certificates for a test; its keys are of no use anywhere else."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._make(name, self._key, self._key, issuer=name, authority=True)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> tuple[str, str]:
        """Return the files of a certificate and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._make(name, key, self._key, issuer=self._name, authority=False)
        paths = self._folder / f"{self._name}-{name}.pem", self._folder / f"{self._name}-{name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return str(paths[0]), str(paths[1])

    def _make(self, name: str, key: Any, signer: Any, *, issuer: str, authority: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
            )
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    key_cert_sign=authority,
                    crl_sign=authority,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
        )
        if not authority:
            names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(signer, hashes.SHA256())


def client_side(authority: Authority, own: tuple[str, str] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.file))
    if own:
        context.load_cert_chain(*own)
    return context


async def tells(port: int, tls: ssl.SSLContext | None, control_id: str) -> Any:
    """Return how a message is acknowledged, or None where the peer was not let in."""
    try:
        peer = await Peer.connect(port, tls=tls)
        return acknowledged(await peer.ask(admission(control_id, number="TL")))
    except OSError:
        return None


def test_over_tls_messages_are_taken_and_whoever_speaks_plainly_is_not_heard(
    house: MessageWorld, tmp_path: Path
):
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.issue("localhost")

    async def work(port: int) -> Any:
        plain = asyncio.create_task(tells(port, None, "TLS-0"))
        first = await tells(port, client_side(authority), "TLS-1")
        return await plain, first, await tells(port, client_side(authority), "TLS-2")

    answers = at_the_door(house, work, mllp_certificate=certificate, mllp_key=key)

    assert answers == (None, ("AA", "TLS-1"), ("AA", "TLS-2"))


def test_only_peers_with_a_certificate_of_the_authority_are_let_in_and_are_on_record_by_name(
    house: MessageWorld, tmp_path: Path
):
    authority, stranger = Authority(tmp_path, "authority"), Authority(tmp_path, "stranger")
    certificate, key = authority.issue("localhost")

    async def work(port: int) -> Any:
        return [
            await tells(port, client_side(authority), "CC-1"),
            await tells(port, client_side(authority, stranger.issue("hospital")), "CC-2"),
            await tells(port, client_side(authority, authority.issue("hospital-99")), "CC-3"),
        ]

    answers = at_the_door(
        house,
        work,
        mllp_certificate=certificate,
        mllp_key=key,
        mllp_client_authorities=str(authority.file),
    )

    assert answers == [None, None, ("AA", "CC-3")]
    kept = house.take(admission("CC-3", number="TL"))
    assert kept.message is not None

    async def peer() -> str:
        async with house.world.platform.database.connection() as connection:
            return await connection.fetchval("SELECT peer FROM intake_message WHERE id = $1", kept.message)

    assert house.world.run(peer) == "127.0.0.1 hospital-99"


@pytest.mark.parametrize("which", ["missing", "no certificate", "another key", "no authorities"])
def test_files_of_certificates_that_cannot_be_used_are_a_wrong_setting(
    house: MessageWorld, tmp_path: Path, which: str
):
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.issue("localhost")
    _, other_key = authority.issue("other")
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    settings = {
        "missing": {"mllp_certificate": str(tmp_path / "none"), "mllp_key": key},
        "no certificate": {"mllp_certificate": str(empty), "mllp_key": key},
        "another key": {"mllp_certificate": certificate, "mllp_key": other_key},
        "no authorities": {
            "mllp_certificate": certificate,
            "mllp_key": key,
            "mllp_client_authorities": str(empty),
        },
    }[which]

    async def work(_port: int) -> None:
        raise AssertionError("it must not serve")

    with pytest.raises(SettingsError):
        at_the_door(house, work, **settings)


def test_no_name_of_a_patient_is_in_what_the_program_logs(program: Program):
    body = admission("LG-1", number="LG", name="测试不入日志")

    async def scenario() -> Any:
        peer = await Peer.connect(program.mllp_port)
        broken = body.replace(b"\rPV1", b"\rpv1 \xe6\xb5").replace(b"LG-1", b"LG-2")
        return await peer.ask(body), await peer.ask(broken), await peer.ask(patient("LG").encode())

    run(scenario())

    assert "测试" not in (program.home / "served.log").read_text(encoding="utf-8", errors="replace")
