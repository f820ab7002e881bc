"""What the coded entries of Chinese documents become. All people and numbers are made up."""

# ruff: noqa: E501 - documents are easier to read unbroken

from decimal import Decimal

import pytest
from cda_documents import (
    amount,
    below,
    coded,
    document,
    mapped,
    notes,
    observation,
    one,
    organizer,
    resources,
    section,
    text,
)

ICD10 = "urn:oid:2.16.156.10011.2.3.3.11"
TCM = "2.16.156.10011.2.3.3.14"
DIAGNOSIS = section(
    observation("DE05.01.024.00", coded("I10.x00", "高血压"), title="诊断编码", time="20250102")
)


def test_a_coded_diagnosis_is_a_condition_with_the_document_as_its_source():
    result = mapped(document(DIAGNOSIS))

    condition = one(result, "Condition")
    reference = f"DocumentReference/{one(result, 'DocumentReference')['id']}"

    assert condition["code"] == {
        "coding": [{"system": ICD10, "code": "I10.x00", "display": "高血压"}],
        "text": "高血压",
    }
    assert condition["recordedDate"] == "2025-01-02"
    assert condition["subject"]["reference"] == f"Patient/{one(result, 'Patient')['id']}"
    assert condition["encounter"]["reference"] == f"Encounter/{one(result, 'Encounter')['id']}"
    assert condition["meta"] == {"source": reference}
    assert condition["evidence"] == [{"detail": [{"reference": reference}]}]


def test_the_name_beside_a_code_is_what_one_reads():
    group = organizer(
        observation("DE05.01.025.00", text("原发性高血压3级"), title="诊断名称"),
        observation(
            "DE05.01.024.00",
            '<value xsi:type="CD" code="I10.x05" codeSystem="2.16.156.10011.2.3.3.11"/>',
        ),
    )

    code = one(mapped(document(section(group))), "Condition")["code"]

    assert (code["text"], code["coding"][0]["code"]) == ("原发性高血压3级", "I10.x05")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (coded("疾病诊断编码", "高血压"), "格式"),
        (coded("1", "高血压"), "格式"),
        (coded("I10.x00", "高血压", system="2.16.156.10011.2.3.1.85"), "代码系统"),
        (coded("I10.x00", "高血压", system="1.2.3.4"), "代码系统"),
    ],
)
def test_a_code_that_is_not_of_its_system_leaves_its_text_and_a_note(value, why):
    result = mapped(document(section(observation("DE05.01.024.00", value))))

    assert one(result, "Condition")["code"] == {"text": "高血压"}
    assert any(why in note for note in notes(result))


def test_a_code_without_system_or_text_is_not_mapped():
    result = mapped(document(section(observation("DE05.01.024.00", '<value xsi:type="CD" code="I10"/>'))))

    assert resources(result, "Condition") == []
    assert any("未映射" in note for note in notes(result))


def test_a_diagnosis_that_is_being_ruled_out_is_none():
    ruled_out = observation("DE05.01.024.00", coded("I10.x00", "高血压"), title="鉴别诊断-西医诊断编码")
    name_only = observation("DE05.01.025.00", text("高血压"), title="鉴别诊断-西医诊断名称")

    assert resources(mapped(document(section(ruled_out, name_only))), "Condition") == []


def test_the_part_of_a_diagnosis_is_told_by_section_and_title():
    first = observation("DE05.01.024.00", coded("I10.x00", "高血压"), title="初步诊断-西医诊断编码")
    second = observation("DE05.01.024.00", coded("E11.900", "2型糖尿病"), title="出院诊断-主要诊断编码")

    preliminary = one(mapped(document(section(first))), "Condition")
    discharge = one(mapped(document(section(second, code="11535-2"))), "Condition")

    assert preliminary["verificationStatus"]["coding"][0]["code"] == "provisional"
    assert [one.get("text") for one in preliminary["category"]] == [None, "初步诊断"]
    assert [one.get("text") for one in discharge["category"]] == [None, "出院诊断", "主要诊断"]
    assert discharge["category"][1]["coding"][0]["code"] == "11535-2"
    assert "verificationStatus" not in discharge


