"""A person's rows in words: grouped, headed, masked."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from console_world import base_pack

from kangshu.console.timeline import Entry, Reader, timeline
from kangshu.kernel.texts import Language
from kangshu.lake import PersonRow

HOSPITAL, CLINIC = "99010100000000010A1000", "99010100000001001B1000"


def _row(dataset: str, at: datetime | None, institution: str = HOSPITAL, **values: Any) -> PersonRow:
    return PersonRow(person=7, dataset=dataset, institution=institution, at=at, file=1, row=2, values=values)


def _lab(at: datetime | None, institution: str = HOSPITAL, **values: Any) -> PersonRow:
    usual = {"item_name": "空腹血糖", "value_text": "7.2", "unit": "mmol/L", "flag": "H"}
    return _row("lab_result", at, institution, **{**usual, **values})


def _reader(*, language: Language = "zh", revealed: bool = False) -> Reader:
    return Reader(
        pack=base_pack(),
        language=language,
        institution_names={HOSPITAL: "桐山区人民医院"},
        revealed=revealed,
        birth_date=date(1958, 5, 31),
    )


def _one(row: PersonRow, **options: Any) -> Entry:
    [day] = timeline([row], reader=_reader(**options))
    return day.batches[0].entries[0]


def _fields(entry: Entry) -> dict[str, str]:
    return {field.title: field.value for field in entry.fields}


def test_rows_are_grouped_by_day_and_within_it_by_data_set_and_institution():
    morning, noon, before = datetime(2026, 3, 2, 8, 5), datetime(2026, 3, 2, 12), datetime(2026, 2, 1)
    rows = [_lab(noon), _lab(noon, CLINIC), _lab(morning), _row("diagnosis", before, diagnosis_name="高血压")]

    days = timeline(rows, reader=_reader())

    assert [day.day for day in days] == [date(2026, 3, 2), date(2026, 2, 1)]
    assert [(batch.institution, len(batch.entries)) for batch in days[0].batches] == [
        ("桐山区人民医院", 2),
        (CLINIC, 1),
    ]
    assert days[0].age == "67 岁"


def test_a_result_shows_its_unit_its_flag_and_the_reference_range():
    entry = _one(
        _lab(datetime(2026, 3, 2, 8, 5), reference_low=Decimal("3.90"), reference_high=Decimal("6.10"))
    )

    assert (entry.clock, entry.headline, entry.result) == ("08:05", "空腹血糖", "7.2 mmol/L")
    assert entry.note == "偏高 (3.9–6.1)"
    assert entry.odd


def test_a_usual_result_is_not_marked():
    entry = _one(_lab(datetime(2026, 3, 2), flag="N"))

    assert not entry.odd
    assert entry.note == ""


def test_identifiers_are_masked_until_they_are_asked_for():
    row = _lab(
        datetime(2026, 3, 2),
        patient_name="杨伟",
        resident_number="99010119580531049X",
        birth_date=date(1958, 5, 31),
    )

    masked, shown = _one(row), _one(row, revealed=True)

    assert _fields(masked)["患者姓名"] == "杨*"
    assert _fields(masked)["居民身份证号码"] == "990***********049X"
    assert _fields(masked)["出生日期"] == "1958-**-**"
    assert _fields(shown)["居民身份证号码"] == "99010119580531049X"
    assert "19580531" not in repr(masked)


def test_every_direct_identifier_of_every_data_set_is_masked():
    value = "张三李四王五赵六钱七孙八"
    for dataset in base_pack().datasets.values():
        direct = [
            field.name
            for field in dataset.fields
            if field.privacy.value == "direct" and field.type == "string"
        ]
        row = _row(dataset.name, None, **dict.fromkeys(direct, value))

        assert value not in repr(_one(row)), dataset.name


def test_codes_come_with_their_meaning_in_the_readers_language():
    row = _lab(datetime(2026, 3, 2), sex="2")

    chinese = next(field for field in _one(row).fields if field.title == "性别代码")
    english = next(field for field in _one(row, language="en").fields if field.title == "Sex")

    assert (chinese.value, chinese.code) == ("女性", "2")
    assert (english.value, english.code) == ("Female", "2")


def test_empty_fields_are_left_out_and_lists_stand_in_one_line():
    entry = _one(
        _row("front_page", None, principal_diagnosis_name="脑梗死", other_diagnosis_names=["高血压", None])
    )

    assert entry.headline == "脑梗死"
    assert all(field.value for field in entry.fields)


def test_rows_without_a_date_stand_under_no_day():
    [day] = timeline([_lab(None)], reader=_reader())

    assert day.day is None
    assert day.age == ""


def test_a_data_set_that_is_no_longer_declared_still_shows_its_rows():
    entry = _one(_row("retired_set", datetime(2020, 1, 1), something="kept"))

    assert entry.headline == "retired_set"
    assert _fields(entry) == {"something": "kept"}
