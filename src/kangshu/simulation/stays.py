"""Hospital stays of the whole period: who was admitted where, when, with what, and how it ended.

Stays are few enough to hold all at once, so that nobody lies in two beds at the same time: deliveries,
sick newborns and deaths in hospital are placed first, other stays only where they do not overlap.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from kangshu.simulation import tables
from kangshu.simulation.clinic import BAND_EDGES, Clinic, Lists
from kangshu.simulation.columns import group_ranks
from kangshu.simulation.households import NEVER, YEAR
from kangshu.simulation.population import Chronic, Population
from kangshu.simulation.region import Region
from kangshu.simulation.streams import Draw, Flags, Ints, Stream, chances, mixed, stream
from kangshu.simulation.visits import DAY, department_at, doctor_at, pick_condition, standing_diagnosis

OTHERS = 9
"""At most this many other diagnoses are recorded per stay; 40 would be allowed."""

PROCEDURES = 4
HOSPITAL_DEATH_SHARE = 0.45
_DISCHARGE_HOURS = np.array([0] * 8 + [3, 8, 10, 7, 2, 1, 4, 5, 4, 2] + [0] * 6, dtype=float)


@dataclass(frozen=True, kw_only=True)
class Stays:
    """Stays ordered by discharge; one entry per stay.

    `others` holds further diagnoses and `procedures` procedures, the principal first, both -1 where
    there are fewer. `child` is the newborn of a delivery, `children` how many. `nth` counts the
    person's stays in that hospital. Times are seconds since 1970.
    """

    person: Ints
    institution: Ints
    illness: Ints
    diagnosis: Ints
    others: Ints
    procedures: Ints
    department: Ints
    discharge_department: Ints
    doctor: Ints
    admitted: Ints
    discharged: Ints
    emergency: Flags
    died: Flags
    child: Ints
    children: Ints
    nth: Ints
    serial: Ints

    def __len__(self) -> int:
        return len(self.person)

    def taken(self, rows: Ints) -> Stays:
        """Return the stays at positions `rows`."""
        return Stays(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    @property
    def discharge_day(self) -> Ints:
        """The day of discharge."""
        return self.discharged // DAY


@dataclass(frozen=True)
class _Wish:
    """Stays that may come about: person, illness, times in seconds, how firmly each is set (0 firmest)."""

    person: Ints
    illness: Ints
    admitted: Ints
    discharged: Ints
    rank: Ints
    died: Flags
    child: Ints


def build_stays(*, population: Population, region: Region, clinic: Clinic, seed: int) -> Stays:
    """Return all stays that end in the period of `population`."""
    random = stream(seed, "stays")
    wishes = [
        _deliveries(random, population, clinic),
        _newborns(random, population, clinic),
        _deaths(random, population, clinic),
        _ordinary(random, population, clinic),
    ]
    all_ = _Wish(*(np.concatenate([getattr(wish, name) for wish in wishes]) for name in _WISH_FIELDS))
    keep = _without_overlap(all_)
    all_ = _Wish(*(getattr(all_, name)[keep] for name in _WISH_FIELDS))
    inside = (all_.discharged >= population.start * DAY) & (all_.discharged < population.end * DAY)
    inside &= (
        all_.admitted
        >= np.maximum(population.birth_day[all_.person], population.entry_day[all_.person]) * DAY
    )
    order = np.flatnonzero(inside)
    order = order[np.lexsort((all_.person[order], all_.discharged[order]))]
    wish = _Wish(*(getattr(all_, name)[order] for name in _WISH_FIELDS))
    return _completed(random, population, region, clinic, wish)


def stays_of(
    *,
    random: Stream,
    population: Population,
    region: Region,
    clinic: Clinic,
    persons: Ints,
    nth: Ints,
    institution: int,
) -> Stays:
    """Return one ordinary stay in `institution` for each of `persons`, as if it were the `nth` there.

    Stays of a person may overlap: this is for files by the million, not for lives.
    """
    age = np.maximum(population.start - population.birth_day[persons], 0) / YEAR
    band = np.searchsorted(BAND_EDGES, age, side="right")
    illness = clinic.draw_admission(random, band * 2 + population.sex[persons] - 1).astype(np.int64)
    discharged = _discharge_times(
        random, random.integers(population.start + 60, population.end, len(persons))
    )
    stay = np.clip(clinic.stay[illness] * random.gamma(4.5, 1 / 4.5, len(persons)), 0.7, 58)
    born = population.birth_day[persons].astype(np.int64) * DAY
    admitted = np.maximum(discharged - (stay * DAY).astype(np.int64), born + DAY)
    nobody = np.full(len(persons), -1)
    lives = np.zeros(len(persons), dtype=bool)
    wish = _Wish(persons, illness, admitted, discharged, nobody, lives, nobody)
    return replace(_completed(random, population, region, clinic, wish, only=institution), nth=nth)


_WISH_FIELDS = ("person", "illness", "admitted", "discharged", "rank", "died", "child")


def _discharge_times(random: Stream, days: Ints) -> Ints:
    hour = Draw(_DISCHARGE_HOURS)(random, 0, len(days)).astype(np.int64)
    return days * DAY + hour * 3600 + random.integers(0, 3600, len(days))


def _deliveries(random: Stream, population: Population, clinic: Clinic) -> _Wish:
    children = population.newborns
    first = children[population.twin_of[children] < 0]
    mothers = population.mother[first]
    operated = chances(random, np.full(len(first), 0.40))
    illness = np.where(operated, clinic.illness("caesarean"), clinic.illness("delivery"))
    born = birth_times(population, first)
    admitted = born - random.integers(2 * 3600, 40 * 3600, len(first))
    days = population.birth_day[first] + np.where(operated, 4, 2) + random.integers(0, 3, len(first))
    return _Wish(
        mothers,
        illness,
        admitted,
        _discharge_times(random, days.astype(np.int64)),
        np.zeros(len(first), dtype=np.int64),
        np.zeros(len(first), dtype=bool),
        first,
    )


def birth_times(population: Population, children: Ints) -> Ints:
    """Return the moment of birth; the younger twin comes ten minutes later."""
    elder = np.where(population.twin_of[children] >= 0, population.twin_of[children], children)
    second = mixed(elder, 5).astype(np.int64) % (DAY - 1_800) + 600
    late = np.where(population.twin_of[children] >= 0, 600, 0)
    return population.birth_day[children].astype(np.int64) * DAY + second + late


def _newborns(random: Stream, population: Population, clinic: Clinic) -> _Wish:
    children = population.newborns
    early = (population.gestation[children] < 37) | (population.born_weight[children] < 2500)
    ill = chances(random, np.where(early, 0.55, 0.09))
    children = children[ill]
    days = population.birth_day[children] + random.integers(4, 16, len(children))
    admitted = birth_times(population, children) + random.integers(1800, 30 * 3600, len(children))
    return _Wish(
        children,
        np.full(len(children), clinic.illness("newborn_illness")),
        admitted,
        _discharge_times(random, days.astype(np.int64)),
        np.ones(len(children), dtype=np.int64),
        np.zeros(len(children), dtype=bool),
        np.full(len(children), -1),
    )


def dies_in_hospital(population: Population, persons: Ints) -> Flags:
    """Return who of the dying dies in a hospital: the old more often at home."""
    age = population.age_at(persons, population.death_day[persons])
    share = np.where(age > 82, HOSPITAL_DEATH_SHARE - 0.15, HOSPITAL_DEATH_SHARE + 0.1)
    return (mixed(persons, 31).astype(np.int64) & 0xFFFF) / 65_536 < share


def death_times(population: Population, persons: Ints) -> Ints:
    """Return the moment of death."""
    second = mixed(persons, 37).astype(np.int64) % (DAY - 900) + 600
    return population.death_day[persons].astype(np.int64) * DAY + second


def deadly_illness(population: Population, clinic: Clinic, persons: Ints) -> Ints:
    """Return of what each of `persons` dies."""
    names = [
        "infarction",
        "haemorrhage",
        "stroke",
        "heart_failure",
        "sepsis",
        "respiratory_failure",
        "pneumonia",
    ]
    usual = np.array([clinic.illness(name) for name in names])
    illness = usual[
        Draw(np.array([0.26, 0.17, 0.17, 0.14, 0.06, 0.09, 0.11])).at(
            0, mixed(persons, 41).astype(np.int64) >> 8
        )
    ]
    mask = population.chronic[persons]
    age = population.age_at(persons, population.death_day[persons])
    lungs = ((mask >> Chronic.COPD) & 1) == 1
    cancer = ((mask >> Chronic.CANCER) & 1) == 1
    kidney = ((mask >> Chronic.KIDNEY_DISEASE) & 1) == 1
    young = (age < 40) & (age >= 1)
    return np.select(
        [cancer, lungs, kidney, age < 1, young],
        [
            clinic.illness("cancer"),
            clinic.illness("copd"),
            clinic.illness("kidney_disease"),
            clinic.illness("sepsis"),
            clinic.illness("head_injury"),
        ],
        illness,
    )


def _deaths(random: Stream, population: Population, clinic: Clinic) -> _Wish:
    dying = np.flatnonzero(population.death_day < NEVER)
    dying = dying[dies_in_hospital(population, dying)]
    ended = death_times(population, dying)
    stay = (random.gamma(1.6, 5.0, len(dying)) + 0.3).clip(0.3, 45) * DAY
    return _Wish(
        dying,
        deadly_illness(population, clinic, dying),
        ended - stay.astype(np.int64),
        ended,
        np.ones(len(dying), dtype=np.int64),
        np.ones(len(dying), dtype=bool),
        np.full(len(dying), -1),
    )


def _ordinary(random: Stream, population: Population, clinic: Clinic) -> _Wish:
    middle = (population.start + population.end) // 2
    age = np.maximum(middle - population.birth_day, 0) / YEAR
    band = np.searchsorted(BAND_EDGES, age, side="right")
    category = band * 2 + population.sex - 1
    years = (population.end - population.start) / YEAR
    acute = clinic.admission_rate[band, population.sex - 1]
    weights = clinic.chronic_admission
    chronic = sum(((population.chronic >> bit) & 1) * weight for bit, weight in enumerate(weights))
    counts = random.poisson((acute + chronic) * population.frailty * years)
    person = np.repeat(np.arange(len(population)), counts)
    follows = chances(random, (chronic / np.maximum(acute + chronic, 1e-12))[person])
    illness = clinic.draw_admission(random, category[person]).astype(np.int64)
    condition = pick_condition(random, population.chronic[person[follows]], weights)
    illness[follows] = clinic.chronic_illness[condition]
    cancer = illness == clinic.illness("cancer")
    illness[cancer & (random.random(len(person)) < 0.85)] = clinic.illness("chemo_stay")
    days = random.integers(population.start, population.end, len(person))
    discharged = _discharge_times(random, days)
    stay = np.clip(clinic.stay[illness] * random.gamma(4.5, 1 / 4.5, len(person)), 0.7, 58)
    admitted = discharged - (stay * DAY).astype(np.int64)
    here = population.is_here(person, days) & population.is_here(person, admitted // DAY)
    # the first weeks of life belong to the newborn's own stay
    here &= (admitted // DAY) - population.birth_day[person] > 28
    person, illness, admitted, discharged = person[here], illness[here], admitted[here], discharged[here]
    return _Wish(
        person,
        illness,
        admitted,
        discharged,
        np.full(len(person), 2),
        np.zeros(len(person), dtype=bool),
        np.full(len(person), -1),
    )


def _without_overlap(wish: _Wish) -> Flags:
    """Return which stays remain so that no person's stays overlap; of two, the firmer one remains."""
    keep = np.ones(len(wish.person), dtype=bool)
    while True:
        rows = np.flatnonzero(keep)
        rows = rows[np.lexsort((wish.rank[rows], wish.admitted[rows], wish.person[rows]))]
        same = wish.person[rows[1:]] == wish.person[rows[:-1]]
        # one day apart at least, so that files of days do not overlap either
        clash = same & (wish.admitted[rows[1:]] < wish.discharged[rows[:-1]] + DAY)
        if not clash.any():
            return keep
        first, second = rows[:-1][clash], rows[1:][clash]
        keep[np.where(wish.rank[second] >= wish.rank[first], second, first)] = False


