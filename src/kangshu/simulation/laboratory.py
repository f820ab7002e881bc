"""Laboratory reports and results: panels ordered at visits and stays, values that fit the patient.

A value is drawn around the middle of its reference range for the patient's sex and age, is moved by
what the patient has (infection, anaemia, diabetes ...) and stays near the same person's earlier values.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
import pyarrow as pa

from kangshu.simulation import tables
from kangshu.simulation.blocks import Block, person_columns
from kangshu.simulation.clinic import SIGNALS, Clinic
from kangshu.simulation.columns import (
    Column,
    as_text,
    moment,
    money,
    numbered,
    pc,
    picked,
    repeats,
    text,
    whole,
)
from kangshu.simulation.numbers import date_digits
from kangshu.simulation.outpatient import spread_columns, visit_numbers
from kangshu.simulation.population import Chronic, Population
from kangshu.simulation.region import Region
from kangshu.simulation.stays import Stays
from kangshu.simulation.streams import Floats, Ints, Stream, mixed, stream
from kangshu.simulation.visits import DAY, Visits, seat

_CHRONIC_SIGNALS = {
    Chronic.DIABETES: "D",
    Chronic.LIPIDS: "L",
    Chronic.CORONARY: "L",
    Chronic.KIDNEY_DISEASE: "R",
    Chronic.HEPATITIS_B: "W",
    Chronic.GOUT: "G",
    Chronic.CANCER: "N",
    Chronic.PROSTATE: "V",
    Chronic.THYROID: "Y",
}
_ALWAYS = ("CBC", "URINE", "LIVER", "RENAL", "ELECTROLYTE", "COAGULATION")


_POINTS = 4096


def _normal_points() -> Floats:
    """Return 4,096 equally likely values of the standard normal distribution."""
    normal = NormalDist()
    return np.array([normal.inv_cdf((place + 0.5) / _POINTS) for place in range(_POINTS)], dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """The items of all panels: reference ranges by group (0 men, 1 women, 2 children), effects by signal."""

    first: Ints
    size: Ints
    codes: Column
    names: Column
    units: Column
    decimals: Ints
    qualitative: Ints  # 0 measured, 1 graded, 2 positive or negative, 3 immune
    logarithmic: np.ndarray
    percent: np.ndarray
    low: Floats  # group x item
    high: Floats
    middle: Floats
    half: Floats
    effects: Floats  # item x signal
    specimens: Column
    titles: Column
    minutes: Ints
    low_texts: list[Column]
    high_texts: list[Column]
    normal: Floats
    numbers: Column
    number_starts: Ints


_LIMIT = 100_000
_KINDS = {"normal": 0, "log": 0, "grade": 1, "sign": 2, "immune": 3}
_GRADES = text(["阴性(-)", "弱阳性(±)", "阳性(1+)", "阳性(2+)", "阳性(3+)"])


@cache
def catalogue() -> Catalogue:
    """Return the laboratory's catalogue."""
    panels, items = tables.rows("laboratory_panels"), tables.rows("laboratory_items")
    ids = [row["id"] for row in panels]
    owner = np.array([ids.index(row["panel"]) for row in items])
    places = np.array([int(row["decimals"]) for row in items])
    low = np.array([[float(row[f"low_{group}"]) for row in items] for group in ("male", "female", "child")])
    high = np.array([[float(row[f"high_{group}"]) for row in items] for group in ("male", "female", "child")])
    logarithmic = np.array([row["kind"] == "log" for row in items])
    kind = np.array([_KINDS[row["kind"]] for row in items])
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = np.where(logarithmic, (np.log(low) + np.log(high)) / 2, (low + high) / 2)
        half = np.where(logarithmic, (np.log(high) - np.log(low)) / 2, (high - low) / 2)
    scaled = [as_text(money(np.arange(_LIMIT), scale=decimals)) for decimals in range(4)]
    return Catalogue(
        first=np.searchsorted(owner, np.arange(len(ids))),
        size=np.bincount(owner, minlength=len(ids)),
        codes=text([row["code"] for row in items]),
        names=text([row["name"] for row in items]),
        units=text([row["unit"] or None for row in items]),
        decimals=places,
        qualitative=kind,
        logarithmic=logarithmic,
        percent=np.array([row["unit"] == "%" for row in items]),
        low=low,
        high=high,
        middle=np.where(kind > 0, 0, middle).astype(np.float32),
        half=np.where(kind > 0, 0, half).astype(np.float32),
        effects=_effects(items),
        specimens=text([row["specimen"] for row in panels]),
        titles=text([row["name"] for row in panels]),
        minutes=np.array([int(row["minutes"]) for row in panels]),
        low_texts=[_limits(items, f"low_{group}") for group in ("male", "female", "child")],
        high_texts=[_limits(items, f"high_{group}") for group in ("male", "female", "child")],
        normal=_normal_points(),
        numbers=pa.concat_arrays(scaled),
        number_starts=np.arange(4) * _LIMIT,
    )


