"""Learn a model's weights from a table without any truth: expectation and maximisation over counted patterns.

The pairs that share a blocking key are all counted, the others by a sample; so u and the prior are shares of
all pairs and a weight is a probability as it stands. Winkler (2000); the sample is what Splink adds to it.
"""

# pyarrow makes its compute functions at import, where pyright cannot see them.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log2

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kangshu.identity.linkage.batch import find_pairs, load_profiles, open_engine, register_pairs
from kangshu.identity.linkage.blocking import distinct
from kangshu.identity.linkage.documents import say, versioned
from kangshu.identity.linkage.errors import TrainingFailedError
from kangshu.identity.linkage.model import Comparison, Level, LinkageModel
from kangshu.identity.linkage.scoring import pair_sql, term_columns

_ROUNDS = 200
_SETTLED = 1e-5
_SAMPLED = 250_000
# So many imagined pairs of one person stand for what the model says before it is trained.
_BELIEF = 8.0
_MOST_BITS = 30.0
_MOST_TERMS = 50_000
_MOST_BLOCKED = 8_000_000


def train_own(
    model: LinkageModel,
    *,
    profiles: pa.Table,
    seed: int = 0,
    threads: int = 2,
    memory_limit: str = "1GiB",
    learn_prior: bool = True,
) -> LinkageModel:
    """Return the model with m, u, term frequencies and prior learnt from the profiles; fixed levels stay.

    Raises:
        TrainingFailedError: no two records share a blocking key.
    """
    model = with_terms(model, profiles)
    patterns = _patterns(model, profiles, seed=seed, threads=threads, memory_limit=memory_limit)
    return versioned(learn(model, patterns, learn_prior=learn_prior))


def with_prior(
    model: LinkageModel, *, profiles: pa.Table, seed: int = 0, threads: int = 2, memory_limit: str = "1GiB"
) -> LinkageModel:
    """Return the model with the prior that makes the profiles likeliest; its weights stay."""
    fixed = replace(model, comparisons=tuple(_fixed(comparison) for comparison in model.comparisons))
    patterns = _patterns(model, profiles, seed=seed, threads=threads, memory_limit=memory_limit)
    return replace(model, prior=learn(fixed, patterns).prior)


def _fixed(comparison: Comparison) -> Comparison:
    return replace(
        comparison,
        levels=tuple(replace(level, fixed=True) for level in comparison.levels),
        otherwise=replace(comparison.otherwise, fixed=True),
    )


def _patterns(
    model: LinkageModel, profiles: pa.Table, *, seed: int, threads: int, memory_limit: str
) -> Patterns:
    with open_engine(threads, memory_limit, None) as engine:
        rows = load_profiles(engine, model, profiles)
        return count_patterns(engine, model, find_pairs(engine, model, rows), rows=rows, seed=seed)


def with_terms(model: LinkageModel, profiles: pa.Table, *, weights: np.ndarray | None = None) -> LinkageModel:
    """Return the model with the term frequencies of the profiles.

    With `weights` (a number for each row) a row counts that much: a person of three records counts once
    where each of them has a third.
    """
    terms, rare = {}, {}
    for column in term_columns(model):
        if column not in profiles.column_names:
            terms[column], rare[column] = {}, model.rare.get(column, 1e-4)
            continue
        counted = _counted(profiles[column], weights)
        known = max(float(sum(counted.values())), 1.0)
        terms[column] = {value: share / known for value, share in counted.items() if share > 1.0}
        rare[column] = 1.0 / known
    return replace(model, terms=terms, rare=rare)


def _counted(values: pa.ChunkedArray, weights: np.ndarray | None) -> dict[str, float]:
    table = pa.table(
        {
            "value": pc.cast(values, pa.string()),
            "share": np.ones(len(values)) if weights is None else weights,
        }
    ).filter(pc.is_valid(values))
    counted = table.group_by("value").aggregate([("share", "sum")])
    counted = counted.sort_by([("share_sum", "descending"), ("value", "ascending")]).slice(0, _MOST_TERMS)
    return dict(zip(counted["value"].to_pylist(), counted["share_sum"].to_pylist(), strict=True))


@dataclass(frozen=True, kw_only=True)
class Patterns:
    """How often each combination of levels occurs among all pairs of a table."""

    levels: np.ndarray
    """A row for each pattern, a column for each comparison: -1 unknown, 0 the first level."""
    bits: np.ndarray
    """The rarity in bits of the value that agrees, where the level has a term; NaN elsewhere."""
    count: np.ndarray
    total: float
    """All pairs of the table."""


def count_patterns(
    engine: duckdb.DuckDBPyConnection, model: LinkageModel, blocked: np.ndarray, *, rows: int, seed: int
) -> Patterns:
    """Return the patterns of the blocked pairs and, by a sample, of all others.

    Raises:
        TrainingFailedError: there is no pair to learn from.
    """
    total = rows * (rows - 1) / 2
    if not len(blocked):
        raise TrainingFailedError(say("nothing_to_learn"))
    # Nothing personal and nothing secret: which pairs are looked at, the same for the same seed.
    generator = np.random.default_rng(seed)
    weight = 1.0
    all_blocked = blocked
    if len(blocked) > _MOST_BLOCKED:
        blocked = np.sort(generator.choice(blocked, _MOST_BLOCKED, replace=False))
        weight = len(all_blocked) / len(blocked)
    others = _others(all_blocked, rows, generator)
    found = [_counts(engine, model, blocked, rows, weight)]
    if len(others):
        found.append(_counts(engine, model, others, rows, (total - len(all_blocked)) / len(others)))
    return Patterns(
        levels=np.concatenate([levels for levels, _, _ in found]),
        bits=np.concatenate([bits for _, bits, _ in found]),
        count=np.concatenate([count for _, _, count in found]),
        total=total,
    )


