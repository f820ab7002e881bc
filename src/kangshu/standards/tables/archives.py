"""Zip archives, read with bounds: the one data file in them, or the parts of a workbook."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import TypeVar

from kangshu.standards.tables.errors import (
    ArchiveBombError,
    EmptyFileError,
    FileCutOffError,
    UnsupportedFormatError,
    say,
)
from kangshu.standards.tables.model import KIB, MIB, Limits
from kangshu.standards.tables.sources import RegularFile, UnpackGuard, reblocked

_T = TypeVar("_T")

_DIRECTORY_BYTES = 4 * MIB  # some 50,000 members; zipfile holds them all in memory
_TRAILER = struct.Struct("<4s4H2LH")  # end of central directory
_TRAILER_SIGNATURE = b"PK\x05\x06"
_TRAILER_64 = struct.Struct("<4sQ2H2L4Q")
_TRAILER_64_SIGNATURE = b"PK\x06\x06"
_LOCKED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_LITTER = ("__MACOSX/", ".DS_Store", "Thumbs.db", "desktop.ini")
# What zipfile raises on damaged input besides its own error.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    OverflowError,
    struct.error,
)


class Archive:
    """An open zip file; its members by name, with `/` between folders."""

    def __init__(self, file: RegularFile, *, limits: Limits) -> None:
        """Read the directory of `file`.

        Raises:
            FileCutOffError: there is no readable directory.
            ArchiveBombError: the directory is out of all proportion.
        """
        self._limits = limits
        _check_directory(file)
        self._zip = _opened(file)
        self._members = {entry.filename.replace("\\", "/"): entry for entry in self._zip.infolist()}

    def names(self) -> tuple[str, ...]:
        """Return the names of all members."""
        return tuple(self._members)

    def sole_member(self) -> MemberSource:
        """Return the one data file; folders and what macOS and Windows leave behind do not count.

        Raises:
            EmptyFileError: there is none.
            UnsupportedFormatError: there are several, or it cannot be unpacked.
        """
        wanted = [name for name in self._members if not _is_litter(name)]
        if not wanted:
            raise EmptyFileError(say["empty_archive"])
        if len(wanted) > 1:
            raise UnsupportedFormatError(say("several_members", count=len(wanted)))
        return self.member(wanted[0])

    def member(self, name: str, *, most_bytes: int | None = None) -> MemberSource:
        """Return the member called `name`, which may unpack to `most_bytes` (or what the limits allow).

        Raises:
            KeyError: there is none.
            UnsupportedFormatError: it is locked, or packed in an uncommon way.
        """
        entry = self._members[name]
        if entry.flag_bits & _LOCKED:
            raise UnsupportedFormatError(say["locked"])
        if entry.compress_type not in _METHODS:
            raise UnsupportedFormatError(say("unsupported", what=f"zip method {entry.compress_type}"))
        return MemberSource(self._zip, entry, limits=self._limits, most_bytes=most_bytes)


class MemberSource:
    """The content of one member of a zip file."""

    def __init__(
        self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, *, limits: Limits, most_bytes: int | None
    ) -> None:
        self._zip = archive
        self._entry = entry
        self._limits = limits
        self._most_bytes = most_bytes

    def chunks(self, *, size: int) -> Iterator[bytes]:
        """Yield the unpacked bytes.

        Raises:
            FileCutOffError: the member is not whole.
            ArchiveBombError: more comes out than the limits allow.
        """
        guard = UnpackGuard(
            packed_bytes=self._entry.compress_size, limits=self._limits, most_bytes=self._most_bytes
        )
        return reblocked(guard.watch(self._pieces()), size=size)

    def _pieces(self) -> Iterator[bytes]:
        stream = _guarded(lambda: self._zip.open(self._entry))
        with stream:
            while piece := _guarded(lambda: stream.read(256 * KIB)):
                yield piece


def _guarded(step: Callable[[], _T]) -> _T:
    """Return what `step` returns; whatever zipfile says about damaged input becomes our own error."""
    try:
        return step()
    except NotImplementedError:
        fault = UnsupportedFormatError(say("unsupported", what="zip"))
    except RuntimeError:
        fault = UnsupportedFormatError(say["locked"])
    except _DAMAGE:
        fault = FileCutOffError(say["cut_off"])
    raise fault


def _opened(file: RegularFile) -> zipfile.ZipFile:
    return _guarded(lambda: zipfile.ZipFile(file.stream()))


def _is_litter(name: str) -> bool:
    base = name.rpartition("/")[2]
    return not base or base.startswith("._") or name.startswith(_LITTER[0]) or base in _LITTER


def _check_directory(file: RegularFile) -> None:
    """Refuse a central directory that would fill the memory: zipfile reads it whole, as long as it claims."""
    start = max(0, file.size - 65 * KIB)  # a comment of 64 KiB may follow the trailer
    tail = file.read_at(start, file.size - start)
    found = tail.rfind(_TRAILER_SIGNATURE)
    if found < 0 or found + _TRAILER.size > len(tail):
        raise FileCutOffError(say["cut_off"])
    length = _TRAILER.unpack_from(tail, found)[5]
    found_64 = tail.rfind(_TRAILER_64_SIGNATURE, 0, found)
    if 0 <= found_64 <= len(tail) - _TRAILER_64.size:
        length = max(length if length != 0xFFFF_FFFF else 0, _TRAILER_64.unpack_from(tail, found_64)[8])
    if length > _DIRECTORY_BYTES:
        raise ArchiveBombError(say["bomb_directory"])
