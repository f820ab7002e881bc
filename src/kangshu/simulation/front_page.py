"""The discharge front page (住院病案首页) of each stay: 135 fields that agree with one another.

Columns have the field names of the declaration. A required item without content is "-". A repeated
field has one column per value, `name__1`, `name__2` ..., as many as the stays need.
"""

from __future__ import annotations

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
    joined,
    moment,
    money,
    numbered,
    pc,
    picked,
    text,
    whole,
)
from kangshu.simulation.costs import COST_FIELDS, PARTS, stay_costs
from kangshu.simulation.numbers import date_digits, phone_numbers
from kangshu.simulation.population import Population
from kangshu.simulation.region import Kind, Region
from kangshu.simulation.stays import PROCEDURES, Stays
from kangshu.simulation.streams import Ints, mixed, stream
from kangshu.simulation.visits import DAY, seat

NONE = "-"
REPEAT = "__"
_PURPOSES = text(["按期化疗", "拆除内固定", "二期手术"])
_ALLERGENS = text(["青霉素", "头孢菌素类", "磺胺类", "阿司匹林", "碘造影剂", "左氧氟沙星"])
_PATHOLOGY = {"C22": "M81700/3", "C15": "M80700/3", "C53": "M80700/3", "C50": "M85000/3", "C73": "M82600/3"}
_DIGITS = text([str(number) for number in range(10)])
_OCCUPIED = np.array([11, 13, 17, 21, 24, 37])


def front_pages(
    *, population: Population, region: Region, clinic: Clinic, seed: int, stays: Stays, label: int
) -> Block:
    """Return the front pages of `stays`; `label` names the stream, so that each part has its own numbers."""
    random = stream(seed, "front pages", label)
    order = np.argsort(stays.institution, kind="stable")
    stays = stays.taken(order)
    days = stays.discharge_day
    columns = _patient(population, region, stays) | _stay(random, population, region, clinic, stays)
    columns |= _diagnoses(random, clinic, stays) | _staff(region, clinic, stays)
    columns |= _operations(random, region, stays) | _newborn(population, stays) | _coma(random, clinic, stays)
    columns |= _end(random, region, clinic, stays)
    costs = stay_costs(seed, label, population=population, region=region, clinic=clinic, stays=stays)
    columns |= {name: money(cents, precision=10) for name, cents in costs.items()}
    for name in (*COST_FIELDS, *PARTS):
        columns[name] = blanked(columns[name], costs[name] == 0)
    return Block(
        dataset="front_page",
        columns=columns,
        institutions=stays.institution,
        persons=stays.person,
        days=days,
    )


def code_column(values: Ints, width: int = 1) -> Column:
    """Return small numbers as codes with leading zeros."""
    return picked(text([f"{number:0{width}d}" for number in range(100)]), values)


def or_none(column: Column) -> Column:
    """Return the column with the mark of "none" in its empty cells."""
    return pc.fill_null(column, NONE)


def completed_years(born: Ints, days: Ints) -> Ints:
    """Return completed years from the day of birth to another day."""
    return (date_digits(days) - date_digits(born)) // 10_000


