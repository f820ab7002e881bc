"""Read addresses into the levels at which they are compared: town, street or village, house, flat.

Senders leave out what goes without saying (the province), what is long (the flat), and write 3幢2单元502室 as
3-2-502. So of each level only what tells it apart is kept: its name and its digits. Pure.
"""

# pyarrow makes its compute functions at import, where pyright cannot see them.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import re
from functools import lru_cache

import pyarrow as pa

from kangshu.identity.linkage.hanzi import simplify

ADDRESS_COLUMNS = ("town", "street", "house", "flat")
"""What `read_address` tells; see `profiles.PROFILE_COLUMNS`."""

AddressFacts = tuple[str | None, ...]
ADDRESS_LENGTH_MOST = 300  # arbitrary: longer than any address

_NOWHERE: AddressFacts = (None,) * len(ADDRESS_COLUMNS)
_NUMBER = re.compile(r"([0-9]+)")
_BLANKS = re.compile(r"[\s,，。;；、]+")
_NUMERALS = {ord(one): str(digit) for digit, one in enumerate("〇一二三四五六七八九")}
# 十二组, 三单元: numerals count as digits only before a word that is counted.
_COUNTED = re.compile(r"[〇一二三四五六七八九十]{1,3}(?=(?:组|社|队|号|幢|栋|楼|座|单元|室|层|门))")
# Province, city, county; a 小区 is an estate.
_ABOVE = re.compile(r".*(?:省|自治区|市|自治州|地区|盟|县|旗|(?<![小社园厂矿校])区(?!块|段))(?=.{2}|$)")
_TOWN = re.compile(r"^(.{1,8}?(?:街道办事处|街道|镇|乡|苏木))")
_OFFICE = re.compile(r"办事处$")
_STREET = re.compile(
    r"^(.{1,12}?(?:大道|路|街|道|巷|弄|胡同|村(?!.{0,3}(?:路|街|巷|道))|庄|屯|寨|社区))(?:委会)?"
)
_VILLAGES = "村庄屯寨"
_BEFORE_NUMBER_MOST = 4  # arbitrary: 附, 第, 甲, 新: more is a name of its own
_BEHIND_NUMBER = "组社队号#-"
_ESTATE_LEAST, _ESTATE_MOST = 2, 16


def read_address(text: str | None) -> AddressFacts:
    """Return what the address tells, in the order of `ADDRESS_COLUMNS`.

    `town` is the street office, town or township; `street` the road (else the estate) or the village; `house`
    adds the house (of a village: group and house), `flat` is a dwelling: the estate with all its numbers.
    """
    if not text or len(text) > ADDRESS_LENGTH_MOST:
        return _NOWHERE
    parts = _NUMBER.split(text)
    between = [_folded(part) for part in parts[::2]]
    numbers = parts[1::2]
    if any(one[1] for one in between):  # numbers in full-width digits or in words
        pieces = [word + number for (word, _), number in zip(between, [*numbers, ""], strict=True)]
        parts = _NUMBER.split("".join(pieces))
        between, numbers = [(part, False) for part in parts[::2]], parts[1::2]
    town, street, words = _read_words(between[0][0])
    house = None
    if street and numbers and len(words) <= _BEFORE_NUMBER_MOST:
        house, words = street + numbers[0], between[1][0]
        numbers = numbers[1:]
        words = words[1:] if words[:1] and words[0] in _BEHIND_NUMBER else words
    if street and street[-1] in _VILLAGES:
        house = f"{house}-{numbers[0]}" if house and numbers else None
        return (town, street, house, house)
    estate = words.removeprefix("号")
    estate = estate if _ESTATE_LEAST <= len(estate) <= _ESTATE_MOST else None
    dwelling = (estate or house) if len(numbers) > 1 else None
    return (town, street or estate, house, "-".join((dwelling, *numbers)) if dwelling else None)


# Between the numbers of a region's addresses stand the same words over and over.
@lru_cache(maxsize=1 << 17)
def _folded(part: str) -> tuple[str, bool]:
    """Return what stands between two numbers simplified, without blanks, and whether it tells a number."""
    folded = _COUNTED.sub(_as_digits, _BLANKS.sub("", simplify(part)))
    return folded, _NUMBER.search(folded) is not None


@lru_cache(maxsize=1 << 17)
def _read_words(words: str) -> tuple[str | None, str | None, str]:
    """Return town, street and the rest of the words that stand before the first number."""
    words = words[above.end() :] if (above := _ABOVE.match(words)) else words
    town = street = None
    if found := _TOWN.match(words):
        town, words = _OFFICE.sub("", found[1]), words[found.end() :]
    if found := _STREET.match(words):
        street, words = found[1], words[found.end() :]
    return town, street, words


def _as_digits(found: re.Match[str]) -> str:
    """Return 十二 as 12; numerals in a row are digits."""
    text = found[0]
    if "十" not in text:
        return text.translate(_NUMERALS)
    tens, _, ones = text.partition("十")
    return (tens.translate(_NUMERALS) or "1") + (ones.translate(_NUMERALS) or "0")


def read_addresses(texts: pa.Array) -> dict[str, pa.Array]:
    """Return the columns of `ADDRESS_COLUMNS` for a column of addresses: each different one is read once."""
    encoded = texts.dictionary_encode()
    columns: tuple[list[str | None], ...] = ([], [], [], [])
    for text in encoded.dictionary.to_pylist():
        for column, told in zip(columns, read_address(text), strict=True):
            column.append(told)
    return {
        name: pa.array(values, pa.string()).take(encoded.indices)
        for name, values in zip(ADDRESS_COLUMNS, columns, strict=True)
    }
