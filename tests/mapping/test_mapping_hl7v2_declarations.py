"""How HL7 v2 declarations are read, extended and refused. All people in these tests are synthetic."""

from pathlib import Path

import pytest
from hl7v2_messages import AUTHORITIES, make_id, written

from kangshu.declarations import BASE_PACK, DeclarationError
from kangshu.mapping.hl7v2 import load_hl7v2
from kangshu.standards import hl7v2

ROW = '{ field = "PID-5", fhir = "name[]", map = "XPN[HumanName]" }'


def pack(folder: Path, **files: str) -> Path:
    """Return a folder with the files given as name and content."""
    for name, content in files.items():
        (folder / f"{name}.toml").write_text(content, encoding="utf-8")
    return folder


def alone(folder: Path, rows: str, **more: str) -> Path:
    """Return a folder that stands alone with one segment map of `rows`."""
    text = f'[settings]\n[[segment]]\nname = "PID[Patient]"\nrows = [\n{rows},\n]\n'
    return pack(folder, own=text, **more)


def refusal(folder: Path) -> DeclarationError:
    with pytest.raises(DeclarationError) as caught:
        load_hl7v2(folder, authorities=AUTHORITIES)
    return caught.value


def test_a_centre_adds_a_segment_with_a_file(tmp_path):
    own = """
[[segment]]
name = "ZPI[Patient]"
into = "current"
ignore = ["ZPI-1"]
rows = [
  { field = "ZPI-2", fhir = "extension(urn:example:employer).valueString" },
  { field = "ZPI-3", fhir = "extension(urn:x:c).valueIdentifier", map = "EI[Identifier]", numbers = "c" },
]

[[use]]
messages = ["ADT"]
map = "ZPI[Patient]"
"""
    mapping = load_hl7v2(pack(tmp_path, zpi=own), authorities=AUTHORITIES)
    message = hl7v2.parse(written("ADT^A01", "PID|||P1||张三", "ZPI|1|某某厂|C9"))
    result = mapping.apply(message, sender="H0001", make_id=make_id)

    assert result.notes == ()
    assert result.drafts[0].resource["extension"] == [
        {"url": "urn:example:employer", "valueString": "某某厂"},
        {
            "url": "urn:x:c",
            "valueIdentifier": {"value": "C9", "system": "urn:kangshu:institution:H0001:c"},
        },
    ]


def test_a_centre_puts_its_own_map_in_the_place_of_a_built_in_one(tmp_path):
    own = """
[[table]]
name = "AdministrativeSex"
codes = [ { from = ["男生"], code = "male" } ]
"""
    mapping = load_hl7v2(pack(tmp_path, sex=own), authorities=AUTHORITIES)
    message = hl7v2.parse(written("ADT^A01", "PID|||P1||张三|||男生"))

    assert mapping.apply(message, sender="H", make_id=make_id).drafts[0].resource["gender"] == "male"


def test_an_empty_folder_is_the_built_in_mapping(tmp_path):
    mapping = load_hl7v2(tmp_path, authorities=AUTHORITIES)
    message = hl7v2.parse(written("ADT^A01", "PID|||P1||张三"))

    assert mapping.apply(message, sender="H", make_id=make_id).drafts


