"""A person's timeline in words: by day, visit and kind; flagged, masked, struck through. Nobody is real."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from console_world import base_pack, base_rows

from kangshu.console.masking import Mask
from kangshu.console.timeline import Reader, ShownEntry, Stay, Writer, timeline, usual_text
from kangshu.kernel.texts import Language
from kangshu.lake import PersonRow
from kangshu.records import Detail, Kind, Measure, State, TimelineEntry, kind_title
from kangshu.records.facts import facts_of

HOSPITAL, CLINIC = "99010100000000010A1000", "99010100000001001B1000"
MORNING = datetime(2026, 3, 2, 8, 5)
NAME = "杨伟伟"


def _entry(kind: Kind = Kind.LABORATORY, **more: Any) -> TimelineEntry:
    usual: dict[str, Any] = {
        "kind": kind,
        "at": MORNING,
        "whole_day": False,
        "institution": HOSPITAL,
        "person": 7,
        "title": "空腹血糖",
        "code": None,
        "system": None,
        "value": None,
        "number": None,
        "unit": None,
        "low": None,
        "high": None,
        "usual": None,
        "flag": None,
        "parts": (),
        "status": "final",
        "state": State.VALID,
        "details": (),
        "source": "record",
        "reference": "Observation/a",
        "version": 2,
        "message": 41,
    }
    return TimelineEntry(**(usual | more))


def _result(**more: Any) -> TimelineEntry:
    usual: dict[str, Any] = {
        "code": "14771-0",
        "value": "7.20",
        "number": Decimal("7.20"),
        "unit": "mmol/L",
        "low": Decimal("3.90"),
        "high": Decimal("6.10"),
        "flag": "H",
    }
    return _entry(**(usual | more))


def _row(dataset: str, kind: Kind = Kind.OTHER, at: datetime | None = None, **values: Any) -> TimelineEntry:
    row = PersonRow(person=7, dataset=dataset, institution=HOSPITAL, at=at, file=12, row=34, values=values)
    return _entry(
        kind,
        at=at,
        title=None,
        source="row",
        reference=f"{dataset}/12/34",
        version=None,
        message=None,
        dataset=dataset,
        row=row,
    )


def _reader(*, language: Language = "zh", revealed: bool = False) -> Reader:
    return Reader(
        pack=base_pack(),
        language=language,
        institution_names={HOSPITAL: "桐山区人民医院"},
        revealed=revealed,
        person=7,
        path="/console/persons/7",
        mask=Mask.none() if revealed else Mask({NAME: "杨**"}),
        zone=ZoneInfo("Asia/Shanghai"),
        birth_date=date(1958, 5, 31),
    )


def _shown(entry: TimelineEntry, **options: Any) -> ShownEntry:
    return Writer(_reader(**options)).entry(entry)


def _stays(*entries: TimelineEntry) -> list[Stay]:
    return [stay for day in timeline(entries, reader=_reader()) for stay in day.stays]


def _fields(entry: ShownEntry) -> dict[str, str]:
    return {field.title: field.value or field.code for field in entry.fields}


def test_entries_are_grouped_by_day_and_within_it_by_visit_and_kind():
    visit = _entry(Kind.VISIT, title="内科", reference="Encounter/v", at=MORNING)
    later = datetime(2026, 3, 2, 12)
    entries = [
        _result(at=later, visit="Encounter/v", reference="Observation/b"),
        _entry(Kind.PRESCRIPTION, at=later, visit="Encounter/v", title="阿司匹林"),
        visit,
        _entry(Kind.DIAGNOSIS, visit="Encounter/v", title="高血压"),
        _entry(Kind.DIAGNOSIS, institution=CLINIC, title="感冒"),
        _result(at=datetime(2026, 2, 1)),
    ]

    days = timeline(entries, reader=_reader())

    assert [day.day for day in days] == [date(2026, 3, 2), date(2026, 2, 1)]
    assert days[0].age == "67 岁"
    first, second = days[0].stays
    assert (first.institution, second.institution) == ("桐山区人民医院", CLINIC)
    assert [one.title for one in first.visits] == ["内科"]
    assert [(batch.kind, len(batch.entries)) for batch in first.batches] == [
        (Kind.DIAGNOSIS, 1),
        (Kind.LABORATORY, 1),
        (Kind.PRESCRIPTION, 1),
    ]


def test_two_visits_at_one_place_on_one_day_stay_apart():
    entries = [
        _entry(Kind.VISIT, title="内科", reference="Encounter/v"),
        _entry(Kind.VISIT, title="外科", reference="Encounter/w"),
        _result(visit="Encounter/v"),
        _entry(Kind.DIAGNOSIS, visit="Encounter/w", title="骨折"),
        _entry(Kind.OTHER, title="谁也没说属于哪次就诊"),
    ]

    assert sorted(len(stay.visits) + len(stay.batches) for stay in _stays(*entries)) == [1, 2, 2]


def test_what_names_no_visit_belongs_to_the_only_one_of_the_day():
    [stay] = _stays(_entry(Kind.VISIT, title="内科", reference="Encounter/v"), _result())

    assert len(stay.visits) == len(stay.batches) == 1


def test_a_later_day_of_a_stay_says_to_which_it_belongs():
    stay = _entry(
        Kind.VISIT,
        title="普外科",
        reference="Encounter/s",
        at=datetime(2026, 2, 27, 14),
        details=(Detail(key="visit_class", value="IMP"),),
    )

    operation, _ = _stays(_entry(Kind.OPERATION, title="阑尾切除术", visit="Encounter/s"), stay)

    assert (operation.within, operation.began) == ("住院 · 普外科", date(2026, 2, 27))


def test_rows_of_one_visit_stand_together_by_its_number():
    visit = _row("outpatient_visit", Kind.VISIT, MORNING, visit_number="V1")
    result = _row("lab_result", Kind.LABORATORY, MORNING, visit_number="V1", item_name="钾")
    other = _row("lab_result", Kind.LABORATORY, MORNING, visit_number="V2", item_name="钠")

    assert [(len(stay.visits), len(stay.batches)) for stay in _stays(visit, result, other)] == [
        (1, 1),
        (0, 1),
    ]


def test_a_result_shows_its_unit_its_flag_and_the_reference_range():
    shown = _shown(_result())

    assert (shown.clock, shown.title) == ("08:05", "空腹血糖")
    assert shown.measure is not None
    assert (shown.measure.value, shown.measure.unit) == ("7.20", "mmol/L")
    assert (shown.measure.side, shown.measure.flag) == ("high", "偏高")
    assert shown.measure.usual == "3.9–6.1"
    assert shown.trend == "/console/persons/7/trend?code=14771-0"


@pytest.mark.parametrize(
    ("flag", "side", "word", "urgent"),
    [
        ("L", "low", "偏低", False),
        ("LL", "low", "危急偏低", True),
        ("POS", "odd", "阳性", False),
        ("N", "", "", False),
        ("院内符号", "odd", "院内符号", False),
        (None, "high", "高于参考范围", False),
    ],
)
def test_a_flag_is_told_in_words_and_a_missing_one_by_the_range(
    flag: str | None, side: str, word: str, urgent: bool
):
    measure = _shown(_result(flag=flag)).measure

    assert measure is not None
    assert (measure.side, measure.flag, measure.urgent) == (side, word, urgent)


def test_a_value_within_its_range_needs_no_mark():
    measure = _shown(_result(flag=None, value="5", number=Decimal(5))).measure

    assert measure is not None
    assert (measure.side, measure.flag) == ("", "")


@pytest.mark.parametrize(
    ("low", "high", "usual", "text"),
    [
        ("2.80", "5.20", None, "2.8–5.2"),
        ("3", None, None, "≥ 3"),
        (None, "8", None, "≤ 8"),
        (None, None, "阴性", "阴性"),
    ],
)
def test_ranges_read_as_people_write_them(low: str | None, high: str | None, usual: str | None, text: str):
    measure = Measure(usual=usual, low=Decimal(low) if low else None, high=Decimal(high) if high else None)

    assert usual_text(measure) == text


def test_the_parts_of_a_measurement_are_shown_and_followed_together():
    parts = tuple(
        Measure(title=title, code=code, value=value, number=Decimal(value), unit="mmHg", high=Decimal(139))
        for title, code, value in (("收缩压", "8480-6", "146"), ("舒张压", "8462-4", "92"))
    )

    shown = _shown(_entry(Kind.VITAL_SIGN, title="血压", parts=parts))

    assert [(part.title, part.value, part.side) for part in shown.parts] == [
        ("收缩压", "146", "high"),
        ("舒张压", "92", ""),
    ]
    assert shown.trend == "/console/persons/7/trend?code=8480-6&code=8462-4"


@pytest.mark.parametrize(
    ("state", "badge", "void"),
    [
        (State.VALID, None, False),
        (State.PLANNED, "计划中", False),
        (State.PRELIMINARY, "初步", False),
        (State.CORRECTED, "已更正", False),
        (State.CANCELLED, "已取消", True),
        (State.WITHDRAWN, "录入错误，已撤销", True),
        (State.REPLACED, "已被替换", True),
    ],
)
def test_what_is_not_simply_valid_shows_as_what_it_is(state: State, badge: str | None, void: bool):
    shown = _shown(_result(state=state))

    assert (shown.badge.text if shown.badge else None) == badge
    assert shown.void is void
    assert (shown.trend is None) is void


def test_an_entry_says_where_it_comes_from():
    stored, row = _shown(_result()), _shown(_row("lab_result", at=MORNING, item_name="钾"))
    absorbed = _shown(_result(person=9))

    assert (stored.source.version, stored.source.message) == (2, 41)
    assert stored.history == "/console/persons/7/entries/Observation/a"
    assert (row.source.file, row.source.row, row.history) == (12, 34, None)
    assert absorbed.source.absorbed == 9


@pytest.mark.parametrize(
    ("url", "href"),
    [
        ("Binary/abc", "/console/persons/7/documents/abc"),
        ("https://elsewhere.test/x", None),
        ("Binary/../../audit", None),
        (None, None),
    ],
)
def test_only_documents_that_are_kept_here_are_led_to(url: str | None, href: str | None):
    assert _shown(_entry(Kind.DOCUMENT, document=url)).document == href


def test_codes_and_moments_in_details_are_put_in_words():
    shown = _shown(
        _entry(
            Kind.VISIT,
            title="EMER",
            details=(
                Detail(key="visit_class", value="EMER"),
                Detail(key="end", value="2026-03-02T00:40:00Z"),
                Detail(key="participant", value="韩医生"),
            ),
        ),
        language="en",
    )

    assert shown.title == "Emergency"
    assert shown.note == "韩医生"
    assert _fields(shown)["End"] == "2026-03-02 08:40"


def test_the_name_of_the_person_is_masked_wherever_it_was_written():
    entry = _entry(
        Kind.EXAMINATION,
        title=f"{NAME}胸片",
        details=(Detail(key="conclusion", value=f"患者{NAME}，双肺清晰"),),
    )

    assert NAME not in repr(_shown(entry))
    assert NAME in repr(_shown(entry, revealed=True))


def test_identifiers_of_rows_are_masked_until_they_are_asked_for():
    row = _row(
        "lab_result",
        at=MORNING,
        patient_name="杨伟",
        resident_number="99010119580531049X",
        birth_date=date(1958, 5, 31),
    )

    masked, shown = _shown(row), _shown(row, revealed=True)

    assert _fields(masked)["患者姓名"] == "杨*"
    assert _fields(masked)["居民身份证号码"] == "990***********049X"
    assert _fields(masked)["出生日期"] == "1958-**-**"
    assert _fields(shown)["居民身份证号码"] == "99010119580531049X"
    assert "19580531" not in repr(masked)


def test_every_direct_identifier_of_every_data_set_is_masked():
    value = "张三李四王五赵六钱七孙八"
    for dataset in base_pack().datasets.values():
        values: dict[str, Any] = {
            field.name: value
            for field in dataset.fields
            if field.privacy.value == "direct" and field.type == "string" and field.repeat == 1
        }
        entry = _row(dataset.name, **values)
        made = base_rows().to_resources(
            dataset=dataset.name, values=values, institution=HOSPITAL, key="1", patient="7", linked=False
        )
        facts = facts_of(made[0]["resourceType"], made[0]) if made else None
        told = _entry(
            Kind.OTHER,
            title=facts.title if facts else None,
            details=facts.details if facts else (),
            source="row",
            dataset=dataset.name,
            row=entry.row,
        )

        assert value not in repr(_shown(entry)), dataset.name
        assert value not in repr(_shown(told)), dataset.name


def test_codes_come_with_their_meaning_in_the_readers_language():
    row = _row("lab_result", at=MORNING, sex="2")

    chinese = next(field for field in _shown(row).fields if field.title == "性别代码")
    english = next(field for field in _shown(row, language="en").fields if field.title == "Sex")

    assert (chinese.value, chinese.code) == ("女性", "2")
    assert (english.value, english.code) == ("Female", "2")


def test_empty_fields_are_left_out_and_lists_stand_in_one_line():
    shown = _shown(
        _row("front_page", principal_diagnosis_name="脑梗死", other_diagnosis_names=["高血压", None])
    )

    assert all(field.value for field in shown.fields)


def test_entries_without_a_date_stand_under_no_day():
    [day] = timeline([_result(at=None)], reader=_reader())

    assert (day.day, day.age) == (None, "")


def test_an_entry_without_a_title_is_called_by_its_data_set_or_kind():
    assert _shown(_row("lab_result", at=MORNING)).title == base_pack().datasets["lab_result"].title.zh
    assert _shown(_entry(Kind.OTHER, title=None)).title == kind_title(Kind.OTHER).zh


def test_a_data_set_that_is_no_longer_declared_still_shows_its_rows():
    assert _fields(_shown(_row("retired_set", at=MORNING, something="kept"))) == {"something": "kept"}
