"""Put errors into blocks, at each institution's rate, and keep a record of every one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa

from kangshu.declarations import (
    Dataset,
    Dimension,
    Field,
    FieldType,
    Obligation,
    Pack,
    Role,
    Rule,
    Scope,
    Severity,
)
from kangshu.simulation import tables
from kangshu.simulation.blocks import Block, local_numbers
from kangshu.simulation.columns import as_text, pc, replaced
from kangshu.simulation.errors import KINDS, MIDDLE_DOTS, SYSTEMATIC, ErrorKind, Outcome
from kangshu.simulation.names import DOT
from kangshu.simulation.numbers import date_digits
from kangshu.simulation.population import Population
from kangshu.simulation.streams import Draw, Flags, Floats, Ints, Stream

# The pair of times that must not be out of order: the first is set a day behind the second.
_TIMES = {
    "front_page": ("admitted_at", "discharged_at"),
    "lab_report": ("collected_at", "reported_at"),
    "exam_report": ("examined_at", "reported_at"),
    "death": ("died_at", "reported_on"),
    "birth": ("born_at", "issued_on"),
}
_SUMS = {"front_page": "total_cost", "prescription_item": "amount", "charge_item": "amount"}
_BAD_DATES = ("20240230", "2026-02-29", "2026-13-01", "0000-00-00", "2026-06-31")
_BAD_NUMBERS = ("1e999", "12,5", "N/A", "--", "十二")
_BAD_CODES = ("7Z", "X9", "其他", "?")
# The number by which a row finds its visit or report, where nobody misses the row that does not.
_LINKS = {
    "prescription_item": "visit_number",
    "exam_report": "visit_number",
    "lab_report": "visit_number",
    "operation": "visit_number",
    "lab_result": "report_number",
}
_LOST_MARK = "7"  # behind the letter of a number: no number of ours has it there
_DAY = 86_400


@dataclass(frozen=True, kw_only=True)
class Injected:
    """Errors in a block, in the order of its rows."""

    rows: Ints
    fields: list[str]
    kinds: list[str]
    rules: list[str]
    outcomes: list[str]

    @classmethod
    def together(cls, parts: list[Injected]) -> Injected:
        """Return the errors of all parts by row."""
        rows = np.concatenate([part.rows for part in parts]) if parts else np.empty(0, np.int64)
        order = np.argsort(rows, kind="stable")

        def merged(name: str) -> list[str]:
            values = [value for part in parts for value in getattr(part, name)]
            return [values[place] for place in order]

        return cls(
            rows=rows[order],
            fields=merged("fields"),
            kinds=merged("kinds"),
            rules=merged("rules"),
            outcomes=merged("outcomes"),
        )


@dataclass(frozen=True, kw_only=True)
class Faulty:
    """A block with its errors; `ragged` are the rows that get a cell too many or too few."""

    block: Block
    errors: Injected
    ragged: Ints


def rule_for(dataset: Dataset, about: str) -> tuple[str, Severity] | None:
    """Return id and severity of the declared rule that finds errors of the sort `about`, if one does."""
    for rule in dataset.rules:
        if about == "unique" and rule.unique:
            return rule.id, rule.severity
        if about == "check-digit" and "resident_number_valid(resident_number)" in rule.sql:
            return rule.id, rule.severity
        if about == "sex" and "agrees_with_sex(resident_number" in rule.sql:
            return rule.id, rule.severity
        if about == "birth" and "agrees_with_birth(resident_number" in rule.sql:
            return rule.id, rule.severity
        if about == "times" and set(rule.fields) == set(_TIMES.get(dataset.name, ())) and rule.sql:
            return rule.id, rule.severity
        if about == "linkage" and _finds_orphans(rule, dataset):
            return rule.id, rule.severity
        if about == "sum" and _SUMS.get(dataset.name) in rule.fields and len(rule.fields) != 2:
            return rule.id, rule.severity
    return None


def _finds_orphans(rule: Rule, dataset: Dataset) -> bool:
    link = _LINKS.get(dataset.name)
    return rule.scope is Scope.REGION and rule.dimension is Dimension.LINKAGE and rule.fields == (link,)


def inject(
    *,
    block: Block,
    pack: Pack,
    population: Population,
    random: Stream,
    rates: Floats,
    dots: Ints,
    legacy: Flags,
    ragged_ok: Flags,
) -> Faulty:
    """Return `block` with errors.

    By institution, `rates` gives errors per row, `dots` the form of the middle dot in names (a number
    in `MIDDLE_DOTS`), `legacy` whether its system loses characters outside GBK and `ragged_ok`
    whether its files can hold a row with too many cells.
    """
    dataset = pack.datasets[block.dataset]
    hit = random.random(len(block), dtype=np.float32) < rates[block.institutions]
    work = _Work(block, dataset, pack, population, random)
    if dataset.with_role(Role.NAME):
        hit[work.systematic(dots, legacy)] = False
    hit = np.flatnonzero(hit)
    kinds = [kind for kind in KINDS if _applies(kind, dataset)]
    drawn = Draw(np.array([kind.share for kind in kinds]))(random, 0, len(hit)) if len(hit) else hit
    repeated = np.empty(0, np.int64)
    ragged = np.empty(0, np.int64)
    for number, kind in enumerate(kinds):
        rows = hit[drawn == number]
        if not len(rows):
            continue
        if kind.name == "duplicate-row":
            repeated = rows
        elif kind.name == "ragged-row":
            ragged = rows[ragged_ok[block.institutions[rows]]]
        else:
            work.apply(kind, rows)
    return _with_repeats(work, repeated, ragged)


def _applies(kind: ErrorKind, dataset: Dataset) -> bool:
    if kind.found_by in ("required", "domain", "type", "length", "ragged"):
        return True
    if kind.found_by in ("times", "sum", "unique", "linkage"):
        return rule_for(dataset, kind.found_by) is not None
    return dataset.with_role(Role.RESIDENT_NUMBER) is not None


def _with_repeats(work: _Work, repeated: Ints, ragged: Ints) -> Faulty:
    """Return the block with the rows `repeated` a second time, each behind the first."""
    block = Block(
        dataset=work.block.dataset,
        columns=work.columns,
        institutions=work.block.institutions,
        persons=work.block.persons,
        days=work.block.days,
    )
    rule = rule_for(work.dataset, "unique")
    outcome = Outcome.REJECTED if rule and rule[1] is Severity.ERROR else Outcome.WARNED
    wrong = np.unique(np.concatenate([part.rows for part in work.errors])) if work.errors else ragged
    repeated = np.setdiff1d(repeated, wrong)
    counts = np.ones(len(block), dtype=np.int64)
    counts[repeated] = 2
    errors = Injected.together(work.errors)
    if not len(repeated):
        return Faulty(block=block, errors=_and_ragged(errors, ragged), ragged=ragged)
    moved = np.cumsum(counts) - counts  # where each row stands now
    errors = Injected.together(
        [
            Injected(
                rows=moved[errors.rows],
                fields=errors.fields,
                kinds=errors.kinds,
                rules=errors.rules,
                outcomes=errors.outcomes,
            ),
            _same(moved[repeated] + 1, "", "duplicate-row", rule[0] if rule else "", outcome),
        ]
    )
    ragged = moved[ragged]
    return Faulty(
        block=block.taken(np.repeat(np.arange(len(block)), counts)),
        errors=_and_ragged(errors, ragged),
        ragged=ragged,
    )


def _same(rows: Ints, field: str, kind: str, rule: str, outcome: Outcome) -> Injected:
    count = len(rows)
    return Injected(
        rows=np.asarray(rows),
        fields=[field] * count,
        kinds=[kind] * count,
        rules=[rule] * count,
        outcomes=[outcome.value] * count,
    )


def _and_ragged(errors: Injected, ragged: Ints) -> Injected:
    return Injected.together([errors, _same(ragged, "", "ragged-row", "ragged", Outcome.REJECTED)])


class _Work:
    """A block whose columns are being made wrong."""

    def __init__(
        self, block: Block, dataset: Dataset, pack: Pack, population: Population, random: Stream
    ) -> None:
        self.block = block
        self.dataset = dataset
        self.pack = pack
        self.population = population
        self.random = random
        self.columns = dict(block.columns)
        self.errors: list[Injected] = []
        local = dataset.with_role(Role.LOCAL_NUMBER)
        self.local = local.name if local else ""

    def systematic(self, dots: Ints, legacy: Flags) -> Ints:
        """Write names as the sending systems do; return the rows whose name came out another."""
        persons = np.maximum(self.block.persons, 0)
        institutions = self.block.institutions
        dotted = np.flatnonzero(self.population.dotted[persons] & (dots[institutions] > 0))
        rare = np.flatnonzero(self.population.rare[persons] & legacy[institutions])
        for kind, rows in zip(SYSTEMATIC, (dotted, rare), strict=False):
            rows, names = self._names(rows)
            if kind.name == "middle-dot":
                forms = [MIDDLE_DOTS[number] for number in dots[institutions[rows]]]
                written = [name.replace(DOT, form) for name, form in zip(names, forms, strict=True)]
            else:
                written = [name.encode("gbk", errors="replace").decode("gbk") for name in names]
            kept = [place for place, name in enumerate(names) if written[place] != name]
            self._set(kind, rows[kept], "patient_name", [written[place] for place in kept])
        return np.union1d(dotted, rare)

    def apply(self, kind: ErrorKind, rows: Ints) -> None:
        """Put errors of `kind` into `rows`, as far as they have what it takes."""
        step = {
            "missing-required": self._missing,
            "wrong-code": self._wrong_code,
            "invalid-date": self._invalid_date,
            "invalid-number": self._invalid_number,
            "too-long": self._too_long,
            "check-digit": self._check_digit,
            "sex-contradiction": self._sex,
            "birth-contradiction": self._birth,
            "times-out-of-order": self._times,
            "sum-wrong": self._sum,
            "name-homophone": self._homophone,
            "name-variant": self._variant,
            "name-spaced": self._spaced,
            "old-number": self._old_number,
            "missing-number": self._missing_number,
            "other-number": self._other_number,
            "mother-number": self._mother_number,
            "local-number-reused": self._local_number,
            "orphan": self._orphan,
        }[kind.name]
        step(kind, rows)

    def _set(self, kind: ErrorKind, rows: Ints, field: str, values: list[str | None]) -> None:
        if not len(rows) or field not in self.columns:
            return
        self.columns[field] = replaced(self.columns[field], rows, values)
        rule, outcome = self._found(kind)
        self.errors.append(_same(rows, field.split("__")[0], kind.name, rule, outcome))

    def _found(self, kind: ErrorKind) -> tuple[str, Outcome]:
        if kind.found_by in ("required", "domain", "type", "length"):
            return kind.found_by, Outcome.REJECTED
        rule = rule_for(self.dataset, kind.found_by) if kind.found_by else None
        if rule is None:
            return "", kind.otherwise
        if rule[1] is Severity.ERROR and kind.found_by != "linkage":  # that is seen only in the lake
            return rule[0], Outcome.REJECTED
        return rule[0], Outcome.WARNED if kind.otherwise is Outcome.ACCEPTED else kind.otherwise

    def _over_fields(self, rows: Ints, fields: list[Field]) -> list[tuple[Field, Ints]]:
        """Deal `rows` out over those of `fields` that the block has."""
        fields = [field for field in fields if field.repeat == 1 and field.name in self.columns]
        if not fields:
            return []
        which = self.random.integers(0, len(fields), len(rows))
        return [(field, rows[which == number]) for number, field in enumerate(fields)]

    def _filled(self, rows: Ints, field: str) -> Ints:
        """Return those of `rows` that have something in `field` besides a mark of "none"."""
        values = pc.take(self.block.columns[field], pa.array(rows))
        filled = pc.is_valid(values)
        if pa.types.is_string(values.type):
            filled = pc.and_kleene(filled, pc.not_equal(values, "-"))
        return rows[pc.fill_null(filled, False).to_numpy(zero_copy_only=False)]

    def _missing(self, kind: ErrorKind, rows: Ints) -> None:
        keep = {Role.INSTITUTION}
        required = [
            field
            for field in self.dataset.fields
            if field.obligation is Obligation.REQUIRED and field.role not in keep
        ]
        for field, own in self._over_fields(rows, required):
            self._set(kind, own, field.name, [None] * len(own))

    def _wrong_code(self, kind: ErrorKind, rows: Ints) -> None:
        coded = [
            field
            for field in self.dataset.fields
            if field.value_set
            and self.pack.codes[field.value_set].complete
            and field.role is not Role.DOCUMENT_TYPE
        ]
        for field, own in self._over_fields(rows, coded):
            assert field.value_set
            known = self.pack.codes[field.value_set].titles()
            wrong = [code for code in _BAD_CODES if code not in known]
            self._set(kind, own, field.name, self._one_of(wrong, len(own)))

    def _one_of(self, values: list[str] | tuple[str, ...], count: int) -> list[str | None]:
        return [values[number] for number in self.random.integers(0, len(values), count)]

    def _invalid_date(self, kind: ErrorKind, rows: Ints) -> None:
        dates = [field for field in self.dataset.fields if field.type in (FieldType.DATE, FieldType.DATETIME)]
        for field, own in self._over_fields(rows, dates):
            self._set(kind, own, field.name, self._one_of(_BAD_DATES, len(own)))

    def _invalid_number(self, kind: ErrorKind, rows: Ints) -> None:
        numbers = [
            field for field in self.dataset.fields if field.type in (FieldType.INTEGER, FieldType.DECIMAL)
        ]
        for field, own in self._over_fields(rows, numbers):
            self._set(kind, own, field.name, self._one_of(_BAD_NUMBERS, len(own)))

    def _too_long(self, kind: ErrorKind, rows: Ints) -> None:
        short = [
            field
            for field in self.dataset.fields
            if field.type is FieldType.STRING
            and field.length
            and field.length <= 200
            and not field.value_set
            and not field.exact_length
            and field.role in (None, Role.PHONE, Role.ADDRESS, Role.ITEM)
        ]
        for field, own in self._over_fields(rows, short):
            self._set(kind, own, field.name, ["长" * ((field.length or 0) + 1)] * len(own))

    def _numbers(self, rows: Ints) -> tuple[Ints, list[str]]:
        """Return those of `rows` with an 18-place resident number, and the numbers."""
        rows = self._filled(rows, "resident_number")
        numbers = pc.take(self.block.columns["resident_number"], pa.array(rows)).to_pylist()
        kept = [place for place, number in enumerate(numbers) if len(number) == 18]
        return rows[kept], [numbers[place] for place in kept]

    def _check_digit(self, kind: ErrorKind, rows: Ints) -> None:
        rows, numbers = self._numbers(rows)
        wrong = [
            number[:17] + ("4" if number[17] == "X" else str((int(number[17]) + 3) % 10))
            for number in numbers
        ]
        self._set(kind, rows, "resident_number", list(wrong))

    def _sex(self, kind: ErrorKind, rows: Ints) -> None:
        rows, numbers = self._numbers(rows)
        self._set(kind, rows, "sex", ["2" if int(number[16]) % 2 else "1" for number in numbers])

    def _birth(self, kind: ErrorKind, rows: Ints) -> None:
        rows, numbers = self._numbers(rows)
        # ten days earlier or later within the month: always a day that exists
        days = [(int(number[12:14]) + 9) % 28 + 1 for number in numbers]
        values = [f"{n[6:10]}-{n[10:12]}-{day:02d}" for n, day in zip(numbers, days, strict=True)]
        changed = [place for place, n in enumerate(numbers) if values[place][8:] != n[12:14]]
        self._set(kind, rows[changed], "birth_date", [values[place] for place in changed])

    def _times(self, kind: ErrorKind, rows: Ints) -> None:
        early, late = _TIMES[self.dataset.name]
        rows = self._filled(self._filled(rows, early), late)
        if pa.types.is_date32(self.block.columns[late].type):
            first = pc.take(self.block.columns[early], pa.array(rows)).cast(pa.int64()).to_numpy() // _DAY
            self._set(kind, rows, late, _dates(first - 2))
        else:
            second = pc.take(self.block.columns[late], pa.array(rows)).cast(pa.int64()).to_numpy()
            self._set(kind, rows, early, _moments(second + _DAY))

    def _sum(self, kind: ErrorKind, rows: Ints) -> None:
        field = _SUMS[self.dataset.name]
        amounts = as_text(pc.take(self.block.columns[field], pa.array(rows))).to_pylist()
        factor = 0.1 if self.dataset.name == "front_page" else 10
        kept = [place for place, amount in enumerate(amounts) if amount and _is_amount(amount)]
        self._set(kind, rows[kept], field, [f"{float(amounts[place]) * factor:.2f}" for place in kept])

    def _names(self, rows: Ints) -> tuple[Ints, list[str]]:
        rows = self._filled(rows, "patient_name")
        return rows, pc.take(self.block.columns["patient_name"], pa.array(rows)).to_pylist()

    def _renamed(self, kind: ErrorKind, rows: Ints, table: dict[int, str]) -> None:
        rows, names = self._names(rows)
        changed = [name.translate(table) for name in names]
        kept = [place for place, name in enumerate(names) if changed[place] != name]
        self._set(kind, rows[kept], "patient_name", [changed[place] for place in kept])

    def _homophone(self, kind: ErrorKind, rows: Ints) -> None:
        self._renamed(kind, rows, _pairs("homophones"))

    def _variant(self, kind: ErrorKind, rows: Ints) -> None:
        self._renamed(kind, rows, _pairs("variants"))

    def _spaced(self, kind: ErrorKind, rows: Ints) -> None:
        rows, names = self._names(rows)
        kept = [place for place, name in enumerate(names) if len(name) == 2]
        self._set(
            kind, rows[kept], "patient_name", [f"{names[place][0]} {names[place][1]}" for place in kept]
        )

    def _old_number(self, kind: ErrorKind, rows: Ints) -> None:
        rows, numbers = self._numbers(rows)
        kept = [place for place, number in enumerate(numbers) if number[6:8] == "19"]
        self._set(
            kind, rows[kept], "resident_number", [numbers[place][:6] + numbers[place][8:17] for place in kept]
        )

    def _missing_number(self, kind: ErrorKind, rows: Ints) -> None:
        rows, _ = self._numbers(rows)
        required = self.dataset.field("resident_number").obligation is Obligation.REQUIRED
        self._set(kind, rows, "resident_number", ["-" if required else None] * len(rows))

    def _other_number(self, kind: ErrorKind, rows: Ints) -> None:
        rows, numbers = self._numbers(rows)
        others = self.random.integers(0, self.population.residents, len(rows))
        found = pc.take(self.population.number, pa.array(others)).to_pylist()
        kept = [
            place for place, number in enumerate(found) if number and number[6:14] != numbers[place][6:14]
        ]
        self._set(kind, rows[kept], "resident_number", [found[place] for place in kept])

    def _mother_number(self, kind: ErrorKind, rows: Ints) -> None:
        persons = self.block.persons[rows]
        mothers = self.population.mother[persons]
        young = (mothers >= 0) & (self.population.birth_day[persons] > self.population.start - 14 * 365)
        rows, mothers = rows[young], mothers[young]
        found = pc.take(self.population.number, pa.array(mothers)).to_pylist()
        kept = [place for place, number in enumerate(found) if number]
        self._set(kind, rows[kept], "resident_number", [found[place] for place in kept])

    def _orphan(self, kind: ErrorKind, rows: Ints) -> None:
        field = _LINKS[self.dataset.name]
        rows = self._filled(rows, field)
        numbers = pc.take(self.block.columns[field], pa.array(rows)).to_pylist()
        self._set(kind, rows, field, [f"{number[:1]}{_LOST_MARK}{number[1:]}" for number in numbers])

    def _local_number(self, kind: ErrorKind, rows: Ints) -> None:
        if not self.local:
            return
        others = self.random.integers(0, self.population.residents, len(rows))
        differs = others != self.block.persons[rows]
        rows, others = rows[differs], others[differs]
        numbers = local_numbers(self.block.institutions[rows], others).to_pylist()
        self._set(kind, rows, self.local, numbers)


def _dates(days: Ints) -> list[str | None]:
    return [f"{n // 10_000:04d}-{n // 100 % 100:02d}-{n % 100:02d}" for n in date_digits(days).tolist()]


def _moments(seconds: Ints) -> list[str | None]:
    return as_text(pa.array(seconds).view(pa.timestamp("s"))).to_pylist()


def _is_amount(value: str) -> bool:
    return value.replace(".", "", 1).isdigit()


@cache
def _pairs(name: str) -> dict[int, str]:
    return {ord(pair[0]): pair[1] for pair in tables.values("names")[name]["pairs"].split() if len(pair) == 2}
