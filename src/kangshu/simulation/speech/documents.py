"""What happens at an institution as shared documents of WS/T 500: visits, reports, discharges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kangshu.simulation.speech.markup import (
    DOCUMENTS,
    ICD10,
    LOINC,
    Heading,
    coded,
    document,
    moment,
    narrative,
    observation,
    organizer,
    section,
    string,
    text,
)
from kangshu.simulation.speech.month import PERSON, Month, Report, Row, Stay, Visit, seconds, when
from kangshu.simulation.speech.said import Said, Slip
from kangshu.simulation.speech.segments import plain
from kangshu.simulation.streams import Stream

_MINUTE = 60
_HOUR = 3600
_CORRECTED = 0.03  # arbitrary
_DISCHARGE_DIAGNOSES = ("3", "4")


class DocumentVoice:
    """Says a month of one institution in documents; the same month and stream give the same ones."""

    def __init__(self, month: Month, charset: str, random: Stream) -> None:
        self._month, self._charset, self._random = month, charset, random

    def said(self) -> Iterator[Said]:
        """Yield everything that is said, in no order; what would come after the month is left unsaid."""
        for number, visit in enumerate(self._month.visits):
            corrected = number == 0 or bool(self._random.random() < _CORRECTED)
            yield from self._within(self._visit(visit, corrected=corrected))
        for report in self._month.reports:
            yield from self._within(self._laboratory(report))
        for row in self._month.examinations:
            yield from self._within(self._examination(row))
        yield from self.discharges()

    def discharges(self) -> Iterator[Said]:
        """Yield the discharge records and, at every third discharge, summaries alone."""
        for number, stay in enumerate(self._month.stays):
            yield from self._within(self._discharge(stay, kind="C0053" if number % 3 == 2 else "C0049"))

    def _within(self, said: Iterator[Said]) -> Iterator[Said]:
        return (one for one in said if self._month.within(one.at))

    def _visit(self, visit: Visit, *, corrected: bool) -> Iterator[Said]:
        row, number = visit.row, str(visit.row["visit_number"])
        at = seconds(row["visited_at"]) + 25 * _MINUTE
        complaint = text("DE04.01.119.00", "主诉", row.get("chief_complaint") or "无")
        found = [_diagnosis(one, "诊断代码") for one in visit.diagnoses]
        orders = [_drug_line(item) for items in visit.prescriptions for item in items]
        body = [section("10154-3", "CHIEF COMPLAINT", complaint), section("29548-5", "Diagnosis", *found)]
        body += [narrative("46209-3", "Provider Orders", "\n".join(orders))] if orders else []
        ids = [("11", number)]
        yield self._say("C0002", row, at, number, ids=ids, body=body)
        if corrected:
            advice = narrative("48767-8", "Annotation comment", "按时服药，一周后复诊。", title="嘱托")
            later = at + 50 * _MINUTE
            yield self._say("C0002", row, later, number, ids=ids, body=[*body, advice], version=2)

    def _laboratory(self, report: Report) -> Iterator[Said]:
        row, number = report.row, str(report.row["report_number"])
        kind = text("DE04.30.018.00", "检验类别", row["title"])
        items = [_laboratory_item(one, row) for one in report.results]
        concluded = [
            text("DE04.50.130.00", "检验报告结果", _verdict(report.results)),
            text("DE08.10.013.00", "检验报告机构名称", self._month.name),
        ]
        body = [section("30954-2", "STUDIES SUMMARY", kind, *items), section("", "检验报告", *concluded)]
        ids = [_visit_number(row), ("33", number)]
        yield self._say("C0007", row, seconds(row["reported_at"]), number, ids=ids, body=body)

    def _examination(self, row: Row) -> Iterator[Said]:
        number, part = str(row["report_number"]), row.get("body_part") or row["modality"]
        looked = [
            text("DE04.30.018.00", "检查类别", row["modality"]),
            observation("DE04.30.019.00", "检查项目代码", string(part), at=row["examined_at"]),
        ]
        seen = [
            text("DE04.50.131.00", "检查报告结果-客观所见", row["findings"]),
            text("DE04.50.132.00", "检查报告结果-主观提示", row["impression"]),
            text("DE08.10.013.00", "检查报告机构名称", self._month.name),
        ]
        body = [section("29545-1", "PHYSICAL EXAMINATION", *looked), section("", "检查报告", *seen)]
        ids = [_visit_number(row), ("32", number)]
        yield self._say("C0006", row, seconds(row["reported_at"]), number, ids=ids, body=body)

    def _discharge(self, stay: Stay, *, kind: str) -> Iterator[Said]:
        row, number = stay.row, str(stay.row["visit_number"])
        admitted = [
            moment("DE06.00.092.00", "入院日期时间", row["admitted_at"]),
            _diagnosis(row, "入院诊断编码"),
        ]
        course = text("DE06.00.296.00", "诊疗过程描述", f"因{row['diagnosis_name']}入院，予对症治疗。")
        found = [one for one in stay.diagnoses if one["diagnosis_type"] in _DISCHARGE_DIAGNOSES]
        left = [
            moment("DE06.00.017.00", "出院日期时间", row["discharged_at"]),
            *(_diagnosis(one, "出院诊断-西医诊断编码") for one in found),
            text("DE06.00.287.00", "出院医嘱", "注意休息，定期复查。"),
        ]
        body = [
            section("11535-2", "HOSPITAL ADMISSION DX", *admitted),
            section("8648-8", "Hospital Course", course),
            section("11535-2", "Discharge Diagnosis", *left),
        ]
        at = seconds(row["discharged_at"]) + 2 * _HOUR
        yield self._say(kind, row, at, number, ids=[("12", number)], body=body)

    def _say(
        self,
        kind: str,
        row: Row,
        at: int,
        number: str,
        *,
        ids: Sequence[tuple[str, str]],
        body: Sequence[str],
        version: int = 1,
    ) -> Said:
        heading = Heading(
            kind=kind,
            number=f"{number}-{version}",
            made_at=when(at),
            ids=ids,
            replaces=f"{number}-{version - 1}" if version > 1 else "",
        )
        written = document(self._month, row, heading, body, charset=self._charset)
        return Said(
            at=at,
            channel=kind,
            type=kind,
            person=int(row[PERSON]),
            make=lambda _: written,
            control_id=f"{DOCUMENTS}^{kind}-{heading.number}",
            name=f"{kind}_{heading.number}.xml",
            slip=Slip.CORRECTION if version > 1 else "",
        )


def _visit_number(row: Row) -> tuple[str, str]:
    """Return the number of a visit with the end of its root: 住院号 or 门（急）诊号."""
    number = str(row["visit_number"])
    return "12" if number.startswith("I") else "11", number


def _diagnosis(row: Row, title: str) -> str:
    value = coded(row["diagnosis_code"], row["diagnosis_name"], system=ICD10)
    return observation("DE05.01.024.00", title, value, at=row.get("diagnosed_at"))


def _laboratory_item(result: Row, report: Row) -> str:
    """Return one item: name and code, then its number with its unit, or its text."""
    sample = string(report.get("specimen") or "未知")
    specimen = observation("DE04.50.134.00", "标本类别", sample, at=report["collected_at"])
    name = coded(result["item_code"], result["item_name"], system=LOINC)
    item = observation("DE04.30.019.00", "检验项目代码", name, specimen, at=report["reported_at"])
    if result.get("value_number") is None:
        return organizer(item, text("DE04.30.017.00", "检验结果代码", result["value_text"]))
    unit = [text("DE04.30.016.00", "检验计量单位", result["unit"])] if result.get("unit") else []
    number = f'<value xsi:type="REAL" value="{plain(result["value_number"])}"/>'
    return organizer(item, observation("DE04.30.015.00", "检验定量结果", number, *unit))


def _verdict(results: Sequence[Row]) -> str:
    abnormal = [str(one["item_name"]) for one in results if one.get("flag") not in (None, "N")]
    return f"异常：{'、'.join(abnormal)}" if abnormal else "未见异常"


def _drug_line(row: Row) -> str:
    dose = f"每次{plain(row.get('dose'))}{row.get('dose_unit') or ''}"
    supply = f"共{plain(row['quantity'])}{row['quantity_unit']}"
    return f"{row['drug_name']} {row.get('specification') or ''} {dose}，{supply}"
