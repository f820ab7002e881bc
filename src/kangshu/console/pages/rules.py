"""Rules: all that are declared, one with what it found, and a new one tried before it counts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from starlette.responses import Response

from kangshu.console.acts import RULE_TRIAL, note
from kangshu.console.charts import BarRow, bar_rows
from kangshu.console.errors import PageNotFoundError, say
from kangshu.console.exporting import csv_answer
from kangshu.console.pages.receipts import dataset_choices
from kangshu.console.paging import NumberedPage, address, numbered_page
from kangshu.console.reach import names, own_codes
from kangshu.console.visits import Visit, page
from kangshu.declarations import (
    Dataset,
    DeclarationError,
    Dimension,
    Measure,
    Rule,
    Scope,
    Severity,
    cell_names,
    read_rule,
)
from kangshu.kernel.errors import KangshuError, Kind
from kangshu.kernel.statuses import STATUS_OF_KIND
from kangshu.kernel.texts import Text
from kangshu.quality import Cell, add_up, list_findings, list_months
from kangshu.quality.plausibility import list_cell_findings
from kangshu.quality.trying import Trial, try_rule
from kangshu.security.principals import Permission
from kangshu.storage.database import Connection

_PATH = "/console/quality/rules"
_PER_PAGE = 100
_MONTHS = 13
_PLACES = 100
_SAMPLES = ("20000", "100000", "1000000")
_SECONDS = 10.0  # arbitrary: so long a person waits
_LONGEST = {"sql": 4000, "looks": 8000, "applies": 2000, "message": 400, "message_en": 400, "id": 40}
_MOST_LOOKS = 8
_REFUSED = STATUS_OF_KIND[Kind.INCORRECT]
_TEXT = Path("rule.toml")  # what places in the rule's text are called
_SEVERITIES = {Severity.ERROR: "rules.error", Severity.WARNING: "rules.warning"}
_EXPLAINED = {
    Scope.ROW: "rules.about_rows",
    Scope.FILE: "rules.about_files",
    Scope.REGION: "rules.about_region",
    Scope.CELL: "rules.about_cells",
}


@dataclass(frozen=True, kw_only=True)
class RuleFilters:
    """What the list is narrowed to, as the form gave it; empty means everything."""

    dataset: str = ""
    dimension: str = ""
    severity: str = ""
    scope: str = ""
    text: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str], *, datasets: Iterable[str]) -> RuleFilters:
        """Return the filters in the words of an address; what makes no sense is left out."""

        def known(name: str, values: Iterable[str]) -> str:
            return query.get(name, "") if query.get(name, "") in set(values) else ""

        return cls(
            dataset=known("dataset", datasets),
            dimension=known("dimension", Dimension),
            severity=known("severity", Severity),
            scope=known("scope", Scope),
            text=query.get("text", "").strip()[:100],
        )

    @property
    def words(self) -> dict[str, str]:
        """The filters as words of an address."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def take(self, dataset: Dataset, rule: Rule) -> bool:
        """Return whether a rule is among those asked for."""
        asked = (
            (self.dataset, dataset.name),
            (self.dimension, rule.dimension),
            (self.severity, rule.severity),
            (self.scope, rule.scope),
        )
        if any(wanted and wanted != is_ for wanted, is_ in asked):
            return False
        words = (rule.id, rule.message.zh, rule.message.en, rule.sql, rule.source, *rule.fields)
        return not self.text or self.text.casefold() in "\n".join(words).casefold()


@dataclass(frozen=True, kw_only=True)
class RuleRow:
    """A rule in the list."""

    dataset: Dataset
    rule: Rule
    href: str


@dataclass(frozen=True, kw_only=True)
class FoundMonth:
    """What a rule found in one month: rows, or months as a whole, and at how many institutions."""

    month: date
    rows: int
    institutions: int
    bar: BarRow


@dataclass(frozen=True, kw_only=True)
class FoundPlace:
    """What a rule found at one institution in the latest month of its findings."""

    name: str
    rows: int
    figures: tuple[tuple[str, float], ...]
    href: str


