"""FHIR in JSON: what is read is what was sent, down to the digits; the rest is refused at its place."""

import contextlib
import json
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kangshu.standards import fhir
from kangshu.standards.fhir import json_form

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
numbers = st.integers(-(10**18), 10**18) | st.decimals(allow_nan=False, allow_infinity=False, places=4)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
resources = st.dictionaries(texts, values, max_size=5).map(lambda made: made | {"resourceType": "Basic"})


@given(resource=resources)
def test_what_is_written_is_read_again(resource):
    assert fhir.loads(fhir.dumps(resource)) == resource


@given(resource=resources, indent=st.sampled_from([None, 0, 2]), ascii_only=st.booleans())
def test_blanks_and_escapes_make_no_difference(resource, indent, ascii_only):
    text = json.dumps(resource, indent=indent, ensure_ascii=ascii_only, default=float)

    assert fhir.loads(text.encode()).keys() == resource.keys()


@pytest.mark.parametrize("number", ["6.30", "0.0", "100.00", "-0.50", "1.000000000000000000001", "12E+2"])
def test_a_decimal_keeps_the_digits_it_was_written_with(number):
    data = b'{"resourceType":"Observation","valueQuantity":{"value":' + number.encode() + b"}}"

    resource = fhir.loads(data)

    assert resource["valueQuantity"]["value"] == Decimal(number)
    assert str(Decimal(number)).encode() in fhir.dumps(resource)


@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    with contextlib.suppress(fhir.FhirError):
        json_form.decode(data)


@given(
    resource=resources,
    name=texts,
    first=values,
    second=values,
    blank=st.sampled_from(["", " ", "\n\t"]),
)
def test_a_property_that_is_there_twice_is_refused(resource, name, first, second, blank):
    pairs = [f"{json.dumps(name)}{blank}:{json.dumps(value, default=float)}" for value in (first, second)]
    data = json.dumps(resource, default=float)[:-1] + ',"inner":{' + ",".join(pairs) + "}}"

    with pytest.raises(fhir.DuplicateKeyError) as refused:
        fhir.loads(data.encode())

    assert refused.value.place is not None
    assert refused.value.place.startswith("inner.")


def test_an_escaped_colon_does_not_hide_a_property_that_is_there_twice():
    with pytest.raises(fhir.DuplicateKeyError):
        fhir.loads(rb'{"resourceType":"Basic","a":1,"a":2,"text":"\u003a"}')


def test_a_name_that_is_no_name_is_not_repeated_in_the_place():
    with pytest.raises(fhir.DuplicateKeyError) as refused:
        fhir.loads('{"resourceType":"Basic","张三 13800000000":1,"张三 13800000000":2}'.encode())

    assert refused.value.place == "?"


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b'{"resourceType":\n "Patient",\n  oops}', "line 3, column 3"),
        (b'{"resourceType":"Patient"', "line 1, column 26"),
        (b'{"resourceType":"Patient","name":"\xff"}', "line 1, column 35"),
        (b'{"a":1,}', "line 1, column 8"),
        (b"", "line 1, column 1"),
    ],
)
def test_what_is_no_json_is_refused_where_it_goes_wrong(data, place):
    with pytest.raises(fhir.NotJsonError) as refused:
        fhir.loads(data)

    assert refused.value.place == place


@pytest.mark.parametrize("data", [b"[]", b"null", b'"Patient"', b"17", b"{}", b'{"resourceType":17}'])
def test_what_is_no_resource_is_refused(data):
    with pytest.raises(fhir.NotAResourceError):
        fhir.loads(data)


@pytest.mark.parametrize("levels", [129, 1_000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_a_depth_bomb_is_refused(levels, opening, closing):
    with pytest.raises(fhir.TooMuchError):
        json_form.decode(opening * levels + b"1" + closing * levels)


def test_a_hundred_levels_are_not_too_many():
    assert json_form.decode(b"[" * 100 + b"]" * 100)


def test_brackets_in_texts_are_no_levels():
    assert json_form.decode(b'["' + b"[{" * 1_000 + b'"]')


def test_too_many_bytes_are_refused_before_they_are_read():
    with pytest.raises(fhir.TooMuchError):
        fhir.loads(b'{"resourceType":"Basic"}', maximum_bytes=10)


@pytest.mark.parametrize("number", [b"9" * 5_000, b"1e99999999999999999999", b"-" + b"9" * 5_000])
def test_a_number_that_nothing_can_hold_is_refused(number):
    with pytest.raises(fhir.NotJsonError):
        json_form.decode(number)


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"01", b"1.", b".5", b"+1", b"0x10"])
def test_what_only_javascript_calls_a_number_is_refused(number):
    with pytest.raises(fhir.NotJsonError):
        json_form.decode(number)


def test_a_float_of_a_caller_is_written_as_a_number():
    assert math.isclose(json.loads(fhir.dumps({"resourceType": "Basic", "a": 0.5}))["a"], 0.5)


def test_a_byte_order_mark_is_no_fault():
    assert fhir.loads(b'\xef\xbb\xbf{"resourceType":"Basic"}') == {"resourceType": "Basic"}


def test_lines_are_split_with_their_places_and_blank_ones_left_out():
    data = b'\xef\xbb\xbf{"a":1}\r\n\n  \n{"b":2}\n{"c":3}'

    pieces = [(piece.number, piece.data, piece.place) for piece in fhir.split_ndjson(data)]

    assert pieces == [(1, b'{"a":1}', "line 1"), (2, b'{"b":2}', "line 4"), (3, b'{"c":3}', "line 5")]


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (b'{"resourceType":"Patient"}', "json"),
        (b'\xef\xbb\xbf\n {"id":"x","resourceType":"Patient"}', "json"),
        (b'{\n "resourceType": "Bundle",\n "entry": [{\n}\n,{"a":1}]\n}', "json"),
        (b'{"resourceType":"Patient"}\n{"resourceType":"Patient"}\n', "ndjson"),
        (b'{"resourceType":"Patient"}\r\n\r\n{"resourceType":"Patient"}', "ndjson"),
        (b'<Patient xmlns="http://hl7.org/fhir"/>', "xml"),
        ('<?xml version="1.0"?><Patient xmlns="http://hl7.org/fhir"/>'.encode("utf-16"), "xml"),
        (b'<ClinicalDocument xmlns="urn:hl7-org:v3"/>', None),
        (b'{"a":1}', None),
        (b"MSH|^~\\&|", None),
        (b"", None),
    ],
)
def test_the_content_tells_the_form(data, form):
    assert fhir.looks_like(data) == form


@pytest.mark.parametrize("data", [b"", b"  \n"])
def test_nothing_is_no_resource(data):
    with pytest.raises(fhir.NotAResourceError):
        fhir.read(data, content_type="application/fhir+json")


def test_xml_and_json_are_read_to_the_same():
    xml = b'<Patient xmlns="http://hl7.org/fhir"><id value="a"/><active value="true"/></Patient>'

    assert fhir.read(xml) == fhir.read(b'{"resourceType":"Patient","id":"a","active":true}')
