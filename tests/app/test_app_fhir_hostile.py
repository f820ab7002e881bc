"""The FHIR door over HTTP: every error is an OperationOutcome without a value, and nothing sent harms it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fhir_world import (
    NUMBERS,
    FhirWorld,
    address,
    assert_outcome,
    entry,
    observation,
    open_fhir_world,
    patient,
)

from kangshu.kernel.texts import Text
from kangshu.standards import fhir
from kangshu.storage.database import Database
from kangshu.storage.errors import DatabaseUnavailableError, StorageFullError, TransactionConflictError

pytestmark = pytest.mark.database

SAMPLES = Path(os.environ.get("KANGSHU_SAMPLES", Path(__file__).parents[3] / "shared" / "samples")) / "fhir"
SECRET = "测试辛"


@pytest.fixture(scope="module")
def house(database_server: str) -> Iterator[FhirWorld]:
    with open_fhir_world(database_server) as world:
        yield world


@pytest.fixture(scope="module")
def someone(house: FhirWorld) -> str:
    return address(house.create(patient("H0")))


# --- errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["Patient/x", "Patient?identifier=x", "Binary/x", "Patient/x/$everything"])
def test_without_a_good_token_nothing_is_answered(house: FhirWorld, path: str):
    for header in ("", "Bearer", "Bearer nonsense", "Basic eDp5"):
        answer = house.ask("GET", f"/fhir/{path}", who="", headers={"Authorization": header})

        assert_outcome(answer, 401, "login")
        assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("GET", "/fhir/Dog/1", 404, None),
        ("POST", "/fhir/Parameters", 404, None),
        ("GET", "/fhir/Patient/a_b", 404, None),
        ("GET", f"/fhir/Patient/{'x' * 65}", 404, None),
        ("GET", "/fhir/Patient/x/$dance", 404, None),
        ("GET", "/fhir/Patient/x/_history/0", 404, None),
        ("GET", "/fhir/Patient/x/_history/9999999999", 404, None),
        ("GET", "/fhir/Patient/%2e%2e%2fpasswd", 404, None),
        ("GET", "/fhir/%00", 404, None),
        ("PATCH", "/fhir/Patient/x", 405, "DELETE, GET, HEAD, PUT"),
        ("DELETE", "/fhir/Patient", 405, "GET, HEAD, POST, PUT"),
        ("DELETE", "/fhir/Observation", 405, "GET, HEAD, POST"),
        ("GET", "/fhir", 405, "POST"),
        ("GET", "/fhir/", 405, "POST"),
        ("POST", "/fhir/metadata", 405, "GET, HEAD"),
        ("PUT", "/fhir/Binary/x", 405, "GET, HEAD"),
    ],
)
def test_what_is_not_there_is_told_in_the_doors_own_form(
    house: FhirWorld, method: str, path: str, status: int, allowed: str | None
):
    answer = house.ask(method, path)

    assert_outcome(answer, status, "not-found" if status == 404 else "not-supported")
    assert answer.headers.get("allow") == allowed


def test_only_what_lies_under_the_door_is_the_doors(house: FhirWorld):
    answer = house.ask("GET", "/fhirside")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"", {}, 400),
        (b"{", {}, 400),
        (b"[]", {}, 400),
        (b'{"resourceType": "Patient", "resourceType": "Patient"}', {}, 400),
        (b'{"resourceType": "Patient", "name": [{"text": "\\ud800"}]}', {}, 400),
        (b"\xff\xfe\x00", {}, 400),
        (b"<Patient xmlns='http://hl7.org/fhir'><id/></Patient>", {}, None),
        (b"<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><Patient>&e;</Patient>", {}, 400),
        (b'{"resourceType": "Patient", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", {}, None),
        (b'{"resourceType": "Observation"}', {}, None),
        (b"%PDF-1.7", {"Content-Type": "application/pdf"}, 415),
        (b"[]", {"Content-Type": "application/json-patch+json"}, 415),
    ],
)
def test_a_body_that_cannot_be_taken_is_refused(house: FhirWorld, content: bytes, headers: dict, status: int):
    answer = house.ask("POST", "/fhir/Patient", content=content, headers=headers)

    assert_outcome(answer, status or answer.status_code)
    assert 400 <= answer.status_code < 500
    assert "root:" not in answer.text


def test_a_wrong_element_is_named_and_its_value_is_not(house: FhirWorld, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    wrong = {**patient("H-WRONG", name=SECRET), "birthDate": f"1968-05-{SECRET}", "gender": SECRET}

    answer = house.create(wrong)

    issue = assert_outcome(answer, 422)
    assert issue["expression"] == ["Patient.gender"] or issue["expression"] == ["Patient.birthDate"]
    assert len(answer.json()["issue"]) >= 2
    assert SECRET not in answer.text
    assert SECRET not in caplog.text + "".join(capfd.readouterr())


def test_characters_that_no_text_has_do_no_harm(house: FhirWorld):
    for name in ("\x00", "a\x01b", "\u2028", "\U0001f600" * 500):
        answer = house.create(patient("H-ODD", name=name))
        assert answer.status_code in (201, 422), answer.text
        if answer.status_code == 201:
            assert house.get(address(answer)).json()["name"][0]["text"] == name
            assert house.get(address(answer), Accept="application/fhir+xml").status_code in (200, 400)


def test_unavailable_and_full_and_busy_are_told_with_the_time_to_wait(
    house: FhirWorld, someone: str, monkeypatch
):
    text = Text(zh="稍后再试", en="later")
    for error, status in (
        (DatabaseUnavailableError(text), 503),
        (StorageFullError(text), 503),
        (TransactionConflictError(text), 429),
    ):

        def away(*_: object, error: Exception = error, **__: object) -> Any:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(Database, "connection", away)
            patch.setattr(Database, "run", away)
            read, written = house.get(someone), house.create(observation(someone))
            both = house.bundle(
                "batch", entry("GET", someone), entry("POST", "Observation", observation(someone))
            )
        for answer in (read, written):
            assert_outcome(answer, status, "transient" if status == 503 else "throttled")
            assert answer.headers["retry-after"] == "10"
        assert [one["response"]["status"] for one in both.json()["entry"]] == [str(status)] * 2
    assert house.get(someone).status_code == 200


def test_a_fault_of_ours_tells_nothing_and_logs_no_value(
    house: FhirWorld, someone: str, monkeypatch, caplog, capfd
):
    caplog.set_level(logging.DEBUG)

    def broken(*_: object, **__: object) -> Any:
        raise RuntimeError(f"secret {SECRET}")

    with monkeypatch.context() as patch:
        patch.setattr("kangshu.app.messages.looking._read", broken)
        patch.setattr("kangshu.app.messages.deciding._look_up", broken)
        answers = [
            house.get(someone),
            house.create(observation(someone)),
            house.ask("DELETE", f"/fhir/{someone}"),
        ]

    for answer in answers:
        assert_outcome(answer, 500, "exception")
        assert "secret" not in answer.text
    assert SECRET not in caplog.text + "".join(capfd.readouterr())
    assert house.get(someone).status_code == 200


# --- forms --------------------------------------------------------------------------------------------


def test_xml_goes_in_and_out(house: FhirWorld, someone: str):
    sent = fhir.to_xml(observation(someone, value="6.30"))

    created = house.ask(
        "POST",
        "/fhir/Observation",
        content=sent,
        headers={"Content-Type": "application/fhir+xml", "Accept": "application/fhir+xml"},
    )

    assert created.status_code == 201
    assert created.headers["content-type"].startswith("application/fhir+xml")
    assert b'<value value="6.30"/>' in created.content
    where = address(created)
    assert house.get(where).json()["status"] == "final"
    for path in (f"{where}?_format=xml", f"Observation?patient={someone}&_format=application/fhir%2Bxml"):
        assert fhir.read(house.get(path).content)["resourceType"] in ("Observation", "Bundle")
    wrong = house.get("Patient/nobody?_format=xml")
    assert (wrong.status_code, fhir.read(wrong.content)["resourceType"]) == (404, "OperationOutcome")
    assert_outcome(house.get(f"{where}?_format=html"), 406)
    assert house.get(where, Accept="text/html,application/xml;q=0.9").json()["status"] == "final"


def test_errors_come_in_the_language_that_is_asked_for(house: FhirWorld):
    chinese, english = (
        house.get("Patient/nobody"),
        house.get("Patient/nobody", **{"Accept-Language": "en-GB"}),
    )

    assert chinese.json()["issue"][0]["details"]["text"] == "没有这个资源"
    assert english.json()["issue"][0]["details"]["text"] == "there is no such resource"


def test_references_that_name_this_door_lead_here(house: FhirWorld, someone: str):
    created = house.create(observation(f"http://kangshu.test/fhir/{someone}"))
    absolute = house.bundle(
        "transaction", entry("POST", "Observation", observation(f"http://kangshu.test/fhir/{someone}"))
    )

    assert created.json()["subject"]["reference"] == someone
    place = absolute.json()["entry"][0]["response"]["location"].partition("/_history")[0]
    assert house.get(place).json()["subject"]["reference"] == someone


# --- bodies and clients -------------------------------------------------------------------------------


def test_a_body_that_is_too_long_is_refused_before_it_is_read(house: FhirWorld, monkeypatch):
    monkeypatch.setattr("kangshu.api.fhir.asking.BODY_MOST", 1_000)
    sent = 0

    async def endless():
        nonlocal sent
        for _ in range(1_000):
            sent += 1
            yield b" " * 100

    streamed = house.ask("POST", "/fhir/Patient", content=endless())
    announced = house.ask("POST", "/fhir/Patient", content=b" " * 2_000)

    assert_outcome(streamed, 413, "too-long")
    assert_outcome(announced, 413, "too-long")
    assert sent < 20


def test_all_bodies_together_are_bounded(house: FhirWorld, someone: str):
    bodies = _bodies(house)
    most, bodies._most_in_all = bodies._most_in_all, 4_000
    try:
        busy = house.create(observation(someone, note=[{"text": "x" * 5_000}]))
        fine = house.create(observation(someone))
    finally:
        bodies._most_in_all = most

    assert_outcome(busy, 503, "throttled")
    assert busy.headers["retry-after"] == "10"
    assert fine.status_code == 201
    assert bodies.held == 0


def test_a_client_that_stops_in_the_middle_holds_nothing(house: FhirWorld):
    bodies = _bodies(house)
    idle, bodies._idle_seconds = bodies._idle_seconds, 0.05

    async def slow():
        yield b'{"resourceType":'
        await asyncio.sleep(1)
        yield b'"Patient"}'

    try:
        answer = house.ask("POST", "/fhir/Patient", content=slow())
    finally:
        bodies._idle_seconds = idle

    assert_outcome(answer, 408, "timeout")
    assert bodies.held == 0


def test_a_client_that_goes_away_leaves_nothing_behind(house: FhirWorld):
    before = _count(house)

    async def work(_http: httpx.AsyncClient) -> list[Any]:
        told: list[Any] = []
        messages = iter(
            [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
        )

        async def receive() -> Any:
            return next(messages)

        async def send(message: Any) -> None:
            told.append(message)

        headers = [
            (b"host", b"kangshu.test"),
            (b"authorization", f"Bearer {house.tokens['hospital']}".encode()),
        ]
        scope = {
            "type": "http", "http_version": "1.1", "method": "POST", "path": "/fhir/Patient", "raw_path": b"",
            "query_string": b"", "headers": headers, "scheme": "http", "server": ("kangshu.test", 80),
            "client": ("127.0.0.1", 1), "root_path": "", "asgi": {"version": "3.0"}, "state": {},
        }  # fmt: skip
        await house.app(scope, receive, send)
        return told

    assert house.run(work) == []
    assert _bodies(house).held == 0
    assert _count(house) == before


def test_a_client_that_does_not_wait_for_the_answer_has_its_resource_stored(house: FhirWorld):
    async def work(http: httpx.AsyncClient) -> None:
        asking = asyncio.create_task(http.post("/fhir/Patient", content=fhir.dumps(patient("H-IMPATIENT"))))
        await asyncio.sleep(0.02)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.sleep(0.2)

    house.run(work)

    found = house.get(f"Patient?identifier={NUMBERS}|H-IMPATIENT&_total=accurate").json()
    assert found["total"] <= 1


def test_metrics_name_the_patterns_of_the_doors_addresses_only(house: FhirWorld, someone: str):
    house.get(someone)
    house.get("Observation?code=14647-2")

    text = house.ask("GET", "/metrics", who="").text

    assert 'route="/fhir/{type}/{id}"' in text
    assert 'route="/fhir/{type}"' in text
    assert someone.partition("/")[2] not in text


def _bodies(house: FhirWorld) -> Any:
    machine = house.app.routes[-1].app  # type: ignore[attr-defined]
    return machine.state.bodies


def _count(house: FhirWorld) -> int:
    async def scenario() -> int:
        async with house.world.platform.database.connection() as connection:
            return await connection.fetchval("SELECT count(*) FROM intake_message")

    return house.world.run(scenario)


# --- what others wrote --------------------------------------------------------------------------------


@pytest.mark.samples
@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the sample files are not here: set KANGSHU_SAMPLES")
@pytest.mark.parametrize("folder", ["ms_fhir_server_r4", "r4_examples"])
def test_whatever_others_wrote_is_stored_as_it_is_or_refused_with_a_place(house: FhirWorld, folder: str):
    files = [one for one in sorted((SAMPLES / folder).iterdir()) if one.suffix in (".json", ".xml")]
    assert files

    for file in files:
        kind = _kind(file.read_bytes())
        path = "/fhir" if kind in ("transaction", "batch") else f"/fhir/{kind}"
        answer = house.ask("POST", path, content=file.read_bytes())
        assert answer.status_code < 500, f"{file.name}: {answer.text}"
        if answer.status_code == 201:
            assert house.get(address(answer)).status_code == 200, file.name
        elif answer.status_code >= 400:
            assert answer.json()["resourceType"] == "OperationOutcome", file.name
        else:
            statuses = {one["response"]["status"] for one in answer.json()["entry"]}
            assert not any(status.startswith("5") for status in statuses), file.name


def _kind(content: bytes) -> str:
    try:
        resource = fhir.read(content)
    except fhir.FhirError:
        return "Patient"
    kind = resource["resourceType"]
    return (
        resource.get("type", kind)
        if kind == "Bundle" and resource.get("type") in ("transaction", "batch")
        else kind
    )
