"""A synthetic life for the tests of a record: one resident who has everything, in both lanes; nobody real.

Stored resources stand for what messages brought; the bulk lane has files of its own (`console_world`).
"""

# ruff: noqa: E501 - the document is easier to read unbroken

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from console_world import HOSPITAL, SECOND_HOSPITAL, Resident

from kangshu import identity, records
from kangshu.app.platform import Platform

_LOINC = "http://loinc.org"
_CATEGORIES = "http://terminology.hl7.org/CodeSystem/observation-category"
_ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_ICD = "http://hl7.org/fhir/sid/icd-10"
_FLAGS = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
GLUCOSE, PRESSURE = "14771-0", "85354-9"
SYSTOLIC, DIASTOLIC = "8480-6", "8462-4"
DOCUMENT, EARLIER_DOCUMENT, LETTER = "doc-summary-2", "doc-summary-1", "doc-letter"
_GLUCOSES = (5.2, 5.6, 5.9, 6.4, 7.8, 9.1, 8.4, 7.2, 6.8, 6.3, 7.0, 6.1)


async def person_of(platform: Platform, resident: Resident) -> int:
    """Return the number of a resident whom a file has told of."""
    async with platform.database.connection() as connection:
        (found,) = await identity.find_persons(
            connection, keys=platform.keys, resident_number=resident.number, limit=2
        )
    return found.id


async def live(platform: Platform, resident: Resident, *, today: date) -> int:
    """Store a life of the resident up to `today` and return the person's number."""
    person = await person_of(platform, resident)
    now = platform.clock.now()
    resources = list(_resources(resident, today))
    documents = [
        records.Document(
            id=number,
            content=clinical_document(resident, version=version),
            media_type="text/xml",
            person=person,
            institution=HOSPITAL,
            message=7100 + version,
        )
        for version, number in ((1, EARLIER_DOCUMENT), (2, DOCUMENT))
    ]
    async with platform.database.transaction() as connection:
        await records.store(
            connection,
            writes=[
                write(resource, id_, person=person, institution=place, message=7000 + number)
                for number, (id_, place, resource) in enumerate(resources)
            ],
            now=now - timedelta(days=1),
        )
        await records.store_documents(connection, documents=documents, now=now)
    # The laboratory corrects a result, as laboratories do.
    corrected = observation(GLUCOSE, "空腹血糖", "6.9", today - timedelta(days=12), status="corrected")
    async with platform.database.transaction() as connection:
        await records.store(
            connection,
            writes=[write(corrected, "obs-corrected", person=person, institution=HOSPITAL, message=7201)],
            now=now,
        )
    return person


def write(
    resource: dict[str, Any],
    id_: str,
    *,
    person: int,
    institution: str = HOSPITAL,
    message: int | None = None,
) -> records.Write:
    """Return the write of a resource about a person."""
    return records.Write(
        type=resource["resourceType"],
        id=id_,
        resource=resource,
        person=person,
        institution=institution,
        message=message,
    )


def observation(
    code: str, title: str, value: str, day: date, *, unit: str = "mmol/L", **more: Any
) -> dict[str, Any]:
    """Return a laboratory result with a number."""
    return {
        "resourceType": "Observation",
        "status": "final",
        "category": [{"coding": [{"system": _CATEGORIES, "code": "laboratory"}]}],
        "code": {"coding": [{"system": _LOINC, "code": code}], "text": title},
        "effectiveDateTime": f"{day.isoformat()}T08:20:00+08:00",
        "valueQuantity": {"value": _number(value), "unit": unit},
        "referenceRange": [{"low": {"value": _number("3.9")}, "high": {"value": _number("6.1")}}],
    } | more