def test_diagnoses_of_chinese_medicine_have_their_own_system():
    disease = observation("DE05.10.130.00", coded("BNG020", "感冒病", system=TCM), title="中医病名代码")
    syndrome = observation("DE05.01.024.00", coded("ZBF010", "风寒束表证", system=TCM), title="中医证候代码")

    found = resources(mapped(document(section(disease, syndrome))), "Condition")

    assert [one["code"]["coding"][0]["system"] for one in found] == [f"urn:oid:{TCM}"] * 2


def allergy(flag, *inner):
    value = f'<value xsi:type="BL" value="{flag}"/>'
    return document(section(observation("DE02.10.023.00", value, *inner), code="48765-2"))


def test_a_flag_that_is_set_and_says_to_what_is_an_allergy():
    said = below(observation("DE02.10.022.00", text("青霉素"), title="过敏史"))

    allergy_ = one(mapped(allergy("true", said)), "AllergyIntolerance")

    assert allergy_["code"] == {"text": "青霉素"}
    assert allergy_["clinicalStatus"]["coding"][0]["code"] == "active"


def test_a_flag_that_is_not_set_or_says_not_to_what_is_none():
    said = below(observation("DE02.10.022.00", text("否认药物过敏史")))

    assert resources(mapped(allergy("false", said)), "AllergyIntolerance") == []
    assert resources(mapped(allergy("true")), "AllergyIntolerance") == []


def vital(code, number, unit="", title=""):
    return observation(code, amount(number, unit), title=title)


def test_vital_signs_have_their_unit_in_ucum_and_the_number_as_written():
    result = mapped(document(section(vital("DE04.10.186.00", "36.50", "℃", "体温(℃)"), code="8716-3")))

    found = one(result, "Observation")

    assert found["valueQuantity"] == {
        "value": Decimal("36.50"),
        "unit": "℃",
        "system": "http://unitsofmeasure.org",
        "code": "Cel",
    }
    assert str(found["valueQuantity"]["value"]) == "36.50"
    assert [one["code"] for one in found["code"]["coding"]] == ["8310-5", "DE04.10.186.00"]
    assert found["category"][0]["coding"][0]["code"] == "vital-signs"
    assert found["derivedFrom"][0]["reference"].startswith("DocumentReference/")


def test_the_data_elements_own_unit_counts_where_none_is_written():
    found = one(mapped(document(section(vital("DE04.10.188.00", "61", title="体重(kg)")))), "Observation")

    assert (found["valueQuantity"]["code"], found["valueQuantity"]["value"]) == ("kg", 61)


@pytest.mark.parametrize("unit", ["1", "磅", "cm"])
def test_a_unit_that_does_not_fit_is_not_mapped(unit):
    result = mapped(document(section(vital("DE04.10.188.00", "61", unit))))

    assert resources(result, "Observation") == []
    assert any("计量单位" in note for note in notes(result))


def test_pressures_of_one_group_are_one_observation():
    group = organizer(vital("DE04.10.174.00", "120", "mmHg"), vital("DE04.10.176.00", "80", "mmHg"))

    found = one(mapped(document(section(group))), "Observation")

    assert found["code"]["coding"][0]["code"] == "85354-9"
    assert [part["valueQuantity"]["value"] for part in found["component"]] == [120, 80]
    assert [part["code"]["coding"][0]["code"] for part in found["component"]] == ["8480-6", "8462-4"]


def test_a_newborns_weight_is_not_its_mothers():
    birth = vital("DE04.10.188.00", "3.2", "kg", "新生儿出生体重")

    assert resources(mapped(document(section(birth, code="57075-4"), code="C0015")), "Observation") == []
    assert resources(mapped(document(section(birth))), "Observation") == []


def test_a_pacemakers_rate_is_not_the_hearts():
    rate = vital("DE04.10.206.00", "60", "次/min", "起搏器心率(次/min)")

    assert resources(mapped(document(section(rate))), "Observation") == []


