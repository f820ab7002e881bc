"""Read what a region pack declares about quality: looks and measures of a data set, the folder `quality/`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from kangshu.declarations.errors import DeclarationError, say
from kangshu.declarations.model import CodeTable, Dataset, Dimension, FieldType
from kangshu.declarations.quality import (
    Band,
    EmrItem,
    Expectation,
    Grade,
    Look,
    Measure,
    QualityIndicator,
    QualitySettings,
    Reconciliation,
    ReconciliationSide,
    ScoreSettings,
    Scoring,
    ScoringGroup,
    ScoringItem,
)
from kangshu.declarations.tables import Source, Table, read_source

_T = TypeVar("_T")
_NAME = re.compile(r"^[a-z][a-z0-9_]*$")
_FILES = {"score", "expectations", "scorings", "indicators", "emr", "reconciliations", "grades"}
_MONTHLY = "institution_month"

OWN_ROW = "here"
"""How a look's condition names the rule's own row."""

ROWS = "rows"
"""The figure that every look and every cell has: how many rows there are."""


def read_looks(table: Table, *, known: set[str]) -> tuple[Look, ...]:
    """Return the `[[rule.look]]` blocks of a rule; their SQL is not yet bound.

    `known` are the fields of the rule's data set: nothing of a look may be called like one of them, because
    the predicate names both.

    Raises:
        DeclarationError: one of them is wrong.
    """
    looks = tuple(_read_look(inner, known=known) for inner in table.children("look"))
    _refuse_twins(table, "look", [look.name for look in looks])
    return looks


def read_measures(source: Source) -> tuple[Measure, ...]:
    """Return the `[[measure]]` blocks of a data set; their SQL is not yet bound.

    Raises:
        DeclarationError: one of them is wrong.
    """
    measures: dict[str, Measure] = {}
    for table in source.tables("measure"):
        measure = _read_measure(table)
        if measure.name in measures:
            raise table.wrong("name", say("twice", name=measure.name))
        measures[measure.name] = measure
    return tuple(measures.values())


def read_quality(
    folder: Path, *, datasets: Mapping[str, Dataset], codes: Mapping[str, CodeTable]
) -> QualitySettings:
    """Return what the files of `folder` declare; one that is not there declares nothing.

    Raises:
        DeclarationError: something in them is wrong, or a file has a name that nobody reads.
    """
    for path in sorted(folder.glob("*.toml")):
        if path.stem not in _FILES:
            known = ", ".join(f"{name}.toml" for name in sorted(_FILES))
            raise DeclarationError(say("unknown_key", key=path.name, known=known), path=path, line=1)
    scorings = _each(folder / "scorings.toml", "scoring", lambda table: _read_scoring(table, datasets))
    reconciliations = _each(
        folder / "reconciliations.toml",
        "reconciliation",
        lambda table: _read_reconciliation(table, datasets),
        name="id",
    )
    return QualitySettings(
        score=_read_score(folder / "score.toml", datasets),
        expectations=_each(
            folder / "expectations.toml",
            "expectation",
            lambda table: _read_expectation(table, datasets, codes),
            name=None,
        ),
        scorings=scorings,
        indicators=_each(
            folder / "indicators.toml",
            "indicator",
            lambda table: _read_indicator(table, datasets, scorings, reconciliations),
            name="id",
        ),
        emr_items=_each(
            folder / "emr.toml", "item", lambda table: _read_emr_item(table, datasets), name="id"
        ),
        reconciliations=reconciliations,
        grades=_each(folder / "grades.toml", "grade", _read_grade),
    )


def _each(path: Path, kind: str, read: Callable[[Table], _T], *, name: str | None = "name") -> tuple[_T, ...]:
    """Return every `[[kind]]` of a file as `read` reads it; the values of `name` differ."""
    if not path.exists():
        return ()
    source = read_source(path)
    found: list[_T] = []
    seen: set[str] = set()
    for table in source.tables(kind):
        found.append(read(table))
        table.refuse_unknown()
        if name and table.string(name) in seen:
            raise table.wrong(name, say("twice", name=table.string(name)))
        if name:
            seen.add(table.string(name))
    source.whole().refuse_unknown(but=[kind])
    return tuple(found)


# --- a data set's own ------------------------------------------------------------------------------------


def _read_look(table: Table, *, known: set[str]) -> Look:
    name = _own_name(table, "name", taken=known | {OWN_ROW})
    taken = table.child("take")
    take: list[tuple[str, str]] = []
    for key in taken.all_keys() if taken else ():
        assert taken is not None, "the keys are its own"
        if not _NAME.match(key):
            raise taken.wrong(key, say("wrong_name", name=key))
        if key in known or key == ROWS:
            raise taken.wrong(key, say("name_taken", name=key))
        take.append((key, taken.string(key).strip()))
    look = Look(
        name=name,
        dataset=table.string("dataset"),
        on=_read_pairs(table),
        take=tuple(take),
        where=table.string("where", default="").strip(),
        line=table.line,
    )
    table.refuse_unknown()
    return look


def _read_pairs(table: Table) -> tuple[tuple[str, str], ...]:
    pairs = table.lists("on")
    if not pairs or not all(len(pair) == 2 and all(one.strip() for one in pair) for pair in pairs):
        raise table.wrong("on", say("wrong_pairs"))
    return tuple((own.strip(), their.strip()) for own, their in pairs)


def _read_measure(table: Table) -> Measure:
    months_back = table.optional_whole("months_back")
    measure = Measure(
        name=_own_name(table, "name", taken={ROWS}),
        title=table.text("title"),
        sql=table.string("sql", default="").strip(),
        fingerprint=tuple(one.strip() for one in table.strings("fingerprint")),
        months_back=1 if months_back is None else months_back,
        share_of=table.text("share_of") if table.has("share_of") else None,
        line=table.line,
    )
    table.refuse_unknown()
    if bool(measure.sql) == bool(measure.fingerprint):
        raise table.wrong("name", say("measure_needs"))
    if table.has("months_back") and not measure.fingerprint:
        raise table.wrong("months_back", say("only_with", key="months_back", other="fingerprint"))
    if not 1 <= measure.months_back <= 24:
        raise table.wrong("months_back", say("out_of_range", key="months_back", low=1, high=24))
    return measure


def _own_name(table: Table, key: str, *, taken: set[str]) -> str:
    name = table.string(key)
    if not _NAME.match(name):
        raise table.wrong(key, say("wrong_name", name=name))
    if name in taken:
        raise table.wrong(key, say("name_taken", name=name))
    return name


def _refuse_twins(table: Table, key: str, names: Sequence[str]) -> None:
    for place, name in enumerate(names):
        if name in names[:place]:
            raise table.wrong(key, say("twice", name=name))


# --- the folder ------------------------------------------------------------------------------------------


def _read_score(path: Path, datasets: Mapping[str, Dataset]) -> ScoreSettings:
    if not path.exists():
        return ScoreSettings()
    whole = read_source(path).whole()
    head = whole.child("score")
    other, warning = ScoreSettings().other_datasets, ScoreSettings().warning_weight
    if head:
        other = _weight(head, "other_datasets", default=other)
        warning = _weight(head, "warning_weight", default=warning)
        if warning > 1:
            raise head.wrong("warning_weight", say("out_of_range", key="warning_weight", low=0, high=1))
        head.refuse_unknown()
    settings = ScoreSettings(
        dimensions=_weights(whole.child("dimensions"), known=tuple(Dimension)),
        datasets=_weights(whole.child("datasets"), known=tuple(datasets)),
        other_datasets=other,
        warning_weight=warning,
        bands=_read_bands(whole),
    )
    whole.refuse_unknown()
    return settings


def _weights(table: Table | None, *, known: Sequence[str]) -> dict[str, float]:
    if table is None:
        return {}
    weights: dict[str, float] = {}
    for name in table.all_keys():
        if name not in known:
            raise table.wrong(name, say("unknown_key", key=name, known=", ".join(known)))
        weights[name] = _weight(table, name)
    if not any(weights.values()):
        raise table.wrong("", say("no_weight"))
    return weights


def _weight(table: Table, key: str, *, default: float = 0.0) -> float:
    weight = table.optional_number(key)
    if weight is not None and not 0 <= weight < float("inf"):
        raise table.wrong(key, say("out_of_range", key=key, low=0, high="∞"))
    return default if weight is None else float(weight)


def _read_bands(table: Table) -> tuple[Band, ...]:
    """Return the `[[band]]` blocks, the best first; without a floor the last has the rest."""
    bands: list[Band] = []
    for inner in table.children("band"):
        band = Band(name=inner.string("name"), title=inner.text("title"), least=_needed(inner, "least"))
        inner.refuse_unknown()
        if bands and band.least >= bands[-1].least:
            raise inner.wrong("least", say("bands_order"))
        if band.name in {one.name for one in bands}:
            raise inner.wrong("name", say("twice", name=band.name))
        bands.append(band)
    return tuple(bands)


def _read_expectation(
    table: Table, datasets: Mapping[str, Dataset], codes: Mapping[str, CodeTable]
) -> Expectation:
    defaults = Expectation(dataset="")
    expectation = Expectation(
        dataset=_dataset(table, "dataset", datasets).name,
        types=table.strings("types"),
        levels=table.strings("levels"),
        due_days=_days(table, "due_days", default=defaults.due_days),
        late_days=_days(table, "late_days", default=defaults.late_days),
        least_share=_share(table, "least_share", default=defaults.least_share),
        statistic=table.string("statistic", default=""),
        line=table.line,
    )
    for key, name, given in (
        ("types", "institution_type", expectation.types),
        ("levels", "hospital_grade", expectation.levels),
    ):
        known = codes[name].titles() if name in codes else None
        for code in given:
            if known is not None and code not in known:
                raise table.wrong(key, say("unknown_code", code=code, table=name))
    if expectation.statistic:
        _check_statistic(table, expectation.statistic, datasets)
    return expectation


def _check_statistic(table: Table, name: str, datasets: Mapping[str, Dataset]) -> None:
    monthly = datasets.get(_MONTHLY)
    fields = {field.name: field for field in monthly.fields} if monthly else {}
    if name not in fields or fields[name].type not in (FieldType.INTEGER, FieldType.DECIMAL):
        raise table.wrong("statistic", say("unknown_statistic", name=name, dataset=_MONTHLY))


def _read_scoring(table: Table, datasets: Mapping[str, Dataset]) -> Scoring:
    dataset = _dataset(table, "dataset", datasets)
    groups = tuple(_read_group(inner, dataset) for inner in table.children("group"))
    if not groups:
        raise table.wrong("group", say("missing_key", key="[[scoring.group]]"))
    return Scoring(
        name=table.string("name"),
        title=table.text("title"),
        dataset=dataset.name,
        source=table.string("source", default=""),
        groups=groups,
        bands=_read_bands(table),
        line=table.line,
    )


def _read_group(table: Table, dataset: Dataset) -> ScoringGroup:
    items = tuple(_read_item(inner, dataset) for inner in table.children("item"))
    group = ScoringGroup(title=table.text("title"), points=_points(table), items=items)
    table.refuse_unknown()
    if not items:
        raise table.wrong("item", say("missing_key", key="[[scoring.group.item]]"))
    return group


def _read_item(table: Table, dataset: Dataset) -> ScoringItem:
    item = ScoringItem(
        title=table.text("title"),
        points=_points(table),
        kind=table.string("kind", default=""),
        fields=_fields(table, dataset),
        rules=_rules(table, "rules", dataset),
    )
    table.refuse_unknown()
    if not item.fields and not item.rules:
        raise table.wrong("title", say("item_needs"))
    return item


def _points(table: Table) -> float:
    points = _needed(table, "points")
    if points <= 0:
        raise table.wrong("points", say("out_of_range", key="points", low="> 0", high="∞"))
    return points


def _read_indicator(
    table: Table,
    datasets: Mapping[str, Dataset],
    scorings: Sequence[Scoring],
    reconciliations: Sequence[Reconciliation],
) -> QualityIndicator:
    dataset = _dataset(table, "dataset", datasets)
    indicator = QualityIndicator(
        id=table.string("id"),
        title=table.text("title"),
        dataset=dataset.name,
        fields=_fields(table, dataset),
        rules=_rules(table, "rules", dataset),
        among=table.string("among", default="").strip(),
        scoring=table.string("scoring", default=""),
        band=table.string("band", default=""),
        reconciliation=table.string("reconciliation", default=""),
        note=table.text("note", default=""),
        line=table.line_of("among"),
    )
    ways = (indicator.fields or indicator.rules, indicator.scoring, indicator.reconciliation)
    if sum(map(bool, ways)) != 1:
        raise table.wrong("id", say("indicator_needs"))
    if indicator.scoring:
        sheet = next((one for one in scorings if one.name == indicator.scoring), None)
        if sheet is None or sheet.dataset != dataset.name:
            known = ", ".join(one.name for one in scorings if one.dataset == dataset.name)
            raise table.wrong("scoring", say("unknown_key", key=indicator.scoring, known=known))
        if indicator.band not in {band.name for band in sheet.bands}:
            known = ", ".join(band.name for band in sheet.bands)
            raise table.wrong("band", say("unknown_key", key=indicator.band, known=known))
    elif indicator.band:
        raise table.wrong("band", say("only_with", key="band", other="scoring"))
    if indicator.reconciliation and indicator.reconciliation not in {one.id for one in reconciliations}:
        known = ", ".join(one.id for one in reconciliations)
        raise table.wrong("reconciliation", say("unknown_key", key=indicator.reconciliation, known=known))
    return indicator


def _read_emr_item(table: Table, datasets: Mapping[str, Dataset]) -> EmrItem:
    dataset = _dataset(table, "dataset", datasets)
    item = EmrItem(
        id=table.string("id"),
        title=table.text("title"),
        dataset=dataset.name,
        consistency=table.string("consistency", default="").strip(),
        required=table.string("required", default="").strip(),
        expected=table.string("expected", default="").strip(),
        linkage=_rules(table, "linkage", dataset),
        timeliness=table.string("timeliness", default="").strip(),
        line=table.line,
    )
    if not any((item.consistency, item.required, item.expected, item.linkage, item.timeliness)):
        raise table.wrong("id", say("aspect_needed"))
    return item


def _read_reconciliation(table: Table, datasets: Mapping[str, Dataset]) -> Reconciliation:
    sides = [_read_side(table, key, datasets) for key in ("left", "right")]
    if len({len(side.key) for side in sides if side.key}) > 1:
        raise table.wrong("id", say("keys_differ"))
    return Reconciliation(
        id=table.string("id"),
        title=table.text("title"),
        left=sides[0],
        right=sides[1],
        relative=_share(table, "relative", default=0.0),
        absolute=_weight(table, "absolute"),
        message=table.text("message"),
        source=table.string("source", default=""),
        line=table.line,
    )


def _read_side(table: Table, key: str, datasets: Mapping[str, Dataset]) -> ReconciliationSide:
    inner = table.child(key)
    if inner is None:
        raise table.wrong(key, say("missing_key", key=f"[reconciliation.{key}]"))
    side = ReconciliationSide(
        dataset=_dataset(inner, "dataset", datasets).name,
        title=inner.text("title"),
        value=inner.string("value").strip(),
        month=inner.string("month", default="_at").strip(),
        where=inner.string("where", default="").strip(),
        key=tuple(one.strip() for one in inner.strings("key")),
    )
    inner.refuse_unknown()
    return side


def _read_grade(table: Table) -> Grade:
    defaults = Grade(name="", title=table.text("title"))
    grade = Grade(
        name=table.string("name"),
        title=defaults.title,
        score_below=table.optional_number("score_below"),
        share_at_least=table.optional_number("share_at_least"),
        missing_days=table.optional_whole("missing_days"),
        days=_days(table, "days", default=defaults.days),
        escalate_days=_days(table, "escalate_days", default=defaults.escalate_days),
    )
    if grade.score_below is None and grade.share_at_least is None and grade.missing_days is None:
        raise table.wrong("name", say("grade_needs"))
    if grade.share_at_least is not None and not 0 < grade.share_at_least <= 1:
        raise table.wrong("share_at_least", say("out_of_range", key="share_at_least", low="> 0", high=1))
    if grade.missing_days is not None:
        _days(table, "missing_days", default=0)
    return grade


# --- what they share -------------------------------------------------------------------------------------


def _dataset(table: Table, key: str, datasets: Mapping[str, Dataset]) -> Dataset:
    name = table.string(key)
    if name not in datasets:
        raise table.wrong(key, say("unknown_dataset", name=name, known=", ".join(datasets)))
    return datasets[name]


def _fields(table: Table, dataset: Dataset) -> tuple[str, ...]:
    return table.names("fields", known={field.name for field in dataset.fields})


def _rules(table: Table, key: str, dataset: Dataset) -> tuple[str, ...]:
    known = [rule.id for rule in dataset.rules]
    names = table.strings(key)
    for name in names:
        if name not in known:
            raise table.wrong(key, say("unknown_rule", name=name, dataset=dataset.name))
    return names


def _needed(table: Table, key: str) -> float:
    value = table.optional_number(key)
    if value is None:
        raise table.wrong(key, say("missing_key", key=key))
    return float(value)


def _share(table: Table, key: str, *, default: float) -> float:
    value = table.optional_number(key)
    if value is not None and not 0 <= value <= 1:
        raise table.wrong(key, say("out_of_range", key=key, low=0, high=1))
    return default if value is None else float(value)


def _days(table: Table, key: str, *, default: int) -> int:
    value = table.optional_whole(key)
    if value is not None and not 0 <= value <= 3660:
        raise table.wrong(key, say("out_of_range", key=key, low=0, high=3660))
    return default if value is None else value
