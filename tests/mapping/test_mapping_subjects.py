"""Who a FHIR Patient is, by which numbers; all people are synthetic (division 99 exists nowhere)."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kangshu.declarations import BASE_PACK
from kangshu.mapping import (
    IdentifierKind,
    SubjectIdentifier,
    load_authorities,
    named_subject_of,
    patient_of,
    subject_of,
)

AUTHORITIES = load_authorities(BASE_PACK / "authorities.toml")
RESIDENT = "990102196805121016"


def _subject(**patient: Any):
    return subject_of({"resourceType": "Patient", **patient}, sender="H1", authorities=AUTHORITIES)


def test_a_number_without_authority_is_the_senders_own():
    subject = _subject(identifier=[{"value": "P7"}])

    assert subject.identifiers == (
        SubjectIdentifier(kind=IdentifierKind.LOCAL_NUMBER, issuer="H1", value="P7"),
    )


@pytest.mark.parametrize(
    "identifier",
    [
        {"system": "urn:oid:2.16.156.10011.1.3", "value": RESIDENT},
        {"system": "2.16.156.10011.1.3", "value": RESIDENT},
        {"type": {"coding": [{"code": "NI"}]}, "value": RESIDENT},
        {"type": {"coding": [{"code": "IdentifyNO"}]}, "value": RESIDENT},
    ],
)
def test_a_resident_number_is_known_by_its_oid_and_by_its_type(identifier: dict[str, Any]):
    subject = _subject(identifier=[identifier])

    assert subject.identifiers == (
        SubjectIdentifier(kind=IdentifierKind.RESIDENT_NUMBER, issuer=None, value=RESIDENT),
    )


def test_numbers_of_two_authorities_are_two_identifiers_and_an_old_one_is_none():
    subject = _subject(
        identifier=[
            {"system": "urn:oid:1.2.3", "value": "A"},
            {"system": "http://hospital.example/mrn", "value": "B"},
            {"system": "urn:oid:1.2.3", "value": "C", "use": "old"},
        ]
    )

    assert [(one.issuer, one.value) for one in subject.identifiers] == [
        ("1.2.3", "A"),
        ("http://hospital.example/mrn", "B"),
    ]


def test_a_visit_number_names_no_person():
    assert _subject(identifier=[{"type": {"coding": [{"code": "VN"}]}, "value": "V1"}]).identifiers == ()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ({"text": "测试甲"}, "测试甲"),
        ({"family": "测", "given": ["试甲"]}, "测试甲"),
        ({"family": "Tester", "given": ["Ann", "B"]}, "Ann B Tester"),
    ],
)
def test_names_are_read_whole_or_in_parts(name: dict[str, Any], shown: str):
    assert _subject(name=[name]).name == shown


def test_the_official_name_goes_before_others():
    assert _subject(name=[{"use": "old", "text": "旧名"}, {"use": "official", "text": "今名"}]).name == "今名"


def test_a_birth_year_alone_is_no_birth_date():
    assert _subject(birthDate="1983").birth_date is None
    assert _subject(birthDate="1983-02-30").birth_date is None
    assert _subject(birthDate="1983-02-05").birth_date == date(1983, 2, 5)


def test_sex_is_a_code_of_the_national_table_or_unknown():
    assert [_subject(gender=word).sex for word in ("male", "female", "other", "unknown")] == [
        "1",
        "2",
        None,
        None,
    ]


def test_a_mobile_phone_goes_before_one_at_home():
    phones = [
        {"system": "phone", "use": "home", "value": "1"},
        {"system": "phone", "use": "mobile", "value": "2"},
    ]

    assert _subject(telecom=phones).phone == "2"


_ISSUERS = st.one_of(
    st.sampled_from(["H1", "99000101599010211A1001", "2.16.840.1.113883.3.72.5", "http://a.example/mrn"]),
    st.text(alphabet="ABCDEFGHJK0123456789", min_size=2, max_size=22).filter(lambda text: text != "IDCARD"),
)


@given(
    st.one_of(
        st.builds(
            SubjectIdentifier, kind=st.just(IdentifierKind.LOCAL_NUMBER), issuer=_ISSUERS, value=st.just("7")
        ),
        st.builds(
            SubjectIdentifier,
            kind=st.just(IdentifierKind.DOCUMENT),
            issuer=st.sampled_from(["03", "06", "99"]),
            value=st.just("7"),
        ),
        st.just(SubjectIdentifier(kind=IdentifierKind.RESIDENT_NUMBER, issuer=None, value="7")),
    )
)
def test_the_system_of_an_identifier_leads_back_to_it(identifier: SubjectIdentifier):
    system = AUTHORITIES.system_of(identifier)

    found = AUTHORITIES.resolve(value="7", authority=system, type_code=None, sender="OTHER")

    assert found == identifier


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "Observation", "subject": {"reference": "Patient/p1"}},
        {"resourceType": "Immunization", "patient": {"reference": "Patient/p1/_history/2"}},
        {"resourceType": "Coverage", "beneficiary": {"reference": "Patient/p1"}},
        {
            "resourceType": "Appointment",
            "participant": [{"actor": {"reference": "Location/l"}}, {"actor": {"reference": "Patient/p1"}}],
        },
        {"resourceType": "Patient", "id": "p1"},
    ],
)
def test_resources_tell_whom_they_are_about(resource: dict[str, Any]):
    assert patient_of(resource) == "p1"


def test_a_resource_about_a_group_or_a_device_is_about_nobody():
    assert patient_of({"resourceType": "Observation", "subject": {"reference": "Group/g1"}}) is None
    assert patient_of({"resourceType": "Organization", "id": "o1"}) is None


def test_a_subject_named_by_number_alone_is_found_by_it():
    observation = {
        "resourceType": "Observation",
        "subject": {"identifier": {"system": "urn:oid:2.16.156.10011.1.3", "value": RESIDENT}},
    }

    subject = named_subject_of(observation, sender="H1", authorities=AUTHORITIES)

    assert subject is not None
    assert subject.identifiers[0].kind is IdentifierKind.RESIDENT_NUMBER
