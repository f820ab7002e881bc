"""The fictional province of Yunhai: its divisions, its institutions and the people who work there.

Its division codes begin with 99. No province of GB/T 2260 has had that code since the list began in
1980, and the permanent residence card of foreigners, which begins with 9, continues with a province
code, of which none begins with 9. So no number made here can be a living person's. Geography depends
on the number of residents alone, not on the seed: an institution keeps its code from run to run.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from itertools import product
from math import log2

import numpy as np

from kangshu.simulation import tables
from kangshu.simulation.columns import Column, text
from kangshu.simulation.names import staff_names
from kangshu.simulation.streams import Floats, Ints, spread, stream

PROVINCE_CODE = "99"
_CLINICS = 2  # village clinics of a town


class Kind(IntEnum):
    """What an institution is; the order is that of the directory."""

    CENTRE = 0
    TERTIARY = 1
    SECONDARY = 2
    CHINESE_MEDICINE = 3
    MATERNAL = 4
    COMMUNITY = 5
    TOWNSHIP = 6
    CDC = 7
    CLINIC = 8  # village clinics report through their township hospital


@dataclass(frozen=True)
class _Shape:
    """What is typical of a kind: WS 218 type, grade, beds, staff, doctors and nurses with a name."""

    type: str
    grade: str
    beds: int
    staff: int
    doctors: int
    nurses: int


_SHAPES = {
    Kind.CENTRE: _Shape("P918", "9", 0, 60, 1, 1),
    Kind.TERTIARY: _Shape("A100", "3", 1200, 2100, 90, 120),
    Kind.SECONDARY: _Shape("A100", "2", 420, 640, 36, 48),
    Kind.CHINESE_MEDICINE: _Shape("A210", "2", 260, 380, 24, 28),
    Kind.MATERNAL: _Shape("G100", "2", 180, 300, 20, 30),
    Kind.COMMUNITY: _Shape("B100", "9", 30, 70, 10, 12),
    Kind.TOWNSHIP: _Shape("C220", "1", 45, 60, 8, 9),
    Kind.CDC: _Shape("J100", "9", 0, 110, 6, 4),
    Kind.CLINIC: _Shape("D600", "9", 0, 2, 1, 1),
}


@dataclass(frozen=True, kw_only=True)
class Divisions:
    """Province, cities, counties and towns: code, name, number of the parent (-1: none), level 1 to 4."""

    codes: list[str]
    names: list[str]
    parents: list[int]
    levels: list[int]


@dataclass(frozen=True, kw_only=True)
class Institutions:
    """All institutions, one entry per column each; `doctor_first` points into the region's staff."""

    codes: list[str]
    names: list[str]
    short_names: list[str]
    kinds: Ints
    counties: Ints
    towns: Ints
    beds: Ints
    staff: Ints
    vendors: Ints
    opened: Ints
    doctor_first: Ints
    doctor_count: Ints
    nurse_first: Ints
    nurse_count: Ints

    def __len__(self) -> int:
        return len(self.codes)


@dataclass(frozen=True, kw_only=True)
class Region:
    """The province: where people live and where they are looked after.

    `county_*` and `city_*` are by county and city number, `town_*` by town number; the institution
    that serves a place is its number in `institutions`.
    """

    residents: int
    divisions: Divisions
    county_codes: Ints
    county_city: Ints
    town_county: Ints
    town_urban: np.ndarray
    town_codes: Column
    town_addresses: Column
    town_weights: Floats
    institutions: Institutions
    institution_codes: Column
    institution_names: Column
    doctor_names: Column
    nurse_names: Column
    primary: Ints  # by town
    hospital: Ints  # by county
    chinese_medicine: Ints  # by county
    maternal: Ints  # by county
    tertiary: Ints  # by city
    cdc: Ints  # by city
    clinics: Ints  # by town: two village clinics, -1 in streets
    centre: int

    @property
    def town_city(self) -> Ints:
        """The city of each town."""
        return self.county_city[self.town_county]

    def reporting(self) -> list[int]:
        """Return the institutions that send files of their own."""
        kinds = self.institutions.kinds
        return [number for number in range(len(kinds)) if kinds[number] != Kind.CLINIC]


