"""Bytes from a file, plain or unpacked on the way, as often as wanted and within the limits."""

from __future__ import annotations

import errno
import io
import os
import stat
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from kangshu.standards.tables.errors import (
    ArchiveBombError,
    FileCutOffError,
    FileTooLargeError,
    UnreadableFileError,
    say,
)
from kangshu.standards.tables.model import GIB, KIB, MIB, Limits

_PACKED_CHUNK = 256 * KIB
_GZIP_WINDOW = 31  # zlib's way to say: expect a gzip header and check its sum


class Source(Protocol):
    """Something that can be read from the start, again and again."""

    def chunks(self, *, size: int) -> Iterator[bytes]:
        """Yield all bytes; every chunk but the last has `size` bytes, none is empty."""
        ...


class RegularFile:
    """An open file, read by position, so that several readers do not disturb each other."""

    def __init__(self, descriptor: int, *, size: int) -> None:
        self._descriptor: int | None = descriptor
        self.size = size

    @classmethod
    def open(cls, path: Path, *, limits: Limits) -> RegularFile:
        """Open the regular file at `path`; links are not followed and devices not waited for.

        Raises:
            UnreadableFileError: there is none, or it cannot be opened.
            FileTooLargeError: it has more bytes than `limits` allow.
        """
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags)
        except (OSError, ValueError) as error:
            raise _unreadable(error) from None
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            raise UnreadableFileError(say["not_a_file"])
        if found.st_size > limits.file_bytes:
            os.close(descriptor)
            raise FileTooLargeError(say("too_large", limit=amount(limits.file_bytes)))
        return cls(descriptor, size=found.st_size)

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`; fewer only at the end of the file."""
        if self._descriptor is None:
            raise ValueError("the file is closed")
        pieces: list[bytes] = []
        while length > 0:
            piece = os.pread(self._descriptor, length, offset)
            if not piece:
                break
            pieces.append(piece)
            offset += len(piece)
            length -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def chunks(self, *, size: int) -> Iterator[bytes]:
        """Yield all bytes in pieces of `size`."""
        offset = 0
        while piece := self.read_at(offset, size):
            yield piece
            offset += len(piece)

    def stream(self) -> io.BufferedReader:
        """Return a seekable file object with a position of its own."""
        return io.BufferedReader(_Positioned(self), buffer_size=64 * KIB)

    def close(self) -> None:
        """Give the file back; reading fails from now on."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class _Positioned(io.RawIOBase):
    """A `RegularFile` as the seekable object that zipfile and pyarrow want."""

    def __init__(self, file: RegularFile) -> None:
        super().__init__()
        self._file = file
        self._offset = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._offset, os.SEEK_END: self._file.size}[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, "a position before the start of the file")
        self._offset = base + offset
        return self._offset

    def tell(self) -> int:
        return self._offset

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # typeshed wants a Buffer
        piece = self._file.read_at(self._offset, len(buffer))
        buffer[: len(piece)] = piece
        self._offset += len(piece)
        return len(piece)


class GzipSource:
    """The content of a gzip file (RFC 1952), one member or several in a row."""

    def __init__(self, packed: RegularFile, *, limits: Limits) -> None:
        self._packed = packed
        self._limits = limits

    def chunks(self, *, size: int) -> Iterator[bytes]:
        """Yield the unpacked bytes.

        Raises:
            FileCutOffError: the file ends early, or a checksum does not hold.
            ArchiveBombError: more comes out than the limits allow.
        """
        guard = UnpackGuard(packed_bytes=self._packed.size, limits=self._limits)
        return reblocked(guard.watch(self._pieces()), size=size)

    def _pieces(self) -> Iterator[bytes]:
        packed = self._packed.chunks(size=_PACKED_CHUNK)
        rest = next(packed, b"")
        while rest:
            member = zlib.decompressobj(_GZIP_WINDOW)
            while not member.eof:
                rest = rest or next(packed, b"")
                piece = _inflate(member, rest)
                if not (piece or rest or member.eof):
                    raise FileCutOffError(say["cut_off"])
                yield piece
                rest = member.unconsumed_tail
            # Zero bytes may follow: tape blocks are padded with them (as in gzip's own reader).
            rest = member.unused_data.lstrip(b"\0") or next(packed, b"").lstrip(b"\0")


def _inflate(member: zlib._Decompress, packed: bytes) -> bytes:
    """Return what `packed` gives, a bounded part at a time; the rest stays in `unconsumed_tail`."""
    try:
        return member.decompress(packed, MIB)
    except zlib.error:
        pass
    raise FileCutOffError(say["cut_off"])


class UnpackGuard:
    """Counts what comes out of an archive and stops where it is out of proportion."""

    def __init__(self, *, packed_bytes: int, limits: Limits, most_bytes: int | None = None) -> None:
        self._limits = limits
        self._most = limits.unpacked_bytes if most_bytes is None else most_bytes
        self._allowed = limits.unpacked_grace_bytes + limits.unpacked_ratio * packed_bytes
        self._seen = 0

    def watch(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Yield `pieces` as long as their sum is within the limits.

        Raises:
            ArchiveBombError: it is not.
        """
        for piece in pieces:
            self._seen += len(piece)
            if self._seen > self._allowed:
                raise ArchiveBombError(say("bomb_ratio", ratio=self._limits.unpacked_ratio))
            if self._seen > self._most:
                raise ArchiveBombError(say("bomb_size", limit=amount(self._most)))
            yield piece


def reblocked(pieces: Iterator[bytes], *, size: int) -> Iterator[bytes]:
    """Yield the same bytes in chunks of `size`, the last one as long as it comes."""
    held: list[bytes] = []
    length = 0
    for piece in pieces:
        held.append(piece)
        length += len(piece)
        if length >= size:
            whole = b"".join(held)
            cut = length - length % size
            for start in range(0, cut, size):
                yield whole[start : start + size]
            held, length = [whole[cut:]], length - cut
    if length:
        yield b"".join(held)


def unpack(source: Source, *, scratch: Path, limits: Limits) -> RegularFile:
    """Write the bytes of `source` to a nameless file in `scratch` and return it; closing it removes it.

    Raises:
        ArchiveBombError: there are more than `limits.scratch_bytes`.
        OSError: the disk of `scratch` is full or cannot be written.
    """
    with tempfile.TemporaryFile(dir=scratch) as unpacked:
        size = 0
        for chunk in source.chunks(size=MIB):
            size += len(chunk)
            if size > limits.scratch_bytes:
                raise ArchiveBombError(say("bomb_size", limit=amount(limits.scratch_bytes)))
            unpacked.write(chunk)
        unpacked.flush()
        return RegularFile(os.dup(unpacked.fileno()), size=size)


def amount(count: int) -> str:
    """Return a number of bytes for people: `2 MiB`, `1.5 GiB`."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if count >= unit:
            return f"{count / unit:.4g} {name}"
    return f"{count} B"


def _unreadable(error: OSError | ValueError) -> UnreadableFileError:
    number = error.errno if isinstance(error, OSError) else errno.ENOENT
    if number in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
        return UnreadableFileError(say["missing"])
    if number in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
        return UnreadableFileError(say["not_a_file"])
    return UnreadableFileError(say["unreadable"])
