"""What reports and results become. All people in these tests are synthetic."""

import base64
from decimal import Decimal

import pytest
from hl7v2_messages import PATIENT, VISIT, mapped, noted, only, resources

ORDER = "OBR|1|P100|F100|58410-2^血常规^LN|||20240105084500|||||||||D1^李^四||||||20240105092500||LAB|F"


def result_of(obx: str, *, kind: str = "ORU^R01"):
    return only(mapped(kind, PATIENT, ORDER, obx), "Observation")


@pytest.mark.parametrize(
    ("value_type", "value", "unit", "expected"),
    [
        ("NM", "6.30", "mmol/L", ("valueQuantity", {"value": Decimal("6.30"), "unit": "mmol/L"})),
        ("NM", "<0.5", "", ("valueQuantity", {"value": Decimal("0.5"), "comparator": "<"})),
        ("NM", "≥100", "", ("valueQuantity", {"value": Decimal("100"), "comparator": ">="})),
        ("NM", "阴性", "", ("valueString", "阴性")),
        ("NM", "6.3", "g/L^克每升^UCUM", ("valueQuantity", {"value": Decimal("6.3"), "unit": "克每升",
                                            "system": "http://unitsofmeasure.org", "code": "g/L"})),
        ("ST", "1.82", "^ug/L", ("valueQuantity", {"value": Decimal("1.82"), "unit": "ug/L"})),
        ("ST", "12", "", ("valueString", "12")),
        ("ST", "阴性", "", ("valueString", "阴性")),
        ("", "5", "g", ("valueQuantity", {"value": Decimal("5"), "unit": "g"})),
        ("TX", "A~B", "", ("valueString", "A\nB")),
        ("FT", "一行\\.br\\二行", "", ("valueString", "一行\n二行")),
        ("TX", "MRI W/&W/O CONTRAST", "", ("valueString", "MRI W/&W/O CONTRAST")),
        ("CE", "10828004^阳性^SCT", "", ("valueCodeableConcept", {"coding": [{"system": "http://snomed.info/sct",
                                         "code": "10828004", "display": "阳性"}], "text": "阳性"})),
        ("CE", "未见明显异常", "", ("valueCodeableConcept", {"text": "未见明显异常"})),
        ("IS", "P", "", ("valueCodeableConcept", {"coding": [{"system": "urn:kangshu:institution:H0001:code",
                                                              "code": "P"}]})),
        ("CWE", "X^某^MYLIST", "", ("valueCodeableConcept", {"coding": [{"code": "X", "display": "某",
                             "system": "urn:kangshu:institution:H0001:code:MYLIST"}], "text": "某"})),
        ("DT", "20240105", "", ("valueDateTime", "2024-01-05")),
        ("TS", "202401050830-0500", "", ("valueDateTime", "2024-01-05T08:30:00-05:00")),
        ("DTM", "20180604143425489", "", ("valueDateTime", "2018-06-04T14:34:25.489+08:00")),
        ("TM", "0830", "", ("valueTime", "08:30:00")),
        ("DR", "20240101^20240105", "", ("valuePeriod", {"start": "2024-01-01", "end": "2024-01-05"})),
        ("SN", ">^100", "", ("valueQuantity", {"value": Decimal("100"), "comparator": ">"})),
        ("SN", "=^5", "", ("valueQuantity", {"value": Decimal("5")})),
        ("SN", "^1^:^128", "", ("valueRatio", {"numerator": {"value": Decimal("1")},
                                               "denominator": {"value": Decimal("128")}})),
        ("SN", "^2^-^4", "g", ("valueRange", {"low": {"value": Decimal("2"), "unit": "g"},
                                              "high": {"value": Decimal("4"), "unit": "g"}})),
        ("SN", "^2^+", "", ("valueString", "2 +")),
        ("CQ", "5^mg", "", ("valueQuantity", {"value": Decimal("5"), "unit": "mg"})),
        ("CX", "X1^^^H", "", ("valueString", "X1^^^H")),
    ],
)  # fmt: skip
def test_each_type_of_value_becomes_what_it_says(value_type, value, unit, expected):
    found = result_of(f"OBX|1|{value_type}|1^项目||{value}|{unit}|||||F")
    values = {name: one for name, one in found.items() if name.startswith("value")}

    assert values == {expected[0]: expected[1]}