def build_region(*, residents: int, seed: int) -> Region:
    """Return the province for a number of residents; only the names of staff depend on `seed`."""
    towns = max(2, round(12 * (residents / 20_000) ** 0.95))
    counties = max(1, round(towns / _per(towns / 12, base=3, most=9)))
    cities = max(1, round(counties / _per(counties / 4, base=2, most=8)))
    random = stream(20_260_101, "region", towns)
    county_city = np.sort(np.arange(counties) % cities)
    town_county = np.sort(np.arange(towns) % counties)
    rank_in_county = np.arange(towns) - np.searchsorted(town_county, town_county)
    rank_in_city = np.arange(counties) - np.searchsorted(county_city, county_city)
    urban = (rank_in_county == 0) | ((rank_in_city[town_county] == 0) & (rank_in_county < 4))
    divisions = _divisions(cities, county_city, town_county, urban, rank_in_city, rank_in_county)
    first_county, first_town = 1 + cities, 1 + cities + counties
    institutions = _institutions(divisions, county_city, town_county, urban, cities, seed_free=random)
    numbers = _Serving(
        institutions.kinds, institutions.counties, institutions.towns, county_city, towns, cities
    )
    doctors = staff_names(
        stream(seed, "doctors"), women_share=0.46, count=int(institutions.doctor_count.sum())
    )
    nurses = staff_names(stream(seed, "nurses"), women_share=0.96, count=int(institutions.nurse_count.sum()))
    return Region(
        residents=residents,
        divisions=divisions,
        county_codes=np.array([int(code) for code in divisions.codes[first_county:first_town]]),
        county_city=county_city,
        town_county=town_county,
        town_urban=urban,
        town_codes=text(divisions.codes[first_town:]),
        town_addresses=text([_full_name(divisions, first_town + town) for town in range(towns)]),
        town_weights=spread(np.where(urban, 1.7, 0.8) * np.exp(random.normal(0, 0.25, towns))),
        institutions=institutions,
        institution_codes=text(institutions.codes),
        institution_names=text(institutions.names),
        doctor_names=doctors,
        nurse_names=nurses,
        primary=numbers.by_town(),
        hospital=numbers.by_county(Kind.SECONDARY),
        chinese_medicine=numbers.by_county(Kind.CHINESE_MEDICINE),
        maternal=numbers.by_county(Kind.MATERNAL),
        tertiary=numbers.by_city(Kind.TERTIARY),
        cdc=numbers.by_city(Kind.CDC),
        clinics=numbers.clinics(),
        centre=0,
    )


def _per(times: float, *, base: float, most: float) -> float:
    """Return how many divisions one above holds; a larger province has larger counties and cities."""
    return min(most, base + max(0.0, log2(max(times, 1e-9))))


