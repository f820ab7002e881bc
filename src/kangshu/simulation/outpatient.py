"""The data sets of outpatient visits: the visit, its diagnoses, prescriptions and charges."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kangshu.simulation.blocks import Block, person_columns
from kangshu.simulation.clinic import Clinic
from kangshu.simulation.columns import (
    Column,
    constant,
    joined,
    moment,
    money,
    numbered,
    picked,
    repeats,
    text,
    whole,
)
from kangshu.simulation.numbers import date_digits
from kangshu.simulation.population import Population
from kangshu.simulation.region import Kind, Region
from kangshu.simulation.streams import Ints, mixed
from kangshu.simulation.visits import Visits

_MINUTE = 60
PAYMENTS = text(["", "01", "02", "03", "04", "05", "06", "07", "08", "99"])
_ORDINALS = text(["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"])
_CATEGORIES = text(["", *(f"{number:02d}" for number in range(1, 15))])
_CONSULTATION, _GENERAL, _TREATMENT, _LABORATORY, _EXAMINATION = 2, 12, 5, 4, 3


def visit_numbers(visits: Visits, letter: str) -> Column:
    """Return numbers of visits (letter O) or of what belongs to them: letter, day, six digits."""
    return numbered(letter, (date_digits(visits.day), 8), (visits.serial, 6), count=len(visits))


def visit_blocks(population: Population, region: Region, clinic: Clinic, visits: Visits) -> Iterator[Block]:
    """Yield the blocks of outpatient_visit, diagnosis, prescription_item and charge_item, one at a time."""
    person = person_columns(
        population, region, institutions=visits.institution, persons=visits.person, days=visits.day
    )
    person["institution_name"] = _reporting_names(population, region, visits)
    person["visit_number"] = visit_numbers(visits, "O")
    person["department_code"] = picked(text(clinic.departments), visits.department)
    person["doctor_name"] = picked(region.doctor_names, visits.doctor)
    lines = _charge_lines(region, clinic, visits)
    total = np.bincount(lines["visit"], weights=lines["amount"], minlength=len(visits)).astype(np.int64)
    yield _visit_block(population, clinic, visits, person, total)
    yield _diagnosis_block(clinic, visits, person)
    yield _prescription_block(clinic, visits, person)
    yield _charge_block(clinic, visits, person, lines)


def _reporting_names(population: Population, region: Region, visits: Visits) -> Column:
    """Return who treated: a village clinic reports under its township hospital's code, but its own name."""
    kinds = region.institutions.kinds[visits.institution]
    village = mixed(visits.person, 83).astype(np.int64) % 5
    clinic = region.clinics[population.town_at(visits.person, visits.day), village % region.clinics.shape[1]]
    there = (kinds == Kind.TOWNSHIP) & (village < 2) & (clinic >= 0)
    return picked(region.institution_names, np.where(there, clinic, visits.institution))


def _block(dataset: str, columns: dict[str, Column], visits: Visits, rows: Ints | None = None) -> Block:
    chosen = visits.institution, visits.person, visits.day
    institutions, persons, days = chosen if rows is None else (column[rows] for column in chosen)
    return Block(dataset=dataset, columns=columns, institutions=institutions, persons=persons, days=days)


def spread_columns(columns: dict[str, Column], rows: Ints) -> dict[str, Column]:
    """Return the columns with the rows at positions `rows`, each as often as it is named."""
    return {name: picked(column, rows) for name, column in columns.items()}


def _visit_block(
    population: Population, clinic: Clinic, visits: Visits, person: dict[str, Column], total: Ints
) -> Block:
    columns = person | {
        "visited_at": moment(visits.time),
        "visit_type": picked(_ORDINALS, 1 + visits.emergency.astype(np.int32)),
        "chief_complaint": picked(clinic.complaint_texts, visits.complaint),
        "diagnosis_code": picked(clinic.diagnosis_codes, visits.diagnosis),
        "diagnosis_name": picked(clinic.diagnosis_names, visits.diagnosis),
        "payment": picked(PAYMENTS, population.payment[visits.person]),
        "total_cost": money(total),
    }
    return _block("outpatient_visit", columns, visits)


def _diagnosis_block(clinic: Clinic, visits: Visits, person: dict[str, Column]) -> Block:
    rows, ordinal = repeats(1 + (visits.second >= 0))
    diagnosis = np.where(ordinal == 0, visits.diagnosis[rows], visits.second[rows])
    columns = spread_columns(person, rows) | {
        "diagnosis_number": joined(
            picked(visit_numbers(visits, "D"), rows), picked(_ORDINALS, ordinal + 1), separator="-"
        ),
        "visit_kind": constant("1", len(rows)),
        "diagnosed_at": moment(visits.time[rows] + 8 * _MINUTE),
        "diagnosis_type": constant("1", len(rows)),
        "diagnosis_code": picked(clinic.diagnosis_codes, diagnosis),
        "diagnosis_name": picked(clinic.diagnosis_names, diagnosis),
    }
    return _block("diagnosis", columns, visits, rows)


def drug_columns(clinic: Clinic, drugs: Ints) -> dict[str, Column]:
    """Return the columns of prescriptions that follow from the drug."""
    drug = clinic.drug
    packs = drug["packs"][drugs]
    return {
        "drug_code": picked(drug["code"], drugs),
        "drug_name": picked(drug["name"], drugs),
        "specification": picked(drug["specification"], drugs),
        "dose": money(drug["dose"][drugs], scale=4),
        "dose_unit": picked(drug["dose_unit"], drugs),
        "frequency": picked(drug["frequency"], drugs),
        "route": picked(drug["route"], drugs),
        "days": whole(drug["days"][drugs]),
        "quantity": whole(packs),
        "quantity_unit": picked(drug["unit"], drugs),
        "unit_price": money(drug["price"][drugs]),
        "amount": money(drug["price"][drugs] * packs),
    }


