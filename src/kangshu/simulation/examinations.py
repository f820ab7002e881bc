"""Examination reports: what was looked at, what was seen and what it means."""

from __future__ import annotations

from functools import cache

import numpy as np

from kangshu.simulation import tables
from kangshu.simulation.blocks import Block, person_columns
from kangshu.simulation.clinic import Clinic, Lists
from kangshu.simulation.columns import Column, moment, numbered, picked, text
from kangshu.simulation.laboratory import stay_numbers
from kangshu.simulation.numbers import date_digits
from kangshu.simulation.outpatient import visit_numbers
from kangshu.simulation.population import Population
from kangshu.simulation.region import Region
from kangshu.simulation.stays import Stays
from kangshu.simulation.streams import Ints, mixed, stream
from kangshu.simulation.visits import DAY, Visits, seat


@cache
def _texts() -> tuple[Column, Column, Lists, Lists]:
    """Return findings, impressions, the normal texts of each examination and its texts by illness.

    The second list is by examination x illness (`clinic().illness_ids`), empty where the normal
    texts serve.
    """
    exams = tables.values("examinations")["exam"]
    illnesses = [row["id"] for row in tables.rows("illnesses")]
    findings: list[str] = []
    impressions: list[str] = []
    normal: list[list[int]] = []
    special: list[list[int]] = []
    for exam in exams:
        normal.append(list(range(len(findings), len(findings) + len(exam["normal"]))))
        for finding, impression in exam["normal"]:
            findings.append(finding)
            impressions.append(impression)
        own: dict[str, list[int]] = {}
        for illness, finding, impression in exam.get("abnormal", []):
            own.setdefault(illness, []).append(len(findings))
            findings.append(finding)
            impressions.append(impression)
        special.extend(own.get(illness, []) for illness in illnesses)
    return text(findings), text(impressions), Lists.of(normal), Lists.of(special)


def _related(clinic: Clinic) -> Ints:
    """Return under which illness an illness is looked up: chronic and acute forms show the same picture."""
    same = {
        "angina": "coronary",
        "stroke_sequel": "stroke",
        "osteoarthritis": "arthritis",
        "asthma": "bronchitis",
        "thyroid": "thyroid",
        "hyperthyroid": "thyroid",
        "chemo_stay": "cancer",
        "endometriosis": "ovarian_cyst",
        "nephrotic": "kidney_disease",
    }
    return np.array([clinic.illness(same.get(name, name)) for name in clinic.illness_ids])


def examination_blocks(
    *,
    population: Population,
    region: Region,
    clinic: Clinic,
    seed: int,
    month: int,
    visits: Visits,
    stays: Stays,
    first: int,
    after: int,
) -> list[Block]:
    """Return the exam_report block of the days from `first` up to `after`."""
    random = stream(seed, "examinations", month)
    rows = np.flatnonzero(visits.exam >= 0)
    inside, exam, at = _during_stays(clinic, stays, first, after)
    person = np.r_[visits.person[rows], stays.person[inside]]
    institution = np.r_[visits.institution[rows], stays.institution[inside]]
    illness = np.r_[visits.illness[rows], stays.illness[inside]]
    examined = np.r_[visits.time[rows] + 40 * 60, at]
    all_exams = np.r_[visits.exam[rows], exam]
    number = visit_numbers(visits, "O").take(rows), stay_numbers(stays).take(inside)
    order = np.argsort(institution * (1 << 36) + examined, kind="stable")
    return [
        _block(
            random,
            population,
            region,
            clinic,
            person[order],
            institution[order],
            illness[order],
            np.minimum(examined[order], after * DAY - 5_400),
            all_exams[order],
            picked(_together(*number), order),
        )
    ]


def _together(first: Column, second: Column) -> Column:
    import pyarrow as pa

    return pa.concat_arrays([first, second])


def _during_stays(clinic: Clinic, stays: Stays, first: int, after: int) -> tuple[Ints, Ints, Ints]:
    """Return stay, examination and time of what was looked at on the wards."""
    parts: list[tuple[Ints, Ints, Ints]] = []
    everyone = np.arange(len(stays))
    ids = [exam["id"] for exam in tables.values("examinations")["exam"]]
    for place in range(2):
        exam = clinic.exams.nth(stays.illness, np.full(len(stays), place))
        exam = np.where((place == 1) & (clinic.exams.lengths[stays.illness] < 2), -1, exam)
        share = clinic.exam_share[stays.illness] * (0.95 if place == 0 else 0.5)
        wanted = (mixed(stays.person, stays.admitted, place + 50).astype(np.int64) & 0xFFF) / 4096 < share
        rows = everyone[(exam >= 0) & wanted]
        parts.append((rows, exam[rows], stays.admitted[rows] + (3 + 5 * place) * 3600))
    heart = everyone[(mixed(stays.person, stays.admitted, 60).astype(np.int64) & 0xFF) < 110]
    parts.append((heart, np.full(len(heart), ids.index("ECG")), stays.admitted[heart] + 1800))
    rows, exam, at = (np.concatenate(column) for column in zip(*parts, strict=True))
    keep = (at < stays.discharged[rows]) & (at >= first * DAY) & (at + 5_400 < after * DAY)
    return rows[keep], exam[keep], at[keep]


def _block(
    random: np.random.Generator,
    population: Population,
    region: Region,
    clinic: Clinic,
    person: Ints,
    institution: Ints,
    illness: Ints,
    examined: Ints,
    exam: Ints,
    visit_number: Column,
) -> Block:
    exams = tables.values("examinations")["exam"]
    findings, impressions, normal, special = _texts()
    count = len(person)
    reported = examined + random.integers(600, 5_000, count)
    days = reported // DAY
    key = exam * len(clinic.illness_ids) + _related(clinic)[illness]
    luck = random.integers(0, 60, count)
    wrong = (special.lengths[key] > 0) & (luck % 10 < 8)
    which = np.where(wrong, special.nth(key, luck), normal.nth(exam, luck // 7))
    serial = np.arange(count) - np.searchsorted(institution, institution, side="left") + 1
    first = region.institutions.doctor_first[institution]
    size = region.institutions.doctor_count[institution]
    columns = person_columns(population, region, institutions=institution, persons=person, days=days) | {
        "report_number": numbered("E", (date_digits(days), 8), (serial, 6), count=count),
        "visit_number": visit_number,
        "department_code": picked(text([entry["department"] for entry in exams]), exam),
        "examined_at": moment(examined),
        "reported_at": moment(reported),
        "modality": picked(text([entry["modality"] for entry in exams]), exam),
        "body_part": picked(text([entry["body_part"] for entry in exams]), exam),
        "findings": picked(findings, which),
        "impression": picked(impressions, which),
        "doctor_name": picked(region.doctor_names, seat(first, size, exam % 4 + 5)),
    }
    return Block(dataset="exam_report", columns=columns, institutions=institution, persons=person, days=days)
