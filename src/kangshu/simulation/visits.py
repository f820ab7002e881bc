"""Outpatient and emergency visits of one month, with what was ordered at each; numbers only, no text."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import date, timedelta

import numpy as np

from kangshu.simulation.clinic import BAND_EDGES, Clinic
from kangshu.simulation.households import YEAR
from kangshu.simulation.population import Chronic, Population
from kangshu.simulation.region import Kind, Region
from kangshu.simulation.streams import Draw, Flags, Floats, Ints, Stream, chances, mixed, stream

EPOCH = date(1970, 1, 1)
DAY = 86_400
_WEEKDAYS = np.array([1.25, 1.1, 1.05, 1.05, 1.0, 0.75, 0.6])  # Monday first
_HOURS = np.array([0, 0, 0, 0, 0, 0, 0.2, 1, 8, 14, 13, 8, 2, 2.5, 9, 10, 7, 3, 1.2, 0.8, 0.4, 0, 0, 0])
_EMERGENCY_HOURS = np.array(
    [2, 1.5, 1.2, 1, 1, 1, 1.5, 2.5, 4, 4.5, 4.5, 4, 4, 4, 4, 4.5, 5, 5, 6, 7, 7, 6, 4.5, 3]
)
_CONSULTATION = {Kind.TERTIARY: 2500, Kind.SECONDARY: 1200, Kind.CHINESE_MEDICINE: 1400, Kind.MATERNAL: 1400}
_PRIMARY_CONSULTATION = 1000


@dataclass(frozen=True, kw_only=True)
class Visits:
    """Visits ordered by institution and time; one entry per visit.

    `serial` counts visits of an institution in the month. `drugs` and `panels` hold up to three
    numbers per visit, -1 where there are fewer; `exam`, `treatment` and `second` (a further
    diagnosis) are -1 where there is none. Money is in cents.
    """

    person: Ints
    day: Ints
    time: Ints
    institution: Ints
    serial: Ints
    illness: Ints
    diagnosis: Ints
    second: Ints
    department: Ints
    emergency: Flags
    doctor: Ints
    complaint: Ints
    drugs: Ints
    panels: Ints
    exam: Ints
    treatment: Ints
    consultation: Ints

    def __len__(self) -> int:
        return len(self.person)

    def taken(self, rows: Ints) -> Visits:
        """Return the visits at positions `rows`."""
        return Visits(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def month_days(start: date, month: int) -> tuple[int, int]:
    """Return first day and the day after the last of the month number `month` from `start`, since 1970."""
    first = (start.year * 12 + start.month - 1) + month
    begin = date(first // 12, first % 12 + 1, 1)
    after = date((first + 1) // 12, (first + 1) % 12 + 1, 1)
    return (begin - EPOCH).days, (after - EPOCH).days


def month_visits(
    *, population: Population, region: Region, clinic: Clinic, seed: int, month: int, first: int, after: int
) -> Visits:
    """Return the visits of the month number `month`, which runs from day `first` up to day `after`."""
    random = stream(seed, "visits", month)
    calendar_month = (EPOCH + timedelta(days=first)).month - 1
    persons, chronic_part = _who_comes(random, population, clinic, calendar_month, first, after)
    day = _days(random, len(persons), first, after)
    here = population.is_here(persons, day)
    persons, day, chronic_part = persons[here], day[here], chronic_part[here]
    illness, diagnosis = _reasons(random, population, clinic, calendar_month, persons, day, chronic_part)
    emergency = chances(random, clinic.emergency_share[illness])
    institution = _places(random, population, region, clinic, persons, day, illness, emergency)
    time = day * DAY + _times(random, emergency)
    order = np.argsort(institution * (1 << 36) + time, kind="stable")
    persons, day, time, institution = persons[order], day[order], time[order], institution[order]
    illness, diagnosis, emergency = illness[order], diagnosis[order], emergency[order]
    return _with_orders(
        random, population, region, clinic, persons, day, time, institution, illness, diagnosis, emergency
    )


def acute_rates(population: Population, clinic: Clinic, month: int, day: int) -> tuple[Ints, Floats]:
    """Return age band and acute visits a year of everybody on `day` of the calendar month `month`."""
    age = (day - population.birth_day) / np.float32(YEAR)
    band = np.searchsorted(BAND_EDGES, age, side="right")
    return band, clinic.acute_rate[band, population.sex - 1, month].astype(np.float32)


def _who_comes(
    random: Stream, population: Population, clinic: Clinic, month: int, first: int, after: int
) -> tuple[Ints, Floats]:
    """Return a person per visit and the share of the person's visits that are for chronic illness."""
    _, acute = acute_rates(population, clinic, month, first)
    chronic = clinic.follow_up[population.chronic] * np.float32(clinic.chronic_season[month])
    rate = (acute + chronic) * population.frailty * np.float32((after - first) / YEAR)
    alive = (population.entry_day < after) & (population.death_day > first) & (population.leave_day > first)
    counts = random.poisson(np.where(alive, rate, 0))
    persons = np.repeat(np.arange(len(population)), counts)
    return persons, (chronic / np.maximum(acute + chronic, 1e-9))[persons]