def _resources(resident: Resident, today: date) -> Iterator[tuple[str, str, dict[str, Any]]]:
    yield from _clinic_visit(resident, today - timedelta(days=12))
    yield from _stay_in_hospital(today - timedelta(days=60))
    yield from _earlier_years(today)
    yield from _what_is_not_simply_valid(today)
    yield from _documents(today)
    yield (
        "allergy-1",
        HOSPITAL,
        {
            "resourceType": "AllergyIntolerance",
            "code": {"text": "青霉素"},
            "criticality": "high",
            "clinicalStatus": _coded("allergyintolerance-clinical", "active"),
            "reaction": [{"manifestation": [{"text": "皮疹"}, {"text": "呼吸困难"}]}],
            "recordedDate": "2012-05-03",
        },
    )


def _clinic_visit(resident: Resident, day: date) -> Iterator[tuple[str, str, dict[str, Any]]]:
    visit = {"reference": "Encounter/enc-clinic"}
    at = f"{day.isoformat()}T08:05:00+08:00"
    yield (
        "enc-clinic",
        HOSPITAL,
        {
            "resourceType": "Encounter",
            "status": "finished",
            "class": {"system": _ACT, "code": "AMB"},
            "serviceType": {"text": "内分泌科"},
            "period": {"start": at, "end": f"{day.isoformat()}T09:10:00+08:00"},
            "participant": [{"individual": {"display": "韩医生"}}],
            "reasonCode": [{"text": "口渴、多饮两周"}],
        },
    )
    yield (
        "cond-1",
        HOSPITAL,
        {
            "resourceType": "Condition",
            "code": {"coding": [{"system": _ICD, "code": "E11.900"}], "text": "2型糖尿病"},
            "clinicalStatus": _coded("condition-clinical", "active"),
            "encounter": visit,
            "recordedDate": at,
        },
    )
    yield (
        "report-1",
        HOSPITAL,
        {
            "resourceType": "DiagnosticReport",
            "status": "final",
            "category": [{"coding": [{"code": "LAB"}]}],
            "code": {"text": "生化全套"},
            "effectiveDateTime": f"{day.isoformat()}T08:20:00+08:00",
            "conclusion": f"{resident.name}血糖控制欠佳，建议复查糖化血红蛋白。",
            "encounter": visit,
        },
    )
    yield "obs-corrected", HOSPITAL, observation(GLUCOSE, "空腹血糖", "9.6", day, encounter=visit)
    for number, (code, title, value, unit, low, high, flag) in enumerate(
        (
            ("4548-4", "糖化血红蛋白", "7.8", "%", "4.0", "6.0", "H"),
            ("2823-3", "钾", "2.6", "mmol/L", "3.5", "5.3", "LL"),
            ("2160-0", "肌酐", "78", "μmol/L", "57", "111", "N"),
        )
    ):
        yield (
            f"obs-{number}",
            HOSPITAL,
            observation(
                code,
                title,
                value,
                day,
                unit=unit,
                encounter=visit,
                referenceRange=[{"low": {"value": _number(low)}, "high": {"value": _number(high)}}],
                interpretation=[{"coding": [{"system": _FLAGS, "code": flag}]}],
            ),
        )
    text = {
        **observation("5778-6", "尿颜色", "1", day, encounter=visit),
        "valueString": "淡黄",
        "referenceRange": [{"text": "淡黄色"}],
    }
    del text["valueQuantity"]
    yield "obs-text", HOSPITAL, text
    yield (
        "bp-1",
        HOSPITAL,
        _pressure(day, 146, 92) | {"encounter": visit},
    )
    for number, (drug, dose) in enumerate(
        (("盐酸二甲双胍片 0.5g", "0.5g 口服 一日两次 餐中"), ("苯磺酸氨氯地平片 5mg", "5mg 口服 一日一次"))
    ):
        yield (
            f"drug-{number}",
            HOSPITAL,
            {
                "resourceType": "MedicationRequest",
                "status": "active",
                "intent": "order",
                "medicationCodeableConcept": {"text": drug},
                "dosageInstruction": [{"text": dose}],
                "requester": {"display": "韩医生"},
                "authoredOn": f"{day.isoformat()}T09:02:00+08:00",
                "encounter": visit,
            },
        )


