"""Bytes become text by MSH-18 where it is right and by content where it is not; all names are synthetic."""

import pytest
from hl7v2_writing import adt

from kangshu.standards.hl7v2 import CharsetError, parse

HEADER = "MSH|^~\\&|HIS|990100|K|990000|20260301||ADT^A01|M1|P|2.5||||||{}\r"


def sent(text: str, *, declared: str = "", charset: str) -> bytes:
    return (HEADER.format(declared) + f"PID|1||P1||{text}\r").encode(charset)


@pytest.mark.parametrize(
    ("declared", "charset", "codec"),
    [
        ("UNICODE UTF-8", "utf-8", "utf-8"),
        ("Unicode", "utf-8", "utf-8"),
        ("utf8", "utf-8", "utf-8"),
        ("GB 18030-2000", "gb18030", "gb18030"),
        ("GB18030", "gb18030", "gb18030"),
        ("gbk", "gbk", "gb18030"),
        ("GB2312", "gb2312", "gb18030"),
        ("cp936", "gbk", "gb18030"),
        ("GBK~UNICODE UTF-8", "gbk", "gb18030"),
        ("", "utf-8", "utf-8"),
        ("", "gbk", "gb18030"),
        ("UNICODE UTF-16", "utf-16", "utf-16-le"),
        ("", "utf-16", "utf-16-le"),
        ("", "utf-16-be", "utf-16-be"),
        ("", "utf-32", "utf-32-le"),
        ("", "utf-8-sig", "utf-8"),
    ],
)
def test_chinese_text_is_read_however_it_comes(declared, charset, codec):
    one = parse(sent("测试^小明", declared=declared, charset=charset))

    assert one.text("PID-5.2") == "小明"
    assert one.charset == codec
    assert one.charset_note is None


@pytest.mark.parametrize(
    ("declared", "charset", "codec"),
    [
        ("UNICODE UTF-8", "gbk", "gb18030"),
        ("UNICODE", "gbk", "gb18030"),
        ("GB 18030-2000", "utf-8", "utf-8"),
        ("8859/1", "utf-8", "utf-8"),
        ("8859/1", "gbk", "gb18030"),
        ("ASCII", "gbk", "gb18030"),
        ("ASCII", "utf-8", "utf-8"),
        ("UNICODE UTF-16", "utf-8", "utf-8"),
        ("BIG-5", "utf-8", "utf-8"),
        ("no such set", "gbk", "gb18030"),
    ],
)
def test_a_wrong_declaration_gives_way_to_the_bytes_and_is_noted(declared, charset, codec):
    one = parse(sent("测试^小明", declared=declared, charset=charset))

    assert one.text("PID-5.2") == "小明"
    assert one.charset == codec
    assert "MSH-18" in one.charset_note.en


@pytest.mark.parametrize("name", ["小李", "毛小小", "丁小", "女", "询"])
def test_a_short_chinese_name_in_gbk_is_not_taken_for_cyrillic(name):
    assert parse(sent(name, charset="gbk")).text("PID-5") == name


@pytest.mark.parametrize("text", ["Mérida", "10 µg/L", "α-1", "Иванов", "37 °C", "Åse", "±", "α", "é"])
def test_other_letters_in_utf8_are_not_taken_for_chinese(text):
    assert parse(sent(text, charset="utf-8")).text("PID-5") == text


@pytest.mark.parametrize("text", ["10 µg/L", "37 °C", "José", "Muñoz"])
def test_undeclared_western_bytes_are_not_taken_for_chinese_and_are_noted(text):
    one = parse(sent(text, charset="latin-1"))

    assert one.text("PID-5") == text
    assert one.charset == "iso8859-1"
    assert one.charset_note is not None


def test_declared_western_text_is_read_as_declared():
    one = parse(sent("Ação", declared="8859/1", charset="latin-1"))

    assert one.text("PID-5") == "Ação"
    assert one.charset_note is None
    assert parse(sent("測試", declared="BIG-5", charset="big5")).text("PID-5") == "測試"
    assert parse(sent("山田", declared="ISO IR87", charset="iso2022_jp_2")).text("PID-5") == "山田"


def test_a_name_in_the_header_does_not_hide_the_declaration():
    text = "MSH|^~\\&|HIS|弢亅亊|K|990000|20260301||ADT^A01|M1|P|2.5||||||GB 18030-2000\rPID|1||P1||亅\r"
    assert b"|" in "亅".encode("gbk")

    one = parse(text.encode("gbk"))

    assert one.charset == "gb18030"
    assert (one.sending_facility, one.text("PID-5"), one.control_id) == ("弢亅亊", "亅", "M1")


def test_ascii_keeps_what_is_declared():
    assert parse(sent("A", declared="GBK", charset="ascii")).charset == "gb18030"
    assert parse(sent("A", declared="UNICODE UTF-16", charset="ascii")).charset == "utf-8"
    assert parse(sent("A", charset="ascii")).charset == "ascii"


def test_what_came_with_the_bytes_takes_the_place_of_the_declaration():
    assert parse(sent("小明", charset="utf-8"), charset="utf-8").charset_note is None
    assert (
        parse(sent("Ä", declared="UNICODE UTF-8", charset="latin-1"), charset="ISO-8859-1").text("PID-5")
        == "Ä"
    )


@pytest.mark.parametrize("declared", ["UNICODE UTF-8", ""])
def test_a_character_cut_in_half_is_refused_with_its_field(declared):
    data = sent("测试^小明", declared=declared, charset="utf-8").replace("明".encode(), "明".encode()[:2])

    with pytest.raises(CharsetError) as refused:
        parse(data)

    assert refused.value.place == "PID-5"


def test_the_place_counts_segments_of_one_name():
    data = adt().replace("钠".encode(), b"\xe9\x92")

    with pytest.raises(CharsetError) as refused:
        parse(data)

    assert refused.value.place == "OBX[2]-3"


def test_damaged_wide_text_is_refused():
    with pytest.raises(CharsetError):
        parse(adt(charset="utf-16")[:-1])


def test_nul_characters_are_dropped():
    assert parse(sent("a\0b", charset="utf-8")).text("PID-5") == "ab"
