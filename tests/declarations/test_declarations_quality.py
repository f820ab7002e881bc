"""What a pack declares about quality: read as written, bound by DuckDB, and refused where it is wrong."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kangshu.declarations import (
    DeclarationError,
    Dimension,
    Rule,
    Scope,
    Severity,
    check_rule,
    load_pack,
    measures_sql,
)
from kangshu.kernel.texts import Text

PACK = 'name = "t"\ntitle = "测试"\nedition = "1"\n'
INDEX = '[institution_type]\ntitle = "类别"\nedition = "1"\n'
CODES = "code,title,title_en,parent\nA,医院,Hospital,\nA100,综合医院,General,A\n"
VISIT = """[dataset]
name = "visit"
title = "就诊"
edition = "2026"
source = "test"
description = "d"
valid_from = 2026-01-01

[[field]]
name = "number"
title = "就诊号"
type = "string"

[[field]]
name = "cost"
title = "费用"
type = "decimal"
length = 10
scale = 2

[[field]]
name = "came"
title = "时间"
type = "datetime"

[[rule]]
id = "V1"
severity = "warning"
dimension = "consistency"
scope = "region"
fields = ["cost"]
applies = "cost > 0"
sql = "charges.rows = 0 or charges.total = cost and count(*) over (partition by number) = 1"
message = "费用不符"
edition = "2027"

[[rule.look]]
name = "charges"
dataset = "charge"
on = [["number", "visit"], ["_institution", "_institution"]]
where = "came >= here.came and _file is not null"

[rule.look.take]
total = "sum(amount)"
last = "max(came)"

[[rule]]
id = "V2"
severity = "warning"
dimension = "plausibility"
scope = "cell"
sql = "now.rows >= 0.5 * usual.rows or now.mean between peers.mean and last_year.mean"
suspects = "cost = 0"
message = "少"

[[measure]]
name = "mean"
title = "次均"
sql = "avg(cost)"

[[measure]]
name = "copied"
title = "雷同"
fingerprint = ["number", "cost::INTEGER"]
months_back = 2
"""
CHARGE = """[dataset]
name = "charge"
title = "收费"
edition = "1"
source = "test"
description = "d"
valid_from = 2026-01-01

[[field]]
name = "visit"
title = "就诊号"
type = "string"

[[field]]
name = "amount"
title = "金额"
type = "decimal"
length = 10
scale = 2

[[field]]
name = "came"
title = "时间"
type = "datetime"
"""
MONTHLY = """[dataset]
name = "institution_month"
title = "月报"
edition = "1"
source = "test"
description = "d"
valid_from = 2026-01-01

[[field]]
name = "visits"
title = "诊疗人次"
type = "integer"

[[field]]
name = "remark"
title = "备注"
type = "string"
"""
QUALITY = {
    "score": """[score]
other_datasets = 0.5
warning_weight = 0.25
[dimensions]
validity = 2
[datasets]
visit = 3
[[band]]
name = "good"
title = "好"
least = 90
[[band]]
name = "rest"
title = "其余"
least = 0
""",
    "expectations": """[[expectation]]
dataset = "visit"
types = ["A"]
due_days = 5
statistic = "visits"
""",
    "scorings": """[[scoring]]
name = "sheet"
title = "评分表"
dataset = "visit"
[[scoring.band]]
name = "top"
title = "优"
least = 95
[[scoring.group]]
title = "甲"
points = 6
[[scoring.group.item]]
title = "费用"
points = 4
fields = ["cost"]
rules = ["V1"]
[[scoring.group.item]]
title = "时间"
points = 4
fields = ["came"]
""",
    "indicators": """[[indicator]]
id = "Q1"
title = "费用"
dataset = "visit"
rules = ["V1"]
among = "cost > 0"
[[indicator]]
id = "Q2"
title = "优秀"
dataset = "visit"
scoring = "sheet"
band = "top"
[[indicator]]
id = "Q3"
title = "上传"
dataset = "visit"
reconciliation = "R1"
""",
    "emr": """[[item]]
id = "E1"
title = "就诊"
dataset = "visit"
required = "number is not null"
linkage = ["V1"]
""",
    "reconciliations": """[[reconciliation]]
id = "R1"
title = "对账"
relative = 0.01
message = "不符"
[reconciliation.left]
dataset = "visit"
title = "就诊"
value = "count(*)"
month = "came"
key = ["number"]
[reconciliation.right]
dataset = "charge"
title = "收费"
value = "count(DISTINCT visit)"
where = "amount > 0"
key = ["visit"]
""",
    "grades": """[[grade]]
