"""The FHIR mapping of a data set: read as written, and refused where it is wrong."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kangshu.declarations import DeclarationError, FhirTest, load_pack
from kangshu.declarations.paths import Filter, PathError, Step, fill_system, parse_path
from kangshu.declarations.reference import reference_pages

PACK = 'name = "t"\ntitle = "测试"\nedition = "1"\n'
INDEX = '[yes_no]\ntitle = "是否"\nedition = "1"\n'
CODES = "code,title,title_en,parent\n1,是,yes,\n2,否,no,\n"
SETTINGS = """zone = "+08:00"
[systems]
visit = "urn:kangshu:institution:{institution}:visit"
[[codes]]
name = "yes_no"
[codes.pairs]
1 = "Y"
2 = "N"
[codes.also]
y = "1"
"""
DATASET = """[dataset]
name = "visit"
title = "就诊"
edition = "1"
source = "test"
description = "d"
valid_from = 2026-01-01

[[field]]
name = "number"
title = "就诊号"
type = "string"
obligation = "required"

[[field]]
name = "urgent"
title = "是否急诊"
type = "string"
value_set = "yes_no"

[[field]]
name = "cost"
title = "费用"
type = "decimal"
length = 10
scale = 2

[[field]]
name = "codes"
title = "诊断"
type = "string"
repeat = 3

[[fhir]]
type = "Encounter"
when = ["class.code in AMB EMER"]
withdrawn = ["status in cancelled"]
constants = ["status = finished", "class.code = AMB"]
one_of = ["number"]

[fhir.fields]
number = ["identifier[system=$visit].value", "? identifier[].value"]
urgent = "priority.coding[].code | codes yes_no"
cost = "extension[url=urn:x].valueMoney | money CNY"

[[fhir]]
type = "Condition"
referred = "diagnosis[].condition"
refers = "encounter"
each = true
when = ["category exists"]

