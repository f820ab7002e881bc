"""A file goes from the network to the disk in pieces; what is not right leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect, Request

from kangshu.console.errors import ForeignFormError, UploadRefusedError, say
from kangshu.console.uploading import Upload, receive_upload

BOUNDARY = "----edge"


def _form(*parts: tuple[str, str | None, bytes], end: bool = True) -> bytes:
    body = b""
    for name, file_name, content in parts:
        disposition = f'form-data; name="{name}"' + (f'; filename="{file_name}"' if file_name else "")
        body += f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + content + b"\r\n"
    return body + (f"--{BOUNDARY}--\r\n".encode() if end else b"")


def _request(chunks: Sequence[bytes | None], content_type: str) -> Request:
    """A request whose body comes in `chunks`; None means that the sender goes away."""
    waiting = list(chunks)

    async def receive() -> dict[str, Any]:
        chunk = waiting.pop(0) if waiting else b""
        if chunk is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": chunk, "more_body": bool(waiting)}

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "query_string": b"",
        "headers": [(b"content-type", content_type.encode())],
    }
    return Request(scope, receive)


def _receive(chunks: Sequence[bytes | None], inbox: Path, **options: Any) -> Upload:
    content_type = options.pop("content_type", f"multipart/form-data; boundary={BOUNDARY}")
    request = _request(chunks, content_type)
    return asyncio.run(
        receive_upload(
            request, inbox=inbox, name="x", limit_bytes=options.pop("limit_bytes", 1000), **options
        )
    )


@settings(max_examples=60, deadline=None)
@given(content=st.binary(min_size=1, max_size=400), cuts=st.lists(st.integers(1, 60), max_size=30))
def test_however_the_body_is_cut_the_same_bytes_arrive(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, cuts: list[int]
):
    body = _form(("dataset", None, "检验".encode()), ("file", "三月.csv", content))
    chunks, at = [], 0
    for size in cuts:
        chunks.append(body[at : at + size])
        at += size
    inbox = tmp_path_factory.mktemp("inbox")

    upload = _receive([*chunks, body[at:]], inbox)

    assert upload.path.read_bytes() == content
    assert upload.fields == {"dataset": "检验"}
    assert (upload.file_name, upload.bytes) == ("三月.csv", len(content))


@pytest.mark.parametrize(
    ("chunks", "text"),
    [
        ([_form(("file", "a.csv", b""))], "upload.empty"),
        ([_form(("file", "a.csv", b"x" * 1001))], "upload.too_large"),
        ([_form(("file", "a.csv", b"x"), ("more", "b.csv", b"y"))], "upload.one_file"),
        ([_form(("dataset", None, b"lab"))], "upload.no_file"),
        ([_form(("file", "a.csv", b"x"), end=False)], "upload.cut_off"),
        ([b"nothing of the kind"], "upload.no_file"),
        ([_form(("note", None, b"n" * 5000), ("file", "a.csv", b"x"))], "upload.no_file"),
        ([_form(*[(f"f{n}", None, b"1") for n in range(30)], ("file", "a.csv", b"x"))], "upload.no_file"),
    ],
    ids=["empty", "too large", "two files", "no file", "cut off", "no form", "huge field", "many fields"],
)
def test_what_is_not_one_whole_file_is_refused_and_leaves_nothing(tmp_path: Path, chunks, text: str):
    with pytest.raises(UploadRefusedError) as refusal:
        _receive(chunks, tmp_path)

    assert refusal.value.text == say[text]
    assert list(tmp_path.iterdir()) == []


def test_another_kind_of_body_is_refused(tmp_path: Path):
    with pytest.raises(UploadRefusedError):
        _receive([b"a,b"], tmp_path, content_type="text/csv")


def test_a_sender_that_goes_away_leaves_nothing(tmp_path: Path):
    with pytest.raises(ClientDisconnect):
        _receive([_form(("file", "a.csv", b"half"), end=False), None], tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_wrong_token_stops_the_upload_before_the_file_is_read(tmp_path: Path):
    def check(name: str, value: str) -> None:
        raise ForeignFormError(say["failure.origin"])

    with pytest.raises(ForeignFormError):
        _receive(
            [_form(("csrf", None, b"wrong"), ("file", "a.csv", b"x" * 900))], tmp_path, check_field=check
        )

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\数据\\三月.csv", "三月.csv"),
        ("a\x07b.csv", "ab.csv"),
        ("x" * 300 + ".csv", "x" * 196 + ".csv"),
    ],
)
def test_a_file_name_is_kept_without_folders_and_control_characters(tmp_path: Path, sent: str, kept: str):
    body = _form(("file", sent.replace("\\", "\\\\"), b"x"))

    assert _receive([body], tmp_path).file_name == kept
