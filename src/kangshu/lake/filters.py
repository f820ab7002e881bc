"""Tell cheaply that a person is certainly not in a segment.

A file that just arrived holds persons of the whole region, so its first and last person exclude nobody.
A Bloom filter (Communications of the ACM 13, 1970) of ten bits for each person lies beside it in the
manifest: one look in a hundred is in vain, none misses anybody. Compacted segments need none; there
the range of persons is narrow.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

_BITS_PER_PERSON = 10
_LOOKS = 5
# Beyond this a filter would weigh more than a third of a megabyte. So large a file is compacted soon.
MOST_PERSONS = 1 << 18

_MASK = (1 << 64) - 1


def build_filter(persons: npt.NDArray[np.int64]) -> bytes:
    """Return the filter of `persons`, at least one."""
    bits = max(64, (len(persons) * _BITS_PER_PERSON + 7) // 8 * 8)
    mixed = _mix_many(persons.astype(np.uint64))
    first, step = mixed & np.uint64(0xFFFFFFFF), (mixed >> np.uint64(32)) | np.uint64(1)
    marks = np.zeros(bits, dtype=bool)
    for look in range(_LOOKS):
        marks[(first + np.uint64(look) * step) % np.uint64(bits)] = True
    return np.packbits(marks, bitorder="little").tobytes()


def may_hold(filter_: bytes, persons: Iterable[int]) -> bool:
    """Tell whether any of `persons` may be in the segment; False is certain."""
    bits = len(filter_) * 8
    for person in persons:
        mixed = _mix(person)
        first, step = mixed & 0xFFFFFFFF, (mixed >> 32) | 1
        places = ((first + look * step) % bits for look in range(_LOOKS))
        if all(filter_[place >> 3] >> (place & 7) & 1 for place in places):
            return True
    return False


class FilterCache:
    """The filters of segments met before, by segment number; the longest unused go first."""

    def __init__(self, *, most_bytes: int = 64 << 20) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._filters: OrderedDict[int, bytes] = OrderedDict()
        self._guard = threading.Lock()

    def missing(self, segments: Sequence[int]) -> list[int]:
        """Return those of `segments` whose filter is not here."""
        with self._guard:
            return [segment for segment in segments if segment not in self._filters]

    def find(self, segment: int) -> bytes | None:
        """Return the segment's filter if it is here."""
        with self._guard:
            if segment in self._filters:
                self._filters.move_to_end(segment)
            return self._filters.get(segment)

    def put(self, segment: int, filter_: bytes) -> None:
        """Remember the filter of a segment; segments never change."""
        with self._guard:
            if segment in self._filters:
                return
            self._filters[segment] = filter_
            self._bytes += len(filter_)
            while self._bytes > self._most_bytes and len(self._filters) > 1:
                self._bytes -= len(self._filters.popitem(last=False)[1])


def _mix(value: int) -> int:
    """Spread a number's bits over 64 (the finaliser of splitmix64); numbers in a row land far apart."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & _MASK
    return value ^ value >> 31


def _mix_many(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
