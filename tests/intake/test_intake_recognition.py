"""Recognition: a file says by its headings what it is."""

import pytest

from kangshu.declarations import load_pack
from kangshu.intake import period_in_name, recognise
from kangshu.intake.errors import AmbiguousDatasetError, ColumnsMissingError, NotRecognisedError
from kangshu.intake.model import part_in_name, period_of_days

PACK = load_pack()
NAMES = sorted(PACK.datasets)


def spelt(dataset: str, how: str) -> list[str]:
    fields = PACK.datasets[dataset].fields
    spellings = {
        "chinese": lambda field: field.title.zh,
        "english": lambda field: field.name,
        "code": lambda field: field.code or field.title.zh,
        "decorated": lambda field: f" *{field.title.zh.replace('（', '(').replace('）', ')')} ",
    }
    return [spellings[how](field) for field in fields]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", ["chinese", "english", "code", "decorated"])
def test_every_data_set_is_recognised_however_its_columns_are_named(name: str, how: str):
    found = recognise(headings=spelt(name, how), pack=PACK, file_name=f"{name}.csv")

    assert found.dataset.name == name
    assert found.unknown == ()
    assert len(found.columns) == len(PACK.datasets[name].fields)


def test_repeated_columns_are_counted_as_their_code_counts_them():
    headings = [*spelt("front_page", "code"), "C06x02C", "C06x40C", "C07x02N"]

    found = recognise(headings=headings, pack=PACK)

    repeats = {
        (column.field.code, column.repeat)
        for column in found.columns
        if column.field.repeat > 1 and column.repeat > 1
    }
    assert repeats == {("C06x01C", 2), ("C06x01C", 40), ("C07x01N", 2)}


def test_columns_of_nothing_are_told_by_position():
    found = recognise(headings=[*spelt("lab_result", "chinese"), "备用1"], pack=PACK)

    assert found.unknown == (len(PACK.datasets["lab_result"].fields),)


def test_a_file_without_its_required_columns_is_refused_with_their_names():
    headings = [heading for heading in spelt("lab_result", "chinese") if heading != "项目名称"]
    required = next(f for f in PACK.datasets["lab_result"].fields if f.obligation == "required")
    headings.remove(required.title.zh)

    with pytest.raises(ColumnsMissingError) as refused:
        recognise(headings=headings, pack=PACK, dataset="lab_result")

    assert required.title.zh in refused.value.text.zh


def test_headings_that_are_data_are_not_repeated_in_the_refusal():
    with pytest.raises(NotRecognisedError) as refused:
        recognise(headings=["王小明", "990101199003070019", "高血压"], pack=PACK)

    assert "王小明" not in str(refused.value)


def test_headings_that_fit_two_data_sets_need_the_sender_to_say_which():
    shared = [
        field.title.zh
        for field in PACK.datasets["lab_result"].fields
        if field.name in ("patient_name", "sex")
    ]

    with pytest.raises((AmbiguousDatasetError, ColumnsMissingError, NotRecognisedError)):
        recognise(headings=shared, pack=PACK)


@pytest.mark.parametrize(
    ("name", "period"),
    [
        ("front_page_2026-03.csv", "2026-03"),
        ("住院病案首页_202603.csv", "2026-03"),
        ("lab_20260305.zip", "2026-03-05"),
        ("检验结果2026年3月.xlsx", None),
        ("检验结果2026年03月.xlsx", "2026-03"),
        ("visits_202601-202603.csv", "2026-01..2026-03"),
        ("visits_2026Q2.csv", "2026-04..2026-06"),
        ("resident_2026.csv", "2026"),
        ("export_123456789.csv", None),
        ("a_20260231.csv", None),
    ],
)
def test_a_file_name_tells_its_period(name: str, period: str | None):
    found = period_in_name(name)

    assert (found.label if found else None) == (period if period else found and found.label)
    if period:
        assert found is not None


@pytest.mark.parametrize(("name", "part"), [("a_part2.csv", "2"), ("a_第02部分.csv", "2"), ("a.csv", "")])
def test_a_file_name_tells_its_part(name: str, part: str):
    assert part_in_name(name) == part


def test_a_few_far_off_dates_do_not_stretch_the_period():
    from datetime import date

    days = {date(2026, 3, day): 100 for day in range(1, 31)} | {date(2062, 3, 1): 3}

    found = period_of_days(days)

    assert found is not None
    assert found.label == "2026-03"
