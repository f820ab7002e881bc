"""Where the columns of data sets are used, as declared: rules, scorings, figures, FHIR; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from kangshu.declarations import Dataset, FhirPath, Pack, ReconciliationSide, Rule
from kangshu.kernel.texts import Text
from kangshu.quality.catalogue.model import Use, UseKind

_STRINGS = re.compile(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", re.DOTALL)
# A bare name, or one of the rule's own row; what stands behind another name is that one's affair.
_NAMES = re.compile(r"(?<![\w.$])(?:here\s*\.\s*)?([a-z_][a-z0-9_]*)\b(?!\s*[(.])", re.IGNORECASE)
_OWN = re.compile(r"(?<![\w.$])here\s*\.\s*([a-z_][a-z0-9_]*)\b", re.IGNORECASE)

Found = Iterator[tuple[str, str, Use]]
"""Data set and column, and a use of it."""


def uses_of(pack: Pack) -> dict[tuple[str, str], tuple[Use, ...]]:
    """Return the uses of each column of `pack` by data set and column, each once."""
    known = {(name, field.name) for name, dataset in pack.datasets.items() for field in dataset.fields}
    found: dict[tuple[str, str], dict[Use, None]] = {}
    for part in (*(_of_dataset(dataset) for dataset in pack.datasets.values()), _of_quality(pack)):
        for dataset, column, use in part:
            if (dataset, column) in known:
                found.setdefault((dataset, column), {})[use] = None
    return {key: tuple(_without_own_looks(uses)) for key, uses in found.items()}


def _without_own_looks(uses: Iterable[Use]) -> Iterator[Use]:
    """Yield the uses; a rule that looks at other rows of its own data set is told once."""
    told: set[tuple[str, str]] = set()
    for use in uses:
        told.update([(use.dataset, use.id)] if use.kind is UseKind.RULE else [])
        if use.kind is not UseKind.LOOK or (use.dataset, use.id) not in told:
            yield use


def names_in(sql: str) -> set[str]:
    """Return the bare names that an SQL expression holds; functions and what is in quotes are none.

    >>> sorted(names_in("count(stay) > 3 AND here.kind = 'no name' AND other.kind IS NULL"))
    ['and', 'is', 'kind', 'null', 'stay']
    """
    return {name.lower() for name in _NAMES.findall(_STRINGS.sub(" ", sql))}


def path_text(path: FhirPath) -> str:
    """Return a FHIR path without its conditions, as people read it: `code.coding.code`."""
    return ".".join(step.name for step in path)


def _of_dataset(dataset: Dataset) -> Found:
    for name in dataset.key:
        yield dataset.name, name, Use(kind=UseKind.KEY, id="", title=dataset.title, dataset=dataset.name)
    if dataset.event_time:
        use = Use(kind=UseKind.EVENT_TIME, id="", title=dataset.title, dataset=dataset.name)
        yield dataset.name, dataset.event_time, use
    for rule in dataset.rules:
        yield from _of_rule(dataset, rule)
    for measure in dataset.measures:
        use = Use(kind=UseKind.MEASURE, id=measure.name, title=measure.title, dataset=dataset.name)
        yield from _each(dataset.name, _names((measure.sql, *measure.fingerprint)), use)
    for resource in dataset.fhir:
        for placed in resource.fields:
            for term in placed.terms:
                if term.writes and term.path:
                    path = f"{resource.type}.{path_text(term.path)}"
                    yield (
                        dataset.name,
                        placed.name,
                        Use(kind=UseKind.FHIR, id=path, title=_plain(path), dataset=dataset.name),
                    )


def _of_rule(dataset: Dataset, rule: Rule) -> Found:
    use = Use(kind=UseKind.RULE, id=rule.id, title=rule.message, dataset=dataset.name)
    own = {*rule.fields, *rule.unique, *_names((rule.sql, rule.applies, rule.suspects))}
    look_use = Use(kind=UseKind.LOOK, id=rule.id, title=rule.message, dataset=dataset.name)
    looks: list[tuple[str, str, Use]] = []
    for look in rule.looks:
        own |= _names(mine for mine, _ in look.on)
        own |= {name.lower() for name in _OWN.findall(_STRINGS.sub(" ", look.where))}
        theirs = _names(
            (*(other for _, other in look.on), *(sql for _, sql in look.take), _OWN.sub(" ", look.where))
        )
        looks += _each(look.dataset, theirs, look_use)
    yield from _each(dataset.name, own, use)
    yield from looks


def _of_quality(pack: Pack) -> Found:
    quality = pack.quality
    for scoring in quality.scorings:
        rules = _rule_fields(pack, scoring.dataset)
        for item in (item for group in scoring.groups for item in group.items):
            use = Use(kind=UseKind.SCORING, id=scoring.name, title=item.title, dataset=scoring.dataset)
            yield from _each(scoring.dataset, {*item.fields, *_through(rules, item.rules)}, use)
    for indicator in quality.indicators:
        rules = _rule_fields(pack, indicator.dataset)
        use = Use(kind=UseKind.INDICATOR, id=indicator.id, title=indicator.title, dataset=indicator.dataset)
        columns = {*indicator.fields, *_through(rules, indicator.rules), *names_in(indicator.among)}
        yield from _each(indicator.dataset, columns, use)
    for one in quality.emr_items:
        rules = _rule_fields(pack, one.dataset)
        use = Use(kind=UseKind.EMR, id=one.id, title=one.title, dataset=one.dataset)
        words = _names((one.consistency, one.required, one.expected, one.timeliness))
        yield from _each(one.dataset, {*words, *_through(rules, one.linkage)}, use)
    for pair in quality.reconciliations:
        use = Use(kind=UseKind.RECONCILIATION, id=pair.id, title=pair.title)
        for side in (pair.left, pair.right):
            yield from _each(side.dataset, _side_names(pack, side), use)


def _side_names(pack: Pack, side: ReconciliationSide) -> set[str]:
    names = _names((side.value, side.month, side.where, *side.key))
    dataset = pack.datasets.get(side.dataset)
    if "_at" in names and dataset is not None and dataset.event_time:
        names.add(dataset.event_time)
    return names


def _rule_fields(pack: Pack, dataset: str) -> Mapping[str, tuple[str, ...]]:
    declared = pack.datasets.get(dataset)
    return {rule.id: rule.fields for rule in declared.rules} if declared else {}


def _through(rules: Mapping[str, tuple[str, ...]], ids: Iterable[str]) -> set[str]:
    return {name for rule in ids for name in rules.get(rule, ())}


def _names(expressions: Iterable[str]) -> set[str]:
    return {name for sql in expressions for name in names_in(sql)}


def _each(dataset: str, columns: Iterable[str], use: Use) -> Found:
    for column in columns:
        yield dataset, column, use


def _plain(text: str) -> Text:
    return Text(zh=text, en=text)