@pytest.mark.parametrize(
    ("sent", "status"),
    [("F", "final"), ("P", "preliminary"), ("C", "corrected"), ("A", "amended"), ("D", "entered-in-error"),
     ("W", "entered-in-error"), ("X", "cancelled"), ("I", "registered"), ("", "final")],
)  # fmt: skip
def test_a_result_shows_its_status_and_takes_the_reports_where_it_has_none(sent, status):
    assert result_of(f"OBX|1|NM|1||5||||||{sent}")["status"] == status


def test_a_status_of_the_senders_own_is_unknown_and_noted():
    result = mapped("ORU^R01", PATIENT, ORDER, "OBX|1|NM|1||5||||||7")

    assert only(result, "Observation")["status"] == "unknown"
    assert "OBX-11" in noted(result)


@pytest.mark.parametrize(
    ("sent", "code"),
    [("H", "H"), ("↑", "H"), ("偏高", "H"), ("L", "L"), ("↓", "L"), ("偏低", "L"), ("N", "N"), ("正常", "N"),
     ("HH", "HH"), ("危急值", "AA"), ("A", "A"), ("阳性", "POS")],
)  # fmt: skip
def test_flags_are_read_in_letters_arrows_and_chinese(sent, code):
    coding = result_of(f"OBX|1|NM|1||5|||{sent}|||F")["interpretation"][0]["coding"][0]

    assert coding["code"] == code
    assert coding["system"].endswith("v3-ObservationInterpretation")


@pytest.mark.parametrize(
    ("sent", "low", "high"),
    [
        ("3.8-11.0", "3.8", "11.0"),
        ("0.0000--10.0000", "0.0000", "10.0000"),
        ("3.5～9.5", "3.5", "9.5"),
        ("3.5-9.5 10^9/L", "3.5", "9.5"),
        ("<5", None, "5"),
        ("≤0.80", None, "0.80"),
        (">=10", "10", None),
        ("阴性", None, None),
        ("男: 4.3-5.8; 女: 3.8-5.1", None, None),
        ("9-3", None, None),
    ],
)
def test_a_reference_range_keeps_its_text_and_gives_numbers_where_it_is_plain(sent, low, high):
    (found,) = result_of(f"OBX|1|NM|1||5|g/L|{sent}||||F")["referenceRange"]

    assert found["text"] == sent
    assert found.get("low") == ({"value": Decimal(low), "unit": "g/L"} if low else None)
    assert found.get("high") == ({"value": Decimal(high), "unit": "g/L"} if high else None)


def test_a_report_holds_its_results_and_names_its_order():
    result = mapped("ORU^R01", PATIENT, VISIT, "ORC|RE|P100|F100", ORDER, "OBX|1|NM|A||1", "OBX|2|NM|B||2")
    report = only(result, "DiagnosticReport")
    first, second = resources(result, "Observation")

    assert report["status"] == "final"
    assert report["effectiveDateTime"] == "2024-01-05T08:45:00+08:00"
    assert report["issued"] == "2024-01-05T09:25:00+08:00"
    assert report["category"][0]["coding"][0]["code"] == "LAB"
    assert [one["reference"] for one in report["result"]] == [
        f"Observation/{first['id']}",
        f"Observation/{second['id']}",
    ]
    assert report["basedOn"][0]["identifier"]["value"] == "P100"
    assert report["encounter"]["reference"] == f"Encounter/{only(result, 'Encounter')['id']}"
    assert first["effectiveDateTime"] == "2024-01-05T08:45:00+08:00"
    assert first["category"][0]["coding"][0]["code"] == "laboratory"


def test_a_correction_is_the_same_result_again():
    first = result_of("OBX|1|NM|1||5||||||F")
    corrected = only(mapped("ORU^R01", PATIENT, ORDER, "OBX|1|NM|1||6||||||C", control="M2"), "Observation")

    assert corrected["id"] == first["id"]
    assert corrected["status"] == "corrected"


