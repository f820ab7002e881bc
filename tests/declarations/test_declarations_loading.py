"""Declarations: the built-in pack is right, and a wrong one is refused where it is wrong."""

from pathlib import Path

import pytest

from kangshu.declarations import DeclarationError, Obligation, Role, load_pack

PACK = 'name = "t"\ntitle = "测试"\nedition = "1"\n'
INDEX = '[yes_no]\ntitle = "是否"\nedition = "1"\n'
CODES = "code,title,title_en,parent\n1,是,yes,\n2,否,no,\n"
HEAD = """[dataset]
name = "visit"
title = "就诊"
edition = "1"
source = "test"
description = "d"
valid_from = 2026-01-01
"""
FIELD = """
[[field]]
name = "amount"
title = "金额"
type = "decimal"
length = 10
scale = 2
"""
RULE = """
[[rule]]
id = "V1"
severity = "error"
dimension = "validity"
fields = ["amount"]
sql = "amount >= 0"
message = "不得为负"
"""


@pytest.fixture
def write(tmp_path: Path):
    def write_pack(dataset: str, *, codes: str = CODES, functions: str = "") -> Path:
        (tmp_path / "datasets").mkdir(exist_ok=True)
        (tmp_path / "codes").mkdir(exist_ok=True)
        (tmp_path / "pack.toml").write_text(PACK, encoding="utf-8")
        (tmp_path / "codes" / "index.toml").write_text(INDEX, encoding="utf-8")
        (tmp_path / "codes" / "yes_no.csv").write_text(codes, encoding="utf-8")
        (tmp_path / "functions.sql").write_text(functions, encoding="utf-8")
        (tmp_path / "datasets" / "visit.toml").write_text(dataset, encoding="utf-8")
        return tmp_path

    return write_pack


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def test_a_right_declaration_is_loaded(write):
    pack = load_pack(write(HEAD + FIELD + RULE))

    assert pack.datasets["visit"].field("amount").obligation is Obligation.OPTIONAL
    assert pack.datasets["visit"].rules[0].message.zh == "不得为负"


WRONG = {
    "a key that nobody knows": (FIELD.replace("length", "lenght"), "lenght"),
    "an unknown type": (FIELD.replace('"decimal"', '"money"'), "type ="),
    "a length that is no number": (FIELD.replace("= 10", '= "10"'), "length ="),
    "a decimal without scale": (FIELD.replace("scale = 2\n", ""), "type ="),
    "a name in capitals": (FIELD.replace('"amount"', '"Amount"'), "name = "),
    "a code table that is not there": (FIELD + 'value_set = "nowhere"\n', "value_set"),
    "a field twice": (FIELD + FIELD.replace("\n[[field]]", "\n[[field]] # again"), "[[field]] # again"),
    "an unknown role": (FIELD + 'role = "king"\n', "role ="),
    "a pattern that is none": (FIELD + 'pattern = "("\n', "pattern ="),
    "a rule over a field that is not there": (FIELD + RULE.replace('["amount"]', '["sum"]'), "fields ="),
    "a rule whose SQL names no field": (FIELD + RULE.replace("amount >= 0", "amont >= 0"), "sql ="),
    "a rule whose SQL is no SQL": (FIELD + RULE.replace("amount >= 0", "amount >="), "sql ="),
    "a rule that is no predicate": (FIELD + RULE.replace("amount >= 0", "DATE '2026-01-01'"), "sql ="),
    "a rule with neither sql nor unique": (FIELD + RULE.replace('sql = "amount >= 0"\n', ""), "id ="),
    "a rule twice": (FIELD + RULE + RULE.replace("sql =", "sql  ="), "sql  ="),
    "not TOML": (FIELD + "length = = 3\n", "length = = 3"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_declaration_is_refused_with_file_and_line(write, what: str):
    body, culprit = WRONG[what]
    text = HEAD + body
    expected = text.rindex(culprit) if what == "a rule twice" else text.index(culprit, len(HEAD))

    with pytest.raises(DeclarationError) as refused:
        load_pack(write(text))

    assert refused.value.path.name == "visit.toml"
    assert refused.value.line == text[:expected].count("\n") + 1
    assert refused.value.text.zh
    assert refused.value.text.en


def test_a_code_twice_in_a_table_is_refused_with_its_line(write):
    with pytest.raises(DeclarationError) as refused:
        load_pack(write(HEAD + FIELD, codes=CODES + "1,又是,again,\n"))

    assert refused.value.path.name == "yes_no.csv"
    assert refused.value.line == 4


def test_a_name_that_differs_from_the_file_is_refused(write):
    with pytest.raises(DeclarationError, match=r"visit\.toml:2"):
        load_pack(write(HEAD.replace('"visit"', '"visits"') + FIELD))


def test_functions_that_are_no_sql_are_refused(write):
    with pytest.raises(DeclarationError, match=r"functions\.sql:1"):
        load_pack(write(HEAD + FIELD, functions="CREATE MACRO oops("))


def test_the_built_in_pack_declares_what_a_region_sends():
    pack = load_pack()

    wanted = {"resident", "outpatient_visit", "front_page", "diagnosis", "prescription_item", "lab_report"}
    wanted |= {"lab_result", "exam_report", "operation", "charge_item", "birth", "death", "immunization"}
    wanted |= {"institution", "division"}
    assert wanted <= set(pack.datasets)
    assert len(pack.datasets["front_page"].fields) == 135
    assert all(pack.datasets[name].with_role(Role.NAME) for name in ("front_page", "resident", "lab_result"))
