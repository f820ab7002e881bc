"""Reads an uploaded file from the network to the disk, piece by piece; memory stays small at any size."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from kangshu.console.errors import UploadRefusedError, say
from kangshu.storage.errors import StorageFullError

_FIELD_LIMIT_BYTES = 4 << 10
_FIELDS_MOST = 20
_HEADER_LIMIT_BYTES = 8 << 10
_NAME_MOST = 200


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file that arrived whole, with the fields of its form."""

    path: Path
    file_name: str
    bytes: int
    fields: Mapping[str, str]


@dataclass
class _Part:
    """The part of the form that is being read."""

    header_name: bytearray = field(default_factory=bytearray)
    header_value: bytearray = field(default_factory=bytearray)
    headers: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    name: str = ""
    is_file: bool = False
    content: bytearray = field(default_factory=bytearray)


async def receive_upload(
    request: Request,
    *,
    inbox: Path,
    name: str,
    limit_bytes: int,
    check_field: Callable[[str, str], None] = lambda name, value: None,
) -> Upload:
    """Return the file of the form, which now lies in `inbox` under `name`; nothing is left after an error.

    `check_field` sees each field before what follows it and may raise.

    Raises:
        UploadRefusedError: it is no form with one file, the file is empty, or larger than `limit_bytes`.
        StorageFullError: the disk is full.
        ClientDisconnect: the sender went away.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise UploadRefusedError(say["upload.no_file"])
    await asyncio.to_thread(inbox.mkdir, parents=True, exist_ok=True)
    path = inbox / f"{name}.part"
    try:
        with path.open("xb") as target:
            form = _Form(boundary, target, limit_bytes=limit_bytes, check_field=check_field)
            async for chunk in request.stream():
                # Writing may wait for the disk; other requests go on meanwhile.
                await asyncio.to_thread(form.write, chunk)
            form.finish()
            await asyncio.to_thread(_flush, target)
    except OSError as error:
        path.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError(say["upload.disk_full"]) from error
        raise
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Upload(path=path, file_name=form.file_name, bytes=form.file_bytes, fields=form.fields)


class _Form:
    """Takes a multipart body apart: the file to the disk, the fields into memory, both within bounds."""

    def __init__(
        self,
        boundary: bytes,
        target: BinaryIO,
        *,
        limit_bytes: int,
        check_field: Callable[[str, str], None],
    ) -> None:
        self.fields: dict[str, str] = {}
        self.file_name = ""
        self.file_bytes = 0
        self._files = 0
        self._target = target
        self._limit_bytes = limit_bytes
        self._check_field = check_field
        self._part = _Part()
        self._complete = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_part_data": self._data,
                "on_part_end": self._end,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_end": self._finished,
            },
        )

    def write(self, chunk: bytes) -> None:
        """Take the next piece of the body."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise UploadRefusedError(say["upload.no_file"]) from error

    def finish(self) -> None:
        """Do nothing if the body was complete and held one file that is not empty."""
        if not self._complete:
            raise UploadRefusedError(say["upload.cut_off"])
        if self._files != 1:
            raise UploadRefusedError(say["upload.no_file"])
        if not self.file_bytes:
            raise UploadRefusedError(say["upload.empty"])

    def _begin(self) -> None:
        self._part = _Part()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._part.header_name += data[start:end]
        self._bound(self._part.header_name, _HEADER_LIMIT_BYTES)

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._part.header_value += data[start:end]
        self._bound(self._part.header_value, _HEADER_LIMIT_BYTES)

    def _header_end(self) -> None:
        self._part.headers[bytes(self._part.header_name).lower()] = bytes(self._part.header_value)
        self._part.header_name, self._part.header_value = bytearray(), bytearray()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._part.headers.get(b"content-disposition", b""))
        self._part.name = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" in options:
            self._part.is_file = True
            self._files += 1
            self.file_name = _bare_name(options[b"filename"].decode("utf-8", "replace"))
            if self._files > 1:
                raise UploadRefusedError(say["upload.one_file"])

    def _data(self, data: bytes, start: int, end: int) -> None:
        if not self._part.is_file:
            self._part.content += data[start:end]
            self._bound(self._part.content, _FIELD_LIMIT_BYTES)
            return
        self.file_bytes += end - start
        if self.file_bytes > self._limit_bytes:
            raise UploadRefusedError(say["upload.too_large"])
        self._target.write(data[start:end])

    def _end(self) -> None:
        if self._part.is_file:
            return
        if len(self.fields) >= _FIELDS_MOST:
            raise UploadRefusedError(say["upload.no_file"])
        value = self._part.content.decode("utf-8", "replace")
        self._check_field(self._part.name, value)
        self.fields[self._part.name] = value

    def _finished(self) -> None:
        self._complete = True

    def _bound(self, content: bytearray, limit: int) -> None:
        if len(content) > limit:
            raise UploadRefusedError(say["upload.no_file"])


def _bare_name(name: str) -> str:
    """Return the name without folders and control characters, so that it can be shown and logged."""
    bare = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(character for character in bare if character.isprintable())[-_NAME_MOST:] or "upload"


def _flush(target: BinaryIO) -> None:
    target.flush()
    os.fsync(target.fileno())
