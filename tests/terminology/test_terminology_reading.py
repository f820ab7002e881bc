"""Code lists from files: what is read, and what is refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from kangshu.kernel.texts import Text
from kangshu.terminology import CodeEntry, CodeListRefusedError, read_code_list


def written(folder: Path, text: str, *, encoding: str = "utf-8") -> Path:
    path = folder / "codes.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_a_list_is_read_with_its_edition(tmp_path: Path):
    path = written(tmp_path, "code,name_zh,edition\nA09.000,肠炎,临床版 2.0\nI10.x00,高血压,临床版 2.0\n")

    found = read_code_list(path, scratch=tmp_path)

    assert found.edition == "临床版 2.0"
    assert found.entries == (
        CodeEntry(code="A09.000", title=Text(zh="肠炎", en="肠炎")),
        CodeEntry(code="I10.x00", title=Text(zh="高血压", en="高血压")),
    )


def test_chinese_headings_gb18030_and_english_names_are_understood(tmp_path: Path):
    text = "诊断编码,诊断名称,英文名称\nI10.x00,特发性（原发性）高血压,Essential hypertension\n"
    path = written(tmp_path, text, encoding="gb18030")

    found = read_code_list(path, scratch=tmp_path)

    assert found.edition is None
    assert found.entries[0].title == Text(zh="特发性（原发性）高血压", en="Essential hypertension")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("code,edition\nA09.000,2.0\n", None),
        ("code,name_zh\nA09.000,肠炎\nA09.000,肠炎\n", "row 3"),
        ("code,name_zh\nA09.000,\n", "row 2"),
        ("code,name_zh\nA09 000,肠炎\n", "row 2"),
        ("code,name_zh\nA09.000,肠炎\nI10.x00,高血压,3\n", "row 3"),
        ("code,name_zh,edition\nA09.000,肠炎,2.0\nI10.x00,高血压,3.0\n", None),
    ],
)
def test_a_faulty_list_is_refused_with_its_place(tmp_path: Path, text: str, place: str | None):
    with pytest.raises(CodeListRefusedError) as refused:
        read_code_list(written(tmp_path, text), scratch=tmp_path)

    assert refused.value.place == place
