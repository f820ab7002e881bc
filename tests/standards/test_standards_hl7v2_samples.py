"""HL7 v2 on messages that nobody here wrote: tests of nine projects, Chinese structures, broken ones."""

import os
import warnings
from datetime import UTC, datetime
from pathlib import Path

import hl7 as other
import pytest

from kangshu.standards.hl7v2 import (
    Hl7Error,
    acknowledge,
    acknowledgement_code,
    check_header,
    looks_like,
    parse,
    parse_header,
    split,
    to_bytes,
)

SAMPLES = Path(os.environ.get("KANGSHU_SAMPLES", Path(__file__).parents[3] / "shared" / "samples"))

pytestmark = [
    pytest.mark.samples,
    pytest.mark.skipif(not SAMPLES.is_dir(), reason="the sample files are not here: set KANGSHU_SAMPLES"),
]

# What is refused, with the reason; everything else is read.
REFUSED = {
    "batch/Genv1-Case-TestMessage1.HL7": ["line 1"],  # lines of "junk" before the message, which is read
    "Lyme_WithBadDelimiters.txt": ["MSH-2"],  # all marks are the same
    "messages.txt": ["line 1"] * 12,  # comments of a program between the messages, which are read
    "NewPipeParserTest_17.hl7": ["line 2"],  # a segment called I
    "hl7.txt": ["line 1"],  # the marks of the frame typed out as [SOM] and [EOM]
    "samples_17_sample_bad_file.hl7": ["line 1", "BTS"],  # a batch without MSH
    "samples_19_sample_bad_file2.hl7": ["line 1", "BTS", "FTS"],  # a file header within a message
    "samples_20_sample_bad_file3.hl7": ["line 1", "FTS"],  # a file without MSH
}
# What lacks a field that every message needs; these are fragments of parser tests and of broken messages.
HEADER_FAULTS = {"MSH-7": 7, "MSH-9": 9, "MSH-10": 39, "MSH-12": 6}


def files():
    folders = [SAMPLES / "hl7v2", SAMPLES / "robustness" / "hl7_broken"]
    return sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())


def read(data):
    """Return the messages of a file, and the places where a piece is refused."""
    found, refused = [], []
    for piece in split(data):
        try:
            found.append(parse(piece.data))
        except Hl7Error as error:
            refused.append(error.place)
    return found, refused


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_each_file_is_read_but_for_what_no_careful_reader_would_take(path):
    found, refused = read(path.read_bytes())

    expected = REFUSED.get(path.name) or REFUSED.get(f"{path.parent.name}/{path.name}")
    assert refused == (expected or [])
    assert found or expected
    for one in found:
        assert parse(to_bytes(one)) == one
        assert all(list(segment.fields()) is not None for segment in one.segments)


def test_what_the_headers_lack_is_told_by_its_place():
    faults = dict.fromkeys(HEADER_FAULTS, 0)
    for path in files():
        for one in read(path.read_bytes())[0]:
            try:
                check_header(one)
            except Hl7Error as refused:
                faults[refused.place] += 1

    assert faults == HEADER_FAULTS


@pytest.mark.parametrize(
    "path", sorted((SAMPLES / "hl7v2/cn_deidentified").glob("oul*")), ids=lambda path: path.name
)
def test_the_same_laboratory_message_says_the_same_in_each_character_set(path):
    one = parse(path.read_bytes())

    assert one.text("PID-5") == "测试丙"
    assert one.text("OBX-3.2") == "*癌胚抗原测定"
    assert (one.charset_note is not None) == ("misdeclared" in path.name)


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_another_library_finds_the_same_fields(path):
    for one in read(path.read_bytes())[0]:
        marks = one.delimiters
        if not marks.subcomponent or "\\X0A\\" in str([segment.raw for segment in one.segments]):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = other.parse("\r".join(segment.raw for segment in one.segments))
        for ours, segment in zip(one.segments, theirs, strict=True):
            for n in range(1 if ours.name != "MSH" else 3, len(ours) + 1):
                same = str(segment(n)) if n < len(segment) else ""
                assert ours.field(n).strip() == same.strip()


def test_every_message_can_be_acknowledged_in_its_version():
    now = datetime(2026, 3, 1, tzinfo=UTC)
    for path in files():
        for piece in split(path.read_bytes()):
            header = parse_header(piece.data)
            code = acknowledgement_code(header, outcome="error") or "AE"

            answer = parse(acknowledge(header, code=code, control_id="1", now=now, place="PID-3"))

            assert answer.text("MSA-1") == code
            assert answer.text("MSA-2") == (header.control_id if header else "")
            assert answer.first("ERR") is not None


def test_messages_are_told_from_every_other_kind_of_file():
    missed = [path.name for path in files() if not looks_like(path.read_bytes())]
    others = [path for kind in ("cda", "fhir", "codes", "quality") for path in (SAMPLES / kind).rglob("*.*")]

    assert missed == ["hl7.txt"]
    assert others
    for path in others:
        if path.is_file():
            with path.open("rb") as content:
                assert not looks_like(content.read(65536)), path


@pytest.mark.parametrize("path", sorted((SAMPLES / "robustness").rglob("*.*")), ids=lambda path: path.name)
def test_broken_files_of_every_other_standard_are_read_or_refused(path):
    if path.is_file():
        data = path.read_bytes()
        assert any(read(data)) or not data.removeprefix(b"\xef\xbb\xbf").strip(b" \t\r\n\0")
