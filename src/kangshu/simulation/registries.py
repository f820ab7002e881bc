"""What is registered: residence, birth, death, immunization, monthly returns; and the directories."""

from __future__ import annotations

from datetime import date

import numpy as np

from kangshu.simulation import tables
from kangshu.simulation.blocks import Block, person_columns
from kangshu.simulation.clinic import Clinic
from kangshu.simulation.columns import (
    Column,
    blanked,
    chosen,
    constant,
    day,
    group_ranks,
    joined,
    moment,
    money,
    nothing,
    numbered,
    picked,
    text,
    whole,
)
from kangshu.simulation.front_page import code_column, completed_years, external_cause_of
from kangshu.simulation.households import NEVER, YEAR
from kangshu.simulation.numbers import date_digits
from kangshu.simulation.population import Chronic, Population
from kangshu.simulation.region import Kind, Region
from kangshu.simulation.stays import Stays, birth_times, deadly_illness, death_times, dies_in_hospital
from kangshu.simulation.streams import Flags, Ints, Stream, mixed, stream
from kangshu.simulation.visits import DAY, EPOCH, Visits, seat

REGISTRATION_BEGAN = (date(2014, 1, 1) - EPOCH).days
_REGISTERED_SHARE = 0.93
_SITES = text(["左上臂三角肌", "右上臂三角肌", "左大腿前外侧", "口服"])
_DIGITS = text([str(number) for number in range(10)])


def _office_hours(random: Stream, days: Ints) -> Ints:
    return np.asarray(days, dtype=np.int64) * DAY + 8 * 3600 + random.integers(0, 8 * 3600, len(days))


def _by_institution(institution: Ints, time: Ints) -> Ints:
    return np.argsort(np.asarray(institution, dtype=np.int64) * (1 << 36) + time, kind="stable")


def registration_stock(*, population: Population, region: Region, seed: int) -> Block:
    """Return who was registered as a resident before the period began."""
    random = stream(seed, "registered before")
    persons = np.arange(population.residents)
    earliest = np.maximum(REGISTRATION_BEGAN, np.maximum(population.birth_day[persons] + 70, -(10**6)))
    known = (population.entry_day[persons] <= population.start) & (
        random.random(len(persons)) < _REGISTERED_SHARE
    )
    persons, earliest = (
        persons[known & (earliest < population.start)],
        earliest[known & (earliest < population.start)],
    )
    days = earliest + (random.random(len(persons)) * (population.start - earliest)).astype(np.int64)
    return _registrations(random, population, region, persons, days)


def registrations(
    *, population: Population, region: Region, seed: int, month: int, first: int, after: int
) -> Block:
    """Return who was registered on the days from `first` up to `after`: newborns, newcomers, the moved."""
    random = stream(seed, "registered", month)
    everyone = np.arange(len(population))
    later = mixed(everyone, 23).astype(np.int64) % 25 + 2
    fresh = population.birth_day >= population.start - 70
    newborn = np.where(
        fresh, np.maximum(population.named_day, population.start).astype(np.int64) + later, NEVER
    )
    newcomer = np.where(
        population.entry_day > population.start, population.entry_day.astype(np.int64) + later, NEVER
    )
    when = np.where(everyone >= population.residents, newborn, np.minimum(newborn, newcomer))
    moved = np.where(population.move_day < NEVER, population.move_day.astype(np.int64) + later, NEVER)
    rows, days = [], []
    for planned in (when, moved):
        due = np.flatnonzero((planned >= first) & (planned < after))
        due = due[population.is_here(due, planned[due])]
        rows.append(due)
        days.append(planned[due])
    return _registrations(random, population, region, np.concatenate(rows), np.concatenate(days))


