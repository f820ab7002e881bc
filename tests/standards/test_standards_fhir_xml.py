"""FHIR in XML is read to what JSON says, and written so that it can be read again. All synthetic."""

import contextlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kangshu.standards import fhir

XHTML = "http://www.w3.org/1999/xhtml"
NAMESPACE = 'xmlns="http://hl7.org/fhir"'


def patient(inner):
    return f"<Patient {NAMESPACE}>{inner}</Patient>".encode()


def note(text):
    return {"url": "http://example.org/note", "valueString": text}


texts = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1, max_size=12
)
extensions = st.lists(texts.map(note), min_size=1, max_size=2)
given_names = st.lists(st.tuples(texts | st.none(), extensions | st.none()), min_size=1, max_size=3).map(
    lambda parts: [(value, beside) for value, beside in parts if value or beside] or [("名", None)]
)


@st.composite
def patients(draw):
    names = draw(given_names)
    values, beside = [value for value, _ in names], [{"extension": one} if one else None for _, one in names]
    name = {"family": draw(texts)}
    name |= {"given": values} if any(value is not None for value in values) else {}
    name |= {"_given": beside} if any(one is not None for one in beside) else {}
    return {
        "resourceType": "Patient",
        "id": "p1",
        "text": {"status": "generated", "div": f'<div xmlns="{XHTML}"><p>文 &lt; &amp; <br/></p></div>'},
        "contained": [{"resourceType": "Organization", "id": "o", "name": draw(texts)}],
        "extension": [
            *draw(extensions),
            {"url": "http://example.org/score", "valueDecimal": draw(st.decimals(-99, 99, places=2))},
        ],
        "active": draw(st.booleans()),
        "name": [name],
        "birthDate": "1990-01-01",
        "_birthDate": {"id": "b", "extension": draw(extensions)},
        "multipleBirthInteger": draw(st.integers(1, 3)),
        "managingOrganization": {"reference": "#o"},
    }


@given(resource=patients())
def test_what_is_written_is_read_again(resource):
    again = fhir.from_xml(fhir.to_xml(resource))

    assert again == resource
    assert fhir.dumps(again) == fhir.dumps(fhir.from_xml(fhir.to_xml(again)))
    assert fhir.validate(again) == fhir.validate(resource) == []


@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_a_text_is_kept_or_refused_but_never_changed(text):
    resource = {"resourceType": "Patient", "name": [{"text": text}]}

    try:
        data = fhir.to_xml(resource)
    except fhir.FhirError:
        return

    assert fhir.from_xml(data) == resource


@pytest.mark.parametrize("number", ["6.30", "0.0", "-1.50", "1E+3", "7"])
def test_a_decimal_keeps_its_digits(number):
    resource = {"resourceType": "Observation", "valueQuantity": {"value": Decimal(number)}}

    assert str(fhir.from_xml(fhir.to_xml(resource))["valueQuantity"]["value"]) == number


def test_elements_are_written_in_the_order_of_the_definitions():
    resource = {"resourceType": "Patient", "gender": "female", "id": "a", "name": [{"text": "测"}]}

    text = fhir.to_xml(resource).decode()

    assert text.index("<id ") < text.index("<name>") < text.index("<gender ")


def test_resources_in_resources_are_read_and_written():
    inner = {"resourceType": "Patient", "id": "a"}
    resource = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [{"resource": inner, "request": {"method": "PUT", "url": "Patient/a"}}],
    }

    assert fhir.from_xml(fhir.to_xml(resource)) == resource


def test_a_value_of_the_wrong_type_stays_for_the_check_to_find():
    resource = fhir.from_xml(patient('<active value="maybe"/><multipleBirthInteger value="1.5"/>'))

    assert [issue.expression for issue in fhir.validate(resource)] == [
        "Patient.active",
        "Patient.multipleBirthInteger",
    ]


def test_a_narrative_with_a_prefix_is_read_as_one_without():
    div = f'<h:div xmlns:h="{XHTML}">a <h:b title="t">b</h:b> c<!-- d --></h:div>'

    resource = fhir.from_xml(patient(f'<text><status value="generated"/>{div}</text>'))

    assert resource["text"]["div"] == f'<div xmlns="{XHTML}">a <b title="t">b</b> c<!-- d --></div>'
    assert fhir.validate(resource) == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_encoding_may_be_marked(encoding):
    text = f'<?xml version="1.0"?><Patient {NAMESPACE}><name><text value="测试"/></name></Patient>'

    assert fhir.read(text.encode(encoding)) == {"resourceType": "Patient", "name": [{"text": "测试"}]}


