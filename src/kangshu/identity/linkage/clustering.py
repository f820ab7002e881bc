"""Make persons of linked pairs: who is linked is one person, unless two in the cluster cannot be.

Components without a contradiction are taken as they are. In the others the heaviest links come first, and
a link that would bring two together who cannot be one person goes to a human.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

_LINK, _POSSIBLE = 0, 1
# A component of n records has n(n-1)/2 pairs to ask about; beyond this size only those compared count.
LARGEST_ASKED = 1000
Ask = Callable[[np.ndarray], pa.Table]
"""Weighs pairs given as one * rows + other: one, other, weight, verdict, vetoed."""


@dataclass(frozen=True, kw_only=True)
class Clustering:
    """Which rows are one person, and which pairs of rows a human should look at."""

    cluster: np.ndarray
    """For each row the smallest row of its cluster."""
    review_one: np.ndarray
    review_other: np.ndarray
    review_weight: np.ndarray


@dataclass(frozen=True, kw_only=True)
class _Pairs:
    one: np.ndarray
    other: np.ndarray
    weight: np.ndarray
    verdict: np.ndarray
    vetoed: np.ndarray

    def where(self, mask: np.ndarray) -> _Pairs:
        return _Pairs(
            one=self.one[mask],
            other=self.other[mask],
            weight=self.weight[mask],
            verdict=self.verdict[mask],
            vetoed=self.vetoed[mask],
        )


def cluster_rows(
    scored: pa.Table, *, rows: int, margin: float, ask: Ask, support: float | None = None
) -> Clustering:
    """Return the clusters of the linked pairs of `scored`.

    A record that is linked with two who cannot be one person, and not clearly more with one of them (by
    `margin` bits), joins neither. With `support`, two clusters are joined only where the mean weight of all
    pairs between them is at least that.
    """
    pairs = _pairs(scored)
    links = pairs.where(pairs.verdict == _LINK)
    component = components(links.one, links.other, rows)
    within = _pairs(ask(_inner_pairs(component, rows, pairs)))
    contradicted = within.vetoed
    if support is not None:
        contradicted = contradicted | (within.weight < support)
    troubled = np.zeros(rows, dtype=bool)
    troubled[component[within.one[contradicted]]] = True
    cluster = component.copy()
    part_of_trouble = troubled[component]
    if troubled.any():
        cluster[part_of_trouble] = np.flatnonzero(part_of_trouble)
        at_issue = links.where(troubled[component[links.one]])
        known = within.where(troubled[component[within.one]])
        _join(cluster, at_issue, known, margin, support)
    return _with_reviews(cluster, pairs)


def _pairs(table: pa.Table) -> _Pairs:
    return _Pairs(
        one=table["one"].to_numpy().astype(np.int64),
        other=table["other"].to_numpy().astype(np.int64),
        weight=table["weight"].to_numpy(),
        verdict=table["verdict"].to_numpy(),
        vetoed=np.asarray(table["vetoed"].to_numpy(), dtype=bool),
    )


def components(one: np.ndarray, other: np.ndarray, rows: int) -> np.ndarray:
    """Return for each row the smallest row that it is connected with by the pairs."""
    label = np.arange(rows)
    while True:
        mine, theirs = label[one], label[other]
        apart = mine != theirs
        if not apart.any():
            return label
        one, other = one[apart], other[apart]
        low, high = np.minimum(mine[apart], theirs[apart]), np.maximum(mine[apart], theirs[apart])
        np.minimum.at(label, high, low)
        while True:  # every row points at the root of its tree
            root = label[label]
            if np.array_equal(root, label):
                break
            label = root


def _inner_pairs(component: np.ndarray, rows: int, compared: _Pairs) -> np.ndarray:
    """Return all pairs within components of three and more, of the largest ones those compared."""
    order = np.argsort(component, kind="stable")
    sizes = np.unique(component, return_counts=True)[1]
    size = np.repeat(sizes, sizes)
    place = np.arange(rows) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    partners = np.where((size > 2) & (size <= LARGEST_ASKED), size - 1 - place, 0)
    first = np.repeat(np.arange(rows), partners)
    step = np.arange(len(first)) - np.repeat(np.cumsum(partners) - partners, partners) + 1
    codes = order[first].astype(np.uint64) * np.uint64(rows) + order[first + step].astype(np.uint64)
    counts = np.bincount(component, minlength=rows)
    of_large = (component[compared.one] == component[compared.other]) & (
        counts[component[compared.one]] > LARGEST_ASKED
    )
    large = compared.one[of_large].astype(np.uint64) * np.uint64(rows) + compared.other[of_large].astype(
        np.uint64
    )
    return np.sort(np.concatenate((codes, large)))


def _join(cluster: np.ndarray, links: _Pairs, known: _Pairs, margin: float, support: float | None) -> None:
    """Join the rows of contradicted components, the heaviest links first; changes `cluster`."""
    apart: dict[int, set[int]] = defaultdict(set)
    for one, other in zip(known.one[known.vetoed].tolist(), known.other[known.vetoed].tolist(), strict=True):
        apart[one].add(other)
        apart[other].add(one)
    torn = _torn(links, apart, margin)
    weights: dict[tuple[int, int], float] = {}
    if support is not None:
        weights = dict(
            zip(
                zip(known.one.tolist(), known.other.tolist(), strict=True), known.weight.tolist(), strict=True
            )
        )
    members = {row: [row] for row in {*links.one.tolist(), *links.other.tolist()}}
    order = np.lexsort((links.other, links.one, -links.weight))
    for one, other in zip(links.one[order].tolist(), links.other[order].tolist(), strict=True):
        mine, theirs = int(cluster[one]), int(cluster[other])
        if mine == theirs or (one, other) in torn:
            continue
        if any(not apart[row].isdisjoint(members[theirs]) for row in members[mine] if row in apart):
            continue
        if support is not None and _mean(weights, members[mine], members[theirs]) < support:
            continue
        low, high = min(mine, theirs), max(mine, theirs)
        members[low] += members.pop(high)
        cluster[members[low]] = low


def _mean(weights: dict[tuple[int, int], float], mine: list[int], theirs: list[int]) -> float:
    said = [
        weights[pair]
        for one in mine
        for other in theirs
        if (pair := (min(one, other), max(one, other))) in weights
    ]
    return sum(said) / len(said) if said else 0.0


def _torn(links: _Pairs, apart: dict[int, set[int]], margin: float) -> set[tuple[int, int]]:
    """Return the links of records that are linked with two who cannot be one, about as well with either."""
    partners: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for one, other, weight in zip(
        links.one.tolist(), links.other.tolist(), links.weight.tolist(), strict=True
    ):
        partners[one].append((weight, other))
        partners[other].append((weight, one))
    torn = set()
    for row, found in partners.items():
        for place, (weight, first) in enumerate(found):
            for other_weight, second in found[place + 1 :]:
                if abs(weight - other_weight) <= margin and second in apart.get(first, ()):
                    torn |= {(min(row, first), max(row, first)), (min(row, second), max(row, second))}
    return torn


def _with_reviews(cluster: np.ndarray, pairs: _Pairs) -> Clustering:
    asked = pairs.where((pairs.verdict <= _POSSIBLE) & (cluster[pairs.one] != cluster[pairs.other]))
    order = np.lexsort((asked.other, asked.one, -asked.weight))
    return Clustering(
        cluster=cluster,
        review_one=asked.one[order],
        review_other=asked.other[order],
        review_weight=asked.weight[order],
    )
