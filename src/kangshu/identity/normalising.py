"""Bring the columns of identity claims to the form in which they are compared, whole columns at a time.

Standards: GB 11643 for resident numbers (see `standards.identifiers`, whose answers these columns give),
Unicode NFKC for full-width forms. A value that cannot be what it should be becomes null: absent.
"""

# pyarrow makes its compute functions at import, where pyright cannot see them.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kangshu.identity import policy
from kangshu.identity.model import IdentifierKind
from kangshu.standards.identifiers import DocumentKind, read_document_number

UNKNOWN_DAY = -(2**31)
"""Stands for no date in arrays of days since 1970."""

COLUMNS = (
    "resident_number",
    "document_type",
    "document_number",
    "institution",
    "local_number",
    "name",
    "birth_date",
    "sex",
    "phone",
)

_WEIGHTS = np.array([7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2], dtype=np.int32)
_CHECKS = np.frombuffer(b"10X98765432", dtype=np.uint8)
_CENTENARIANS = (b"996", b"997", b"998", b"999")
_NOT_NUMBER = r"[\s\-‐-―−·.]+"
# One code point for the middle dot of minority names: senders use all of these (U+00B7 alone is in GBK).
# A full stop counts as one, so that "A. B" and "A·B" agree.
_DOTS = "[\u00b7\u0387\u2022\u2027\u2219\u22c5\u30fb\u2e31\u25cf\uff65.]"
_BLANKS = r"[\s\x{00a0}\x{3000}\x{200b}-\x{200d}\x{feff}]+"
_UNREADABLE = "[?\ufffd]"
# Anything but Chinese characters (with the rare ones beyond the basic plane) needs folding or a closer look.
_ODD_IN_NAME = r"[^\x{3400}-\x{9fff}\x{20000}-\x{3ffff}]|^$"


# A colon in the name of an issuer, so that issuer and number cannot be cut apart in two ways.
_COLON = "\x1f"

NAME_PREFIX = "name:"
"""Digests of names are taken of the text behind this, so that no name looks like an identifier."""
PART_PREFIX = "part:"
"""The same for the parts of a name that is written with blanks."""


def identifier_text(kind: IdentifierKind, issuer: str, value: str) -> str:
    """Return the text whose digest is the identifier; `Claims.texts` makes the same in columns."""
    return f"{int(kind)}:{issuer.replace(':', _COLON)}:{value}"


@dataclass(frozen=True, kw_only=True)
class Claims:
    """Normalised claims as columns of equal length; null is absent.

    `resident` has 18 places; `document` comes with its type, `local` and `demographic` belong to the
    institution; `demographic` is given only where the other three are absent. `name` is for the eye,
    `name_key` for comparison; `name_key` is null also where a name was sent that says it is unknown.
    `birth` and `number_birth` (the day that the resident number tells) are days since 1970 or
    `UNKNOWN_DAY`, `sex` is 1, 2 or 0 (unknown).
    """

    resident: pa.Array
    document: pa.Array
    document_type: pa.Array
    local: pa.Array
    demographic: pa.Array
    institution: pa.Array
    name: pa.Array
    name_key: pa.Array
    birth: npt.NDArray[np.int64]
    number_birth: npt.NDArray[np.int64]
    sex: npt.NDArray[np.int64]
    phone: pa.Array
    invalid_numbers: int

    def __len__(self) -> int:
        return len(self.resident)

    def take(self, rows: npt.NDArray[np.int64]) -> Claims:
        """Return these claims; `invalid_numbers` counts in the whole."""
        taken = {
            name: column[rows] if isinstance(column, np.ndarray) else column.take(pa.array(rows))
            for name, column in vars(self).items()
            if name != "invalid_numbers"
        }
        return replace(self, **taken)

    def texts(self, kind: IdentifierKind) -> pa.Array:
        """Return the texts whose digests are the identifiers of this kind; null where there is none."""
        issuers = self.issuers(kind)
        if kind is IdentifierKind.RESIDENT_NUMBER:
            issuers = pc.fill_null(issuers, "")
        elif kind in (IdentifierKind.LOCAL_NUMBER, IdentifierKind.DEMOGRAPHIC):
            issuers = _without(issuers, ":", replacement=_COLON)
        return pc.binary_join_element_wise(str(int(kind)), issuers, self.values(kind), ":")

    def values(self, kind: IdentifierKind) -> pa.Array:
        """Return what identifies in the identifiers of this kind."""
        return {
            IdentifierKind.RESIDENT_NUMBER: self.resident,
            IdentifierKind.DOCUMENT: self.document,
            IdentifierKind.LOCAL_NUMBER: self.local,
            IdentifierKind.DEMOGRAPHIC: self.demographic,
        }[kind]

    def issuers(self, kind: IdentifierKind) -> pa.Array:
        """Return in whose range the identifiers of this kind are unique; null for the state."""
        if kind is IdentifierKind.RESIDENT_NUMBER:
            return pa.nulls(len(self), pa.string())
        return self.document_type if kind is IdentifierKind.DOCUMENT else self.institution

    def with_demographics(self, rows: npt.NDArray[np.int64]) -> Claims:
        """Return the claims with demographic identifiers also at `rows`, where they tell enough for one."""
        asked = np.zeros(len(self), dtype=np.bool_)
        asked[rows] = True
        texts = _demographics(pa.array(asked), self.institution, self.name_key, self.birth, self.sex)
        return replace(self, demographic=pc.coalesce(self.demographic, texts))