def test_a_hint_to_a_schema_and_comments_are_no_fault():
    data = (
        f'<!-- a --><Patient {NAMESPACE} xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        ' xsi:schemaLocation="http://hl7.org/fhir patient.xsd"><!-- b --><?pi c?><id value="a"/></Patient>'
    )

    assert fhir.from_xml(data.encode()) == {"resourceType": "Patient", "id": "a"}


@pytest.mark.parametrize(
    ("inner", "place"),
    [
        ('<colour value="red"/>', "Patient"),
        ('<active value="true" colour="red"/>', "Patient.active"),
        ('<active value="true"><colour value="red"/></active>', "Patient.active"),
        ("<active/>", "Patient.active"),
        ("text", "Patient"),
        ('<active value="true"/>text', "Patient"),
        ('<active value="true"/><active value="true"/>', "Patient.active"),
        ('<gender value="male"/><active value="true"/>', "Patient.active"),
        (
            '<name><text value="a"/></name><gender value="male"/><name><text value="b"/></name>',
            "Patient.name",
        ),
        ('<name><given value="a"/><given/></name>', "Patient.name[0].given[1]"),
        ("<contained/>", "Patient.contained[0]"),
        ("<contained><Patient/><Patient/></contained>", "Patient.contained[0]"),
        ("<contained><Banana/></contained>", "Patient.contained[0]"),
        ('<active xmlns="urn:x" value="true"/>', "Patient"),
        (f'<active><div xmlns="{XHTML}">x</div></active>', "Patient.active"),
        (f'<div xmlns="{XHTML}">x</div>', "Patient"),
    ],
)
def test_what_the_xml_of_fhir_does_not_have_is_refused_at_its_place(inner, place):
    with pytest.raises(fhir.FhirError) as refused:
        fhir.from_xml(patient(inner))

    assert refused.value.place == place


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<",
        b"<a>",
        b"<Patient/>",
        b'<Banana xmlns="http://hl7.org/fhir"/>',
        b'<ClinicalDocument xmlns="urn:hl7-org:v3"/>',
        b'<Patient xmlns="http://hl7.org/fhir"><id value="&nbsp;"/></Patient>',
        b'<Patient xmlns="http://hl7.org/fhir"><id value="\xff"/></Patient>',
    ],
)
def test_what_is_no_xml_of_fhir_is_refused(data):
    with pytest.raises(fhir.FhirError):
        fhir.from_xml(data)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le"])
@pytest.mark.parametrize(
    "declaration",
    [
        '<!DOCTYPE Patient [<!ENTITY a "b">]>',
        '<!DOCTYPE Patient [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE Patient SYSTEM "http://127.0.0.1:1/x.dtd">',
        "<!DOCTYPE Patient>",
        '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>',
    ],
)
def test_a_document_type_is_refused_and_nothing_is_fetched(encoding, declaration):
    text = f'<?xml version="1.0"?>{declaration}<Patient {NAMESPACE}><id value="a"/></Patient>'

    with pytest.raises((fhir.EntityError, fhir.NotXmlError)):
        fhir.from_xml(text.encode(encoding))


@pytest.mark.parametrize("levels", [100, 10_000, 200_000])
def test_a_depth_bomb_is_refused(levels):
    inner = '<extension url="http://x.org">' * levels + "</extension>" * levels

    with pytest.raises(fhir.FhirError):
        fhir.from_xml(patient(inner))


def test_too_many_bytes_are_refused():
    with pytest.raises(fhir.TooMuchError):
        fhir.from_xml(patient(""), maximum_bytes=10)


@pytest.mark.parametrize(
    ("resource", "place"),
    [
        ({"resourceType": "Banana"}, "Banana"),
        ({"resourceType": "Patient", "colour": "red"}, "Patient"),
        ({"resourceType": "Patient", "name": {"text": "x"}}, "Patient.name"),
        ({"resourceType": "Patient", "name": ["x"]}, "Patient.name[0]"),
        ({"resourceType": "Patient", "text": {"status": "x", "div": "<div><p></div>"}}, "Patient.text.div"),
        ({"resourceType": "Patient", "text": {"status": "x", "div": "</text><x/>"}}, "Patient.text.div"),
    ],
)
def test_what_was_never_checked_is_not_written(resource, place):
    with pytest.raises(fhir.FhirError) as refused:
        fhir.to_xml(resource)

    assert refused.value.place == place


@given(
    data=st.binary(max_size=120)
    | st.text("<>/=\"' &;xmlnsPatientidvalue:htp.org[]!-", max_size=120).map(str.encode)
)
def test_any_bytes_are_read_or_refused(data):
    for candidate in (data, patient("") + data, patient(data.decode("utf-8", "replace"))):
        with contextlib.suppress(fhir.FhirError):
            fhir.from_xml(candidate)