def _completed(
    random: Stream,
    population: Population,
    region: Region,
    clinic: Clinic,
    wish: _Wish,
    *,
    only: int | None = None,
) -> Stays:
    person, illness = wish.person, wish.illness
    day = wish.admitted // DAY
    institution = (
        _hospital(random, population, region, clinic, person, day, illness)
        if only is None
        else np.full(len(person), only)
    )
    department = department_at(population, region, clinic, person, day, institution, illness)
    moved = chances(random, np.where(wish.died, 0.35, 0.03))
    other = np.where(wish.died, clinic.departments.index("28"), clinic.departments.index("03.04"))
    diagnosis = _principal(random, population, clinic, person, illness, wish)
    children = np.where(wish.child >= 0, 1, 0)
    twins = np.isin(wish.child, population.twin_of[population.newborns])
    children = np.where(twins & (wish.child >= 0), 2, children)
    key = institution * np.int64(len(population)) + person
    earlier = mixed(key, 3).astype(np.int64) % 100
    return Stays(
        person=person,
        institution=institution,
        illness=illness,
        diagnosis=diagnosis,
        others=_other_diagnoses(random, population, clinic, person, illness, diagnosis, children),
        procedures=_procedures(random, clinic, illness, diagnosis),
        department=department,
        discharge_department=np.where(moved & (other != department), other, department),
        doctor=doctor_at(random, region, institution, department),
        admitted=wish.admitted,
        discharged=wish.discharged,
        emergency=chances(random, np.maximum(clinic.emergency_share[illness], wish.died * 0.8)),
        died=wish.died,
        child=wish.child,
        children=children,
        nth=group_ranks(key) + 1 + (earlier >= 70) + (earlier >= 90),
        serial=group_ranks(institution) + 1,
    )


