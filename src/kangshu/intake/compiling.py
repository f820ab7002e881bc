"""Turn a declaration and a file's columns into what is asked of each cell and of each row; pure.

A cell is judged by its column's plan (`columns`). A row is judged by the declared rules: SQL predicates
that valid rows meet, put together into as few statements as can be made once and used for every file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import pyarrow as pa

from kangshu.declarations import (
    Dataset,
    Field,
    FieldType,
    Obligation,
    Pack,
    Role,
    Rule,
    Scope,
)
from kangshu.intake.columns import ColumnPlan
from kangshu.intake.recognition import Column, Recognition
from kangshu.lake import lake_schema

# Identifying columns whose values together are one claim about who a row belongs to. A patient's local
# number means nothing without the institution that gave it.
CLAIM_ROLES = (
    Role.INSTITUTION,
    Role.RESIDENT_NUMBER,
    Role.DOCUMENT_TYPE,
    Role.DOCUMENT_NUMBER,
    Role.LOCAL_NUMBER,
    Role.NAME,
    Role.SEX,
    Role.BIRTH_DATE,
    Role.PHONE,
)

_WORD = re.compile(r"[A-Za-z_]\w*")
_FUNCTION = re.compile(r"\bCREATE\s+(?:OR\s+REPLACE\s+)?(?:TEMP\w*\s+)?(?:MACRO|FUNCTION)\s+(\w+)", re.I)


@dataclass(frozen=True, kw_only=True)
class CheckPlan:
    """What is asked of a recognised file: its columns' plans, and the rules of its data set by severity."""

    recognition: Recognition
    schema: pa.Schema
    columns: tuple[ColumnPlan, ...]
    unique: tuple[Rule, ...]

    @property
    def dataset(self) -> Dataset:
        """The file's data set."""
        return self.recognition.dataset


@dataclass(frozen=True, kw_only=True)
class RuleQuery:
    """One statement that asks rules of every row of the table `batch`, which has the columns `fields`.

    It answers `extra` and, for each rule, a column of its id: false where the row breaks it. `sql` fails
    where a rule cannot be computed, as by an overflow; `careful_sql` is slower and counts such a row as
    breaking the rule. What a `momentary` one says depends on when the file arrived, so it cannot be
    prepared for good.
    """

    rules: tuple[Rule, ...]
    fields: tuple[Field, ...]
    extra: tuple[str, ...] = ()
    momentary: bool = False

    @property
    def sql(self) -> str:
        """The statement."""
        return self._select("({})")

    @property
    def careful_sql(self) -> str:
        """The statement for rows that `sql` cannot be computed for.

        What two rules share DuckDB takes out and computes once, even out of TRY (seen in 1.5.6), where
        nothing holds its failure back; it takes nothing out of CASE.
        """
        return self._select("coalesce(TRY((CASE WHEN _row IS NOT NULL THEN ({}) END) IS NOT FALSE), false)")

    def _select(self, form: str) -> str:
        answers = (f"{form.format(rule.sql)} AS {_quote(rule.id)}" for rule in self.rules)
        return f"SELECT {', '.join([*self.extra, *answers])} FROM batch"


@dataclass(frozen=True, kw_only=True)
class RuleQueries:
    """The statements for a data set's rows.

    `rows` answers `_row`, `_claim` (a hash of who the row is about), `_unique0` ... (a hash for each rule
    that wants values to be unique) and most rules. `persons` asks what depends on nothing but the claim,
    once for each different claim; `momentary` what depends on when the file arrived.
    """

    rows: RuleQuery
    persons: RuleQuery
    momentary: RuleQuery


def compile_plan(*, recognition: Recognition, pack: Pack, allowed: Sequence[str] | None) -> CheckPlan:
    """Return the plan for files with these columns.

    `allowed` holds the institution codes that the sender may report for; None allows every one.
    """
    dataset = recognition.dataset
    schema = lake_schema(dataset)
    # The directory's own data sets name other institutions; that is what they are for.
    permitted = None if allowed is None or dataset.category == "directory" else frozenset(allowed)
    members = _members(recognition, pack)
    return CheckPlan(
        recognition=recognition,
        schema=schema,
        columns=tuple(_column_plan(one, dataset, members, permitted, schema) for one in recognition.columns),
        unique=unique_rules(dataset),
    )


def unique_rules(dataset: Dataset) -> tuple[Rule, ...]:
    """Return the rules that want values to occur once in a file."""
    return tuple(rule for rule in dataset.rules if rule.unique and rule.scope is Scope.FILE)


def row_rules(dataset: Dataset) -> tuple[Rule, ...]:
    """Return the rules that look at one row alone."""
    return tuple(rule for rule in dataset.rules if rule.sql and rule.scope is Scope.ROW)


def rule_counts_sql(*, dataset: Dataset, source: str) -> str:
    """Return the statement that counts for each rule about one row the typed rows of `source` that break it.

    `source` is what may stand after FROM; the connection knows the pack's functions. The verdicts are taken
    first and counted then: what several rules ask is computed once.
    """
    rules = row_rules(dataset)
    counts = (f"count(*) FILTER (WHERE NOT {_quote(rule.id)}) AS {_quote(rule.id)}" for rule in rules)
    verdicts = (f"({rule.sql}) AS {_quote(rule.id)}" for rule in rules)
    return f"SELECT {', '.join(counts)} FROM (SELECT {', '.join(verdicts)} FROM {source})"


