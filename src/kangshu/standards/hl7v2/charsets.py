"""Bytes to text: by MSH-18 where it is right, by content where it is not; before anything is split.

The second byte of a GBK character may be `|`, `^`, `~`, `\\` or any other mark, so nothing may be cut before
decoding. What MSH-18 says is tried first and gives way to what the bytes say, because many senders copy the
field from an example: text that is UTF-8 with characters of three bytes (the Chinese ones) is UTF-8; else
it is GB18030, unless its bytes beyond ASCII stand alone as the accents of Western text do.
"""

from __future__ import annotations

import codecs
import re
from functools import lru_cache
from typing import NamedTuple

from kangshu.kernel.texts import Text
from kangshu.standards.hl7v2.errors import CharsetError, say
from kangshu.standards.hl7v2.syntax import delimiters_of, syntax_of

_WIDE = re.compile(rb"[\xe0-\xf4]").search
"""Finds a character of three and more bytes in valid UTF-8."""
_UNLIKELY_GB2312 = re.compile(rb"[\xc2-\xdf][\x80-\xa0]").search
"""Finds a character of two bytes in valid UTF-8 that is none of GB 2312."""
# Two Chinese characters, or one where the two bytes would be neither a symbol nor a Latin or Greek letter.
_CHINESE_PHRASE = re.compile(
    rb"(?<![A-Za-z\x80-\xff])(?:(?:[\xb0-\xf7][\xa1-\xfe]){2,}+|[\xc4-\xcd\xd0-\xdf][\xa1-\xbf])(?![A-Za-z\x80-\xff])"
).search
_CHINESE_RUN = re.compile(rb"(?<![a-z\x80-\xff])(?:[\xa1-\xfe]{2})++(?![\x80-\xff])").search
_NOT_CHINESE_RUN = re.compile(
    rb"(?<![\x80-\xff])[\x80-\xff](?:[\x80-\xff]{2})*+(?![\x80-\xff])|[\x80-\xa0]"
).search
_CONTROL = re.compile(rb"[\x80-\x9f]").search
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]").search
_EVIDENCE_BYTES = 32 * 1024
_CJK = re.compile("[\u3000-\u9fff\uf900-\ufaff\uff00-\uffef]")

_NAMES = {
    "utf-8": ("UNICODE UTF-8", "UTF-8", "UNICODE", "UTF8"),
    "gb18030": (
        "GB 18030-2000",
        "GB18030",
        "GB18030-2005",
        "GB18030-2022",
        "GBK",
        "GB2312",
        "GB2312-80",
        "CP936",
        "MS936",
        "WINDOWS-936",
        "EUC-CN",
    ),
    "ascii": ("ASCII", "US-ASCII", "ISO IR6", "ISO 646", "ISO646-US"),
    "utf-16": ("UNICODE UTF-16", "UTF-16", "UTF-16LE", "UTF-16BE"),
    "utf-32": ("UNICODE UTF-32", "UTF-32"),
    "cp950": ("BIG-5", "BIG5"),
    "euc_kr": ("KS X 1001", "EUC-KR"),
    "iso2022_jp_2": ("ISO IR87", "ISO IR14", "ISO IR159"),
    "iso8859-1": ("8859/1", "ISO 8859-1", "LATIN1", "WINDOWS-1252", "CP1252"),
    **{
        f"iso8859-{part}": (f"8859/{part}", f"ISO 8859-{part}")
        for part in (2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 16)
    },
}
_SINGLE_BYTE = frozenset(name for name in _NAMES if name.startswith("iso8859"))
_PRETENDERS = frozenset({"utf-16", "utf-32"})  # declared, but the bytes have neither mark nor zeros


class Decoded(NamedTuple):
    """Text without NUL and without a byte order mark; `codec` is Python's name of the character set."""

    text: str
    codec: str
    note: Text | None = None


class _UndecodableError(Exception):
    """Carries where decoding stopped, never what stood there."""

    def __init__(self, offset: int, codec: str) -> None:
        super().__init__(offset, codec)
        self.offset = offset
        self.codec = codec


@lru_cache(maxsize=512)
def codec_of(name: str) -> str | None:
    """Return Python's codec for a character set as MSH-18 spells it; `None` for one that is not known."""
    return _CODECS.get(_plain(name))


def name_of(codec: str) -> str:
    """Return what MSH-18 says for a codec; empty for ASCII, which needs no saying."""
    if codec == "ascii":
        return ""
    return _NAMES.get(codec.removesuffix("-le").removesuffix("-be"), _NAMES["utf-8"])[0]


def is_unicode(codec: str) -> bool:
    """Tell whether any text can be written in `codec`."""
    return codec == "gb18030" or codec.startswith("utf")


def decode(data: bytes, *, charset: str | None = None) -> Decoded:
    """Return the text of `data`, whose first line is MSH.

    `charset` is what came with the bytes (a `Content-Type`); it takes the place of MSH-18.

    Raises:
        CharsetError: the bytes are text in no character set; `place` is the field where they stop being so.
    """
    wide = _wide_codec(data)
    if wide is not None:
        return _decode_wide(data, wide)
    data = data.removeprefix(codecs.BOM_UTF8)
    if data.isascii() and b"\x1b" not in data:
        return _decode_ascii(data, charset)
    declared = charset if charset is not None else declared_in(data)
    try:
        return _decide(data, declared)
    except _UndecodableError as stop:
        place = _place_at(data, stop.offset, stop.codec)
    raise CharsetError(say["undecodable"], place=place)