def _hospital(
    random: Stream,
    population: Population,
    region: Region,
    clinic: Clinic,
    person: Ints,
    day: Ints,
    illness: Ints,
) -> Ints:
    town = population.town_at(person, day)
    county = region.town_county[town]
    names = clinic.departments
    maternal = np.array([name.startswith(("05", "07")) for name in names])[clinic.department[illness]]
    maternal |= (day - population.birth_day[person]) < 14 * YEAR
    choice = random.random(len(person))
    grave = clinic.mortality[illness] > 0.02
    light = (clinic.stay[illness] <= 8) & (clinic.mortality[illness] < 0.003) & ~maternal
    rural = ~region.town_urban[town]
    return np.select(
        [
            maternal & (choice < 0.45),
            light & (choice < np.where(rural, 0.22, 0.08)),
            ~maternal & ~grave & (choice > 0.9),
            choice < np.where(grave, 0.55, 0.42) - np.where(rural, 0.12, 0),
        ],
        [
            region.maternal[county],
            region.primary[town],
            region.chinese_medicine[county],
            region.tertiary[region.county_city[county]],
        ],
        region.hospital[county],
    )


def _principal(
    random: Stream, population: Population, clinic: Clinic, person: Ints, illness: Ints, wish: _Wish
) -> Ints:
    diagnosis = clinic.draw_diagnosis(random, illness).astype(np.int64)
    for condition, number in enumerate(clinic.chronic_illness):
        rows = np.flatnonzero(illness == number)
        diagnosis[rows] = standing_diagnosis(population, clinic, person[rows], np.full(len(rows), condition))
    small = clinic.diagnosis_codes.to_pylist().index("P07.100")
    late = clinic.diagnosis_codes.to_pylist().index("P22.100")
    weight = population.born_weight[person]
    return np.where((diagnosis == small) & (weight >= 2500), late, diagnosis)