def _divisions(
    cities: int,
    county_city: Ints,
    town_county: Ints,
    urban: np.ndarray,
    rank_in_city: Ints,
    rank_in_county: Ints,
) -> Divisions:
    source = tables.values("places")
    codes, names, parents, levels = [PROVINCE_CODE], [source["province"]], [-1], [1]
    city_names = source["cities"].split()
    for city in range(cities):
        codes.append(f"{PROVINCE_CODE}{city + 1:02d}")
        names.append(f"{_unique(city_names, city)}市")
        parents.append(0)
        levels.append(2)
    districts, parts = source["districts"].split(), source["city_parts"].split()
    places = ["".join(pair) for pair in product(source["first"].split(), source["second"].split())]
    for county, city in enumerate(county_city):
        rank = int(rank_in_city[county])
        district = rank < 1 + len(county_city) // (3 * cities)
        first = 2 + rank if district else 21 + rank
        codes.append(f"{codes[1 + city]}{first:02d}")
        name = (
            f"{districts[(rank + city) % 6]}区"
            if district
            else f"{parts[county % 12]}{places[county // 12][1]}县"
        )
        names.append(name)
        parents.append(1 + int(city))
        levels.append(3)
    for town, county in enumerate(town_county):
        rank = int(rank_in_county[town])
        codes.append(f"{codes[1 + cities + county]}{1 + rank if urban[town] else 101 + rank:03d}")
        # 1,013 has no divisor in common with the number of names: neighbours do not sound alike
        place = _unique(places, (town * 1013) % (len(places)) + town // len(places) * len(places))
        names.append(f"{place}{'街道' if urban[town] else '镇' if rank % 3 else '乡'}")
        parents.append(1 + cities + int(county))
        levels.append(4)
    return Divisions(codes=codes, names=names, parents=parents, levels=levels)


def _unique(names: list[str], number: int) -> str:
    """Return the name of a number; when the list is used up, it begins again with another prefix."""
    prefixes = ["", "上", "下", "东", "西", "南", "北", "前", "后", "新", "老", "大", "小"]
    return prefixes[number // len(names) % len(prefixes)] + names[number % len(names)]


def _full_name(divisions: Divisions, number: int) -> str:
    parts: list[str] = []
    while number >= 0:
        parts.append(divisions.names[number])
        number = divisions.parents[number]
    return "".join(reversed(parts))


@dataclass(frozen=True)
class _Entry:
    """An institution before it has its code."""

    kind: Kind
    name: str
    short: str
    county: int
    town: int
    type: str = ""


def _entries(
    divisions: Divisions, county_city: Ints, town_county: Ints, urban: np.ndarray, cities: int
) -> list[_Entry]:
    city_name = divisions.names[1 : 1 + cities]
    county_name = divisions.names[1 + cities : 1 + cities + len(county_city)]
    town_name = divisions.names[1 + cities + len(county_city) :]
    seat = [int(np.searchsorted(county_city, city)) for city in range(cities)]
    entries = [_Entry(Kind.CENTRE, "云海省卫生健康信息中心", "省信息中心", seat[0], -1)]
    entries.append(_Entry(Kind.TERTIARY, "云海省人民医院", "省医院", seat[0], -1))
    for city in range(1, cities):
        name = city_name[city]
        entries.append(_Entry(Kind.TERTIARY, f"{name}第一人民医院", f"{name[:-1]}一院", seat[city], -1))
    for county, city in enumerate(county_city):
        name, whole = county_name[county], city_name[city] + county_name[county]
        entries.append(_Entry(Kind.SECONDARY, f"{whole}人民医院", f"{name[:-1]}医院", county, -1))
    for county in _every(len(county_city), 2):
        whole = city_name[county_city[county]] + county_name[county]
        entries.append(
            _Entry(Kind.CHINESE_MEDICINE, f"{whole}中医医院", f"{county_name[county][:-1]}中医", county, -1)
        )
    for county in _every(len(county_city), 3):
        whole = city_name[county_city[county]] + county_name[county]
        entries.append(
            _Entry(Kind.MATERNAL, f"{whole}妇幼保健院", f"{county_name[county][:-1]}妇幼", county, -1)
        )
    for town, county in enumerate(town_county):
        whole = city_name[county_city[county]] + county_name[county] + town_name[town]
        kind = Kind.COMMUNITY if urban[town] else Kind.TOWNSHIP
        title = "社区卫生服务中心" if urban[town] else "中心卫生院" if town % 4 == 1 else "卫生院"
        type_ = "C210" if title == "中心卫生院" else ""
        place = town_name[town].removesuffix("街道")
        short = f"{place}社区中心" if urban[town] else f"{place}卫生院"
        entries.append(_Entry(kind, whole + title, short, int(county), town, type_))
    for city in range(cities):
        name = city_name[city]
        entries.append(_Entry(Kind.CDC, f"{name}疾病预防控制中心", f"{name[:-1]}疾控", seat[city], -1))
    entries.extend(_clinics(town_name, town_county, urban))
    return entries


def _every(count: int, step: int) -> range:
    return range(0, count, step)


def _clinics(town_name: list[str], town_county: Ints, urban: np.ndarray) -> list[_Entry]:
    source = tables.values("places")
    villages = ["".join(pair) for pair in product(source["first"].split(), source["second"].split())]
    entries = []
    for town, county in enumerate(town_county):
        if urban[town]:
            continue
        for number in range(_CLINICS):
            village = villages[(town * 577 + number * 311 + 5) % len(villages)]
            name = f"{town_name[town]}{village}村卫生室"
            entries.append(_Entry(Kind.CLINIC, name, f"{village}村卫生室", int(county), town))
    return entries


def _institutions(
    divisions: Divisions,
    county_city: Ints,
    town_county: Ints,
    urban: np.ndarray,
    cities: int,
    *,
    seed_free: np.random.Generator,
) -> Institutions:
    entries = _entries(divisions, county_city, town_county, urban, cities)
    shapes = [_SHAPES[entry.kind] for entry in entries]
    count = len(entries)
    sizes = np.exp(seed_free.normal(0, 0.18, count))
    doctors = np.array([shape.doctors for shape in shapes])
    nurses = np.array([shape.nurses for shape in shapes])
    county_codes = divisions.codes[1 + cities : 1 + cities + len(county_city)]
    return Institutions(
        codes=[
            institution_code(
                serial=number + 1,
                division=county_codes[entry.county],
                type_code=entry.type or shapes[number].type,
                economic="12" if entry.kind in (Kind.COMMUNITY, Kind.CLINIC) and number % 5 == 0 else "11",
                management="9" if entry.kind in (Kind.CENTRE, Kind.CDC) else "1",
            )
            for number, entry in enumerate(entries)
        ],
        names=[entry.name for entry in entries],
        short_names=[entry.short for entry in entries],
        kinds=np.array([entry.kind for entry in entries]),
        counties=np.array([entry.county for entry in entries]),
        towns=np.array([entry.town for entry in entries]),
        beds=(np.array([shape.beds for shape in shapes]) * sizes).astype(int),
        staff=np.maximum(1, (np.array([shape.staff for shape in shapes]) * sizes).astype(int)),
        vendors=seed_free.integers(0, len(tables.values("places")["vendors"].split("|")), count),
        opened=seed_free.integers(-6_900, 16_000, count),
        doctor_first=np.cumsum(doctors) - doctors,
        doctor_count=doctors,
        nurse_first=np.cumsum(nurses) - nurses,
        nurse_count=nurses,
    )


def institution_code(*, serial: int, division: str, type_code: str, economic: str, management: str) -> str:
    """Return a 22-place code: organisation (GB 11714) 9, division 6, economy 2, type 4, management 1.

    The organisation codes begin with YH and are in no register.

    >>> institution_code(serial=1, division="990102", type_code="A100", economic="11", management="1")
    'YH000001999010211A1001'
    """
    body = f"YH{serial:06d}"
    places = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    weights = (3, 7, 9, 10, 5, 8, 4, 2)
    check = 11 - sum(weight * places.index(letter) for weight, letter in zip(weights, body, strict=True)) % 11
    return f"{body}{'X' if check == 10 else check % 11}{division}{economic}{type_code}{management}"


@dataclass(frozen=True)
class _Serving:
    """Finds for each place the institution of a kind that serves it."""

    kinds: Ints
    counties: Ints
    towns: Ints
    county_city: Ints
    town_count: int
    city_count: int

    def by_town(self) -> Ints:
        """Return the community centre or township hospital of each town."""
        numbers = np.flatnonzero((self.kinds == Kind.COMMUNITY) | (self.kinds == Kind.TOWNSHIP))
        serving = np.empty(self.town_count, dtype=np.int64)
        serving[self.towns[numbers]] = numbers
        return serving

    def clinics(self) -> Ints:
        """Return the two village clinics of each town, -1 where it has none."""
        clinics = np.full((self.town_count, _CLINICS), -1, dtype=np.int64)
        numbers = np.flatnonzero(self.kinds == Kind.CLINIC)
        clinics[self.towns[numbers[::_CLINICS]]] = numbers.reshape(-1, _CLINICS)
        return clinics

    def by_county(self, kind: Kind) -> Ints:
        """Return the institution of `kind` for each county: its own, else that of the county before."""
        numbers = np.flatnonzero(self.kinds == kind)
        position = np.searchsorted(self.counties[numbers], np.arange(len(self.county_city)), side="right") - 1
        return numbers[np.maximum(position, 0)]

    def by_city(self, kind: Kind) -> Ints:
        """Return the institution of `kind` for each city."""
        numbers = np.flatnonzero(self.kinds == kind)
        serving = np.full(self.city_count, numbers[0])
        serving[self.county_city[self.counties[numbers]]] = numbers
        return serving
