"""HL7 v2 segments out of rows, in the versions and habits of the speakers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from kangshu.simulation.messages import day_digits, escaped, stamp
from kangshu.simulation.speech.month import Row, when
from kangshu.simulation.speech.speakers import Manner

NULL = '""'
"""HL7's explicit null: what was there is to be deleted."""

_SEX = {"1": "M", "2": "F"}
_FREQUENCY = {
    "01": "BID", "02": "BIW", "03": "HS", "04": "Q12H", "05": "Q1H", "06": "Q3H", "07": "Q6H", "08": "Q8H",
    "09": "QD", "10": "QID", "11": "QOD", "12": "QW", "13": "ST", "14": "TID",
}  # fmt: skip
_ROUTE = {
    "1": "PO", "401": "SC", "402": "ID", "403": "IM", "404": "IV", "5": "IH", "605": "VG", "606": "OP",
    "607": "NS", "611": "TP",
}  # fmt: skip
_SECTION = {"CT": "CT", "MR": "NMR", "DX": "RAD", "US": "RUS", "ECG": "EC", "EEG": "EN", "PFT": "PF"}
# Admission, discharge and working diagnoses of table 0052; an external cause is a discharge diagnosis.
_DIAGNOSIS = {"2": "A"}


@dataclass(frozen=True, kw_only=True)
class Patient:
    """How a message names its patient: by the row, but for what is said otherwise."""

    row: Row
    number: str = ""
    anonymous: bool = False
    phone: str | None = None


def segment(name: str, fields: Mapping[int, object]) -> str:
    """Return a segment; fields that are None or empty are left out, the rest stands as it is given."""
    last = max((place for place, value in fields.items() if value not in (None, "")), default=0)
    values = [fields.get(place) for place in range(1, last + 1)]
    return "|".join([name, *("" if value is None else str(value) for value in values)])


def header(manner: Manner, *, code: str, program: str, type: str, structure: str, at: int) -> str:  # noqa: A002 - MSH-9's word
    """Return MSH with `{control}` where the control id goes; version 2.3.1 does not name the structure."""
    event = type if manner.version.startswith("2.3") else f"{type}^{structure}"
    laboratory = program == "LIS" and manner.laboratory_charset
    charset = manner.laboratory_declared if laboratory else manner.declared
    stamped = stamp(when(at))
    head = f"MSH|^~\\&|{program}|{code}|KANGSHU|REGION|{stamped}||{event}|{{control}}|P|{manner.version}"
    return f"{head}||||||{charset}" if charset else head


def event(code: str, at: int) -> str:
    """Return EVN."""
    return f"EVN|{code}|{stamp(when(at))}"


def pid(manner: Manner, code: str, patient: Patient) -> str:
    """Return PID: local number, resident number or passport; name in one piece or in two."""
    row = patient.row
    numbers = [f"{escaped(patient.number or row['patient_number'])}^^^{code}^PI"]
    if not patient.anonymous:
        if row.get("resident_number"):
            numbers.append(f"{escaped(row['resident_number'])}^^^^NI")
        elif row.get("document_type") == "03":
            numbers.append(f"{escaped(row['document_number'])}^^^^PPN")
    phone = patient.phone if patient.phone is not None else "" if patient.anonymous else row.get("phone")
    contact = phone if phone in (None, "", NULL) else f"^PRN^CP^^^^{escaped(phone)}"
    return segment(
        "PID",
        {
            1: 1,
            3: "~".join(numbers),
            5: _name(manner, str(row["patient_name"])),
            7: day_digits(row.get("birth_date")),
            8: _SEX.get(str(row.get("sex")), "U"),
            13: contact,
        },
    )


def _name(manner: Manner, name: str) -> str:
    if manner.version.startswith("2.5") and len(name) < 4 and name.isalpha():
        return f"{escaped(name[:1])}^{escaped(name[1:])}"
    return escaped(name)


def pv1_visit(row: Row, titles: Mapping[str, str], *, ended: datetime | None = None) -> str:
    """Return PV1 of an outpatient visit; with `ended` also what it cost. `titles` are of departments."""
    department = escaped(row.get("department_code"))
    return segment(
        "PV1",
        {
            1: 1,
            2: "E" if row.get("visit_type") == "2" else "O",
            3: department,
            7: _doctor(row),
            10: _service(row.get("department_code"), titles),
            19: f"{escaped(row['visit_number'])}^^^^VN",
            20: escaped(row.get("payment")),
            44: stamp(row["visited_at"]) if row.get("visited_at") else "",
            45: stamp(ended) if ended else "",
            47: row.get("total_cost") if ended else "",
        },
    )