def test_a_blood_group_is_a_coded_result_unless_it_is_asked_for():
    group = coded("1", "A型", system="2.16.156.10011.2.3.1.85")
    own = observation("DE04.50.001.00", group, title="ABO血型代码")
    asked = observation("DE04.50.001.00", group, title="申请ABO血型代码")

    found = one(mapped(document(section(own, asked, code="30954-2"))), "Observation")

    assert found["code"]["coding"][0]["code"] == "883-9"
    assert found["valueCodeableConcept"]["text"] == "A型"


def item(name, number, unit, judged="2", shown="偏高", time="20250101073000"):
    quantity = observation(
        "DE04.30.015.00",
        f'<value xsi:type="REAL" value="{number}"/>',
        below(observation("DE04.30.016.00", text(unit))),
    )
    result = observation("DE04.30.017.00", coded(judged, shown, system="2.16.156.10011.2.3.2.38"))
    return observation("DE04.30.019.00", text(name), title="检验项目代码", time=time), result, quantity


REPORT = section(
    observation("DE04.50.130.00", text("血糖偏高"), title="检验报告结果"),
    observation("DE08.10.026.00", text("检验科"), title="检验报告科室"),
    code="",
)
NUMBERS = '<id root="2.16.156.10011.1.33" extension="R-1"/><id root="2.16.156.10011.1.24" extension="O-1"/>'


def test_a_laboratory_document_is_a_report_with_its_results():
    data = document(
        section(
            organizer(*item("葡萄糖", "7.80", "mmol/L")),
            organizer(*item("钾", "4.1", "mmol/L")),
            code="30954-2",
        ),
        REPORT,
        code="C0007",
        title="检验报告",
        ids=NUMBERS + '<id root="2.16.156.10011.1.12" extension="ZY-1"/>',
    )

    result = mapped(data)
    report = one(result, "DiagnosticReport")
    found = resources(result, "Observation")

    assert [one["code"]["text"] for one in found] == ["葡萄糖", "钾"]
    assert str(found[0]["valueQuantity"]["value"]) == "7.80"
    assert found[0]["valueQuantity"]["code"] == "mmol/L"
    assert found[0]["interpretation"][0]["text"] == "偏高"
    assert found[0]["effectiveDateTime"] == "2025-01-01T07:30:00+08:00"
    assert found[0]["category"][0]["coding"][0]["code"] == "laboratory"
    assert report["result"] == [{"reference": f"Observation/{one['id']}"} for one in found]
    assert report["conclusion"] == "血糖偏高"
    assert report["category"][0]["coding"][0]["code"] == "LAB"
    assert report["identifier"] == [{"system": "urn:kangshu:institution:H9901:report", "value": "R-1"}]
    assert report["basedOn"][0]["identifier"]["value"] == "O-1"
    assert [one["display"] for one in report["performer"]] == ["医生乙", "检验科"]
    assert report["effectiveDateTime"] == "2025-01-01T07:30:00+08:00"


def test_a_specimen_is_a_resource_that_result_and_report_refer_to():
    name, _, quantity = item("葡萄糖", "7.8", "mmol/L")
    sample = observation("DE04.50.134.00", text("血清"), title="标本类别").replace(
        "<value",
        '<effectiveTime><low value="202501010700"/><high value="202501010715"/></effectiveTime><value',
    )

    result = mapped(document(section(organizer(name, sample, quantity)), code="C0007"))
    specimen = one(result, "Specimen")

    assert specimen["type"] == {"text": "血清"}
    assert specimen["collection"]["collectedDateTime"] == "2025-01-01T07:00:00+08:00"
    assert specimen["receivedTime"] == "2025-01-01T07:15:00+08:00"
    assert one(result, "Observation")["specimen"] == {"reference": f"Specimen/{specimen['id']}"}
    assert one(result, "DiagnosticReport")["specimen"] == [{"reference": f"Specimen/{specimen['id']}"}]


