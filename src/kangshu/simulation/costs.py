"""What a hospital stay costs, by the items D01 to D34 of the front page, in cents."""

from __future__ import annotations

import numpy as np

from kangshu.simulation import tables
from kangshu.simulation.clinic import Clinic, signal_mask
from kangshu.simulation.population import Population
from kangshu.simulation.region import Kind, Region
from kangshu.simulation.stays import Stays
from kangshu.simulation.streams import Floats, Ints, Stream, stream
from kangshu.simulation.visits import DAY

_LEVEL = {
    Kind.TERTIARY: 1.6,
    Kind.SECONDARY: 1.0,
    Kind.CHINESE_MEDICINE: 0.95,
    Kind.MATERNAL: 0.95,
    Kind.COMMUNITY: 0.5,
    Kind.TOWNSHIP: 0.5,
}
_IMPLANTS = {
    "coronary_stent": 980_000,
    "hip": 1_600_000,
    "knee": 1_800_000,
    "femur": 700_000,
    "pacemaker": 3_200_000,
}

COST_FIELDS = (
    "cost_general_service",
    "cost_general_treatment",
    "cost_nursing",
    "cost_general_other",
    "cost_pathology",
    "cost_laboratory",
    "cost_imaging",
    "cost_clinical_diagnosis",
    "cost_nonsurgical_treatment",
    "cost_surgical_treatment",
    "cost_rehabilitation",
    "cost_tcm_treatment",
    "cost_western_medicine",
    "cost_patent_medicine",
    "cost_herbal_medicine",
    "cost_blood",
    "cost_albumin",
    "cost_globulin",
    "cost_coagulation_factors",
    "cost_cytokines",
    "cost_examination_disposables",
    "cost_treatment_disposables",
    "cost_surgery_disposables",
    "cost_other",
)
"""The items whose sum is the total."""

PARTS = ("cost_physiotherapy", "cost_anaesthesia", "cost_surgery", "cost_antibacterials")
"""Of-which items, contained in others."""


