"""What happens at an institution as shared documents of WS/T 500: visits, reports, discharges.

Header, sections and data elements follow the parts of WS/T 500-2016; numbers of visits, records and
reports stand in the patient's role, as there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from xml.sax.saxutils import escape, quoteattr

from kangshu.simulation.speech.month import PERSON, Month, Report, Row, Stay, Visit, seconds, when
from kangshu.simulation.speech.said import Said, Slip
from kangshu.simulation.speech.segments import plain
from kangshu.simulation.streams import Stream

_MINUTE = 60
_HOUR = 3600
_CORRECTED = 0.03  # arbitrary
_SEXES = {"1": "男", "2": "女"}
_ICD10 = "2.16.156.10011.2.3.3.11"
_LOINC = "2.16.840.1.113883.6.1"
_DOCUMENTS = "2.16.156.10011.1.1"  # the root of document numbers
_TITLES = {
    "C0002": "门（急）诊病历",
    "C0006": "检查报告",
    "C0007": "检验报告",
    "C0049": "出院记录",
    "C0053": "出院小结",
}
_TEMPLATES = {"C0002": 22, "C0006": 26, "C0007": 27, "C0049": 69, "C0053": 73}


class DocumentVoice:
    """Says a month of one institution in documents; the same month and stream give the same ones."""

    def __init__(self, month: Month, charset: str, random: Stream) -> None:
        self._month, self._charset, self._random = month, charset, random

    def said(self) -> Iterator[Said]:
        """Yield everything that is said, in no order; what would come after the month is left unsaid."""
        for one in self._all():
            if self._month.within(one.at):
                yield one

    def discharges(self) -> Iterator[Said]:
        """Yield the discharge records and summaries alone."""
        for number, stay in enumerate(self._month.stays):
            for one in self._discharge(stay, summary=number % 3 == 2):
                if self._month.within(one.at):
                    yield one

    def _all(self) -> Iterator[Said]:
        for number, visit in enumerate(self._month.visits):
            yield from self._visit(visit, corrected=number == 0 or self._chance(_CORRECTED))
        for report in self._month.reports:
            yield from self._laboratory(report)
        for row in self._month.examinations:
            yield from self._examination(row)
        yield from self.discharges()

    def _chance(self, share: float) -> bool:
        return bool(self._random.random() < share)

    def _visit(self, visit: Visit, *, corrected: bool) -> Iterator[Said]:
        row = visit.row
        at = seconds(row["visited_at"]) + 25 * _MINUTE
        complaint = _section(
            "10154-3", "CHIEF COMPLAINT", _text("DE04.01.119.00", "主诉", row.get("chief_complaint") or "无")
        )
        orders = [
            _narrative("46209-3", "Provider Orders", _drug_line(item))
            for items in visit.prescriptions
            for item in items
        ]
        body = [complaint, *_diagnoses(visit.diagnoses, "诊断代码"), *orders]
        number = str(row["visit_number"])
        yield self._say("C0002", row, at, f"{number}-1", ids=[("11", number)], body=body)
        if corrected:
            advice = _narrative("48767-8", "Annotation comment", "嘱托：按时服药，一周后复诊。", title="嘱托")
            yield self._say(
                "C0002",
                row,
                at + 50 * _MINUTE,
                f"{number}-2",
                ids=[("11", number)],
                body=[*body, advice],
                replaces=f"{number}-1",
            )

    def _laboratory(self, report: Report) -> Iterator[Said]:
        row = report.row
        items = [_laboratory_item(one, row) for one in report.results]
        studies = _section(
            "30954-2", "STUDIES SUMMARY", _text("DE04.30.018.00", "检验类别", row["title"]), *items
        )
        concluded = _section(
            "",
            "检验报告",
            _text("DE04.50.130.00", "检验报告结果", _verdict(report.results)),
            _text("DE08.10.013.00", "检验报告机构名称", self._month.name),
        )
        number = str(row["report_number"])
        ids = [(_visit_root(row), row["visit_number"]), ("33", number)]
        at = seconds(row["reported_at"])
        yield self._say("C0007", row, at, f"{number}-1", ids=ids, body=[studies, concluded])

    def _examination(self, row: Row) -> Iterator[Said]:
        item = _observation(
            "DE04.30.019.00",
            "检查项目代码",
            _string(row.get("body_part") or row["modality"]),
            at=row["examined_at"],
        )
        looked = _section(
            "29545-1", "PHYSICAL EXAMINATION", _text("DE04.30.018.00", "检查类别", row["modality"]), item
        )
        seen = _section(
            "",
            "检查报告",
            _text("DE04.50.131.00", "检查报告结果-客观所见", row["findings"]),
            _text("DE04.50.132.00", "检查报告结果-主观提示", row["impression"]),
            _text("DE08.10.013.00", "检查报告机构名称", self._month.name),
        )
        number = str(row["report_number"])
        ids = [(_visit_root(row), row["visit_number"]), ("32", number)]
        at = seconds(row["reported_at"])
        yield self._say("C0006", row, at, f"{number}-1", ids=ids, body=[looked, seen])

    def _discharge(self, stay: Stay, *, summary: bool) -> Iterator[Said]:
        row = stay.row
        gone = row["discharged_at"]
        admitted = _section(
            "11535-2",
            "HOSPITAL ADMISSION DX",
            _observation(
                "DE06.00.092.00",
                "入院日期时间",
                f'<value xsi:type="TS" value="{_digits(row["admitted_at"])}"/>',
            ),
            _coded_diagnosis(row, "入院诊断编码"),
        )
        course = _section(
            "8648-8",
            "Hospital Course",
            _text("DE06.00.296.00", "诊疗过程描述", f"因{row['diagnosis_name']}入院，予对症治疗。"),
        )
        found = [one for one in stay.diagnoses if one["diagnosis_type"] in ("3", "4")]
        left = _section(
            "11535-2",
            "Discharge Diagnosis",
            _observation("DE06.00.017.00", "出院日期时间", f'<value xsi:type="TS" value="{_digits(gone)}"/>'),
            *(_coded_diagnosis(one, "出院诊断-西医诊断编码") for one in found),
            _text("DE06.00.287.00", "出院医嘱", "注意休息，定期复查。"),
        )
        number = str(row["visit_number"])
        yield self._say(
            "C0053" if summary else "C0049",
            row,
            seconds(gone) + 2 * _HOUR,
            f"{number}-1",
            ids=[("12", number)],
            body=[admitted, course, left],
        )

    def _say(
        self,
        kind: str,
        row: Row,
        at: int,
        number: str,
        *,
        ids: Sequence[tuple[str, str]],
        body: Sequence[str],
        replaces: str = "",
    ) -> Said:
        text = self._document(kind, row, at, number, ids, body, replaces)
        return Said(
            at=at,
            channel=kind,
            type=kind,
            person=int(row[PERSON]),
            make=lambda _: text,
            control_id=f"{_DOCUMENTS}^{kind}-{number}",
            name=f"{kind}_{number}.xml",
            slip=Slip.CORRECTION if replaces else "",
        )

    def _document(
        self,
        kind: str,
        row: Row,
        at: int,
        number: str,
        ids: Sequence[tuple[str, str]],
        body: Sequence[str],
        replaces: str,
    ) -> str:
        stamped = _digits(when(at))
        numbers = "".join(
            f'<id root="2.16.156.10011.1.{root}" extension={quoteattr(value)}/>' for root, value in ids
        )
        related = (
            f'<relatedDocument typeCode="RPLC"><parentDocument><id root="2.16.156.10011.1.1" '
            f'extension="{kind}-{replaces}"/><setId root="2.16.156.10011.1.1" '
            f'extension="{kind}-{replaces[:-2]}"/><versionNumber value="1"/></parentDocument></relatedDocument>'
            if replaces
            else ""
        )
        doctor = row.get("doctor_name") or "值班医师"
        return "".join(
            (
                f'<?xml version="1.0" encoding="{self._charset.upper()}"?>\n',
                '<ClinicalDocument xmlns="urn:hl7-org:v3" ',
                'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><realmCode code="CN"/>',
                '<typeId root="2.16.840.1.113883.1.3" extension="POCD_MT000040"/>',
                f'<templateId root="2.16.156.10011.2.1.1.{_TEMPLATES[kind]}"/>',
                f'<id root="2.16.156.10011.1.1" extension="{kind}-{number}"/>',
                f'<code code="{kind}" codeSystem="2.16.156.10011.2.4" codeSystemName="卫生信息共享文档规范编码体系"/>',
                f"<title>{_TITLES[kind]}</title>",
                f'<effectiveTime value="{stamped}"/>',
                '<confidentialityCode code="N" codeSystem="2.16.840.1.113883.5.25"/><languageCode code="zh-CN"/>',
                f'<setId root="2.16.156.10011.1.1" extension="{kind}-{number[:-2]}"/>',
                f'<versionNumber value="{number[-1]}"/>',
                f"{self._patient(row, numbers)}",
                f'<author><time value="{stamped}"/><assignedAuthor><id root="2.16.156.10011.1.7" ',
                f'extension="{sum(doctor.encode()) % 1000:03d}"/><assignedPerson><name>{escape(doctor)}</name>',
                "</assignedPerson></assignedAuthor></author>",
                "<custodian><assignedCustodian><representedCustodianOrganization>",
                f'<id root="2.16.156.10011.1.5" extension="{self._month.code}"/>',
                f"<name>{escape(self._month.name)}</name>",
                f"</representedCustodianOrganization></assignedCustodian></custodian>{related}",
                self._encounter(row),
                f"<component><structuredBody>{''.join(body)}</structuredBody></component></ClinicalDocument>\n",
            )
        )

    def _patient(self, row: Row, numbers: str) -> str:
        sex = str(row.get("sex"))
        resident = row.get("resident_number")
        known = f'<id root="2.16.156.10011.1.3" extension="{resident}"/>' if resident else ""
        phone = f'<telecom value="{escape(row["phone"])}"/>' if row.get("phone") else ""
        return (
            f'<recordTarget typeCode="RCT" contextControlCode="OP"><patientRole classCode="PAT">'
            f'<id root="2.16.156.10011.1.13" extension={quoteattr(row["patient_number"])}/>{numbers}{phone}'
            f'<patient classCode="PSN" determinerCode="INSTANCE">{known}<name>{escape(row["patient_name"])}</name>'
            f'<administrativeGenderCode code="{sex}" displayName="{_SEXES.get(sex, "未知的性别")}" '
            f'codeSystem="2.16.156.10011.2.3.3.4"/><birthTime value="{row["birth_date"]:%Y%m%d}"/>'
            "</patient></patientRole></recordTarget>"
        )

    def _encounter(self, row: Row) -> str:
        """Return where and when the visit was, where the row says so."""
        time = "<effectiveTime/>"
        if row.get("visited_at"):
            begun = _digits(row["visited_at"])
            time = f'<code displayName="门诊就诊"/><effectiveTime value="{begun}"/>'
        elif row.get("discharged_at"):
            low, high = _digits(row["admitted_at"]), _digits(row["discharged_at"])
            span = f'<low value="{low}"/><high value="{high}"/>'
            time = f'<code displayName="住院"/><effectiveTime>{span}</effectiveTime>'
        department = row.get("department_code") or ""
        title = escape(self._month.departments.get(department, department))
        return (
            f"<componentOf><encompassingEncounter>{time}<location><healthCareFacility>"
            "<serviceProviderOrganization><asOrganizationPartOf><wholeOrganization>"
            f'<id root="2.16.156.10011.1.26" extension={quoteattr(department)}/><name>{title}</name>'
            "<asOrganizationPartOf><wholeOrganization>"
            f'<id root="2.16.156.10011.1.5" extension="{self._month.code}"/><name>{escape(self._month.name)}</name>'
            "</wholeOrganization></asOrganizationPartOf></wholeOrganization></asOrganizationPartOf>"
            "</serviceProviderOrganization></healthCareFacility></location></encompassingEncounter></componentOf>"
        )


def _visit_root(row: Row) -> str:
    """Return the end of the root under which the number of a visit stands: 住院号 or 门（急）诊号."""
    return "12" if str(row["visit_number"]).startswith("I") else "11"


def _section(code: str, title: str, *entries: str) -> str:
    coded = (
        f'<code code="{code}" displayName="{title}" codeSystem="{_LOINC}" codeSystemName="LOINC"/>'
        if code
        else f'<code displayName="{title}"/>'
    )
    inner = "".join(f"<entry>{entry}</entry>" for entry in entries)
    return f"<component><section>{coded}<text/>{inner}</section></component>"


def _narrative(code: str, display: str, text: str, *, title: str = "") -> str:
    heading = f"<title>{title}</title>" if title else ""
    return (
        f'<component><section><code code="{code}" displayName="{display}" codeSystem="{_LOINC}"/>{heading}'
        f"<text>{escape(text)}</text></section></component>"
    )


def _observation(code: str, title: str, value: str, *inner: str, at: datetime | None = None) -> str:
    time = f'<effectiveTime value="{_digits(at)}"/>' if at else ""
    below = "".join(f'<entryRelationship typeCode="COMP">{one}</entryRelationship>' for one in inner)
    return (
        f'<observation classCode="OBS" moodCode="EVN"><code code="{code}" displayName="{title}" '
        f'codeSystem="2.16.156.10011.2.2.1" codeSystemName="卫生信息数据元目录"/>{time}{value}{below}</observation>'
    )


def _string(text: object) -> str:
    return f'<value xsi:type="ST">{escape(str(text))}</value>'


def _text(code: str, title: str, text: object) -> str:
    return _observation(code, title, _string(text))


def _coded_diagnosis(row: Row, title: str) -> str:
    value = (
        f'<value xsi:type="CD" code={quoteattr(row["diagnosis_code"])} codeSystem="{_ICD10}" '
        f'codeSystemName="疾病分类与代码" displayName={quoteattr(row["diagnosis_name"])}/>'
    )
    return _observation("DE05.01.024.00", title, value, at=row.get("diagnosed_at"))


def _diagnoses(rows: Sequence[Row], title: str) -> list[str]:
    return [_section("29548-5", "Diagnosis", *(_coded_diagnosis(row, title) for row in rows))] if rows else []


def _laboratory_item(result: Row, report: Row) -> str:
    """Return one item: name and code, then its number with its unit, or its text."""
    specimen = _observation(
        "DE04.50.134.00", "标本类别", _string(report.get("specimen") or "未知"), at=report["collected_at"]
    )
    named = (
        f'<value xsi:type="CD" code={quoteattr(result["item_code"])} displayName={quoteattr(result["item_name"])} '
        f'codeSystem="{_LOINC}" codeSystemName="LOINC"/>'
    )
    item = _observation("DE04.30.019.00", "检验项目代码", named, specimen, at=report["reported_at"])
    if result.get("value_number") is None:
        value = _text("DE04.30.017.00", "检验结果代码", result["value_text"])
    else:
        unit = [_text("DE04.30.016.00", "检验计量单位", result["unit"])] if result.get("unit") else []
        number = f'<value xsi:type="REAL" value="{plain(result["value_number"])}"/>'
        value = _observation("DE04.30.015.00", "检验定量结果", number, *unit)
    members = "".join(f"<component>{one}</component>" for one in (item, value))
    return f'<organizer classCode="CLUSTER" moodCode="EVN"><statusCode/>{members}</organizer>'


def _verdict(results: Sequence[Row]) -> str:
    abnormal = [str(one["item_name"]) for one in results if one.get("flag") not in (None, "N")]
    return f"异常：{'、'.join(abnormal)}" if abnormal else "未见异常"


def _drug_line(row: Row) -> str:
    amount = f"{plain(row.get('dose'))}{row.get('dose_unit') or ''}"
    return f"{row['drug_name']} {row.get('specification') or ''} 每次{amount}，共{plain(row['quantity'])}{row['quantity_unit']}"


def _digits(value: datetime) -> str:
    return f"{value:%Y%m%d%H%M%S}"
