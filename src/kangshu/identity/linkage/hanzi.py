"""Read names into the forms in which they are compared: simplified, by sound, by surname and given name.

Readings come from pypinyin and forms from OpenCC, as tables (scripts/hanzi_tables.py); how surnames are read
was put together by hand. `read_name` reads one name, `read_names` a column, and both give the same. Pure.
"""

# pyarrow makes its compute functions at import, where pyright cannot see them.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kangshu.identity import policy

NAME_COLUMNS = (
    "name",
    "name_code",
    "surname",
    "given",
    "sound",
    "sound_turned",
    "sound_letters",
    "sound_head",
    "tones",
    "surname_sound",
    "given_sound",
    "script",
    "newborn",
    "mother",
    "birth_order",
)
"""What `read_name` tells; see `profiles.PROFILE_COLUMNS`."""

NameFacts = tuple[str | None, ...]
NAME_LENGTH_MOST = 200  # arbitrary: longer than any name
HANZI, LATIN = "H", "L"

_NOBODY: NameFacts = (None,) * len(NAME_COLUMNS)
_CODES = 0x40000  # code points of planes 0 to 3, where all Chinese characters are
_ALPHABET_FIRST, _ALPHABET_SIZE = 33, 94
_WIDTH = 4  # characters of a name that is read in columns
_SYLLABLE = 6  # letters of the longest syllable

_IS_HANZI = re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff]")
_ALL_HANZI = re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff]+")
# The middle dots of minority names in all their code points, the full stop, and what folds to them.
_BREAKS = re.compile(
    r"[\s\u00b7\u0387\u2022\u2027\u2219\u22c5\u30fb\u2e31\u25cf\u200b-\u200d\ufeff.,，、_\-]+"
)
_BLANKS_ALONE = re.compile(r"[^\u00b7\u0387\u2022\u2027\u2219\u22c5\u30fb\u2e31\u25cf.,，、_\-]*")
_UNREADABLE = re.compile("[?\ufffd]")
_NOT_LETTERS = re.compile(r"[^a-z0-9]+")
_IN_BRACKETS = re.compile(r"[(\[{<].*?[)\]}>]")
_ORDER_IN_BRACKETS = re.compile(r"[(\[]([大小长次幼甲乙丙一二三ABC123])[)\]]$")
# 王某之女, 王某之大子, 王某双胎之小, 王某之婴A, 王某男婴: called after the mother until named.
_NEWBORN = re.compile(
    r"(.{2,}?)(?:双胎|双胞胎|三胎)?"
    r"(?:之([大小长次幼甲乙丙一二三]?)(?:子|女|儿|婴|婴儿|男婴|女婴|男|宝|宝宝|儿子|女儿)|之([大小])"
    r"|(?:婴儿|新生儿|男婴|女婴|婴|宝宝|BABY))"
    r"([大小甲乙丙一二三ABC123]?)"
)
_ORDERS = {
    one: str(place) for place, of in enumerate(("大长甲一A1", "小次幼乙二B2", "丙三C3"), 1) for one in of
}
_NOT_NAMED = re.compile(r"(无名|新生儿|婴儿|男婴|女婴|不详|未知|三无)")
# A name with one of these goes through `read_name`, which knows what they may mean.
_TELLING = "[之婴嬰宝寶生无無不未佚暂暫三]"
_PLAIN = r"^[\x{3400}-\x{9fff}\x{20000}-\x{3ffff}]{2,4}$"


@dataclass(frozen=True)
class _Tables:
    """Tables as Python looks things up in them, and as arrays by code point."""

    simple: Mapping[int, int]
    readings: Mapping[str, str]
    surnames: Mapping[str, tuple[str, ...]]
    simple_codes: npt.NDArray[np.uint32]
    reading_places: npt.NDArray[np.uint16]
    surname_places: npt.NDArray[np.uint16]
    sounds: npt.NDArray[np.uint8]
    toned: npt.NDArray[np.uint8]
    syllables: Mapping[str, int]


