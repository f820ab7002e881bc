"""Acknowledgements in the form of the message's own version; all messages are synthetic."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hl7v2_writing import adt, delimiters, message, values
from hypothesis import given

from kangshu.kernel.texts import Text
from kangshu.standards.hl7v2 import (
    Delimiters,
    FrameReader,
    acknowledge,
    acknowledgement_code,
    build,
    parse,
    parse_header,
    query_segments,
    serialise_frame,
    to_bytes,
)

NOW = datetime(2026, 3, 1, 8, 30, tzinfo=timezone(timedelta(hours=8)))
WRONG = Text(zh="出生日期不存在", en="no such day")


def answer(one, *, code="AE", **more):
    return parse(acknowledge(one, code=code, control_id="K1", now=NOW, **more))


def admission(version="2.5", **more):
    fields = {
        3: "HIS",
        4: ("990100", "1.2.3", "ISO"),
        5: "KANGSHU",
        9: ("ADT", "A01"),
        10: "M1",
        11: "T",
        12: version,
    }
    return build([("MSH", fields | more)])


def test_an_acceptance_turns_sender_and_receiver_around_and_names_the_message():
    one = answer(parse(adt()), code="AA")

    assert [segment.name for segment in one.segments] == ["MSH", "MSA"]
    assert (one.sending_application, one.receiving_application) == ("KANGSHU", "HIS")
    assert one.text("MSH-6.2") == "第一医院"
    assert one.sent_at == "20260301083000+0800"
    assert (one.control_id, one.version, one.processing_id) == ("K1", "2.5.1", "P")
    assert (one.text("MSA-1"), one.text("MSA-2")) == ("AA", "M1")
    assert one.text("MSH-18") == "UNICODE UTF-8"


@pytest.mark.parametrize(
    ("version", "expected"),
    [("2.1", "ACK"), ("2.2", "ACK"), ("2.3", "ACK^A01"), ("2.3.1", "ACK^A01^ACK"), ("2.8", "ACK^A01^ACK")],
)
def test_the_type_has_the_components_of_the_version(version, expected):
    assert answer(admission(version)).header.field(9) == expected


@pytest.mark.parametrize("version", ["2.3", "2.3.1", "2.4"])
def test_up_to_version_2_4_the_error_is_one_field(version):
    one = answer(admission(version), text=WRONG, place="PID-7")

    assert one.first("ERR").field(1) == "PID^1^7^102&出生日期不存在 / no such day&HL70357"
    assert one.text("MSA-3") == "出生日期不存在 / no such day"


@pytest.mark.parametrize("version", ["2.5", "2.5.1", "2.6", "2.7", "2.8"])
def test_from_version_2_5_the_error_has_a_place_a_code_and_a_severity(version):
    one = answer(admission(version), text=WRONG, place="PID-3(2).4.1")

    error = one.first("ERR")
    assert error.field(1) == ""
    assert error.field(2) == "PID^1^3^2^4^1"
    assert error.field(3) == "102^Data type error^HL70357"
    assert error.text(4) == "E"
    assert error.text(8) == "出生日期不存在 / no such day"
    assert bool(one.text("MSA-3")) == (version < "2.7")


@pytest.mark.parametrize(
    ("place", "location", "code"),
    [
        ("OBX[3]-5", "OBX^3^5", "102"),
        ("MSH-12", "MSH^1^12", "203"),
        ("MSH-9", "MSH^1^9", "200"),
        ("MSH[2]", "MSH^2", "102"),
        ("PID", "PID^1", "102"),
        ("line 4", "", "102"),
        ("Patient.birthDate", "", "102"),
        (None, "", "207"),
    ],
)
def test_places_become_locations(place, location, code):
    one = answer(admission(), text=WRONG, place=place)

    assert one.first("ERR").field(2) == location
    assert one.text("ERR-3") == code
    if place and not location:
        assert one.text("ERR-8").startswith(f"{place}: ")


def test_the_caller_may_say_the_code_of_the_error():
    assert answer(admission(), text=WRONG, place="MSH-10", error_code="205").text("ERR-3") == "205"


def test_a_hint_on_an_accepted_message_is_a_warning():
    assert answer(admission(), code="AA", text=WRONG, place="PID-7").text("ERR-4") == "W"
    assert answer(admission("2.4"), code="AA", text=WRONG, place="PID-7").first("ERR") is None


def test_what_is_no_message_can_be_refused():
    one = answer(None, code="AR", text=WRONG, place="line 1")

    assert (one.text("MSA-1"), one.text("MSA-2"), one.type) == ("AR", "", "ACK")
    header = parse_header(adt() + b"I|1\r")
    assert answer(header, code="AR", text=WRONG, place="line 7").text("MSA-2") == "M1"


@pytest.mark.parametrize(
    ("declared", "codec", "said"),
    [
        ("GB 18030-2000", "gb18030", "出生日期不存在 / no such day"),
        ("GBK", "gb18030", "出生日期不存在 / no such day"),
        ("UNICODE", "utf-8", "出生日期不存在 / no such day"),
        ("8859/1", "iso8859-1", "no such day"),
        ("", "ascii", "no such day"),
    ],
)
def test_the_answer_is_in_the_character_set_of_the_message(declared, codec, said):
    one = parse(to_bytes(admission()).replace(b"UNICODE UTF-8", declared.encode()))

    data = acknowledge(one, code="AE", control_id="K1", now=NOW, text=WRONG, place="PID-7")

    assert said in data.decode(codec)
    assert parse(data).text("MSH-18") == declared


def test_a_wrong_declaration_is_answered_with_the_right_one():
    one = parse(adt(charset="gbk"))

    assert answer(one).text("MSH-18") == "GB 18030-2000"
    assert answer(parse(adt(charset="utf-16"))).text("MSH-18") == "UNICODE UTF-8"


def test_the_marks_are_those_of_the_message_where_they_suffice():
    assert answer(parse(b"MSH$%~\\&$A$B\r")).delimiters == Delimiters(field="$", component="%")
    assert answer(parse(b"MSH|^~\\&#|A|B\r")).delimiters == Delimiters()
    assert answer(parse(b"MSH|^~|A|B\r")).delimiters == Delimiters()


def test_what_a_message_says_cannot_break_the_frame_of_its_answer():
    one = parse(
        b"MSH|^~\\&|A\x1cB|F||||ADT^A01||\x0bM\x1c1|P|2.5\r".replace(b"||ADT", b"|ADT").replace(
            b"A01||", b"A01|"
        )
    )
    data = acknowledge(one, code="AA", control_id="K1", now=NOW)

    assert FrameReader().feed(serialise_frame(data)) == [data]


@given(value=values, marks=delimiters())
def test_any_control_id_comes_back(value, marks):
    one = parse(
        to_bytes(build([("MSH", {3: value, 9: ("ADT", "A01"), 10: value, 12: "2.5"})], delimiters=marks))
    )

    data = acknowledge(one, code="AE", control_id="K1", now=NOW, text=WRONG, place="PID-7")

    assert parse(data).text("MSA-2") == one.control_id
    assert parse(data).receiving_application == one.sending_application
    assert serialise_frame(data)


@pytest.mark.parametrize(
    ("accept", "application", "expected"),
    [
        ("", "", ("AA", "AE", "AR")),
        ("AL", "", ("CA", "CE", "CR")),
        ("AL", "NE", ("CA", "CE", "CR")),
        ("AL", "AL", ("AA", "AE", "AR")),
        ("NE", "AL", ("AA", "AE", "AR")),
        ("NE", "NE", (None, None, None)),
        ("NE", "ER", (None, "AE", "AR")),
        ("AL", "ER", ("CA", "AE", "AR")),
        ("SU", "NE", ("CA", None, None)),
    ],
)
def test_the_sender_says_which_acknowledgement_is_wanted(accept, application, expected):
    one = parse(message(header=f"MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5|||{accept}|{application}"))

    assert tuple(acknowledgement_code(one, outcome=way) for way in ("accept", "error", "reject")) == expected


def test_without_a_header_an_acknowledgement_is_wanted():
    assert acknowledgement_code(None, outcome="reject") == "AR"


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ("Q22", "RSP^K22^RSP_K21"),
        ("Q23", "RSP^K23^RSP_K23"),
        ("Q21", "RSP^K21^RSP_K21"),
        ("ZV1", "RSP^ZV1^RSP_ZV1"),
    ],
)
def test_a_query_is_answered_with_its_tag_and_what_was_found(event, expected):
    one = parse(
        message(
            "QPD|Q22^Find^HL7|T1|@PID.3.1^P1", "RCP|I", header=f"MSH|^~\\&|A|B|C|D|2026||QBP^{event}|1|P|2.5"
        )
    )

    hits = [
        *query_segments(one, status="OK", hits=2),
        ("PID", {3: ("P1", "", "", "HIS")}),
        ("PID", {3: "P2"}),
    ]
    found = answer(one, code="AA", answer_segments=hits)

    assert found.header.field(9) == expected
    assert [segment.name for segment in found.segments] == ["MSH", "MSA", "QAK", "QPD", "PID", "PID"]
    assert found.first("QAK").field(1) == "T1"
    assert [found.text(f"QAK-{n}") for n in (2, 3, 4)] == ["OK", "Q22", "2"]
    assert found.first("QPD") == one.first("QPD")


def test_a_query_that_found_nothing_says_so():
    one = parse(message("QPD|Q23|T1|P1", header="MSH|^~\\&|A|B|C|D|2026||QBP^Q23|1|P|2.5"))

    found = answer(one, code="AA", answer_segments=query_segments(one, status="NF"))

    assert [found.text(f"QAK-{n}") for n in (1, 2, 4)] == ["T1", "NF", ""]
    assert query_segments(admission(), status="NF") == []


def test_a_name_that_the_askers_character_set_lacks_changes_that_of_the_answer():
    one = parse(message("QPD|Q22|T1", header="MSH|^~\\&|A|B|C|D|2026||QBP^Q22|1|P|2.5||||||8859/1"))

    found = answer(one, code="AA", answer_segments=[*query_segments(one, status="OK"), ("PID", {5: "测试"})])

    assert found.text("MSH-18") == "UNICODE UTF-8"
    assert found.text("PID-5") == "测试"


def test_times_are_written_with_their_zone():
    data = acknowledge(None, code="AR", control_id="1", now=datetime(2026, 1, 2, tzinfo=UTC))

    assert parse(data).sent_at == "20260102000000+0000"
