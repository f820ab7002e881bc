"""What stays leave beside the front page: diagnoses, operations, charges and drugs to go home with."""

from __future__ import annotations

import numpy as np

from kangshu.simulation import tables
from kangshu.simulation.blocks import Block, person_columns
from kangshu.simulation.clinic import Clinic
from kangshu.simulation.columns import Column, constant, joined, moment, money, numbered, picked, text, whole
from kangshu.simulation.costs import COST_FIELDS, stay_costs
from kangshu.simulation.front_page import external_causes, procedure_times
from kangshu.simulation.laboratory import stay_numbers
from kangshu.simulation.numbers import date_digits
from kangshu.simulation.outpatient import drug_columns, spread_columns
from kangshu.simulation.population import Population
from kangshu.simulation.region import Region
from kangshu.simulation.stays import PROCEDURES, Stays
from kangshu.simulation.streams import Ints, chances, stream
from kangshu.simulation.visits import DAY, prescribe

_TWO_DIGITS = text([f"{number:02d}" for number in range(100)])
# RC013 to CV06.00.103 and RC014 to class and healing: two editions of the same lists
_ANAESTHESIA = {
    "0101": "11",
    "0102": "12",
    "0201": "21",
    "0202": "22",
    "0301": "31",
    "0305": "35",
    "0306": "36",
}

# Charge category of each cost item of the front page.
_CATEGORY = {
    "cost_general_service": ("01", "床位及一般医疗服务"),
    "cost_general_treatment": ("05", "一般治疗操作"),
    "cost_nursing": ("07", "护理"),
    "cost_general_other": ("14", "综合服务其他"),
    "cost_pathology": ("03", "病理诊断"),
    "cost_laboratory": ("04", "实验室诊断"),
    "cost_imaging": ("03", "影像学诊断"),
    "cost_clinical_diagnosis": ("03", "临床诊断项目"),
    "cost_nonsurgical_treatment": ("05", "非手术治疗"),
    "cost_surgical_treatment": ("06", "手术治疗"),
    "cost_rehabilitation": ("05", "康复治疗"),
    "cost_tcm_treatment": ("05", "中医治疗"),
    "cost_western_medicine": ("09", "西药"),
    "cost_patent_medicine": ("11", "中成药"),
    "cost_herbal_medicine": ("10", "中草药"),
    "cost_blood": ("14", "血费"),
    "cost_albumin": ("14", "白蛋白类制品"),
    "cost_globulin": ("14", "球蛋白类制品"),
    "cost_coagulation_factors": ("14", "凝血因子类制品"),
    "cost_cytokines": ("14", "细胞因子类制品"),
    "cost_examination_disposables": ("08", "检查用一次性医用材料"),
    "cost_treatment_disposables": ("08", "治疗用一次性医用材料"),
    "cost_surgery_disposables": ("08", "手术用一次性医用材料"),
    "cost_other": ("14", "其他"),
}


def stay_blocks(
    *, population: Population, region: Region, clinic: Clinic, seed: int, month: int, stays: Stays
) -> list[Block]:
    """Return diagnosis, prescription_item and charge_item of `stays`, all dated at discharge.

    `seed`, `month` and `stays` must be those of the front pages, so that charges add up to their costs.
    """
    order = np.argsort(stays.institution, kind="stable")
    stays = stays.taken(order)
    person = person_columns(
        population, region, institutions=stays.institution, persons=stays.person, days=stays.discharge_day
    )
    person["visit_number"] = stay_numbers(stays)
    person["department_code"] = picked(text(clinic.departments), stays.discharge_department)
    person["doctor_name"] = picked(region.doctor_names, stays.doctor)
    return [
        _diagnoses(clinic, stays, person),
        _prescriptions(seed, month, population, clinic, stays, person),
        _charges(seed, month, population, region, clinic, stays, person),
    ]


def _block(
    dataset: str, columns: dict[str, Column], stays: Stays, rows: Ints, days: Ints | None = None
) -> Block:
    return Block(
        dataset=dataset,
        columns=columns,
        institutions=stays.institution[rows],
        persons=stays.person[rows],
        days=stays.discharge_day[rows] if days is None else days,
    )


def _diagnoses(clinic: Clinic, stays: Stays, person: dict[str, Column]) -> Block:
    cause = external_causes(clinic, stays)
    table = np.concatenate(
        [stays.diagnosis[:, None], stays.diagnosis[:, None], stays.others, cause[:, None]], axis=1
    )
    kinds = np.array([2, 3, *([4] * stays.others.shape[1]), 8])
    rows, place = np.nonzero(table >= 0)
    ordinal = np.cumsum(table >= 0, axis=1)[rows, place]
    columns = spread_columns(person, rows) | {
        "diagnosis_number": joined(
            numbered(
                "DI", (date_digits(stays.discharge_day[rows]), 8), (stays.serial[rows], 6), count=len(rows)
            ),
            picked(_TWO_DIGITS, ordinal),
            separator="-",
        ),
        "visit_kind": constant("2", len(rows)),
        "diagnosed_at": moment(stays.discharged[rows]),
        "diagnosis_type": picked(text([str(kind) for kind in range(10)]), kinds[place]),
        "diagnosis_code": picked(clinic.diagnosis_codes, table[rows, place]),
        "diagnosis_name": picked(clinic.diagnosis_names, table[rows, place]),
    }
    return _block("diagnosis", columns, stays, rows)


