"""Row numbers as bytes: steps between ascending numbers, compressed; about a byte for each scattered row."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

_LEVEL = 1  # 3: a third slower for a twentieth less


def encode(rows: npt.NDArray[np.int64]) -> bytes:
    """Return ascending row numbers, each once, as bytes that `decode` reads."""
    steps = np.diff(rows, prepend=0)
    width = 1 if not len(steps) or steps.max() < 1 << 8 else 2 if steps.max() < 1 << 16 else 8
    return bytes([width]) + zlib.compress(steps.astype(f"<u{width}").tobytes(), _LEVEL)


def decode(data: bytes) -> npt.NDArray[np.int64]:
    """Return the row numbers that `encode` wrote."""
    steps = np.frombuffer(zlib.decompress(data[1:]), dtype=f"<u{data[0]}")
    return np.cumsum(steps, dtype=np.int64)
