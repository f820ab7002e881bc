"""A resource's codes superimposed on 64 bits, so that most of what a search does not want need not be opened.

Each code sets two bits; a resource that has the code has both set. Some that do not have it do as well (with
six codes one in thirty), so whatever passes is compared with the content. The method is Mooers' zatocoding,
"Application of random codes to the gathering of statistical information" (1948).
"""

from __future__ import annotations

from functools import lru_cache
from zlib import crc32

MARKED = frozenset({"category", "class", "clinical-status", "code", "encounter", "status", "type"})
"""The search parameters whose values are marked: those by which a person's resources are usually chosen."""


@lru_cache(maxsize=65_536)
def mark_of(parameter: str, value: str) -> int:
    """Return the bits of one code, as the signed number that the database holds."""
    number = crc32(f"{parameter}|{value}".encode("utf-8", "surrogatepass"))
    return signed((1 << (number & 63)) | (1 << (number >> 6 & 63)))


def signed(bits: int) -> int:
    """Return 64 bits as a signed number.

    >>> signed(1 << 63)
    -9223372036854775808
    """
    return bits - (1 << 64) if bits >> 63 else bits
