"""Resident numbers (GB 11643), passports, permits and telephone numbers of fictional people.

Resident numbers have a valid check digit and a fictional division. Telephone numbers begin with 160,
161, 163, 164, 168 or 169, which the numbering plan gives to nobody.
"""

from __future__ import annotations

import numpy as np

from kangshu.simulation.columns import (
    Column,
    blanked,
    chosen,
    digits,
    from_bytes,
    group_ranks,
    numbered,
    picked,
    text,
)
from kangshu.simulation.streams import Ints, mixed

_WEIGHTS = np.array((7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2))
_CHECK = np.frombuffer(b"10X98765432", dtype=np.uint8)
_PHONE_BLOCKS = np.array((160, 161, 163, 164, 168, 169))


def date_digits(days: Ints) -> Ints:
    """Return yyyymmdd as a number for days since 1970-01-01."""
    dates = np.asarray(days, dtype="datetime64[D]")
    years = dates.astype("datetime64[Y]")
    months = dates.astype("datetime64[M]")
    year = years.astype(np.int64) + 1970
    month = (months - years).astype(np.int64) + 1
    return year * 10_000 + month * 100 + (dates - months).astype(np.int64) + 1


def serials(*, counties: Ints, birth_days: Ints, sex: Ints) -> Ints:
    """Return serial numbers, unique per county, day and sex, odd for men and even for women.

    Persons earlier in the arrays get the lower serial, so twins have neighbouring numbers.
    """
    key = (np.asarray(counties, dtype=np.int64) * 100_000 + np.asarray(birth_days) + 50_000) * 4 + sex
    rank = group_ranks(key)
    offset = mixed(key, 17).astype(np.int64) % 180
    return ((rank + offset) * 2 + (sex == 1)) % 1000


def resident_number_bytes(*, counties: Ints, birth_days: Ints, serials: Ints) -> np.ndarray:
    """Return 18-character resident numbers with their check digit, as rows of ASCII bytes."""
    body = np.concatenate(
        [digits(counties, 6), digits(date_digits(birth_days), 8), digits(serials, 3)], axis=1
    )
    check = _CHECK[((body.astype(np.int64) - 48) @ _WEIGHTS) % 11]
    return np.concatenate([body, check[:, None]], axis=1)


def resident_numbers(*, counties: Ints, birth_days: Ints, serials: Ints) -> Column:
    """Return 18-character resident numbers with their check digit."""
    return from_bytes(resident_number_bytes(counties=counties, birth_days=birth_days, serials=serials))


def phone_numbers(numbers: Ints) -> Column:
    """Return the mobile number of each person number; different numbers never share one."""
    value = np.asarray(numbers, dtype=np.int64)
    block = _PHONE_BLOCKS[value % len(_PHONE_BLOCKS)]
    # 61,803,399 has no divisor in common with 10^8: the map is one to one
    rest = (value // len(_PHONE_BLOCKS) * 61_803_399 + 12_345_677) % 100_000_000
    return numbered((block, 3), (rest, 8), count=len(value))


def other_documents(*, kinds: Ints, persons: Ints) -> tuple[Column, Column]:
    """Return type and number of documents: kind 2 passport, 3 permit of Hong Kong or Macau, 4 of Taiwan.

    The numbers lie where the issuers have not come to: permits 99 followed by six digits.
    """
    count = len(kinds)
    # 618,033 has no divisor in common with 10^6: the map is one to one
    serial = (np.asarray(persons, dtype=np.int64) * 618_033 + 271_828) % 1_000_000
    passport = numbered("XX9", (serial, 6), count=count)
    hong_kong = numbered("H99", (serial, 6), count=count)
    macau = numbered("M99", (serial, 6), count=count)
    taiwan = numbered("99", (serial, 6), count=count)
    home_return = chosen(np.asarray(persons) % 3 == 0, macau, hong_kong)
    number = chosen(kinds == 2, passport, chosen(kinds == 3, home_return, taiwan))
    codes = picked(text(["", "", "03", "06", "07"]), kinds)
    return blanked(codes, kinds < 2), blanked(number, kinds < 2)