@dataclass(frozen=True, kw_only=True)
class TrialForm:
    """A rule as somebody is writing it."""

    dataset: str = ""
    id: str = "NEW001"
    severity: str = Severity.WARNING
    dimension: str = Dimension.CONSISTENCY
    sql: str = ""
    applies: str = ""
    looks: str = ""
    message: str = ""
    message_en: str = ""
    rows: str = _SAMPLES[1]

    @classmethod
    def of(cls, form: Mapping[str, str]) -> TrialForm:
        """Return what a form says; line ends are those of a file here."""
        words = {name: form.get(name, "").replace("\r\n", "\n").strip() for name in cls.__dataclass_fields__}
        words["rows"] = words["rows"] if words["rows"] in _SAMPLES else _SAMPLES[1]
        words["id"] = words["id"] or "NEW001"
        return cls(**words)

    def too_long(self) -> str | None:
        """Return the name of a field with more text than any rule needs."""
        return next((name for name, most in _LONGEST.items() if len(getattr(self, name)) > most), None)

    def toml(self, message: Text) -> str:
        """Return the rule as it would stand in the data set's file."""
        lines = [
            "[[rule]]",
            f"id = {_quoted(self.id)}",
            f"severity = {_quoted(self.severity)}",
            f"dimension = {_quoted(self.dimension)}",
            'scope = "region"',
            *([f"applies = {_quoted(self.applies)}"] if self.applies else []),
            f"sql = {_quoted(self.sql)}",
            f"message = {_quoted(message.zh)}",
            f"message_en = {_quoted(message.en)}",
        ]
        return "\n".join([*lines, *(["", self.looks] if self.looks else []), ""])


@dataclass(frozen=True, kw_only=True)
class TextLine:
    """A line of the rule as written; `wrong` where the reason points at it."""

    number: int
    text: str
    wrong: bool


async def show_rules(visit: Visit) -> Response:
    """List the rules that are declared."""
    filters, rows = _chosen(visit)
    part: NumberedPage[RuleRow] = numbered_page(
        rows, path=_PATH, query=filters.words, asked=visit.query.get("page"), size=_PER_PAGE
    )
    return visit.page(
        "rules.html",
        filters=filters,
        query=address("", filters.words),
        rows=part,
        dataset_choices=_datasets(visit),
        dimension_choices=_dimensions(visit),
        severity_choices=_severities(visit),
        scope_choices=[(scope.value, visit.say(f"scope.{scope}")) for scope in Scope],
        severity_titles=_SEVERITIES,
        scopes=[(scope, sum(row.rule.scope is scope for row in rows)) for scope in Scope],
        may_try=visit.staff.may(Permission.MANAGE_QUALITY),
    )


async def export_rules(visit: Visit) -> Response:
    """Send the list as CSV."""
    _, rows = _chosen(visit)
    heads = ("dataset.one", "rule.id", "rule.severity", "rule.dimension", "rule.scope")
    heads += ("rule.message", "rule.condition", "rule.applies", "dataset.edition", "dataset.source")
    lines: list[Sequence[object]] = [[visit.say(head) for head in heads]]
    for row in rows:
        rule = row.rule
        lines.append(
            [
                visit.own(row.dataset.title),
                rule.id,
                visit.say(_SEVERITIES[rule.severity]),
                visit.say(f"dimension.{rule.dimension}"),
                visit.say(f"scope.{rule.scope}"),
                visit.own(rule.message),
                " ".join(rule.sql.split()) or ", ".join(rule.unique),
                rule.applies,
                rule.edition or row.dataset.edition,
                rule.source or row.dataset.source,
            ]
        )
    return csv_answer("rules.csv", lines)


async def show_rule(visit: Visit) -> Response:
    """Show one rule: what it asks, of which rows, and where it found something of late."""
    dataset, rule = _rule(visit)
    async with visit.services.database.connection() as connection:
        codes = await own_codes(visit, connection)
        months, places = await _found(visit, connection, dataset, rule, codes)
    pack = visit.services.pack
    used = {name for _, name in cell_names(rule.sql)} if rule.scope is Scope.CELL else set[str]()
    measures: list[Measure] = [one for one in dataset.measures if one.name in used]
    return visit.page(
        "rule.html",
        dataset=dataset,
        rule=rule,
        severity_titles=_SEVERITIES,
        explained=_EXPLAINED[rule.scope],
        fields=[dataset.field(name) for name in rule.fields],
        looks=[(look, pack.datasets[look.dataset]) for look in rule.looks],
        measures=measures,
        months=months,
        places=places[:_PLACES],
        places_more=max(len(places) - _PLACES, 0),
        may_try=visit.staff.may(Permission.MANAGE_QUALITY) and rule.scope in (Scope.ROW, Scope.REGION),
    )