def test_several_orders_keep_their_results_apart():
    result = mapped(
        "ORU^R01",
        PATIENT,
        "OBR|1||F1|A",
        "OBX|1|NM|1||5",
        "NTE|1||一",
        "OBR|2||F2|B",
        "NTE|1||二",
        "OBX|1|NM|1||6",
    )
    reports, observations = resources(result, "DiagnosticReport"), resources(result, "Observation")

    assert [len(one["result"]) for one in reports] == [1, 1]
    assert len({one["id"] for one in observations}) == 2
    assert observations[0]["note"] == [{"text": "一"}]
    assert reports[1]["extension"][0]["valueAnnotation"] == {"text": "二"}


def test_lines_of_one_text_are_one_result_and_equal_codes_are_not():
    text = mapped(
        "ORU^R01",
        PATIENT,
        ORDER,
        "OBX|1|TX|REP^报告||第一行",
        "OBX|2|TX|||第二行",
        "OBX|3|TX|REP^报告||第三行",
    )
    twice = mapped("ORU^R01", PATIENT, ORDER, "OBX|1|ST|ORG^菌种||甲", "OBX|2|ST|ORG^菌种||乙")

    assert only(text, "Observation")["valueString"] == "第一行\n第二行\n第三行"
    assert len(only(text, "DiagnosticReport")["result"]) == 1
    assert [one["valueString"] for one in resources(twice, "Observation")] == ["甲", "乙"]


def test_a_document_in_a_result_is_the_reports_own():
    data = base64.b64encode(b"%PDF-1.4 synthetic").decode()
    result = mapped("ORU^R01", PATIENT, ORDER, f"OBX|1|ED|PDF^报告||^application^PDF^Base64^{data}")

    assert only(result, "DiagnosticReport")["presentedForm"] == [
        {"data": data, "contentType": "application/pdf"}
    ]
    assert resources(result, "Observation") == []


def test_attached_data_that_are_not_what_they_claim_are_left_out_and_noted():
    result = mapped("ORU^R01", PATIENT, ORDER, "OBX|1|ED|PDF^报告||^application^PDF^Base64^***")

    assert "presentedForm" not in only(result, "DiagnosticReport")
    assert "OBX-5" in noted(result)


def test_specimens_stand_before_their_results_or_after_their_order():
    before = mapped(
        "OUL^R22",
        PATIENT,
        "SPM|1|S1||BLD^全血",
        "OBR|1||F1|A",
        "OBX|1|NM|1||5",
        "OBR|2||F2|B",
        "OBX|1|NM|2||6",
    )
    within = mapped(
        "OUL^R24", PATIENT, "OBR|1||F1|A", "ORC|RE", "SPM|1|||C^血清", "OBX|1|ST|1||1.8|^ug/L|0-10"
    )
    old = mapped("ORU^R01", PATIENT, "OBR|1||F1|A|||20240105|||||||20240106|BLD&全血", "OBX|1|NM|1||5")

    for result in (before, within, old):
        specimen = only(result, "Specimen")
        for one in resources(result, "Observation"):
            assert one["specimen"]["reference"] == f"Specimen/{specimen['id']}"
    assert len(resources(before, "DiagnosticReport")) == 2
    assert only(old, "Specimen")["receivedTime"] == "2024-01-06"


def test_results_without_a_patient_are_about_nobody():
    result = mapped("ORU^R01", ORDER, "OBX|1|NM|QC||5")

    assert [draft.patient for draft in result.drafts] == [None, None]
    assert result.order_key == ""


def test_vital_signs_are_told_by_their_code():
    found = only(
        mapped("ADT^A08", PATIENT, VISIT, "OBX|1|NM|8867-4^心率^LN||72|/min||||||20240105"), "Observation"
    )

    assert found["category"][0]["coding"][0]["code"] == "vital-signs"


def test_a_time_that_is_none_is_noted_and_the_rest_is_kept():
    result = mapped("ORU^R01", PATIENT, ORDER, "OBX|1|NM|1||5||||||F|||tomorrow")

    assert only(result, "Observation")["valueQuantity"]["value"] == 5
    assert "OBX-14" in noted(result)


def test_a_null_leaves_the_value_out():
    found = result_of('OBX|1|NM|1||""||""||||F')

    assert not any(name.startswith("value") for name in found)
    assert "referenceRange" not in found


def test_a_result_that_could_not_be_had_says_so():
    found = result_of("OBX|1|NM|1||||||||X")

    assert (found["status"], found["dataAbsentReason"]["coding"][0]["code"]) == ("cancelled", "not-performed")
