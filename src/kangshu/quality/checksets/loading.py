"""Read a pack's check set: `checks/checks.toml` and the parameter files beside it.

    [[check]]
    name = "isForeignKey"
    title = "..."                      # and message, in Chinese and English (`_en`)
    level = "FIELD"
    dimension = "linkage"
    rows = "foreign_keys.csv"          # one check a row; or each = "required-field"
    threshold = 0
    violated = "{field} IS NOT NULL AND {other.rows} = 0"

    [check.parameters]                 # the columns that it needs, and of what kind they are
    to_table = "table"
    to_field = "field"

    [[check.look]]
    name = "other"
    table = "{to_table}"
    on = [["{field}", "{to_field}"]]
    take = { low = "min(day)" }
    where = "day IS NOT NULL"

A row of a parameter file in which one of the needed columns is empty is not for that kind of check, so one
file serves several. `{table}` and `{field}` are always there, and `{as_of}`, the day on which the checks are
run. `{field.raw}` is the cell as it stands in the file, as text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kangshu.declarations import (
    Dataset,
    DeclarationError,
    Dimension,
    FieldType,
    Obligation,
    Pack,
    Table,
    read_source,
)
from kangshu.declarations import Field as DeclaredField
from kangshu.kernel.texts import Text
from kangshu.quality.checksets.errors import NoCheckSetError, say
from kangshu.quality.checksets.filling import (
    fill,
    missing_parameters,
    places_of,
    quoted,
    written,
)
from kangshu.quality.checksets.model import (
    Asks,
    Check,
    CheckKind,
    CheckLook,
    CheckSet,
    Each,
    ParameterKind,
)

RAW = " (raw)"
"""What the name of a column ends with that holds the cells as text."""

_OWN_COLUMNS = ("table", "field", "note")
_MOST_CHECKS = 100_000  # arbitrary; the OMOP set has some 2,700


def load_checkset(*, folder: Path, pack: Pack) -> CheckSet:
    """Return the check set of the pack in `folder`; tables and fields are those of its data sets.

    Raises:
        NoCheckSetError: the pack has none.
        DeclarationError: something in it is wrong; its place is `file:line`.
    """
    path = folder / "checks" / "checks.toml"
    if not path.is_file():
        raise NoCheckSetError(folder=folder)
    source = read_source(path)
    head = source.table("checkset")
    kinds = [_read_kind(table) for table in source.tables("check")]
    result = CheckSet(
        name=head.string("name"),
        title=head.text("title"),
        edition=head.string("edition"),
        source=head.string("source"),
        checks=(),
    )
    head.refuse_unknown()
    return replace(result, checks=tuple(_Maker(pack, path.parent).checks(kinds)))


def _read_kind(table: Table) -> CheckKind:
    parameters = table.child("parameters")
    kind = CheckKind(
        name=table.string("name"),
        title=table.text("title"),
        message=table.text("message"),
        level=table.string("level"),
        dimension=table.member("dimension", Dimension),
        asks=table.member("asks", Asks, default=Asks.ROWS),
        each=table.member("each", Each) if table.has("each") else None,
        rows=table.string("rows", default=""),
        parameters=_read_parameters(parameters) if parameters else {},
        over=table.string("over", default=""),
        applies=table.string("applies", default="").strip(),
        violated=table.string("violated", default="").strip(),
        counts=table.string("counts", default="").strip(),
        looks=tuple(_read_look(look) for look in table.children("look")),
        threshold=table.optional_number("threshold") or 0.0,
        threshold_from=table.string("threshold_from", default=""),
        path=str(table.path),
        line=table.line,
    )
    table.refuse_unknown()
    if bool(kind.each) == bool(kind.rows):
        raise table.wrong("each", say("kind_needs"))
    if bool(kind.violated) != (kind.asks is Asks.ROWS):
        raise table.wrong("violated", say("violated_needs"))
    _refuse_unknown_places(table, kind)
    return kind


def _read_parameters(table: Table) -> dict[str, ParameterKind]:
    return {name: table.member(name, ParameterKind) for name in table.all_keys()}


def _read_look(table: Table) -> CheckLook:
    take = table.child("take")
    look = CheckLook(
        name=table.string("name"),
        table=table.string("table"),
        on=_read_pairs(table),
        take=tuple((name, take.string(name)) for name in take.all_keys()) if take else (),
        where=table.string("where", default=""),
    )
    table.refuse_unknown()
    return look


def _read_pairs(table: Table) -> tuple[tuple[str, str], ...]:
    pairs = table.lists("on")
    if not pairs or any(len(pair) != 2 for pair in pairs):
        raise table.wrong("on", say("pairs", key="on"))
    return tuple((own, theirs) for own, theirs in pairs)


def _refuse_unknown_places(table: Table, kind: CheckKind) -> None:
    known = {"table", "field", "as_of", *kind.parameters}
    for look in kind.looks:
        for text in (look.table, look.where, *(part for pair in (*look.on, *look.take) for part in pair)):
            _refuse_places(table, "look", places_of(text) - known)
    looks = {look.name for look in kind.looks}
    for key in ("over", "applies", "violated", "counts"):
        _refuse_places(table, key, places_of(getattr(kind, key)) - known - looks)


def _refuse_places(table: Table, key: str, unknown: set[str]) -> None:
    if unknown:
        raise table.wrong(key, say("unknown_place", name=min(unknown)))


@dataclass(frozen=True)
class _Subject:
    """What one check is about, and where that is declared."""

    table: str
    field: str
    values: Mapping[str, str]
    path: Path
    line: int

    def wrong(self, key: str, **values: object) -> DeclarationError:
        return DeclarationError(say(key, **values), path=self.path, line=self.line)


@dataclass
class _Maker:
    """Makes the checks of every kind, and gives each look a name of its own over the whole set."""

    pack: Pack
    folder: Path
    looks: dict[CheckLook, str] = field(default_factory=dict[CheckLook, str])
    files: dict[str, list[_Subject]] = field(default_factory=dict[str, list[_Subject]])
    seen: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    def checks(self, kinds: Sequence[CheckKind]) -> Iterator[Check]:
        """Yield the checks of all kinds in the order of the declarations."""
        self._read_files(kinds)
        for kind in kinds:
            for subject in self._subjects(kind):
                check = self._check(kind, subject)
                key = (check.name, check.about)
                if key in self.seen or len(self.seen) >= _MOST_CHECKS:
                    raise subject.wrong("twice", name=check.name, about=check.about)
                self.seen.add(key)
                yield check

    def _read_files(self, kinds: Sequence[CheckKind]) -> None:
        used: dict[str, set[str]] = {}
        for kind in kinds:
            if kind.rows:
                columns = used.setdefault(kind.rows, set(_OWN_COLUMNS))
                columns.update(kind.parameters, [kind.threshold_from] if kind.threshold_from else [])
        for kind in kinds:
            if kind.rows and kind.rows not in self.files:
                self.files[kind.rows] = _read_rows(self.folder, kind, used[kind.rows])

    def _subjects(self, kind: CheckKind) -> Iterator[_Subject]:
        if kind.rows:
            for subject in self.files[kind.rows]:
                if not missing_parameters(subject.values, kind.parameters):
                    yield subject
            return
        for dataset in self.pack.datasets.values():
            place = Path(dataset.path)
            if kind.each is Each.TABLE:
                yield _Subject(table=dataset.name, field="", values={}, path=place, line=1)
            else:
                for one in dataset.fields:
                    if _is_for(kind.each, dataset, one):
                        yield _Subject(
                            table=dataset.name, field=one.name, values={}, path=place, line=one.line
                        )

    def _check(self, kind: CheckKind, subject: _Subject) -> Check:
        places = self._places(kind, subject)

        def plain(name: str, part: str | None) -> str:
            if name == "as_of":
                return "{as_of}"
            return places[name][:-1] + RAW + '"' if part == "raw" else places[name]

        looks: dict[str, CheckLook] = {}
        for look in kind.looks:
            looks[look.name] = self._look(look, plain)

        def place(name: str, part: str | None) -> str:
            if name not in looks:
                return plain(name, part)
            column = f"{looks[name].name}.{quoted(part or 'rows')}"
            return f"coalesce({column}, 0)" if part == "rows" else column

        return Check(
            kind=kind,
            table=subject.table,
            field=subject.field,
            parameters={name: subject.values.get(name, "") for name in self._told(kind)},
            threshold=self._threshold(kind, subject),
            over=fill(kind.over, place=plain).strip('"') or subject.table,
            applies=fill(kind.applies, place=place),
            violated=fill(kind.violated, place=place),
            counts=fill(kind.counts, place=place),
            looks=tuple(looks.values()),
            path=str(subject.path) if kind.rows else kind.path,
            line=subject.line if kind.rows else kind.line,
        )

    def _look(self, look: CheckLook, place: Any) -> CheckLook:
        filled = CheckLook(
            name="",
            table=fill(look.table, place=place).strip('"'),
            on=tuple((fill(own, place=place), fill(theirs, place=place)) for own, theirs in look.on),
            take=tuple((name, fill(text, place=place)) for name, text in look.take),
            where=fill(look.where, place=place),
        )
        return replace(filled, name=self.looks.setdefault(filled, f"look_{len(self.looks)}"))

    def _places(self, kind: CheckKind, subject: _Subject) -> dict[str, str]:
        places = {"table": quoted(subject.table), "field": quoted(subject.field)}
        self._refuse_undeclared(subject, subject.table, subject.field)
        for name, sort in kind.parameters.items():
            value = written(subject.values[name], sort)
            if value is None:
                raise subject.wrong("csv_value", name=name, kind=sort)
            if sort is ParameterKind.TABLE:
                self._refuse_undeclared(subject, subject.values[name], "")
            places[name] = value
        return places

    def _refuse_undeclared(self, subject: _Subject, table: str, name: str) -> None:
        if table not in self.pack.datasets:
            raise subject.wrong("unknown_table", name=table)
        if name and name not in {one.name for one in self.pack.datasets[table].fields}:
            raise subject.wrong("unknown_field", table=table, name=name)

    @staticmethod
    def _told(kind: CheckKind) -> list[str]:
        return [name for name, sort in kind.parameters.items() if sort is not ParameterKind.FLAG]

    @staticmethod
    def _threshold(kind: CheckKind, subject: _Subject) -> float:
        own = subject.values.get(kind.threshold_from, "") if kind.threshold_from else ""
        if not own:
            return kind.threshold
        if written(own, ParameterKind.NUMBER) is None:
            raise subject.wrong("csv_value", name=kind.threshold_from, kind=ParameterKind.NUMBER)
        return float(own)


def _is_for(each: Each | None, dataset: Dataset, one: DeclaredField) -> bool:
    if each is Each.REQUIRED_FIELD:
        return one.obligation is Obligation.REQUIRED
    if each is Each.OPTIONAL_FIELD:
        return one.obligation is not Obligation.REQUIRED
    if each is Each.INTEGER_FIELD:
        return one.type is FieldType.INTEGER
    if each is Each.KEY_FIELD:
        return dataset.key == (one.name,)
    return each is Each.FIELD


def _read_rows(folder: Path, kind: CheckKind, columns: set[str]) -> list[_Subject]:
    path = folder / kind.rows
    if not path.is_file() or path.parent != folder:
        text = say("csv_missing", name=kind.rows)
        raise DeclarationError(text, path=Path(kind.path), line=kind.line)
    rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
    heading = rows[0] if rows else []
    _refuse_columns(path, heading, columns)
    subjects: list[_Subject] = []
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(heading):
            raise DeclarationError(say("csv_width"), path=path, line=number)
        values = dict(zip(heading, (cell.strip() for cell in row), strict=True))
        subjects.append(
            _Subject(
                table=values["table"], field=values.get("field", ""), values=values, path=path, line=number
            )
        )
    return subjects


def _refuse_columns(path: Path, heading: Sequence[str], known: set[str]) -> None:
    if "table" not in heading:
        raise DeclarationError(say("csv_needs", name="table"), path=path, line=1)
    for name in heading:
        if name not in known:
            raise DeclarationError(say("csv_column", name=name), path=path, line=1)


def message_of(check: Check) -> Text:
    """Return what the check asks of whoever has to mend the data."""
    values = {"table": check.table, "field": check.field, **check.parameters}

    def place(name: str, part: str | None) -> str:
        return values.get(name, "")

    return Text(zh=fill(check.kind.message.zh, place=place), en=fill(check.kind.message.en, place=place))