name = "red"
title = "红"
score_below = 60
days = 5
""",
}

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_pack(visit: str = VISIT, **quality: str) -> Path:
        for folder in ("datasets", "codes", "quality"):
            (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / "pack.toml").write_text(PACK, encoding="utf-8")
        (tmp_path / "codes" / "index.toml").write_text(INDEX, encoding="utf-8")
        (tmp_path / "codes" / "institution_type.csv").write_text(CODES, encoding="utf-8")
        for name, text in {"visit": visit, "charge": CHARGE, "institution_month": MONTHLY}.items():
            (tmp_path / "datasets" / f"{name}.toml").write_text(text, encoding="utf-8")
        for name, text in (QUALITY | quality).items():
            (tmp_path / "quality" / f"{name}.toml").write_text(text, encoding="utf-8")
        return tmp_path

    return write_pack


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def test_a_rule_over_other_rows_is_read_as_written(write: Write):
    region, cell = load_pack(write()).datasets["visit"].rules

    (look,) = region.looks
    assert (region.scope, region.applies, region.edition) == (Scope.REGION, "cost > 0", "2027")
    assert (look.name, look.dataset) == ("charges", "charge")
    assert look.on == (("number", "visit"), ("_institution", "_institution"))
    assert look.take == (("total", "sum(amount)"), ("last", "max(came)"))
    assert look.looks_back
    assert look.line == line_of(VISIT, "[[rule.look]]")
    assert (cell.scope, cell.suspects, cell.looks) == (Scope.CELL, "cost = 0", ())


def test_measures_are_read_as_written_and_give_one_select_list(write: Write):
    visit = load_pack(write()).datasets["visit"]

    mean, copied = visit.measures
    assert (mean.name, mean.sql, mean.fingerprint) == ("mean", "avg(cost)", ())
    assert (copied.fingerprint, copied.months_back) == (("number", "cost::INTEGER"), 2)
    assert measures_sql(visit) == 'CAST(count(*) AS DOUBLE) AS "rows", CAST((avg(cost)) AS DOUBLE) AS "mean"'


def test_the_folder_of_quality_is_read_as_written(write: Write):
    quality = load_pack(write()).quality

    assert quality.score.dimensions == {"validity": 2}
    assert quality.score.datasets == {"visit": 3}
    assert (quality.score.other_datasets, quality.score.warning_weight) == (0.5, 0.25)
    assert [(band.name, band.least) for band in quality.score.bands] == [("good", 90), ("rest", 0)]
    (expected,) = quality.expectations
    assert (expected.types, expected.due_days, expected.late_days) == (("A",), 5, 30)
    (sheet,) = quality.scorings
    assert [(item.fields, item.rules) for item in sheet.groups[0].items] == [
        (("cost",), ("V1",)),
        (("came",), ()),
    ]
    assert [one.id for one in quality.indicators] == ["Q1", "Q2", "Q3"]
    assert quality.emr_items[0].linkage == ("V1",)
    (pair,) = quality.reconciliations
    assert (pair.left.month, pair.right.month, pair.right.where) == ("came", "_at", "amount > 0")
    assert (quality.grades[0].days, quality.grades[0].escalate_days) == (5, 5)


def test_a_pack_without_the_folder_has_the_defaults(write: Write):
    folder = write()
    for path in (folder / "quality").iterdir():
        path.unlink()

    quality = load_pack(folder).quality

    assert quality.score.other_datasets == 1.0
    assert not quality.grades


LOOK = "[[rule.look]]"
WRONG_VISIT = {
    "a look at a data set that is not there": ('dataset = "charge"', 'dataset = "bill"', LOOK),
    "a look without pairs": (
        'on = [["number", "visit"], ["_institution", "_institution"]]',
        "on = []",
        "on =",
    ),
    "a pair of three": ('["number", "visit"]', '["number", "visit", "came"]', "on ="),
    "a pair that is text": ('[["number", "visit"], ["_institution", "_institution"]]', '["number"]', "on ="),
    "a pair of unlike kinds": ('["number", "visit"]', '["number", "amount"]', LOOK),
    "an own expression over the other's field": ('["number", "visit"]', '["amount", "visit"]', LOOK),
    "a condition over an unknown field": ("came >= here.came", "at >= here.amount", LOOK),
    "a condition with an aggregate": ("came >= here.came", "came >= max(at)", LOOK),
    "a look with the name of a field": ('name = "charges"', 'name = "cost"', 'name = "cost"\ndataset'),
    "a look called here": ('name = "charges"', 'name = "here"', 'name = "here"'),
    "a figure with the name of a field": ('total = "sum', 'cost = "sum', 'cost = "sum'),
    "a figure called rows": ('total = "sum', 'rows = "sum', 'rows = "sum'),
    "a figure that is no aggregate": ('total = "sum(amount)"', 'total = "amount"', LOOK),
    "a figure with a window": ("sum(amount)", "sum(amount) over ()", LOOK),
    "an unknown key of a look": ("where = ", "were = ", "were = "),
    "a predicate over a figure that is not taken": ("charges.total = cost", "charges.mean = cost", "sql = "),
    "a predicate that folds the rows": ("count(*) over (partition by number)", "count(*)", "sql = "),
    "a predicate with a subquery": ("charges.rows = 0", "cost in (select amount from charge)", "sql = "),
    "a predicate that ends early": ("charges.rows = 0", "true), (true", "sql = "),
    "a predicate of two statements": ("charges.rows = 0", "true); SELECT (true", "sql = "),
    "a predicate that reads the clock": ("charges.rows = 0", "came < now()", "sql = "),
    "a predicate that reads today": ("charges.rows = 0", "came < current_date", "sql = "),
    "a predicate that draws lots": ("charges.rows = 0", "random() > 0.5", "sql = "),
    "a predicate that fails on purpose": ("charges.rows = 0", "error(number) is null", "sql = "),
    "an applies with a window": ('"cost > 0"', '"count(*) over () > 1"', "sql = "),
    "an applies over an unknown field": ('"cost > 0"', '"price > 0"', "sql = "),
    "a look of a rule about rows": ('scope = "region"\n', "", LOOK),
    "suspects of a rule over the region": ("edition =", 'suspects = "true"\nedition =', "suspects = "),
    "a rule about cells with a view that is none": ("peers.mean", "pears.mean", "sql = "),
    "a rule about cells with a measure that is none": ("peers.mean", "peers.median", "sql = "),
    "a rule about cells with a bare figure": ("now.mean between", "mean between", "sql = "),
    "suspects over a figure": ('"cost = 0"', '"now.rows = 0"', "sql = "),
    "a measure that is no number": ('"avg(cost)"', '"max(number)"', "[[measure]]"),
    "a measure that is no aggregate": ('"avg(cost)"', '"cost"', "[[measure]]"),
    "a measure twice": ('name = "copied"', 'name = "mean"', 'name = "mean"\ntitle = "雷同"'),
    "a measure called rows": ('name = "mean"', 'name = "rows"', 'name = "rows"'),
    "a measure of both kinds": ('fingerprint = ["', 'sql = "count(*)"\nfingerprint = ["', 'name = "copied"'),
    "a fingerprint over an unknown field": ('["number", "cost::INTEGER"]', '["name"]', "[[measure]]"),
    "a fingerprint of next month": ("months_back = 2", "months_back = 0", "months_back"),
}


@pytest.mark.parametrize("what", WRONG_VISIT)
def test_a_wrong_rule_or_measure_is_refused_where_it_stands(write: Write, what: str):
    right, wrong, marker = WRONG_VISIT[what]
    assert right in VISIT
    text = VISIT.replace(right, wrong, 1)

    with pytest.raises(DeclarationError) as refused:
        load_pack(write(text))

    lines = [number for number, line in enumerate(text.splitlines(), start=1) if line.startswith(marker)]
    assert refused.value.path.name == "visit.toml"
    assert refused.value.line in (lines or [line_of(text, marker)])
    assert refused.value.text.zh
    assert refused.value.text.en


WRONG_QUALITY = {
    "a dimension that is none": ("score", "validity = 2", "beauty = 2", "beauty"),
    "a negative weight": ("score", "validity = 2", "validity = -2", "validity"),
    "no weight at all": ("score", "validity = 2", "validity = 0", "[dimensions]"),
    "warnings that weigh more than errors": ("score", "= 0.25", "= 1.25", "warning_weight"),
    "bands in the wrong order": ("score", "least = 0", "least = 95", "least = 95"),
    "a weight of an unknown data set": ("score", "visit = 3", "visits = 3", "visits"),
    "an unknown section": ("score", "[datasets]", "[dataset]", "[dataset]"),
    "an expected data set that is not there": ("expectations", '"visit"', '"visitor"', "dataset"),
    "a type of institution that is none": ("expectations", '["A"]', '["Q"]', "types"),
    "a statistic that is text": ("expectations", '"visits"', '"remark"', "statistic"),
    "a day before the month ends": ("expectations", "due_days = 5", "due_days = -5", "due_days"),
    "a misspelt key": ("expectations", "due_days", "dew_days", "dew_days"),
    "an item over an unknown rule": ("scorings", '["V1"]', '["V9"]', "rules"),
    "an item over an unknown field": ("scorings", '["cost"]', '["price"]', "fields"),
    "an item over nothing": ("scorings", 'fields = ["came"]', "", 'title = "时间"'),
    "an item of no points": ("scorings", "points = 4", "points = 0", "points = 0"),
    "a sheet of an unknown data set": ("scorings", 'dataset = "visit"', 'dataset = "stay"', "dataset"),
    "an indicator in two ways": ("indicators", 'rules = ["V1"]', 'rules = ["V1"]\nscoring = "sheet"', "id ="),
    "an indicator in no way": ("indicators", 'rules = ["V1"]', "", "id ="),
    "an indicator of an unknown band": ("indicators", 'band = "top"', 'band = "tip"', "band"),
    "an indicator of an unknown sheet": ("indicators", '"sheet"', '"sheep"', "scoring"),
    "an indicator among unknown rows": ("indicators", '"cost > 0"', '"price > 0"', "among"),
    "an indicator of an unknown figure": ("indicators", '"R1"', '"R2"', "reconciliation"),
    "an item of nothing": ("emr", 'required = "number is not null"\nlinkage = ["V1"]', "", "id ="),
    "an item that does not bind": ("emr", "number is", "numbers is", "[[item]]"),
    "a side that is missing": (
        "reconciliations",
        "[reconciliation.right]",
        "[reconciliation.write]",
        "[[rec",
    ),
    "a side that is no figure": ("reconciliations", '"count(*)"', '"number"', "[[reconciliation]]"),
    "a month that is no day": ("reconciliations", 'month = "came"', 'month = "number"', "[[reconciliation]]"),
    "keys of unlike length": ("reconciliations", '["visit"]', '["visit", "came"]', "id ="),
    "keys of unlike kinds": ("reconciliations", '["visit"]', '["amount"]', "[[reconciliation]]"),
    "a tolerance over one": ("reconciliations", "relative = 0.01", "relative = 1.01", "relative"),
    "a grade that never applies": ("grades", "score_below = 60\n", "", "name"),
    "a share over one": ("grades", "score_below = 60", "share_at_least = 20", "share_at_least"),
}


@pytest.mark.parametrize("what", WRONG_QUALITY)
def test_wrong_settings_of_quality_are_refused_where_they_stand(write: Write, what: str):
    file, right, wrong, marker = WRONG_QUALITY[what]
    assert right in QUALITY[file]
    text = QUALITY[file].replace(right, wrong, 1)

    with pytest.raises(DeclarationError) as refused:
        load_pack(write(**{file: text}))

    lines = [number for number, line in enumerate(text.splitlines(), start=1) if line.startswith(marker)]
    assert refused.value.path.name == f"{file}.toml"
    assert refused.value.line in lines


def test_a_file_that_nobody_reads_is_refused(write: Write):
    folder = write()
    (folder / "quality" / "grade.toml").write_text("", encoding="utf-8")

    with pytest.raises(DeclarationError, match=r"grade\.toml:1"):
        load_pack(folder)


def test_a_rule_can_be_checked_by_itself_before_it_is_declared(write: Write):
    pack = load_pack(write())
    good = Rule(
        id="T1",
        severity=Severity.WARNING,
        dimension=Dimension.VALIDITY,
        scope=Scope.REGION,
        fields=(),
        message=Text(zh="", en=""),
        sql="cost > 0 and _person is not null",
        line=3,
    )

    check_rule(pack, dataset=pack.datasets["visit"], rule=good)
    with pytest.raises(DeclarationError, match="price"):
        check_rule(pack, dataset=pack.datasets["visit"], rule=replace(good, sql="price > 0"))


@given(sql=st.text(max_size=80))
def test_whatever_is_written_as_a_predicate_binds_or_is_refused(sql: str):
    pack = load_pack()
    rule = next(one for one in pack.datasets["resident"].rules if one.id == "RS007")

    try:
        check_rule(pack, dataset=pack.datasets["resident"], rule=replace(rule, sql=sql))
    except DeclarationError:
        return
