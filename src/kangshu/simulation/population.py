"""The people: names, numbers, addresses, work, chronic illness, and when they come, move and go.

One entry per person in every column, residents first, then the children born in the period. What a
record shows of a person depends on the day: a newborn is "王某之女" without a number until it is
registered, who has moved has a new address.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import pyarrow as pa

from kangshu.simulation import tables
from kangshu.simulation.columns import (
    Column,
    blanked,
    chosen,
    constant,
    joined,
    nothing,
    pc,
    picked,
    text,
)
from kangshu.simulation.households import (
    FIRST_CHILD,
    MAN,
    NEVER,
    SECOND_CHILD,
    YEAR,
    Households,
    build_households,
)
from kangshu.simulation.names import (
    DOT,
    dotted_names,
    draw_surnames,
    foreign_names,
    given_names,
    surname_texts,
    tibetan_names,
)
from kangshu.simulation.numbers import other_documents, phone_numbers, resident_numbers, serials
from kangshu.simulation.region import Region
from kangshu.simulation.streams import Draw, Flags, Floats, Ints, Stream, chances, stream

BIRTHS_PER_RESIDENT_YEAR = 0.0066
TWIN_SHARE = 0.013
IMMIGRANT_SHARE = 0.006
EMIGRANT_SHARE = 0.004
NO_NUMBER_SHARE = 0.004


class Document(IntEnum):
    """By what a person is identified."""

    NUMBER = 0
    NONE = 1
    PASSPORT = 2
    HONG_KONG_MACAU = 3
    TAIWAN = 4


class Chronic(IntEnum):
    """Long-lasting conditions; a person's are the bits of `chronic`. Names are those of illnesses.csv."""

    HYPERTENSION = 0
    DIABETES = 1
    LIPIDS = 2
    CORONARY = 3
    STROKE_SEQUEL = 4
    COPD = 5
    ASTHMA = 6
    KIDNEY_DISEASE = 7
    HEPATITIS_B = 8
    GOUT = 9
    OSTEOARTHRITIS = 10
    CANCER = 11
    PROSTATE = 12
    THYROID = 13
    DEPRESSION = 14
    DEMENTIA = 15


# Logistic prevalence by age: share at the top, age of half of it, years of slope; factors of men and women.
_PREVALENCE = {
    Chronic.HYPERTENSION: (0.62, 60, 8.5, 1.05, 0.95),
    Chronic.DIABETES: (0.24, 58, 8, 1.05, 0.95),
    Chronic.LIPIDS: (0.16, 50, 9, 1.0, 1.0),
    Chronic.CORONARY: (0.20, 68, 6.5, 1.1, 0.9),
    Chronic.STROKE_SEQUEL: (0.11, 69, 6, 1.15, 0.85),
    Chronic.COPD: (0.12, 66, 7, 1.5, 0.55),
    Chronic.ASTHMA: (0.025, 5, 6, 1.0, 1.0),
    Chronic.KIDNEY_DISEASE: (0.06, 68, 8, 1.05, 0.95),
    Chronic.HEPATITIS_B: (0.05, 28, 5, 1.2, 0.8),
    Chronic.GOUT: (0.035, 45, 9, 1.8, 0.25),
    Chronic.OSTEOARTHRITIS: (0.18, 62, 7, 0.7, 1.3),
    Chronic.CANCER: (0.045, 64, 9, 1.1, 0.9),
    Chronic.PROSTATE: (0.38, 65, 6, 1.0, 0.0),
    Chronic.THYROID: (0.03, 42, 10, 0.3, 1.7),
    Chronic.DEPRESSION: (0.022, 22, 8, 0.7, 1.3),
    Chronic.DEMENTIA: (0.14, 82, 5, 0.85, 1.15),
}


