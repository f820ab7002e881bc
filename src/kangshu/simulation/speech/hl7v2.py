"""What happens at an institution as HL7 v2 messages: registrations, stays, orders, reports, vaccinations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from kangshu.simulation.speech.month import PERSON, Month, Report, Row, Stay, Visit, seconds, when
from kangshu.simulation.speech.said import Said, Slip
from kangshu.simulation.speech.segments import (
    NULL,
    Patient,
    dg1,
    drug_order,
    event,
    header,
    obr_examination,
    obr_laboratory,
    obx_result,
    obx_text,
    order,
    pid,
    pv1_brought,
    pv1_stay,
    pv1_visit,
    section_of,
    segment,
    vaccination,
)
from kangshu.simulation.speech.speakers import Manner
from kangshu.simulation.streams import Stream

_MINUTE = 60
_HOUR = 3600
# Shares, all arbitrary but of the size that interface teams report.
_NEW_PATIENT = 0.08
_BOOKED = 0.22
_BOOKED_IN_VAIN = 0.02
_CHANGED = 0.02
_PHONE_GONE = 0.005
_REGISTERED_TWICE = 0.008
_CANCELLED = 0.01
_MOVED = 0.15
_DISCHARGED_IN_ERROR = 0.04
_PRELIMINARY = 0.25
_CORRECTED = 0.015
_WRONG_VACCINATION = 0.03
_PROGRAMS = {
    "adt": "HIS",
    "doc": "EMR",
    "lis": "LIS",
    "ord": "PHIS",
    "ris": "RIS",
    "sch": "SCH",
    "vac": "IIS",
}
_FINDINGS, _IMPRESSION = "59776-5^Procedure findings^LN", "19005-8^Impression^LN"


class Hl7Voice:
    """Says a month of one institution in HL7 v2; the same month and stream give the same messages."""

    def __init__(self, month: Month, manner: Manner, random: Stream) -> None:
        self._month, self._manner, self._random = month, manner, random

    def said(self) -> Iterator[Said]:
        """Yield everything that is said, in no order; what would come after the month is left unsaid."""
        for one in self._all():
            if self._month.within(one.at):
                yield one

    def _all(self) -> Iterator[Said]:
        first = True
        for number, visit in enumerate(self._month.visits):
            # one of each at least, however small the institution
            certain = number if number < len(_ODDITIES) else None
            yield from self._visit(visit, certain=_ODDITIES[certain] if certain is not None else "")
        for stay in self._month.stays:
            ends = self._month.within(seconds(stay.row["discharged_at"]))
            yield from self._stay(stay, recalled=ends and (first or self._chance(_DISCHARGED_IN_ERROR)))
            first = first and not ends
        for number, report in enumerate(self._month.reports):
            yield from self._report(report, corrected=number == 0 or self._chance(_CORRECTED))
        for row in self._month.examinations:
            yield from self._examination(row)
        for number, row in enumerate(self._month.immunizations):
            yield from self._vaccination(row, mistaken=number == 0 or self._chance(_WRONG_VACCINATION))

    def _chance(self, share: float) -> bool:
        return bool(self._random.random() < share)

    def _say(
        self,
        channel: str,
        kind: str,
        structure: str,
        at: int,
        patient: Patient,
        lines: Sequence[str],
        *,
        slip: str = "",
    ) -> Said:
        """Return a message: MSH, EVN where the kind of message has one, PID, and `lines`."""
        code = self._month.code
        program = _PROGRAMS[channel]
        head = [header(self._manner, code=code, program=program, type=kind, structure=structure, at=at)]
        if kind.startswith(("ADT", "MDM")):
            head.append(event(kind.partition("^")[2], at))
        person = pid(self._manner, code, patient)
        before = [line for line in lines if line.startswith("SCH|")]
        rest = [line for line in lines if not line.startswith("SCH|")]
        text = "\r".join([*head, *before, person, *rest]) + "\r"
        if not slip and program == "LIS" and self._manner.laboratory_charset:
            slip = Slip.CHARSET_UNDECLARED
        return Said(
            at=at,
            channel=channel,
            type=kind,
            person=int(patient.row[PERSON]),
            make=lambda control: text.replace("{control}", control, 1),
            slip=slip,
        )

    def _adt(self, kind: str, at: int, patient: Patient, *lines: str, slip: str = "") -> Said:
        structure = {"A03": "ADT_A03", "A11": "ADT_A09", "A28": "ADT_A05", "A31": "ADT_A05", "A40": "ADT_A39"}
        return self._say(
            "adt", f"ADT^{kind}", structure.get(kind, "ADT_A01"), at, patient, list(lines), slip=slip
        )

    # Visits --------------------------------------------------------------------------------------------

    def _visit(self, visit: Visit, *, certain: str) -> Iterator[Said]:
        row, at = visit.row, seconds(visit.row["visited_at"])
        patient = Patient(row=row)
        if certain == "twice" or self._chance(_REGISTERED_TWICE):
            yield from self._registered_twice(visit, at)
            return
        if self._chance(_NEW_PATIENT):
            yield self._adt("A28", at - 4 * _MINUTE, patient, "PV1|1|N")
        if self._chance(_BOOKED):
            yield from self._appointment(row, at, kept=True)
        if self._chance(_BOOKED_IN_VAIN):
            yield from self._appointment(row, at + 20 * 24 * _HOUR, kept=False)
        if certain == "cancelled" or self._chance(_CANCELLED):
            yield from self._cancelled(row, at - 2 * _HOUR)
        yield from self._seen(visit, patient, at)
        yield from self._prescribed(visit, patient)
        if certain == "null" or self._chance(_PHONE_GONE):
            gone = Patient(row=row, phone=NULL)
            yield self._adt("A31", at + 40 * _MINUTE, gone, "PV1|1|N", slip=Slip.EXPLICIT_NULL)
        elif self._chance(_CHANGED):
            yield self._adt("A31", at + 40 * _MINUTE, patient, "PV1|1|N")

    def _seen(self, visit: Visit, patient: Patient, at: int) -> Iterator[Said]:
        """The visit itself: registered, diagnosed, over."""
        row = visit.row
        over = at + int(self._random.integers(20, 90)) * _MINUTE
        complaint = segment("PV2", {3: f"^{row['chief_complaint']}"}) if row.get("chief_complaint") else ""
        found = [dg1(one, number=n) for n, one in enumerate(visit.diagnoses, start=1)]
        begun = pv1_visit(row, self._month.departments)
        yield self._adt("A04", at, patient, begun, *filter(None, [complaint]))
        yield self._adt("A08", at + 9 * _MINUTE, patient, begun, *filter(None, [complaint]), *found)
        ended = pv1_visit(row, self._month.departments, ended=when(over))
        yield self._adt("A03", over, patient, ended, *filter(None, [complaint]), *found)

    def _prescribed(self, visit: Visit | Stay, patient: Patient) -> Iterator[Said]:
        kind = "RDE^O01" if self._manner.version.startswith("2.3") else "RDE^O11"
        structure = kind.replace("^", "_")
        for items in visit.prescriptions:
            lines = [pv1_brought(visit.row)]
            for number, item in enumerate(items, start=1):
                lines += drug_order(self._manner, item, number=number)
            yield self._say("ord", kind, structure, seconds(items[0]["prescribed_at"]), patient, lines)

    def _registered_twice(self, visit: Visit, at: int) -> Iterator[Said]:
        """A patient without papers gets a second number; hours later both are found to be one."""
        row = visit.row
        second = Patient(row=row, number=f"T{str(row['visit_number'])[3:]}", anonymous=True)
        yield self._adt("A28", at - 5 * _MINUTE, second, "PV1|1|N", slip=Slip.REGISTERED_TWICE)
        yield from self._seen(visit, second, at)
        yield from self._prescribed(visit, second)
        absorbed = f"MRG|{second.number}^^^{self._month.code}^PI"
        latest = self._month.after - _MINUTE
        yield self._adt("A40", min(at + 4 * _HOUR, latest), Patient(row=row), absorbed, slip=Slip.MERGE)

    def _cancelled(self, row: Row, at: int) -> Iterator[Said]:
        """Somebody registers, and goes again."""
        number = str(row["visit_number"])
        other = {**row, "visit_number": f"{number[:9]}9{number[10:]}", "visited_at": when(at)}
        patient, visit = Patient(row=other), pv1_visit(other, self._month.departments)
        if not self._month.within(at):
            return
        yield self._adt("A04", at, patient, visit)
        yield self._adt("A11", at + 12 * _MINUTE, patient, visit, slip=Slip.VISIT_CANCELLED)

    def _appointment(self, row: Row, at: int, *, kept: bool) -> Iterator[Said]:
        """A visit is booked days ahead; one that is not kept is called off."""
        booked = at - int(self._random.integers(1, 8)) * 24 * _HOUR if kept else at - 20 * 24 * _HOUR
        number = f"Y{str(row['visit_number'])[1:]}{'' if kept else '-2'}"

        def lines(status: str, reason: str) -> list[str]:
            schedule = segment(
                "SCH",
                {
                    1: f"{number}^HIS",
                    2: f"{number}^SCH",
                    6: reason,
                    7: "ROUTINE",
                    9: 15,
                    10: "min",
                    11: f"^^^{_digits(at)}^{_digits(at + 15 * _MINUTE)}",
                    16: f"^{row['doctor_name']}" if row.get("doctor_name") else "",
                    25: status,
                },
            )
            service = f"AIS|1||{row.get('department_code') or ''}|{_digits(at)}"
            return [schedule, "RGS|1", service]

        patient = Patient(row=row)
        yield self._say("sch", "SIU^S12", "SIU_S12", booked, patient, lines("Booked", ""))
        if not kept:
            called_off = lines("Cancelled", "^患者取消")
            yield self._say("sch", "SIU^S15", "SIU_S12", booked + 26 * _HOUR, patient, called_off)

    # Stays ---------------------------------------------------------------------------------------------

    def _stay(self, stay: Stay, *, recalled: bool) -> Iterator[Said]:
        row, patient = stay.row, Patient(row=stay.row)
        admitted, discharged = seconds(row["admitted_at"]), seconds(row["discharged_at"])
        first, last = row["department_code"], row["discharge_department"]
        reason = {**row, "diagnosed_at": row["admitted_at"], "diagnosis_type": "2"}
        yield self._adt(
            "A01",
            admitted,
            patient,
            pv1_stay(row, self._month.departments, department=first),
            dg1(reason, number=1),
        )
        yield from self._note(row, patient, admitted + 5 * _HOUR)
        if first != last or self._chance(_MOVED):
            moved = admitted + (discharged - admitted) // 2
            yield self._adt(
                "A02", moved, patient, pv1_stay(row, self._month.departments, department=last, before=first)
            )
        over = pv1_stay(row, self._month.departments, department=last, ended=row["discharged_at"])
        found = [
            dg1(one, number=n, rank=1 if one["diagnosis_type"] == "3" else n)
            for n, one in enumerate((one for one in stay.diagnoses if one["diagnosis_type"] != "2"), start=1)
        ]
        gone = [over, *found]
        if not recalled:
            yield self._adt("A03", discharged, patient, *gone)
        else:
            yield self._adt("A03", discharged - 3 * _HOUR, patient, *gone)
            back = pv1_stay(row, self._month.departments, department=last)
            yield self._adt("A13", discharged - 2 * _HOUR, patient, back, slip=Slip.DISCHARGE_CANCELLED)
            yield self._adt("A03", discharged, patient, *gone)
        yield from self._prescribed(stay, patient)

    def _note(self, row: Row, patient: Patient, at: int) -> Iterator[Said]:
        """The admission record, as text."""
        title = "入院记录"
        document = segment(
            "TXA",
            {
                1: 1,
                2: f"HP^{title}",
                3: "TX",
                4: _digits(at),
                5: f"^{row['doctor_name']}" if row.get("doctor_name") else "",
                6: _digits(at),
                12: f"B{row['visit_number']}^EMR",
                17: "AU",
                19: "AV",
            },
        )
        kind = "TX"
        texts = [
            title,
            f"入院时间：{row['admitted_at']:%Y-%m-%d %H:%M}",
            f"初步诊断：{row['diagnosis_name']}（{row['diagnosis_code']}）",
            "患者神志清楚，查体合作，详见病程记录。",
        ]
        body = [f"OBX|{n}|{kind}|HP^{title}|1|{text}||||||F" for n, text in enumerate(texts, start=1)]
        brought = pv1_brought(row)
        yield self._say("doc", "MDM^T02", "MDM_T02", at, patient, [brought, document, *body])

    # Reports -------------------------------------------------------------------------------------------

    def _report(self, report: Report, *, corrected: bool) -> Iterator[Said]:
        row = report.row
        at = seconds(row["reported_at"])
        yield self._ordered(row, seconds(row["collected_at"]) - 6 * _MINUTE, str(row["title"]), "LAB")
        measured = next((n for n, one in enumerate(report.results) if one.get("value_number")), None)
        if self._chance(_PRELIMINARY) and len(report.results) > 1:
            early = max(seconds(row["collected_at"]) + _MINUTE, at - 30 * _MINUTE)
            half = report.results[: len(report.results) // 2]
            results = [obx_result(one, status="P", at=early) for one in half]
            yield self._laboratory(row, early, results, status="P")
        if not corrected or measured is None:
            results = [obx_result(one, status="F", at=at) for one in report.results]
            yield self._laboratory(row, at, results, status="F")
            return
        wrong = [
            obx_result(one, status="F", at=at, value=_point_slipped(one) if n == measured else None)
            for n, one in enumerate(report.results)
        ]
        yield self._laboratory(row, at, wrong, status="F")
        later = min(at + 2 * _HOUR, self._month.after - _MINUTE)
        right = [
            obx_result(one, status="C" if n == measured else "F", at=at)
            for n, one in enumerate(report.results)
        ]
        yield self._laboratory(row, later, right, status="C", slip=Slip.CORRECTION)

    def _ordered(self, row: Row, at: int, item: str, section: str) -> Said:
        """The request that goes before a report."""
        if self._manner.version.startswith("2.3"):
            kind = "ORM^O01"
        else:
            kind = "OML^O21" if section == "LAB" else "OMG^O19"
        lines = [pv1_brought(row), *order(row, item=item, section=section, at=at)]
        return self._say("ord", kind, kind.replace("^", "_"), at, Patient(row=row), lines)

    def _laboratory(self, row: Row, at: int, results: Sequence[str], *, status: str, slip: str = "") -> Said:
        issued = seconds(row["reported_at"])
        request, *specimen = obr_laboratory(self._manner, row, status=status, issued=issued)
        lines = [pv1_brought(row), request, *results, *specimen]
        return self._say("lis", "ORU^R01", "ORU_R01", at, Patient(row=row), lines, slip=slip)

    def _examination(self, row: Row) -> Iterator[Said]:
        at = seconds(row["reported_at"])
        patient, brought = Patient(row=row), pv1_brought(row)
        item = str(row.get("body_part") or row["modality"])
        asked = seconds(row["examined_at"]) - 15 * _MINUTE
        yield self._ordered(row, asked, item, section_of(row["modality"]))

        def report(status: str, said_at: int) -> list[str]:
            seen = obx_text(1, code=_FINDINGS, text=row.get("findings"), status=status, at=said_at)
            lines = [brought, obr_examination(row, status=status, issued=at), seen]
            if status == "F":
                lines.append(
                    obx_text(2, code=_IMPRESSION, text=row.get("impression"), status=status, at=said_at)
                )
            return lines

        if self._chance(_PRELIMINARY):
            early = max(seconds(row["examined_at"]) + 5 * _MINUTE, at - 20 * _MINUTE)
            yield self._say("ris", "ORU^R01", "ORU_R01", early, patient, report("P", early))
        yield self._say("ris", "ORU^R01", "ORU_R01", at, patient, report("F", at))

    def _vaccination(self, row: Row, *, mistaken: bool) -> Iterator[Said]:
        at, patient, code = seconds(row["vaccinated_at"]), Patient(row=row), self._month.code
        if mistaken:
            wrong = {**row, "vaccination_number": f"{row['vaccination_number']}X"}
            yield self._say(
                "vac", "VXU^V04", "VXU_V04", at - 9 * _MINUTE, patient, vaccination(wrong, code=code)
            )
            yield self._say(
                "vac",
                "VXU^V04",
                "VXU_V04",
                at - 2 * _MINUTE,
                patient,
                vaccination(wrong, code=code, action="D"),
                slip=Slip.VACCINATION_WITHDRAWN,
            )
        yield self._say("vac", "VXU^V04", "VXU_V04", at, patient, vaccination(row, code=code))


_ODDITIES = ("twice", "cancelled", "null")
"""What the first visits of the month certainly show."""


def _point_slipped(result: Row) -> str:
    """Return a value ten times too high, as it is typed in a hurry."""
    return str(Decimal(str(result["value_number"])) * 10)


def _digits(at: int) -> str:
    return when(at).strftime("%Y%m%d%H%M%S")
