"""Read a region pack from its folder and refuse what is wrong with file, line and reason."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path

from kangshu.declarations.binding import check_pack
from kangshu.declarations.errors import DeclarationError, say
from kangshu.declarations.fhir import FhirSettings
from kangshu.declarations.fhir_loading import read_resources, read_settings
from kangshu.declarations.model import (
    Code,
    CodeTable,
    Dataset,
    Dimension,
    Field,
    FieldType,
    Obligation,
    Pack,
    Privacy,
    Role,
    Rule,
    Scope,
    Severity,
)
from kangshu.declarations.quality_loading import read_looks, read_measures, read_quality
from kangshu.declarations.tables import Source, Table, parse_source, read_source
from kangshu.kernel.texts import Text

BASE_PACK = Path(str(resources.files("kangshu.packs") / "base"))

_NAME = re.compile(r"^[a-z][a-z0-9_]*$")
_CODE_COLUMNS = ["code", "title", "title_en", "parent"]


def load_pack(path: Path | None = None) -> Pack:
    """Return the region pack in the folder `path`, by default the built-in one, fully checked.

    Raises:
        DeclarationError: something in it is wrong; its place is `file:line`.
    """
    return _load(path or BASE_PACK)


@cache
def _load(folder: Path) -> Pack:
    head = read_source(folder / "pack.toml").whole()
    codes = _read_code_tables(folder / "codes")
    functions_path = folder / "functions.sql"
    functions = functions_path.read_text(encoding="utf-8") if functions_path.exists() else ""
    fhir = read_settings(folder / "fhir.toml")
    datasets: dict[str, Dataset] = {}
    for file in sorted((folder / "datasets").glob("*.toml")):
        dataset = read_dataset(file, codes=codes, fhir=fhir)
        datasets[dataset.name] = dataset
    pack = Pack(
        name=head.string("name"),
        edition=head.string("edition"),
        title=head.text("title"),
        datasets=datasets,
        codes=codes,
        functions=functions,
        fhir=fhir,
        quality=read_quality(folder / "quality", datasets=datasets, codes=codes),
    )
    check_pack(pack, functions_path=functions_path, quality_folder=folder / "quality")
    return pack


def read_dataset(path: Path, *, codes: Mapping[str, CodeTable], fhir: FhirSettings | None = None) -> Dataset:
    """Return the data set declared in the file `path`, its rules' SQL not yet bound.

    Raises:
        DeclarationError: the declaration is wrong.
    """
    source = read_source(path)
    head = source.table("dataset")
    name = head.string("name")
    if name != path.stem:
        raise head.wrong("name", say("name_differs", name=name))
    fields = tuple(_read_field(table, codes=codes) for table in source.tables("field"))
    _refuse_twins(fields, source)
    known = {field.name for field in fields}
    rules = tuple(_read_rule(table, known=known) for table in source.tables("rule"))
    _refuse_twin_rules(rules, source)
    resources = read_resources(
        source,
        fields={field.name: field for field in fields},
        settings=fhir or FhirSettings(),
        tables=codes,
    )
    dataset = Dataset(
        name=name,
        title=head.text("title"),
        edition=head.string("edition"),
        source=head.string("source"),
        category=head.string("category", default="clinical"),
        description=head.text("description", default=""),
        valid_from=head.day("valid_from"),
        valid_to=head.day("valid_to") if head.has("valid_to") else None,
        fields=fields,
        rules=rules,
        measures=read_measures(source),
        fhir=resources,
        key=head.names("key", known=known),
        event_time=head.string("event_time") if head.has("event_time") else None,
        absent_marks=head.strings("absent_marks"),
        path=str(path),
    )
    if dataset.event_time and dataset.event_time not in known:
        raise head.wrong("event_time", say("unknown_field", name=dataset.event_time))
    if dataset.valid_to and dataset.valid_to <= dataset.valid_from:
        raise head.wrong("valid_to", say("valid_order"))
    head.refuse_unknown()
    return dataset


def read_rule(text: str, *, dataset: Dataset, path: Path) -> Rule:
    """Return the one rule that `text`, the TOML of `path`, declares for `dataset`; `check_rule` binds it.

    Raises:
        DeclarationError: it is wrong.
    """
    source = parse_source(text, path=path)
    source.whole().refuse_unknown(but=["rule"])
    tables = source.tables("rule")
    if len(tables) != 1:
        raise DeclarationError(say("one_rule"), path=source.path, line=1)
    return _read_rule(tables[0], known={field.name for field in dataset.fields})


def _read_field(table: Table, *, codes: Mapping[str, CodeTable]) -> Field:
    name = table.string("name")
    if not _NAME.match(name):
        raise table.wrong("name", say("wrong_name", name=name))
    field = Field(
        name=name,
        title=table.text("title"),
        type=table.member("type", FieldType),
        obligation=table.member("obligation", Obligation, default=Obligation.OPTIONAL),
        code=table.optional_string("code"),
        length=table.optional_whole("length"),
        exact_length=table.flag("exact_length"),
        scale=table.optional_whole("scale"),
        minimum=table.optional_number("minimum"),
        maximum=table.optional_number("maximum"),
        pattern=table.optional_string("pattern"),
        value_set=table.optional_string("value_set"),
        unit=table.optional_string("unit"),
        role=table.member("role", Role) if table.has("role") else None,
        privacy=table.member("privacy", Privacy, default=Privacy.NONE),
        data_element=table.optional_string("data_element"),
        repeat=table.optional_whole("repeat") or 1,
        aliases=table.strings("aliases"),
        example=table.string("example", default=""),
        note=table.text("note", default=""),
        line=table.line,
    )
    table.refuse_unknown()
    if field.value_set and field.value_set not in codes:
        raise table.wrong("value_set", say("unknown_value_set", name=field.value_set))
    if field.value_set:
        field = replace(field, value_set_title=codes[field.value_set].title)
    _check_shape(table, field)
    return field


def _check_shape(table: Table, field: Field) -> None:
    if field.type is FieldType.DECIMAL:
        if field.length is None or field.scale is None:
            raise table.wrong("type", say("decimal_needs"))
        if field.scale > field.length or field.length > 38:
            raise table.wrong("length", say("scale_over_length"))
    if field.pattern:
        try:
            re.compile(field.pattern)
        except re.error as error:
            raise table.wrong("pattern", say("bad_pattern", reason=str(error))) from error


def _read_rule(table: Table, *, known: set[str]) -> Rule:
    rule = Rule(
        id=table.string("id"),
        severity=table.member("severity", Severity),
        dimension=table.member("dimension", Dimension),
        scope=table.member("scope", Scope, default=Scope.ROW),
        fields=table.names("fields", known=known),
        sql=table.string("sql", default="").strip(),
        unique=table.names("unique", known=known),
        looks=read_looks(table, known=known),
        applies=table.string("applies", default="").strip(),
        suspects=table.string("suspects", default="").strip(),
        edition=table.string("edition", default=""),
        message=table.text("message"),
        source=table.string("source", default=""),
        line=table.line_of("sql"),
    )
    table.refuse_unknown()
    if bool(rule.sql) == bool(rule.unique):
        raise table.wrong("id", say("rule_needs"))
    _check_scope(table, rule)
    return rule


def _check_scope(table: Table, rule: Rule) -> None:
    """Refuse what a rule of its scope cannot have."""
    if (rule.scope is Scope.FILE) != bool(rule.unique):
        raise table.wrong("scope", say("scope_unique"))
    allowed = {
        "look": (Scope.REGION,),
        "suspects": (Scope.CELL,),
        "applies": (Scope.ROW, Scope.FILE, Scope.REGION),
    }
    for key, scopes in allowed.items():
        if table.has(key) and rule.scope not in scopes:
            raise table.wrong(key, say("wrong_scope", key=key, scope=rule.scope, known=", ".join(scopes)))


def _refuse_twins(fields: Sequence[Field], source: Source) -> None:
    owner: dict[str, Field] = {}
    for field in fields:
        for heading in field.column_names():
            key = heading.casefold()
            other = owner.setdefault(key, field)
            if other.name == field.name and other is not field:
                raise DeclarationError(say("twice", name=field.name), path=source.path, line=field.line)
            if other is not field:
                text = say("heading_shared", heading=heading, first=other.name, second=field.name)
                raise DeclarationError(text, path=source.path, line=field.line)


def _refuse_twin_rules(rules: Sequence[Rule], source: Source) -> None:
    seen: set[str] = set()
    for rule in rules:
        if rule.id in seen:
            raise DeclarationError(say("twice", name=rule.id), path=source.path, line=rule.line)
        seen.add(rule.id)


def _read_code_tables(folder: Path) -> dict[str, CodeTable]:
    index = read_source(folder / "index.toml")
    tables: dict[str, CodeTable] = {}
    for name in index.names():
        entry = index.table(name)
        tables[name] = CodeTable(
            name=name,
            title=entry.text("title"),
            edition=entry.string("edition"),
            source=entry.string("source", default=""),
            complete=entry.flag("complete", default=True),
            codes=_read_codes(folder / f"{name}.csv"),
        )
    return tables


def _read_codes(path: Path) -> tuple[Code, ...]:
    try:
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
    except FileNotFoundError:
        raise DeclarationError(say("missing_key", key=path.name), path=path, line=1) from None
    if not rows or rows[0] != _CODE_COLUMNS:
        raise DeclarationError(say("code_columns"), path=path, line=1)
    codes: dict[str, Code] = {}
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(_CODE_COLUMNS):
            raise DeclarationError(say("code_columns"), path=path, line=number)
        code, title, title_en, parent = row
        if code in codes:
            raise DeclarationError(say("twice", name=code), path=path, line=number)
        codes[code] = Code(code=code, title=Text(zh=title, en=title_en or title), parent=parent or None)
    return tuple(codes.values())