@dataclass(frozen=True, kw_only=True)
class Population:
    """Everybody who lives in the province at some time of the period.

    Days count from 1970-01-01. `named_day` is the day from which a newborn has name and number.
    `chronic` holds one bit per `Chronic`; `cancer` is a diagnosis of illness `cancer` or -1.
    `text_*` columns hold what records print.
    """

    residents: int
    start: int
    end: int
    household: Ints
    sex: Ints
    birth_day: Ints
    entry_day: Ints
    leave_day: Ints
    death_day: Ints
    named_day: Ints
    mother: Ints
    father: Ints
    spouse: Ints
    contact: Ints
    twin_of: Ints
    town_before: Ints
    town_after: Ints
    move_day: Ints
    county: Ints
    urban: Flags
    document: Ints
    chronic: Ints
    cancer: Ints
    frailty: Floats
    payment: Ints
    marital: Ints
    occupation: Ints
    education: Ints
    ethnic: Ints
    abo: Ints
    rh: Ints
    allergy: Ints
    phone_owner: Ints
    born_weight: Ints
    gestation: Ints
    name: Column
    placeholder: Column
    number: Column
    document_type: Column
    document_number: Column
    phone: Column
    address: Column  # two per household: before and after a move
    registered_address: Column  # by person
    employer: Ints
    native: Ints
    dotted: Flags
    rare: Flags

    def __len__(self) -> int:
        return len(self.sex)

    @property
    def newborns(self) -> Ints:
        """The persons born in the period."""
        return np.arange(self.residents, len(self))

    def age_at(self, persons: Ints, days: Ints) -> Floats:
        """Return ages in years, good for choosing but not for stating."""
        return (days - self.birth_day[persons]) / YEAR

    def town_at(self, persons: Ints, days: Ints) -> Ints:
        """Return where `persons` live on `days`."""
        return np.where(days >= self.move_day[persons], self.town_after[persons], self.town_before[persons])

    def address_at(self, persons: Ints, days: Ints) -> Column:
        """Return the address of `persons` on `days`."""
        return picked(self.address, self.household[persons] * 2 + (days >= self.move_day[persons]))

    def is_here(self, persons: Ints, days: Ints) -> Flags:
        """Return whether `persons` are alive and resident on `days`."""
        return (
            (days >= self.entry_day[persons])
            & (days < self.leave_day[persons])
            & (days < self.death_day[persons])
        )

    def name_at(self, persons: Ints, days: Ints) -> Column:
        """Return the names that a record of `days` shows."""
        unnamed = days < self.named_day[persons]
        name = picked(self.name, persons)
        return chosen(unnamed, picked(self.placeholder, persons), name) if unnamed.any() else name

    def number_at(self, persons: Ints, days: Ints) -> Column:
        """Return the resident numbers that a record of `days` can show."""
        return blanked(picked(self.number, persons), days < self.named_day[persons])


def build_population(*, region: Region, residents: int, seed: int, start: int, end: int) -> Population:
    """Return the people of `region`: `residents` on day `start` and those born before day `end`."""
    homes = build_households(residents=residents, seed=seed, region=region, start=start, end=end)
    people = _People(homes, region=region, seed=seed, start=start, end=end)
    people.have_children(stream(seed, "births"))
    people.fall_ill(stream(seed, "illness"))
    people.die(stream(seed, "deaths"))
    people.work(stream(seed, "work"))
    return people.finished(stream(seed, "names"))