def declared_in(data: bytes) -> str:
    """Return the first character set that MSH-18 names; empty where it names none."""
    line = first_line(data)
    if not line.isascii():
        # A name in MSH-4 may hold the separator's byte; as text it does not.
        try:
            line = line.decode("utf-8").encode("ascii", "ignore")
        except UnicodeDecodeError:
            line = line.decode("gb18030", "ignore").encode("ascii", "ignore")
    fields = line.split(line[3:4] or b"|", 18)
    if len(fields) < 18:
        return ""
    name, marks = fields[17].decode("ascii"), fields[1].decode("ascii")
    if marks[1:2] and marks[1:2] in name:
        name = name.split(marks[1:2])[0]
    if marks[2:3] and marks[2:3] in name:  # a mark like `-` in the name is written as an escape
        name = syntax_of(delimiters_of(line[3:4].decode("ascii"), marks), "ascii").unescape(name)
    return name.strip()


def first_line(data: bytes) -> bytes:
    """Return the bytes before the first line end."""
    end = data.find(b"\r")
    line = data if end < 0 else data[:end]
    end = line.find(b"\n")
    return line if end < 0 else line[:end]


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name)).upper()


_CODECS = {_plain(name): codec for codec, names in _NAMES.items() for name in names}


def _wide_codec(data: bytes) -> str | None:
    """Return the codec of text in units of two or four bytes: a mark or the zeros of ASCII tell."""
    head = data[:4]
    if head in (b"\xff\xfe\0\0", b"M\0\0\0"):
        return "utf-32-le"
    if head in (b"\0\0\xfe\xff", b"\0\0\0M"):
        return "utf-32-be"
    if head[:2] in (b"\xff\xfe", b"M\0", b"F\0", b"B\0"):
        return "utf-16-le"
    if head[:2] in (b"\xfe\xff", b"\0M", b"\0F", b"\0B"):
        return "utf-16-be"
    return None


def _decode_wide(data: bytes, codec: str) -> Decoded:
    try:
        text = data.decode(codec)
    except UnicodeDecodeError:
        place = "MSH-18"
    else:
        return Decoded(text=_clean(text), codec=codec)
    raise CharsetError(say["undecodable"], place=place)


def _decode_ascii(data: bytes, charset: str | None) -> Decoded:
    declared = charset if charset is not None else declared_in(data)
    codec = (codec_of(declared) if declared else None) or "ascii"
    return Decoded(text=_clean(data.decode("ascii")), codec="utf-8" if codec in _PRETENDERS else codec)


def _decide(data: bytes, declared: str) -> Decoded:
    codec = codec_of(declared) if declared else None
    if codec is not None:
        text = _as_declared(data, codec)
        if text is not None:
            return Decoded(text=_clean(text), codec=codec)
    text, found = _by_content(data, codec)
    if not declared and found != "iso8859-1":
        note = None
    else:
        note = say("charset_by_content", name=name_of(found)) if declared else say["charset_western"]
    return Decoded(text=_clean(text), codec=found, note=note)


def _as_declared(data: bytes, codec: str) -> str | None:
    """Return the text as declared, or `None` where the bytes contradict."""
    if codec == "utf-8":
        return _tried(data, codec)
    if codec in _PRETENDERS or codec == "ascii":
        return None
    utf8 = _tried(data, "utf-8")
    if utf8 is not None and (codec in _SINGLE_BYTE or _WIDE(data)):
        return None
    if codec in _SINGLE_BYTE and _CHINESE_PHRASE(data) and not _NOT_CHINESE_RUN(data):
        return None
    return _tried(data, codec)


def _by_content(data: bytes, declared: str | None) -> tuple[str, str]:
    utf8 = _tried(data, "utf-8")
    if utf8 is not None and (_WIDE(data) or declared == "utf-8" or not _seems_chinese(data)):
        return utf8, "utf-8"
    if not _CHINESE_RUN(data) and not _CONTROL(data):
        return data.decode("latin-1"), "iso8859-1"
    codec = "utf-8" if utf8 is None and _is_rather_utf8(data) else "gb18030"
    try:
        return data.decode(codec), codec
    except UnicodeDecodeError as error:
        offset = error.start
    raise _UndecodableError(offset, codec)


def _is_rather_utf8(data: bytes) -> bool:
    """Tell whether text that is not valid UTF-8 is UTF-8 with damage, and garbled as GB18030."""
    first = _BEYOND_ASCII(data)
    begun = first.start() if first else 0
    text = data[begun : begun + _EVIDENCE_BYTES].decode("utf-8", "replace")
    return len(_CJK.findall(text)) > text.count("\ufffd")


def _seems_chinese(data: bytes) -> bool:
    """Tell whether valid UTF-8 with characters of two bytes only is rather a Chinese name in GBK."""
    return not _UNLIKELY_GB2312(data) and _CHINESE_PHRASE(data) is not None


def _tried(data: bytes, codec: str) -> str | None:
    try:
        return data.decode(codec)
    except UnicodeDecodeError:
        return None


def _clean(text: str) -> str:
    """Return `text` without its byte order mark and without NUL, which no database takes."""
    text = text.removeprefix("\ufeff")
    return text.replace("\0", "") if "\0" in text else text


def _place_at(data: bytes, offset: int, codec: str) -> str:
    """Return the field in which the byte at `offset` stands."""
    lines = data[:offset].decode(codec, "replace").replace("\n", "\r").split("\r")
    field = lines[0][3:4]
    line = lines[-1].lstrip()
    name = line[:3]
    number = line.count(field) + (name in ("MSH", "FHS", "BHS")) if field else 0
    if not (name.isascii() and name.isalnum() and number):
        return f"line {len(lines)}"
    before = sum(one.startswith(name) for one in lines)
    return f"{name}-{number}" if before < 2 else f"{name}[{before}]-{number}"