def _prescription_block(clinic: Clinic, visits: Visits, person: dict[str, Column]) -> Block:
    has = visits.drugs >= 0
    rows, place = np.nonzero(has)
    ordinal = np.cumsum(has, axis=1)[rows, place]
    columns = spread_columns(person, rows) | {
        "prescription_number": picked(visit_numbers(visits, "R"), rows),
        "item_number": whole(ordinal),
        "prescribed_at": moment(visits.time[rows] + 11 * _MINUTE),
        **drug_columns(clinic, visits.drugs[rows, place]),
    }
    return _block("prescription_item", columns, visits, rows)


def _charge_lines(region: Region, clinic: Clinic, visits: Visits) -> dict[str, Ints]:
    """Return visit, kind, item, price, quantity and amount of every charge, ordered by visit.

    The kinds are 0 consultation, 1 drug, 2 laboratory panel, 3 examination, 4 treatment.
    """
    all_rows = np.arange(len(visits))
    kinds = region.institutions.kinds[visits.institution]
    primary = ((kinds == Kind.COMMUNITY) | (kinds == Kind.TOWNSHIP)).astype(np.int64)
    drug_rows, drug_place = np.nonzero(visits.drugs >= 0)
    drugs = visits.drugs[drug_rows, drug_place]
    panel_rows, panel_place = np.nonzero(visits.panels >= 0)
    panels = visits.panels[panel_rows, panel_place]
    exam_rows = np.flatnonzero(visits.exam >= 0)
    treatment_rows = np.flatnonzero(visits.treatment >= 0)
    exams, treatments = visits.exam[exam_rows], visits.treatment[treatment_rows]
    parts = [
        (all_rows, primary, visits.consultation, np.ones(len(visits), dtype=np.int64)),
        (drug_rows, drugs, clinic.drug["price"][drugs], clinic.drug["packs"][drugs]),
        (panel_rows, panels, clinic.panel_prices[panels], np.ones(len(panels), dtype=np.int64)),
        (exam_rows, exams, clinic.exam_prices[exams], np.ones(len(exams), dtype=np.int64)),
        (
            treatment_rows,
            treatments,
            clinic.treatment_prices[treatments],
            np.ones(len(treatments), dtype=np.int64),
        ),
    ]
    visit, item, price, quantity = (np.concatenate(column) for column in zip(*parts, strict=True))
    kind = np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts])
    order = np.argsort(visit * 8 + kind, kind="stable")
    lines = {"visit": visit, "kind": kind, "item": item, "price": price, "quantity": quantity}
    lines = {name: column[order] for name, column in lines.items()}
    lines["amount"] = lines["price"] * lines["quantity"]
    return lines


def _chargeables(clinic: Clinic) -> tuple[Column, Column, Ints, Ints]:
    """Return codes, names and categories of all that can be charged, and where each kind begins."""
    consultations = ["普通门诊诊察费", "一般诊疗费"]
    kinds = [
        (["ZC-0001", "ZC-0002"], consultations, [_CONSULTATION, _GENERAL]),
        (clinic.drug["code"].to_pylist(), clinic.drug["name"].to_pylist(), list(clinic.drug["category"])),
        _numbered_kind("JY", clinic.panel_names, _LABORATORY),
        _numbered_kind("JC", clinic.exam_names, _EXAMINATION),
        _numbered_kind("ZL", clinic.treatment_names, _TREATMENT),
    ]
    starts = np.cumsum([0, *(len(names) for _, names, _ in kinds)])[:-1]
    codes = [code for kind in kinds for code in kind[0]]
    names = [name for kind in kinds for name in kind[1]]
    categories = np.array([category for kind in kinds for category in kind[2]])
    return text(codes), text(names), categories, starts


def _numbered_kind(letters: str, names: Column, category: int) -> tuple[list[str], list[str], list[int]]:
    count = len(names)
    return [f"{letters}-{number + 1:04d}" for number in range(count)], names.to_pylist(), [category] * count


def _charge_block(clinic: Clinic, visits: Visits, person: dict[str, Column], lines: dict[str, Ints]) -> Block:
    codes, names, categories, starts = _chargeables(clinic)
    rows = lines["visit"]
    item = starts[lines["kind"]] + lines["item"]
    ordinal = np.arange(len(rows)) - np.searchsorted(rows, rows, side="left")
    columns = spread_columns({name: column for name, column in person.items() if name != "phone"}, rows) | {
        "charge_number": joined(
            picked(visit_numbers(visits, "F"), rows), picked(_TWO_DIGITS, ordinal + 1), separator="-"
        ),
        "charged_at": moment(visits.time[rows] + 15 * _MINUTE),
        "category": picked(_CATEGORIES, categories[item]),
        "item_code": picked(codes, item),
        "item_name": picked(names, item),
        "unit_price": money(lines["price"]),
        "quantity": whole(lines["quantity"]),
        "amount": money(lines["amount"]),
    }
    return _block("charge_item", columns, visits, rows)


_TWO_DIGITS = text([f"{number:02d}" for number in range(100)])