def _stay_in_hospital(first: date) -> Iterator[tuple[str, str, dict[str, Any]]]:
    visit = {"reference": "Encounter/enc-stay"}
    second = first + timedelta(days=1)
    yield (
        "enc-stay",
        SECOND_HOSPITAL,
        {
            "resourceType": "Encounter",
            "status": "finished",
            "class": {"system": _ACT, "code": "IMP"},
            "serviceType": {"text": "普外科"},
            "period": {
                "start": f"{first.isoformat()}T14:30:00+08:00",
                "end": f"{(first + timedelta(days=5)).isoformat()}T10:00:00+08:00",
            },
            "hospitalization": {"dischargeDisposition": {"text": "医嘱离院"}},
        },
    )
    yield (
        "op-1",
        SECOND_HOSPITAL,
        {
            "resourceType": "Procedure",
            "status": "completed",
            "code": {"text": "腹腔镜下胆囊切除术"},
            "bodySite": [{"text": "胆囊"}],
            "performedDateTime": f"{second.isoformat()}T10:15:00+08:00",
            "performer": [{"actor": {"display": "卫医生"}}],
            "encounter": visit,
        },
    )
    yield (
        "exam-1",
        SECOND_HOSPITAL,
        {
            "resourceType": "DiagnosticReport",
            "status": "final",
            "category": [{"coding": [{"code": "RAD"}]}],
            "code": {"text": "上腹部 CT 平扫"},
            "effectiveDateTime": f"{first.isoformat()}T16:40:00+08:00",
            "conclusion": "胆囊结石，胆囊壁增厚；肝内外胆管无扩张。建议结合临床。",
            "encounter": visit,
        },
    )
    yield (
        "wbc-1",
        SECOND_HOSPITAL,
        observation("6690-2", "白细胞计数", "12.4", second, unit="10⁹/L", encounter=visit)
        | {"referenceRange": [{"low": {"value": _number("3.5")}, "high": {"value": _number("9.5")}}]},
    )


def _earlier_years(today: date) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for number, value in enumerate(_GLUCOSES):
        day = today - timedelta(days=12 + (len(_GLUCOSES) - number) * 190)
        place = HOSPITAL if number % 3 else SECOND_HOSPITAL
        yield f"glucose-{number}", place, observation(GLUCOSE, "空腹血糖", str(value), day)
        yield f"pressure-{number}", place, _pressure(day, 128 + number * 2, 78 + number)
    for number, (year, vaccine) in enumerate(((2021, "新型冠状病毒灭活疫苗"), (2024, "流感病毒裂解疫苗"))):
        yield (
            f"vaccine-{number}",
            HOSPITAL,
            {
                "resourceType": "Immunization",
                "status": "completed",
                "vaccineCode": {"text": vaccine},
                "occurrenceDateTime": f"{year}-10-15",
                "lotNumber": f"L{year}10",
                "protocolApplied": [{"doseNumberPositiveInt": 1 + number}],
            },
        )


