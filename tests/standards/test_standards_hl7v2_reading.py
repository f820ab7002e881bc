"""Messages are read by HL7's numbers and refused with the place; all people are synthetic."""

import pytest
from hl7v2_writing import ADT, adt, message

from kangshu.standards.hl7v2 import (
    NULL,
    Builder,
    DelimiterError,
    Delimiters,
    HeaderError,
    Hl7Error,
    Limits,
    MessageTooLargeError,
    NotHl7Error,
    SegmentError,
    UnspeakableError,
    build,
    check_header,
    looks_like,
    parse,
    parse_header,
    parse_path,
    serialise,
    structure_of,
    to_bytes,
)


def test_the_header_is_read_with_its_names():
    one = parse(adt())

    assert (one.type, one.event, one.structure) == ("ADT", "A01", "ADT_A01")
    assert (one.control_id, one.version, one.processing_id) == ("M1", "2.5.1", "P")
    assert (one.sending_application, one.sending_facility) == ("HIS", "990100")
    assert (one.receiving_application, one.receiving_facility) == ("KANGSHU", "990000")
    assert one.sent_at == "20260301083000+0800"
    assert one.text("MSH-4.2") == "第一医院"
    assert (one.text("MSH-1"), one.text("MSH-2")) == ("|", "^~\\&")
    assert one.header[2] == ((("^~\\&",),),)


def test_pieces_are_found_by_path():
    one = parse(adt())

    assert one.text("PID-3") == "P0001"
    assert one.text("PID-3.4.2") == "1.2.3"
    assert one.text("PID-3(2).5") == "NI"
    assert one.text("PID-5.2") == "小明"
    assert one.text("OBX[2]-3.2") == "钠"
    for nowhere in ("PID-3(3)", "PID-3.9", "PID-3.4.9", "PID-99", "OBX[3]-1", "ZZZ-1", "PID-8.2", "PID-8(2)"):
        assert one.text(nowhere) == ""


def test_a_wrong_path_is_the_programs_mistake():
    for wrong in ("PID", "PID-0", "pid-3", "PID-3.x", "PID.3", "PID-3.1.1.1"):
        with pytest.raises(ValueError, match=r"PID-5\.1"):
            parse_path(wrong)


def test_segments_know_their_place():
    one = parse(adt())

    assert [segment.name for segment in one.segments] == ["MSH", "EVN", "PID", "PV1", "OBX", "OBX"]
    assert [segment.number for segment in one.segments] == [1, 2, 3, 4, 5, 6]
    assert [segment.place(5) for segment in one.all("OBX")] == ["OBX-5", "OBX[2]-5"]
    assert one.first("ZZZ") is None
    assert one.all("ZZZ") == []


def test_a_field_is_repetitions_of_components_of_sub_components():
    pid = parse(adt()).first("PID")

    assert pid[3] == (
        (("P0001",), ("",), ("",), ("HIS", "1.2.3", "ISO"), ("MR",)),
        (("990101199001011234",), ("",), ("",), ("GA",), ("NI",)),
    )
    assert pid[3] is pid[3], "it is split once"
    assert pid[2] == pid[30] == ()
    assert pid.field(5) == "王^小明"


def test_null_is_told_from_nothing():
    pid = parse(message('PID|1||P1||""||')).first("PID")

    assert pid.text(5) == NULL
    assert pid[5] == (((NULL,),),)
    assert pid.text(7) == ""


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("a\\F\\b\\S\\c\\T\\d\\R\\e\\E\\f", "a|b^c&d~e\\f"),
        ("\\H\\bold\\N\\", "bold"),
        ("line\\.br\\line\\.sp2\\line\\.sk3\\x\\.in+4\\", "line\nline\n\nline   x"),
        ("\\X0D0A\\\\X41\\", "\r\nA"),
        ("\\XE6B58B\\", "测"),
        ("\\XE6\\\\XB5\\\\X8B\\", "测"),
        ("\\XB2E2\\", "测"),
        ("\\X00\\a\\X000d\\", "a\r"),
        ("\\Z12\\", "\\Z12\\"),
        ("\\M2442\\ and \\C2842\\", "\\M2442\\ and \\C2842\\"),
        ("\\X4\\ \\XZZ\\ \\", "\\X4\\ \\XZZ\\ \\"),
        ("c:\\a\\F\\b", "c:\\a|b"),
        ("\\.sp999999999\\", "\n" * 200),
        ("\\P\\", "\\P\\"),
    ],
)
def test_escapes_become_what_they_mean_and_what_is_none_stays(written, read):
    assert parse(message(f"NTE|1||{written}")).text("NTE-3") == read


