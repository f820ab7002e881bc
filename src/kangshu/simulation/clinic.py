"""What doctors know: illnesses with their diagnoses, drugs, tests, examinations, procedures and prices.

The tables lie in `tables/`. Diagnoses and procedures are those of the ICD samples in the base pack and
other codes of the same editions; rates are per 1,000 residents and year and were set from general
knowledge of Chinese outpatient and discharge statistics, not from any data set of patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from typing import Any

import numpy as np

from kangshu.simulation import tables
from kangshu.simulation.columns import Column, text
from kangshu.simulation.population import Chronic
from kangshu.simulation.streams import Draw, Flags, Floats, Ints

BAND_EDGES = np.array([1, 5, 15, 25, 45, 60, 75])
_BAND_SHARES = np.array([0.007, 0.034, 0.115, 0.085, 0.33, 0.23, 0.155, 0.044])

_SEASONS = {
    "flat": [1.0] * 12,
    "winter": [1.5, 1.35, 1.15, 0.95, 0.8, 0.7, 0.65, 0.65, 0.8, 1.0, 1.2, 1.45],
    "winter2": [3.0, 2.0, 1.2, 0.6, 0.3, 0.15, 0.1, 0.1, 0.2, 0.4, 1.0, 2.9],
    "summer": [0.7, 0.7, 0.8, 0.95, 1.1, 1.3, 1.45, 1.45, 1.2, 0.95, 0.75, 0.7],
    "early_summer": [0.2, 0.2, 0.5, 1.2, 2.2, 2.6, 1.7, 0.8, 0.7, 0.8, 0.7, 0.4],
    "spring": [0.7, 0.8, 1.3, 1.5, 1.4, 1.1, 0.8, 0.8, 1.0, 1.0, 0.8, 0.8],
}

# Visits a year for a chronic condition.
_FOLLOW_UPS = (4.0, 4.5, 1.5, 3.5, 3.0, 3.0, 2.5, 4.0, 1.2, 2.0, 2.0, 3.2, 2.0, 2.0, 3.0, 2.0)

_ADULT_GROUPS = {"antibiotic_adult", "sleep", "mood", "psychosis", "pressure", "sugar", "lipid", "menses"}


@dataclass(frozen=True)
class Lists:
    """One list of numbers per group, laid end to end."""

    starts: Ints
    lengths: Ints
    values: Ints

    @classmethod
    def of(cls, lists: list[list[int]]) -> Lists:
        """Lay `lists` end to end."""
        lengths = np.array([len(entry) for entry in lists])
        flat = [value for entry in lists for value in entry] or [0]
        return cls(np.cumsum(lengths) - lengths, lengths, np.array(flat))

    def nth(self, groups: Ints, ordinals: Ints) -> Ints:
        """Return of each group the member number `ordinals`, counted round; -1 where a group is empty."""
        length = self.lengths[groups]
        place = self.starts[groups] + ordinals % np.maximum(length, 1)
        return np.where(length > 0, self.values[np.minimum(place, len(self.values) - 1)], -1)


@dataclass(frozen=True, kw_only=True)
class Clinic:
    """All tables as arrays; an illness, diagnosis, drug ... is its number in the table."""

    illness_ids: list[str]
    departments: list[str]
    department: Ints  # by illness, number in `departments`
    primary_share: Floats
    emergency_share: Floats
    stay: Floats
    mortality: Floats
    signals: Ints  # by illness: bit per letter
    acute_rate: Floats  # band x sex x month: visits per person-year
    admission_rate: Floats  # band x sex: stays per person-year
    draw_illness: Draw  # by (band, sex, month)
    draw_admission: Draw  # by (band, sex)
    draw_diagnosis: Draw  # by illness
    follow_up: Floats  # by chronic mask: visits per person-year
    follow_ups: Floats  # by condition
    chronic_illness: Ints  # by condition
    chronic_admission: Floats  # by condition: stays per bearer and year
    chronic_season: Floats  # by month
    diagnosis_codes: Column
    diagnosis_names: Column
    diagnosis_illness: Ints
    first_diagnosis: Ints  # by illness
    panels: Lists
    panel_share: Floats
    exams: Lists
    exam_share: Floats
    drugs: Lists
    drug_share: Floats
    procedures: Lists
    procedure_share: Floats
    treatments: Lists
    treatment_share: Floats
    complaints: Lists
    complaint_texts: Column
    drug: dict[str, Any]
    drug_adult: Flags
    treatment_names: Column
    treatment_prices: Ints
    panel_names: Column
    panel_prices: Ints
    exam_names: Column
    exam_prices: Ints
    exam_light: Flags  # what a community centre can do itself

    def illness(self, name: str) -> int:
        """Return the number of the illness called `name`."""
        return self.illness_ids.index(name)

    def diagnoses(self, name: str) -> Ints:
        """Return the numbers of the diagnoses listed under `name`."""
        return np.flatnonzero([row["illness"] == name for row in tables.rows("diagnoses")])


SIGNALS = "IABDRHLGTYCPNJOEUKFVW"
"""What is wrong, as letters in the tables: infection, anaemia, bleeding, diabetes, renal ..."""


def signal_mask(letters: str) -> int:
    """Return the bits of the letters in `letters`."""
    return sum(1 << SIGNALS.index(letter) for letter in letters.split())


@cache
def clinic() -> Clinic:
    """Return the tables."""
    ill = tables.rows("illnesses")
    ids = [row["id"] for row in ill]
    departments = sorted(
        {row["department"] for row in ill} | {"02", "07", "09.01", "28", "50.10", "50", "01"}
    )
    diagnoses = tables.rows("diagnoses")
    rates, admissions, acute, stays = _rates(ill)
    chronic = [condition.name.lower() for condition in Chronic]
    follow_ups = np.array(_FOLLOW_UPS)
    masks = np.arange(1 << len(Chronic))
    weights = np.zeros((len(ids), len(diagnoses)))
    for place, row in enumerate(diagnoses):
        if row["illness"] in ids:
            weights[ids.index(row["illness"]), place] = float(row["weight"])
    return Clinic(
        illness_ids=ids,
        departments=departments,
        department=np.array([departments.index(row["department"]) for row in ill]),
        primary_share=_floats(ill, "primary"),
        emergency_share=_floats(ill, "emergency"),
        stay=_floats(ill, "stay"),
        mortality=_floats(ill, "mortality") / 100,
        signals=np.array([signal_mask(row["signals"]) for row in ill]),
        acute_rate=acute,
        admission_rate=stays,
        draw_illness=Draw(rates),
        draw_admission=Draw(admissions),
        draw_diagnosis=Draw(weights),
        follow_up=np.stack([((masks >> bit) & 1) * rate for bit, rate in enumerate(follow_ups)])
        .sum(axis=0)
        .astype(np.float32),
        follow_ups=follow_ups,
        chronic_illness=np.array([ids.index(name) for name in chronic]),
        # the table gives stays per 1,000 bearers of a chronic condition
        chronic_admission=np.array([float(ill[ids.index(name)]["admission"]) for name in chronic]) / 1000 * 5,
        chronic_season=np.array(_SEASONS["winter"]) ** 0.35,
        diagnosis_codes=text([row["code"] for row in diagnoses]),
        diagnosis_names=text([row["name"] for row in diagnoses]),
        diagnosis_illness=np.array(
            [ids.index(row["illness"]) if row["illness"] in ids else -1 for row in diagnoses]
        ),
        first_diagnosis=np.array([[row["illness"] for row in diagnoses].index(name) for name in ids]),
        panels=_listed(ill, "panels", [row["id"] for row in tables.rows("laboratory_panels")]),
        panel_share=_floats(ill, "panel_share"),
        exams=_listed(ill, "exams", [exam["id"] for exam in tables.values("examinations")["exam"]]),
        exam_share=_floats(ill, "exam_share"),
        drugs=_grouped(ill, "drugs", [row["groups"].split() for row in tables.rows("drugs")]),
        drug_share=_floats(ill, "drug_share"),
        procedures=_grouped(ill, "procedures", [[row["group"]] for row in tables.rows("procedures")]),
        procedure_share=_floats(ill, "procedure_share"),
        treatments=_listed(ill, "treatments", [row["id"] for row in tables.rows("treatments")]),
        treatment_share=_floats(ill, "treatment_share"),
        **_complaints(ill),
        **_prices(),
    )


def _floats(ill: tuple[dict[str, str], ...], column: str) -> Floats:
    return np.array([float(row[column] or 0) for row in ill])


def _rates(ill: tuple[dict[str, str], ...]) -> tuple[Floats, Floats, Floats, Floats]:
    """Return weights of illnesses by (band, sex, month) and (band, sex), and their sums as rates."""
    ages = np.array([[float(value) for value in row["ages"].split()] for row in ill])
    sexes = np.array([[row["sex"] in "01", row["sex"] in "02"] for row in ill], dtype=float)
    season = np.array([_SEASONS[row["season"]] for row in ill])
    people = (ages * _BAND_SHARES).sum(axis=1) * sexes.mean(axis=1)
    by_age = np.where(people[:, None] > 0, ages / np.maximum(people, 1e-12)[:, None], 0)
    visits = _floats(ill, "outpatient") / 1000
    stays = _floats(ill, "admission") / 1000
    rate = np.einsum("i,ib,is,im->bsmi", visits, by_age, sexes, season)
    admission = np.einsum("i,ib,is->bsi", stays, by_age, sexes)
    return (
        rate.reshape(-1, len(ill)),
        admission.reshape(-1, len(ill)),
        rate.sum(axis=3),
        admission.sum(axis=2),
    )


def _listed(ill: tuple[dict[str, str], ...], column: str, ids: list[str]) -> Lists:
    return Lists.of([[ids.index(name) for name in row[column].split()] for row in ill])


def _grouped(ill: tuple[dict[str, str], ...], column: str, groups: list[list[str]]) -> Lists:
    """Return members of the named groups, taken in turn from each, so that neighbours differ in kind."""
    lists: list[list[int]] = []
    for row in ill:
        members = [[place for place, own in enumerate(groups) if name in own] for name in row[column].split()]
        turns = [place for turn in zip_longest(*members) for place in turn if place is not None]
        lists.append(list(dict.fromkeys(turns)))
    return Lists.of(lists)


def _complaints(ill: tuple[dict[str, str], ...]) -> dict[str, Any]:
    texts: list[str] = []
    lists: list[list[int]] = []
    for row in ill:
        own = row["complaints"].split("；")
        lists.append(list(range(len(texts), len(texts) + len(own))))
        texts.extend(own)
    return {"complaints": Lists.of(lists), "complaint_texts": text(texts)}


def _prices() -> dict[str, Any]:
    drugs, treatments = tables.rows("drugs"), tables.rows("treatments")
    panels, exams = tables.rows("laboratory_panels"), tables.values("examinations")["exam"]
    drug: dict[str, Any] = {
        key: text([row[key] for row in drugs])
        for key in ("code", "name", "specification", "dose_unit", "frequency", "route", "unit")
    }
    drug["price"] = np.array([int(row["price_cents"]) for row in drugs])
    drug["dose"] = np.array([round(float(row["dose"]) * 10_000) for row in drugs])
    drug["days"] = np.array([int(row["days"]) for row in drugs])
    drug["packs"] = np.array(
        [max(1, -(-float(row["per_day"]) * float(row["days"]) // float(row["pack"]))) for row in drugs]
    ).astype(int)
    drug["category"] = np.array([{"W": 9, "H": 10, "P": 11}[row["kind"]] for row in drugs])
    return {
        "drug": drug,
        "drug_adult": np.array([bool(_ADULT_GROUPS & set(row["groups"].split())) for row in drugs]),
        "treatment_names": text([row["name"] for row in treatments]),
        "treatment_prices": np.array([int(row["price_cents"]) for row in treatments]),
        "panel_names": text([row["name"] for row in panels]),
        "panel_prices": np.array([int(row["price_cents"]) for row in panels]),
        "exam_names": text([exam["name"] for exam in exams]),
        "exam_prices": np.array([exam["price_cents"] for exam in exams]),
        "exam_light": np.array([exam["modality"] in ("DX", "US", "ECG") for exam in exams]),
    }
