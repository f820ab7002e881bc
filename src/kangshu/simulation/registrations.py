"""A million registrations of fictional people with heavy errors, and the truth: which are one person.

Everybody registers as often as chance has it, at several institutions, over years. What goes wrong is what
goes wrong at counters: numbers missing, mistyped, the mother's or of fifteen digits; homophones, traditional
and variant characters, names in pinyin, middle dots in seven forms; day and month swapped, 1 January for an
unknown day; telephones of the family, addresses moved and shortened; newborns under the mother, twins,
foreigners, people whose name nobody knows. `Rates` has all rates in one place; they are assumptions. Whole
columns; the same seed gives the same table.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from kangshu.simulation import tables
from kangshu.simulation.columns import (
    Column,
    blanked,
    chosen,
    constant,
    day,
    from_bytes,
    group_ranks,
    joined,
    numbered,
    pc,
    picked,
    text,
)
from kangshu.simulation.names import DOT, given_names
from kangshu.simulation.numbers import date_digits, phone_numbers, resident_number_bytes, serials
from kangshu.simulation.population import Document, Population, build_population
from kangshu.simulation.region import Region, build_region
from kangshu.simulation.streams import Draw, Flags, Ints, Stream, chances, mixed, stream


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Shares of registrations (of those that it can happen to) with each error."""

    number_missing: float = 0.22
    number_mistyped: float = 0.015
    number_of_15: float = 0.008
    number_of_mother: float = 0.04  # of children's: about one in two hundred of all
    number_of_mother_newborn: float = 0.35
    number_of_spouse: float = 0.0008
    homophone: float = 0.035  # of these some two in three have a character that is mistaken for another
    traditional: float = 0.02
    other_character: float = 0.004
    swapped_characters: float = 0.001
    pinyin: float = 0.01
    stretched: float = 0.01
    rare_lost: float = 0.5
    dotted_cut: float = 0.08
    unknown: float = 0.0005
    birth_missing: float = 0.01
    birth_swapped: float = 0.006
    birth_digit: float = 0.006
    birth_first_january: float = 0.006
    sex_wrong: float = 0.003
    sex_missing: float = 0.01
    phone_missing: float = 0.14
    phone_former: float = 0.12
    phone_mistyped: float = 0.008
    phone_of_counter: float = 0.004
    address_missing: float = 0.16
    address_other: float = 0.13
    local_missing: float = 0.25
    local_renewed: float = 0.25
    passport_renewed: float = 0.2
    twins: float = 0.085  # of pairs of brothers and sisters: about one record in a hundred is a twin's
    order_unmarked: float = 0.12  # of newborn twins


RECORDS_PER_PERSON = 1.652
_START, _END = date(2024, 7, 1).toordinal() - 719_163, date(2026, 7, 1).toordinal() - 719_163
_COMPOUND = ("欧阳", "上官", "司马", "诸葛", "尉迟", "皇甫", "东方", "令狐", "夏侯")
_DOTS = "·•‧∙⋅・."
_NAME_WIDTH = 24
_CODES = 0x40000
_BEFORE_18_DIGITS = 20 * 365  # who was born before 1990 may show a card of 15 digits
_YEAR = 365


@dataclass(frozen=True, kw_only=True)
class Registrations:
    """The table, as `kangshu.identity.linkage.prepare` reads it with a `record` each, and the truth.

    `truth` has for each `record` the `person`, and whether it was registered as a newborn or is a twin.
    """

    table: pa.Table
    truth: pa.Table


