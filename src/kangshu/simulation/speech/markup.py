"""The XML of shared documents: header, sections and entries as WS/T 500 writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from xml.sax.saxutils import escape, quoteattr

from kangshu.simulation.speech.month import Month, Row

DOCUMENTS = "2.16.156.10011.1.1"
"""The root under which documents have their numbers."""

TITLES = {
    "C0002": "门（急）诊病历",
    "C0006": "检查报告",
    "C0007": "检验报告",
    "C0049": "出院记录",
    "C0053": "出院小结",
}
LOINC = "2.16.840.1.113883.6.1"
ICD10 = "2.16.156.10011.2.3.3.11"

_NUMBERS = "2.16.156.10011.1"
_TEMPLATES = {"C0002": 22, "C0006": 26, "C0007": 27, "C0049": 69, "C0053": 73}
_SEXES = {"1": "男", "2": "女"}


@dataclass(frozen=True, kw_only=True)
class Heading:
    """What stands in the header of one document.

    `number` ends in the version (`-1`), without it it names the set; `ids` are the ends of roots with the
    numbers of visit and report; `replaces` is the number of the version before.
    """

    kind: str
    number: str
    made_at: datetime
    ids: Sequence[tuple[str, str]]
    replaces: str = ""


def document(month: Month, row: Row, heading: Heading, sections: Sequence[str], *, charset: str) -> str:
    """Return a document about the patient of `row`; `charset` is what it will be written in."""
    kind, doctor = heading.kind, row.get("doctor_name") or "值班医师"
    stamped = digits(heading.made_at)
    return "".join(
        (
            f'<?xml version="1.0" encoding="{charset.upper()}"?>\n',
            '<ClinicalDocument xmlns="urn:hl7-org:v3" ',
            'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><realmCode code="CN"/>',
            '<typeId root="2.16.840.1.113883.1.3" extension="POCD_MT000040"/>',
            f'<templateId root="2.16.156.10011.2.1.1.{_TEMPLATES[kind]}"/>',
            _identifier("id", f"{kind}-{heading.number}"),
            f'<code code="{kind}" codeSystem="2.16.156.10011.2.4"/><title>{TITLES[kind]}</title>',
            f'<effectiveTime value="{stamped}"/>',
            '<confidentialityCode code="N" codeSystem="2.16.840.1.113883.5.25"/>',
            '<languageCode code="zh-CN"/>',
            _identifier("setId", f"{kind}-{heading.number[:-2]}"),
            f'<versionNumber value="{heading.number[-1]}"/>',
            _patient(row, heading.ids),
            f'<author><time value="{stamped}"/><assignedAuthor>',
            f'<id root="{_NUMBERS}.7" extension="{sum(doctor.encode()) % 1000:03d}"/>',
            f"<assignedPerson><name>{escape(doctor)}</name></assignedPerson></assignedAuthor></author>",
            "<custodian><assignedCustodian><representedCustodianOrganization>",
            _institution(month),
            "</representedCustodianOrganization></assignedCustodian></custodian>",
            _replaced(heading) if heading.replaces else "",
            _encounter(month, row),
            f"<component><structuredBody>{''.join(sections)}</structuredBody></component>",
            "</ClinicalDocument>\n",
        )
    )


def _identifier(element: str, value: str) -> str:
    return f'<{element} root="{DOCUMENTS}" extension={quoteattr(value)}/>'


def _institution(month: Month) -> str:
    return f'<id root="{_NUMBERS}.5" extension="{month.code}"/><name>{escape(month.name)}</name>'


def _replaced(heading: Heading) -> str:
    before = f"{heading.kind}-{heading.replaces}"
    return (
        f'<relatedDocument typeCode="RPLC"><parentDocument>{_identifier("id", before)}'
        f'{_identifier("setId", before[:-2])}<versionNumber value="{before[-1]}"/>'
        "</parentDocument></relatedDocument>"
    )


def _patient(row: Row, ids: Sequence[tuple[str, str]]) -> str:
    numbers = "".join(
        f'<id root="{_NUMBERS}.{root}" extension={quoteattr(value)}/>'
        for root, value in (("13", row["patient_number"]), *ids)
    )
    sex = str(row.get("sex"))
    resident = row.get("resident_number")
    known = f'<id root="{_NUMBERS}.3" extension="{resident}"/>' if resident else ""
    phone = f"<telecom value={quoteattr(row['phone'])}/>" if row.get("phone") else ""
    return (
        f'<recordTarget typeCode="RCT" contextControlCode="OP"><patientRole classCode="PAT">{numbers}{phone}'
        f'<patient classCode="PSN" determinerCode="INSTANCE">{known}'
        f"<name>{escape(row['patient_name'])}</name>"
        f'<administrativeGenderCode code="{sex}" displayName="{_SEXES.get(sex, "未知的性别")}" '
        f'codeSystem="2.16.156.10011.2.3.3.4"/><birthTime value="{row["birth_date"]:%Y%m%d}"/>'
        "</patient></patientRole></recordTarget>"
    )


def _encounter(month: Month, row: Row) -> str:
    """Return where and when the visit was, as far as the row says so."""
    time = "<effectiveTime/>"
    if row.get("visited_at"):
        time = f'<code displayName="门诊就诊"/><effectiveTime value="{digits(row["visited_at"])}"/>'
    elif row.get("discharged_at"):
        span = f'<low value="{digits(row["admitted_at"])}"/><high value="{digits(row["discharged_at"])}"/>'
        time = f'<code displayName="住院"/><effectiveTime>{span}</effectiveTime>'
    department = row.get("department_code") or ""
    title = escape(month.departments.get(department, department))
    return (
        f"<componentOf><encompassingEncounter>{time}<location><healthCareFacility>"
        "<serviceProviderOrganization><asOrganizationPartOf><wholeOrganization>"
        f'<id root="{_NUMBERS}.26" extension={quoteattr(department)}/><name>{title}</name>'
        f"<asOrganizationPartOf><wholeOrganization>{_institution(month)}"
        "</wholeOrganization></asOrganizationPartOf></wholeOrganization></asOrganizationPartOf>"
        "</serviceProviderOrganization></healthCareFacility></location>"
        "</encompassingEncounter></componentOf>"
    )


def section(code: str, title: str, *entries: str) -> str:
    """Return a section of the LOINC class `code`; some of WS/T 500 have a title alone."""
    system = f' code="{code}" codeSystem="{LOINC}" codeSystemName="LOINC"' if code else ""
    inner = "".join(f"<entry>{entry}</entry>" for entry in entries)
    return f'<component><section><code displayName="{title}"{system}/><text/>{inner}</section></component>'


def narrative(code: str, display: str, words: str, *, title: str = "") -> str:
    """Return a section that is read, not processed."""
    heading = f"<title>{title}</title>" if title else ""
    return (
        f'<component><section><code code="{code}" displayName="{display}" codeSystem="{LOINC}"/>{heading}'
        f"<text>{escape(words)}</text></section></component>"
    )


def observation(code: str, title: str, value: str, *inner: str, at: datetime | None = None) -> str:
    """Return an entry of the data element `code` (WS 363) with the value element `value`."""
    time = f'<effectiveTime value="{digits(at)}"/>' if at else ""
    below = "".join(f'<entryRelationship typeCode="COMP">{one}</entryRelationship>' for one in inner)
    return (
        f'<observation classCode="OBS" moodCode="EVN"><code code="{code}" displayName="{title}" '
        f'codeSystem="2.16.156.10011.2.2.1"/>{time}{value}{below}</observation>'
    )


def text(code: str, title: str, words: object) -> str:
    """Return an entry whose value is text."""
    return observation(code, title, string(words))


def moment(code: str, title: str, value: datetime) -> str:
    """Return an entry whose value is a time."""
    return observation(code, title, f'<value xsi:type="TS" value="{digits(value)}"/>')


def string(words: object) -> str:
    """Return a text as a value."""
    return f'<value xsi:type="ST">{escape(str(words))}</value>'


def coded(code: str, title: str, *, system: str) -> str:
    """Return a code as a value."""
    attributes: Mapping[str, str] = {"code": code, "codeSystem": system, "displayName": title}
    inner = " ".join(f"{name}={quoteattr(value)}" for name, value in attributes.items())
    return f'<value xsi:type="CD" {inner}/>'


def organizer(*members: str) -> str:
    """Return entries that belong together."""
    inner = "".join(f"<component>{one}</component>" for one in members)
    return f'<organizer classCode="CLUSTER" moodCode="EVN"><statusCode/>{inner}</organizer>'


def digits(value: datetime) -> str:
    """Return a time as documents write it, without zone."""
    return f"{value:%Y%m%d%H%M%S}"