def pv1_stay(
    row: Row, titles: Mapping[str, str], *, department: str, before: str = "", ended: datetime | None = None
) -> str:
    """Return PV1 of a stay in `department`; `before` is where the patient lay until now."""
    return segment(
        "PV1",
        {
            1: 1,
            2: "I",
            3: _bed(row, department),
            4: "E" if row.get("emergency") else "R",
            6: _bed(row, before) if before else "",
            7: _doctor(row),
            10: _service(department, titles),
            19: f"{escaped(row['visit_number'])}^^^^VN",
            36: ("5" if row.get("died") else "1") if ended else "",
            44: stamp(row["admitted_at"]),
            45: stamp(ended) if ended else "",
        },
    )


def pv1_brought(row: Row) -> str:
    """Return PV1 as programs other than the registration write it: class and number of the visit."""
    number = str(row["visit_number"])
    return segment(
        "PV1",
        {1: 1, 2: "I" if number.startswith("I") else "O", 19: f"{escaped(number)}^^^^VN"},
    )


def _bed(row: Row, department: str) -> str:
    number = int(str(row["visit_number"])[-3:])
    return f"{escaped(department)}^{number % 40 + 1:02d}^{number % 3 + 1}"


def _service(department: str | None, titles: Mapping[str, str]) -> str:
    title = escaped(titles.get(department or ""))
    return f"{escaped(department)}^{title}^L" if title else escaped(department)


def _doctor(row: Row) -> str:
    return f"^{escaped(row['doctor_name'])}" if row.get("doctor_name") else ""


def dg1(row: Row, *, number: int, rank: int | None = None) -> str:
    """Return DG1 of a diagnosis with a code of the national clinical edition."""
    return segment(
        "DG1",
        {
            1: number,
            3: f"{escaped(row['diagnosis_code'])}^{escaped(row['diagnosis_name'])}^ICD10",
            5: stamp(row["diagnosed_at"]),
            6: _DIAGNOSIS.get(str(row.get("diagnosis_type")), "F"),
            15: rank,
        },
    )


def drug_order(manner: Manner, row: Row, *, number: int) -> list[str]:
    """Return ORC, RXE and RXR of one item of a prescription; from version 2.5 the timing stands in TQ1."""
    start = row["prescribed_at"]
    frequency = _FREQUENCY.get(str(row.get("frequency")), "")
    end = stamp(start + timedelta(days=int(row["days"]))) if row.get("days") else ""
    timing = f"^{frequency}^^{stamp(start)}^{end}"
    own = f"{escaped(row['prescription_number'])}-{row['item_number']}"
    modern = manner.version.startswith("2.5")
    route = _ROUTE.get(str(row.get("route")), "")
    order = {
        1: "NW",
        2: f"{own}^HIS",
        4: f"{escaped(row['prescription_number'])}^HIS",
        7: "" if modern else timing,
        9: stamp(start),
        12: _doctor(row),
    }
    drug = {
        1: "" if modern else timing,
        2: f"{escaped(row['drug_code'])}^{escaped(row['drug_name'])}^L",
        3: plain(row.get("dose")),
        5: escaped(row.get("dose_unit")),
        7: f"^{escaped(row.get('specification'))}" if row.get("specification") else "",
        10: plain(row.get("quantity")),
        11: escaped(row.get("quantity_unit")),
        15: escaped(row["prescription_number"]),
    }
    lines = [segment("ORC", order), segment("RXE", drug)]
    if modern and frequency:
        lines.append(segment("TQ1", {1: number, 3: frequency, 7: stamp(start), 8: end}))
    if route:
        lines.append(f"RXR|{route}")
    return lines


def order(row: Row, *, item: str, section: str, at: int) -> list[str]:
    """Return ORC and OBR of a request for a laboratory panel or an examination."""
    placer = f"{escaped(row['report_number'])}^HIS"
    return [
        segment("ORC", {1: "NW", 2: placer, 9: stamp(when(at))}),
        segment(
            "OBR",
            {1: 1, 2: placer, 4: f"{_local_code(item)}^{escaped(item)}^L", 6: stamp(when(at)), 24: section},
        ),
    ]


def section_of(modality: object) -> str:
    """Return the diagnostic service of table 0074; what it lacks is said in the sender's own words."""
    return _SECTION.get(str(modality), escaped(modality))


