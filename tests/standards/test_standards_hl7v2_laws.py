"""Laws of HL7 v2 on generated input; all values are made up."""

import contextlib
import warnings

import hl7 as other
from hl7v2_writing import ADT, MARKS, adt, delimiters, fields, messages, segments, values
from hypothesis import given
from hypothesis import strategies as st

from kangshu.standards.hl7v2 import (
    Delimiters,
    FrameFault,
    FrameFaultKind,
    FrameReader,
    Hl7Error,
    build,
    looks_like,
    parse,
    parse_header,
    serialise,
    serialise_frame,
    split,
    to_bytes,
)
from kangshu.standards.hl7v2.syntax import syntax_of

# The characters of GB 2312 in common use.
COMMON = [
    bytes([row, cell]).decode("gb2312") for row in range(0xB0, 0xD7) for cell in range(0xA1, 0xFF)
]  # fmt: skip
# Second bytes of GBK run through all marks; these are two characters for each mark that can be one.
TRAPS = [bytes([lead, ord(mark)]).decode("gbk") for lead in (0x81, 0xD0) for mark in "@[\\]^_`{|}~"]


@given(one=messages())
def test_what_is_written_is_read_again(one):
    assert parse(to_bytes(one)) == one


@given(one=messages())
def test_writing_what_was_read_changes_nothing(one):
    text = serialise(one)

    assert serialise(parse(text.encode())) == text


@given(value=values, marks=delimiters(), where=st.integers(1, 30))
def test_a_value_with_any_characters_comes_back_from_any_field(value, marks, where):
    one = build([("MSH", {9: "ADT"}), ("PID", {where: value})], delimiters=marks)

    assert parse(to_bytes(one)).first("PID").text(where) == value


@given(value=fields, marks=delimiters())
def test_reading_a_piece_agrees_with_reading_the_whole_field(value, marks):
    segment = parse(to_bytes(build([("MSH", {}), ("PID", {3: value})], delimiters=marks))).first("PID")

    for r, repetition in enumerate(segment[3], 1):
        for c, component in enumerate(repetition, 1):
            for s, sub in enumerate(component, 1):
                assert segment.text(3, c, s, r) == sub
            assert segment.text(3, c, len(component) + 1, r) == ""
        assert segment.text(3, len(repetition) + 1, 1, r) == ""
    assert segment.text(3, 1, 1, len(segment[3]) + 1) == ""


@given(value=st.text(st.sampled_from([*TRAPS, *MARKS, "测", "a", " "]), max_size=12), marks=delimiters())
def test_gbk_characters_whose_second_byte_is_a_mark_are_read_whole(value, marks):
    one = build(
        [("MSH", {4: "第一医院", 18: "GB 18030-2000"}), ("PID", {5: (value, "某")})],
        delimiters=marks,
        charset="GBK",
    )

    read = parse(to_bytes(one))

    assert read.charset == "gb18030"
    assert read.text("PID-5.1") == value


@given(name=st.text(st.sampled_from(COMMON), min_size=2, max_size=6), codec=st.sampled_from(["gbk", "utf-8"]))
def test_an_undeclared_chinese_name_is_read_as_itself(name, codec):
    data = f"MSH|^~\\&|HIS|990100|K|990000|20260301||ADT^A01|M1|P|2.4\rPID|1||P1||{name}\r".encode(codec)

    assert parse(data).text("PID-5") == name


@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_message_or_are_refused(data):
    for one in (data, b"MSH|^~\\&|" + data, b"MSH|^~\\&|||||||||||||||||" + data):
        looks_like(one)
        parse_header(one)
        for candidate in (one, *(piece.data for piece in split(one))):
            with contextlib.suppress(Hl7Error):
                assert parse(candidate).segments


