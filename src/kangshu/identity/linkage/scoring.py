"""Say what a model makes of two records: one pair in Python, or the same as SQL for many.

Both add the same numbers in the same order, so they differ at most in the last bit of a float.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2

from kangshu.identity.linkage.conditions import Condition, Profile
from kangshu.identity.linkage.model import (
    Account,
    Comparison,
    Level,
    LinkageModel,
    Part,
    Verdict,
)

UNKNOWN = "unknown"
"""The level of a comparison that says nothing."""
TERM_PREFIX = "term_bits_"
"""A profile column of the tables asked by `weight_sql`: -log2 of the frequency of a term column's value."""
_STRICTNESS = {Verdict.LINK: 0, Verdict.POSSIBLE: 1, Verdict.DIFFERENT: 2}


def score(model: LinkageModel, one: Profile, other: Profile) -> Account:
    """Return what the model says of the two and why; the parts and the prior add up to the weight."""
    parts = [_part(model, comparison, one, other) for comparison in model.comparisons]
    weight, parts = _added(model, parts)
    guards = tuple(guard for guard in model.guards if guard.condition.holds(one, other))
    return Account(
        weight=weight,
        prior=model.prior,
        parts=tuple(parts),
        guards=tuple(guard.name for guard in guards),
        verdict=max((_of_weight(model, weight), *(guard.verdict for guard in guards)), key=_STRICTNESS.get),  # type: ignore[arg-type]
        model=model.version,
    )


def _of_weight(model: LinkageModel, weight: float) -> Verdict:
    if weight >= model.link_at:
        return Verdict.LINK
    return Verdict.POSSIBLE if weight >= model.review_at else Verdict.DIFFERENT


def _part(model: LinkageModel, comparison: Comparison, one: Profile, other: Profile) -> Part:
    if not comparison.known.holds(one, other):
        return Part(comparison=comparison.name, level=UNKNOWN, weight=0.0)
    for level in comparison.levels:
        if level.condition.holds(one, other):
            return Part(comparison=comparison.name, level=level.name, weight=_weight(model, level, one))
    level = comparison.otherwise
    return Part(comparison=comparison.name, level=level.name, weight=level.weight)


def _weight(model: LinkageModel, level: Level, one: Profile) -> float:
    if level.term is None:
        return level.weight
    value = one.get(level.term)
    return level.weight if value is None else log2(level.m) + term_bits(model, level.term, str(value))


def term_bits(model: LinkageModel, column: str, value: str) -> float:
    """Return how rare the value is, in bits: -log2 of its frequency."""
    return -log2(model.terms.get(column, {}).get(value, model.rare[column]))


def _added(model: LinkageModel, parts: list[Part]) -> tuple[float, list[Part]]:
    """Return the weight of the pair and the parts after the caps."""
    capped = {name for cap in model.caps for name in cap.comparisons}
    weight = model.prior
    for part in parts:
        if part.comparison not in capped:
            weight += part.weight
    for cap in model.caps:
        within = [part for part in parts if part.comparison in cap.comparisons]
        said = 0.0
        for part in within:
            said += part.weight
        weight += min(said, cap.most)
        if said > cap.most:
            parts = [
                _lowered(part, within, said - cap.most) if part.comparison in cap.comparisons else part
                for part in parts
            ]
    return weight, parts


def _lowered(part: Part, within: Sequence[Part], excess: float) -> Part:
    """Return the part less its share of what is over the cap: who said more gives up more."""
    if part.weight <= 0:
        return part
    said = sum(one.weight for one in within if one.weight > 0)
    return Part(
        comparison=part.comparison, level=part.level, weight=part.weight - excess * part.weight / said
    )


@dataclass(frozen=True, kw_only=True)
class PairSql:
    """A model as expressions of DuckDB over two rows of profiles."""

    levels: dict[str, str]
    """By column name (`level_0`, ...), each comparison's level as a number: -1 unknown, 0 the first."""
    weight: str
    """Over the columns of `levels` and `bits_...`; the pair's weight."""
    bits: dict[str, str]
    """By column name, the rarity of the value that both tell, for levels with a term."""
    guards: dict[str, str]
    """By column name (`guard_0`, ...), whether each guard holds."""
    verdict: str
    """Over the weight and the guards' columns: 0 link, 1 possible, 2 different."""


