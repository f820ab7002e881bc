"""Wrong declarations of the document mapping are refused where they are wrong; a centre's own ones work."""

import shutil

import pytest
from cda_documents import BASE, INPATIENT, coded, document, mapped, observation, one, resources, section

from kangshu.declarations import DeclarationError
from kangshu.mapping import load_authorities
from kangshu.mapping.cda import load_cda

AUTHORITIES = load_authorities(BASE / "authorities.toml")


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(BASE / "cda", tmp_path / "cda")


def load(folder):
    return load_cda(folder, authorities=AUTHORITIES)


def change(folder, file, old, new):
    path = folder / file
    content = path.read_text(encoding="utf-8")
    assert old in content
    path.write_text(content.replace(old, new, 1), encoding="utf-8")
    return content[: content.index(old)].count("\n") + 1


WRONG = [
    ("numbers.toml", 'meaning = "person"', 'meaning = "passport"'),
    ("numbers.toml", 'root = "2.16.156.10011.1.19"', 'root = "resident"'),
    ("numbers.toml", 'visit = "AMB"', 'visit = "XXX"'),
    ("numbers.toml", 'zone = "+08:00"', 'zone = "CST"'),
    ("codes.toml", 'shape = "C\\\\d{4}"', 'shape = "C(\\\\d{4}"'),
    ("codes.toml", 'oids = ["2.16.156.10011.2.4"]', 'oids = ["wst500"]'),
    ("documents.toml", 'code = "C0002"', 'code = "C0001"'),
    ("documents.toml", 'report = "laboratory"', 'report = "labor"'),
    ("documents.toml", 'system = "wst500"', 'system = "wst501"'),
    ("rules_wst500.toml", 'systems = ["icd10"]', 'systems = ["icd11"]'),
    ("rules_wst500.toml", 'becomes = "allergy-flag"', 'becomes = "allergies"'),
    ("rules_wst500.toml", 'members = ["systolic", "diastolic"]', 'members = ["systolic", "diastole"]'),
    ("rules_wst500.toml", 'name = "diagnosis-death"', 'name = "diagnosis"'),
    ("rules_wst500.toml", 'not_sections = ["57075-4"]', 'unsections = ["57075-4"]'),
]


@pytest.mark.parametrize(("file", "old", "new"), WRONG)
def test_a_wrong_value_is_refused_with_file_and_line(folder, file, old, new):
    line = change(folder, file, old, new)

    with pytest.raises(DeclarationError) as caught:
        load(folder)

    assert caught.value.path == folder / file
    assert caught.value.line == line


def test_a_missing_file_is_refused(folder):
    (folder / "codes.toml").unlink()

    with pytest.raises(DeclarationError) as caught:
        load(folder)

    assert caught.value.path == folder / "codes.toml"


@pytest.mark.parametrize(
    "rule",
    [
        '[[rule]]\nname = "x"\nbecomes = "condition"\n',
        '[[rule]]\nname = "x"\nbecomes = "components"\nkinds = ["organizer"]\n',
        '[[rule]]\nname = "x"\nbecomes = "condition"\ncodes = ["A"]\n[rule.parts]\nunit = ["B"]\n',
        '[[rule]]\nname = "x"\nbecomes = "condition"\ncodes = ["A"]\nparts = 3\n',
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(folder, rule):
    (folder / "rules_centre.toml").write_text(rule, encoding="utf-8")

    with pytest.raises(DeclarationError) as caught:
        load(folder)

    assert caught.value.path.name == "rules_centre.toml"


def test_a_centre_adds_its_own_class_number_and_rule(folder):
    with (folder / "documents.toml").open("a", encoding="utf-8") as file:
        file.write('\n[[document]]\nsystem = "wst500"\ncode = "C9901"\ntitle = "随访记录"\nvisit = "AMB"\n')
    with (folder / "numbers.toml").open("a", encoding="utf-8") as file:
        file.write('\n[[number]]\nroot = "1.2.156.999.1"\nmeaning = "patient"\ntype = "PI"\n')
    (folder / "rules_centre.toml").write_text(
        '[[rule]]\nname = "pain"\nbecomes = "observation"\ncodes = ["DE99.00.001.00"]\nsystems = ["sex"]\n',
        encoding="utf-8",
    )
    pain = observation(
        "DE99.00.001.00", coded("3", "中度", system="2.16.156.10011.2.3.3.4"), title="疼痛程度"
    )
    data = document(section(pain), code="C9901", ids=INPATIENT + '<id root="1.2.156.999.1" extension="P-7"/>')

    before, after = mapped(data), mapped(data, mapping=load(folder))

    assert resources(before, "Observation") == []
    assert one(after, "Observation")["valueCodeableConcept"]["text"] == "中度"
    assert one(after, "Patient")["identifier"][0]["value"] == "P-7"
    assert one(after, "DocumentReference")["type"]["coding"][0]["display"] == "随访记录"


def test_entries_beyond_the_limit_are_noted_and_those_before_it_are_mapped(folder):
    change(folder, "numbers.toml", "most_entries = 20000", "most_entries = 3")
    diagnosis = observation("DE05.01.024.00", coded("I10.x00", "高血压"))

    result = mapped(document(section(*[diagnosis] * 5)), mapping=load(folder))

    assert len(resources(result, "Condition")) == 3
    assert [note.text.zh for note in result.notes] == ["条目超过 3 个，其余未映射"]