class _People:
    """People under construction: columns are added step by step, then frozen into a `Population`."""

    def __init__(self, homes: Households, *, region: Region, seed: int, start: int, end: int) -> None:
        random = stream(seed, "settling")
        self.homes, self.region, self.start, self.end = homes, region, start, end
        self.residents = len(homes.sex)
        self.household = homes.household
        self.sex, self.birth = homes.sex, homes.birth_day.astype(np.int64)
        self.mother, self.father, self.spouse = homes.mother, homes.father, homes.spouse
        self.twin_of, self.married, self.slot = homes.twin_of, homes.married, homes.slot
        count = self.residents
        alone = np.bincount(homes.household, minlength=homes.count)[homes.household] == 1
        arrives = alone & (random.random(count) < IMMIGRANT_SHARE * 4)
        leaves = alone & ~arrives & (random.random(count) < EMIGRANT_SHARE * 4)
        some_day = random.integers(start, end, count)
        never = int(NEVER)
        self.entry = np.where(arrives, some_day, -never)
        self.leave = np.where(leaves, some_day, never)
        self.naming = np.where(start - self.birth < 60, self.birth + random.integers(8, 55, count), -never)
        self.document = np.zeros(count, dtype=np.int8)
        self._documents(random, alone)
        self.born_weight = np.zeros(count, dtype=np.int64)
        self.gestation = np.zeros(count, dtype=np.int64)

    def _documents(self, random: Stream, alone: Flags) -> None:
        count = self.residents
        grown = (self.start - self.birth) > 20 * YEAR
        kind = Draw(np.array([94, 0, 3.2, 1.9, 0.9]))(random, 0, count).astype(np.int8)
        self.document = np.where(alone & grown & (random.random(count) < 0.15), kind, self.document)
        unknown = (self.document == 0) & (random.random(count) < NO_NUMBER_SHARE)
        self.document = np.where(unknown, np.int8(Document.NONE), self.document)

    def have_children(self, random: Stream) -> None:
        years = (self.end - self.start) / YEAR
        age = (self.start - self.birth) / YEAR
        able = (self.sex == 2) & self.married & (age >= 20) & (age < 45) & (self.leave == int(NEVER))
        youngest = np.full(self.residents, -10_000_000, dtype=np.int64)
        has_mother = self.mother >= 0
        np.maximum.at(youngest, self.mother[has_mother], self.birth[has_mother])
        able &= youngest < self.start - 400
        weight = np.where(able, np.exp(-(((age - 28.5) / 5.5) ** 2)), 0) + 1e-12
        births = min(round(self.residents * BIRTHS_PER_RESIDENT_YEAR * years), int(able.sum()))
        keys = random.exponential(1, self.residents) / weight
        mothers = np.sort(np.argsort(keys, kind="stable")[:births])
        twins = random.random(births) < TWIN_SHARE
        if births >= 40 and not twins.any():
            twins[births // 2] = True
        repeated = np.repeat(mothers, 1 + twins)
        second = np.flatnonzero(np.r_[False, repeated[1:] == repeated[:-1]]) if births else np.empty(0, int)
        day = np.repeat(random.integers(self.start, self.end, births), 1 + twins)
        self._append_children(random, repeated, second, day)

    def _append_children(self, random: Stream, mothers: Ints, second: Ints, day: Ints) -> None:
        count, first = len(mothers), self.residents
        never = int(NEVER)
        twin_of = np.full(count, -1, dtype=np.int64)
        twin_of[second] = first + second - 1
        paired = np.zeros(count, dtype=bool)
        paired[second] = True
        paired[second - 1] = True
        weeks = np.clip(
            np.round(39.1 - random.exponential(1.0, count) ** 1.6 + 0.6 * random.normal(size=count)), 26, 42
        )
        weeks = np.where(paired, np.minimum(weeks, 37) - 1, weeks)
        weeks[second] = weeks[second - 1]
        grams = 3330 + (weeks - 39) * 165 + random.normal(0, 380, count)
        grams = np.where(
            weeks >= 37, np.maximum(grams, 1800), np.where(weeks < 28, np.minimum(grams, 1900), grams)
        )
        self.household = np.r_[self.household, self.household[mothers]]
        self.sex = np.r_[self.sex, (1 + (random.random(count) > 0.528)).astype(np.int8)]
        self.birth = np.r_[self.birth, day]
        self.entry = np.r_[self.entry, day]
        self.leave = np.r_[self.leave, np.full(count, never)]
        named = day + random.integers(6, 60, count)
        named[second] = named[second - 1]
        self.naming = np.r_[self.naming, named]
        self.mother = np.r_[self.mother, mothers]
        self.father = np.r_[self.father, self.spouse[mothers]]
        self.spouse = np.r_[self.spouse, np.full(count, -1)]
        self.twin_of = np.r_[self.twin_of, twin_of]
        self.married = np.r_[self.married, np.zeros(count, dtype=bool)]
        self.slot = np.r_[self.slot, np.full(count, FIRST_CHILD)]
        self.document = np.r_[self.document, np.zeros(count, dtype=np.int8)]
        self.gestation = np.r_[self.gestation, weeks.astype(np.int64)]
        self.born_weight = np.r_[self.born_weight, (np.clip(grams, 620, 5200) // 10 * 10).astype(np.int64)]

    def fall_ill(self, random: Stream) -> None:
        count = len(self.sex)
        age = np.maximum(self.start - self.birth, 0) / YEAR
        chronic = np.zeros(count, dtype=np.int32)
        shared = random.normal(0, 0.5, count)  # who has one condition is likelier to have another
        for condition, (top, half, slope, men, women) in _PREVALENCE.items():
            chance = top / (1 + np.exp(-(age - half) / slope)) * np.where(self.sex == 1, men, women)
            chance = np.where(age < 1, 0, chance * np.exp(shared - 0.125))
            chronic |= chances(random, chance).astype(np.int32) << condition
        self.chronic = np.where(age < 18, chronic & (1 << Chronic.ASTHMA), chronic).astype(np.int32)
        self.frailty = random.gamma(2.2, 1 / 2.2, count).astype(np.float32) * np.exp(shared * 0.4).astype(
            np.float32
        )
        self.cancer_chance = random.random(count)
        self.abo = Draw(np.array([0.29, 0.26, 0.30, 0.09, 0.06]))(random, 0, count) + 1
        self.rh = Draw(np.array([0.004, 0.946, 0.05]))(random, 0, count) + 1
        self.allergy = np.where(random.random(count) < 0.07, random.integers(0, 6, count), -1)

    def die(self, random: Stream) -> None:
        count = len(self.sex)
        age = np.maximum(self.start - self.birth, 0) / YEAR
        base = 0.000032 * np.exp(0.0945 * age) + np.where(age < 1, 0.004, 0.00018)
        burden = sum(((self.chronic >> bit) & 1) * weight for bit, weight in _BURDEN.items())
        rate = base * np.where(self.sex == 1, 1.18, 0.76) * np.exp(burden * 0.42)
        years = (self.end - self.start) / YEAR
        dies = chances(random, -np.expm1(-rate * years)) & (self.leave == int(NEVER))
        gives_birth = np.zeros(count, dtype=bool)
        gives_birth[self.mother[self.residents :]] = True
        begin = np.maximum(self.start, self.entry) + np.where(self.entry > self.start, 3, 1)
        room = self.end - begin
        dies &= ~gives_birth & (room > 0)
        # deaths crowd towards the ends of a calendar year: winter
        share = random.random(count)
        tilt = share + 0.045 * np.sin(2 * np.pi * share) / (2 * np.pi) * 2
        day = begin + (np.clip(tilt, 0, 0.9999) * np.maximum(room, 1)).astype(np.int64)
        self.death = np.where(dies, day, int(NEVER))

    def work(self, random: Stream) -> None:
        count = len(self.sex)
        age = (self.start - self.birth) / YEAR
        urban = self.region.town_urban[self.homes.town[self.household]]
        self.urban = urban
        town = Draw(
            np.array([[6, 15, 22, 9, 17, 1, 0.5, 15, 9, 3, 2.5], [1, 5, 5, 2, 12, 58, 0.4, 8, 6, 2, 1]])
        )
        codes = np.array([11, 13, 17, 21, 24, 27, 37, 51, 54, 70, 90])
        grown = codes[town(random, np.where(urban, 0, 1))]
        retired = np.where(urban, np.where(random.random(count) < 0.85, 80, 70), 27)
        student = (age >= 6) & ((age < 18) | ((age < 23) & (random.random(count) < 0.6)))
        old = age >= np.where(self.sex == 1, 60, 55)
        self.occupation = np.select([age < 3, age < 6, student, old], [90, 90, 31, retired], grown)
        employed = np.isin(self.occupation, (11, 13, 17, 21, 24, 37, 80))
        pays = np.where(employed, 1, np.where(urban, 2, 3))
        special = Draw(np.array([0.955, 0.012, 0.006, 0.002, 0.02, 0.005]))(random, 0, count)
        self.payment = np.where(special > 0, np.array([0, 4, 5, 6, 7, 8])[special], pays)
        self.employer = random.integers(0, len(tables.values("places")["employers"].split("|")), count)
        single_old = ~self.married & (self.spouse < 0) & (age >= 58)
        apart = random.random(count)
        self.marital = np.select(
            [self.married | (self.spouse >= 0), single_old, age < 25, self.mother_of()],
            [
                np.where(apart < 0.06, 22, 21),
                np.where(apart < 0.8, 30, 40),
                10,
                np.where(apart < 0.75, 40, 30),
            ],
            np.where((age > 35) & (apart < 0.45), 40, 10),
        )
        self.marital = np.where(age < np.where(self.sex == 1, 22, 20), 10, self.marital)
        levels = np.array([21, 31, 61, 71, 81, 90, 14])
        schooling = Draw(
            np.array([[2, 4, 12, 30, 38, 14, 0.1], [14, 16, 24, 32, 10, 2, 1], [34, 24, 20, 17, 2, 1, 2]])
        )(random, np.select([age >= 60, age >= 35], [0, 1], 2))
        self.education = np.select([age < 6, age < 13, age < 16], [90, 81, 71], levels[schooling])
        self.education = np.where(age < 6, 90, self.education)

    def mother_of(self) -> Flags:
        """Return who has a child in the household."""
        parent = np.zeros(len(self.sex), dtype=bool)
        parent[self.mother[self.mother >= 0]] = True
        parent[self.father[self.father >= 0]] = True
        return parent

    def finished(self, random: Stream) -> Population:
        count = len(self.sex)
        year = (np.asarray(self.birth, dtype="datetime64[D]").astype("datetime64[Y]").astype(int)) + 1970
        surname = self._surnames(random, count)
        given = given_names(random, sex=self.sex, birth_year=year, twin_of=self.twin_of)
        name = joined(picked(surname_texts(), surname), given)
        name, ethnic = self._minorities(random, name)
        foreign = self.document == Document.PASSPORT
        name = chosen(foreign, foreign_names(random, self.sex), name) if foreign.any() else name
        county = self.region.county_codes[self.homes.registered_county[self.household]]
        number = resident_numbers(
            counties=county,
            birth_days=self.birth,
            serials=serials(counties=county, birth_days=self.birth, sex=self.sex),
        )
        persons = np.arange(count)
        document_type, document_number = other_documents(kinds=self.document, persons=persons)
        phone_owner = self._phone_owners(random)
        address, registered = self._addresses(random)
        return Population(
            residents=self.residents,
            start=self.start,
            end=self.end,
            household=self.household.astype(np.int32),
            sex=self.sex.astype(np.int8),
            birth_day=self.birth.astype(np.int32),
            entry_day=_within_int32(self.entry),
            leave_day=_within_int32(self.leave),
            death_day=_within_int32(self.death),
            named_day=_within_int32(self.naming),
            mother=self.mother,
            father=self.father,
            spouse=self.spouse,
            contact=self._contacts(random),
            twin_of=self.twin_of,
            town_before=self.homes.town[self.household].astype(np.int32),
            town_after=self.homes.moves_to[self.household].astype(np.int32),
            move_day=self.homes.move_day[self.household],
            county=county.astype(np.int32),
            urban=self.urban,
            document=self.document,
            chronic=self.chronic,
            cancer=self._cancers(),
            frailty=self.frailty,
            payment=self.payment.astype(np.int8),
            marital=self.marital.astype(np.int8),
            occupation=self.occupation.astype(np.int8),
            education=self.education.astype(np.int8),
            ethnic=ethnic.astype(np.int8),
            abo=self.abo.astype(np.int8),
            rh=self.rh.astype(np.int8),
            allergy=self.allergy.astype(np.int8),
            phone_owner=phone_owner,
            born_weight=self.born_weight,
            gestation=self.gestation,
            name=name,
            placeholder=self._placeholders(name),
            number=blanked(number, self.document != Document.NUMBER),
            document_type=document_type,
            document_number=document_number,
            phone=phone_numbers(persons),
            address=address,
            registered_address=registered,
            employer=self.employer.astype(np.int8),
            native=random.integers(0, 100, count).astype(np.int8),
            dotted=_holds(name, DOT),
            rare=_holds(name, f"[{_rare_characters()}]"),
        )

    def _surnames(self, random: Stream, count: int) -> Ints:
        surname = draw_surnames(random, count).astype(np.int64)
        # fathers come first: a man takes his father's, then children take the man's
        child = (self.slot == FIRST_CHILD) | (self.slot == SECOND_CHILD)
        for who in (self.slot == MAN, child):
            takes = who & (self.father >= 0)
            surname[takes] = surname[self.father[takes]]
        only_mother = child & (self.father < 0) & (self.mother >= 0)
        surname[only_mother] = surname[self.mother[only_mother]]
        return surname

    def _minorities(self, random: Stream, name: Column) -> tuple[Column, Ints]:
        """Give some households names of other peoples; return names and ethnic codes by person."""
        source = tables.values("names")
        peoples = np.array([1, 7, 6, 15, 3, 14, 8, 5, 17, 4])
        shares = np.array([0.905, 0.025, 0.02, 0.018, 0.012, 0.006, 0.005, 0, 0, 0])
        shares[7], shares[8], shares[9] = (
            source["dotted"]["share"] / 2,
            source["dotted"]["share"] / 2,
            source["tibetan"]["share"],
        )
        home = peoples[Draw(shares)(random, 0, self.homes.count)]
        ethnic = home[self.household]
        dotted = (ethnic == 5) | (ethnic == 17)
        name = chosen(dotted, dotted_names(random, self.sex), name) if dotted.any() else name
        tibetan = ethnic == 4
        name = chosen(tibetan, tibetan_names(random, self.sex), name) if tibetan.any() else name
        return name, ethnic

    def _placeholders(self, name: Column) -> Column:
        """Return what a newborn is called before it has a name; empty for everybody else."""
        count = len(self.sex)
        small = np.flatnonzero((self.naming > -int(NEVER)) & (self.mother >= 0))
        titles = np.where(self.sex[small] == 1, 0, 1)
        elder = np.zeros(count, dtype=bool)
        elder[self.twin_of[self.twin_of >= 0]] = True
        titles = np.where(elder[small], titles + 2, np.where(self.twin_of[small] >= 0, titles + 4, titles))
        words = text(["之子", "之女", "之大子", "之大女", "之小子", "之小女"])
        made = joined(picked(name, self.mother[small]), picked(words, titles))
        position = np.full(count, -1, dtype=np.int64)
        position[small] = np.arange(len(small))
        return picked(made, position) if len(small) else nothing(count)

    def _phone_owners(self, random: Stream) -> Ints:
        """Return whose telephone a person gives: children give a parent's, the very old often a son's."""
        count = len(self.sex)
        age = (self.start - self.birth) / YEAR
        own = np.arange(count)
        parent = np.where(self.mother >= 0, self.mother, self.father)
        first = np.full(self.homes.count, -1, dtype=np.int64)
        grown = np.flatnonzero(age >= 18)
        first[self.household[grown][::-1]] = grown[::-1]
        family = np.where(
            parent >= 0, parent, np.where(first[self.household] >= 0, first[self.household], own)
        )
        shares = (age < 14) | ((age > 76) & (random.random(count) < 0.5)) | (random.random(count) < 0.03)
        head = np.where((age > 76) & (first[self.household] >= 0), first[self.household], family)
        return np.where(shares, head, own)

    def _contacts(self, random: Stream) -> Ints:
        """Return whom to call: spouse, else a parent, else a child, else some grown-up."""
        count = len(self.sex)
        age = (self.start - self.birth) / YEAR
        child = np.full(count, -1, dtype=np.int64)
        for parent in (self.mother, self.father):
            known = np.flatnonzero((parent >= 0) & (age >= 18))
            child[parent[known]] = known
        grown = np.flatnonzero((age >= 25) & (age < 60))
        some = grown[random.integers(0, max(1, len(grown)), count)] if len(grown) else np.arange(count)
        parent = np.where(self.mother >= 0, self.mother, self.father)
        return np.select(
            [self.spouse >= 0, (parent >= 0) & (age < 30), child >= 0, parent >= 0],
            [self.spouse, parent, child, parent],
            some,
        )

    def _addresses(self, random: Stream) -> tuple[Column, Column]:
        """Return two addresses per household (before, after a move) and the registered one per person."""
        homes = self.homes
        towns = np.stack([homes.town, homes.moves_to], axis=1).ravel()
        count = len(towns)
        urban = self.region.town_urban[towns]
        source = tables.values("places")
        roads, estates = text(source["roads"].split()), text(source["estates"].split())
        villages = text([a + b for a in source["first"].split()[:20] for b in source["second"].split()[:12]])
        number = _plain(random.integers(1, 400, count))
        city = joined(
            picked(self.region.town_addresses, towns),
            picked(roads, random.integers(0, len(roads), count)),
            constant("路", count),
            number,
            constant("号", count),
            picked(estates, random.integers(0, len(estates), count)),
            _plain(random.integers(1, 30, count)),
            constant("幢", count),
            _plain(random.integers(1, 5, count)),
            constant("单元", count),
            _plain(random.integers(1, 19, count) * 100 + random.integers(1, 5, count)),
            constant("室", count),
        )
        country = joined(
            picked(self.region.town_addresses, towns),
            picked(villages, random.integers(0, len(villages), count)),
            constant("村", count),
            _plain(random.integers(1, 13, count)),
            constant("组", count),
            number,
            constant("号", count),
        )
        address = chosen(urban, city, country)
        stays = homes.moves_to == homes.town
        # a household that stays keeps its one address
        index = np.arange(count)
        index[1::2] = np.where(stays, index[0::2], index[1::2])
        address = picked(address, index)
        return address, picked(address, self.household * 2)

    def _cancers(self) -> Ints:
        """Return the position among the diagnoses of illness `cancer`, fitting the sex, or -1."""
        entries = [row for row in tables.rows("diagnoses") if row["illness"] == "cancer"]
        weights = np.array([[float(row["weight"]) for row in entries]] * 2)
        for place, row in enumerate(entries):
            if row["code"].startswith("C61"):
                weights[1, place] = 0
            if row["code"].startswith(("C53", "C50")):
                weights[0, place] = 0
        edges = np.cumsum(weights, axis=1) / weights.sum(axis=1, keepdims=True)
        men = np.searchsorted(edges[0], self.cancer_chance, side="right")
        women = np.searchsorted(edges[1], self.cancer_chance, side="right")
        has = (self.chronic >> Chronic.CANCER) & 1
        return np.where(has == 1, np.where(self.sex == 1, men, women), -1).astype(np.int8)


_BURDEN = {
    Chronic.DIABETES: 0.6,
    Chronic.CORONARY: 0.8,
    Chronic.STROKE_SEQUEL: 0.9,
    Chronic.COPD: 0.9,
    Chronic.KIDNEY_DISEASE: 1.2,
    Chronic.CANCER: 4.2,
    Chronic.DEMENTIA: 1.4,
    Chronic.HYPERTENSION: -0.3,
}


def _rare_characters() -> str:
    """Return the rare characters that GBK does not hold."""
    rare = tables.values("names")["rare"]
    return "".join(sorted({c for c in rare["men"] + rare["women"] if not _in_gbk(c)}))


def _in_gbk(character: str) -> bool:
    try:
        character.encode("gbk")
    except UnicodeEncodeError:
        return False
    return True


def _holds(names: Column, pattern: str) -> Flags:
    return pc.match_substring_regex(names, pattern).to_numpy(zero_copy_only=False)


def _within_int32(days: Ints) -> Ints:
    return np.clip(days, -int(NEVER), int(NEVER)).astype(np.int32)


def _plain(values: Ints) -> Column:
    """Return numbers without leading zeros."""
    return pc.cast(pa.array(values), pa.string())
