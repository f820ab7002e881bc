"""Profiles: columns and single records give the same, and what clerks write comes out comparable.

All people are synthetic; resident numbers carry division codes that no place has.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import date

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kangshu.identity.linkage import PROFILE_COLUMNS, Registration, prepare, prepare_one
from kangshu.identity.linkage.addresses import ADDRESS_COLUMNS, read_address
from kangshu.identity.linkage.hanzi import NAME_COLUMNS, read_name, read_names
from kangshu.identity.linkage.profiles import TABLE_COLUMNS
from kangshu.standards.identifiers import resident_check_digit

MOTHER_BORN, CHILD_BORN = date(1990, 3, 12), date(2026, 2, 3)


def resident(born: date, serial: int, *, division: str = "990101") -> str:
    first = f"{division}{born:%Y%m%d}{serial:03d}"
    return first + resident_check_digit(first)


def name_facts(name: str) -> dict[str, str | None]:
    return dict(zip(NAME_COLUMNS, read_name(name), strict=True))


characters = "张曉晓明欧阳曾单于王丽之子女婴大小无名氏？?·•．. ABCzüéǚ龙𠮷䶮\ue863　-,'()12"
names = st.one_of(
    st.none(),
    st.text(max_size=8),
    st.text(st.sampled_from(characters), max_size=8),
    st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), min_size=1, max_size=5),
    st.sampled_from(
        ["王丽之女", "王丽之大子", "王丽双胎之小", "王丽之婴(B)", "无名氏", "欧阳娜娜", "ZHANG, San"]
    ),
)
days = st.dates(date(1890, 1, 1), date(2030, 1, 1))
digits = st.text("0123456789X", min_size=10, max_size=20)
numbers = st.one_of(
    st.none(),
    st.builds(resident, days, st.integers(0, 999)),
    digits,
    st.text(max_size=20),
    digits.map(str.lower),
)
olds = st.builds(lambda day, serial: f"990101{day:%y%m%d}{serial:03d}", days, st.integers(0, 999))
addresses = st.one_of(
    st.none(),
    st.text(max_size=30),
    st.text(st.sampled_from("云海省澜州市临江区青岩街道梧桐路村组号幢单元室三十1234-（）"), max_size=30),
)
registrations = st.builds(
    Registration,
    name=names,
    sex=st.sampled_from([None, "1", "2", "9", ""]),
    birth_date=st.one_of(st.none(), days),
    resident_number=st.one_of(numbers, olds),
    document_type=st.sampled_from([None, "", "01", "03", "06", "09", "99", "x"]),
    document_number=st.one_of(numbers, st.sampled_from(["E12345678", "h1234567801", "无"])),
    phone=st.one_of(st.none(), st.text("0123456789+- ", max_size=20), st.text(max_size=10)),
    address=addresses,
    institution=st.one_of(st.none(), st.text(max_size=5)),
    local_number=st.one_of(st.none(), st.text(max_size=10)),
)


def table_of(records: list[Registration]) -> pa.Table:
    rows = [asdict(record) for record in records]
    columns = {
        name: pa.array([row[name] for row in rows], pa.date32() if name == "birth_date" else pa.string())
        for name in TABLE_COLUMNS
    }
    return pa.table({"record": pa.array(range(len(rows)), pa.int64()), **columns})


@given(records=st.lists(registrations, max_size=8))
def test_columns_and_single_records_give_the_same_profile(records: list[Registration]):
    prepared = prepare(table_of(records))

    found = [{name: row[name] for name in PROFILE_COLUMNS} for row in prepared.to_pylist()]
    assert found == [prepare_one(record) for record in records]


@given(record=registrations)
def test_no_profile_tells_an_empty_text(record: Registration):
    assert "" not in prepare_one(record).values()


@given(record=registrations)
def test_what_is_compared_by_edits_is_ascii(record: Registration):
    profile = prepare_one(record)

    for column in (
        "name_code",
        "sound",
        "sound_turned",
        "sound_letters",
        "number_text",
        "birth_date",
        "phone",
    ):
        assert str(profile[column] or "").isascii()


@given(found=st.lists(names, max_size=10))
def test_names_in_columns_are_read_as_one_by_one(found: list[str | None]):
    columns = read_names(pa.array(found, pa.string()))

    assert [tuple(columns[name][row].as_py() for name in NAME_COLUMNS) for row in range(len(found))] == [
        read_name(name) for name in found
    ]


def test_a_table_may_lack_columns_and_tell_dates_as_texts():
    table = pa.table({"name": ["张三"], "birth_date": ["1990-03-12"]})

    row = prepare(table).to_pylist()[0]

    assert row["birth_date"] == "19900312"
    assert row["number"] is None


@pytest.mark.parametrize(
    ("one", "other", "column"),
    [
        ("張曉明", "张晓明", "name"),
        ("𠮷田", "吉田", "name"),
        ("\ue863明", "䶮明", "name"),
        ("艾合买提•玉素甫", "艾合买提．玉素甫", "name"),
        ("艾合买提·玉素甫", "艾合买提 玉素甫", "name"),
        ("张  三", "张三", "name"),
        ("张丽", "张莉", "tones"),
        ("曾国藩", "ZENG GUOFAN", "sound"),
        ("单雄信", "Shan Xiongxin", "sound"),
        ("吕布", "LYU BU", "sound"),
        ("张晓明", "Xiaoming ZHANG", "sound_letters"),
        ("Jürgen Müller", "MULLER JURGEN", "sound_letters"),
        ("艾合买提·玉素甫", "艾合买提", "sound_head"),
    ],
)
def test_one_name_in_two_forms_agrees(one: str, other: str, column: str):
    assert name_facts(one)[column] == name_facts(other)[column] is not None


def test_a_name_in_the_western_order_agrees_with_the_turned_sound():
    assert name_facts("Xiaoming ZHANG")["sound"] == name_facts("张晓明")["sound_turned"]


@pytest.mark.parametrize(
    "name", ["无名氏", "无名氏1", "未知", "不详", "张?明", "\ufffd", "12", " ", "新生儿"]
)
def test_a_name_that_says_it_is_unknown_tells_nothing(name: str):
    assert set(read_name(name)) == {None}


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("王丽之女", None),
        ("王丽女婴", None),
        ("王丽之大女", "1"),
        ("王丽之小子", "2"),
        ("王丽双胎之小", "2"),
        ("王丽之婴B", "2"),
        ("王丽之子(大)", "1"),
    ],
)
def test_a_newborn_is_read_as_the_mothers_child_and_has_no_name(name: str, order: str | None):
    facts = name_facts(name)

    assert (facts["newborn"], facts["mother"], facts["birth_order"], facts["name"]) == (
        "1",
        "王丽",
        order,
        None,
    )


def test_a_short_name_with_a_child_in_it_is_a_name():
    assert name_facts("王之子")["name"] == "王之子"


def test_the_mothers_number_on_a_childs_record_is_lent():
    number = resident(MOTHER_BORN, 2)

    child = prepare_one(Registration(name="王小", birth_date=CHILD_BORN, resident_number=number))

    assert (child["number"], child["lent_number"], child["number_state"]) == (None, number, "lent")
    assert child["birth_date"] == "20260203"


def test_a_wrong_digit_in_the_birth_date_lends_nothing():
    number = resident(MOTHER_BORN, 2)

    profile = prepare_one(Registration(birth_date=date(1960, 3, 12), resident_number=number))

    assert profile["number"] == number


def test_a_newborn_without_a_birth_date_does_not_take_the_mothers():
    profile = prepare_one(Registration(name="王丽之女", resident_number=resident(MOTHER_BORN, 2)))

    assert profile["birth_date"] is None
    assert profile["number"] is None


def test_a_number_of_fifteen_digits_says_that_it_has_no_check_digit():
    profile = prepare_one(Registration(resident_number="990101900312002"))

    assert profile["number"] == resident(MOTHER_BORN, 2)
    assert profile["number_state"] == "old"


def test_a_mistyped_number_is_kept_for_comparison_alone():
    wrong = resident(MOTHER_BORN, 2)[:-1] + ("1" if resident(MOTHER_BORN, 2)[-1] != "1" else "2")

    profile = prepare_one(Registration(resident_number=wrong))

    assert (profile["number"], profile["number_text"], profile["number_state"]) == (None, wrong, "faulty")


def test_sex_and_birth_date_come_from_the_own_number_where_they_are_not_told():
    profile = prepare_one(Registration(resident_number=resident(MOTHER_BORN, 2)))

    assert (profile["sex"], profile["birth_date"]) == ("2", "19900312")


def test_a_permit_loses_its_count_of_issues():
    profile = prepare_one(Registration(document_type="06", document_number="h9912345601"))

    assert profile["document"] == "06:H99123456"


FULL = "云海省澜州市临江区青岩街道梧桐路12号锦绣花园3幢2单元502室"


@pytest.mark.parametrize(
    ("address", "column"),
    [
        ("青岩街道梧桐路12号锦绣花园3-2-502", "flat"),
        ("锦绣花园3栋2单元502", "flat"),
        ("临江区青岩街道梧桐路十二号锦绣花园三幢二单元502室", "flat"),
        ("澜州市临江区青岩街道梧桐路12号", "house"),
        ("青岩街道梧桐路99号", "street"),
    ],
)
def test_a_shortened_address_agrees_as_far_as_it_goes(address: str, column: str):
    one = dict(zip(ADDRESS_COLUMNS, read_address(FULL), strict=True))
    other = dict(zip(ADDRESS_COLUMNS, read_address(address), strict=True))

    assert one[column] == other[column] is not None


def test_a_village_address_is_group_and_house():
    one = read_address("云海省澜州市青桥县双沙镇白河村三组12号")

    assert one == ("双沙镇", "白河村", "白河村3-12", "白河村3-12")


def test_a_registration_shows_nothing_of_itself():
    assert "张三" not in repr(Registration(name="张三"))