def stay_costs(
    seed: int, part: int, *, population: Population, region: Region, clinic: Clinic, stays: Stays
) -> dict[str, Ints]:
    """Return each cost item, `total_cost` and `self_paid` in cents; the parts agree with their sums.

    The same seed, part and stays in the same order cost the same: front pages and charges agree.
    """
    random = stream(seed, "costs", part)
    payment = population.payment[stays.person]
    count = len(stays)
    levels = np.array([_LEVEL.get(Kind(kind), 1.0) for kind in range(len(Kind))])
    level = levels[region.institutions.kinds[stays.institution]]
    days = np.maximum((stays.discharged - stays.admitted) / DAY, 1)
    signals = clinic.signals[stays.illness]

    def spread(sigma: float) -> Floats:
        return np.exp(sigma * random.standard_normal(count))

    def some(share: float) -> Floats:
        return (random.random(count) < share).astype(float)

    infected = (signals & signal_mask("I")) > 0
    tumour = (signals & signal_mask("N")) > 0
    chinese = region.institutions.kinds[stays.institution] == Kind.CHINESE_MEDICINE
    surgery, anaesthesia, implants = _surgery(stays, level, spread(0.15))
    medicine = (9_000 * days + 16_000) * level * spread(0.45) * np.where(tumour, 2.6, 1)
    treatment = 5_500 * days * level * spread(0.35)
    items: dict[str, Floats] = {
        "cost_general_service": 4_800 * days * level**0.5,
        "cost_general_treatment": 2_600 * days * level * spread(0.3),
        "cost_nursing": 2_400 * days * level**0.5,
        "cost_general_other": 900 * some(0.4) * days,
        "cost_pathology": 26_000 * level * np.where(tumour | (surgery > 0), some(0.7), some(0.04)),
        "cost_laboratory": (24_000 + 5_200 * days) * level * spread(0.3),
        "cost_imaging": (16_000 + 2_600 * days) * level * spread(0.5),
        "cost_clinical_diagnosis": 9_000 * level * spread(0.4),
        "cost_nonsurgical_treatment": treatment,
        "cost_surgical_treatment": surgery + anaesthesia,
        "cost_rehabilitation": 3_200 * days * some(0.08),
        "cost_tcm_treatment": 3_600 * days * np.where(chinese, some(0.85), some(0.07)),
        "cost_western_medicine": medicine,
        "cost_patent_medicine": 2_000 * days * np.where(chinese, some(0.9), some(0.3)) * spread(0.3),
        "cost_herbal_medicine": 4_000 * days * np.where(chinese, some(0.7), some(0.02)),
        "cost_blood": 46_000 * some(0.03) * spread(0.4),
        "cost_albumin": 88_000 * some(0.025) * spread(0.3),
        "cost_globulin": 130_000 * some(0.006),
        "cost_coagulation_factors": 60_000 * some(0.004),
        "cost_cytokines": 42_000 * np.where(tumour, some(0.2), 0),
        "cost_examination_disposables": 2_600 * some(0.5) * spread(0.4),
        "cost_treatment_disposables": 2_800 * days * level * spread(0.4),
        "cost_surgery_disposables": np.where(surgery > 0, 60_000 * level * spread(0.5) + implants, 0),
        "cost_other": 1_200 * some(0.3),
    }
    cents = {name: np.rint(value).astype(np.int64) for name, value in items.items()}
    cents["cost_surgery"] = np.rint(surgery).astype(np.int64)
    cents["cost_anaesthesia"] = np.rint(anaesthesia).astype(np.int64)
    cents["cost_surgical_treatment"] = cents["cost_surgery"] + cents["cost_anaesthesia"]
    cents["cost_physiotherapy"] = cents["cost_nonsurgical_treatment"] * (random.random(count) < 0.12) // 4
    share = (
        np.where(infected, 0.34, 0.08)
        * random.random(count)
        * (random.random(count) < np.where(infected, 0.95, 0.4))
    )
    cents["cost_antibacterials"] = (cents["cost_western_medicine"] * share).astype(np.int64)
    total = sum(cents[name] for name in COST_FIELDS)
    cents["total_cost"] = np.asarray(total, dtype=np.int64)
    cents["self_paid"] = _self_paid(random, payment, cents["total_cost"])
    return cents


def _surgery(stays: Stays, level: Floats, spread: Floats) -> tuple[Floats, Floats, Floats]:
    """Return fees of operations and of anaesthesia, and the price of implants."""
    procedures = tables.rows("procedures")
    operated = np.array([row["kind"] in "SI" or bool(row["anaesthesia"]) for row in procedures])
    price = np.array([int(row["price_cents"]) for row in procedures]) * operated
    numbing = np.array([_anaesthesia_price(row["anaesthesia"]) for row in procedures])
    implant = np.array([_IMPLANTS.get(row["group"], 0) for row in procedures])
    has = stays.procedures >= 0
    chosen = np.maximum(stays.procedures, 0)
    fee = np.where(has, price[chosen], 0).sum(axis=1) * level**0.4 * spread
    return (
        fee,
        np.where(has, numbing[chosen], 0).max(axis=1) * level**0.4,
        np.where(has, implant[chosen], 0).max(axis=1) * spread,
    )


def _anaesthesia_price(code: str) -> int:
    if not code:
        return 0
    return {"01": 120_000, "02": 78_000, "03": 12_000, "04": 150_000}[code[:2]]


def _self_paid(random: Stream, payment: Ints, total: Ints) -> Ints:
    """Return what the patient pays: everything for payment 7, a third or so with insurance."""
    share = np.array([0, 0.2, 0.36, 0.4, 0.12, 0.3, 0.08, 1, 0.4, 0.9])[payment]
    paid = (total * share * (0.8 + 0.4 * random.random(len(total)))).astype(np.int64)
    return np.where(payment == 7, total, np.minimum(paid, total))