def _what_is_not_simply_valid(today: date) -> Iterator[tuple[str, str, dict[str, Any]]]:
    day = today - timedelta(days=3)
    yield (
        "enc-cancelled",
        SECOND_HOSPITAL,
        {
            "resourceType": "Encounter",
            "status": "cancelled",
            "class": {"system": _ACT, "code": "EMER"},
            "period": {"start": f"{day.isoformat()}T19:00:00+08:00"},
        },
    )
    yield (
        "cond-wrong",
        SECOND_HOSPITAL,
        {
            "resourceType": "Condition",
            "code": {"text": "急性阑尾炎"},
            "verificationStatus": _coded("condition-ver-status", "entered-in-error"),
            "encounter": {"reference": "Encounter/enc-cancelled"},
            "recordedDate": f"{day.isoformat()}T19:20:00+08:00",
        },
    )
    yield (
        "obs-early",
        SECOND_HOSPITAL,
        observation("1988-5", "C 反应蛋白", "31", day, unit="mg/L", status="preliminary")
        | {"referenceRange": [{"high": {"value": _number("8")}}]},
    )
    yield (
        "appointment-1",
        HOSPITAL,
        {
            "resourceType": "Appointment",
            "status": "booked",
            "serviceType": [{"text": "内分泌科复诊"}],
            "start": f"{(today + timedelta(days=9)).isoformat()}T09:00:00+08:00",
        },
    )
    yield (
        "vaccine-not",
        HOSPITAL,
        {
            "resourceType": "Immunization",
            "status": "not-done",
            "vaccineCode": {"text": "23 价肺炎球菌多糖疫苗"},
            "occurrenceDateTime": day.isoformat(),
            "statusReason": {"text": "发热"},
        },
    )


def _documents(today: date) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for number, state in ((EARLIER_DOCUMENT, "superseded"), (DOCUMENT, "current")):
        yield (
            number,
            HOSPITAL,
            {
                "resourceType": "DocumentReference",
                "status": state,
                "description": "出院小结",
                "date": f"{(today - timedelta(days=54)).isoformat()}T10:30:00+08:00",
                "author": [{"display": "卫医生"}],
                "content": [{"attachment": {"contentType": "text/xml", "url": f"Binary/{number}"}}],
                "context": {"encounter": [{"reference": "Encounter/enc-stay"}]},
            },
        )
    yield (
        LETTER,
        HOSPITAL,
        {
            "resourceType": "DocumentReference",
            "status": "current",
            "description": "随访记录",
            "date": f"{(today - timedelta(days=30)).isoformat()}T15:00:00+08:00",
            "content": [{"attachment": {"contentType": "text/plain; charset=utf-8", "data": _LETTER}}],
        },
    )


_LETTER = base64.b64encode("本次随访：一般情况良好。\n建议三个月后复查。".encode()).decode()


def _pressure(day: date, systolic: int, diastolic: int) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "category": [{"coding": [{"system": _CATEGORIES, "code": "vital-signs"}]}],
        "code": {"coding": [{"system": _LOINC, "code": PRESSURE}], "text": "血压"},
        "effectiveDateTime": f"{day.isoformat()}T08:10:00+08:00",
        "component": [
            {
                "code": {"coding": [{"system": _LOINC, "code": code}], "text": title},
                "valueQuantity": {"value": value, "unit": "mmHg"},
                "referenceRange": [{"low": {"value": low}, "high": {"value": high}}],
            }
            for code, title, value, low, high in (
                (SYSTOLIC, "收缩压", systolic, 90, 139),
                (DIASTOLIC, "舒张压", diastolic, 60, 89),
            )
        ],
    }


