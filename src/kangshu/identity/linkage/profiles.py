"""Make the profile of a record: its names, numbers, dates and places in the forms in which they are compared.

`prepare` makes the profiles of a table, whole columns at a time, and `prepare_one` that of one record; both
give the same. A value that cannot be what it should be is not told. Standards: GB 11643 (resident numbers),
GB/T 2261.1 (sex), Unicode NFKC. Pure.
"""

# pyarrow makes its compute functions at import, where pyright cannot see them.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kangshu.identity import normalising, policy, subjects
from kangshu.identity.linkage.addresses import ADDRESS_COLUMNS, read_address, read_addresses
from kangshu.identity.linkage.conditions import Profile
from kangshu.identity.linkage.hanzi import NAME_COLUMNS, read_name, read_names
from kangshu.identity.normalising import UNKNOWN_DAY
from kangshu.standards.identifiers import DocumentKind, ResidentNumber, read_document_number

PROFILE_COLUMNS: Mapping[str, str] = {
    "name": "VARCHAR",
    "name_code": "VARCHAR",
    "surname": "VARCHAR",
    "given": "VARCHAR",
    "sound": "VARCHAR",
    "sound_turned": "VARCHAR",
    "sound_letters": "VARCHAR",
    "sound_head": "VARCHAR",
    "tones": "VARCHAR",
    "surname_sound": "VARCHAR",
    "given_sound": "VARCHAR",
    "name_era": "VARCHAR",
    "sound_era": "VARCHAR",
    "script": "VARCHAR",
    "newborn": "VARCHAR",
    "mother": "VARCHAR",
    "birth_order": "VARCHAR",
    "sex": "VARCHAR",
    "birth": "INTEGER",
    "birth_date": "VARCHAR",
    "birth_swapped": "VARCHAR",
    "birth_set": "VARCHAR",
    "birth_year": "VARCHAR",
    "birth_vague": "VARCHAR",
    "number": "VARCHAR",
    "number_text": "VARCHAR",
    "number_state": "VARCHAR",
    "number_head": "VARCHAR",
    "number_birth": "VARCHAR",
    "lent_number": "VARCHAR",
    "document": "VARCHAR",
    "document_type": "VARCHAR",
    "institution": "VARCHAR",
    "local": "VARCHAR",
    "phone": "VARCHAR",
    "town": "VARCHAR",
    "street": "VARCHAR",
    "house": "VARCHAR",
    "flat": "VARCHAR",
}
"""What a profile tells, with DuckDB's types.

`name` is simplified, without dots (Hanzi) or in small letters (Latin); `name_code` has one ASCII letter a
Chinese character, for counting edits; `sound` is the name in pinyin without tones (with them: `tones`),
`sound_turned` with the surname behind, `sound_letters` its letters in alphabetical order (the same for both),
`sound_head` the sound of the part before a middle dot; `name_era` and `sound_era` have the decade of birth
behind them, for names have their time: how rare one is depends on it; `script` is H or L. A newborn called
after the mother has `newborn` 1, `mother` (her name) and perhaps `birth_order`, but no name.

`birth` is days since 1970; `birth_date` YYYYMMDD, `birth_swapped` YYYYDDMM, `birth_set` the same for both;
`birth_vague` is 1 where 1 January may stand for a day that is not known.

`number` is the person's own resident number of 18 places, `number_head` its division and date, `number_birth`
its date. `number_state` is `valid`, `old` (it had 15 digits and no check digit), `faulty` (then only
`number_text` is told) or `lent`: a number that belongs to somebody else, mostly the mother, is in
`lent_number`. `document` and `local` carry their type and institution. `house` is a street with its number
(in a village: group and number), `flat` the dwelling.
"""

TABLE_COLUMNS = (
    "name",
    "sex",
    "birth_date",
    "resident_number",
    "document_type",
    "document_number",
    "phone",
    "address",
    "institution",
    "local_number",
)
"""The columns that `prepare` reads, all optional."""