def _other_diagnoses(
    random: Stream,
    population: Population,
    clinic: Clinic,
    person: Ints,
    illness: Ints,
    diagnosis: Ints,
    children: Ints,
) -> Ints:
    """Return chronic conditions, what came along and, for deliveries, the outcome; none twice."""
    count = len(person)
    mask = population.chronic[person]
    birth = children > 0
    grown = population.age_at(person, np.full(count, population.start)) >= 18
    columns = [np.where(birth, _outcome(clinic, children), -1)]
    also = clinic.diagnoses("birth_extra")
    columns.append(
        np.where(birth & (random.random(count) < 0.55), also[random.integers(0, len(also), count)], -1)
    )
    cancer = illness == clinic.illness("chemo_stay")
    columns.append(
        np.where(
            cancer,
            clinic.first_diagnosis[clinic.illness("cancer")] + np.maximum(population.cancer[person], 0),
            -1,
        )
    )
    for condition, number in enumerate(clinic.chronic_illness):
        if condition == Chronic.CANCER:
            continue
        has = (((mask >> condition) & 1) == 1) & (illness != number) & ~birth & (random.random(count) < 0.85)
        standing = standing_diagnosis(population, clinic, person, np.full(count, condition))
        columns.append(np.where(has, standing, -1))
    comorbid = clinic.diagnoses("comorbid")
    for chance in (0.42, 0.2, 0.1):
        extra = comorbid[random.integers(0, len(comorbid), count)]
        columns.append(np.where((random.random(count) < chance) & grown & ~birth, extra, -1))
    return _distinct(np.stack(columns, axis=1), diagnosis, clinic)[:, :OTHERS]