def _registrations(
    random: Stream, population: Population, region: Region, persons: Ints, days: Ints
) -> Block:
    time = _office_hours(random, days)
    town = population.town_at(persons, days)
    institution = region.primary[town]
    order = _by_institution(institution, time)
    persons, days, time, town, institution = (
        persons[order],
        days[order],
        time[order],
        town[order],
        institution[order],
    )
    age = (days - population.birth_day[persons]) / YEAR
    marital = np.where(age < 22, 10, population.marital[persons].astype(np.int64))
    mother = np.where(age < 14, population.mother[persons], -1)
    occupation = np.where(age < 3, 90, population.occupation[persons].astype(np.int64))
    columns = person_columns(population, region, institutions=institution, persons=persons, days=days) | {
        "registered_at": moment(time),
        "address": population.address_at(persons, days),
        "division_code": picked(region.town_codes, town),
        "ethnic": code_column(population.ethnic[persons], 2),
        "marital": code_column(marital, 2),
        "occupation": code_column(occupation, 2),
        "education": code_column(population.education[persons], 2),
        "abo": code_column(population.abo[persons]),
        "rh": code_column(population.rh[persons]),
        "mother_number": picked(population.number, mother),
        "household_number": joined(
            constant("H", len(persons)),
            picked(region.town_codes, population.town_before[persons]),
            numbered((population.household[persons], 8), count=len(persons)),
        ),
        "death_date": blanked(day(days), np.ones(len(persons), dtype=bool)),
    }
    return Block(dataset="resident", columns=columns, institutions=institution, persons=persons, days=days)


def birthplaces(population: Population, region: Region, stays: Stays) -> Ints:
    """Return the institution in which each person was born; only for those born in the period."""
    county = region.town_county[population.town_before]
    places = region.maternal[county].copy()
    rows = np.flatnonzero(stays.child >= 0)
    places[stays.child[rows]] = stays.institution[rows]
    twins = np.flatnonzero(population.twin_of >= population.residents)
    places[twins] = places[population.twin_of[twins]]
    return places


