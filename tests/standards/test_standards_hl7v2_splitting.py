"""Files become messages: batches, several in a row, frames, and what is none; all content is synthetic."""

import pytest
from hl7v2_writing import adt, message

from kangshu.standards.hl7v2 import Hl7Error, parse, split

ONE, TWO = message("PID|1||P1"), message("PID|1||P2").replace(b"|M1|", b"|M2|")


def patients(data: bytes) -> list[str]:
    """Return the number of each patient, or where a piece is refused."""
    found = []
    for piece in split(data):
        try:
            found.append(parse(piece.data).text("PID-3"))
        except Hl7Error as refused:
            found.append(f"{piece.place}: {refused.place}")
    return found


def places(data: bytes) -> list[str]:
    return [piece.place for piece in split(data)]


def notes(data: bytes) -> list[str | None]:
    return [piece.note and piece.note.en for piece in split(data)]


@pytest.mark.parametrize(
    "data",
    [
        ONE + TWO,
        ONE.replace(b"\r", b"\n") + TWO.replace(b"\r", b"\r\n"),
        b"\xef\xbb\xbf" + ONE + b"\r\n\r\n" + TWO,
        b"\x0b" + ONE + b"\x1c\r\x0b" + TWO + b"\x1c\r\n",
        b"  " + ONE + b" \t" + TWO + b"\n \n",
        b"FHS|^~\\&|HIS\rBHS|^~\\&|HIS\r" + ONE + TWO + b"BTS|2\rFTS|1\r",
        b"BHS|^~\\&|HIS\r" + ONE + b"BTS|1\rBHS|^~\\&|HIS\r" + TWO + b"BTS|1\rFTS|2",
        (ONE + TWO).decode().encode("utf-16"),
    ],
)
def test_messages_are_found_whatever_envelope_they_have(data):
    assert patients(data) == ["P1", "P2"]
    assert notes(data) == [None, None]


def test_pieces_say_where_they_begin():
    assert places(b"FHS|^~\\&|\r\n\r\n" + ONE.replace(b"\r", b"\r\n") + b"\r\n" + TWO) == ["line 3", "line 6"]
    assert places(ONE + TWO) == ["line 1", "line 3"]
    assert places(ONE.replace(b"\r", b"\n") + TWO) == ["line 1", "line 3"]


@pytest.mark.parametrize(
    ("trailers", "expected"),
    [
        (b"BTS|3\rFTS|1\r", "BTS-1 declares 3, there are 2"),
        (b"BTS|2\rFTS|9\r", "FTS-1 declares 9, there are 1"),
        (b"BTS|2\rFTS|2\r", None),
        (b"BTS\rFTS|\r", None),
        (b"BTS|two\rFTS|1\r", None),
        (b"BTS|9999999999999999999999\r", None),
    ],
)
def test_a_count_that_does_not_agree_is_noted_on_the_last_message(trailers, expected):
    data = b"FHS|^~\\&|\rBHS|^~\\&|\r" + ONE + TWO + trailers

    assert patients(data) == ["P1", "P2"]
    assert notes(data) == [None, expected]


def test_a_batch_whose_messages_are_all_missing_is_a_refused_piece():
    data = b"BHS|^~\\&|\rBTS|5\r"

    assert patients(data) == ["line 2: BTS"]
    assert notes(data) == ["BTS-1 declares 5, there are 0"]


def test_text_that_is_no_message_is_a_piece_of_its_own():
    assert patients(b"junk\rjunk\r" + ONE) == ["line 1: line 1", "P1"]
    assert patients(b"BHS|^~\\&|\rPID|1||P0\r" + ONE) == ["line 2: line 1", "P1"]
    assert patients(ONE.replace(b"\r", b"\n") + b"\n// comment\n" + TWO) == ["P1", "line 4: line 1", "P2"]
    assert patients(b"nothing at all") == ["line 1: line 1"]
    assert patients(b" \r\n\x0b\x1c\r") == []
    assert patients(b"") == []


def test_blank_lines_within_a_message_and_its_texts_do_not_end_it():
    text = message("PID|1||P1", "NTE|1||first\n\nsecond")
    gaps = ONE.replace(b"\r", b"\n\n")

    assert patients(text) == ["P1"]
    assert parse(next(split(text)).data).text("NTE-3") == "first\n\nsecond"
    assert patients(gaps) == ["P1"]


def test_a_chinese_file_is_split_before_it_is_decoded():
    data = adt(charset="gb18030").replace(b"UNICODE UTF-8", b"GB 18030-2000")

    pieces = list(split(data * 3))

    assert [parse(piece.data).text("PID-5.2") for piece in pieces] == ["小明"] * 3


def test_a_segment_that_only_begins_like_a_header_is_none():
    assert patients(message("PID|1||P1", "NTE|1||MSH|x", "NTE|2||a\rMSHX")) == ["P1"]


def test_damaged_wide_text_is_a_refused_piece():
    assert patients(ONE.decode().encode("utf-16")[:-1]) == ["line 1: MSH-18"]
