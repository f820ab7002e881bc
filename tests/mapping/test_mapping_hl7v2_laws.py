"""What holds for every message, whatever it says. All people in these tests are synthetic."""

import contextlib

import pytest
from hl7v2_messages import MAPPING, PATIENT, VISIT, make_id, written
from hypothesis import given, settings
from hypothesis import strategies as st

from kangshu.mapping import Mapped, MappingError
from kangshu.mapping.hl7v2.conditions import ConditionError, compile_condition
from kangshu.mapping.hl7v2.times import to_date, to_date_time, to_instant, to_time
from kangshu.standards import fhir, hl7v2

SEGMENTS = [
    *(
        "PID",
        "PD1",
        "NK1",
        "GT1",
        "PV1",
        "PV2",
        "DG1",
        "AL1",
        "IAM",
        "PR1",
        "PRB",
        "IN1",
        "ORC",
        "OBR",
        "OBX",
        "NTE",
    ),
    *(
        "SPM",
        "TQ1",
        "RXO",
        "RXE",
        "RXD",
        "RXA",
        "RXR",
        "SCH",
        "AIS",
        "AIP",
        "AIL",
        "AIG",
        "TXA",
        "MRG",
        "RF1",
        "PRD",
    ),
    *("EVN", "ZZZ"),
]
EVENTS = [
    *(
        "ADT^A01",
        "ADT^A03",
        "ADT^A08",
        "ADT^A11",
        "ADT^A24",
        "ADT^A40",
        "ORU^R01",
        "OUL^R22",
        "OUL^R24",
        "ORM^O01",
    ),
    *(
        "OML^O21",
        "RDE^O11",
        "RDS^O13",
        "RAS^O17",
        "VXU^V04",
        "SIU^S12",
        "SIU^S15",
        "MDM^T02",
        "PPR^PC1",
        "REF^I12",
    ),
    *("BAR^P01", "DFT^P03", "ZZZ^Z01"),
]
PIECES = st.sampled_from(
    [
        *(
            "",
            '""',
            "1",
            "0",
            "A",
            "F",
            "X",
            "NM",
            "ST",
            "CE",
            "TX",
            "ED",
            "SN",
            "TM",
            " ",
            "-",
            "5.5",
            "<5",
            "张三",
        ),
        *("20240105", "20240105083000+0800", "99999999999999", "9" * 60, "AA^文^LN", "a&b&c^d&e", "x~y~z"),
        *("1^2^3^4^5^6^7^8^9^10^11", "\\F\\", "\\.br\\", "^^^^^^13900000000", "BB^^^H1&1.2.3&ISO^PI"),
        *("Base64", "^a^PDF^Base64^QUJD"),
    ]
)
FIELDS = st.lists(PIECES, max_size=30)
LINES = st.tuples(st.sampled_from(SEGMENTS), FIELDS).map(lambda one: "|".join((one[0], *one[1])))
MESSAGES = st.builds(
    lambda kind, lines, known: written(kind, *([PATIENT] if known else []), *lines),
    st.sampled_from(EVENTS),
    st.lists(LINES, max_size=14),
    st.booleans(),
)


def mapped_or_refused(data: bytes) -> Mapped | None:
    try:
        message = hl7v2.parse(data)
        return MAPPING.apply(message, sender="H0001", make_id=make_id)
    except MappingError as error:
        if not error.place:
            raise
        return None


@settings(max_examples=300)
@given(MESSAGES)
def test_every_message_becomes_good_resources_or_is_refused_with_its_place(data):
    result = mapped_or_refused(data)

    for draft in result.drafts if result else ():
        errors = [one for one in fhir.validate(draft.resource) if one.severity in ("fatal", "error")]
        assert not errors, (draft.type, [(one.expression, one.text.en) for one in errors])
        assert fhir.loads(fhir.dumps(draft.resource)) == draft.resource


@given(MESSAGES)
def test_the_same_message_gives_the_same_resources(data):
    first, second = mapped_or_refused(data), mapped_or_refused(data)

    assert (first and [one.resource for one in first.drafts]) == (
        second and [one.resource for one in second.drafts]
    )


@given(MESSAGES)
def test_no_two_resources_of_a_message_share_an_id_and_references_within_it_hold(data):
    result = mapped_or_refused(data)
    if result is None:
        return
    ids = [(draft.type, draft.id) for draft in result.drafts]
    known = {f"{kind}/{made}" for kind, made in ids}

    assert len(set(ids)) == len(ids)
    for draft in result.drafts:
        for holder, key in fhir.references(draft.resource):
            assert holder[key] in known


@given(MESSAGES)
def test_notes_never_tell_a_value(data):
    result = mapped_or_refused(data)

    for note in result.notes if result else ():
        assert "张三" not in note.text.zh + note.text.en
        assert "13900000000" not in note.place + note.text.en


@given(st.text(max_size=40))
def test_any_text_is_a_time_that_fhir_takes_or_none(text):
    resource = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "effectiveDateTime": to_date_time(text, zone="+08:00") or "2024",
        "issued": to_instant(text, zone="+08:00") or "2024-01-01T00:00:00Z",
        "valueTime": to_time(text) or "00:00:00",
    }

    assert fhir.validate(resource) == []
    assert to_date(text) is None or to_date_time(
        text,
        zone="+08:00",
    )


@given(st.datetimes(), st.sampled_from(["", "+0800", "-0330", "+0000"]))
def test_a_time_keeps_its_zone_and_every_digit(moment, zone):
    written_zone = f"{zone[:3]}:{zone[3:]}" if zone else "+05:00"
    year = f"{moment.year:04}"
    told = year + moment.strftime("%m%d%H%M%S") + zone
    expected = year + moment.strftime("-%m-%dT%H:%M:%S") + written_zone

    assert to_date_time(told, zone="+05:00") == expected


@given(st.text(max_size=60))
def test_any_text_is_a_condition_or_is_refused(text):
    with contextlib.suppress(ConditionError):
        assert compile_condition(text, read=lambda _: lambda _: "")(None) in (True, False)


def test_one_message_holds_no_more_than_its_bound():
    lines = [f"AL1|{number}|DA|A{number}^药" for number in range(10_001)]

    with pytest.raises(MappingError) as caught:
        MAPPING.apply(hl7v2.parse(written("ADT^A08", PATIENT, *lines)), sender="H", make_id=make_id)

    assert caught.value.place == "AL1"


def test_many_lines_of_text_cost_their_length_and_no_more():
    lines = [f"OBX|{number}|TX|REP||line {number}" for number in range(20_000)]
    message = hl7v2.parse(written("ORU^R01", PATIENT, VISIT, "OBR|1||F1|A", *lines))
    result = MAPPING.apply(message, sender="H", make_id=make_id)
    (text,) = [draft.resource["valueString"] for draft in result.drafts if draft.type == "Observation"]

    assert text.count("\n") == 19_999
