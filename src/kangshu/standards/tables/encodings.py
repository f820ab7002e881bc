"""Text of unknown encoding becomes checked UTF-8 on the way through: UTF-8, GB18030 (with GBK), UTF-16.

As long as only ASCII was met, nothing has to be decided. At the first other byte the choice is made by
evidence from what follows: characters that are well formed as UTF-8 speak for it, those that are not speak
against it. Thus UTF-8 that is merely damaged is refused at the damaged line, and never read as the garbled
Chinese that it would be in GB18030, where almost any pair of bytes is a character.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from kangshu.standards.tables.errors import EncodingFaultError, FileCutOffError, say
from kangshu.standards.tables.model import KIB, MIB
from kangshu.standards.tables.sources import Source, reblocked

_WINDOW = 64 * KIB
_EVIDENCE = 64  # characters beyond ASCII after which the choice is safe
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UTF32_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_GB18030_MARK = b"\x84\x31\x95\x33"


class Utf8Text:
    """The text of a source as UTF-8 without byte order mark; well formed, or refused."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.encoding = "ascii"
        """What was found so far: `ascii`, `utf-8`, `gb18030` or `utf-16`."""

    def chunks(self, *, size: int) -> Iterator[bytes]:
        """Yield the text as UTF-8 in chunks of `size` bytes; the first and the last may be shorter.

        Raises:
            EncodingFaultError: a line is in none of the encodings; `place` is that line.
            FileCutOffError: the text ends in the middle of a character.
        """
        raw = self._source.chunks(size=size)
        first = next(raw, b"")
        encoding = _marked(first)
        if encoding == "utf-8":
            first = first.removeprefix(codecs.BOM_UTF8)
            yield from self._decoded(encoding, first, raw, offset=len(codecs.BOM_UTF8), size=size)
            return
        offset = 0
        while encoding is None and first and first.isascii():
            yield first
            offset += len(first)
            first = next(raw, b"")
        if first:
            chosen = encoding or choose_encoding(self._source)
            yield from self._decoded(chosen, first, raw, offset=offset, size=size)

    def _decoded(
        self, encoding: str, first: bytes, raw: Iterator[bytes], *, offset: int, size: int
    ) -> Iterator[bytes]:
        self.encoding = encoding
        chunks = _chain(first, raw)
        if encoding == "utf-8":
            return self._checked(chunks, offset=offset)
        return reblocked(self._transcoded(encoding, chunks, offset=offset), size=size)

    def _checked(self, chunks: Iterator[bytes], *, offset: int) -> Iterator[bytes]:
        """Yield `chunks` as they are, once they proved to be UTF-8; a character may straddle two of them."""
        held = b""  # the beginning of a character at the end of the chunk before
        for chunk in chunks:
            taken = _missing(held)
            joint = held + chunk[:taken]
            if len(chunk) < taken:
                held = joint
            else:
                end = max(taken, len(chunk) - _unfinished(chunk))
                if joint:
                    self._check(joint, offset=offset - len(held))
                self._check(memoryview(chunk)[taken:end], offset=offset + taken)
                held = chunk[end:]
            yield chunk
            offset += len(chunk)
        if held:
            self._check_unfinished(held, offset=offset - len(held))

    def _check(self, text: bytes | memoryview, *, offset: int) -> None:
        if not _is_utf8(text):
            place = offset + _fault_in(bytes(text))
            raise EncodingFaultError(say["not_utf8"], place=self._line_at(place))

    def _check_unfinished(self, held: bytes, *, offset: int) -> None:
        """Refuse the end of a text that is only the beginning of a character."""
        try:
            codecs.getincrementaldecoder("utf-8")().decode(held)
        except UnicodeDecodeError:
            raise EncodingFaultError(say["not_utf8"], place=self._line_at(offset)) from None
        raise FileCutOffError(say["cut_off_character"], place=self._line_at(offset))

    def _transcoded(self, encoding: str, chunks: Iterator[bytes], *, offset: int) -> Iterator[bytes]:
        decoder = codecs.getincrementaldecoder(encoding)("strict")
        mark = "\ufeff"  # may stand at the very start
        for chunk in chunks:
            try:
                text = decoder.decode(chunk)
            except UnicodeDecodeError as error:
                # The decoder held back the beginning of a character, which precedes this chunk.
                fault = offset + len(chunk) - len(error.object) + error.start
                raise self._undecodable(encoding, fault) from None
            if text:
                yield text.removeprefix(mark).encode()
                mark = ""
            offset += len(chunk)
        try:
            decoder.decode(b"", True)
        except UnicodeDecodeError:
            raise FileCutOffError(say["cut_off_character"]) from None

    def _undecodable(self, encoding: str, offset: int) -> EncodingFaultError:
        if encoding == "utf-16":
            return EncodingFaultError(say["not_utf16"], place=f"byte {offset + 1}")
        return EncodingFaultError(say["not_gb18030"], place=self._line_at(offset))

    def _line_at(self, offset: int) -> str:
        """Return the place of the byte at `offset`, as a line; only needed once something is wrong."""
        feeds = returns = 0
        for chunk in self._source.chunks(size=MIB):
            part = chunk[: max(offset, 0)]
            feeds += part.count(b"\n")
            returns += part.count(b"\r")
            offset -= len(chunk)
            if offset <= 0:
                break
        return f"line {(feeds or returns) + 1}"