def births(
    *, population: Population, region: Region, seed: int, month: int, places: Ints, first: int, after: int
) -> Block:
    """Return the births of the days from `first` up to `after`."""
    random = stream(seed, "birth records", month)
    children = population.newborns
    children = children[(population.birth_day[children] >= first) & (population.birth_day[children] < after)]
    born = birth_times(population, children)
    institution = places[children]
    order = _by_institution(institution, born)
    children, born, institution = children[order], born[order], institution[order]
    count = len(children)
    mother, father = population.mother[children], population.father[children]
    named = random.random(count) < 0.85
    # the certificate is issued with the name; without one yet, the newborn is still its mother's
    shown = np.where(named, population.named_day[children], population.birth_day[children])
    days = population.birth_day[children].astype(np.int64)
    operated = random.random(count)
    twin = (population.twin_of[children] >= 0) | np.isin(children, population.twin_of)
    nurse = region.institutions.nurse_first[institution] + random.integers(0, 6, count)
    columns = person_columns(population, region, institutions=institution, persons=children, days=shown) | {
        "certificate_number": numbered("Z99", (children - population.residents + 1, 7), count=count),
        "resident_number": nothing(count),
        "born_at": moment(born),
        "weight_g": whole(population.born_weight[children]),
        "length_cm": money(
            np.clip(population.born_weight[children] // 20 + 334, 300, 580), scale=1, precision=5
        ),
        "gestation_weeks": whole(population.gestation[children]),
        "delivery_method": code_column(np.where(operated < 0.4, 3, np.where(operated < 0.43, 2, 1))),
        "parity_order": whole(np.where(twin & (population.twin_of[children] >= 0), 2, 1)),
        "mother_name": picked(population.name, mother),
        "mother_resident_number": picked(population.number, mother),
        "mother_birth_date": day(population.birth_day[mother]),
        "mother_phone": picked(population.phone, population.phone_owner[mother]),
        "father_name": picked(population.name, father),
        "father_resident_number": picked(population.number, father),
        "address": population.address_at(children, days),
        "division_code": picked(region.town_codes, population.town_at(children, days)),
        "midwife_name": picked(region.nurse_names, nurse),
        "issued_on": blanked(day(population.named_day[children]), ~named),
    }
    return Block(dataset="birth", columns=columns, institutions=institution, persons=children, days=days)


def deaths(
    *,
    population: Population,
    region: Region,
    clinic: Clinic,
    seed: int,
    month: int,
    stays: Stays,
    first: int,
    after: int,
) -> Block:
    """Return the deaths from day `first` up to `after`; those outside hospitals are sent by the CDC."""
    random = stream(seed, "death records", month)
    dead = np.flatnonzero((population.death_day >= first) & (population.death_day < after))
    where = np.full(len(population), -1, dtype=np.int64)
    where[stays.person[stays.died]] = stays.institution[stays.died]
    town = population.town_at(dead, population.death_day[dead])
    in_hospital = dies_in_hospital(population, dead) & (where[dead] >= 0)
    institution = np.where(in_hospital, where[dead], region.cdc[region.town_city[town]])
    time = death_times(population, dead)
    order = _by_institution(institution, time)
    dead, town, institution, time = dead[order], town[order], institution[order], time[order]
    in_hospital = in_hospital[order]
    return _death_block(random, population, region, clinic, dead, town, institution, time, in_hospital)


def _death_block(
    random: Stream,
    population: Population,
    region: Region,
    clinic: Clinic,
    dead: Ints,
    town: Ints,
    institution: Ints,
    time: Ints,
    in_hospital: Flags,
) -> Block:
    count = len(dead)
    days = time // DAY
    direct, underlying = _causes(population, clinic, dead)
    kinds = region.institutions.kinds[institution]
    level = np.where(kinds == Kind.TERTIARY, 1, np.where(in_hospital, 2, 3))
    first = region.institutions.doctor_first[institution]
    size = region.institutions.doctor_count[institution]
    contact = population.contact[dead]
    elsewhere = random.random(count) < 0.06
    year = date_digits(days) // 10_000
    codes, names = clinic.diagnosis_codes, clinic.diagnosis_names
    columns = person_columns(population, region, institutions=institution, persons=dead, days=days) | {
        # a person dies once, so the person's number makes the certificate's unique
        "certificate_number": numbered(
            (population.county[dead], 6), "-", (year, 4), "-", (dead, 7), count=count
        ),
        "died_at": moment(time),
        "place_of_death": code_column(np.where(in_hospital, 1, np.where(elsewhere, 9, 3))),
        "ethnic": code_column(population.ethnic[dead], 2),
        "marital": code_column(population.marital[dead], 2),
        "occupation": code_column(population.occupation[dead], 2),
        "education": code_column(population.education[dead], 2),
        "address": population.address_at(dead, days),
        "division_code": picked(region.town_codes, town),
        "direct_cause_code": picked(codes, direct),
        "direct_cause_name": picked(names, direct),
        "direct_cause_interval": picked(
            text(["6小时", "1天", "3天", "10天", "1月", "半年"]), random.integers(0, 6, count)
        ),
        "antecedent_cause_code": blanked(picked(codes, underlying), direct == underlying),
        "antecedent_cause_name": blanked(picked(names, underlying), direct == underlying),
        "underlying_cause_code": picked(codes, underlying),
        "underlying_cause_name": picked(names, underlying),
        "diagnosis_level": code_column(level),
        "diagnosis_basis": code_column(np.where(in_hospital, 4, np.where(random.random(count) < 0.7, 5, 6))),
        "doctor_name": picked(region.doctor_names, seat(first, size, random.integers(0, 6, count))),
        "informant_name": picked(population.name, contact),
        "informant_phone": picked(population.phone, population.phone_owner[contact]),
        "reported_on": day(days + random.integers(0, 8, count)),
    }
    return Block(dataset="death", columns=columns, institutions=institution, persons=dead, days=days)


def _causes(population: Population, clinic: Clinic, dead: Ints) -> tuple[Ints, Ints]:
    """Return direct and underlying cause; an injury is a direct cause, what caused it the underlying one."""
    illness = deadly_illness(population, clinic, dead)
    number = mixed(dead, 43).astype(np.int64) & 0x7FFFFFFF
    diagnosis = clinic.draw_diagnosis.at(illness, number).astype(np.int64)
    cancer = illness == clinic.illness("cancer")
    first = clinic.first_diagnosis[clinic.illness("cancer")]
    diagnosis = np.where(cancer, first + np.maximum(population.cancer[dead], 0), diagnosis)
    external = external_cause_of(clinic, diagnosis, dead)
    codes = clinic.diagnosis_codes.to_pylist()
    failure = codes.index("J96.000")
    slow = cancer | (((population.chronic[dead] >> Chronic.COPD) & 1) == 1)
    direct = np.where(slow & (external < 0), failure, diagnosis)
    return direct, np.where(external >= 0, external, diagnosis)


def immunizations(
    *, population: Population, region: Region, seed: int, month: int, places: Ints, first: int, after: int
) -> Block:
    """Return the vaccinations of the days from `first` up to `after`."""
    random = stream(seed, "vaccinations", month)
    plans = tables.rows("vaccines")
    person_parts, day_parts, plan_parts = [], [], []
    for number, plan in enumerate(plans):
        persons, days = _due(random, population, plan, number, first, after)
        person_parts.append(persons)
        day_parts.append(days)
        plan_parts.append(np.full(len(persons), number))
    persons, days = np.concatenate(person_parts), np.concatenate(day_parts)
    plan = np.concatenate(plan_parts)
    here = population.is_here(persons, days)
    persons, days, plan = persons[here], days[here], plan[here]
    at_birth = (persons >= population.residents) & (days - population.birth_day[persons] <= 2)
    institution = np.where(at_birth, places[persons], region.primary[population.town_at(persons, days)])
    time = days * DAY + 8 * 3600 + random.integers(0, 8 * 3600, len(days))
    # a newborn is vaccinated within a day of its birth, at whatever hour that was
    born = population.birth_day[persons] == days
    fresh = np.flatnonzero(born & (persons >= population.residents))
    time[fresh] = np.minimum(birth_times(population, persons[fresh]) + 1_200, days[fresh] * DAY + DAY - 60)
    order = _by_institution(institution, time)
    return _vaccination_block(
        random, population, region, persons[order], days[order], plan[order], institution[order], time[order]
    )


def _due(
    random: Stream, population: Population, plan: dict[str, str], number: int, first: int, after: int
) -> tuple[Ints, Ints]:
    """Return who gets the dose of `plan` in the month, and when."""
    coverage = float(plan["coverage"])
    everyone = np.arange(len(population))
    if plan["group"] in ("child", "girl"):
        delay = mixed(everyone, number + 700).astype(np.int64) % (int(plan["spread_days"]) + 1)
        when = population.birth_day.astype(np.int64) + int(plan["due_days"]) + delay
        takes = (mixed(everyone, number + 900).astype(np.int64) & 0xFFF) / 4096 < coverage
        if plan["sex"] == "2":
            takes &= population.sex == 2
        persons = np.flatnonzero(takes & (when >= first) & (when < after))
        return persons, when[persons]
    calendar_month = int(str(np.datetime64(first, "D"))[5:7])
    age = (first - population.birth_day) / YEAR
    group = {"old": age >= 60, "small": (age >= 0.6) & (age < 6), "any": age >= 1}[plan["group"]]
    season = {10: 0.5, 11: 0.35, 12: 0.15}.get(calendar_month, 0.0) if plan["code"] == "2102" else 1 / 12
    persons = np.flatnonzero(group & (random.random(len(population)) < coverage * season))
    return persons, random.integers(first, after, len(persons))


def _vaccination_block(
    random: Stream,
    population: Population,
    region: Region,
    persons: Ints,
    days: Ints,
    plan: Ints,
    institution: Ints,
    time: Ints,
) -> Block:
    plans = tables.rows("vaccines")
    count = len(persons)
    serial = group_ranks(institution) + 1
    makers = text(tables.values("places")["makers"].split("|"))
    maker = mixed(plan, days // 90).astype(np.int64) % len(makers)
    batch = mixed(plan, days // 60).astype(np.int64) % 90 + 10
    quarter = date_digits(days // 60 * 60) // 100
    nurse = seat(
        region.institutions.nurse_first[institution],
        region.institutions.nurse_count[institution],
        random.integers(0, 5, count),
    )
    following = _following(plans)
    next_due = population.birth_day[persons].astype(np.int64) + following[plan]
    none = (following[plan] < 0) | (next_due <= days)
    oral = np.array(["口服" in row["name"] for row in plans])[plan]
    small = population.age_at(persons, days) < 1
    columns = person_columns(population, region, institutions=institution, persons=persons, days=days) | {
        "vaccination_number": numbered("V", (date_digits(days), 8), (serial, 6), count=count),
        "vaccinated_at": moment(time),
        "vaccine_code": picked(text([row["code"] for row in plans]), plan),
        "vaccine_name": picked(text([row["name"] for row in plans]), plan),
        "dose_number": whole(np.array([int(row["dose"]) for row in plans])[plan]),
        "batch_number": numbered((quarter, 6), "A", (batch, 2), count=count),
        "manufacturer": picked(makers, maker),
        "site": picked(_SITES, np.where(oral, 3, np.where(small, 2, plan % 2))),
        "nurse_name": picked(region.nurse_names, nurse),
        "next_due": blanked(day(np.where(none, 0, next_due)), none),
    }
    return Block(
        dataset="immunization", columns=columns, institutions=institution, persons=persons, days=days
    )


def _following(plans: tuple[dict[str, str], ...]) -> Ints:
    """Return for each dose the age in days of the next dose of the same vaccine, -1 for the last."""
    following = np.full(len(plans), -1, dtype=np.int64)
    for place, plan in enumerate(plans):
        for other in plans:
            same = other["code"] == plan["code"] and other["group"] == plan["group"]
            if same and int(other["dose"]) == int(plan["dose"]) + 1:
                following[place] = int(other["due_days"])
    return following


def monthly_return(
    *, region: Region, seed: int, month: int, visits: Visits, stays: Stays, first: int, after: int
) -> Block:
    """Return institution_month: what each institution that treats counted in the month."""
    random = stream(seed, "monthly return", month)
    size = len(region.institutions)
    kinds = region.institutions.kinds
    treats = np.flatnonzero((kinds >= Kind.TERTIARY) & (kinds <= Kind.TOWNSHIP))
    left = (stays.discharged >= first * DAY) & (stays.discharged < after * DAY)
    came = (stays.admitted >= first * DAY) & (stays.admitted < after * DAY)
    lay = np.minimum(stays.discharged, after * DAY) - np.maximum(stays.admitted, first * DAY)
    used = np.bincount(stays.institution, weights=np.maximum(lay, 0), minlength=size) / DAY
    beds = region.institutions.beds
    open_days = beds * (after - first)
    outside = np.bincount(visits.institution[~visits.emergency], minlength=size)
    urgent = np.bincount(visits.institution[visits.emergency], minlength=size)

    def counted(where: Flags) -> Ints:
        return np.bincount(stays.institution[where], minlength=size)

    count = len(treats)
    columns: dict[str, Column] = {
        "institution_code": picked(region.institution_codes, treats),
        "institution_name": picked(region.institution_names, treats),
        "month": day(np.full(count, first)),
        "beds_actual": whole(beds[treats]),
        "bed_days_open": whole(open_days[treats]),
        "bed_days_used": whole(np.minimum(np.rint(used).astype(np.int64), open_days)[treats]),
        "visits": whole((outside + urgent)[treats]),
        "outpatient_visits": whole(outside[treats]),
        "emergency_visits": whole(urgent[treats]),
        "admissions": whole(counted(came)[treats]),
        "discharges": whole(counted(left)[treats]),
        "deaths": whole(counted(left & stays.died)[treats]),
        "reported_on": day(after + random.integers(1, 8, count)),
    }
    return Block(
        dataset="institution_month",
        columns=columns,
        institutions=treats,
        persons=np.full(count, -1),
        days=np.full(count, first),
    )


def directories(*, population: Population, region: Region, year: int) -> list[Block]:
    """Return division, institution and population, which the centre sends."""
    return [_division_block(region), _institution_block(region), _population_block(population, region, year)]


def _directory(dataset: str, columns: dict[str, Column], region: Region, count: int) -> Block:
    return Block(
        dataset=dataset,
        columns=columns,
        institutions=np.full(count, region.centre),
        persons=np.full(count, -1),
        days=np.full(count, -1),
    )


def _division_block(region: Region) -> Block:
    divisions = region.divisions
    parents = [divisions.codes[parent] if parent >= 0 else None for parent in divisions.parents]
    columns = {
        "division_code": text(divisions.codes),
        "name": text(divisions.names),
        "parent_code": text(parents),
        "level": whole(np.array(divisions.levels)),
    }
    return _directory("division", columns, region, len(divisions.codes))


def _institution_block(region: Region) -> Block:
    institutions = region.institutions
    count = len(institutions)
    counties = text([str(code) for code in region.county_codes])
    place = chosen(
        institutions.towns >= 0,
        picked(region.town_codes, np.maximum(institutions.towns, 0)),
        picked(counties, institutions.counties),
    )
    kinds = institutions.kinds
    vendors = text(tables.values("places")["vendors"].split("|"))
    grade = np.select(
        [
            kinds == Kind.TERTIARY,
            (kinds >= Kind.SECONDARY) & (kinds <= Kind.MATERNAL),
            kinds == Kind.TOWNSHIP,
        ],
        [3, 2, 1],
        9,
    )
    columns = {
        "institution_code": region.institution_codes,
        "name": region.institution_names,
        "short_name": text(institutions.short_names),
        "division_code": place,
        "level": code_column(grade),
        "type": text([code[17:21] for code in institutions.codes]),
        "economic_type": text([f"{code[15:17]}0" for code in institutions.codes]),
        "host": code_column(np.where(kinds == Kind.CLINIC, 7, 1)),
        "opened_on": day(institutions.opened),
        "beds": whole(institutions.beds),
        "staff": whole(institutions.staff),
        "vendor": picked(vendors, institutions.vendors),
    }
    return _directory("institution", columns, region, count)


def _population_block(population: Population, region: Region, year: int) -> Block:
    """Return residents by county, city and province, sex and age in five-year groups, at the year's start."""
    persons = np.arange(population.residents)
    county = region.town_county[population.town_before[persons]]
    band = np.minimum(
        completed_years(population.birth_day[persons], np.full(len(persons), population.start)) // 5, 17
    )
    counties, cities = len(region.county_codes), int(region.county_city.max()) + 1
    table = np.zeros((counties, 2, 18), dtype=np.int64)
    np.add.at(table, (county, population.sex[persons] - 1, band), 1)
    by_city = np.zeros((cities, 2, 18), dtype=np.int64)
    np.add.at(by_city, region.county_city, table)
    whole_table = np.concatenate([table.sum(axis=0)[None], by_city, table])
    place, sex, group = (axis.ravel() for axis in np.indices(whole_table.shape))
    codes = text(region.divisions.codes[: len(whole_table)])
    columns = {
        "division_code": picked(codes, place),
        "year": whole(np.full(len(place), year)),
        "sex": picked(_DIGITS, sex + 1),
        "age_from": whole(group * 5),
        "age_to": blanked(whole(group * 5 + 4), group == 17),
        "residents": whole(whole_table.ravel()),
    }
    return _directory("population", columns, region, len(place))
