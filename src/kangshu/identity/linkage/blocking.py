"""Find the pairs that are worth comparing: those that agree in all columns of a blocking key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from kangshu.identity.linkage.conditions import Profile
from kangshu.identity.linkage.model import LinkageModel

# A block of n records has n(n-1)/2 pairs. From this size on a record is compared with its nearest
# neighbours alone, those with the same other values first; both numbers are arbitrary.
LARGE_BLOCK = 256
NEIGHBOURS = 24
_SEPARATOR = "\x1f"


def key_texts(model: LinkageModel, profile: Profile) -> tuple[str, ...]:
    """Return the record's blocking keys as texts, name and values; the ones that it lacks are not there.

    Two records share a key in `link_table` just where they share such a text. It holds personal values:
    digest it before it is stored.
    """
    found = []
    for key in model.keys:
        values = [profile.get(column) for column in key.columns]
        if all(value is not None for value in values):
            found.append(f"{key.name}:" + _SEPARATOR.join(str(value) for value in values))
    return tuple(found)


def block_pairs(
    keys: Sequence[np.ndarray], known: Sequence[np.ndarray], *, likeness: np.ndarray
) -> np.ndarray:
    """Return the pairs of rows that share a key, as one * rows + other with one < other, each once, sorted.

    `keys` has an array for each blocking key with a 64-bit digest for each row, `known` whether the row
    has that key. `likeness` orders the rows of large blocks: equal ones become neighbours.
    """
    rows = len(likeness)
    found = [_within_blocks(key, has, likeness, rows) for key, has in zip(keys, known, strict=True)]
    if not found:
        return np.empty(0, dtype=np.uint64)
    return distinct(found)


def distinct(codes: Iterable[np.ndarray]) -> np.ndarray:
    """Return the codes in order, each once."""
    together = np.concatenate(list(codes))
    together.sort()
    if not len(together):
        return together
    return together[np.concatenate(([True], together[1:] != together[:-1]))]


def _within_blocks(key: np.ndarray, has: np.ndarray, likeness: np.ndarray, rows: int) -> np.ndarray:
    row = np.flatnonzero(has)
    order = np.lexsort((likeness[row], key[row]))
    row, key = row[order].astype(np.uint64), key[row][order]
    starts = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1]))) if len(key) else np.empty(0, int)
    sizes = np.diff(np.concatenate((starts, [len(key)])))
    of_pairs = np.repeat(sizes > 1, sizes)
    row, sizes = row[of_pairs], sizes[sizes > 1]
    if not len(row):
        return np.empty(0, dtype=np.uint64)
    size = np.repeat(sizes, sizes)
    place = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    partners = size - 1 - place
    partners = np.where(size > LARGE_BLOCK, np.minimum(partners, NEIGHBOURS), partners)
    first = np.repeat(np.arange(len(row)), partners)
    step = np.arange(len(first)) - np.repeat(np.cumsum(partners) - partners, partners) + 1
    one, other = row[first], row[first + step]
    return np.minimum(one, other) * np.uint64(rows) + np.maximum(one, other)