def obr_laboratory(manner: Manner, row: Row, *, status: str, issued: int) -> list[str]:
    """Return OBR of a laboratory report; before version 2.5 the specimen stands in it, then in SPM."""
    modern = manner.version.startswith("2.5")
    specimen = escaped(row.get("specimen"))
    request = segment(
        "OBR",
        {
            1: 1,
            2: f"{escaped(row['report_number'])}^HIS",
            3: f"{escaped(row['report_number'])}^LIS",
            4: f"{_local_code(row.get('title'))}^{escaped(row.get('title'))}^L",
            7: stamp(row["collected_at"]),
            15: "" if modern else f"^{specimen}",
            22: stamp(when(issued)),
            24: "LAB",
            25: status,
            32: _reader(row.get("reviewer_name")),
            34: _reader(row.get("doctor_name")),
        },
    )
    if not modern or not specimen:
        return [request]
    return [request, segment("SPM", {1: 1, 4: f"^{specimen}", 17: stamp(row["collected_at"])})]


def _local_code(title: object) -> str:
    """Return the laboratory's own code of a panel: it has one for every title."""
    return f"JY{sum(str(title).encode()) % 10_000:04d}"


def _reader(name: object) -> str:
    return f"&{escaped(name)}" if name else ""


def obx_result(row: Row, *, status: str, at: int, value: str | None = None) -> str:
    """Return OBX of a result; `value` in place of the number that was measured."""
    number = row.get("value_number")
    low, high = plain(row.get("reference_low")), plain(row.get("reference_high"))
    return segment(
        "OBX",
        {
            1: row["item_number"],
            2: "ST" if number is None else "NM",
            3: f"{escaped(row['item_code'])}^{escaped(row['item_name'])}^LN",
            4: row["item_number"],
            5: escaped(row.get("value_text")) if number is None else value or plain(number),
            6: escaped(row.get("unit")),
            7: f"{low}-{high}" if low and high else low or high,
            8: "" if value else escaped(row.get("flag")),
            11: status,
            14: stamp(when(at)),
        },
    )


def obr_examination(row: Row, *, status: str, issued: int) -> str:
    """Return OBR of an examination's report."""
    modality = str(row.get("modality") or "OT")
    part = escaped(row.get("body_part"))
    return segment(
        "OBR",
        {
            1: 1,
            2: f"{escaped(row['report_number'])}^HIS",
            3: f"{escaped(row['report_number'])}^RIS",
            4: f"{escaped(modality)}-{_local_code(part)}^{part or escaped(modality)}^L",
            7: stamp(row["examined_at"]),
            22: stamp(when(issued)),
            24: section_of(modality),
            25: status,
            32: _reader(row.get("doctor_name")),
        },
    )


def obx_text(number: int, *, code: str, text: object, status: str, at: int) -> str:
    """Return OBX with a text; its lines are parted by HL7's line break."""
    return segment("OBX", {1: number, 2: "TX", 3: code, 5: escaped(text), 11: status, 14: stamp(when(at))})


def vaccination(row: Row, *, code: str, action: str = "A") -> list[str]:
    """Return ORC, RXA, RXR and the dose's OBX of a vaccination; `action` D takes it back."""
    at = stamp(row["vaccinated_at"])
    dose = row.get("dose_number")
    lines = [
        segment("ORC", {1: "RE", 3: f"{escaped(row['vaccination_number'])}^{code}"}),
        segment(
            "RXA",
            {
                1: 0,
                2: 1,
                3: at,
                4: at,
                5: f"{escaped(row['vaccine_code'])}^{escaped(row['vaccine_name'])}^L",
                6: 999,
                9: "00^New immunization record^NIP001",
                10: f"^{escaped(row['nurse_name'])}" if row.get("nurse_name") else "",
                15: escaped(row.get("batch_number")),
                17: f"^{escaped(row['manufacturer'])}" if row.get("manufacturer") else "",
                20: "CP",
                21: action,
            },
        ),
        segment("RXR", {1: "PO" if row.get("site") == "口服" else "IM", 2: f"^{escaped(row.get('site'))}"}),
    ]
    if dose is not None:
        lines.append(f"OBX|1|NM|30973-2^Dose number in series^LN|1|{dose}||||||F|||{at}")
    return lines


def plain(value: Any) -> str:
    """Return a number as it is written: as its decimals say, without trailing zeros of scale."""
    if value is None:
        return ""
    text = str(value)
    return text.rstrip("0").rstrip(".") if "." in text and not isinstance(value, str) else text
