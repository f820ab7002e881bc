"""Verdicts as bits: which rows have the bit of which rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Words = Sequence[npt.NDArray[np.int64]]

BITS = 62
"""Verdicts in one word: below the sign, and with one to spare for sums."""


def place_of(number: int) -> tuple[int, int]:
    """Return the word and the bit of the verdict with this number."""
    return divmod(number, BITS)


def words_for(count: int) -> int:
    """Return how many words so many verdicts need; one at least."""
    return max(-(-count // BITS), 1)


def has_bit(words: Words, number: int) -> npt.NDArray[np.bool_]:
    """Return for each row whether it has the verdict's bit."""
    word, bit = place_of(number)
    return (words[word] & np.int64(1 << bit)) != 0


def places_of_bits(words: Words, *, count: int) -> Iterator[tuple[int, npt.NDArray[np.intp]]]:
    """Yield each of `count` verdicts that some row has, with the positions of these rows, ascending.

    `words` are the columns `m0`, `m1` ... of failing rows.
    """
    seen = [int(np.bitwise_or.reduce(word)) for word in words]
    for number in range(count):
        word, bit = place_of(number)
        if not seen[word] >> bit & 1:
            continue
        places = np.flatnonzero(has_bit(words, number))
        yield number, places