def normalise(claims: pa.Table) -> Claims:
    """Return the claims in the form in which they are compared.

    Raises:
        KeyError: a column is missing.
    """
    columns = {name: _strings(claims.column(name)) for name in COLUMNS if name != "birth_date"}
    given = numbers_of(columns["resident_number"])
    resident, number_birth = read_resident_numbers(given)
    invalid = pc.sum(pc.and_(pc.is_valid(given), pc.is_null(resident))).as_py() or 0
    kinds, numbers = columns["document_type"], numbers_of(columns["document_number"])
    resident, number_birth = _residents_from_documents(resident, number_birth, kinds, numbers)
    document, document_type = _documents(kinds, numbers)
    institution = _without(columns["institution"], "\\x00")  # PostgreSQL takes no NUL in text
    local = _keep(local_numbers_of(columns["local_number"]), pc.is_valid(institution))
    name = display_names(columns["name"])
    name_key = fold_names(name)
    birth = days_of(claims.column("birth_date"))
    sex = _sexes(columns["sex"])
    unidentified = pc.and_(pc.and_(pc.is_null(resident), pc.is_null(document)), pc.is_null(local))
    return Claims(
        resident=resident,
        document=document,
        document_type=document_type,
        local=local,
        demographic=_demographics(unidentified, institution, name_key, birth, sex),
        institution=institution,
        name=name,
        name_key=name_key,
        birth=birth,
        number_birth=number_birth,
        sex=sex,
        phone=phones_of(columns["phone"]),
        invalid_numbers=int(invalid),
    )


def read_resident_numbers(numbers: pa.Array) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """Return the 18-place form of each well-formed resident number, else null, and its day of birth.

    15 digits are upgraded. The rules are those of `standards.identifiers.ResidentNumber`; `numbers` are
    half-width, without separators and in capitals.
    """
    size = len(numbers)
    codes = np.zeros((size, 18), dtype=np.uint8)
    lengths = pc.fill_null(pc.binary_length(numbers), 0).to_numpy(zero_copy_only=False)
    whole, old = np.flatnonzero(lengths == 18), np.flatnonzero(lengths == 15)
    codes[whole] = _matrix(numbers, whole, 18)
    codes[old] = _upgraded(_matrix(numbers, old, 15))
    days, valid = _check_residents(codes)
    valid[np.flatnonzero((lengths != 18) & (lengths != 15))] = False
    return _strings_from(codes, valid), np.where(valid, days, UNKNOWN_DAY)


def numbers_of(texts: pa.Array) -> pa.Array:
    """Return numbers half-width, in capitals, without separators; null where the text says there is none."""
    tidy = _without(pc.utf8_upper(_half_width(texts)), _NOT_NUMBER)
    return _told(tidy)


def local_numbers_of(texts: pa.Array) -> pa.Array:
    """Return institutions' own numbers half-width and trimmed; what else is in them is their own affair."""
    return _told(pc.utf8_trim_whitespace(_half_width(texts)))


def fold_names(names: pa.Array) -> pa.Array:
    """Return the form in which names are compared; null where the name is unknown or partly unreadable.

    Half-width, no blanks, capitals, one middle dot. Old systems write `?` for characters they lack: such
    a name must neither agree nor contradict.
    """
    odd = pc.fill_null(pc.match_substring_regex(names, pattern=_ODD_IN_NAME), False)
    folded = pc.replace_with_mask(names, odd, _fold_odd_names(names.filter(odd)))
    unknown = pc.is_in(folded, value_set=pa.array(sorted(policy.UNKNOWN_NAMES), pa.string()))
    return _keep(folded, pc.invert(unknown))