def test_a_single_item_may_stand_flat_in_its_section_and_several_may_not():
    single = mapped(document(section(*item("葡萄糖", "7.8", "mmol/L"), code="30954-2"), code="C0007"))
    several = mapped(
        document(
            section(*item("葡萄糖", "7.8", "mmol/L"), *item("钾", "4.1", "mmol/L"), code="30954-2"),
            code="C0007",
        )
    )

    assert one(single, "Observation")["valueQuantity"]["value"] == Decimal("7.8")
    assert resources(several, "Observation") == []
    assert sum("属于哪个项目" in note for note in notes(several)) == 2


def test_a_number_without_a_unit_is_not_mapped():
    bare = observation("DE04.30.015.00", '<value xsi:type="REAL" value="7.8"/>')
    name = observation("DE04.30.019.00", text("葡萄糖"))

    result = mapped(document(section(organizer(name, bare)), code="C0007"))

    assert resources(result, "Observation") == []
    assert any("计量单位" in note for note in notes(result))


def test_an_examination_document_is_a_report_with_findings_and_conclusion():
    data = document(
        section(
            observation("DE04.50.131.00", text("肺纹理增多"), title="检查报告结果-客观所见"),
            observation("DE04.50.131.00", text("支气管炎"), title="检查报告结果-主观提示"),
            observation("DE04.30.018.00", text("胸部CT"), title="检查类别"),
            code="",
        ),
        code="C0006",
    )

    result = mapped(data)
    report = one(result, "DiagnosticReport")

    assert (report["conclusion"], report["code"]["text"]) == ("支气管炎", "胸部CT")
    assert one(result, "Observation")["valueString"] == "肺纹理增多"
    assert report["result"] == [{"reference": f"Observation/{one(result, 'Observation')['id']}"}]


DRUG = """<substanceAdministration classCode="SBADM" moodCode="EVN">
  <routeCode code="1" codeSystem="2.16.156.10011.2.3.1.158" displayName="口服"/>
  <doseQuantity value="0.50" unit="{unit}"/>
  <consumable><manufacturedProduct><{kind}><code/><name>虚构片</name></{kind}></manufacturedProduct></consumable>
  {inner}</substanceAdministration>"""
FREQUENCY = below(
    observation("DE06.00.133.00", coded("14", "tid", system="2.16.156.10011.2.3.1.267")),
    observation("DE06.00.136.00", text("饭后服用")),
)


def drug(*, kind="manufacturedLabeledDrug", unit="g", inner=FREQUENCY):
    return DRUG.format(kind=kind, unit=unit, inner=inner)


def test_a_prescription_is_a_request_for_each_drug():
    request = one(mapped(document(section(drug(), code="10160-0"), code="C0004")), "MedicationRequest")
    (dosage,) = request["dosageInstruction"]

    assert request["medicationCodeableConcept"] == {"text": "虚构片"}
    assert (request["status"], request["intent"]) == ("active", "order")
    assert request["authoredOn"] == "2025-01-02T08:45:00+08:00"
    assert request["requester"]["display"] == "医生乙"
    assert dosage["text"] == "饭后服用"
    assert dosage["timing"]["code"]["coding"][0]["code"] == "14"
    assert dosage["route"]["text"] == "口服"
    assert str(dosage["doseAndRate"][0]["doseQuantity"]["value"]) == "0.50"
    assert request["supportingInformation"][0]["reference"].startswith("DocumentReference/")


def test_the_unit_of_a_dose_may_stand_beside_it_and_a_dose_without_one_is_left_out():
    beside = drug(unit="1", inner=below(observation("DE08.50.024.00", text("片"))))
    missing = drug(unit="1", inner="")

    found = [
        one(mapped(document(section(each, code="10160-0"), code="C0004")), "MedicationRequest")
        for each in (beside, missing)
    ]

    assert found[0]["dosageInstruction"][0]["doseAndRate"][0]["doseQuantity"]["unit"] == "片"
    assert "doseAndRate" not in found[1]["dosageInstruction"][0]