def test_escaped_bytes_are_in_the_character_set_of_the_message():
    header = "MSH|^~\\&|HIS|990100|K|990000|20260301||ADT^A01|M1|P|2.5||||||{}"

    for charset, octets in (("UNICODE UTF-8", "E6B58B"), ("GB 18030-2000", "B2E2"), ("BIG-5", "B4FA")):
        one = parse(message(f"NTE|1||\\X{octets}\\", header=header.format(charset)))
        assert one.text("NTE-3") == ("测" if charset != "BIG-5" else "測")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("MSH$%~\\&$", Delimiters(field="$", component="%")),
        ("MSH^~|\\&^", Delimiters(field="^", component="~", repetition="|")),
        ("MSH|^~\\&#|", Delimiters(truncation="#")),
        ("MSH|^~\\&#%!|", Delimiters(truncation="#")),
        ("MSH|^~\\\\&|", Delimiters()),
        ("MSH|^~\\|", Delimiters(subcomponent="")),
        ("MSH|^~|", Delimiters(escape="", subcomponent="")),
        ("MSH|^|", Delimiters(repetition="", escape="", subcomponent="")),
        ("MSH|^~\\&", Delimiters()),
    ],
)
def test_a_message_brings_its_own_delimiters(header, expected):
    assert parse(header.encode() + b"\rPID\r").delimiters == expected


def test_marks_that_a_message_does_not_have_separate_nothing():
    one = parse(b"MSH|^|A\rPID|1||a^b~c&d\\F\\e\r")

    assert one.first("PID")[3] == ((("a",), ("b~c&d\\F\\e",)),)
    assert one.text("PID-3.2") == "b~c&d\\F\\e"
    assert one.text("PID-3(2)") == ""


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"MSH", "MSH-2"),
        (b"MSH|", "MSH-2"),
        (b"MSH||HIS", "MSH-2"),
        (b"MSH|&&&&|HIS", "MSH-2"),
        (b"MSH|^~|&|HIS"[:8] + b"^|", "MSH-2"),
        (b"MSH|HIS|LAB", "MSH-2"),
        (b"MSH ^~\\& HIS", "MSH-1"),
        (b"MSHA^~\\&AHIS", "MSH-1"),
        (b"MSH\rPID|1", "MSH-1"),
    ],
)
def test_delimiters_that_say_nothing_are_refused(data, place):
    if data == b"MSH|^~|&^|":
        assert parse(data).delimiters == Delimiters(escape="", subcomponent="")
        return

    with pytest.raises(DelimiterError) as refused:
        parse(data)

    assert refused.value.place == place


@pytest.mark.parametrize(
    ("data", "error", "place"),
    [
        (b"", NotHl7Error, "MSH"),
        (b"\x0b\x1c\r\n", NotHl7Error, "MSH"),
        (b"PID|1", NotHl7Error, "line 1"),
        (b"{}", NotHl7Error, "line 1"),
        (b"FHS|^~\\&|", NotHl7Error, "FHS"),
        (message("PID|1", "MSH|^~\\&|"), NotHl7Error, "MSH[2]"),
        (message("I|||1"), SegmentError, "line 2"),
        (message("PID|1", "pv1|1"), SegmentError, "line 3"),
        (message("PIDX|1"), SegmentError, "line 2"),
        (message("free text"), SegmentError, "line 2"),
    ],
)
def test_what_is_no_message_is_refused_with_the_place(data, error, place):
    with pytest.raises(error) as refused:
        parse(data)

    assert refused.value.place == place


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\r\n\r\n", "\n\n"])
def test_segments_may_end_as_they_like(end):
    assert parse(ADT.replace("\r", end).encode()) == parse(ADT.encode())