def _limits(items: tuple[dict[str, str], ...], column: str) -> Column:
    return text([row[column] if row["kind"] in ("normal", "log") else None for row in items])


def _effects(items: tuple[dict[str, str], ...]) -> Floats:
    effects = np.zeros((len(items), len(SIGNALS)), dtype=np.float32)
    for place, row in enumerate(items):
        for entry in row["effects"].split():
            letter, size = entry.split(":")
            effects[place, SIGNALS.index(letter)] = float(size)
    return effects


@dataclass(frozen=True, kw_only=True)
class Orders:
    """Panels to be reported: for whom, where, at which visit, when collected, for which illness."""

    person: Ints
    institution: Ints
    panel: Ints
    collected: Ints
    illness: Ints
    department: Ints
    visit_number: Column


def outpatient_orders(visits: Visits) -> Orders:
    """Return the panels ordered at `visits`, in their order."""
    rows, place = np.nonzero(visits.panels >= 0)
    return Orders(
        person=visits.person[rows],
        institution=visits.institution[rows],
        panel=visits.panels[rows, place],
        collected=visits.time[rows] + 20 * 60,
        illness=visits.illness[rows],
        department=visits.department[rows],
        visit_number=picked(visit_numbers(visits, "O"), rows),
    )


def stay_orders(random: Stream, clinic: Clinic, stays: Stays, *, first: int, after: int) -> Orders:
    """Return the panels reported during stays on the days from `first` up to `after`.

    Everybody is tested on admission with the usual panels, some again every few days.
    """
    ids = [row["id"] for row in tables.rows("laboratory_panels")]
    usual = np.array([ids.index(name) for name in _ALWAYS])
    parts: list[tuple[Ints, Ints, Ints]] = []
    everyone = np.arange(len(stays))
    for place, panel in enumerate(usual):
        share = 0.95 if place == 0 else 0.55
        rows = everyone[(mixed(stays.person, stays.admitted, panel).astype(np.int64) & 0xFF) < share * 256]
        parts.append((rows, np.full(len(rows), panel), stays.admitted[rows] + 3600 * (2 + place)))
    for place in range(2):
        panel = clinic.panels.nth(stays.illness, np.full(len(stays), place))
        rows = everyone[(panel >= 0) & ~np.isin(panel, usual)]
        parts.append((rows, panel[rows], stays.admitted[rows] + 3600 * (9 + place)))
    for repeat in range(1, 5):
        at = stays.admitted + repeat * 4 * DAY + 6 * 3600
        rows = everyone[at < stays.discharged - 3600]
        parts.append((rows, np.full(len(rows), usual[repeat % 2 * 2]), at[rows]))
    rows, panel, at = (np.concatenate(column) for column in zip(*parts, strict=True))
    lasts = catalogue().minutes[panel] * 60
    keep = (at < stays.discharged[rows]) & (at >= first * DAY) & (at + lasts < after * DAY)
    rows, panel, at = rows[keep], panel[keep], at[keep]
    order = np.argsort(stays.institution[rows] * (1 << 36) + at, kind="stable")
    rows, panel, at = rows[order], panel[order], at[order]
    return Orders(
        person=stays.person[rows],
        institution=stays.institution[rows],
        panel=panel,
        collected=at,
        illness=stays.illness[rows],
        department=stays.department[rows],
        visit_number=picked(stay_numbers(stays), rows),
    )


def stay_numbers(stays: Stays) -> Column:
    """Return the numbers of stays: letter I, day of admission, six digits."""
    return numbered("I", (date_digits(stays.admitted // DAY), 8), (stays.serial, 6), count=len(stays))


def merge_orders(*all_orders: Orders) -> Orders:
    """Return all orders by institution and time."""
    institution = np.concatenate([orders.institution for orders in all_orders])
    collected = np.concatenate([orders.collected for orders in all_orders])
    order = np.argsort(institution * (1 << 36) + collected, kind="stable")

    def merged(name: str) -> Ints:
        return np.concatenate([getattr(orders, name) for orders in all_orders])[order]

    return Orders(
        person=merged("person"),
        institution=institution[order],
        panel=merged("panel"),
        collected=collected[order],
        illness=merged("illness"),
        department=merged("department"),
        visit_number=picked(pa.concat_arrays([orders.visit_number for orders in all_orders]), order),
    )


def laboratory_blocks(
    *,
    population: Population,
    region: Region,
    clinic: Clinic,
    seed: int,
    month: int,
    orders: Orders,
    after: int,
    numbered_from: int = 1,
) -> list[Block]:
    """Return the blocks of lab_report and lab_result for `orders`, whose reports end before day `after`.

    Reports of an institution are numbered from `numbered_from` on.
    """
    random = stream(seed, "laboratory", month)
    lab = catalogue()
    count = len(orders.person)
    minutes = lab.minutes[orders.panel] + random.integers(0, 30, count)
    reported = np.minimum(orders.collected + minutes * 60, after * DAY - 60)
    collected = np.minimum(orders.collected, reported - 300)
    days = reported // DAY
    serial = (
        np.arange(count)
        - np.searchsorted(orders.institution, orders.institution, side="left")
        + numbered_from
    )
    person = person_columns(
        population, region, institutions=orders.institution, persons=orders.person, days=days
    )
    person["report_number"] = numbered("L", (date_digits(days), 8), (serial, 7), count=count)
    person["visit_number"] = orders.visit_number
    person["reported_at"] = moment(reported)
    first = region.institutions.doctor_first[orders.institution]
    size = region.institutions.doctor_count[orders.institution]
    report = person | {
        "department_code": picked(text(clinic.departments), orders.department),
        "collected_at": moment(collected),
        "specimen": picked(lab.specimens, orders.panel),
        "title": picked(lab.titles, orders.panel),
        "doctor_name": picked(region.doctor_names, seat(first, size, orders.panel % 2 + 1)),
        "reviewer_name": picked(region.doctor_names, seat(first, size, orders.panel % 2 + 3)),
    }
    rows, ordinal = repeats(lab.size[orders.panel])
    item = lab.first[orders.panel][rows] + ordinal
    needed = ("phone", "institution_name")
    result = spread_columns({name: column for name, column in person.items() if name not in needed}, rows)
    result["item_number"] = whole(ordinal + 1)
    result |= _results(random, population, clinic, lab, orders, rows, item, days)
    return [
        Block(
            dataset="lab_report",
            columns=report,
            institutions=orders.institution,
            persons=orders.person,
            days=days,
        ),
        Block(
            dataset="lab_result",
            columns=result,
            institutions=orders.institution[rows],
            persons=orders.person[rows],
            days=days[rows],
        ),
    ]


def _signals(population: Population, clinic: Clinic, orders: Orders) -> Ints:
    """Return what is wrong with each patient as bits of `SIGNALS`."""
    chronic = population.chronic[orders.person]
    signals = clinic.signals[orders.illness].copy()
    for condition, letters in _CHRONIC_SIGNALS.items():
        bit = np.int64(1) << SIGNALS.index(letters)
        signals |= np.where(((chronic >> condition) & 1) == 1, bit, 0)
    hepatitis = ((chronic >> Chronic.HEPATITIS_B) & 1) == 1
    return np.where(hepatitis, signals, signals & ~(1 << SIGNALS.index("W")))


def _results(
    random: Stream,
    population: Population,
    clinic: Clinic,
    lab: Catalogue,
    orders: Orders,
    rows: Ints,
    item: Ints,
    days: Ints,
) -> dict[str, Column]:
    """Return the columns of results: value, unit, reference range and flag."""
    signals = _signals(population, clinic, orders)
    child = population.age_at(orders.person, days) < 14
    group = np.where(child, 2, population.sex[orders.person] - 1)[rows]
    strength = (0.55 + 0.9 * random.random(len(orders.person), dtype=np.float32))[rows]
    shift = _shifts(lab, signals[rows], item) * strength
    own = lab.normal[(mixed(orders.person[rows], item).astype(np.int64) >> 20) % _POINTS]
    now = lab.normal[random.integers(0, _POINTS, len(rows), dtype=np.int32)]
    place = lab.middle[group, item] + lab.half[group, item] * (0.36 * own + 0.30 * now + shift)
    value = np.where(lab.logarithmic[item], np.exp(np.minimum(place, 12)), place)
    value = np.where(lab.percent[item], np.minimum(value, 96), value)
    decimals = lab.decimals[item]
    power = 10**decimals
    # measured at least, so that a rounded zero does not stand for "nothing"
    scaled = np.clip(np.rint(value * power), 1, _LIMIT - 1).astype(np.int64)
    low = np.rint(lab.low[group, item] * power).astype(np.int64)
    high = np.rint(lab.high[group, item] * power).astype(np.int64)
    number = picked(lab.numbers, lab.number_starts[decimals] + scaled)
    kind = lab.qualitative[item]
    measured = kind == 0
    grade = _grades(random, lab, group, item, shift, kind)
    abnormal = np.where(kind == 3, 0, grade > 0)
    flag = np.where(measured, np.where(scaled > high, 1, np.where(scaled < low, 2, 0)), abnormal * 3)
    return {
        "item_code": picked(lab.codes, item),
        "item_name": picked(lab.names, item),
        "value_text": pc.if_else(pa.array(measured), number, picked(_GRADES, grade)),
        "value_number": pc.if_else(pa.array(measured), number, pa.scalar(None, pa.string())),
        "unit": picked(lab.units, item),
        "reference_low": _by_group(lab.low_texts, group, item),
        "reference_high": _by_group(lab.high_texts, group, item),
        "flag": picked(text(["N", "H", "L", "A"]), flag),
    }


def _shifts(lab: Catalogue, signals: Ints, item: Ints) -> Floats:
    """Return by how many half ranges the patient's state moves each item."""
    shift = np.zeros(len(item), dtype=np.float32)
    for bit in range(len(SIGNALS)):
        effect = lab.effects[:, bit]
        if effect.any():
            shift += np.where((signals >> bit) & 1, effect[item], np.float32(0))
    return shift


def _grades(random: Stream, lab: Catalogue, group: Ints, item: Ints, shift: Floats, kind: Ints) -> Ints:
    """Return for qualitative items 0 negative, 1 to 4 more and more positive."""
    chance = np.clip(lab.low[group, item] + shift, 0, 1)
    luck = random.random(len(item), dtype=np.float32)
    positive = (luck < chance) & (kind > 0)
    step = 1 + (luck * 997 % 1 * 4).astype(np.int64)
    return np.where(positive, np.where(kind == 1, step, 2), 0)


def _by_group(texts: list[Column], group: Ints, item: Ints) -> Column:
    joined = pa.concat_arrays(texts)
    return picked(joined, group * len(texts[0]) + item)