async def show_trial(visit: Visit) -> Response:
    """Show the form to try a rule, with a declared one to begin from where the address names it."""
    form = TrialForm(dataset=_known_dataset(visit, visit.query.get("dataset", "")))
    dataset = visit.services.pack.datasets.get(form.dataset)
    rules = dataset.rules if dataset else ()
    rule = next((one for one in rules if one.id == visit.query.get("rule")), None)
    if dataset and rule:
        form = TrialForm(
            dataset=dataset.name,
            id=rule.id,
            severity=rule.severity,
            dimension=rule.dimension,
            sql=rule.sql,
            applies=rule.applies,
            looks=_looks_toml(rule),
            message=rule.message.zh,
            message_en=rule.message.en,
        )
    return _form(visit, form)


async def take_trial(visit: Visit) -> Response:
    """Bind the rule, ask it of a sample within the visitor's reach, and tell where it finds something."""
    form = TrialForm.of(visit.form)
    text = form.toml(_message(form))
    dataset = visit.services.pack.datasets.get(form.dataset)
    if dataset is None:
        return _form(visit, form, refusal=visit.say("rules.no_dataset"), status=_REFUSED)
    if named := form.too_long():
        return _form(visit, form, refusal=visit.say("rules.too_long", most=_LONGEST[named]), status=_REFUSED)
    try:
        rule = read_rule(text, dataset=dataset, path=_TEXT)
        if len(rule.looks) > _MOST_LOOKS:
            return _form(
                visit, form, refusal=visit.say("rules.many_looks", most=_MOST_LOOKS), status=_REFUSED
            )
        trial, called = await _try(visit, dataset, rule, most_rows=int(form.rows))
    except DeclarationError as wrong:
        return _form(visit, form, refusal=visit.own(wrong.text), text=text, line=wrong.line, status=_REFUSED)
    except KangshuError as failed:
        return _form(visit, form, refusal=visit.own(failed.text), status=STATUS_OF_KIND[failed.kind])
    return _form(visit, form, trial=trial, called=called, text=text)


# --- the list and one rule ---


def _chosen(visit: Visit) -> tuple[RuleFilters, list[RuleRow]]:
    datasets = visit.services.pack.datasets
    filters = RuleFilters.of(visit.query, datasets=datasets)
    rows = [
        RuleRow(dataset=dataset, rule=rule, href=f"{_PATH}/{dataset.name}/{rule.id}")
        for dataset in datasets.values()
        for rule in dataset.rules
        if filters.take(dataset, rule)
    ]
    # Data that a region collects come before samples of other sources.
    return filters, sorted(rows, key=lambda row: row.dataset.category == "sample")


def _rule(visit: Visit) -> tuple[Dataset, Rule]:
    dataset = visit.services.pack.datasets.get(visit.request.path_params["dataset"])
    rules = dataset.rules if dataset else ()
    rule = next((one for one in rules if one.id == visit.request.path_params["rule"]), None)
    if dataset is None or rule is None:
        raise PageNotFoundError
    return dataset, rule


async def _found(
    visit: Visit, connection: Connection, dataset: Dataset, rule: Rule, codes: Sequence[str] | None
) -> tuple[list[FoundMonth], list[FoundPlace]]:
    """Return what the rule found by month, and at which institutions in the latest month of these."""
    kept = (await list_months(connection, institutions=codes))[:_MONTHS]
    if not kept:
        return [], []
    if rule.scope is Scope.CELL:
        cells = await list_cell_findings(
            connection, first=kept[-1], last=kept[0], institutions=codes, datasets=[dataset.name]
        )
        found = {one.cell: 1 for one in cells if one.rule == rule.id}
        figures = {one.cell: tuple(one.figures.items()) for one in cells if one.rule == rule.id}
    else:
        counted = await list_findings(
            connection,
            first=kept[-1],
            last=kept[0],
            institutions=codes,
            datasets=[dataset.name],
            rule=rule.id,
        )
        found = {one.cell: one.rows for one in add_up(counted)}
        figures = dict[Cell, tuple[tuple[str, float], ...]]()
    months = _months(found)
    latest = months[0].month if months else None
    there = {cell: rows for cell, rows in found.items() if cell.month == latest}
    called = await names(connection, [cell.institution for cell in there])
    places = [
        FoundPlace(
            name=called.get(cell.institution, cell.institution),
            rows=rows,
            figures=figures.get(cell, ()),
            href=address(
                f"/console/quality/institution/{cell.institution}", {"month": f"{cell.month:%Y-%m}"}
            ),
        )
        for cell, rows in there.items()
    ]
    return months, sorted(places, key=lambda place: (-place.rows, place.name))


