"""Encodings of CSV: UTF-8, GB18030, UTF-16, and text that is none of them. All values are made up."""

import codecs
from pathlib import Path

import pytest

from kangshu.standards.tables import EncodingFaultError, FileCutOffError, NotATableError, open_table

TEXT = "姓名,说明\n王芳,门诊。复诊\n欧阳䶮,𠮷\n"
MIB = 1 << 20


def write(folder: Path, content: bytes) -> Path:
    path = folder / "t.csv"
    path.write_bytes(content)
    return path


def read(path: Path):
    """Return the encoding that was found and all rows."""
    with open_table(path, scratch=path.parent) as reader:
        rows = [row for batch in reader.batches() for row in batch.table.drop_columns("_row").to_pylist()]
        return reader.format.encoding, reader.headings, [list(row.values()) for row in rows]


@pytest.mark.parametrize(
    ("codec", "found"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("gb18030", "gb18030"),
        ("utf-16", "utf-16"),
        ("utf-16-be", "utf-16"),
    ],
)
def test_the_encoding_is_found_by_content(tmp_path, codec, found):
    mark = codecs.BOM_UTF16_BE if codec == "utf-16-be" else b""

    encoding, headings, rows = read(write(tmp_path, mark + TEXT.encode(codec)))

    assert encoding == found
    assert headings == ("姓名", "说明")
    assert rows == [["王芳", "门诊。复诊"], ["欧阳䶮", "𠮷"]]


def test_gb18030_with_its_own_mark(tmp_path):
    assert read(write(tmp_path, ("\ufeff" + TEXT).encode("gb18030")))[1] == ("姓名", "说明")


def test_plain_ascii_needs_no_decision(tmp_path):
    assert read(write(tmp_path, b"A11,A12C\n1,2\n")) == ("ascii", ("A11", "A12C"), [["1", "2"]])


def test_the_decision_may_fall_late(tmp_path):
    """Codes as headings and numbers as values: the first Chinese character comes after megabytes."""
    ascii_part = "A11,B11\n" + "1234567,7654321\n" * 400_000

    for codec in ("utf-8", "gb18030"):
        encoding, _, rows = read(write(tmp_path, (ascii_part + "王芳,内科\n").encode(codec)))

        assert encoding == codec
        assert rows[-1] == ["王芳", "内科"]


def test_characters_on_the_borders_of_blocks_stay_whole(tmp_path):
    for codec in ("utf-8", "gb18030"):
        text = "a,b\n" + "".join(f"{'王' * (n % 50)},{'芳𠮷' * (n % 7)}x\n" for n in range(60_000))

        _, _, rows = read(write(tmp_path, text.encode(codec)))

        assert len(rows) == 60_000
        assert rows[-1] == ["王" * (59_999 % 50), "芳𠮷" * (59_999 % 7) + "x"]


def test_second_bytes_that_look_like_delimiters_do_not_divide(tmp_path):
    """In GBK the second byte of 464 characters is a vertical bar or a backslash or the like."""
    text = "姓名|诊断内容\n" + "".join(f"{name}|高血压\n" for name in ("亅", "倈", "儀", "坾", "漒"))
    assert b"|" in "倈".encode("gbk")[1:] or any(b"|" in one.encode("gbk")[1:] for one in text)

    encoding, _, rows = read(write(tmp_path, text.encode("gbk")))

    assert encoding == "gb18030"
    assert all(len(row) == 2 and row[1] == "高血压" for row in rows)


def test_damaged_utf8_is_refused_at_its_line_and_not_read_as_garbled_gb18030(tmp_path):
    lines = TEXT.encode() * 50
    damaged = lines[:2000].rsplit(b"\n", 1)[0]
    content = damaged + b"\n\xe7\x8e,x\n" + lines
    wanted = damaged.count(b"\n") + 2

    with pytest.raises(EncodingFaultError) as caught:
        read(write(tmp_path, content))

    assert caught.value.place == f"line {wanted}"


def test_damaged_gb18030_is_refused_at_its_line(tmp_path):
    good = TEXT.encode("gb18030")

    with pytest.raises(EncodingFaultError) as caught:
        read(write(tmp_path, good * 3 + b"\xcd\xf5\xff,x\n" + good))

    assert caught.value.place == "line 10"


def test_damage_far_into_a_large_file_is_found_with_its_line(tmp_path):
    for codec in ("utf-8", "gb18030"):
        content = ("姓名,说明\n" + "王芳,复诊病人\n" * 300_000).encode(codec) + b"\xff\xff,1\n"

        with pytest.raises(EncodingFaultError) as caught:
            read(write(tmp_path, content))

        assert caught.value.place == "line 300002"


@pytest.mark.parametrize("codec", ["latin-1", "cp1252"])
def test_western_text_is_not_taken_for_rare_chinese_characters(tmp_path, codec):
    text = "name,city\n" + "Andrés Müller,Zürich Höngg\nRenée Dupré-Gaspé,Besançon\n" * 20

    with pytest.raises(EncodingFaultError):
        read(write(tmp_path, text.encode(codec)))


def test_utf16_with_half_a_pair_or_half_a_character(tmp_path):
    good = TEXT.encode("utf-16")

    with pytest.raises(EncodingFaultError):
        read(write(tmp_path, good + b"\x00\xdc\x00\xdc"))
    with pytest.raises(FileCutOffError):
        read(write(tmp_path, good + b"\x61"))


def test_utf16_without_mark_and_utf32_are_refused(tmp_path):
    with pytest.raises(NotATableError):
        read(write(tmp_path, "name,age\n1,2\n".encode("utf-16-le")))
    with pytest.raises(EncodingFaultError):
        read(write(tmp_path, TEXT.encode("utf-32")))


def test_a_text_cut_off_in_the_middle_of_a_character(tmp_path):
    for codec in ("utf-8", "gb18030"):
        content = (TEXT * 30 + "王芳,复诊").encode(codec)

        with pytest.raises(FileCutOffError):
            read(write(tmp_path, content[:-1]))


def test_errors_never_hold_what_the_line_says(tmp_path):
    content = TEXT.encode() * 30 + "秘密,".encode() + b"\xff\n"

    with pytest.raises(EncodingFaultError) as caught:
        read(write(tmp_path, content))

    whole = repr((caught.value, caught.value.__context__, caught.value.__cause__, caught.value.args))
    assert "秘密" not in whole
    assert "秘密".encode().hex() not in whole