def simulate_registrations(*, records: int, seed: int, rates: Rates | None = None) -> Registrations:
    """Return `records` registrations."""
    rates = rates or Rates()
    region = build_region(residents=20_000 + records // 10, seed=seed)
    residents = max(100, round(records / RECORDS_PER_PERSON))
    people = build_population(region=region, residents=residents, seed=seed, start=_START, end=_END)
    cast = _Cast(people, stream(seed, "registrations", "twins"), rates)
    return _Counter(cast, region, rates, seed, records).registrations()


class _Cast:
    """The people, with more twins among them than chance gives: they are what linking is tried by."""

    def __init__(self, people: Population, random: Stream, rates: Rates) -> None:
        self.people = people
        self.birth = people.birth_day.astype(np.int64)
        self.twin_of = people.twin_of.copy()
        first, second = _siblings(people)
        hit = random.random(len(first)) < rates.twins
        first, second = first[hit], second[hit]
        self.birth[second] = self.birth[first]
        self.twin_of[second] = first
        self.is_twin = self.twin_of >= 0
        self.is_twin[self.twin_of[self.is_twin]] = True
        self.name = _told_apart(people, self._named(people, random, first, second), random)
        self.serial_bytes = self._numbers(people)

    def _named(self, people: Population, random: Stream, first: Ints, second: Ints) -> Column:
        """Return the names; twins' given names share their first character."""
        pair = np.stack([first, second], axis=1).ravel()
        if not len(pair):
            return people.name
        year = self.birth[pair].astype("datetime64[D]").astype("datetime64[Y]").astype(int) + 1970
        twin_of = np.where(np.arange(len(pair)) % 2 == 1, np.arange(len(pair)) - 1, -1)
        given = given_names(random, sex=people.sex[pair], birth_year=year, twin_of=twin_of)
        old = picked(people.name, pair)
        plain = pc.match_substring_regex(old, r"^\p{Han}{2,3}$")
        plain = pc.and_(plain, pc.invert(pc.match_substring_regex(old, f"^({'|'.join(_COMPOUND)})")))
        plain = plain.to_numpy(zero_copy_only=False)
        made = chosen(plain, joined(pc.utf8_slice_codeunits(old, 0, 1), given), old)
        place = np.full(len(people), -1)
        place[pair] = np.arange(len(pair))
        return pc.if_else(pa.array(place >= 0), picked(made, place), people.name)

    def _numbers(self, people: Population) -> np.ndarray[Any, Any]:
        counties = people.county.astype(np.int64)
        serial = serials(counties=counties, birth_days=self.birth, sex=people.sex)
        return resident_number_bytes(counties=counties, birth_days=self.birth, serials=serial)


def _siblings(people: Population) -> tuple[Ints, Ints]:
    """Return pairs of neighbours of one mother, each person at most once, who are no twins yet."""
    count = people.residents
    mother = people.mother[:count]
    same = (mother[1:] >= 0) & (mother[1:] == mother[:-1])
    first = np.flatnonzero(same)
    first = first[np.r_[True, np.diff(first) > 1]] if len(first) else first
    second = first + 1
    free = (people.twin_of[second] < 0) & (people.twin_of[first] < 0)
    return first[free], second[free]


def _told_apart(people: Population, name: Column, random: Stream) -> Column:
    """Return the names, but for those that sound in one family like another's: parents avoid that."""
    for _ in range(4):  # each time nearly all of what is left comes right
        encoded = name.dictionary_encode()
        sounds = text([_pinyin(one, 3) for one in encoded.dictionary.to_pylist()]).dictionary_encode()
        sound = sounds.indices.to_numpy()[encoded.indices.to_numpy()]
        again = group_ranks(people.household.astype(np.int64) * len(encoded.dictionary) + sound) > 0
        again &= pc.match_substring_regex(name, r"^\p{Han}{2,4}$").to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(again)
        if not len(rows):
            break
        other = text([chr(code) for code in random.choice(_given_characters(), len(rows))])
        changed = joined(pc.utf8_slice_codeunits(picked(name, rows), 0, -1), other)
        name = pc.replace_with_mask(name, pa.array(again), changed)
    return name


class _Counter:
    """Where everybody registers: who, when, where, and what is written down."""

    def __init__(self, cast: _Cast, region: Region, rates: Rates, seed: int, records: int) -> None:
        self.cast, self.people, self.region, self.rates, self.seed = cast, cast.people, region, rates, seed
        self.records = records
        random = stream(seed, "registrations", "visits")
        self.person, self.day = self._visits(random)
        self.newborn = self.day < self.people.named_day[self.person]
        self.newborn &= self.people.mother[self.person] >= 0
        self.institution = self._institutions(random)

    def registrations(self) -> Registrations:
        """Return everything that is written down, and the truth."""
        unknown = self._random("unknown").random(self.records) < self.rates.unknown
        birth_day, birth_known = self._births(self._random("birth"))
        document_type, document_number = self._documents(self._random("documents"))
        name = chosen(unknown, constant("无名氏", self.records), self._names(self._random("names")))
        columns = {
            "record": pa.array(np.arange(self.records, dtype=np.int64)),
            "name": name,
            "sex": self._sexes(self._random("sex")),
            "birth_date": blanked(day(birth_day), ~birth_known | unknown),
            "resident_number": blanked(self._numbers(self._random("numbers")), unknown),
            "document_type": blanked(document_type, unknown),
            "document_number": blanked(document_number, unknown),
            "phone": blanked(self._phones(self._random("phones")), unknown),
            "address": blanked(self._addresses(self._random("addresses")), unknown),
            "institution": picked(self.region.institution_codes, self.institution),
            "local_number": self._local_numbers(self._random("local")),
        }
        truth = {
            "record": columns["record"],
            "person": pa.array(self.person.astype(np.int64)),
            "newborn": pa.array(self.newborn),
            "twin": pa.array(self.cast.is_twin[self.person]),
            "unknown": pa.array(unknown),
        }
        return Registrations(table=pa.table(columns), truth=pa.table(truth))

    def _random(self, purpose: str) -> Stream:
        return stream(self.seed, "registrations", purpose)

    def _visits(self, random: Stream) -> tuple[Ints, Ints]:
        """Return person and day of each registration, shuffled."""
        people = self.people
        times = random.geometric(1 / RECORDS_PER_PERSON, len(people))
        person = np.repeat(np.arange(len(people)), times)
        person = np.resize(person, max(len(person), self.records))
        person = person[random.permutation(len(person))[: self.records]]
        born = np.maximum(people.birth_day[person].astype(np.int64), _START)
        when = born + (random.random(len(person)) * (_END - born)).astype(np.int64)
        # Who is born in these years is seen at once, under the mother's name.
        soon = (born > _START) & (random.random(len(person)) < 0.55)
        return person, np.where(soon, np.minimum(born + random.integers(0, 5, len(person)), _END), when)

    def _institutions(self, random: Stream) -> Ints:
        """Return where each registration happens: mostly at the few places that a household uses."""
        kinds = self.region.institutions.kinds
        places = np.flatnonzero(np.asarray(kinds) > 0)
        household = self.people.household[self.person].astype(np.int64)
        usual = mixed(household, random.integers(0, 3, self.records)).astype(np.uint64) % np.uint64(
            len(places)
        )
        anywhere = random.integers(0, len(places), self.records)
        return places[np.where(random.random(self.records) < 0.75, usual.astype(np.int64), anywhere)]

    # --- names -------------------------------------------------------------------------------------------

    def _names(self, random: Stream) -> Column:
        rates, count = self.rates, self.records
        name = picked(self.cast.name, self.person)
        codes = _codes_of(name)
        hanzi = (codes[:, 0] >= 0x3400) & ~self.newborn
        given = (np.arange(_NAME_WIDTH)[None, :] > 0) & (codes > 0)
        length = (codes > 0).sum(axis=1)
        place = 1 + (random.random(count) * np.maximum(length - 1, 1)).astype(np.int64)
        place = np.where(random.random(count) < 0.12, 0, np.minimum(place, np.maximum(length - 1, 0)))
        self._mistake(codes, place, hanzi & chances(random, np.full(count, rates.homophone)), _homophones())
        other = hanzi & (length > 1) & (place > 0) & (random.random(count) < rates.other_character)
        codes[other, place[other]] = random.choice(_given_characters(), int(other.sum()))
        swapped = hanzi & (length == 3) & (random.random(count) < rates.swapped_characters)
        codes[swapped, 1], codes[swapped, 2] = codes[swapped, 2], codes[swapped, 1]
        old = hanzi & (random.random(count) < rates.traditional)
        codes[old] = _traditional()[codes[old]]
        lost = ~_in_gbk()[np.minimum(codes, _CODES - 1)] & given
        lost &= (random.random(count) < rates.rare_lost)[:, None]
        codes[lost] = ord("?")
        name = _names_of(codes)
        name = self._dotted(name, random)
        name = self._in_pinyin(name, hanzi & (length <= 4), random)
        stretched = hanzi & (length == 2) & (random.random(count) < rates.stretched * 3)
        cut = joined(pc.utf8_slice_codeunits(name, 0, 1), pc.utf8_slice_codeunits(name, 1, 9), separator="  ")
        name = chosen(stretched, cut, name)
        return chosen(self.newborn, self._placeholders(random), name)

    def _mistake(self, codes: np.ndarray[Any, Any], place: Ints, where: Flags, table: Ints) -> None:
        rows = np.flatnonzero(where)
        now = codes[rows, place[rows]]
        then = table[now]
        codes[rows, place[rows]] = np.where(then > 0, then, now)

    def _dotted(self, name: Column, random: Stream) -> Column:
        dotted = pc.match_substring(name, DOT).to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(dotted)
        if not len(rows):
            return name
        forms = random.integers(0, len(_DOTS) + 1, len(rows))
        cut = random.random(len(rows)) < self.rates.dotted_cut
        marks = [*_DOTS, " "]
        made = [
            one.partition(DOT)[0] if short else one.replace(DOT, marks[form])
            for one, form, short in zip(
                picked(name, rows).to_pylist(), forms.tolist(), cut.tolist(), strict=True
            )
        ]
        return pc.replace_with_mask(name, pa.array(dotted), text(made))

    def _in_pinyin(self, name: Column, able: Flags, random: Stream) -> Column:
        hit = able & (random.random(self.records) < self.rates.pinyin)
        rows = np.flatnonzero(hit)
        styles = random.integers(0, 5, len(rows))
        made = [
            _pinyin(one, style)
            for one, style in zip(picked(name, rows).to_pylist(), styles.tolist(), strict=True)
        ]
        return pc.replace_with_mask(name, pa.array(hit), text(made)) if len(rows) else name

    def _placeholders(self, random: Stream) -> Column:
        """Return what newborns are called: after the mother; of twins the order is mostly told."""
        people, count = self.people, self.records
        mother = picked(self.cast.name, np.where(self.newborn, people.mother[self.person], -1))
        twin = self.cast.twin_of[self.person]
        elder = self.cast.is_twin[self.person] & (twin < 0)
        marked = self.cast.is_twin[self.person] & (random.random(count) >= self.rates.order_unmarked)
        order = np.where(marked, np.where(elder, 1, 2), 0)
        sex = people.sex[self.person] - 1
        style = random.integers(0, 3, count)
        words = text(
            [
                *("之子", "之女", "之大子", "之大女", "之小子", "之小女"),
                *("之婴", "之婴", "之婴A", "之婴A", "之婴B", "之婴B"),
                *("男婴", "女婴", "男婴1", "女婴1", "男婴2", "女婴2"),
            ]
        )
        return joined(mother, picked(words, np.where(self.newborn, style * 6 + order * 2 + sex, -1)))

    # --- numbers -----------------------------------------------------------------------------------------

    def _numbers(self, random: Stream) -> Column:
        rates, people, count = self.rates, self.people, self.records
        has = (people.document == Document.NUMBER)[self.person] & ~self.newborn
        owner = self.person.copy()
        mother = people.mother[self.person]
        young = (self.day - self.cast.birth[self.person] < 14 * _YEAR) & (mother >= 0)
        lent = young & (
            random.random(count)
            < np.where(self.newborn, rates.number_of_mother_newborn, rates.number_of_mother)
        )
        owner[lent] = mother[lent]
        spouse = people.spouse[self.person]
        card = ~lent & (spouse >= 0) & (random.random(count) < rates.number_of_spouse)
        owner[card] = spouse[card]
        told = (has | lent) & (random.random(count) >= np.where(lent, 0.0, rates.number_missing))
        number = self.cast.serial_bytes[owner].copy()
        lengths = np.full(count, 18)
        self._mistype(number, lengths, told & (random.random(count) < rates.number_mistyped), random)
        whole = lengths == 18
        old = whole & (self.cast.birth[owner] < _BEFORE_18_DIGITS)
        old &= random.random(count) < rates.number_of_15 * 2
        written = _cut(number, lengths)
        written = chosen(old, from_bytes(np.delete(number, (6, 7, 17), axis=1)), written)
        style = random.random(count)
        written = chosen(style < 0.02, pc.utf8_lower(written), written)
        spaced = joined(
            pc.utf8_slice_codeunits(written, 0, 6),
            pc.utf8_slice_codeunits(written, 6, 14),
            pc.utf8_slice_codeunits(written, 14, 18),
            separator=" ",
        )
        return blanked(chosen(whole & ~old & (style > 0.99), spaced, written), ~told)

    def _mistype(self, number: np.ndarray[Any, Any], lengths: Ints, hit: Flags, random: Stream) -> None:
        """Mistype numbers in place: one digit, two neighbours swapped, two digits, the last one lost."""
        rows = np.flatnonzero(hit)
        kind = random.random(len(rows))
        place = random.integers(0, 17, len(rows))
        digit = (number[rows, place] - 48 + random.integers(1, 10, len(rows))) % 10 + 48
        one = (kind < 0.65) | (kind >= 0.9)
        number[rows[one], place[one]] = digit[one]
        two = kind >= 0.9
        number[rows[two], (place[two] + 5) % 17] = 48 + random.integers(0, 10, int(two.sum()))
        swap = (kind >= 0.65) & (kind < 0.82)
        at, row = np.minimum(place[swap], 15), rows[swap]
        number[row, at], number[row, at + 1] = number[row, at + 1], number[row, at]
        lengths[rows[(kind >= 0.82) & (kind < 0.9)]] = 17

    def _documents(self, random: Stream) -> tuple[Column, Column]:
        people = self.people
        kind = picked(people.document_type, self.person)
        number = picked(people.document_number, self.person)
        renewed = (people.document == Document.PASSPORT)[self.person]
        renewed &= random.random(self.records) < self.rates.passport_renewed
        later = joined("XX8", pc.utf8_slice_codeunits(number, 3, 9))
        missing = random.random(self.records) < self.rates.number_missing
        return blanked(kind, missing), blanked(chosen(renewed, later, number), missing)

    def _local_numbers(self, random: Stream) -> Column:
        """Return the institution's number: its own for each patient; some are given a new one every time."""
        count = self.records
        key = mixed(self.person, self.institution) % np.uint64(100_000_000)
        other = mixed(np.arange(count), self.institution, 7) % np.uint64(100_000_000)
        value = np.where(random.random(count) < self.rates.local_renewed, other, key).astype(np.int64)
        return blanked(
            numbered("P", (value, 8), count=count), random.random(count) < self.rates.local_missing
        )

    # --- birth, sex --------------------------------------------------------------------------------------

    def _births(self, random: Stream) -> tuple[Ints, Flags]:
        rates, count = self.rates, self.records
        birth = self.cast.birth[self.person]
        digits = date_digits(birth)
        year, month, dom = digits // 10_000, digits // 100 % 100, digits % 100
        lot = random.random(count)
        swap = (lot < rates.birth_swapped * 30 / 12) & (dom <= 12)
        month, dom = np.where(swap, dom, month), np.where(swap, month, dom)
        first = (lot > 1 - rates.birth_first_january) & ~self.newborn
        month, dom = np.where(first, 1, month), np.where(first, 1, dom)
        wrong = (lot > 0.5) & (lot < 0.5 + rates.birth_digit) & ~self.newborn
        part = random.integers(0, 4, count)
        by = random.choice(np.array([-1, 1, -2, 2]), count)
        year = year + np.where(wrong & (part == 0), by, 0) + np.where(wrong & (part == 1), by * 10, 0)
        dom = np.where(wrong & (part == 2), np.clip(dom + by, 1, 28), dom)
        month = np.where(wrong & (part == 3), np.clip(month + by, 1, 12), month)
        start = (year - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (month - 1)
        made = start.astype("datetime64[D]").astype(np.int64) + np.minimum(dom, 28) - 1
        known = random.random(count) >= rates.birth_missing
        return np.where(swap | first | wrong, np.minimum(made, _END), birth), known

    def _sexes(self, random: Stream) -> Column:
        sex = self.people.sex[self.person].astype(np.int64)
        lot = random.random(self.records)
        sex = np.where(lot < self.rates.sex_wrong, 3 - sex, sex)
        missing = lot > 1 - self.rates.sex_missing
        return picked(text(["1", "2"]), np.where(missing, -1, sex - 1))

    # --- telephone and address ---------------------------------------------------------------------------

    def _phones(self, random: Stream) -> Column:
        rates, people, count = self.rates, self.people, self.records
        owner = np.where(self.newborn, people.mother[self.person], people.phone_owner[self.person])
        former = random.random(count) < rates.phone_former
        phone = phone_numbers(owner + np.where(former, len(people), 0))
        matrix = np.frombuffer(phone.buffers()[1 + 1], np.uint8)[: count * 11].reshape(count, 11).copy()
        wrong = np.flatnonzero(random.random(count) < rates.phone_mistyped)
        place = random.integers(3, 11, len(wrong))
        matrix[wrong, place] = (matrix[wrong, place] - 48 + random.integers(1, 10, len(wrong))) % 10 + 48
        phone = from_bytes(matrix)
        style = random.random(count)
        dashed = joined(
            pc.utf8_slice_codeunits(phone, 0, 3),
            pc.utf8_slice_codeunits(phone, 3, 7),
            pc.utf8_slice_codeunits(phone, 7, 11),
            separator="-",
        )
        phone = chosen(style < 0.03, dashed, phone)
        phone = chosen(style > 0.98, joined("+86", phone), phone)
        desk = numbered("0990-8", (self.institution.astype(np.int64), 6), count=count)
        phone = chosen(random.random(count) < rates.phone_of_counter, desk, phone)
        return blanked(phone, random.random(count) < rates.phone_missing)

    def _addresses(self, random: Stream) -> Column:
        """Return addresses: where they live, or where they are registered, in the length that is usual."""
        people, count = self.people, self.records
        homes = len(people.address) // 2
        household = people.household[self.person].astype(np.int64)
        other = (household * 7_919 + 104_729) % homes  # a relative's, a former or the registered address
        elsewhere = random.random(count) < self.rates.address_other
        moved = self.day >= people.move_day[self.person]
        address = picked(people.address, np.where(elsewhere, other * 2, household * 2 + moved))
        style = Draw(np.array([0.4, 0.17, 0.13, 0.1, 0.08, 0.07, 0.05]))(random, 0, count)
        for number, (pattern, replacement) in enumerate(_SHORTER, start=1):
            rows = np.flatnonzero(style == number)
            made = pc.replace_substring_regex(picked(address, rows), pattern, replacement)
            address = pc.replace_with_mask(address, pa.array(style == number), made)
        return blanked(address, random.random(count) < self.rates.address_missing)


_SHORTER = (
    (r"^[^省]+省", ""),
    (r"^[^省]+省.+?市", ""),
    (r"^[^省]+省.+?市.+?(?:区|县|市)", ""),
    (r"\d+室$", ""),
    (r"(\d+)幢(\d+)单元(\d+)室", r"\1-\2-\3"),
    (r"^[^省]+省.+?市.+?(?:区|县|市)(.+?)(\d+)幢(\d+)单元(\d+)室", r"\1\2栋\3单元\4"),
)


def _codes_of(names: Column) -> np.ndarray[Any, Any]:
    """Return the code points of each name, 0 behind its end."""
    lengths = np.minimum(pc.utf8_length(names).to_numpy(zero_copy_only=False), _NAME_WIDTH)
    cut = pc.utf8_slice_codeunits(names, 0, _NAME_WIDTH)
    flat = np.frombuffer("".join(cut.to_pylist()).encode("utf-32-le"), dtype=np.uint32)
    codes = np.zeros((len(names), _NAME_WIDTH), dtype=np.uint32)
    codes[np.arange(_NAME_WIDTH)[None, :] < lengths[:, None]] = flat
    return codes


def _names_of(codes: np.ndarray[Any, Any]) -> Column:
    there = codes > 0
    sizes = np.select([codes < 0x80, codes < 0x800, codes < 0x10000], [1, 2, 3], 4) * there
    offsets = np.zeros(len(codes) + 1, dtype=np.int32)
    np.cumsum(sizes.sum(axis=1), out=offsets[1:])
    data = codes[there].tobytes().decode("utf-32-le").encode()
    return pa.StringArray.from_buffers(len(codes), pa.py_buffer(offsets), pa.py_buffer(data))


def _cut(number: np.ndarray[Any, Any], lengths: Ints) -> Column:
    return chosen(lengths == 18, from_bytes(number), from_bytes(np.ascontiguousarray(number[:, :17])))


@cache
def _homophones() -> Ints:
    table = np.zeros(_CODES, dtype=np.uint32)
    for pair in tables.values("names")["homophones"]["pairs"].split():
        for one, other in (pair, pair[::-1]):
            if not table[ord(one)]:
                table[ord(one)] = ord(other)
    return table


@cache
def _traditional() -> Ints:
    table = np.arange(_CODES, dtype=np.uint32)
    for one, other in tables.values("names")["variants"]["pairs"].split():
        table[ord(one)] = ord(other)
    return table


@cache
def _given_characters() -> Ints:
    generations = tables.values("names")["generation"]
    found = sorted({one for generation in generations for one in generation["men"] + generation["women"]})
    return np.array([ord(one) for one in found], dtype=np.uint32)


@cache
def _in_gbk() -> Flags:
    """Return which code points the old code page holds, of those that occur in names."""
    held = np.ones(_CODES, dtype=bool)
    rare = tables.values("names")["rare"]
    for one in rare["men"] + rare["women"]:
        held[ord(one)] = bool(one.encode("gbk", errors="ignore"))
    return held


@cache
def _readings() -> dict[str, str]:
    return {row["character"]: row["reading"] for row in tables.rows("pinyin")}


_SURNAME_READINGS = {
    "曾": "zeng",
    "单": "shan",
    "仇": "qiu",
    "解": "xie",
    "区": "ou",
    "查": "zha",
    "朴": "piao",
}
_SURNAME_READINGS |= {
    "盖": "ge",
    "种": "chong",
    "折": "she",
    "缪": "miao",
    "覃": "qin",
    "翟": "zhai",
    "尉迟": "yuchi",
}


def _pinyin(name: str, style: int) -> str:
    """Return the name as a passport or a foreign system has it; people read surnames rightly."""
    length = 2 if name[:2] in _COMPOUND else 1
    surname, given = name[:length], name[length:]
    read = _readings()
    own = _SURNAME_READINGS.get(surname) or "".join(read.get(one, "") for one in surname)
    others = [read.get(one, "") for one in given]
    match style:
        case 0:
            return f"{own} {''.join(others)}".upper()
        case 1:
            return f"{''.join(others)} {own}".title()
        case 2:
            return " ".join([own, *others]).upper()
        case 3:
            return f"{own}{''.join(others)}"
        case _:
            return f"{own.upper()}, {''.join(others).title()}"