@pytest.mark.parametrize(
    "row",
    [
        '{ field = "PID-5", fhir = "name[]", map = "XPN[Nothing]" }',
        '{ field = "PID-8", fhir = "gender", table = "Nothing" }',
        '{ field = "PID-5", fhir = "name[", map = "ST[string]" }',
        '{ field = "PID-5", fhir = "name[]", mapp = "XPN[HumanName]" }',
        '{ field = "PID-5", fhir = "nom[]" }',
        '{ field = "PID-5", fhir = "name" }',
        '{ field = "PID-5", fhir = "name[].famili" }',
        '{ field = "PID-7", fhir = "birthDate[]" }',
        '{ field = "PID-7", fhir = "contact[+].period.begin" }',
        '{ field = "PID-5", fhir = "gender", if = "IF PID-5 VALUD" }',
        '{ field = "PID-5", fhir = "gender", if = "IF PID-5 EQUALS" }',
        '{ field = "PID-5", fhir = "gender", if = "IF (PID-5 VALUED" }',
        '{ field = "PID-5", fhir = "gender", if = "IF name VALUED" }',
        """{ field = "PID-5", fhir = "gender", if = 'IF PID-5 MATCHES "["' }""",
        '{ field = "PID", fhir = "gender" }',
        '{ field = "5", fhir = "gender" }',
        '{ fhir = "gender" }',
        '{ field = "PID-5" }',
        '{ fhir = "generalPractitioner[]", reference = "Nobody" }',
        '{ fhir = "gender", value = "x", reference = "Patient" }',
        '{ field = "PID-5", fhir = 5 }',
        '{ field = "PID-8", fhir = "gender", map = "ID[CodeableConcept]" }',
        '{ field = "PID-8", fhir = "gender", units = "OBX-6", map = "NM[Quantity]" }',
    ],
)
def test_a_wrong_row_is_refused_with_its_line(tmp_path, row):
    types = (BASE_PACK / "hl7v2" / "datatypes.toml").read_text(encoding="utf-8")
    tables = (BASE_PACK / "hl7v2" / "tables.toml").read_text(encoding="utf-8")
    folder = alone(tmp_path, f"{ROW},\n{row}", datatypes=types, tables=tables)

    error = refusal(folder)

    assert (error.path.name, error.line) == ("own.toml", 6)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[[segment]]\nname = "PID"\nrows = []', 2),
        ('[[segment]]\nname = "PID[Nothing]"\nrows = []', 1),
        ('[[segment]]\nname = "PID[Patient]"\ninto = "old"\nrows = []', 3),
        ('[[segment]]\nname = "PID[Patient]"\nrows = 5', 3),
        ('[[segment]]\nname = "PID[Patient]"\nrow = []\nrows = []', 3),
        ('[[segment]]\nname = "PID[Patient]"\nkey = ["name"]\nrows = []', 1),
        ('[[segment]]\nname = "PID[Patient]"\nkey = ["@Nothing"]\nrows = []', 1),
        ('[[segment]]\nname = "PID[Patient]"\nneeds = ["PV1-3"]\nrows = []', 1),
        ('[[segment]]\nname = "PID[Patient]"\nfinish = ["nothing"]\nrows = []', 1),
        ('[[segment]]\nname = "PID[Patient]"\nrows = []\n[[segment]]\nname = "PID[Patient]"\nrows = []', 4),
        ('[[message]]\nname = "A"\nevents = ["A^B"]\nsegments = [\n{ map = "PID[Patient]" },\n]', 5),
        ('[[message]]\nname = "A"\nevents = ["A^B"]\nmerge = "PV1"\nsegments = []', 4),
        ('[[message]]\nname = "A"\nevents = ["A^B"]\npatient = "maybe"\nsegments = []', 4),
        ('[[message]]\nname = "A"\nevents = ["A^B"]\n[[message]]\nname = "B"\nevents = ["A^B"]', 4),
        ('[[datatype]]\nname = "A[b]"\nsame_as = "A[b]"', 1),
        ('[[datatype]]\nname = "AB[b]"\nrows = [\n{ field = "CX.1", fhir = "value" },\n]', 4),
        ('[[table]]\nname = "T"\ncodes = [\n{ from = "x" },\n]', 4),
        ('[[table]]\nname = "T"\nlike = "U"', 3),
        ('[[use]]\nmessages = ["Nothing"]\nmap = "PID[Patient]"', 1),
        ("[nothing]\nx = 1", 1),
        ('[settings]\nzone = "Asia/Shanghai"', 2),
        ("[[segment]\n", 1),
    ],
)
def test_a_wrong_declaration_is_refused_with_file_line_and_reason(tmp_path, text, line):
    folder = pack(tmp_path, own=text if "[settings]" in text else f"{text}\n[settings]\n")

    error = refusal(folder)

    assert (error.path.name, error.line) == ("own.toml", line)
    assert error.text.zh
    assert error.text.en


def test_zone_and_systems_are_settings(tmp_path):
    text = """
[settings]
zone = "+06:00"
local_codes = "urn:example:{sender}"

[[segment]]
name = "PV1[Encounter]"
rows = [
  { field = "PV1-44", fhir = "period.start", map = "DTM[dateTime]" },
  { field = "PV1-4", fhir = "type[]", map = "CWE[CodeableConcept]" },
]

[[message]]
name = "any"
events = ["*"]
patient = "none"
segments = [ { map = "PV1[Encounter]" } ]
"""
    mapping = load_hl7v2(pack(tmp_path, own=text), authorities=AUTHORITIES)
    message = hl7v2.parse(written("ADT^A01", "PV1||||R" + "|" * 40 + "202401010830"))
    (draft,) = mapping.apply(message, sender="H7", make_id=make_id).drafts

    assert draft.resource["period"] == {"start": "2024-01-01T08:30:00+06:00"}
    assert draft.resource["type"][0]["coding"] == [{"system": "urn:example:H7", "code": "R"}]
