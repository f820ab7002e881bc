"""Turn a declaration and a file's columns into the SQL that types and checks its rows; pure.

Every check is a predicate that valid rows meet, so one expression over all of them says whether a
row is good. Which checks a bad row fails is asked in a second statement, for bad rows only: most
rows are good, and the first statement is the hot one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from kangshu.declarations import (
    CodeTable,
    Dataset,
    Field,
    FieldType,
    Obligation,
    Pack,
    Role,
    Rule,
    Scope,
    Severity,
    duckdb_type,
)
from kangshu.intake.recognition import Column, Recognition

CheckKind = Literal[
    "required", "type", "length", "exact_length", "domain", "range", "pattern", "institution", "rule"
]

_LONG_SET = 24  # arbitrary: a longer code list is looked up as an enumeration, a shorter one compared
_MOST_WARNINGS = 62  # the warnings of a row travel as the bits of one 64-bit number

_DATE_FORMS = "['%Y%m%d', '%Y/%m/%d', '%Y.%m.%d', '%Y年%m月%d日']"
_TIME_FORMS = (
    "['%Y%m%d%H%M%S', '%Y/%m/%d %H:%M:%S', '%Y/%m/%d %H:%M', '%Y%m%d %H:%M:%S', '%Y%m%d%H%M', "
    "'%Y-%m-%d %H:%M', '%Y%m%d']"
)
# Identifying columns whose values together are one claim about who a row belongs to.
CLAIM_ROLES = (
    Role.RESIDENT_NUMBER,
    Role.DOCUMENT_TYPE,
    Role.DOCUMENT_NUMBER,
    Role.LOCAL_NUMBER,
    Role.NAME,
    Role.SEX,
    Role.BIRTH_DATE,
    Role.PHONE,
)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that is asked of every row: of the column at `position`, or by a rule."""

    kind: CheckKind
    predicate: str
    severity: Severity
    field: Field | None = None
    repeat: int = 1
    rule: Rule | None = None
    position: int = -1

    @property
    def code(self) -> str:
        """The name under which failures are counted: the rule's id or the kind of the field's check."""
        return self.rule.id if self.rule else self.kind

    @property
    def field_name(self) -> str:
        """The field that the failure is shown at."""
        if self.field:
            return self.field.name
        return self.rule.fields[0] if self.rule and self.rule.fields else ""


@dataclass(frozen=True, kw_only=True)
class CheckPlan:
    """The statements that check one batch, called `batch`, of a recognised file.

    Strings pass through as they were read; only what is typed, listed or computed comes out of DuckDB.
    `select` gives for each row `_row`, the fields of `computed`, `_ok`, the bits of the warnings it
    raises in `_warned`, `_claim` (a hash of who it is about) and a hash for each rule that wants
    values to be unique. `explain` gives for each row of `bad_rows` the positions in `checks` that
    it fails.
    """

    recognition: Recognition
    prepare: tuple[str, ...]
    checks: tuple[Check, ...]
    warnings: tuple[Check, ...]
    unique: tuple[Rule, ...]
    computed: tuple[str, ...]
    explain: str
    typed: str
    tail: str

    def select(self, checks: Sequence[Check]) -> str:
        """Return the statement that types every row and tells which meet all of `checks`."""
        computed = "".join(f", {_quote(name)}" for name in self.computed)
        return (
            f"WITH typed AS ({self.typed}) "
            f"SELECT _row{computed}, ({_all_of(checks)}) IS NOT FALSE AS _ok, {self.tail} FROM typed"
        )


def compile_plan(*, recognition: Recognition, pack: Pack, allowed: Sequence[str] | None) -> CheckPlan:
    """Return the plan for files with these columns.

    `allowed` holds the institution codes that the sender may report for; None allows every one.
    """
    dataset = recognition.dataset
    errors = [*_field_checks(recognition, pack), *_institution_check(dataset, allowed)]
    errors += _rule_checks(dataset, Severity.ERROR)
    warnings = _rule_checks(dataset, Severity.WARNING)[:_MOST_WARNINGS]
    unique = tuple(rule for rule in dataset.rules if rule.unique and rule.scope is Scope.FILE)
    claim_fields = [field for role in CLAIM_ROLES if (field := dataset.with_role(role))]
    sent = {column.field.name for column in recognition.columns}
    typed = _typed_select(recognition)
    tail = [
        f"{_bits(warnings)} AS _warned",
        f"{_hash(claim_fields)} AS _claim",
        *(f"{_unique_hash(rule)} AS _unique{n}" for n, rule in enumerate(unique)),
    ]
    failed = ", ".join(
        f"CASE WHEN ({check.predicate}) IS FALSE THEN {n} END" for n, check in enumerate(errors)
    )
    return CheckPlan(
        recognition=recognition,
        prepare=tuple(_enumerations(recognition, pack)),
        checks=tuple(errors),
        warnings=tuple(warnings),
        unique=unique,
        computed=tuple(
            field.name
            for field in dataset.fields
            if field.name in sent and (field.type is not FieldType.STRING or field.repeat > 1)
        ),
        explain=(
            f"WITH typed AS ({typed}) SELECT _row, list_filter([{failed}], n -> n IS NOT NULL) AS failed "
            "FROM typed SEMI JOIN bad_rows USING (_row) ORDER BY _row"
        ),
        typed=typed,
        tail=", ".join(tail),
    )


def _typed_select(recognition: Recognition) -> str:
    """Return the statement that gives `_row`, each raw cell that is checked and each typed field."""
    dataset = recognition.dataset
    cells = ["_row"]
    fields: list[str] = []
    for field in dataset.fields:
        columns = [column for column in recognition.columns if column.field.name == field.name]
        if not columns:
            fields.append(f"NULL::{duckdb_type(field)} AS {_quote(field.name)}")
            continue
        for column in columns:
            cells.append(f"c{column.position} AS {_raw(field, column.repeat)}")
        if field.repeat == 1:
            fields.append(f"{_cast(field, _raw(field, 1), dataset)} AS {_quote(field.name)}")
        else:
            last = max(column.repeat for column in columns)
            present = {column.repeat for column in columns}
            values = ", ".join(
                _cast(field, _raw(field, n), dataset) if n in present else "NULL" for n in range(1, last + 1)
            )
            # A row with no value at all holds no list: absent is not the same as an empty list.
            anything = ", ".join(_raw(field, n) for n in sorted(present))
            fields.append(
                f"CASE WHEN coalesce({anything}) IS NOT NULL THEN [{values}]::{duckdb_type(field)} END "
                f"AS {_quote(field.name)}"
            )
    return f"SELECT *, {', '.join(fields)} FROM (SELECT {', '.join(cells)} FROM batch)"


def _cast(field: Field, raw: str, dataset: Dataset) -> str:
    """Return the expression that types one cell; NULL where it cannot be."""
    if field.type is FieldType.STRING:
        return raw
    if field.type is FieldType.INTEGER:
        return _exactly(raw, kind="BIGINT", wider="DECIMAL(18,3)")
    if field.type is FieldType.DECIMAL:
        whole, scale = (field.length or 18) - (field.scale or 0), field.scale or 0
        # Eighteen digits fit a machine word; wider decimals are a hundred times slower to parse.
        wider = f"DECIMAL(18,{min(scale + 6, 18 - whole)})" if whole + scale < 18 else None
        return _exactly(raw, kind=f"DECIMAL({field.length},{scale})", wider=wider)
    if field.type is FieldType.DATE:
        # A time of day behind a date is cut off only where it is midnight, as Excel writes it.
        plain = f"try_cast({raw} AS DATE)"
        return (
            f"CASE WHEN length({raw}) <= 10 THEN coalesce({plain}, try_strptime({raw}, {_DATE_FORMS})::DATE) "
            f"WHEN {raw} LIKE '%00:00:00' OR {raw} LIKE '%日' "
            f"THEN coalesce({plain}, try_strptime({raw}, {_DATE_FORMS})::DATE) END"
        )
    if field.type is FieldType.DATETIME:
        return f"coalesce(try_cast({raw} AS TIMESTAMP), try_strptime({raw}, {_TIME_FORMS}))"
    return (
        f"CASE WHEN lower({raw}) IN ('1', 'true', 't', 'yes', 'y', '是') THEN true "
        f"WHEN lower({raw}) IN ('0', 'false', 'f', 'no', 'n', '否') THEN false END"
    )


def _exactly(raw: str, *, kind: str, wider: str | None) -> str:
    """Type a number; digits that the type would round off silently make it a fault, not another number."""
    value = f"try_cast({raw} AS {kind})"
    return f"CASE WHEN try_cast({raw} AS {wider}) = {value} THEN {value} END" if wider else value


def _field_checks(recognition: Recognition, pack: Pack) -> list[Check]:
    marks = _marks(recognition.dataset)
    return [
        Check(
            kind=kind,
            predicate=predicate,
            severity=Severity.ERROR,
            field=column.field,
            repeat=column.repeat,
            position=column.position,
        )
        for column in recognition.columns
        for kind, predicate in _column_checks(column, pack, marks)
    ]


def _column_checks(column: Column, pack: Pack, marks: str) -> Iterator[tuple[CheckKind, str]]:
    """Yield what is asked of one column; `marks` are the cells that state "none" (as SQL literals)."""
    field = column.field
    raw = _raw(field, column.repeat)
    value = _quote(field.name) if field.repeat == 1 else f"{_quote(field.name)}[{column.repeat}]"
    stated_absent = f" OR {raw} IN ({marks})" if marks else ""
    if field.obligation is Obligation.REQUIRED and column.repeat == 1:
        yield "required", f"{raw} IS NOT NULL"
    if field.type is not FieldType.STRING:
        yield "type", f"{raw} IS NULL OR {value} IS NOT NULL{stated_absent}"
    elif field.length is not None and not field.value_set:
        yield _length_check(field, raw, stated_absent)
    if field.value_set and (member := _member(value, pack.codes[field.value_set], field, marks)):
        yield "domain", member
    if field.minimum is not None or field.maximum is not None:
        yield "range", _between(value, field)
    if field.pattern:
        yield "pattern", f"regexp_full_match({value}, {_literal(field.pattern)}){stated_absent}"


def _length_check(field: Field, raw: str, stated_absent: str) -> tuple[CheckKind, str]:
    """Bytes are counted first: a value that is short in bytes is short in characters."""
    if field.exact_length:
        return "exact_length", f"length({raw}) = {field.length}{stated_absent}"
    return "length", f"strlen({raw}) <= {field.length} OR length({raw}) <= {field.length}"


def _between(value: str, field: Field) -> str:
    bounds: list[str] = []
    if field.minimum is not None:
        bounds.append(f"{value} >= {field.minimum:g}")
    if field.maximum is not None:
        bounds.append(f"{value} <= {field.maximum:g}")
    return " AND ".join(bounds)


def _member(value: str, table: CodeTable, field: Field, marks: str) -> str | None:
    if not table.complete:
        return None
    if field.type is not FieldType.STRING:
        value = f"{value}::VARCHAR"
    if len(table.codes) > _LONG_SET:
        member = f"{value} IS NULL OR try_cast({value} AS {_enumeration(table)}) IS NOT NULL"
    else:
        member = f"{value} IN ({', '.join(_literal(code.code) for code in table.codes)})"
    return f"({member} OR {value} IN ({marks}))" if marks else member


def _enumerations(recognition: Recognition, pack: Pack) -> list[str]:
    names = {column.field.value_set for column in recognition.columns if column.field.value_set}
    tables = [pack.codes[name] for name in sorted(names)]
    return [
        f"CREATE TYPE {_enumeration(table)} AS ENUM ({', '.join(_literal(c.code) for c in table.codes)})"
        for table in tables
        if table.complete and len(table.codes) > _LONG_SET
    ]


def _institution_check(dataset: Dataset, allowed: Sequence[str] | None) -> list[Check]:
    field = dataset.with_role(Role.INSTITUTION)
    if allowed is None or field is None or dataset.category == "directory":
        return []
    codes = ", ".join(_literal(code) for code in sorted(allowed))
    predicate = f"{_quote(field.name)} IN ({codes})"
    return [Check(kind="institution", predicate=predicate, severity=Severity.ERROR, field=field)]


def _rule_checks(dataset: Dataset, severity: Severity) -> list[Check]:
    return [
        Check(kind="rule", predicate=rule.sql, severity=severity, rule=rule)
        for rule in dataset.rules
        if rule.sql and rule.scope is Scope.ROW and rule.severity is severity
    ]


def _all_of(checks: Sequence[Check]) -> str:
    return " AND ".join(f"({check.predicate})" for check in checks) or "true"


def _bits(checks: Sequence[Check]) -> str:
    terms = [
        f"CASE WHEN ({check.predicate}) IS FALSE THEN {1 << n} ELSE 0 END" for n, check in enumerate(checks)
    ]
    return f"({' + '.join(terms)})::BIGINT" if terms else "0::BIGINT"


def _hash(fields: Sequence[Field]) -> str:
    return f"hash({', '.join(_quote(field.name) for field in fields)})" if fields else "0::UBIGINT"


def _unique_hash(rule: Rule) -> str:
    """A key with an empty part is nobody's double: it hashes to its row."""
    names = [_quote(name) for name in rule.unique]
    missing = " OR ".join(f"{name} IS NULL" for name in names)
    return f"CASE WHEN {missing} THEN hash(_row, 'row') ELSE hash({', '.join(names)}) END"


def _marks(dataset: Dataset) -> str:
    return ", ".join(_literal(mark) for mark in dataset.absent_marks)


def _enumeration(table: CodeTable) -> str:
    return f"codes_{table.name}"


def _raw(field: Field, repeat: int) -> str:
    return f'"_raw_{field.name}_{repeat}"'


def _quote(name: str) -> str:
    return f'"{name}"'


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