VALID, OLD, FAULTY, LENT = "valid", "old", "faulty", "lent"
GENERATION_YEARS = 12
"""A number that tells a birth so far from the recorded one is a parent's, a child's or another's."""
_NEWBORN_YEARS = 1  # a newborn's own number can only be of the same time

_OLD_LENGTH = 15
_EPOCH = date(1970, 1, 1)
_FAULTY = re.compile(r"[0-9]{11,19}[0-9X]", re.ASCII)
_FAULTY_PATTERN = r"^[0-9]{11,19}[0-9X]$"
_RESIDENT = re.compile(r"[1-9][0-9]{16}[0-9X]|[1-9][0-9]{14}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Registration:
    """One record as it was sent; all of it is personal and stays out of `repr`."""

    name: str | None = field(default=None, repr=False)
    sex: str | None = field(default=None, repr=False)
    birth_date: date | None = field(default=None, repr=False)
    resident_number: str | None = field(default=None, repr=False)
    document_type: str | None = field(default=None, repr=False)
    document_number: str | None = field(default=None, repr=False)
    phone: str | None = field(default=None, repr=False)
    address: str | None = field(default=None, repr=False)
    institution: str | None = field(default=None, repr=False)
    local_number: str | None = field(default=None, repr=False)


def prepare_one(record: Registration) -> Profile:
    """Return the profile of one record: what it tells of `PROFILE_COLUMNS`, None where it tells nothing."""
    told: dict[str, Any] = dict(zip(NAME_COLUMNS, read_name(record.name), strict=True))
    given = subjects.number_of(_short(record.resident_number))
    kind = record.document_type or None
    papers = subjects.number_of(_short(record.document_number))
    number = _valid(given) if given else None
    if number is None and papers and (kind is None or kind in policy.RESIDENT_NUMBER_DOCUMENTS):
        number = _valid(papers)
        if number or (given is None and _FAULTY.fullmatch(papers)):
            given = papers
    birth = record.birth_date
    own = number and _is_own(number, birth, newborn=told["newborn"] is not None)
    if number and own:
        birth = birth or _date(number)
    told |= _number_facts(given if told["newborn"] is None else None, number, own=bool(own))
    told |= _birth_facts(birth)
    sex = record.sex if record.sex in ("1", "2") else None
    for column in ("name", "sound"):
        era = f"{told[column]}:{told['birth_year'][:3]}" if told[column] and told["birth_year"] else None
        told[f"{column}_era"] = era
    told["sex"] = sex or (("1" if int(number[16]) % 2 else "2") if number and own else None)
    told |= _paper_facts(kind, papers)
    institution = subjects.issuer_of(record.institution)
    local = subjects.local_number_of(_short(record.local_number))
    told["institution"] = institution
    told["local"] = f"{institution}:{local}" if institution and local else None
    told["phone"] = subjects.phone_of(record.phone)
    told |= zip(ADDRESS_COLUMNS, read_address(record.address), strict=True)
    return {column: told[column] for column in PROFILE_COLUMNS}


def _short(text: str | None) -> str:
    """Return the text, or none where it is longer than any number."""
    return text if text and len(text) <= subjects.NUMBER_LENGTH_MOST else ""


def _valid(number: str) -> str | None:
    if not _RESIDENT.fullmatch(number):
        return None
    try:
        return ResidentNumber.parse(number).number
    except ValueError:
        return None


def _date(number: str) -> date:
    return date(int(number[6:10]), int(number[10:12]), int(number[12:14]))


def _is_own(number: str, birth: date | None, *, newborn: bool) -> bool:
    """Whether the number is the person's own, as far as the recorded birth tells; one digit may be wrong."""
    if birth is None:
        return not newborn
    apart = abs(int(number[6:10]) - birth.year)
    if newborn:
        return apart <= _NEWBORN_YEARS
    different = sum(a != b for a, b in zip(number[6:14], f"{birth:%Y%m%d}", strict=True))
    return apart <= GENERATION_YEARS or different <= 1


def _number_facts(given: str | None, number: str | None, *, own: bool) -> dict[str, str | None]:
    if number is None:
        faulty = given if given and _FAULTY.fullmatch(given) else None
        state, text = (FAULTY, faulty) if faulty else (None, None)
    else:
        mine_state = OLD if given is not None and len(given) == _OLD_LENGTH else VALID
        state, text = (mine_state, number) if own else (LENT, None)
    mine = number if own else None
    return {
        "number": mine,
        "number_text": text,
        "number_state": state,
        "number_head": mine[:14] if mine else None,
        "number_birth": mine[6:14] if mine else None,
        "lent_number": None if own else number,
    }


def _birth_facts(birth: date | None) -> dict[str, str | int | None]:
    if birth is None:
        return dict.fromkeys(
            ("birth", "birth_date", "birth_swapped", "birth_set", "birth_year", "birth_vague")
        )
    year, month, day = f"{birth.year:04d}", f"{birth.month:02d}", f"{birth.day:02d}"
    return {
        "birth": (birth - _EPOCH).days,
        "birth_date": year + month + day,
        "birth_swapped": year + day + month,
        "birth_set": year + min(month, day) + max(month, day),
        "birth_year": year,
        "birth_vague": "1" if month == day == "01" else None,
    }


def _paper_facts(kind: str | None, number: str | None) -> dict[str, str | None]:
    nothing: dict[str, str | None] = {"document": None, "document_type": None}
    if number is None or kind not in policy.STRONG_DOCUMENTS:
        return nothing
    lasting = read_document_number(DocumentKind(kind), number)
    if lasting is None or (kind in policy.RESIDENT_NUMBER_DOCUMENTS and lasting[17:]):
        return nothing
    return {"document": f"{kind}:{lasting}", "document_type": str(kind)}


def prepare(table: pa.Table) -> pa.Table:
    """Return `record` and the profile of each row of the table (`TABLE_COLUMNS`; one that lacks is not told).

    `birth_date` is a date or a text of eight digits, with or without separators.
    """
    given = {name: _column(table, name) for name in TABLE_COLUMNS}
    with ThreadPoolExecutor(max_workers=2) as pool:  # Arrow and NumPy let others work meanwhile
        addresses = pool.submit(lambda: read_addresses(given["address"]))
        names = read_names(given["name"])
        others = _numbers_and_dates(given, newborn=pc.is_valid(names["newborn"]))
        told = {**names, **_eras(names, others["birth_year"]), **others, **addresses.result()}
    columns = {"record": table.column("record")} if "record" in table.column_names else {}
    return pa.table({**columns, **{name: told[name] for name in PROFILE_COLUMNS}})


def _eras(names: Mapping[str, pa.Array], years: pa.Array) -> dict[str, pa.Array]:
    decades = pc.utf8_slice_codeunits(years, 0, 3)
    return {
        f"{column}_era": pc.binary_join_element_wise(names[column], decades, ":")
        for column in ("name", "sound")
    }


def _column(table: pa.Table, name: str) -> pa.Array:
    if name not in table.column_names:
        return pa.nulls(table.num_rows, pa.date32() if name == "birth_date" else pa.string())
    column = table.column(name).combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # older versions of Arrow
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return _dates(column) if name == "birth_date" else column.cast(pa.string())


def _dates(column: pa.Array) -> pa.Array:
    """Return dates; a text that is none is null."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column.cast(pa.date32())
    digits = pc.replace_substring_regex(column.cast(pa.string()), pattern=r"[^0-9]", replacement="")
    encoded = digits.dictionary_encode()
    return pa.array([_day(text) for text in encoded.dictionary.to_pylist()], pa.date32()).take(
        encoded.indices
    )


def _day(digits: str | None) -> date | None:
    if digits is None or len(digits) < 8:
        return None
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
    except ValueError:
        return None


def _numbers_and_dates(given: Mapping[str, pa.Array], *, newborn: pa.Array) -> dict[str, pa.Array]:
    numbers = normalising.numbers_of(_bounded(given["resident_number"]))
    kinds = given["document_type"]
    papers = normalising.numbers_of(_bounded(given["document_number"]))
    resident, number_birth, numbers = _residents(numbers, kinds, papers)
    birth = normalising.days_of(given["birth_date"])
    known = _flags(pc.is_valid(resident))
    own = _own(number_birth, birth, newborn=_flags(newborn)) & known
    birth = np.where((birth == UNKNOWN_DAY) & own, number_birth, birth)
    institution = _each(given["institution"], subjects.issuer_of)
    local = normalising.local_numbers_of(_bounded(given["local_number"]))
    return {
        **_number_columns(_where(pc.invert(newborn), numbers), resident, own=own, known=known),
        **_birth_columns(birth),
        **_paper_columns(kinds, papers),
        "sex": _sexes(given["sex"], resident, own=own),
        "institution": institution,
        "local": pc.binary_join_element_wise(institution, local, ":"),
        "phone": normalising.phones_of(_bounded(given["phone"])),
    }


def _bounded(texts: pa.Array) -> pa.Array:
    """Return the texts, null where one is longer than any number."""
    long = pc.greater(pc.utf8_length(texts), subjects.NUMBER_LENGTH_MOST)
    return pc.if_else(pc.fill_null(long, False), pa.scalar(None, pa.string()), texts)


def _residents(
    numbers: pa.Array, kinds: pa.Array, papers: pa.Array
) -> tuple[pa.Array, npt.NDArray[np.int64], pa.Array]:
    """Return the valid resident numbers, their days of birth, and what was given in the place of one.

    A document of a kind that carries the resident number (or of no kind) may tell it too.
    """
    resident, birth = normalising.read_resident_numbers(numbers)
    carriers = pa.array(sorted(policy.RESIDENT_NUMBER_DOCUMENTS), pa.string())
    told = pc.or_(pc.fill_null(pc.equal(kinds, ""), True), pc.is_in(kinds, value_set=carriers))
    told = pc.and_(told, pc.and_(pc.is_null(resident), pc.is_valid(papers)))
    if not pc.any(told).as_py():
        return resident, birth, numbers
    carried = _where(told, papers)
    found, days = normalising.read_resident_numbers(carried)
    birth = np.where(_flags(pc.is_valid(found)), days, birth)
    faulty = _where(pc.match_substring_regex(carried, pattern=_FAULTY_PATTERN), carried)
    meant = pc.coalesce(_where(pc.is_valid(found), carried), numbers, faulty)
    return pc.coalesce(resident, found), birth, meant


def _own(
    number_birth: npt.NDArray[np.int64], birth: npt.NDArray[np.int64], *, newborn: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Return what `_is_own` says; rows without a number do not matter."""
    unknown = birth == UNKNOWN_DAY
    told, meant = _digits_of(np.where(unknown, 0, birth)), _digits_of(_known_days(number_birth))
    apart = np.abs(told // 10_000 - meant // 10_000)
    different = np.zeros(len(birth), dtype=np.int64)
    for place in 10 ** np.arange(8):
        different += told // place % 10 != meant // place % 10
    grown = (apart <= GENERATION_YEARS) | (different <= 1)
    return np.where(unknown, ~newborn, np.where(newborn, apart <= _NEWBORN_YEARS, grown))


def _known_days(days: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.where(days == UNKNOWN_DAY, 0, days)


def _digits_of(days: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return YYYYMMDD as a number."""
    dates = days.astype("datetime64[D]")
    years, months = dates.astype("datetime64[Y]"), dates.astype("datetime64[M]")
    month = (months - years).astype(np.int64) + 1
    day = (dates - months).astype(np.int64) + 1
    return (years.astype(np.int64) + 1970) * 10_000 + month * 100 + day


def _number_columns(
    numbers: pa.Array, resident: pa.Array, *, own: npt.NDArray[np.bool_], known: npt.NDArray[np.bool_]
) -> dict[str, pa.Array]:
    """Say the columns about numbers; a faulty one of a newborn is left out before, for it is the mother's."""
    mine = _where(pa.array(own), resident)
    faulty = pc.and_(pa.array(~known), pc.match_substring_regex(numbers, pattern=_FAULTY_PATTERN))
    faulty = pc.fill_null(faulty, False)
    old = _flags(pc.fill_null(pc.equal(pc.binary_length(numbers), _OLD_LENGTH), False))
    states = np.select([own & old, own, known, _flags(faulty)], [1, 0, 3, 2], 4)
    return {
        "number": mine,
        "number_text": pc.coalesce(mine, _where(faulty, numbers)),
        "number_state": pa.array([VALID, OLD, FAULTY, LENT, None], pa.string()).take(pa.array(states)),
        "number_head": pc.utf8_slice_codeunits(mine, 0, 14),
        "number_birth": pc.utf8_slice_codeunits(mine, 6, 14),
        "lent_number": _where(pa.array(known & ~own), resident),
    }


def _birth_columns(birth: npt.NDArray[np.int64]) -> dict[str, pa.Array]:
    known = pa.array(birth != UNKNOWN_DAY)
    digits = _digits_of(_known_days(birth))
    years, months, days = digits // 10_000, digits // 100 % 100, digits % 100
    first, second = np.minimum(months, days), np.maximum(months, days)

    def text(numbers: npt.NDArray[np.int64], width: int) -> pa.Array:
        letters = numbers[:, None] // 10 ** np.arange(width - 1, -1, -1) % 10 + ord("0")
        offsets = np.arange(len(numbers) + 1, dtype=np.int32) * width
        data = pa.py_buffer(np.ascontiguousarray(letters, dtype=np.uint8))
        return _where(known, pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), data))

    vague = pa.array(digits % 10_000 == 101)
    return {
        "birth": pc.if_else(
            known, pa.array(_known_days(birth).astype(np.int32)), pa.scalar(None, pa.int32())
        ),
        "birth_date": text(digits, 8),
        "birth_swapped": text(years * 10_000 + days * 100 + months, 8),
        "birth_set": text(years * 10_000 + first * 100 + second, 8),
        "birth_year": text(years, 4),
        "birth_vague": _where(pc.and_(known, vague), pa.repeat(pa.scalar("1"), len(birth))),
    }


def _sexes(texts: pa.Array, resident: pa.Array, *, own: npt.NDArray[np.bool_]) -> pa.Array:
    told = _where(pc.is_in(texts, value_set=pa.array(["1", "2"])), texts)
    serial = pc.utf8_slice_codeunits(_where(pa.array(own), resident), 16, 17)
    odd = pc.is_in(serial, value_set=pa.array(["1", "3", "5", "7", "9"]))
    meant = _where(pc.is_valid(serial), pc.if_else(odd, "1", "2"))
    return pc.coalesce(told, meant)


def _paper_columns(kinds: pa.Array, papers: pa.Array) -> dict[str, pa.Array]:
    """Read documents; few show anything but their resident card, so each different one is read once."""
    strong = pc.is_in(kinds, value_set=pa.array(sorted(policy.STRONG_DOCUMENTS), pa.string()))
    joined = pc.binary_join_element_wise(_where(strong, kinds), papers, ":").dictionary_encode()
    read = [
        _paper_facts(kind, number)
        for kind, _, number in (t.partition(":") for t in joined.dictionary.to_pylist())
    ]
    return {
        name: pa.array([one[name] for one in read], pa.string()).take(joined.indices)
        for name in ("document", "document_type")
    }


def _each(texts: pa.Array, read: Any) -> pa.Array:
    """Return what `read` makes of each text; few are different."""
    encoded = texts.dictionary_encode()
    return pa.array([read(text) for text in encoded.dictionary.to_pylist()], pa.string()).take(
        encoded.indices
    )


def _where(condition: pa.Array, texts: pa.Array) -> pa.Array:
    """Return the texts where the condition holds and null elsewhere."""
    return pc.if_else(pc.fill_null(condition, False), texts, pa.scalar(None, pa.string()))


def _flags(column: pa.Array) -> npt.NDArray[np.bool_]:
    return column.to_numpy(zero_copy_only=False)