def _fold_odd_names(names: pa.Array) -> pa.Array:
    folded = pc.utf8_upper(pc.utf8_normalize(names, form="NFKC"))
    folded = pc.replace_substring_regex(folded, pattern=_BLANKS, replacement="")
    folded = pc.replace_substring_regex(folded, pattern=_DOTS, replacement="·")
    folded = pc.utf8_trim(folded, "·")
    readable = pc.invert(pc.match_substring_regex(folded, pattern=_UNREADABLE))
    return _keep(folded, pc.and_(pc.match_substring_regex(folded, pattern=r"\pL"), readable))


def display_names(names: pa.Array) -> pa.Array:
    """Return names without blanks at the ends and with single blanks inside; null where nothing is left."""
    tidy = pc.utf8_trim_whitespace(_without(names, _BLANKS, replacement=" "))
    return _keep(tidy, pc.greater(pc.binary_length(tidy), 0))


def phones_of(texts: pa.Array) -> pa.Array:
    """Return phone numbers as digits without the country code; null where fewer than five are left."""
    digits = _without(_without(_half_width(texts), r"^\s*(\+|00)86"), r"[^0-9]+")
    return _keep(digits, pc.greater_equal(pc.binary_length(digits), 5))


def phone_values(phones: pa.Array) -> npt.NDArray[np.int64]:
    """Return normalised phones as numbers of at most 18 digits, 0 for none: good for telling them apart."""
    digits = pc.utf8_slice_codeunits(phones, 0, 18).cast(pa.int64())
    return pc.fill_null(digits, 0).to_numpy(zero_copy_only=False)