def choose_encoding(source: Source) -> str:
    """Return `utf-8` or `gb18030`, whichever the text speaks for; it may still be faulty in places.

    Where something is not UTF-8, only characters of three and more bytes speak for it (the Chinese ones):
    one in five characters of GB18030 happens to be a well-formed UTF-8 character of two.

    Raises:
        EncodingFaultError: it is not UTF-8, and as GB18030 would be a heap of rare characters.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    met = wide = faulty = 0
    for window in _closed(source.chunks(size=_WINDOW)):
        if window and window.isascii() and not decoder.getstate()[0]:
            continue
        text = decoder.decode(window, not window)
        beyond = [character for character in text if character > "\x7f"]
        faults = beyond.count("\ufffd")
        faulty += faults
        wide += sum(character > "\u07ff" for character in beyond) - faults
        met += len(beyond)
        if faulty > wide:
            _check_chinese(window)
            return "gb18030"
        if met >= _EVIDENCE:
            break
    return "utf-8"


def _closed(windows: Iterator[bytes]) -> Iterator[bytes]:
    """Yield `windows` and an empty one, at which the decoder gives what it held back."""
    yield from windows
    yield b""


def _check_chinese(window: bytes) -> None:
    """Refuse text that as GB18030 would be a heap of rare characters.

    Western text of one byte per character mostly passes as GBK: an accented letter and the plain one
    after it make a character, but one outside the rows of GB 2312, where both bytes are 0xA1 or more.
    """
    decoded = [character for character in window.decode("gb18030", "ignore") if character > "\x7f"]
    rare = sum(len(code) == 2 and code[1] < 0xA1 for code in (one.encode("gb18030") for one in decoded))
    if rare * 4 > len(decoded) * 3:
        raise EncodingFaultError(say["not_chinese"])


def _marked(first: bytes) -> str | None:
    """Return the encoding that a byte order mark announces."""
    if first.startswith(_UTF32_MARKS):
        raise EncodingFaultError(say["utf32"])
    if first.startswith(codecs.BOM_UTF8):
        return "utf-8"
    if first.startswith(_UTF16_MARKS):
        return "utf-16"
    return "gb18030" if first.startswith(_GB18030_MARK) else None


def _is_utf8(text: bytes | memoryview) -> bool:
    """Tell whether `text` is well formed; Arrow looks at 5 GB/s, Python's decoder at 0.7."""
    if not text:
        return True
    bounds = pa.py_buffer(np.array([0, len(text)], np.int64))
    whole = pa.Array.from_buffers(pa.large_utf8(), 1, [None, bounds, pa.py_buffer(text)])
    try:
        whole.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _fault_in(text: bytes) -> int:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return error.start
    return 0


def _unfinished(chunk: bytes) -> int:
    """Return how many bytes at the end of `chunk` begin a character that is not complete in it."""
    for back in range(1, min(3, len(chunk)) + 1):
        byte = chunk[-back]
        if byte >= 0xC0:
            return back if back < _width(byte) else 0
        if byte < 0x80:
            return 0
    return 0


def _missing(held: bytes) -> int:
    """Return how many bytes the character that begins with `held` still needs."""
    return _width(held[0]) - len(held) if held else 0


def _width(lead: int) -> int:
    return 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest
