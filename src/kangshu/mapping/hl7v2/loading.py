"""Read the HL7 v2 declarations of a pack's folder and refuse what is wrong with file, line and reason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

from kangshu.declarations import BASE_PACK, DeclarationError, Source, Table, read_source
from kangshu.kernel.texts import Text
from kangshu.mapping.hl7v2.errors import say
from kangshu.mapping.hl7v2.model import (
    Code,
    Continuation,
    DatatypeMap,
    Declarations,
    Group,
    MessageMap,
    Origin,
    Row,
    SegmentMap,
    Settings,
    Use,
    VocabularyMap,
)
from kangshu.mapping.hl7v2.times import valid_zone

_NAME = re.compile(r"([A-Z][A-Z0-9]{1,2})\[([A-Z][A-Za-z]+)(-[A-Za-z-]+)?\]\Z")
_ROW_KEYS = frozenset(
    {"fhir", "field", "if", "map", "table", "value", "reference", "units", "numbers", "join", "strict"}
)
_CODE_KEYS = frozenset({"from", "code", "system", "display"})
_GROUP_KEYS = frozenset({"name", "opens"})
_USE_KEYS = frozenset({"map", "after", "if", "messages"})
_CONTINUES_KEYS = frozenset({"if", "same", "field", "fhir"})
_INTO = ("new", "current", "either", "aside")
_PATIENT = ("required", "optional", "none")

_Declared = TypeVar("_Declared", DatatypeMap, SegmentMap, VocabularyMap, MessageMap)


def read_declarations(folder: Path) -> Declarations:
    """Return what the TOML files in `folder` and its sub-folders declare; a file may hold any of the tables.

    A folder without `[settings]` adds to the built-in declarations: what it names anew counts instead of
    theirs, and its `[[use]]` tables put segment maps into their messages.

    Raises:
        DeclarationError: something in them is wrong.
    """
    layer = _Layer(folder, None)
    if layer.settings is None:
        layer = _Layer(folder, _Layer(BASE_PACK / "hl7v2", None))
    for use, names in layer.uses:
        _put_to_use(layer.messages, use, names)
    return Declarations(
        settings=layer.settings or Settings(),
        systems=layer.systems,
        vocabularies=layer.vocabularies,
        datatypes=layer.datatypes,
        segments=layer.segments,
        messages=tuple(layer.messages.values()),
    )


def _put_to_use(messages: dict[str, MessageMap], use: Use, names: tuple[str, ...]) -> None:
    for name in messages if names == ("*",) else names:
        if name not in messages:
            raise wrong(use.origin, say("unknown_message", name=name, known=", ".join(messages)))
        message = messages[name]
        messages[name] = replace(message, uses=(*message.uses, use))


def wrong(origin: Origin, text: Text) -> DeclarationError:
    """Return the error that points at a declaration."""
    return DeclarationError(text, path=origin.path, line=origin.line)


class _Layer:
    """The declarations of one folder, on top of those `below`."""

    def __init__(self, folder: Path, below: _Layer | None) -> None:
        self.settings = below.settings if below else None
        self.systems: dict[str, str] = dict(below.systems) if below else {}
        self.vocabularies: dict[str, VocabularyMap] = dict(below.vocabularies) if below else {}
        self.datatypes: dict[str, DatatypeMap] = dict(below.datatypes) if below else {}
        self.segments: dict[str, SegmentMap] = dict(below.segments) if below else {}
        self.messages: dict[str, MessageMap] = dict(below.messages) if below else {}
        self.uses: list[tuple[Use, tuple[str, ...]]] = list(below.uses) if below else []
        self._own: set[tuple[str, str]] = set()
        for path in sorted(folder.rglob("*.toml")):
            self._read(_File(read_source(path), path.read_text(encoding="utf-8")))

    def _read(self, source: _File) -> None:
        source.refuse_unknown()
        if "settings" in source.names():
            self.settings = _settings(source)
        for table in source.tables("system"):
            uri = table.string("uri")
            self.systems.update({name.upper(): uri for name in table.strings("names")})
            table.refuse_unknown()
        for table in source.tables("table"):
            self._add("table", self.vocabularies, _vocabulary(source, table, self.vocabularies))
        for table in source.tables("datatype"):
            self._add("datatype", self.datatypes, _datatype(source, table))
        for table in source.tables("segment"):
            self._add("segment", self.segments, _segment(source, table))
        for table in source.tables("message"):
            self._add("message", self.messages, _message(source, table))
        for table in source.tables("use"):
            self.uses.append((_use(table.values, _origin(table)), table.strings("messages")))

    def _add(self, kind: str, declared: dict[str, _Declared], one: _Declared) -> None:
        if (kind, one.name) in self._own:
            raise wrong(one.origin, say("declared_twice", name=one.name))
        self._own.add((kind, one.name))
        declared[one.name] = one


class _File:
    """A source that also knows the lines of rows: one inline table on each line of a list."""

    KNOWN = frozenset({"settings", "system", "table", "datatype", "segment", "message", "use"})

    def __init__(self, source: Source, text: str) -> None:
        self._source = source
        self._lines = text.splitlines()
        self.path = source.path

    def names(self) -> tuple[str, ...]:
        return self._source.names()

    def settings(self) -> Table:
        return self._source.table("settings")

    def tables(self, name: str) -> tuple[Table, ...]:
        if not isinstance(self._source.content.get(name, []), list):
            raise DeclarationError(say("not_rows", key=name), path=self.path, line=1)
        return self._source.tables(name)

    def refuse_unknown(self) -> None:
        for name in self._source.names():
            if name not in self.KNOWN:
                known = ", ".join(sorted(self.KNOWN))
                raise DeclarationError(say("unknown_key", key=name, known=known), path=self.path, line=1)

    def rows(self, table: Table, key: str, known: frozenset[str]) -> list[tuple[dict[str, Any], Origin]]:
        """Return the rows of the list `key` with the place of each, their keys checked."""
        rows: object = table.values.get(key, [])
        if not isinstance(rows, list) or not all(isinstance(one, dict) for one in cast(list[Any], rows)):
            raise table.wrong(key, say("not_rows", key=key))
        found = cast(list[dict[str, Any]], rows)
        lines = self._row_lines(table.line_of(key), len(found))
        made = [(row, Origin(path=self.path, line=line)) for row, line in zip(found, lines, strict=True)]
        for row, origin in made:
            for name in row:
                if name not in known:
                    raise wrong(origin, say("unknown_key", key=name, known=", ".join(sorted(known))))
        return made

    def _row_lines(self, first: int, count: int) -> list[int]:
        """Return the line of each row; rows that share a line with others all stand where the list begins."""
        found: list[int] = []
        for number in range(first, len(self._lines) + 1):
            line = self._lines[number - 1].strip()
            if line.startswith("{"):
                found.append(number)
            if len(found) == count or (number > first and (line.startswith("[") or line == "]")):
                break
        return found if len(found) == count else [first] * count


def _origin(table: Table) -> Origin:
    return Origin(path=table.path, line=table.line)


def _settings(source: _File) -> Settings:
    table = source.settings()
    usual = Settings()
    zone = table.string("zone", default=usual.zone)
    if not valid_zone(zone):
        raise table.wrong("zone", say["wrong_zone"])
    settings = Settings(
        zone=zone,
        local_codes=table.string("local_codes", default=usual.local_codes),
        named_codes=table.string("named_codes", default=usual.named_codes),
        numbers=table.string("numbers", default=usual.numbers),
        ignored_segments=frozenset(table.strings("ignored_segments")),
        no_numbers=frozenset(one.upper() for one in table.strings("no_numbers")),
        resources_most=table.optional_whole("resources_most") or usual.resources_most,
    )
    table.refuse_unknown()
    return settings


def _vocabulary(source: _File, table: Table, before: Mapping[str, VocabularyMap]) -> VocabularyMap:
    system = table.optional_string("system")
    codes: dict[str, Code] = {}
    like = table.optional_string("like")
    if like is not None:
        if like not in before:
            raise table.wrong("like", say("unknown_table", name=like))
        codes.update(before[like].codes)
    for row, origin in source.rows(table, "codes", _CODE_KEYS):
        names = row.get("from", [])
        names = [names] if isinstance(names, str) else names
        code = _text(row, "code", origin)
        made = Code(
            code=code,
            system=_optional_text(row, "system", origin) or system,
            display=_optional_text(row, "display", origin),
        )
        for name in _texts(names, "from", origin) or (code,):
            codes.setdefault(name.upper(), made)
    default = table.optional_string("default")
    vocabulary = VocabularyMap(
        name=table.string("name"),
        codes=codes,
        default=Code(code=default, system=system) if default else None,
        open=table.flag("open"),
        origin=_origin(table),
    )
    table.optional_string("source")
    table.refuse_unknown(but={"codes"})
    return vocabulary


def _datatype(source: _File, table: Table) -> DatatypeMap:
    datatype = DatatypeMap(
        name=table.string("name"),
        rows=_rows(source, table),
        requires=table.strings("requires"),
        finish=table.strings("finish"),
        same_as=table.optional_string("same_as"),
        origin=_origin(table),
    )
    table.refuse_unknown(but={"rows"})
    return datatype


def _segment(source: _File, table: Table) -> SegmentMap:
    name = table.string("name")
    found = _NAME.match(name)
    if found is None:
        raise table.wrong("name", say("wrong_name", name=name))
    into = table.string("into", default="new")
    if into not in _INTO:
        raise table.wrong("into", say("wrong_value", key="into", value=into, known=", ".join(_INTO)))
    continues = source.rows(table, "continues", _CONTINUES_KEYS)
    segment = SegmentMap(
        name=name,
        segment=found[1],
        resource=found[2],
        into=into,
        key=table.strings("key"),
        person=table.strings("person"),
        needs=table.strings("needs"),
        finish=table.strings("finish"),
        ignore=table.strings("ignore"),
        numbered=table.flag("numbered"),
        continues=_continuation(*continues[0]) if continues else None,
        rows=_rows(source, table),
        origin=_origin(table),
    )
    table.refuse_unknown(but={"rows", "continues"})
    return segment


def _continuation(row: Mapping[str, Any], origin: Origin) -> Continuation:
    return Continuation(
        condition=_text(row, "if", origin),
        same=_texts(row.get("same", []), "same", origin),
        field=_text(row, "field", origin),
        fhir=_text(row, "fhir", origin),
    )


def _rows(source: _File, table: Table) -> tuple[Row, ...]:
    return tuple(_row(row, origin) for row, origin in source.rows(table, "rows", _ROW_KEYS))


def _row(row: Mapping[str, Any], origin: Origin) -> Row:
    made = Row(
        fhir=_text(row, "fhir", origin),
        field=_optional_text(row, "field", origin),
        condition=_optional_text(row, "if", origin),
        map=_optional_text(row, "map", origin),
        table=_optional_text(row, "table", origin),
        constant=row.get("value"),
        reference=_optional_text(row, "reference", origin),
        units=_optional_text(row, "units", origin),
        numbers=_optional_text(row, "numbers", origin),
        join=_optional_text(row, "join", origin),
        strict=row.get("strict") is True,
        origin=origin,
    )
    given = (made.field, made.constant, made.reference)
    if all(one is None for one in given) or (made.constant is not None and made.reference is not None):
        raise wrong(origin, say["row_gives"])
    return made


def _message(source: _File, table: Table) -> MessageMap:
    merge = table.optional_string("merge")
    if merge not in (None, "MRG", "PID"):
        raise table.wrong("merge", say("wrong_value", key="merge", value=merge, known="MRG, PID"))
    patient = table.string("patient", default="required")
    if patient not in _PATIENT:
        raise table.wrong(
            "patient", say("wrong_value", key="patient", value=patient, known=", ".join(_PATIENT))
        )
    message = MessageMap(
        name=table.string("name"),
        events=table.strings("events"),
        groups=tuple(_group(*row) for row in source.rows(table, "groups", _GROUP_KEYS)),
        uses=tuple(_use(*row) for row in source.rows(table, "segments", _USE_KEYS)),
        merge=merge,
        patient=patient,
        origin=_origin(table),
    )
    table.refuse_unknown(but={"groups", "segments"})
    return message


def _group(row: Mapping[str, Any], origin: Origin) -> Group:
    return Group(
        name=_text(row, "name", origin), opens=frozenset(_texts(row.get("opens", []), "opens", origin))
    )


def _use(row: Mapping[str, Any], origin: Origin) -> Use:
    return Use(
        map=_text(row, "map", origin),
        after=frozenset(_texts(row.get("after", []), "after", origin)),
        condition=_optional_text(row, "if", origin),
        origin=origin,
    )


def _text(row: Mapping[str, Any], key: str, origin: Origin) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value:
        raise wrong(origin, say("text_wanted", key=key))
    return value


def _optional_text(row: Mapping[str, Any], key: str, origin: Origin) -> str | None:
    return _text(row, key, origin) if key in row else None


def _texts(value: object, key: str, origin: Origin) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in cast(list[Any], value)):
        raise wrong(origin, say("texts_wanted", key=key))
    return tuple(cast(list[str], value))