def compile_rules(*, dataset: Dataset, functions: str) -> RuleQueries:
    """Return the statements for the rows of `dataset`; `functions` define what its rules may call."""
    claim = [field for role in CLAIM_ROLES if (field := dataset.with_role(role))]
    unique = unique_rules(dataset)
    moment = _momentary_functions(functions)
    kinds: dict[str, list[Rule]] = {"rows": [], "persons": [], "momentary": []}
    for rule in row_rules(dataset):
        words = _words(rule.sql)
        mentioned = {field.name for field in dataset.fields if field.name in words}
        about_claim = mentioned and mentioned <= {field.name for field in claim}
        kinds["momentary" if words & moment else "persons" if about_claim else "rows"].append(rule)
    extra = (
        "_row",
        f"{_hash(claim)} AS _claim",
        *(f"{_unique_hash(rule, dataset)} AS _unique{n}" for n, rule in enumerate(unique)),
    )
    hashed = {field.name for field in claim} | {name for rule in unique for name in rule.unique}
    return RuleQueries(
        rows=_query(dataset, kinds["rows"], also=hashed, extra=extra),
        persons=_query(dataset, kinds["persons"]),
        momentary=_query(dataset, kinds["momentary"], momentary=True),
    )


def _query(
    dataset: Dataset,
    rules: Sequence[Rule],
    *,
    also: set[str] | None = None,
    extra: tuple[str, ...] = (),
    momentary: bool = False,
) -> RuleQuery:
    words = (also or set[str]()).union(*(_words(rule.sql) for rule in rules))
    return RuleQuery(
        rules=tuple(rules),
        # A word that is no column, as in a text, brings in a column too many: never one too few.
        fields=tuple(field for field in dataset.fields if field.name in words),
        extra=extra,
        momentary=momentary,
    )


def _words(sql: str) -> set[str]:
    return {word.casefold() for word in _WORD.findall(sql)}


def _momentary_functions(functions: str) -> set[str]:
    """Return the functions whose value depends on the variable that tells when the file arrived.

    DuckDB puts a variable's value into a prepared statement when it is made, not when it is run.
    """
    starts = [*_FUNCTION.finditer(functions)]
    ends = [*(match.start() for match in starts[1:]), len(functions)]
    bodies = {
        match[1].casefold(): _words(functions[match.end() : end])
        for match, end in zip(starts, ends, strict=True)
    }
    found = {"getvariable"}
    while fresh := {name for name, words in bodies.items() if name not in found and words & found}:
        found |= fresh
    return found


def _members(recognition: Recognition, pack: Pack) -> dict[str, frozenset[str]]:
    """Return the codes of the tables that the columns name. An incomplete table refuses nothing."""
    names = {column.field.value_set for column in recognition.columns if column.field.value_set}
    tables = (pack.codes[name] for name in names)
    return {table.name: frozenset(code.code for code in table.codes) for table in tables if table.complete}


def _column_plan(
    column: Column,
    dataset: Dataset,
    members_of: Mapping[str, frozenset[str]],
    allowed: frozenset[str] | None,
    schema: pa.Schema,
) -> ColumnPlan:
    field = column.field
    members = members_of.get(field.value_set) if field.value_set else None
    sized = field.type in (FieldType.STRING, FieldType.INTEGER) and members is None
    is_sender = field.role is Role.INSTITUTION and dataset.category != "directory"
    kind = schema.field(field.name).type
    return ColumnPlan(
        position=column.position,
        field=field,
        kind=kind.value_type if field.repeat > 1 else kind,
        repeat=column.repeat,
        required=field.obligation is Obligation.REQUIRED and column.repeat == 1,
        # Every row has a sender: a mark of "none" in its place is a wrong code.
        marks=frozenset() if is_sender else frozenset(dataset.absent_marks),
        size=field.length if sized else None,
        exact=field.exact_length,
        members=members,
        allowed=allowed if is_sender else None,
        pattern=re.compile(field.pattern, re.ASCII) if field.pattern else None,
        **_bounds(field),
    )


def _bounds(field: Field) -> Mapping[str, int | None]:
    """Return the least and the greatest value in the units in which the field is held."""
    if field.type not in (FieldType.INTEGER, FieldType.DECIMAL):
        return {}
    scale = (field.scale or 0) if field.type is FieldType.DECIMAL else 0
    low, high = (_units(bound, scale) for bound in (field.minimum, field.maximum))
    return {
        "lowest": None if low is None else int(low.to_integral_value(ROUND_CEILING)),
        "highest": None if high is None else int(high.to_integral_value(ROUND_FLOOR)),
    }


def _units(bound: float | None, scale: int) -> Decimal | None:
    return None if bound is None else Decimal(str(bound)).scaleb(scale)


def _hash(fields: Sequence[Field]) -> str:
    return _digest([_quote(field.name) for field in fields]) if fields else "0::UBIGINT"


def _digest(values: Sequence[str]) -> str:
    """Half an MD5 of values together, a null told from every text.

    DuckDB's own `hash` will not do: of numbers built alike (`DI20260122000002-01`,
    `DI20260622000005-01`) one in ten shares its hash with another (seen in 1.5.6).
    """
    parts = ", ".join(f"coalesce({value}::VARCHAR, chr(30))" for value in values)
    return f"md5_number_lower(concat_ws(chr(31), {parts}))"


def _unique_hash(rule: Rule, dataset: Dataset) -> str:
    """A key with an empty part, or one that states "none", is nobody's double: its row stands for it."""
    marks = ", ".join(_literal(mark) for mark in dataset.absent_marks)
    missing: list[str] = []
    for name in rule.unique:
        missing.append(f"{_quote(name)} IS NULL")
        if marks and dataset.field(name).type is FieldType.STRING:
            missing.append(f"{_quote(name)} IN ({marks})")
    key = _digest([_quote(name) for name in rule.unique])
    return f"CASE WHEN {' OR '.join(missing)} THEN {_digest(['_row'])} ELSE {key} END"


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
