"""References are found wherever they stand, and dates tell what they cover."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kangshu.standards import fhir
from kangshu.standards.fhir.definitions import definitions, search_definitions

CHINA = timezone(timedelta(hours=8))


def test_references_in_extensions_contained_resources_and_entries_are_found():
    inner = {
        "resourceType": "Encounter",
        "contained": [{"resourceType": "Basic", "subject": {"reference": "urn:uuid:1"}}],
        "extension": [
            {
                "url": "http://x.org",
                "extension": [{"url": "y", "valueReference": {"reference": "Location/1"}}],
            }
        ],
        "subject": {"reference": "Patient/1", "display": "测试"},
        "participant": [{"individual": {"reference": "#a"}}, {"individual": {"display": "nobody"}}],
    }
    bundle = {"resourceType": "Bundle", "entry": [{"resource": inner}]}

    found = {holder[key] for holder, key in fhir.references(bundle)}

    assert found == {"urn:uuid:1", "Location/1", "Patient/1", "#a"}


def test_rewriting_happens_in_place():
    resource = {"resourceType": "Observation", "performer": [{"reference": "a"}, {"reference": "b"}]}

    for holder, key in fhir.references(resource):
        holder[key] = holder[key].upper()

    assert resource["performer"] == [{"reference": "A"}, {"reference": "B"}]


def test_other_elements_of_that_name_are_no_references():
    resource = {"resourceType": "DetectedIssue", "reference": "http://x.org/paper"}
    expression = {"language": "text/cql", "reference": "http://x.org/library"}

    assert list(fhir.references(resource)) == []
    assert list(fhir.references({"resourceType": "Basic", "x": expression})) == []


def test_r4_has_no_further_text_that_is_called_reference():
    """`references` tells these apart by their neighbours."""
    holders = {
        name
        for name, one in definitions().types.items()
        for element in one.elements
        if element.name == "reference"
        and element.types
        and definitions().types[element.types[0].code].kind == "primitive"
    }

    assert holders == {"Reference", "DetectedIssue", "Expression", "Immunization.education"}


@pytest.mark.parametrize(
    ("text", "start", "end", "precision"),
    [
        ("2026", "2026-01-01T00:00:00", "2027-01-01T00:00:00", "year"),
        ("2024", "2024-01-01T00:00:00", "2025-01-01T00:00:00", "year"),
        ("2026-02", "2026-02-01T00:00:00", "2026-03-01T00:00:00", "month"),
        ("2026-12", "2026-12-01T00:00:00", "2027-01-01T00:00:00", "month"),
        ("2026-03-02", "2026-03-02T00:00:00", "2026-03-03T00:00:00", "day"),
        ("2026-03-02T08:30:00", "2026-03-02T08:30:00", "2026-03-02T08:30:01", "second"),
        ("2026-03-02T00:30:00Z", "2026-03-02T08:30:00", "2026-03-02T08:30:01", "second"),
        ("2026-03-02T08:30:60", "2026-03-02T08:31:00", "2026-03-02T08:31:01", "second"),
        ("2026-03-02T08:30:00.5", "2026-03-02T08:30:00.500000", "2026-03-02T08:30:00.600000", "fraction"),
        (
            "2026-03-02T08:30:00.123456789",
            "2026-03-02T08:30:00.123456",
            "2026-03-02T08:30:00.123457",
            "fraction",
        ),
        ("9999-12-31", "9999-12-31T00:00:00", "9999-12-31T23:59:59.999999", "day"),
    ],
)
def test_a_date_covers_what_it_leaves_open(text, start, end, precision):
    span = fhir.span_of(text, zone=CHINA)

    assert span is not None
    assert span.start == datetime.fromisoformat(start).replace(tzinfo=CHINA)
    assert span.end == datetime.fromisoformat(end).replace(tzinfo=CHINA)
    assert span.precision == precision


@pytest.mark.parametrize(
    "text", ["", "26", "2026-1", "2026-02-30", "2026-03-02T08:30", "0000", "x", "2026-03-02T25:00:00Z"]
)
def test_what_is_no_date_covers_nothing(text):
    assert fhir.span_of(text) is None


@given(
    moment=st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)), length=st.sampled_from([4, 7, 10, 19])
)
def test_a_shorter_date_covers_the_longer_one(moment, length):
    whole = fhir.span_of(moment.isoformat(timespec="seconds"))
    shorter = fhir.span_of(moment.isoformat(timespec="seconds")[:length])

    assert whole is not None
    assert shorter is not None
    assert shorter.start <= whole.start < whole.end <= shorter.end
    assert whole.start == moment.replace(microsecond=0, tzinfo=UTC)


def test_search_parameters_of_a_type_include_those_of_every_resource():
    parameters = fhir.search_parameters(type="Observation")

    assert parameters["code"].type == "token"
    assert parameters["patient"].targets == ("Group", "Patient") or "Patient" in parameters["patient"].targets
    assert {"_id", "_lastUpdated", "date", "value-quantity"} <= parameters.keys()
    assert fhir.search_parameters(type="Banana") == {}


def test_the_patient_compartment_names_parameters_that_exist():
    compartment = search_definitions().patient_compartment

    assert fhir.patient_parameters(type="Observation") == ("subject", "performer")
    assert fhir.patient_parameters(type="Location") == ()
    for name, parameters in compartment.items():
        known = fhir.search_parameters(type=name).keys()
        assert name in fhir.RESOURCE_TYPES
        assert set(parameters) - {"{def}"} <= known, name


def test_entries_are_told_with_their_place():
    bundle = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [
            {"request": {"method": "GET", "url": "Patient/1"}},
            {
                "fullUrl": "urn:uuid:2",
                "resource": {"resourceType": "Patient"},
                "request": {"method": "POST", "url": "Patient"},
            },
        ],
    }

    first, second = fhir.entries(bundle)

    assert fhir.bundle_type(bundle) == "batch"
    assert fhir.bundle_type({"resourceType": "Patient"}) is None
    assert (first.place, first.method, first.url, first.resource, first.full_url) == (
        "Bundle.entry[0]",
        "GET",
        "Patient/1",
        None,
        "",
    )
    assert (second.full_url, second.resource) == ("urn:uuid:2", {"resourceType": "Patient"})