def _days(random: Stream, count: int, first: int, after: int) -> Ints:
    weekday = (np.arange(first, after) + 3) % 7  # 1970-01-01 was a Thursday
    return first + Draw(_WEEKDAYS[weekday])(random, 0, count).astype(np.int64)


def _times(random: Stream, emergency: Flags) -> Ints:
    hour = Draw(np.stack([_HOURS, _EMERGENCY_HOURS]))(random, emergency.astype(np.int32))
    return hour.astype(np.int64) * 3600 + random.integers(0, 3600, len(emergency))


def _reasons(
    random: Stream,
    population: Population,
    clinic: Clinic,
    month: int,
    persons: Ints,
    day: Ints,
    chronic_part: Floats,
) -> tuple[Ints, Ints]:
    band = np.searchsorted(BAND_EDGES, population.age_at(persons, day), side="right")
    illness = clinic.draw_illness(random, (band * 2 + population.sex[persons] - 1) * 12 + month).astype(
        np.int64
    )
    follows = chances(random, chronic_part)
    condition = pick_condition(random, population.chronic[persons[follows]], clinic.follow_ups)
    illness[follows] = clinic.chronic_illness[condition]
    diagnosis = clinic.draw_diagnosis(random, illness).astype(np.int64)
    diagnosis[follows] = standing_diagnosis(population, clinic, persons[follows], condition)
    return illness, diagnosis


def pick_condition(random: Stream, masks: Ints, weights: Floats) -> Ints:
    """Return one of the conditions in each mask, likelier the larger its weight."""
    total = np.zeros(len(masks))
    for bit in range(len(weights)):
        total += ((masks >> bit) & 1) * weights[bit]
    left = random.random(len(masks)) * total
    found = np.zeros(len(masks), dtype=np.int64)
    open_ = np.ones(len(masks), dtype=bool)
    for bit in range(len(weights)):
        has = ((masks >> bit) & 1) == 1
        left = left - np.where(has, weights[bit], 0)
        hit = open_ & has & (left < 0)
        found[hit] = bit
        open_ &= ~hit
    return found


def standing_diagnosis(population: Population, clinic: Clinic, persons: Ints, condition: Ints) -> Ints:
    """Return the diagnosis under which a person's chronic condition is kept: the same at every visit."""
    numbers = mixed(persons, condition + 1_000).astype(np.int64) & 0x7FFFFFFF
    diagnosis = clinic.draw_diagnosis.at(clinic.chronic_illness[condition], numbers).astype(np.int64)
    cancer = condition == Chronic.CANCER
    first = clinic.first_diagnosis[clinic.illness("cancer")]
    return np.where(cancer, first + np.maximum(population.cancer[persons], 0), diagnosis)


def _places(
    random: Stream,
    population: Population,
    region: Region,
    clinic: Clinic,
    persons: Ints,
    day: Ints,
    illness: Ints,
    emergency: Flags,
) -> Ints:
    town = population.town_at(persons, day)
    county = region.town_county[town]
    city = region.county_city[county]
    urban = region.town_urban[town]
    nearby = chances(
        random, clinic.primary_share[illness] * np.where(urban, 0.9, 1.12) * np.where(emergency, 0.6, 1)
    )
    department = clinic.department[illness]
    child = population.age_at(persons, day) < 14
    names = clinic.departments
    maternal = np.array([name.startswith(("05", "07", "09")) for name in names])[department] | child
    chinese = np.array([name.startswith("50") for name in names])[department]
    choice = random.random(len(persons))
    serious = clinic.stay[illness] >= 8
    return np.select(
        [
            nearby,
            maternal & (choice < 0.40),
            chinese & (choice < 0.6),
            choice < 0.07,
            choice > np.where(urban, 0.66, 0.86) - np.where(serious, 0.12, 0),
        ],
        [
            region.primary[town],
            region.maternal[county],
            region.chinese_medicine[county],
            region.chinese_medicine[county],
            region.tertiary[city],
        ],
        region.hospital[county],
    )


def department_at(
    population: Population,
    region: Region,
    clinic: Clinic,
    persons: Ints,
    day: Ints,
    institution: Ints,
    illness: Ints,
) -> Ints:
    """Return the department that treats: general practice in primary care, children by paediatrics."""
    names = clinic.departments
    department = clinic.department[illness]
    kinds = region.institutions.kinds[institution]
    primary = (kinds == Kind.COMMUNITY) | (kinds == Kind.TOWNSHIP)
    keeps = np.array([name[:2] in ("01", "09", "12", "50") for name in names])[department]
    inner = np.array([name[:2] in ("03", "16") for name in names])[department]
    child = (population.age_at(persons, day) < 14) & inner
    return np.where(
        primary & ~keeps, names.index("02"), np.where(child & ~primary, names.index("07.04"), department)
    )


def doctor_at(random: Stream, region: Region, institution: Ints, department: Ints) -> Ints:
    """Return a doctor of the department: each department of an institution has a few of its own."""
    return seat(
        region.institutions.doctor_first[institution],
        region.institutions.doctor_count[institution],
        department * 5 + random.integers(0, 4, len(institution)),
    )


def seat(first: Ints, count: Ints, number: Ints) -> Ints:
    """Return the staff member on seat `number`, counted round."""
    return first + number % count


def _with_orders(
    random: Stream,
    population: Population,
    region: Region,
    clinic: Clinic,
    persons: Ints,
    day: Ints,
    time: Ints,
    institution: Ints,
    illness: Ints,
    diagnosis: Ints,
    emergency: Flags,
) -> Visits:
    count = len(persons)
    kinds = region.institutions.kinds[institution]
    primary = (kinds == Kind.COMMUNITY) | (kinds == Kind.TOWNSHIP)
    department = department_at(population, region, clinic, persons, day, institution, illness)
    adult = population.age_at(persons, day) >= 18
    fee = np.full(9, _PRIMARY_CONSULTATION)
    for kind, price in _CONSULTATION.items():
        fee[kind] = price
    starts = np.searchsorted(institution, institution, side="left")
    masks = population.chronic[persons]
    also = (masks > 0) & (random.random(count) < 0.22)
    second = np.full(count, -1, dtype=np.int64)
    condition = pick_condition(random, masks[also], clinic.follow_ups)
    second[also] = standing_diagnosis(population, clinic, persons[also], condition)
    second = np.where(clinic.diagnosis_illness[second] == illness, -1, second)
    exam = clinic.exams.nth(illness, random.integers(0, 8, count))
    examined = chances(random, clinic.exam_share[illness] * np.where(primary, 0.5, 1))
    able = ~primary | clinic.exam_light[np.maximum(exam, 0)]
    treatment = clinic.treatments.nth(illness, random.integers(0, 12, count))
    treated = chances(random, clinic.treatment_share[illness])
    return Visits(
        person=persons,
        day=day,
        time=time,
        institution=institution,
        serial=np.arange(count) - starts + 1,
        illness=illness,
        diagnosis=diagnosis,
        second=second,
        department=department,
        emergency=emergency,
        doctor=doctor_at(random, region, institution, department),
        complaint=clinic.complaints.nth(illness, random.integers(0, 12, count)),
        drugs=prescribe(random, clinic, illness, chances(random, clinic.drug_share[illness]), adult),
        panels=_panels(random, clinic, illness, primary),
        exam=np.where(examined & able, exam, -1),
        treatment=np.where(treated, treatment, -1),
        consultation=fee[kinds],
    )


def prescribe(random: Stream, clinic: Clinic, illness: Ints, treated: Flags, adult: Flags) -> Ints:
    """Return up to three different drugs for each patient, -1 for none; no adult's drug for a child."""
    count = len(illness)
    wanted = np.minimum(1 + random.binomial(2, 0.2, count), clinic.drugs.lengths[illness])
    start = random.integers(0, 24, count)
    drugs = np.full((count, 3), -1, dtype=np.int64)
    for place in range(3):
        drug = clinic.drugs.nth(illness, start + place)
        suits = adult | ~clinic.drug_adult[np.maximum(drug, 0)]
        drugs[:, place] = np.where(treated & (wanted > place) & suits, drug, -1)
    return drugs


def _panels(random: Stream, clinic: Clinic, illness: Ints, primary: Flags) -> Ints:
    count = len(illness)
    tested = chances(random, clinic.panel_share[illness] * np.where(primary, 0.55, 1))
    wanted = np.minimum(1 + random.binomial(2, 0.28, count), clinic.panels.lengths[illness])
    panels = np.full((count, 3), -1, dtype=np.int64)
    for place in range(3):
        panel = clinic.panels.nth(illness, np.full(count, place))
        panels[:, place] = np.where(tested & (wanted > place), panel, -1)
    return panels
