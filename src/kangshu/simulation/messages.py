"""Rows as the HL7 v2 messages that a hospital's systems send when things happen.

A row of `outpatient_visit` becomes ADT^A04, the rows of a laboratory report ORU^R01. Version 2.4, as most
Chinese interface engines speak it: local numbers and resident numbers in PID-3, times without a zone.
All people are synthetic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

Row = Mapping[str, Any]

_SEX = {"1": "M", "2": "F"}
_ESCAPES = str.maketrans(
    {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\", "\r": "\\.br\\", "\n": "\\.br\\"}
)


def visit_message(row: Row, *, control_id: str, event: str = "A04") -> str:
    """Return the registration (or, by `event`, change or cancellation) of an outpatient visit."""
    at = stamp(row["visited_at"])
    lines = [
        header(row, control_id=control_id, type=f"ADT^{event}^ADT_A01", at=at),
        f"EVN|{event}|{at}",
        patient(row),
        visit(row, at=at, kind="O"),
    ]
    if row.get("diagnosis_code"):
        name = escaped(row.get("diagnosis_name"))
        lines.append(f"DG1|1||{escaped(row['diagnosis_code'])}^{name}^I10||{at}|F")
    return "\r".join(lines) + "\r"


def report_message(rows: Sequence[Row], *, control_id: str, status: str = "F") -> str:
    """Return one laboratory report, its results as OBX; `status` C says that they are corrections."""
    first = rows[0]
    at = stamp(first["reported_at"])
    number = escaped(first["report_number"])
    lines = [
        header(first, control_id=control_id, type="ORU^R01^ORU_R01", at=at),
        patient(first),
        visit(first, at="", kind="O" if str(first["visit_number"]).startswith("O") else "I"),
        f"OBR|1||{number}^LIS|{escaped(first.get('title') or 'LAB')}|||{at}|||||||||||||||{at}||LAB|{status}",
    ]
    lines += [_result(row, at=at, status=status) for row in rows]
    return "\r".join(lines) + "\r"


def reports_of(rows: Iterable[Row]) -> Iterable[list[Row]]:
    """Return the rows of each report together; rows of one report stand side by side."""
    for _, members in groupby(rows, key=lambda row: (row["institution_code"], row["report_number"])):
        yield list(members)


def merge_message(row: Row, *, control_id: str, absorbed: str, at: str) -> str:
    """Return an A40: the patient of `row` is the one whom the hospital also kept under number `absorbed`."""
    lines = [
        header(row, control_id=control_id, type="ADT^A40^ADT_A39", at=at),
        f"EVN|A40|{at}",
        patient(row),
        f"MRG|{escaped(absorbed)}^^^{escaped(row['institution_code'])}^PI",
    ]
    return "\r".join(lines) + "\r"


def header(row: Row, *, control_id: str, type: str, at: str) -> str:  # noqa: A002 - MSH-9's word
    """Return MSH."""
    code = escaped(row["institution_code"])
    return f"MSH|^~\\&|HIS|{code}|KANGSHU|REGION|{at}||{type}|{control_id}|P|2.4||||||UNICODE UTF-8"


def patient(row: Row) -> str:
    """Return PID."""
    numbers = [f"{escaped(row['patient_number'])}^^^{escaped(row['institution_code'])}^PI"]
    if row.get("resident_number"):
        numbers.append(f"{escaped(row['resident_number'])}^^^^NI")
    birth = day_digits(row.get("birth_date"))
    sex = _SEX.get(str(row.get("sex")), "U")
    phone = escaped(row.get("phone"))
    contact = f"^PRN^CP^^^^{phone}" if phone else ""
    name = escaped(row.get("patient_name"))
    return f"PID|1||{'~'.join(numbers)}||{name}||{birth}|{sex}|||||{contact}"


def visit(row: Row, *, at: str, kind: str) -> str:
    """Return PV1."""
    department = escaped(row.get("department_code"))
    doctor = escaped(row.get("doctor_name"))
    number = escaped(row.get("visit_number"))
    fields = ["PV1", "1", kind, department, "", "", "", f"^{doctor}" if doctor else ""]
    fields += [""] * 11 + [f"{number}^^^^VN"] + [""] * 24 + [at]
    return "|".join(fields)


def _result(row: Row, *, at: str, status: str) -> str:
    number, text = row.get("value_number"), row.get("value_text")
    kind, value = ("NM", _plain(number)) if number is not None else ("ST", escaped(text))
    low, high = _plain(row.get("reference_low")), _plain(row.get("reference_high"))
    limits = f"{low}-{high}" if low and high else low or high
    code = f"{escaped(row['item_code'])}^{escaped(row['item_name'])}^LN"
    unit, flag = escaped(row.get("unit")), escaped(row.get("flag"))
    place = escaped(row["item_number"])
    return f"OBX|{place}|{kind}|{code}|{place}|{value}|{unit}|{limits}|{flag}|||{status}|||{at}"


def escaped(value: object) -> str:
    """Return a value with HL7's delimiters written as escapes."""
    return "" if value is None else str(value).translate(_ESCAPES)


def stamp(value: object) -> str:
    """Return a moment (a datetime, or text as files have it) in HL7's digits."""
    return "".join(character for character in str(value) if character.isdigit())[:14]


def day_digits(value: object) -> str:
    """Return a day in HL7's digits."""
    return "" if value is None else stamp(value)[:8]


def _plain(value: object) -> str:
    return "" if value is None else str(value)
