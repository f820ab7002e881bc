"""Read the declarations of the document mapping; a wrong one is refused with file, line and reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from kangshu.declarations import DeclarationError, Source, Table, read_source
from kangshu.mapping.cda.errors import say
from kangshu.mapping.cda.model import (
    Becomes,
    CodeSystem,
    Declarations,
    DocumentClass,
    Meaning,
    Number,
    Report,
    Rule,
    Settings,
)

_OID = re.compile(r"[0-2](\.(0|[1-9]\d*))+")
_ZONE = re.compile(r"[+-]\d\d:\d\d")
_VISITS = ("AMB", "EMER", "IMP")
_RULES = "rules_*.toml"

# What else a rule of each kind may ask for, by the name under which the code looks for it.
_PARTS: Mapping[Becomes, frozenset[str]] = {
    Becomes.CONDITION: frozenset({"name"}),
    Becomes.ALLERGY_FLAG: frozenset({"description"}),
    Becomes.LABORATORY: frozenset({"quantity", "unit", "result", "specimen", "method"}),
    Becomes.MEDICATION_REQUEST: frozenset({"usage", "frequency", "dose_unit", "total"}),
    Becomes.MEDICATION_STATEMENT: frozenset({"usage", "frequency", "dose_unit", "total"}),
    Becomes.ORDERED_DRUG: frozenset({"kind", "state", "remark"}),
    Becomes.PROCEDURE: frozenset({"name"}),
}
_Item = TypeVar("_Item")


def load_declarations(folder: Path) -> Declarations:
    """Return what the files of `folder` declare.

    Raises:
        DeclarationError: one of them is wrong; its place is `file:line`.
    """
    numbers_source = read_source(folder / "numbers.toml")
    codes_source = read_source(folder / "codes.toml")
    systems = _by_name(_system(table) for table in codes_source.tables("system"))
    reports_source = read_source(folder / "documents.toml")
    reports = _by_name((_report(table), table) for table in reports_source.tables("report"))
    classes = _classes(reports_source, systems, reports)
    rules = _rules(folder, systems)
    return Declarations(
        settings=_settings(numbers_source),
        numbers=_keyed(numbers_source, "number", _number, key=lambda number: number.root),
        systems=systems,
        systems_by_oid={oid: system for system in systems.values() for oid in system.oids},
        sexes=_pairs(codes_source, "sex", systems, known=("male", "female", "other", "unknown")),
        visit_classes=_pairs(codes_source, "visit_class", systems, known=_VISITS),
        units=_units(codes_source),
        classes=classes,
        reports=reports,
        rules=rules,
    )


def _settings(source: Source) -> Settings:
    table = source.table("settings")
    zone = table.string("zone", default="+08:00")
    if not _ZONE.fullmatch(zone):
        raise table.wrong("zone", say("bad_value", key="zone", value=zone, known="+08:00, ..."))
    found = Settings(
        zone=zone,
        visit_time_words=table.strings("visit_time_words"),
        most_entries=table.optional_whole("most_entries") or Settings.most_entries,
    )
    table.refuse_unknown()
    return found


def _number(table: Table) -> Number:
    found = Number(
        root=_oid(table, "root"),
        meaning=table.member("meaning", Meaning),
        type=table.optional_string("type"),
        visit=_one_of(table, "visit", _VISITS),
    )
    table.string("title", default="")
    table.refuse_unknown()
    return found


def _system(table: Table) -> tuple[CodeSystem, Table]:
    shape = table.optional_string("shape")
    try:
        pattern = re.compile(shape) if shape else None
    except re.error as error:
        raise table.wrong("shape", say("bad_pattern", reason=str(error))) from None
    oids = table.strings("oids")
    for oid in oids:
        if not _OID.fullmatch(oid):
            raise table.wrong("oids", say("bad_oid", name=oid))
    found = CodeSystem(name=table.string("name"), uri=table.string("uri"), oids=oids, shape=pattern)
    table.string("title", default="")
    table.refuse_unknown()
    return found, table


def _report(table: Table) -> Report:
    found = Report(
        name=table.string("name"),
        category=table.string("category"),
        category_title=table.string("category_title"),
        kind=table.strings("kind"),
        conclusion=table.strings("conclusion"),
        conclusion_words=table.strings("conclusion_words"),
        findings=table.strings("findings"),
        findings_words=table.strings("findings_words"),
        department=table.strings("department"),
        institution=table.strings("institution"),
    )
    table.refuse_unknown()
    return found


def _classes(
    source: Source, systems: Mapping[str, CodeSystem], reports: Mapping[str, Report]
) -> dict[tuple[str, str], DocumentClass]:
    found: dict[tuple[str, str], DocumentClass] = {}
    for table in source.tables("document"):
        system = _known(table, "system", systems)
        report = table.optional_string("report")
        if report and report not in reports:
            raise table.wrong("report", say("unknown_name", name=report, known=", ".join(reports)))
        one = DocumentClass(
            code=table.string("code"),
            system=system.uri,
            title=table.text("title"),
            template=_oid(table, "template") if table.has("template") else None,
            visit=_one_of(table, "visit", _VISITS),
            report=report,
            ends=table.flag("ends"),
        )
        table.refuse_unknown()
        for oid in system.oids:
            if (oid, one.code) in found:
                raise table.wrong("code", say("twice", name=one.code))
            found[oid, one.code] = one
    return found


def _rules(folder: Path, systems: Mapping[str, CodeSystem]) -> tuple[Rule, ...]:
    found: dict[str, Rule] = {}
    tables: list[tuple[Rule, Table]] = []
    for path in sorted(folder.glob(_RULES)):
        source = read_source(path)
        for table, parts, words in zip(
            source.tables("rule"), _inner(source, "parts"), _inner(source, "words"), strict=True
        ):
            rule = _rule(table, parts, words, systems)
            if rule.name in found:
                raise table.wrong("name", say("twice", name=rule.name))
            found[rule.name] = rule
            tables.append((rule, table))
    for rule, table in tables:
        for name in rule.members:
            if name not in found:
                raise table.wrong("members", say("unknown_name", name=name, known=", ".join(found)))
    return tuple(found.values())


def _inner(source: Source, name: str) -> list[Table | None]:
    """Return for each rule its `[rule.parts]` or `[rule.words]`; errors in them point at the rule."""
    found: list[Table | None] = []
    for table in source.tables("rule"):
        value = table.values.get(name)
        if value is None:
            found.append(None)
        elif isinstance(value, dict):
            found.append(Table(path=table.path, line=table.line, values=value, lines=table.lines))  # pyright: ignore[reportUnknownArgumentType]
        else:
            raise table.wrong(name, say("bad_value", key=name, value=str(value)[:40], known=f"[rule.{name}]"))
    return found


def _rule(table: Table, parts: Table | None, words: Table | None, systems: Mapping[str, CodeSystem]) -> Rule:
    becomes = table.member("becomes", Becomes)
    for name in table.strings("systems"):
        if name not in systems:
            raise table.wrong("systems", say("unknown_name", name=name, known=", ".join(systems)))
    rule = Rule(
        name=table.string("name"),
        becomes=becomes,
        kinds=frozenset(table.strings("kinds")),
        codes=frozenset(table.strings("codes")),
        templates=frozenset(table.strings("templates")),
        within=frozenset(table.strings("within")),
        sections=frozenset(table.strings("sections")),
        not_sections=frozenset(table.strings("not_sections")),
        documents=frozenset(table.strings("documents")),
        not_documents=frozenset(table.strings("not_documents")),
        moods=frozenset(table.strings("moods")),
        unless=table.strings("unless"),
        systems=frozenset(table.strings("systems")),
        category=table.optional_string("category"),
        status=table.optional_string("status"),
        coding=_coding(table, systems),
        units=table.strings("units"),
        members=table.strings("members"),
        products=frozenset(table.strings("products")),
        parts=_parts(parts, becomes),
        part_words=table.strings("part_words"),
        part_codes=frozenset(table.strings("part_codes")),
        words={} if words is None else {key: words.strings(key) for key in words.values},
        provisional=table.strings("provisional"),
        roles=table.strings("roles"),
    )
    table.refuse_unknown(but=("parts", "words"))
    _check_rule(rule, table)
    return rule


def _check_rule(rule: Rule, table: Table) -> None:
    if not (rule.codes or rule.templates or rule.kinds):
        raise table.wrong("name", say("rule_selects_nothing"))
    if rule.becomes is Becomes.COMPONENTS and len(rule.members) < 2:
        raise table.wrong("members", say("needs", becomes=rule.becomes, key="members"))
    if rule.becomes is Becomes.COMPONENTS and not rule.coding:
        raise table.wrong("code", say("needs", becomes=rule.becomes, key="code"))


def _coding(table: Table, systems: Mapping[str, CodeSystem]) -> dict[str, str] | None:
    if not table.has("code"):
        return None
    system = _known(table, "code_system", systems)
    found = {"system": system.uri, "code": table.string("code")}
    if display := table.string("display", default=""):
        found["display"] = display
    return found


def _parts(table: Table | None, becomes: Becomes) -> dict[str, frozenset[str]]:
    if table is None:
        return {}
    known = _PARTS.get(becomes, frozenset[str]())
    for name in table.values:
        if name not in known:
            text = say("unknown_part", becomes=becomes, name=name, known=", ".join(sorted(known)))
            raise table.wrong(name, text)
    return {name: frozenset(table.strings(name)) for name in table.values}


def _pairs(
    source: Source, name: str, systems: Mapping[str, CodeSystem], *, known: tuple[str, ...]
) -> dict[tuple[str, str], str]:
    """Return what each code of `[[name]]` means, by every OID of its system."""
    found: dict[tuple[str, str], str] = {}
    for table in source.tables(name):
        system = _known(table, "system", systems)
        for value in known:
            for code in table.strings(value):
                found.update({(oid, code): value for oid in system.oids})
        table.refuse_unknown()
    return found


def _units(source: Source) -> dict[str, str]:
    found: dict[str, str] = {}
    for table in source.tables("unit"):
        code = table.string("ucum")
        for written in (code, *table.strings("written")):
            # A single letter means something else in the other case (m, M); longer ones come in any.
            for spelt in {written, written.lower()} if len(written) > 1 else {written}:
                if found.setdefault(spelt, code) != code:
                    raise table.wrong("written", say("twice", name=written))
        table.refuse_unknown()
    return found


def _known(table: Table, key: str, systems: Mapping[str, CodeSystem]) -> CodeSystem:
    name = table.string(key)
    if name not in systems:
        raise table.wrong(key, say("unknown_name", name=name, known=", ".join(systems)))
    return systems[name]


def _one_of(table: Table, key: str, known: tuple[str, ...]) -> str | None:
    value = table.optional_string(key)
    if value is not None and value not in known:
        raise table.wrong(key, say("bad_value", key=key, value=value, known=", ".join(known)))
    return value


def _oid(table: Table, key: str) -> str:
    value = table.string(key)
    if not _OID.fullmatch(value):
        raise table.wrong(key, say("bad_oid", name=value))
    return value


def _by_name(items: Iterable[tuple[_Item, Table]]) -> dict[str, _Item]:
    found: dict[str, _Item] = {}
    for item, table in items:
        name = table.string("name")
        if name in found:
            raise table.wrong("name", say("twice", name=name))
        found[name] = item
    return found


def _keyed(
    source: Source, name: str, read: Callable[[Table], _Item], *, key: Callable[[_Item], str]
) -> dict[str, _Item]:
    found: dict[str, _Item] = {}
    for table in source.tables(name):
        item = read(table)
        if key(item) in found:
            raise DeclarationError(say("twice", name=key(item)), path=table.path, line=table.line)
        found[key(item)] = item
    return found