def pair_sql(model: LinkageModel, *, one: str, other: str) -> PairSql:
    """Return the model in SQL over rows with these aliases."""
    return PairSql(
        levels={
            f"level_{place}": level_sql(comparison, one=one, other=other)
            for place, comparison in enumerate(model.comparisons)
        },
        weight=_weight_sql(model),
        bits={f"bits_{column}": f"{one}.{TERM_PREFIX}{column}" for column in term_columns(model)},
        guards={
            f"guard_{place}": guard.condition.sql(one, other) for place, guard in enumerate(model.guards)
        },
        verdict=_verdict_sql(model),
    )


def level_sql(comparison: Comparison, *, one: str, other: str) -> str:
    """Return the number of the comparison's level as an expression: -1 unknown, then 0 and on."""
    cases = [f"WHEN NOT {comparison.known.sql(one, other)} THEN -1"]
    cases += [
        f"WHEN {level.condition.sql(one, other)} THEN {place}"
        for place, level in enumerate(comparison.levels)
    ]
    return f"(CASE {' '.join(cases)} ELSE {len(comparison.levels)} END)::TINYINT"


def term_columns(model: LinkageModel) -> tuple[str, ...]:
    """Return the columns whose values' frequencies count, each once, in order."""
    return tuple(
        dict.fromkeys(
            level.term for comparison in model.comparisons for level in comparison.levels if level.term
        )
    )


def _weight_sql(model: LinkageModel) -> str:
    said = {
        comparison.name: _said_sql(comparison, f"level_{place}")
        for place, comparison in enumerate(model.comparisons)
    }
    capped = {name for cap in model.caps for name in cap.comparisons}
    added = [_number(model.prior), *(text for name, text in said.items() if name not in capped)]
    for cap in model.caps:
        within = [_number(0.0), *(text for name, text in said.items() if name in cap.comparisons)]
        added.append(f"least({_sum_sql(within)}, {_number(cap.most)})")
    return _sum_sql(added)


def _number(value: float) -> str:
    # With an exponent it is a double at once and not first a decimal, which may round otherwise.
    return f"({value:.17e})"


def _sum_sql(added: list[str]) -> str:
    return "(" + " + ".join(added) + ")"


def _said_sql(comparison: Comparison, column: str) -> str:
    cases = [f"WHEN -1 THEN {_number(0.0)}"]
    for place, level in enumerate((*comparison.levels, comparison.otherwise)):
        plain = _number(level.weight)
        if level.term is not None:
            plain = f"coalesce({_number(log2(level.m))} + bits_{level.term}, {plain})"
        cases.append(f"WHEN {place} THEN {plain}")
    return f"(CASE {column} {' '.join(cases)} END)"


def _verdict_sql(model: LinkageModel) -> str:
    by_weight = (
        f"CASE WHEN weight >= {_number(model.link_at)} THEN 0"
        f" WHEN weight >= {_number(model.review_at)} THEN 1 ELSE 2 END"
    )
    guarded = [
        f"CASE WHEN guard_{place} THEN {_STRICTNESS[guard.verdict]} ELSE 0 END"
        for place, guard in enumerate(model.guards)
    ]
    return f"greatest({', '.join([by_weight, *guarded, '0'])})::TINYINT"


def columns_of(model: LinkageModel) -> tuple[str, ...]:
    """Return every profile column that the model looks at, in order."""
    conditions: list[Condition] = [guard.condition for guard in model.guards]
    for comparison in model.comparisons:
        conditions += [comparison.known, *(level.condition for level in comparison.levels)]
    asked = {column for condition in conditions for column in condition.columns}
    asked |= {column for key in model.keys for column in key.columns}
    return tuple(sorted(asked | set(term_columns(model))))
