"""The FHIR door over HTTP: what clients write and read, and how they hear of what is wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fhir_world import (
    ORIGIN,
    FhirWorld,
    address,
    observation,
    open_fhir_world,
    patient,
)

from kangshu.standards import fhir

pytestmark = pytest.mark.database


@pytest.fixture(scope="module")
def house(database_server: str) -> Iterator[FhirWorld]:
    with open_fhir_world(database_server) as world:
        yield world


@pytest.fixture(scope="module")
def someone(house: FhirWorld) -> str:
    """A Patient of the hospital, as `Patient/id`."""
    return address(house.create(patient("P0")))


# --- what the door says of itself ---------------------------------------------------------------------


def test_the_capability_statement_is_valid_and_needs_no_token(house: FhirWorld):
    told = house.get("metadata", who="").json()

    assert told["resourceType"] == "CapabilityStatement"
    assert fhir.is_acceptable(fhir.validate(told)), fhir.validate(told)
    kinds = {one["type"]: one for one in told["rest"][0]["resource"]}
    assert {"name": "date", "type": "date"} in kinds["Observation"]["searchParam"]
    assert kinds["Binary"]["interaction"] == [{"code": "read"}]


def test_every_parameter_that_the_statement_lists_is_taken(house: FhirWorld):
    kinds = house.get("metadata", who="").json()["rest"][0]["resource"]
    values = {"date": "2026", "reference": "x", "token": "x", "string": "x", "uri": "urn:x"}
    from kangshu import records

    for kind in kinds:
        for one in kind.get("searchParam", ()):
            records.check_search(type=kind["type"], parameters=[(one["name"], values[one["type"]])])


# --- one resource -------------------------------------------------------------------------------------


def test_what_is_created_can_be_read_as_it_was_sent(house: FhirWorld, someone: str):
    created = house.create(observation(someone))

    assert created.status_code == 201
    assert created.headers["etag"] == 'W/"1"'
    assert created.headers["location"].startswith(f"{ORIGIN}/fhir/Observation/")
    assert created.headers["location"].endswith("/_history/1")
    read = house.get(address(created))
    assert read.status_code == 200
    assert read.content == created.content
    assert read.headers["last-modified"] == created.headers["last-modified"]
    assert b'"value":6.30' in read.content
    assert read.json()["meta"]["versionId"] == "1"