[fhir.fields]
codes = "code.coding[].code"
"""


@pytest.fixture
def write(tmp_path: Path):
    def write_pack(dataset: str = DATASET, settings: str = SETTINGS) -> Path:
        (tmp_path / "datasets").mkdir(exist_ok=True)
        (tmp_path / "codes").mkdir(exist_ok=True)
        (tmp_path / "pack.toml").write_text(PACK, encoding="utf-8")
        (tmp_path / "fhir.toml").write_text(settings, encoding="utf-8")
        (tmp_path / "codes" / "index.toml").write_text(INDEX, encoding="utf-8")
        (tmp_path / "codes" / "yes_no.csv").write_text(CODES, encoding="utf-8")
        (tmp_path / "datasets" / "visit.toml").write_text(dataset, encoding="utf-8")
        return tmp_path

    return write_pack


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def test_a_mapping_is_read_as_it_is_written(write):
    pack = load_pack(write())

    encounter, condition = pack.datasets["visit"].fhir
    number = encounter.fields[0]
    assert (encounter.type, encounter.name, encounter.parent) == ("Encounter", "encounter", None)
    assert [one.test for one in encounter.when] == [FhirTest.IN]
    assert encounter.when[0].values == {"AMB", "EMER"}
    assert [(term.reads, term.writes) for term in number.terms] == [(True, True), (True, False)]
    assert number.terms[0].path == (
        Step("identifier", many=True, where=(Filter((Step("system"),), pack.fhir.systems["visit"]),)),
        Step("value"),
    )
    assert (condition.parent, condition.each) == ("encounter", True)
    assert condition.refers == (Step("encounter"),)
    assert pack.fhir.codes["yes_no"].also == {"y": "1"}


def test_a_pack_without_settings_has_the_zone_of_china(write):
    folder = write(DATASET.split("[[fhir]]")[0])
    (folder / "fhir.toml").unlink()

    assert load_pack(folder).fhir.zone == "+08:00"


@pytest.mark.parametrize(
    ("right", "wrong", "marker"),
    [
        ('type = "Encounter"', 'type = "Visit"', 'type = "Visit"'),
        ('number = ["identifier', 'numbers = ["identifier', "numbers ="),
        ("identifier[system=$visit].value", "identifier[system=$vist].value", "number = ["),
        ("identifier[system=$visit].value", "identifier[system=$visit.value", "number = ["),
        ("identifier[system=$visit].value", "identifier..value", "number = ["),
        ("identifier[system=$visit].value", "identifier[system={person}].value", "number = ["),
        ("| codes yes_no", "| codes yes", "urgent ="),
        ("| codes yes_no", "| code yes_no", "urgent ="),
        ("| codes yes_no", "| codes", "urgent ="),
        ("| codes yes_no", "| given nobody", "urgent ="),
        ("| money CNY", "| position", "cost ="),
        ("| money CNY", "| codes yes_no", "cost ="),
        ("class.code in AMB EMER", "class.code is AMB", "when = ["),
        ("class.code in AMB EMER", "class.code in", "when = ["),
        ("category exists", "category exists always", 'when = ["category'),
        ("category exists", "evidence[detail.reference={self}].code exists", 'when = ["evidence'),
        ("class.code = AMB", "class.code AMB", "constants = ["),
        ("class.code = AMB", "class.code := maybe", "constants = ["),
        ('one_of = ["number"]', 'one_of = ["nobody"]', "one_of"),
        ('one_of = ["number"]', 'referred = "x"', 'type = "Encounter"'),
        ('referred = "diagnosis[].condition"\nrefers = "encounter"\n', "", 'type = "Condition"'),
        ("each = true\n", "", "codes = "),
        ("each = true\n", 'each = true\nwithdrawn = ["status in x"]\n', 'withdrawn = ["status in x"]'),
        ("each = true\n", 'each = true\nparent = "nobody"\n', 'parent = "nobody"'),
        ("each = true\n", 'each = true\nname = "encounter"\n', 'name = "encounter"'),
        ("each = true\n", "each = true\nmany = true\n", "many = true"),
        ('codes = "code.coding[].code"', 'codes = "? | given number"', "codes = "),
        ('codes = "code.coding[].code"', "codes = []", "codes = "),
    ],
)
def test_a_wrong_mapping_is_refused_where_it_stands(write, right, wrong, marker):
    assert right in DATASET
    text = DATASET.replace(right, wrong, 1)

    with pytest.raises(DeclarationError) as caught:
        load_pack(write(text))

    assert caught.value.path.name == "visit.toml"
    assert caught.value.line == line_of(text, marker)


@pytest.mark.parametrize(
    ("right", "wrong", "marker"),
    [
        ('zone = "+08:00"', 'zone = "Beijing"', "zone ="),
        ("{institution}:visit", "{sender}:visit", "visit ="),
        ('name = "yes_no"', "name = 1", "name = 1"),
        ('1 = "Y"', "1 = 1", "1 = 1"),
    ],
)
def test_wrong_settings_are_refused_where_they_stand(write, right, wrong, marker):
    text = SETTINGS.replace(right, wrong, 1)

    with pytest.raises(DeclarationError) as caught:
        load_pack(write(settings=text))

    assert caught.value.path.name == "fhir.toml"
    assert caught.value.line == line_of(text, marker)


def test_two_code_maps_of_one_name_are_refused(write):
    with pytest.raises(DeclarationError):
        load_pack(write(settings=SETTINGS + '[[codes]]\nname = "yes_no"\n'))


def test_nothing_is_linked_under_resources_of_which_there_are_several(write):
    more = '\n[[fhir]]\ntype = "Observation"\nparent = "condition"\nrefers = "focus[]"\n'

    with pytest.raises(DeclarationError):
        load_pack(write(DATASET + more))


def test_what_is_linked_with_the_patient_refers_to_it(write):
    more = '\n[[fhir]]\ntype = "RelatedPerson"\nparent = "patient"\nreferred = "link[]"\n'

    with pytest.raises(DeclarationError):
        load_pack(write(DATASET + more))


@given(text=st.text(max_size=60))
def test_whatever_is_written_as_a_path_is_read_or_refused(text):
    try:
        steps = parse_path(text, systems={})
    except PathError:
        return

    assert steps
    assert parse_path(text, systems={}) == steps


def test_a_system_may_be_the_start_of_a_longer_one():
    assert fill_system("$a:b", systems={"a": "urn:x"}) == "urn:x:b"


def test_the_reference_page_shows_where_each_field_lies(write):
    pages = reference_pages(load_pack(write()))

    page = pages["datasets/visit.md"]
    assert "### Encounter · `encounter`" in page
    assert "| `number` | 就诊号 | `identifier[system=$visit].value`<br>`? identifier[].value` |" in page
    assert "| `codes` | 诊断 | `code.coding[].code` |" in page
    assert "Encounter" in pages["datasets/README.md"]