def marital_codes(population: Population, persons: Ints, days: Ints) -> Ints:
    """Return RC002; who was registered as a child has not married since."""
    marital = population.marital[persons].astype(np.int64)
    return np.select([marital // 10 == 1, marital // 10 == 2, marital == 30, marital == 40], [1, 2, 3, 4], 9)


def _patient(population: Population, region: Region, stays: Stays) -> dict[str, Column]:
    person = stays.person
    count = len(person)
    days = stays.admitted // DAY
    known = person_columns(
        population, region, institutions=stays.institution, persons=person, days=stays.discharge_day
    )
    address = population.address_at(person, stays.discharge_day)
    county = region.town_county[population.town_at(person, stays.discharge_day)]
    occupation = np.where(
        completed_years(population.birth_day[person], days) < 6,
        90,
        population.occupation[person].astype(np.int64),
    )
    works = np.isin(occupation, _OCCUPIED)
    employers = text(tables.values("places")["employers"].split("|"))
    employer = picked(employers, population.employer[person].astype(np.int64))
    nothing_said = constant(NONE, count)
    office = phone_numbers(500_000_000 + population.employer[person].astype(np.int64))
    home = np.searchsorted(region.county_codes, population.county[person])
    return {
        "institution_code": known["institution_code"],
        "institution_name": known["institution_name"],
        "record_number": known["patient_number"],
        "admission_count": whole(stays.nth),
        "admitted_at": moment(stays.admitted),
        "discharged_at": moment(stays.discharged),
        "health_card_number": nothing_said,
        "payment": code_column(population.payment[person]),
        "patient_name": known["patient_name"],
        "sex": known["sex"],
        "birth_date": known["birth_date"],
        "age_years": whole(completed_years(population.birth_day[person], days)),
        "nationality": _nationality(population, person),
        "marital": code_column(marital_codes(population, person, days)),
        "occupation": code_column(occupation, 2),
        "ethnic": code_column(population.ethnic[person], 2),
        "resident_number": or_none(known["resident_number"]),
        "birthplace": joined(picked(_county_names(region), home)),
        "native_province": _native(population, person),
        "registered_address": picked(population.registered_address, person),
        "registered_postcode": _postcode(home),
        "address": address,
        "phone": known["phone"],
        "postcode": _postcode(county),
        "employer": chosen(works, employer, nothing_said),
        "employer_phone": chosen(works, office, nothing_said),
        "employer_postcode": chosen(works, _postcode(county), nothing_said),
        **_contact(population, person, stays, address),
    }


def _nationality(population: Population, person: Ints) -> Column:
    codes = text(["CHN", "CHN", "USA", "HKG", "TWN"])
    return picked(codes, population.document[person].astype(np.int64))


def _native(population: Population, person: Ints) -> Column:
    # RC036 names real provinces; the ancestors of Yunhai's people came from its neighbours
    provinces = text(["52", "53", "43", "51", "50", "45", "42", "36"])
    return picked(provinces, population.native[person].astype(np.int64) % len(provinces))


def _county_names(region: Region) -> Column:
    names = region.divisions.names
    first = 1 + int(region.county_city.max()) + 1
    return text(
        [
            names[0] + names[1 + city] + names[first + county]
            for county, city in enumerate(region.county_city.tolist())
        ]
    )


def _postcode(county: Ints) -> Column:
    # postcodes beginning with 98 are given to no place
    return numbered("98", (np.asarray(county) + 1, 3), "0", count=len(county))


def _contact(population: Population, person: Ints, stays: Stays, address: Column) -> dict[str, Column]:
    contact = population.contact[person]
    days = stays.discharge_day
    relation = np.select(
        [
            contact == population.spouse[person],
            (contact == population.mother[person]) | (contact == population.father[person]),
            (population.mother[contact] == person) | (population.father[contact] == person),
        ],
        [1, 5, np.where(population.sex[contact] == 1, 2, 3)],
        8,
    )
    return {
        "contact_name": picked(population.name, contact),
        "contact_relation": code_column(relation),
        "contact_address": chosen(
            population.household[contact] == population.household[person],
            address,
            population.address_at(contact, days),
        ),
        "contact_phone": picked(population.phone, population.phone_owner[contact]),
    }


def _stay(
    random: np.random.Generator, population: Population, region: Region, clinic: Clinic, stays: Stays
) -> dict[str, Column]:
    count = len(stays)
    departments = text(clinic.departments)
    wards = text([f"{name[:2].lstrip('0')}病区" for name in clinic.departments])
    moved = stays.department != stays.discharge_department
    first_day, last_day = stays.admitted // DAY, stays.discharge_day
    route = np.where(stays.emergency, 1, np.where(random.random(count) < 0.04, 3, 2))
    allergic = population.allergy[stays.person] >= 0
    abo = population.abo[stays.person].astype(np.int64)
    return {
        "admission_route": code_column(route),
        "admission_department": picked(departments, stays.department),
        "admission_ward": picked(wards, stays.department),
        "transfer_departments": blanked(picked(departments, stays.discharge_department), ~moved),
        "discharge_department": picked(departments, stays.discharge_department),
        "discharge_ward": picked(wards, stays.discharge_department),
        "stay_days": whole(np.maximum(last_day - first_day, 1)),
        "drug_allergy": code_column(np.where(allergic, 2, 1)),
        "allergy_drugs": chosen(
            allergic,
            picked(_ALLERGENS, np.maximum(population.allergy[stays.person].astype(np.int64), 0)),
            constant(NONE, count),
        ),
        "abo": code_column(abo),
        "rh": code_column(population.rh[stays.person]),
    }


def _diagnoses(random: np.random.Generator, clinic: Clinic, stays: Stays) -> dict[str, Column]:
    count = len(stays)
    codes, names = clinic.diagnosis_codes, clinic.diagnosis_names
    plain = codes.to_pylist()
    outside = _outpatient_diagnosis(random, clinic, stays)
    present = np.where(random.random(count) < 0.96, 1, 2)
    columns = {
        "outpatient_diagnosis_code": picked(codes, outside),
        "outpatient_diagnosis_name": picked(names, outside),
        "principal_diagnosis_code": picked(codes, stays.diagnosis),
        "principal_diagnosis_name": picked(names, stays.diagnosis),
        "principal_diagnosis_on_admission": code_column(present),
    }
    for place in range(stays.others.shape[1]):
        other = stays.others[:, place]
        state = np.where(other < 0, -1, np.where(random.random(count) < 0.9, 1, 4))
        columns[f"other_diagnosis_code{REPEAT}{place + 1}"] = picked(codes, other)
        columns[f"other_diagnosis_name{REPEAT}{place + 1}"] = picked(names, other)
        columns[f"other_diagnosis_on_admission{REPEAT}{place + 1}"] = picked(_DIGITS, state)
    pathology = np.array([_pathology_of(code, plain) for code in plain])[stays.diagnosis]
    columns["pathology_code"] = or_none(picked(codes, pathology))
    columns["pathology_name"] = or_none(picked(names, pathology))
    number = numbered("B", (date_digits(stays.discharge_day), 8), (stays.serial, 6), count=count)
    columns["pathology_number"] = chosen(pathology >= 0, number, constant(NONE, count))
    cause = external_causes(clinic, stays)
    columns["external_cause_code"] = or_none(picked(codes, cause))
    columns["external_cause_name"] = or_none(picked(names, cause))
    return columns


def _outpatient_diagnosis(random: np.random.Generator, clinic: Clinic, stays: Stays) -> Ints:
    """Return with what the patient was sent in: mostly what it turned out to be."""
    other = clinic.draw_diagnosis(random, stays.illness).astype(np.int64)
    chronic = np.isin(stays.illness, clinic.chronic_illness)
    keeps = (random.random(len(stays)) < 0.85) | chronic
    prenatal = clinic.first_diagnosis[clinic.illness("prenatal")]
    return np.where(stays.child >= 0, prenatal, np.where(keeps, stays.diagnosis, other))


def _pathology_of(code: str, codes: list[str]) -> int:
    if code.startswith("C"):
        return codes.index(_PATHOLOGY.get(code[:3], "M81400/3"))
    if "D00" <= code[:3] <= "D48":
        return codes.index("M88900/0")
    return -1


def external_causes(clinic: Clinic, stays: Stays) -> Ints:
    """Return the external cause of an injury or poisoning, -1 for other principal diagnoses."""
    return external_cause_of(clinic, stays.diagnosis, stays.person)


def external_cause_of(clinic: Clinic, diagnosis: Ints, person: Ints) -> Ints:
    """Return a cause that fits each injury or poisoning among `diagnosis`, -1 for others."""
    codes = clinic.diagnosis_codes.to_pylist()
    injury = np.array([code[0] == "S" or code.startswith("T14") or code.startswith("T30") for code in codes])
    poison = np.array([code.startswith(("T42", "T60")) for code in codes])
    causes = clinic.diagnoses("external")
    number = mixed(person, 91).astype(np.int64) & 0xFF
    usual = causes[np.array([0, 0, 0, 0, 1, 1, 1, 2, 3, 4])[number % 10]]
    return np.where(
        injury[diagnosis], usual, np.where(poison[diagnosis], clinic.diagnoses("external_poison")[0], -1)
    )


def _staff(region: Region, clinic: Clinic, stays: Stays) -> dict[str, Column]:
    institutions = region.institutions
    first, size = institutions.doctor_first[stays.institution], institutions.doctor_count[stays.institution]
    nurse, nurses = institutions.nurse_first[stays.institution], institutions.nurse_count[stays.institution]
    base = stays.department * 5
    who = mixed(stays.person, stays.admitted).astype(np.int64) & 0xFFFF
    doctor = region.doctor_names
    count = len(stays)
    good = (who % 50) > 1
    learns = who % 11 == 0
    return {
        "department_head": picked(doctor, seat(first, size, base)),
        "chief_physician": picked(doctor, seat(first, size, base + who % 2)),
        "attending_physician": picked(doctor, stays.doctor),
        "resident_physician": picked(doctor, seat(first, size, base + 3 + who % 2)),
        "responsible_nurse": picked(region.nurse_names, seat(nurse, nurses, base + who % 7)),
        "visiting_physician": blanked(picked(doctor, seat(first, size, base + 7)), ~learns),
        "intern": blanked(picked(doctor, seat(first, size, base + 9)), ~learns),
        "coder": picked(region.nurse_names, seat(nurse, nurses, 1 + who % 3)),
        "record_quality": code_column(np.where(good, 1, 2)),
        "quality_physician": picked(doctor, seat(first, size, np.full(count, 2))),
        "quality_nurse": picked(region.nurse_names, seat(nurse, nurses, np.full(count, 4))),
        "quality_date": day(stays.discharge_day + 1 + who % 4),
    }


def procedure_times(stays: Stays) -> Ints:
    """Return when each procedure took place, within its stay; one row per stay, one column per place."""
    share = (mixed(stays.person, stays.admitted + 7).astype(np.int64) & 0xFF) / 600 + 0.08
    length = stays.discharged - stays.admitted
    steps = np.arange(PROCEDURES) * 0.05
    return stays.admitted[:, None] + (length[:, None] * (share[:, None] + steps)).astype(np.int64) // 60 * 60


def _operations(random: np.random.Generator, region: Region, stays: Stays) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    times = procedure_times(stays)
    for place in range(PROCEDURES):
        own = operation_columns(random, region, stays, place)
        own["at"] = blanked(moment(times[:, place]), stays.procedures[:, place] < 0)
        for name, column in own.items():
            if place == 0:
                columns[f"principal_procedure_{name}"] = column
            else:
                columns[f"other_procedure_{name}{REPEAT}{place}"] = column
    return columns


def operation_columns(
    random: np.random.Generator, region: Region, stays: Stays, place: int
) -> dict[str, Column]:
    """Return what is recorded of the procedures at `place`; healing by RC014, anaesthesia by RC013."""
    rows = tables.rows("procedures")
    number = stays.procedures[:, place]
    absent = number < 0
    some = np.maximum(number, 0)
    first = region.institutions.doctor_first[stays.institution]
    size = region.institutions.doctor_count[stays.institution]
    graded = np.array([bool(row["grade"]) for row in rows])[some] & ~absent
    numbed = np.array([bool(row["anaesthesia"]) for row in rows])[some] & ~absent
    cut = np.array([int(row["incision"] or 0) for row in rows])[some]
    worse = (cut >= 2) & (random.random(len(stays)) < 0.015)
    base = stays.department * 5
    doctor = region.doctor_names
    return {
        "code": blanked(picked(text([row["code"] for row in rows]), some), absent),
        "name": blanked(picked(text([row["name"] for row in rows]), some), absent),
        "grade": blanked(picked(text([row["grade"] for row in rows]), some), ~graded),
        "operator": blanked(picked(doctor, stays.doctor), absent),
        "first_assistant": blanked(picked(doctor, seat(first, size, base + 6)), ~graded),
        "second_assistant": blanked(picked(doctor, seat(first, size, base + 8)), ~graded),
        "healing": blanked(code_column(cut + worse), ~numbed | (cut == 0)),
        "anaesthesia": blanked(picked(text([row["anaesthesia"] for row in rows]), some), ~numbed),
        "anaesthetist": blanked(picked(doctor, seat(first, size, base % 3 + 4)), ~numbed),
    }


def _newborn(population: Population, stays: Stays) -> dict[str, Column]:
    person, child = stays.person, np.maximum(stays.child, 0)
    born = population.birth_day[person]
    age_days = stays.admitted // DAY - born
    infant = completed_years(born, stays.admitted // DAY) == 0
    small = infant & (age_days <= 28)
    usual = 2_800 + (mixed(person, 13).astype(np.int64) & 0x3F) * 10
    own = np.where(population.born_weight[person] > 0, population.born_weight[person], usual)
    birth = stays.child >= 0
    twin = stays.children == 2
    second = np.minimum(child + 1, len(population) - 1)
    weight = np.where(birth, population.born_weight[child], own)
    now = own + np.maximum(age_days - 4, -4) // 1 * 20
    columns = {
        "age_days": blanked(whole(age_days), ~infant),
        "birth_weight_1": blanked(whole(weight), ~(birth | small)),
        "birth_weight_2": blanked(whole(population.born_weight[second]), ~(birth & twin)),
        "admission_weight": blanked(whole(np.clip(now, 400, 9_000) // 10 * 10), ~small),
    }
    empty = whole(np.zeros(len(stays), dtype=np.int64))
    for number in (3, 4, 5):
        columns[f"birth_weight_{number}"] = blanked(empty, np.ones(len(stays), dtype=bool))
    return columns


def _coma(random: np.random.Generator, clinic: Clinic, stays: Stays) -> dict[str, Column]:
    injured = np.array([code.startswith("S06") for code in clinic.diagnosis_codes.to_pylist()])[
        stays.diagnosis
    ]
    out = injured & (random.random(len(stays)) < 0.35)
    count = len(stays)
    return {
        "coma_before_days": whole(np.zeros(count, dtype=np.int64)),
        "coma_before_hours": whole(np.where(out, random.integers(0, 5, count), 0)),
        "coma_before_minutes": whole(np.where(out, random.integers(1, 60, count), 0)),
        "coma_after_days": whole(np.where(out & stays.died, random.integers(0, 4, count), 0)),
        "coma_after_hours": whole(np.where(out, random.integers(0, 12, count), 0)),
        "coma_after_minutes": whole(np.where(out, random.integers(0, 60, count), 0)),
    }


def _end(random: np.random.Generator, region: Region, clinic: Clinic, stays: Stays) -> dict[str, Column]:
    count = len(stays)
    kinds = region.institutions.kinds[stays.institution]
    primary = (kinds == Kind.COMMUNITY) | (kinds == Kind.TOWNSHIP)
    choice = random.random(count)
    way = np.select([stays.died, choice < 0.02, (choice < 0.06) & ~primary, choice > 0.965], [5, 2, 3, 4], 1)
    county = region.institutions.counties[stays.institution]
    nearby = np.minimum(np.searchsorted(region.town_county, county), len(region.primary) - 1)
    target = np.where(way == 2, region.tertiary[region.county_city[county]], region.primary[nearby])
    again = stays.illness == clinic.illness("chemo_stay")
    purpose = np.where(again, 0, np.where(random.random(count) < 0.5, 1, 2))
    again |= (random.random(count) < 0.02) & ~stays.died
    again &= ~stays.died
    return {
        "disposition": code_column(way),
        "destination": chosen(
            (way == 2) | (way == 3), picked(region.institution_names, target), constant(NONE, count)
        ),
        "autopsy": chosen(
            stays.died, code_column(np.where(random.random(count) < 0.02, 1, 2)), constant(NONE, count)
        ),
        "readmission_planned": code_column(np.where(again, 2, 1)),
        "readmission_purpose": chosen(again, picked(_PURPOSES, purpose), constant(NONE, count)),
    }