def test_drugs_in_other_documents_were_taken_and_materials_are_no_drugs():
    treated = mapped(document(section(drug(), code="18610-6"), code="C0008"))
    used = mapped(document(section(drug(), code="10160-0"), code="C0022"))
    material = mapped(document(section(drug(kind="manufacturedMaterial"), code="10160-0"), code="C0008"))

    assert one(treated, "MedicationStatement")["medicationCodeableConcept"] == {"text": "虚构片"}
    assert resources(used, "MedicationStatement") == []
    assert resources(material, "MedicationStatement") == []


def order(kind, words, state=""):
    inner = below(observation("DE06.00.290.00", text(state))) if state else ""
    typed = observation(
        "DE06.00.289.00", coded("01", kind, system="2.16.156.10011.2.3.1.268"), title="医嘱项目类型"
    )
    return document(
        section(organizer(typed, observation("DE06.00.288.00", text(words), inner)), code="46209-3"),
        code="C0052",
    )


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("已执行", "completed"),
        ("未执行", "active"),
        ("已取消", "cancelled"),
        ("停止", "stopped"),
        ("", "unknown"),
    ],
)
def test_an_order_for_a_drug_is_a_request_with_its_state(state, status):
    request = one(mapped(order("药品类医嘱", "虚构注射液 10mL 静滴 qd", state)), "MedicationRequest")

    assert request["medicationCodeableConcept"]["text"] == "虚构注射液 10mL 静滴 qd"
    assert request["status"] == status


def test_an_order_for_something_else_is_no_drug():
    assert resources(mapped(order("检查类医嘱", "胸部CT")), "MedicationRequest") == []


OPERATION = """<procedure classCode="PROC" moodCode="EVN">
  <code code="47.0100" codeSystem="2.16.156.10011.2.3.3.12"/><effectiveTime value="202501031015"/>
  <performer><assignedEntity><id root="2.16.156.10011.1.4" extension="DR-2"/><assignedPerson><name>医生丁</name>
  </assignedPerson></assignedEntity></performer>{}</procedure>"""


def test_an_operation_is_a_procedure_with_code_time_and_people():
    name = below(observation("DE06.00.094.00", text("腹腔镜下阑尾切除术")))

    procedure = one(
        mapped(document(section(OPERATION.format(name), code="47519-4"), code="C0032")), "Procedure"
    )

    assert procedure["code"]["coding"] == [{"system": "urn:oid:2.16.156.10011.2.3.3.12", "code": "47.0100"}]
    assert procedure["code"]["text"] == "腹腔镜下阑尾切除术"
    assert procedure["performedDateTime"] == "2025-01-03T10:15:00+08:00"
    assert procedure["performer"][0]["actor"]["display"] == "医生丁"
    assert procedure["status"] == "completed"


def test_an_operation_that_is_only_planned_is_none():
    data = document(section(OPERATION.format(""), code="47519-4"), code="C0046")

    assert resources(mapped(data), "Procedure") == []


def test_a_document_sent_again_gives_the_same_resources_and_a_new_version_takes_their_places():
    header = '<setId root="2.16.156.10011.1.1" extension="S-1"/><versionNumber value="{}"/>'
    first = mapped(document(DIAGNOSIS, header=header.format(1)))
    again = mapped(document(DIAGNOSIS, header=header.format(1)))
    later = mapped(document(DIAGNOSIS, header=header.format(2), number="D-2"))

    assert first == again
    assert one(first, "Condition")["id"] == one(later, "Condition")["id"]
    assert one(first, "DocumentReference")["id"] != one(later, "DocumentReference")["id"]


def test_numbers_given_twice_do_not_make_one_of_two_entries():
    numbered = observation("DE05.01.024.00", coded("I10.x00", "高血压")).replace(
        "<code", '<id root="2.16.156.10011.1.8" extension="X001"/><code', 1
    )

    found = resources(mapped(document(section(numbered, numbered))), "Condition")

    assert len({one["id"] for one in found}) == 2
