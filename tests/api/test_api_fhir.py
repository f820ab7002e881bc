"""Parts of the FHIR door: its addresses, conditions, bodies and description."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect, Request

from kangshu.api.bodies import Bodies
from kangshu.api.errors import BodiesBusyError, BodySlowError, BodyTooLargeError, ParameterRefusedError
from kangshu.api.fhir import fhir_paths
from kangshu.api.fhir.answers import wants_xml
from kangshu.api.fhir.door import find_place
from kangshu.api.fhir.purposes import stated_purpose
from kangshu.api.fhir.writing import matched_version
from kangshu.api.reference import operations
from kangshu.consent import Purpose


def request_of(chunks: Sequence[Any] = (), *, query: str = "", **headers: str) -> Request:
    messages = iter(chunks)

    async def receive() -> Any:
        one = next(messages, None)
        if one is None:
            await asyncio.sleep(10)
        return one

    named = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Request(
        {"type": "http", "method": "POST", "headers": named, "query_string": query.encode(), "path": "/"},
        receive,
    )


def chunk(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


# --- addresses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("", "/fhir"),
        ("/", "/fhir"),
        ("/metadata", "/fhir/metadata"),
        ("/Patient", "/fhir/{type}"),
        ("/Patient/", "/fhir/{type}"),
        ("/Patient/_search", "/fhir/{type}/_search"),
        ("/Patient/a.b-9", "/fhir/{type}/{id}"),
        ("/Patient/1/_history", "/fhir/{type}/{id}/_history"),
        ("/Patient/1/_history/2", "/fhir/{type}/{id}/_history/{version}"),
        ("/Patient/1/$everything", "/fhir/Patient/{id}/$everything"),
        ("/Patient/$match", "/fhir/Patient/$match"),
        ("/Patient/$ihe-pix", "/fhir/Patient/$ihe-pix"),
        ("/Patient/empi-17", "/fhir/Patient/{id}"),
        ("/Patient/empi-017", "/fhir/{type}/{id}"),
        ("/Observation/empi-17", "/fhir/{type}/{id}"),
        ("/Observation/$match", "none"),
        ("/Binary/1", "/fhir/Binary/{id}"),
        ("/Binary", "none"),
        ("/Binary/1/_history/1", "none"),
        ("/Observation/1/$everything", "none"),
        ("/Patient//1", "none"),
        ("/Patient/1/_history/01", "none"),
        ("/Patient/1/Observation", "none"),
        ("/OperationOutcome/1", "none"),
        ("/patient/1", "none"),
    ],
)
def test_an_address_leads_to_one_place(path: str, pattern: str):
    assert find_place(path)[0].path == pattern


@given(st.text())
def test_any_address_is_a_place_or_none(path: str):
    place, parts = find_place(path)

    assert place.path == "none" or place.path.startswith("/fhir")
    assert set(parts) <= {"type", "id", "version"}


@given(st.text(max_size=80))
def test_a_version_that_was_seen_is_a_number_or_no_version(text: str):
    try:
        found = matched_version(text)
    except ParameterRefusedError:
        return
    assert found is not None
    assert found >= 0


def test_the_version_that_a_client_saw_is_read_as_http_writes_it():
    assert matched_version('W/"3"') == matched_version('"3"') == matched_version("3") == 3
    assert matched_version('W/"abc"') == 0
    assert matched_version(None) is None


def test_a_purpose_is_treatment_where_none_is_stated():
    assert stated_purpose(request_of()) == (Purpose.TREATMENT, "")
    assert stated_purpose(request_of(x_purpose="Quality")) == (Purpose.QUALITY, "")
    told = request_of(x_purpose="emergency", x_purpose_reason="%E6%80%A5%00%E8%AF%8A")
    assert stated_purpose(told) == (Purpose.EMERGENCY, "急诊")


@pytest.mark.parametrize(
    ("query", "accept", "xml"),
    [
        ("", "", False),
        ("", "*/*", False),
        ("", "application/fhir+xml", True),
        ("", "application/fhir+xml, application/fhir+json;q=0.5", True),
        ("", "application/fhir+json, application/fhir+xml;q=0.5", False),
        ("", "text/html,application/xhtml+xml,application/xml;q=0.9", False),
        ("_format=xml", "application/fhir+json", True),
        ("_format=application/fhir+xml", "", True),
        ("_format=application%2Ffhir%2Bjson", "application/fhir+xml", False),
    ],
)
def test_the_form_of_an_answer_is_the_one_asked_for(query: str, accept: str, xml: bool):
    assert wants_xml(request_of(query=query, accept=accept)) is xml


# --- bodies -------------------------------------------------------------------------------------------


def lend(bodies: Bodies, request: Request, *, most: int = 10) -> bytes:
    async def scenario() -> bytes:
        async with bodies.lend(request, most=most) as body:
            assert bodies.held == len(body)
            return body

    return asyncio.run(scenario())


def test_a_body_is_whole_whatever_pieces_it_came_in():
    bodies = Bodies()

    assert lend(bodies, request_of([chunk(b"abc")])) == b"abc"
    assert lend(bodies, request_of([chunk(b"a", more=True), chunk(b"", more=True), chunk(b"bc")])) == b"abc"
    assert lend(bodies, request_of([chunk(b"")])) == b""
    assert bodies.held == 0


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (lambda: request_of([chunk(b"x" * 11)]), BodyTooLargeError),
        (lambda: request_of([chunk(b"x" * 6, more=True), chunk(b"x" * 6)]), BodyTooLargeError),
        (lambda: request_of(content_length="11"), BodyTooLargeError),
        (lambda: request_of(content_length="9" * 5000), BodyTooLargeError),
        (lambda: request_of([chunk(b"x", more=True)]), BodySlowError),
        (lambda: request_of([]), BodySlowError),
        (lambda: request_of([chunk(b"x", more=True), {"type": "http.disconnect"}]), ClientDisconnect),
        (lambda: request_of([chunk(b"x" * 9)]), BodiesBusyError),
    ],
)
def test_a_body_that_does_not_come_whole_holds_no_memory(request_: Any, error: type[Exception]):
    bodies = Bodies(most_in_all=8 if error is BodiesBusyError else 100, idle_seconds=0.02)

    with pytest.raises(error):
        lend(bodies, request_())

    assert bodies.held == 0


def test_a_body_that_drips_is_given_up_in_the_end():
    async def drip() -> Any:
        await asyncio.sleep(0.01)
        return chunk(b"", more=True)

    request = request_of()
    request._receive = drip
    with pytest.raises(BodySlowError):
        lend(Bodies(idle_seconds=0.5, seconds=0.1), request)


# --- the description ----------------------------------------------------------------------------------


def test_the_description_of_the_door_is_one_that_the_page_can_show():
    app = FastAPI()
    schema = {**app.openapi(), "paths": fhir_paths()}

    shown = operations(schema)

    assert {(one.method, one.path) for one in shown} >= {("POST", "/fhir"), ("GET", "/fhir/{type}/{id}")}
    assert len({one.anchor for one in shown}) == len(shown)