@pytest.mark.parametrize(
    "wrap",
    [
        b"\xef\xbb\xbf%s",
        b"\x0b%s\x1c\r",
        b"\r\n\r\n%s\n\n",
        b"  %s",
        b"\x0b\xef\xbb\xbf%s\x1c\r\n",
        b"%s\0\0",
    ],
)
def test_what_stands_around_a_message_is_passed_over(wrap):
    assert parse(wrap.replace(b"%s", adt())) == parse(adt())


def test_segments_may_be_indented():
    assert parse(ADT.replace("\r", "\r  ").encode()) == parse(ADT.encode())


def test_raw_line_ends_within_a_value_belong_to_it():
    one = parse(message("PID|1||P1", "NTE|1||first\nsecond \\T\\ 3\n\n  third|\nPV1|1"))

    assert one.text("NTE-3") == "first\nsecond & 3\n\n  third"
    assert one.text("PV1-1") == "1"
    assert parse(serialise(one).encode()) == one


def test_many_lines_within_a_value_take_time_in_proportion():
    one = parse(message("PID|1||P1", "NTE|1||" + "\n-" * 40_000))

    assert one.text("NTE-3").count("\n") == 40_000


def test_messages_beyond_the_limits_are_refused():
    small = Limits(bytes=1000, segments=5, marks_in_segment=40, marks=60)

    assert parse(message("PID|1||" + "^" * 35), limits=small)
    for data, place in [
        (message("PID|1||" + "a" * 1000), "MSH"),
        (message(*["NTE|1"] * 6), "line 6"),
        (message("PID|1||" + "^" * 40), "line 2"),
        (message("PID|1||" + "^" * 30, "PV1|1||" + "^" * 30), "line 3"),
    ]:
        with pytest.raises(MessageTooLargeError) as refused:
            parse(data, limits=small)
        assert refused.value.place == place


HEADER = "MSH|^~\\&|HIS|990100|K|990000|{time}||{type}|{id}|P|{version}"


@pytest.mark.parametrize(
    ("change", "place", "code"),
    [
        ({"type": ""}, "MSH-9", "101"),
        ({"type": "^A01"}, "MSH-9", "101"),
        ({"id": " "}, "MSH-10", "101"),
        ({"id": "x" * 251}, "MSH-10", "102"),
        ({"version": ""}, "MSH-12", "101"),
        ({"version": "2.999"}, "MSH-12", "203"),
        ({"version": "3.0"}, "MSH-12", "203"),
        ({"version": "2.4", "time": ""}, "MSH-7", "101"),
    ],
)
def test_a_header_that_lacks_what_every_message_needs_is_refused(change, place, code):
    values = {"time": "20260301", "type": "ADT^A01", "id": "1", "version": "2.5"} | change

    with pytest.raises(HeaderError) as refused:
        check_header(parse(message(header=HEADER.format(**values))))

    assert (refused.value.place, refused.value.error_code) == (place, code)


@pytest.mark.parametrize(
    "version",
    ["2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8.2", "2.9", "2.5^CHN"],
)
def test_every_version_is_known(version):
    check_header(parse(message(header=HEADER.format(time="2026", type="ADT^A01", id="1", version=version))))


def test_before_version_2_4_the_time_may_be_missing():
    check_header(parse(message(header=HEADER.format(time="", type="ADT^A01", id="1", version="2.3.1"))))