def _months(found: Mapping[Cell, int]) -> list[FoundMonth]:
    rows: defaultdict[date, int] = defaultdict(int)
    places: defaultdict[date, set[str]] = defaultdict(set)
    for cell, count in found.items():
        rows[cell.month] += count
        places[cell.month].add(cell.institution)
    latest = sorted(rows, reverse=True)
    bars = bar_rows([(rows[month], 0) for month in latest])
    return [
        FoundMonth(month=month, rows=rows[month], institutions=len(places[month]), bar=bar)
        for month, bar in zip(latest, bars, strict=True)
    ]


# --- trying ---


async def _try(visit: Visit, dataset: Dataset, rule: Rule, *, most_rows: int) -> tuple[Trial, dict[str, str]]:
    services = visit.services
    async with services.database.transaction() as connection:
        codes = await own_codes(visit, connection)
        # Not the rule's text: somebody's name may stand in it.
        await note(connection, visit, RULE_TRIAL, resource=dataset.name, detail={"rows": most_rows})
    # A trial takes a core and memory like a check of a file; both wait at the same door.
    async with visit.request.app.state.reading:
        trial = await try_rule(
            services.database,
            services.engine,
            home=services.lake_home,
            pack=services.pack,
            dataset=replace(dataset, path=str(_TEXT)),
            rule=rule,
            institutions=codes,
            most_rows=most_rows,
            seconds=_SECONDS,
        )
    async with services.database.connection() as connection:
        return trial, await names(connection, [place.institution for place in trial.places])


def _form(
    visit: Visit,
    form: TrialForm,
    *,
    refusal: str = "",
    text: str = "",
    line: int = 0,
    trial: Trial | None = None,
    called: Mapping[str, str] | None = None,
    status: int = 200,
) -> Response:
    lines = [
        TextLine(number=number, text=part, wrong=number == line)
        for number, part in enumerate(text.rstrip("\n").split("\n"), start=1)
        if text
    ]
    return visit.page(
        "rule_trial.html",
        status=status,
        form=form,
        refusal=refusal,
        line=line,
        lines=lines,
        trial=trial,
        called=called or {},
        dataset_choices=dataset_choices(visit),
        dimension_choices=_dimensions(visit),
        severity_choices=_severities(visit),
        sample_choices=[(rows, f"{int(rows):,}") for rows in _SAMPLES],
        dataset=visit.services.pack.datasets.get(form.dataset),
        seconds=int(_SECONDS),
    )


def _message(form: TrialForm) -> Text:
    usual = say["rules.no_message"]
    return Text(zh=form.message or usual.zh, en=form.message_en or usual.en)


def _looks_toml(rule: Rule) -> str:
    parts: list[str] = []
    for look in rule.looks:
        on = ", ".join(f"[{_quoted(own)}, {_quoted(theirs)}]" for own, theirs in look.on)
        lines = ["[[rule.look]]", f"name = {_quoted(look.name)}", f"dataset = {_quoted(look.dataset)}"]
        lines.append(f"on = [{on}]")
        if look.where:
            lines.append(f"where = {_quoted(look.where)}")
        if look.take:
            lines += ["[rule.look.take]", *(f"{name} = {_quoted(sql)}" for name, sql in look.take)]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _quoted(text: str) -> str:
    """Return a text as TOML writes it; several lines stay several lines."""
    kept = "".join(one if one in "\n\t" or (one >= " " and one != "\x7f") else " " for one in text)
    escaped = kept.replace("\\", "\\\\").replace('"', '\\"')
    return f'"""\n{escaped}\n"""' if "\n" in kept else f'"{escaped}"'


# --- choices ---


def _datasets(visit: Visit) -> list[tuple[str, str]]:
    return [(name, visit.own(one.title)) for name, one in visit.services.pack.datasets.items() if one.rules]


def _dimensions(visit: Visit) -> list[tuple[str, str]]:
    return [(one.value, visit.say(f"dimension.{one}")) for one in Dimension]


def _severities(visit: Visit) -> list[tuple[str, str]]:
    return [(one.value, visit.say(_SEVERITIES[one])) for one in Severity]


def _known_dataset(visit: Visit, name: str) -> str:
    return name if name in visit.services.pack.datasets else ""


routes = [
    page("/quality/rules", show_rules, may=Permission.SEE_QUALITY),
    page("/quality/rules.csv", export_rules, may=Permission.SEE_QUALITY),
    page("/quality/rules/try", show_trial, may=Permission.MANAGE_QUALITY),
    page("/quality/rules/try", take_trial, may=Permission.MANAGE_QUALITY, method="POST"),
    page("/quality/rules/{dataset}/{rule}", show_rule, may=Permission.SEE_QUALITY),
]