@cache
def tables() -> _Tables:
    """Return the tables, read once."""
    simple = _read_simple()
    readings = {character: head for head, members in _lines("readings.txt") for character in members}
    surnames = {
        parts[0]: tuple(parts[1:]) for parts in (line.split() for line in _text("surnames.txt").splitlines())
    }
    syllables = {
        syllable: place
        for place, syllable in enumerate(
            ["", *sorted({*readings.values(), *(one for read in surnames.values() for one in read)})]
        )
    }
    codes = np.arange(_CODES, dtype=np.uint32)
    codes[list(simple)] = list(simple.values())
    places = np.zeros(_CODES, dtype=np.uint16)
    places[[ord(one) for one in readings]] = [syllables[read] for read in readings.values()]
    of_surnames = places.copy()
    for surname, read in surnames.items():
        if len(surname) == 1:
            of_surnames[ord(surname)] = syllables[read[0]]
    return _Tables(
        simple=simple,
        readings=readings,
        surnames=surnames,
        simple_codes=codes,
        reading_places=places,
        surname_places=of_surnames,
        sounds=_matrix([syllable[:-1] for syllable in syllables], _SYLLABLE),
        toned=_matrix(list(syllables), _SYLLABLE + 1),
        syllables=syllables,
    )


def _read_simple() -> dict[int, int]:
    found = {ord(other): ord(head) for head, members in _lines("variants.txt") for other in members}
    # A private code point may stand for a traditional form: look on until nothing simpler is found.
    for other, simple in found.items():
        while simple in found and found[simple] not in (simple, other):
            simple = found[simple]
        found[other] = simple
    return found


def _lines(name: str) -> list[tuple[str, str]]:
    parts = (line.partition("\t") for line in _text(name).splitlines())
    return [(head, members) for head, _, members in parts]


def _text(name: str) -> str:
    folder = resources.files("kangshu.identity.linkage.tables")
    return folder.joinpath(name).read_text(encoding="utf-8")


def _matrix(texts: list[str], width: int) -> npt.NDArray[np.uint8]:
    return (
        np.array([text.encode().ljust(width, b"\0") for text in texts], dtype=f"S{width}")
        .view(np.uint8)
        .reshape(len(texts), width)
    )


def simplify(text: str) -> str:
    """Return the text in capitals and simplified characters, half-width, without variant forms."""
    if not _ALL_HANZI.fullmatch(text):
        text = unicodedata.normalize("NFKC", text)
    return text.translate(tables().simple).upper()


def read_name(text: str | None) -> NameFacts:
    """Return what the name tells, in the order of `NAME_COLUMNS`; nothing where it says it is unknown."""
    if not text or len(text) > NAME_LENGTH_MOST:
        return _NOBODY
    name = simplify(text).strip()
    if newborn := _newborn(name):
        return newborn
    name = _IN_BRACKETS.sub("", name)
    parts = [part for part in _BREAKS.split(name) if part]
    whole = "".join(parts)
    if not whole or whole in policy.UNKNOWN_NAMES or _NOT_NAMED.match(whole) or _UNREADABLE.search(whole):
        return _NOBODY
    if not _IS_HANZI.search(whole):
        return _latin(name)
    # Short names are stretched with blanks for the eye; in long ones a blank stands for the middle dot.
    return _hanzi(whole, parts if len(whole) > _WIDTH or not _BLANKS_ALONE.fullmatch(name) else [whole])


def _newborn(name: str) -> NameFacts | None:
    order = None
    if bracket := _ORDER_IN_BRACKETS.search(name):
        name, order = name[: bracket.start()], bracket[1]
    whole = _BREAKS.sub("", name)
    found = _NEWBORN.fullmatch(whole)
    if not found or _UNREADABLE.search(found[1]) or _NOT_NAMED.match(whole):
        return None
    order = found[2] or found[3] or found[4] or order
    told = {"newborn": "1", "mother": found[1], "birth_order": _ORDERS.get(order or "")}
    return tuple(told.get(column) for column in NAME_COLUMNS)


