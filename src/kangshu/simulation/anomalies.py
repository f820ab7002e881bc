"""What goes wrong with whole months, which no single row shows: which kinds, how often, and where.

The one place for the rates of anomalies, as `errors` is for those of rows. A plan follows from region and
seed alone, so that every process makes the same one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from kangshu.simulation.region import Kind, Region
from kangshu.simulation.streams import stream

SHARE = 0.025
"""Share of the months of an institution in which something is wrong as a whole."""

LATE_SHARE = 0.04
"""Share of files that come long after they were due."""

CERTAIN_MONTHS = 6
"""In a region of so many months each kind happens at least once, late enough that what is usual is known."""

_WARM = 4  # months before the first certain one


class AnomalyKind(StrEnum):
    """What is wrong with a month."""

    DROP = "drop"  # only its first ten days are sent
    MISSING = "missing"  # nothing is sent
    REPEATED = "repeated"  # the same visits or reports a second time, under other numbers
    COPIED = "copied"  # last month's rows with the dates moved
    ROUNDED = "rounded"  # measured values end with 0 or 5
    ALL_POSITIVE = "all-positive"  # every qualitative result is positive
    DEATHS = "deaths"  # most of those who went home are said to have died
    ONE_DOCTOR = "one-doctor"  # one name stands for all doctors
    ONE_PRICE = "one-price"  # everything costs the same
    LATE = "late"  # the file comes long after it was due


class Part(StrEnum):
    """The part of what an institution sends that is concerned."""

    VISITS = "visits"  # outpatient visits and all that hangs on them
    STAYS = "stays"  # discharges and all that hangs on them
    LABORATORY = "laboratory"
    EXAMINATIONS = "examinations"
    CHARGES = "charges"
    PRESCRIPTIONS = "prescriptions"


DATASETS: dict[Part, frozenset[str]] = {
    Part.VISITS: frozenset(
        {
            "outpatient_visit",
            "diagnosis",
            "prescription_item",
            "charge_item",
            "lab_report",
            "lab_result",
            "exam_report",
        }
    ),
    Part.STAYS: frozenset(
        {
            "front_page",
            "operation",
            "diagnosis",
            "prescription_item",
            "charge_item",
            "lab_report",
            "lab_result",
            "exam_report",
        }
    ),
    Part.LABORATORY: frozenset({"lab_report", "lab_result"}),
    Part.EXAMINATIONS: frozenset({"exam_report"}),
    Part.CHARGES: frozenset({"charge_item"}),
    Part.PRESCRIPTIONS: frozenset({"prescription_item"}),
}
"""The data sets of each part."""

# What may go wrong, in which part, how often compared with the others.
_CHOICES: tuple[tuple[AnomalyKind, Part, float], ...] = (
    (AnomalyKind.DROP, Part.VISITS, 3),
    (AnomalyKind.DROP, Part.STAYS, 2),
    (AnomalyKind.DROP, Part.LABORATORY, 2),
    (AnomalyKind.DROP, Part.EXAMINATIONS, 1),
    (AnomalyKind.DROP, Part.CHARGES, 2),
    (AnomalyKind.DROP, Part.PRESCRIPTIONS, 1),
    (AnomalyKind.MISSING, Part.VISITS, 1),
    (AnomalyKind.MISSING, Part.STAYS, 1),
    (AnomalyKind.MISSING, Part.LABORATORY, 1),
    (AnomalyKind.MISSING, Part.EXAMINATIONS, 1),
    (AnomalyKind.MISSING, Part.CHARGES, 1),
    (AnomalyKind.REPEATED, Part.VISITS, 2),
    (AnomalyKind.REPEATED, Part.LABORATORY, 1),
    (AnomalyKind.COPIED, Part.VISITS, 2),
    (AnomalyKind.ROUNDED, Part.LABORATORY, 2),
    (AnomalyKind.ALL_POSITIVE, Part.LABORATORY, 1),
    (AnomalyKind.DEATHS, Part.STAYS, 1),
    (AnomalyKind.ONE_DOCTOR, Part.VISITS, 1),
    (AnomalyKind.ONE_PRICE, Part.PRESCRIPTIONS, 1),
)


@dataclass(frozen=True, kw_only=True)
class Anomaly:
    """Something wrong with a part of an institution's month (numbers of the region and of the period)."""

    institution: int
    month: int
    kind: AnomalyKind
    part: Part


def plan_anomalies(
    *, region: Region, months: int, seed: int, share: float = SHARE, silent: Sequence[int] = ()
) -> list[Anomaly]:
    """Return what goes wrong, ordered by institution and month: one thing in a month, none in the first.

    It never happens in two months on end. With `share` 0 nothing does. The institutions `silent` send
    messages in the last month, of which nothing here speaks. Villages report through others and are no
    institutions of their own here.
    """
    if share <= 0:
        return []
    kinds = region.institutions.kinds
    treating = np.flatnonzero((kinds >= Kind.TERTIARY) & (kinds <= Kind.TOWNSHIP)).tolist()
    weights = np.array([weight for _, _, weight in _CHOICES])
    found: dict[tuple[int, int], Anomaly] = {}
    for institution in treating:
        for month in range(1, months - (institution in silent)):
            random = stream(seed, "anomalies", institution, month)
            if random.random() >= share or (institution, month - 1) in found:
                continue
            kind, part, _ = _CHOICES[int(random.choice(len(_CHOICES), p=weights / weights.sum()))]
            found[institution, month] = Anomaly(institution=institution, month=month, kind=kind, part=part)
    if months >= CERTAIN_MONTHS:
        _add_certain(found, region, treating, months=months, seed=seed)
    return [found[key] for key in sorted(found)]


def _add_certain(
    found: dict[tuple[int, int], Anomaly], region: Region, treating: list[int], *, months: int, seed: int
) -> None:
    """Let every kind that did not happen happen, first at hospitals, where there is enough of everything."""
    kinds = region.institutions.kinds
    months_known = range(_WARM, months - 1)
    places = [(one, month) for one in treating for month in months_known]
    places = [places[number] for number in stream(seed, "certain anomalies").permutation(len(places))]
    places.sort(key=lambda place: kinds[place[0]] > Kind.MATERNAL)
    missing = {anomaly.kind for anomaly in found.values()}
    for kind, part, _ in _CHOICES:
        if kind in missing:
            continue
        place = next((place for place in places if not _near(place, found)), None)
        if place is None:
            return
        missing.add(kind)
        found[place] = Anomaly(institution=place[0], month=place[1], kind=kind, part=part)


def _near(place: tuple[int, int], found: Mapping[tuple[int, int], Anomaly]) -> bool:
    """Return whether something is wrong in the month, or in the one before or after."""
    institution, month = place
    return any((institution, month + step) in found for step in (-1, 0, 1))