def _prescriptions(
    seed: int, month: int, population: Population, clinic: Clinic, stays: Stays, person: dict[str, Column]
) -> Block:
    random = stream(seed, "drugs to go home with", month)
    adult = population.age_at(stays.person, stays.discharge_day) >= 18
    home = chances(random, clinic.drug_share[stays.illness] * 0.7) & ~stays.died
    drugs = prescribe(random, clinic, stays.illness, home, adult)
    has = drugs >= 0
    rows, place = np.nonzero(has)
    columns = spread_columns(person, rows) | {
        "prescription_number": numbered(
            "RI", (date_digits(stays.discharge_day[rows]), 8), (stays.serial[rows], 6), count=len(rows)
        ),
        "item_number": whole(np.cumsum(has, axis=1)[rows, place]),
        "prescribed_at": moment(stays.discharged[rows] - 1800),
        **drug_columns(clinic, drugs[rows, place]),
    }
    return _block("prescription_item", columns, stays, rows)


def _charges(
    seed: int,
    month: int,
    population: Population,
    region: Region,
    clinic: Clinic,
    stays: Stays,
    person: dict[str, Column],
) -> Block:
    costs = stay_costs(seed, month, population=population, region=region, clinic=clinic, stays=stays)
    table = np.stack([costs[name] for name in COST_FIELDS], axis=1)
    rows, item = np.nonzero(table > 0)
    amount = table[rows, item]
    names = [_CATEGORY[name] for name in COST_FIELDS]
    ordinal = np.cumsum(table > 0, axis=1)[rows, item]
    columns = spread_columns({name: column for name, column in person.items() if name != "phone"}, rows) | {
        "charge_number": joined(
            numbered(
                "FI", (date_digits(stays.discharge_day[rows]), 8), (stays.serial[rows], 6), count=len(rows)
            ),
            picked(_TWO_DIGITS, ordinal),
            separator="-",
        ),
        "charged_at": moment(stays.discharged[rows]),
        "category": picked(text([category for category, _ in names]), item),
        "item_code": picked(text([f"ZY-{number + 1:04d}" for number in range(len(names))]), item),
        "item_name": picked(text([name for _, name in names]), item),
        "unit_price": money(amount),
        "quantity": whole(np.ones(len(rows), dtype=np.int64)),
        "amount": money(amount),
    }
    return _block("charge_item", columns, stays, rows)


def operation_block(
    *, population: Population, region: Region, clinic: Clinic, stays: Stays, first: int, after: int
) -> Block:
    """Return the operation block: procedures done on the days from `first` up to `after`."""
    procedures = tables.rows("procedures")
    times = procedure_times(stays)
    inside = (stays.procedures >= 0) & (times >= first * DAY) & (times < after * DAY)
    rows, place = np.nonzero(inside)
    order = np.argsort(stays.institution[rows] * (1 << 36) + times[rows, place], kind="stable")
    rows, place = rows[order], place[order]
    number, at = stays.procedures[rows, place], times[rows, place]
    cut = np.array([int(row["incision"] or 0) for row in procedures])[number]
    incision = np.select([cut == 0, cut == 1, cut <= 5, cut <= 9], [-1, 1, 2, 3], 4)
    numbing = text([_ANAESTHESIA.get(row["anaesthesia"]) for row in procedures])
    days = at // DAY
    columns = person_columns(
        population, region, institutions=stays.institution[rows], persons=stays.person[rows], days=days
    ) | {
        "operation_number": joined(
            numbered("S", (date_digits(days), 8), (stays.serial[rows], 6), count=len(rows)),
            picked(text([str(step + 1) for step in range(PROCEDURES)]), place),
            separator="-",
        ),
        "visit_number": picked(stay_numbers(stays), rows),
        "department_code": picked(text(clinic.departments), stays.department[rows]),
        "operated_at": moment(at),
        "procedure_code": picked(text([row["code"] for row in procedures]), number),
        "procedure_name": picked(text([row["name"] for row in procedures]), number),
        "grade": picked(text([row["grade"] or None for row in procedures]), number),
        "operator_name": picked(region.doctor_names, stays.doctor[rows]),
        "anaesthesia": picked(numbing, number),
        "incision": picked(text(["", "1", "2", "3", "4"]), incision),
        "healing": picked(text(["1"]), np.where(incision >= 2, 0, -1)),
    }
    return _block("operation", columns, stays, rows, days)