def _hanzi(whole: str, parts: list[str]) -> NameFacts:
    known = tables()
    length = _surname_length(whole) if len(parts) == 1 else 0
    surname, given = whole[:length], whole[length:]
    read = known.surnames.get(surname) or tuple(known.readings.get(one, "") for one in surname)
    readings = [*read, *(known.readings.get(one, _own_letters(one)) for one in given)]
    sounds = [one.rstrip("12345") for one in readings]
    sound = "".join(sounds)
    own, others = "".join(sounds[:length]), "".join(sounds[length:])
    turned = others + own if length else None
    head = sound
    if len(parts) > 1:
        first, last = len(parts[0]), len(whole) - len(parts[-1])
        head, turned = "".join(sounds[:first]), "".join(sounds[last:] + sounds[:last])
    return (
        whole,
        "".join(chr(_ALPHABET_FIRST + ord(one) % _ALPHABET_SIZE) for one in whole),
        surname or None,
        given if length else None,
        sound or None,
        turned or None,
        "".join(sorted(sound)) or None,
        head or None,
        "".join(readings) or None,
        own or None,
        others or None if length else None,
        HANZI,
        None,
        None,
        None,
    )


def _surname_length(name: str) -> int:
    """Return how many of the characters are the surname; 0 where the name is none of Chinese shape."""
    if not 2 <= len(name) <= 5 or not _ALL_HANZI.fullmatch(name):
        return 0
    if len(name) > 2 and name[:2] in tables().surnames:
        return 2
    return 1 if len(name) <= 4 else 0


def _own_letters(character: str) -> str:
    return _NOT_LETTERS.sub("", character.lower()) if character.isascii() else ""


def _latin(name: str) -> NameFacts:
    """Read a name in letters: accents fall away, words may be turned round."""
    decomposed = unicodedata.normalize("NFKD", name.replace("'", "").replace("’", "")).lower()
    words = [_NOT_LETTERS.sub("", word) for word in _BREAKS.split(decomposed)]
    words = [word.replace("lyu", "lv").replace("nyu", "nv") for word in words if word]
    sound = "".join(words)
    if not re.search("[a-z]", sound):
        return _NOBODY
    told = {
        "name": " ".join(words),
        "sound": sound,
        "sound_turned": words[-1] + "".join(words[:-1]) if len(words) > 1 else None,
        "sound_letters": "".join(sorted(sound)),
        "sound_head": sound,
        "script": LATIN,
    }
    return tuple(told.get(column) for column in NAME_COLUMNS)


def read_names(names: pa.Array) -> dict[str, pa.Array]:
    """Return the columns of `NAME_COLUMNS` for a column of names: each different name is read once."""
    encoded = names.dictionary_encode()
    different = encoded.dictionary.cast(pa.string())
    plain = pc.and_(
        pc.match_substring_regex(different, pattern=_PLAIN),
        pc.invert(pc.match_substring_regex(different, pattern=_TELLING)),
    ).to_numpy(zero_copy_only=False)
    in_columns, one_by_one = np.flatnonzero(plain), np.flatnonzero(~plain)
    read = _read_plain(different.take(pa.array(in_columns)))
    others = [read_name(name) for name in different.take(pa.array(one_by_one)).to_pylist()]
    place = np.empty(len(different), dtype=np.int64)
    place[np.concatenate([in_columns, one_by_one])] = np.arange(len(different))
    # A name that is not given has no index, and stays null.
    index = pa.array(place).take(encoded.indices)
    columns = zip(*others, strict=True) if others else [()] * len(NAME_COLUMNS)
    return {
        name: pa.concat_arrays([read[name], pa.array(list(values), pa.string())]).take(index)
        for name, values in zip(NAME_COLUMNS, columns, strict=True)
    }


