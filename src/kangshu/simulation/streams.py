"""Streams of random numbers, one per purpose, so that a result never depends on what else was drawn.

A stream is named by the seed and a path of labels (`"visits", 3`). Work may be cut in other pieces or
done by other processes and yet draws the same numbers.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Stream = np.random.Generator
# NumPy's own types tell apart every width; here only the meaning matters.
Ints = NDArray[Any]
Floats = NDArray[Any]
Flags = NDArray[Any]

_SLOTS = 1 << 14
"""Resolution of a drawing table: an outcome rarer than one in 16,384 is drawn as if it were that rare."""


def stream(seed: int, *labels: str | int) -> Stream:
    """Return the stream of `seed` that `labels` name; the same arguments give the same numbers."""
    path = [zlib.crc32(label.encode()) if isinstance(label, str) else label for label in labels]
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence([seed, *path])))


class Draw:
    """A table to draw one of K outcomes in one of C categories with a single look-up."""

    def __init__(self, weights: Floats) -> None:
        """Take `weights` (C x K); a category whose weights are all zero always draws outcome 0."""
        table = np.atleast_2d(np.asarray(weights, dtype=np.float64))
        edges = np.cumsum(table, axis=1)
        middles = (np.arange(_SLOTS) + 0.5) / _SLOTS
        rows = [
            np.minimum(np.searchsorted(row, middles * row[-1], side="right"), len(row) - 1)
            if row[-1] > 0
            else np.zeros(_SLOTS, dtype=np.int64)
            for row in edges
        ]
        self._slots = np.asarray(rows, dtype=np.int16).ravel()

    def __call__(self, random: Stream, categories: Ints | int, count: int | None = None) -> Ints:
        """Return one outcome per entry of `categories` (or `count` outcomes of one category)."""
        size = len(categories) if isinstance(categories, np.ndarray) else count
        return self.at(categories, random.integers(0, _SLOTS, size, dtype=np.int32))

    def at(self, categories: Ints | int, numbers: Ints) -> Ints:
        """Return the outcome that each of `numbers` (any integers) stands for: the same every time."""
        slots = np.asarray(numbers % _SLOTS, dtype=np.int32)
        return self._slots[np.asarray(categories, dtype=np.int32) * _SLOTS + slots]


def chances(random: Stream, probabilities: Floats) -> Flags:
    """Return true with the probability given for each entry."""
    return random.random(len(probabilities), dtype=np.float32) < probabilities


def spread(values: Sequence[float] | Floats) -> Floats:
    """Return `values` scaled so that they sum to one."""
    array = np.asarray(values, dtype=np.float64)
    return array / array.sum()


def mixed(*parts: Ints | int) -> NDArray[np.uint64]:
    """Return a well-mixed 64-bit number per row of `parts`: a stable 'random' property of a pair.

    The finaliser is that of SplitMix64 (Steele, Lea and Flood 2014).
    """
    state = np.uint64(0x9E3779B97F4A7C15)
    for part in parts:
        with np.errstate(over="ignore"):
            state = np.asarray(part, dtype=np.uint64) + state * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(31))
    return np.asarray(state)