def _coded(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": f"http://terminology.hl7.org/CodeSystem/{system}", "code": code}]}


def _number(text: str) -> Decimal:
    return Decimal(text)


def clinical_document(resident: Resident, *, version: int = 2, title: str = "出院小结") -> bytes:
    """Return a synthetic document in GB18030, with text, a list, a table, coded entries, and a trap."""
    return f"""<?xml version="1.0" encoding="GB18030"?>
<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <realmCode code="CN"/><typeId root="2.16.840.1.113883.1.3" extension="POCD_MT000040"/>
  <id root="2.16.156.10011.1.1" extension="D-{version}"/>
  <code code="C0038" codeSystem="2.16.156.10011.2.4" codeSystemName="卫生信息共享文档规范编码体系"/>
  <title>{title}</title><effectiveTime value="20260122103000"/><languageCode code="zh-CN"/>
  <setId/><versionNumber value="{version}"/>
  <recordTarget><patientRole><id root="2.16.156.10011.1.12" extension="ZY20260117"/>
    <telecom value="tel:{resident.phone}"/>
    <patient><id root="2.16.156.10011.1.3" extension="{resident.number}"/><name>{resident.name}</name>
      <administrativeGenderCode code="{resident.sex}" codeSystem="2.16.156.10011.2.3.3.4"/>
      <birthTime value="{resident.birth_date:%Y%m%d}"/></patient></patientRole></recordTarget>
  <author><time value="20260122103000"/><assignedAuthor><id root="2.16.156.10011.1.7" extension="DR-1"/>
    <assignedPerson><name>卫医生</name></assignedPerson></assignedAuthor></author>
  <custodian><assignedCustodian><representedCustodianOrganization>
    <id root="2.16.156.10011.1.5" extension="H9901"/><name>桐山区人民医院（虚构）</name>
  </representedCustodianOrganization></assignedCustodian></custodian>
  <component><structuredBody>
    <component><section><code code="11535-2" codeSystem="2.16.840.1.113883.6.1" displayName="出院诊断"/>
      <title>出院诊断</title><text><list listType="ordered"><item>胆囊结石伴慢性胆囊炎</item>
      <item>2型糖尿病<list><item>糖尿病肾病？待查</item></list></item></list></text></section></component>
    <component><section><code code="8648-8" codeSystem="2.16.840.1.113883.6.1"/><title>诊疗经过</title>
      <text><paragraph>患者{resident.name}，入院后完善检查，于次日行腹腔镜下胆囊切除术，过程顺利。&lt;script&gt;alert(1)&lt;/script&gt;</paragraph>
      <paragraph>术后予抗感染、补液治疗，恢复良好。</paragraph></text></section></component>
    <component><section><code code="30954-2" codeSystem="2.16.840.1.113883.6.1"/><title>辅助检查</title>
      <text><table><caption>血常规</caption><thead><tr><th>项目</th><th>结果</th><th>单位</th><th>参考范围</th></tr></thead>
      <tbody><tr><td>白细胞计数</td><td>12.4 ↑</td><td>10⁹/L</td><td>3.5–9.5</td></tr>
      <tr><td>血红蛋白</td><td>132</td><td>g/L</td><td>115–150</td></tr></tbody></table></text>
      <entry><observation classCode="OBS" moodCode="EVN"><code code="6690-2"
        codeSystem="2.16.840.1.113883.6.1" displayName="白细胞计数"/><value xsi:type="PQ" value="12.4"
        unit="10*9/L"/></observation></entry></section></component>
    <component><section><code code="8716-3" codeSystem="2.16.840.1.113883.6.1" displayName="生命体征"/><text/>
      <entry><observation classCode="OBS" moodCode="EVN"><code code="DE04.10.186.00"
        codeSystem="2.16.156.10011.2.2.1" displayName="体温"/><value xsi:type="PQ" value="36.5" unit="℃"/>
        </observation></entry>
      <entry><organizer classCode="BATTERY" moodCode="EVN"><code displayName="血压"/><statusCode/>
        <component><observation classCode="OBS" moodCode="EVN"><code code="DE04.10.174.00"
          codeSystem="2.16.156.10011.2.2.1" displayName="收缩压"/><value xsi:type="PQ" value="128" unit="mmHg"/>
          </observation></component>
        <component><observation classCode="OBS" moodCode="EVN"><code code="DE04.10.176.00"
          codeSystem="2.16.156.10011.2.2.1" displayName="舒张压"/><value xsi:type="PQ" value="78" unit="mmHg"/>
          </observation></component></organizer></entry></section></component>
    <component><section><code code="8653-8" codeSystem="2.16.840.1.113883.6.1"/><title>出院医嘱</title>
      <text>低脂饮食，一周后门诊复查。</text></section></component>
  </structuredBody></component>
</ClinicalDocument>""".encode("gb18030")