def _outcome(clinic: Clinic, children: Ints) -> Ints:
    return np.where(children == 2, clinic.diagnoses("outcome_twins")[0], clinic.diagnoses("outcome")[0])


def _distinct(columns: Ints, principal: Ints, clinic: Clinic) -> Ints:
    """Return the diagnoses of each row moved to the left, without codes that occur twice."""
    codes = clinic.diagnosis_codes.to_pylist()
    first = np.array([codes.index(code) for code in codes])  # the same code may stand under two illnesses
    columns = np.where(columns >= 0, first[columns], -1)
    for place in range(columns.shape[1]):
        seen = columns[:, place] == first[principal]
        for earlier in range(place):
            seen |= columns[:, place] == columns[:, earlier]
        columns[seen, place] = -1
    order = np.argsort(columns < 0, axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)


_BY_PLACE = {
    "C34": "lung_cancer",
    "C16": "stomach_cancer",
    "C18": "colon_cancer",
    "C20": "colon_cancer",
    "C22": "liver_cancer",
    "C50": "breast_cancer",
    "C53": "uterus",
    "C61": "prostate",
    "C73": "thyroid_cancer",
    "S22": "disc",
    "S32": "disc",
    "S42": "humerus",
    "S52": "humerus",
    "S72": "femur hip",
    "S82": "leg",
    "D25": "uterus",
    "N83": "ovary",
    "M16": "hip",
    "M17": "knee",
}


def _by_diagnosis(clinic: Clinic) -> Lists:
    """Return which procedures a diagnosis may get because of its place in the body; mostly none."""
    groups = [row["group"] for row in tables.rows("procedures")]
    lists: list[list[int]] = []
    for code in clinic.diagnosis_codes.to_pylist():
        wanted = _BY_PLACE.get(code[:3], "").split()
        lists.append([place for place, group in enumerate(groups) if group in wanted])
    return Lists.of(lists)


def _procedures(random: Stream, clinic: Clinic, illness: Ints, diagnosis: Ints) -> Ints:
    """Return up to four different procedures, surgery before others.

    Which operation a tumour or a fracture gets depends on its place, so those are looked up by diagnosis.
    """
    count = len(illness)
    placed = _by_diagnosis(clinic)
    own = placed.lengths[diagnosis] > 0
    share = np.where(illness == clinic.illness("cancer"), 0.7 * own, clinic.procedure_share[illness])
    done = chances(random, share)
    known = np.where(own, placed.lengths[diagnosis], clinic.procedures.lengths[illness])
    wanted = np.minimum(1 + random.binomial(PROCEDURES - 1, 0.12, count), known)
    start = random.integers(0, 24, count)
    procedures = np.full((count, PROCEDURES), -1, dtype=np.int64)
    for place in range(PROCEDURES):
        usual = clinic.procedures.nth(illness, start + place)
        special = placed.nth(diagnosis, start + place)
        procedures[:, place] = np.where(done & (wanted > place), np.where(own, special, usual), -1)
    surgery = np.array([row["kind"] in "SI" for row in tables.rows("procedures")])
    rank = np.where(procedures < 0, 2, np.where(surgery[procedures], 0, 1))
    return np.take_along_axis(procedures, np.argsort(rank, axis=1, kind="stable"), axis=1)