def _others(blocked: np.ndarray, rows: int, generator: np.random.Generator) -> np.ndarray:
    """Return pairs that share no key: all of them in a small table, else a sample."""
    if rows * (rows - 1) // 2 <= _SAMPLED:
        one, other = np.triu_indices(rows, 1)
    else:
        one, other = generator.integers(0, rows, (2, _SAMPLED))
        one, other = np.minimum(one, other)[one != other], np.maximum(one, other)[one != other]
    codes = distinct([one.astype(np.uint64) * np.uint64(rows) + other.astype(np.uint64)])
    place = np.minimum(np.searchsorted(blocked, codes), len(blocked) - 1)
    return codes[blocked[place] != codes]


def _counts(
    engine: duckdb.DuckDBPyConnection, model: LinkageModel, pairs: np.ndarray, rows: int, weight: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sql = pair_sql(model, one="a", other="b")
    register_pairs(engine, pairs, rows)
    inner = [f"{text} AS {name}" for name, text in (sql.levels | sql.bits).items()]
    # Half bits are fine enough to learn from, and let patterns meet.
    told = [
        f"CASE {name} {_term_cases(comparison)} END AS said_{place}"
        for place, (name, comparison) in enumerate(zip(sql.levels, model.comparisons, strict=True))
    ]
    found = engine.execute(
        f"WITH compared AS (SELECT {', '.join(inner)} FROM pair p"
        " JOIN profile a ON a.place = p.one JOIN profile b ON b.place = p.other)"
        f" SELECT {', '.join([*sql.levels, *told])}, count(*) AS n FROM compared GROUP BY ALL ORDER BY ALL"
    ).to_arrow_table()
    engine.unregister("pair")
    levels = np.stack([found[name].to_numpy() for name in sql.levels], axis=1).astype(np.int64)
    bits = np.stack(
        [found[f"said_{place}"].to_numpy().astype(float) for place in range(len(sql.levels))], axis=1
    )
    return levels, bits, found["n"].to_numpy() * weight


def _term_cases(comparison: Comparison) -> str:
    cases = [
        f"WHEN {place} THEN round(bits_{level.term} * 2) / 2"
        for place, level in enumerate(comparison.levels)
        if level.term is not None
    ]
    return " ".join(cases) or "WHEN -9 THEN NULL::DOUBLE"


def learn(model: LinkageModel, patterns: Patterns, *, learn_prior: bool = True) -> LinkageModel:
    """Return the model with the m, u and prior that make the patterns likeliest."""
    learners = [_Learner(comparison, patterns, place) for place, comparison in enumerate(model.comparisons)]
    prior = model.prior
    before = np.inf
    for _ in range(_ROUNDS):
        weight = prior + sum(learner.weights() for learner in learners)
        chance = 1 / (1 + np.exp2(-np.clip(weight, -200, 200)))
        same = patterns.count * chance
        for learner in learners:
            learner.learn(same, patterns.count - same)
        share = min(max(float(same.sum()), 0.5) / patterns.total, 0.5)
        if learn_prior:
            prior = log2(share / (1 - share))
        if abs(before - share) < _SETTLED * share:
            break
        before = share
    return replace(model, comparisons=tuple(learner.comparison() for learner in learners), prior=float(prior))


class _Learner:
    """The levels of one comparison while they are learnt."""

    def __init__(self, comparison: Comparison, patterns: Patterns, place: int) -> None:
        self._comparison = comparison
        levels = (*comparison.levels, comparison.otherwise)
        self._level = patterns.levels[:, place]
        self._known = self._level >= 0
        self._bits = patterns.bits[:, place]
        self._has_bits = ~np.isnan(self._bits)
        self._fixed = np.array([level.fixed for level in levels])
        self._m = np.array([level.m for level in levels])
        self._u = np.array([level.u for level in levels])
        self._belief = self._m / self._m.sum()

    def weights(self) -> np.ndarray:
        by_level = np.log2(self._m / self._u)
        found = np.where(self._known, by_level[self._level], 0.0)
        with_term = np.log2(self._m)[self._level] + np.where(self._has_bits, self._bits, 0.0)
        return np.where(self._has_bits, with_term, found)

    def learn(self, same: np.ndarray, others: np.ndarray) -> None:
        count = len(self._m)
        level = self._level[self._known]
        said = np.bincount(level, weights=same[self._known], minlength=count) + _BELIEF * self._belief
        strange = np.bincount(level, weights=others[self._known], minlength=count) + 0.05
        m, u = said / said.sum(), strange / strange.sum()
        m = np.clip(m, u * 2.0**-_MOST_BITS, u * 2.0**_MOST_BITS)
        self._m = np.where(self._fixed, self._m, m)
        self._u = np.where(self._fixed, self._u, u)

    def comparison(self) -> Comparison:
        def learnt(level: Level, place: int) -> Level:
            m, u = float(self._m[place]), float(self._u[place])
            return replace(level, m=min(max(m, 1e-12), 1.0), u=min(max(u, 1e-12), 1.0))

        levels = [learnt(level, place) for place, level in enumerate(self._comparison.levels)]
        return replace(
            self._comparison,
            levels=tuple(levels),
            otherwise=learnt(self._comparison.otherwise, len(levels)),
        )