def days_of(dates: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Return dates as days since 1970, or `UNKNOWN_DAY`."""
    whole = _one(dates).cast(pa.date32()).cast(pa.int32()).cast(pa.int64())
    return np.array(pc.fill_null(whole, pa.scalar(UNKNOWN_DAY, pa.int64())).to_numpy(zero_copy_only=False))


def _demographics(
    asked: pa.Array,
    institution: pa.Array,
    name_key: pa.Array,
    birth: npt.NDArray[np.int64],
    sex: npt.NDArray[np.int64],
) -> pa.Array:
    usable = pc.and_(asked, pa.array((birth != UNKNOWN_DAY) & (sex > 0)))
    usable = pc.and_(usable, pc.is_valid(institution))
    if not pc.any(usable).as_py():
        return pa.nulls(len(institution), pa.string())
    days, sexes = pa.array(birth).cast(pa.string()), pa.array(sex).cast(pa.string())
    return _keep(pc.binary_join_element_wise(name_key, days, sexes, ":"), usable)


def _residents_from_documents(
    resident: pa.Array, number_birth: npt.NDArray[np.int64], kinds: pa.Array, numbers: pa.Array
) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """Fill resident numbers that were sent as a document of a kind that carries one (or of no kind)."""
    carriers = pa.array(sorted(policy.RESIDENT_NUMBER_DOCUMENTS), pa.string())
    carried = pc.or_(pc.is_null(kinds), pc.is_in(kinds, value_set=carriers))
    asked = pc.and_(pc.and_(pc.is_null(resident), pc.is_valid(numbers)), carried)
    if not pc.any(asked).as_py():
        return resident, number_birth
    found, days = read_resident_numbers(_keep(numbers, asked))
    there = pc.is_valid(found).to_numpy(zero_copy_only=False)
    return pc.coalesce(resident, found), np.where(there, days, number_birth)


def _documents(kinds: pa.Array, numbers: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return number (its lasting part) and type of the documents that name one person.

    Few residents show anything but their card, so these go one by one, each different one once.
    """
    strong = pc.is_in(kinds, value_set=pa.array(sorted(policy.STRONG_DOCUMENTS), pa.string()))
    kinds = _keep(kinds, pc.and_(strong, pc.is_valid(numbers)))
    if kinds.null_count == len(kinds):
        return kinds, kinds
    encoded = pc.binary_join_element_wise(kinds, numbers, ":").dictionary_encode()
    read = [_read_document(text) for text in encoded.dictionary.to_pylist()]
    document = pa.array(read, pa.string()).take(encoded.indices)
    return document, _keep(kinds, pc.is_valid(document))


def _read_document(text: str) -> str | None:
    kind, _, number = text.partition(":")
    lasting = read_document_number(DocumentKind(kind), number)
    if lasting is None or (kind in policy.RESIDENT_NUMBER_DOCUMENTS and lasting[17:]):
        return None  # no such document, or a resident number, which is an identifier of its own
    return lasting


def _check_residents(codes: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the day of birth in each 18-byte row and whether the row is a well-formed number."""
    digits = codes[:, :17].astype(np.int32) - ord("0")
    valid = ((digits >= 0) & (digits <= 9)).all(axis=1) & (digits[:, 0] > 0)
    digits[~valid] = 0
    valid &= _CHECKS[(digits @ _WEIGHTS) % 11] == codes[:, 17]
    years = digits[:, 6:10] @ np.array([1000, 100, 10, 1], dtype=np.int32)
    months, days = digits[:, 10] * 10 + digits[:, 11], digits[:, 12] * 10 + digits[:, 13]
    valid &= (years >= 1800) & (months >= 1) & (months <= 12) & (days >= 1)
    month = (years - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (months - 1)
    date = month.astype("datetime64[D]") + (days - 1)
    valid &= date.astype("datetime64[M]") == month  # 30 February lies in March
    return date.astype(np.int64), valid


def _upgraded(old: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return 18-byte rows for 15-byte ones; rows that are no digits come out as no number either."""
    codes = np.zeros((len(old), 18), dtype=np.uint8)
    codes[:, :6], codes[:, 8:17] = old[:, :6], old[:, 6:]
    serials = np.ascontiguousarray(old[:, 12:]).view("S3").ravel()
    codes[:, 6], codes[:, 7] = ord("1"), np.where(np.isin(serials, _CENTENARIANS), ord("8"), ord("9"))
    digits = codes[:, :17].astype(np.int32) - ord("0")
    codes[:, 17] = _CHECKS[(digits @ _WEIGHTS) % 11]
    return codes


def _matrix(texts: pa.Array, rows: npt.NDArray[np.intp], width: int) -> npt.NDArray[np.uint8]:
    """Return the bytes of those rows, all of which are `width` bytes long, one row each."""
    if not len(rows):
        return np.empty((0, width), dtype=np.uint8)
    chosen = texts.take(pa.array(rows)).cast(pa.binary()).cast(pa.binary(width))
    return np.frombuffer(chosen.buffers()[1], dtype=np.uint8)[: len(rows) * width].reshape(-1, width)


def _strings_from(codes: npt.NDArray[np.uint8], valid: npt.NDArray[np.bool_]) -> pa.Array:
    codes = np.where(valid[:, None], codes, np.uint8(ord("0")))
    offsets = np.arange(len(codes) + 1, dtype=np.int32) * 18
    texts = pa.StringArray.from_buffers(len(codes), pa.py_buffer(offsets), pa.py_buffer(codes.tobytes()))
    return _keep(texts, pa.array(valid))


def _told(numbers: pa.Array) -> pa.Array:
    """Return the numbers, null where one says that there is none."""
    told = pc.match_substring_regex(numbers, pattern=r"[1-9\pL]")
    unknown = pc.is_in(
        pc.utf8_upper(numbers), value_set=pa.array(sorted(policy.UNKNOWN_NUMBERS), pa.string())
    )
    return _keep(numbers, pc.and_(told, pc.invert(unknown)))


def _without(texts: pa.Array, pattern: str, *, replacement: str = "") -> pa.Array:
    """Replace the pattern, and look first whether it occurs at all: mostly it does not, which is cheaper."""
    if not pc.any(pc.match_substring_regex(texts, pattern=pattern)).as_py():
        return texts
    return pc.replace_substring_regex(texts, pattern=pattern, replacement=replacement)


def _sexes(texts: pa.Array) -> npt.NDArray[np.int64]:
    """Return 1 and 2 (GB/T 2261.1) and 0 for everything else."""
    place = pc.index_in(texts, value_set=pa.array(["1", "2"], pa.string()))
    return pc.add(pc.fill_null(place, -1), 1).cast(pa.int64()).to_numpy(zero_copy_only=False)


def _half_width(texts: pa.Array) -> pa.Array:
    return texts if _plain(texts) else pc.utf8_normalize(texts, form="NFKC")


def _plain(texts: pa.Array) -> bool:
    return bool(pc.all(pc.string_is_ascii(texts)).as_py())


def _keep(texts: pa.Array, condition: Any) -> pa.Array:
    """Return the texts where the condition holds and null elsewhere (also where it is null)."""
    return pc.if_else(pc.fill_null(condition, False), texts, pa.scalar(None, pa.string()))


def _strings(column: pa.ChunkedArray) -> pa.Array:
    return _one(column).cast(pa.string())


def _one(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return column