def test_old_messages_say_their_event_in_evn_and_leave_the_structure_out():
    one = parse(message("EVN|A04", header="MSH|^~\\&|A|B|C|D|2026||ADT|1|P|2.2"))

    assert (one.event, one.structure) == ("A04", "ADT_A01")
    assert structure_of("ORU", "R01") == "ORU_R01"
    assert structure_of("ACK", "") == "ACK"


def test_the_header_of_a_broken_message_can_still_be_read():
    for data in (adt() + b"I|1\r", adt().replace("小明".encode(), b"\xe5\xb0"), adt() + adt()):
        with pytest.raises(Hl7Error):
            parse(data)
        assert parse_header(data).control_id == "M1"
    assert parse_header(b"MSH|^~\\&|\xff\xff\xff|B|||||ADT^A01|7|P|2.5").control_id == "7"
    for nothing in (b"", b"PID|1", b"MSH|AA|", b"\xff\xfe\0"):
        assert parse_header(nothing) is None


def test_content_is_recognised_by_its_beginning():
    for data in (
        adt(),
        b"\xef\xbb\xbf" + adt(),
        b"\x0b" + adt(),
        adt(charset="utf-16"),
        adt(charset="gb18030"),
        b"BHS|^~\\&|HIS\r" + adt(),
        b"MSH$%~\\&$A",
        b"MSH|^~\\&\rPID|1",
        b"some words\r\n" + adt(),
    ):
        assert looks_like(data)
    for data in (
        b"",
        b"MSH",
        b"MSHAPE,1\n",
        b"a,MSH|^~\\&|\n",
        b"PID|1",
        b'{"MSH":1}',
        b"<MSH/>",
        b"MSH|a|b|c\n",
    ):
        assert not looks_like(data)


def test_messages_say_nothing_of_their_values_in_a_log():
    one = parse(adt())

    assert "小明" not in f"{one!r}{one.segments!r}"


def test_segments_are_the_same_if_they_mean_the_same():
    one, other = parse(message("PID|1||P1^^^HIS")), parse(message("PID|1||P1^^^HIS^^&~|||"))

    assert one == other
    assert hash(one) == hash(other)
    assert one != parse(message("PID|1||P1^^^HIS^MR"))
    assert one != "a message"
    assert one.segments[0] != "a segment"


def test_a_message_is_built_from_values():
    one = (
        Builder()
        .add("MSH", {9: ("ADT", "A01"), 10: "1", 12: "2.5"})
        .add("PID", {3: [("P1", "", "", ("HIS", "1.2.3", "ISO"), "MR"), "P2"], 5: ("A|B", "")})
        .message()
    )

    assert serialise(one) == (
        "MSH|^~\\&|||||||ADT^A01|1||2.5||||||UNICODE UTF-8\rPID|||P1^^^HIS&1.2.3&ISO^MR~P2||A\\F\\B\r"
    )


def test_segments_are_copied_into_messages_with_other_marks():
    one = parse(adt())

    other = build(
        one.segments, delimiters=Delimiters(field="#", component="|", truncation="%"), charset="GBK"
    )

    assert other.text("PID-5.2") == "小明"
    assert other.header.text(2) == "|~\\&%"
    assert parse(to_bytes(other)) == other


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: build([("PID", {})]),
        lambda: build([("MSH", {}), ("MSH", {})]),
        lambda: build([("MSH", {}), ("pid", {})]),
        lambda: build([("MSH", {}), ("PID", {3: "a"})], delimiters=Delimiters(escape="", subcomponent="")),
        lambda: build([("MSH", {}), ("PID", {3: ["a", "b"]})], delimiters=Delimiters(repetition="")),
        lambda: build([("MSH", {}), ("PID", {3: (("a", "b"),)})], delimiters=Delimiters(subcomponent="")),
        lambda: to_bytes(build([("MSH", {}), ("PID", {3: "测"})], charset="8859/1")),
    ],
)
def test_what_cannot_be_written_is_refused(attempt):
    with pytest.raises(UnspeakableError):
        attempt()