def _read_plain(names: pa.Array) -> dict[str, pa.Array]:
    """Read names of two to four Chinese characters without another meaning."""
    known = tables()
    count = len(names)
    codes = known.simple_codes[_code_matrix(names)]
    compound, readings = _readings_of(codes)
    own = np.arange(_WIDTH)[None, :] < np.where(compound, 2, 1)[:, None]
    given = ~own & (codes > 0)
    sounds = known.sounds[readings]
    whole = sounds.reshape(count, _WIDTH * _SYLLABLE)
    first = np.where(own[:, :, None], sounds, 0).reshape(whole.shape)
    rest = np.where(own[:, :, None], 0, sounds).reshape(whole.shape)
    sound = _texts(whole)
    alphabet = np.where(codes > 0, _ALPHABET_FIRST + codes % _ALPHABET_SIZE, 0).astype(np.uint8)
    nothing = pa.nulls(count, pa.string())
    return {
        "name": _characters(codes, codes > 0),
        "name_code": _texts(alphabet),
        "surname": _characters(codes, own),
        "given": _characters(codes, given),
        "sound": sound,
        "sound_turned": _texts(np.concatenate([rest, first], axis=1)),
        "sound_letters": _texts(np.sort(whole, axis=1)),
        "sound_head": sound,
        "tones": _texts(known.toned[readings].reshape(count, _WIDTH * (_SYLLABLE + 1))),
        "surname_sound": _texts(first),
        "given_sound": _texts(rest),
        "script": pa.repeat(pa.scalar(HANZI), count),
        "newborn": nothing,
        "mother": nothing,
        "birth_order": nothing,
    }


def _readings_of(codes: npt.NDArray[np.uint32]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.uint16]]:
    """Return which names begin with a surname of two characters, and how all characters are read."""
    known = tables()
    readings = known.reading_places[codes]
    compound = np.zeros(len(codes), dtype=np.bool_)
    pairs = (codes[:, 0].astype(np.int64) << 20) | codes[:, 1]
    longer = codes[:, 2] > 0
    for surname, read in known.surnames.items():
        if len(surname) == 2:
            hit = longer & (pairs == (ord(surname[0]) << 20 | ord(surname[1])))
            compound |= hit
            readings[hit, 0], readings[hit, 1] = known.syllables[read[0]], known.syllables[read[1]]
    single = ~compound
    readings[single, 0] = known.surname_places[codes[single, 0]]
    return compound, readings


def _code_matrix(names: pa.Array) -> npt.NDArray[np.uint32]:
    """Return the code points of names of at most `_WIDTH` characters, one row each, 0 behind the end."""
    lengths = pc.utf8_length(names).to_numpy(zero_copy_only=False)
    text = (
        bytes(names.buffers()[2])[: int(pc.sum(pc.binary_length(names)).as_py() or 0)] if len(names) else b""
    )
    flat = np.frombuffer(text.decode().encode("utf-32-le"), dtype=np.uint32)
    matrix = np.zeros((len(names), _WIDTH), dtype=np.uint32)
    matrix[np.arange(_WIDTH)[None, :] < lengths[:, None]] = flat
    return matrix


def _characters(codes: npt.NDArray[np.uint32], kept: npt.NDArray[np.bool_]) -> pa.Array:
    """Return the kept characters of each row as a text."""
    flat = codes[kept]
    sizes = np.where(codes < 0x10000, 3, 4) * kept
    return _from(flat.tobytes().decode("utf-32-le").encode(), sizes.sum(axis=1))


def _texts(letters: npt.NDArray[np.uint8]) -> pa.Array:
    """Return the letters of each row, without the zeros between them, as a text; null where there is none."""
    there = letters > 0
    return _from(letters[there].tobytes(), there.sum(axis=1))


def _from(data: bytes, sizes: npt.NDArray[Any]) -> pa.Array:
    offsets = np.zeros(len(sizes) + 1, dtype=np.int32)
    np.cumsum(sizes, out=offsets[1:])
    texts = pa.StringArray.from_buffers(len(sizes), pa.py_buffer(offsets), pa.py_buffer(data))
    empty = sizes == 0
    return pc.if_else(pa.array(empty), pa.scalar(None, pa.string()), texts) if empty.any() else texts