@given(
    cut=st.integers(0, len(adt())),
    noise=st.binary(max_size=4),
    charset=st.sampled_from(["utf-8", "gb18030", "utf-16", "utf-16-le", "utf-32"]),
)
def test_a_damaged_message_is_read_or_refused_without_its_values(cut, noise, charset):
    data = adt(charset=charset)
    data = data[:cut] + noise + data[cut + len(noise) :]

    refused = refusal(data)

    if refused is not None:
        assert refused.place
        assert "小明" not in f"{refused}"
        assert refused.__cause__ is None
        assert refused.__context__ is None or refused.__suppress_context__


def refusal(data):
    try:
        parse(data)
    except Hl7Error as refused:
        return refused
    return None


@given(
    batch=st.lists(messages(), min_size=1, max_size=4), ends=st.sampled_from(["\r", "\n", "\r\n", "\r\n\r\n"])
)
def test_a_file_of_messages_splits_into_them(batch, ends):
    data = b"".join(to_bytes(one) for one in batch).replace(b"\r", ends.encode())

    assert [parse(piece.data) for piece in split(data)] == batch


@given(data=st.binary(max_size=120).map(lambda data: data.replace(b"\r", b"\rMSH|")))
def test_pieces_are_numbered_and_none_is_blank(data):
    pieces = list(split(data))

    assert [piece.number for piece in pieces] == list(range(1, len(pieces) + 1))
    assert all(piece.data.strip(b"\r\n\t \x0b\x1c\0") for piece in pieces)


@st.composite
def streams(draw):
    """Bytes as a peer may send them, and where they are cut."""
    parts = st.sampled_from([b"\x0b", b"\x1c\r", b"\x1c", b"\r", b"\n", b"MSH|^~\\&|A", b"x", b"0123456789"])
    data = b"".join(draw(st.lists(parts, max_size=25)))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return data, [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@given(stream=streams(), limit=st.sampled_from([4, 10, 1000]))
def test_any_cut_into_chunks_gives_the_same_frames_and_faults(stream, limit):
    data, chunks = stream
    whole, pieces = FrameReader(limit=limit), FrameReader(limit=limit)

    expected = [*whole.feed(data), *whole.close()]
    found = [one for chunk in chunks for one in pieces.feed(chunk)] + pieces.close()

    assert found == expected


@given(
    contents=st.lists(st.binary(max_size=40).map(lambda data: data.translate(None, b"\x0b\x1c")), max_size=5)
)
def test_frames_hold_what_was_put_into_them(contents):
    reader = FrameReader()

    found = reader.feed(b"".join(map(serialise_frame, contents)))

    assert [one if isinstance(one, bytes) else b"" for one in found] == contents
    assert all(one.kind is FrameFaultKind.EMPTY for one in found if isinstance(one, FrameFault))
    assert reader.close() == []


@given(stream=streams(), limit=st.sampled_from([4, 10]))
def test_a_reader_never_holds_more_than_its_limit(stream, limit):
    reader = FrameReader(limit=limit)

    for chunk in stream[1]:
        reader.feed(chunk)
        assert reader.held <= limit + 1


@given(
    contents=st.lists(segments, min_size=1, max_size=4),
    plain=st.sampled_from([Delimiters(), Delimiters(component="%", field="$")]),
)
def test_another_library_reads_the_same_fields(contents, plain):
    one = build([("MSH", {9: "ADT"}), *contents, ("NTE", {1: "1"})], delimiters=plain)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of its own future
        theirs = other.parse(serialise(one))

    for ours, segment in zip(one.segments[1:], list(theirs)[1:], strict=True):
        for n in range(1, len(ours) + 1):
            assert ours.field(n) == str(segment(n))


@given(value=values)
def test_escaping_leaves_no_mark_and_no_control_character(value):
    syntax = syntax_of(Delimiters(), "utf-8")

    written = syntax.write(value)

    assert not set("|^~&\r\n\x0b\x1c") & set(written)
    assert syntax.unescape(written) == value


def test_the_example_is_what_the_tests_take_it_for():
    assert parse(ADT.encode()).text("OBX[2]-3.2") == "钠"
