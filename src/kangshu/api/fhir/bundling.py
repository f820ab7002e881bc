"""Bundles at the door: a transaction is one request to the lane, each entry of a batch one of its own."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from kangshu.api.errors import BodyTooLargeError, ParameterRefusedError, say
from kangshu.api.fhir.answers import base, outcome, resource_response, written_response
from kangshu.api.fhir.asking import Asked
from kangshu.api.fhir.persons import person_of
from kangshu.kernel.texts import Text
from kangshu.records import FhirRequest
from kangshu.standards import fhir

_ENTRIES_MOST = 500  # of a batch: each is a request of its own
_AT_ONCE = 16
_ANSWERS_MOST = 64 << 20  # bytes of what one batch is answered with
_APART_FROM = 1 << 20  # bytes from which a body is read beside the loop
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_KEPT_HEADERS = frozenset({b"authorization", b"host", b"accept-language", b"x-purpose", b"x-purpose-reason"})
_CONDITIONS = {
    "ifMatch": b"if-match",
    "ifNoneMatch": b"if-none-match",
    "ifModifiedSince": b"if-modified-since",
    "ifNoneExist": b"if-none-exist",
}


async def take_bundle(asked: Asked) -> Response:
    """Carry out a transaction, wholly or not at all, or a batch."""
    await asked.anybody()
    async with asked.body() as body:
        content_type = asked.request.headers.get("content-type")
        if len(body) < _APART_FROM:
            bundle = fhir.read(body, content_type=content_type)
        else:
            bundle = await asyncio.to_thread(fhir.read, body, content_type=content_type)
        if bundle.get("resourceType") == "Bundle" and bundle.get("type") == "batch":
            return await _Batch(asked, bundle).answer()
        principal = await asked.writer()
        _refuse_own(bundle)
        request = FhirRequest(
            method="bundle",
            body=body,
            content_type=content_type,
            request_id=asked.request_id,
            resource=bundle,
            base=base(asked.request),
        )
        return written_response(asked.request, await asked.services.write_fhir(request, principal=principal))


def _refuse_own(bundle: Mapping[str, Any]) -> None:
    """Refuse to write what the index makes itself.

    Raises:
        ParameterRefusedError: an entry would.
    """
    entries = bundle.get("entry")
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        request = entry.get("request") if isinstance(entry, dict) else None
        url = request.get("url") if isinstance(request, dict) else None
        kind, _, identity = url.rpartition("/") if isinstance(url, str) else ("", "", "")
        if kind.rpartition("/")[2] == "Patient" and person_of(identity) is not None:
            raise ParameterRefusedError(say["fhir_own_patient"], place=f"Bundle.entry[{number}].request.url")


class _Batch:
    """A batch: every entry is answered as if it had come alone."""

    def __init__(self, asked: Asked, bundle: dict[str, Any]) -> None:
        self._asked = asked
        self._entries = _checked_entries(bundle)
        self._limit = asyncio.Semaphore(_AT_ONCE)
        self._answered = 0

    async def answer(self) -> Response:
        answers: dict[int, bytes] = {}
        for phase in _phases(self._entries):
            found = await asyncio.gather(*(self._one(number, self._entries[number]) for number in phase))
            answers.update(zip(phase, found, strict=True))
        body = b'{"resourceType":"Bundle","type":"batch-response"'
        if answers:
            body += b',"entry":[' + b",".join(answers[number] for number in sorted(answers)) + b"]"
        return resource_response(self._asked.request, body + b"}")

    async def _one(self, number: int, entry: Mapping[str, Any]) -> bytes:
        async with self._limit:
            try:
                request = self._request(number, entry)
            except ParameterRefusedError as error:
                return self._refusal(400, "invalid", error.text, number)
            if self._answered > _ANSWERS_MOST:
                return self._refusal(413, "too-costly", say["fhir_batch_answers"], number)
            response = await self._asked.again(request)
            self._answered += len(response.body)
            return _entry_of(response)

    def _request(self, number: int, entry: Mapping[str, Any]) -> Request:
        """Return the entry as a request of its own."""
        outer, wanted = self._asked.request, entry["request"]
        url = wanted["url"].removeprefix(f"{base(outer)}/")
        parts = urlsplit(url)
        method = wanted["method"]
        if parts.scheme or parts.netloc or method not in _METHODS or not parts.path.strip("/"):
            raise ParameterRefusedError(say["fhir_batch_entry"])
        resource = entry.get("resource")
        body = b"" if resource is None else fhir.dumps(resource)
        root = outer.scope.get("root_path", "")
        scope = {
            **outer.scope,
            "method": method,
            "path": f"{root}/{parts.path.strip('/')}",
            "raw_path": None,
            "query_string": parts.query.encode("utf-8", "replace"),
            "headers": [*self._headers(number, wanted, body)],
        }

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        return Request(scope, receive)

    def _headers(self, number: int, wanted: Mapping[str, Any], body: bytes) -> Sequence[tuple[bytes, bytes]]:
        kept = [one for one in self._asked.request.scope["headers"] if one[0] in _KEPT_HEADERS]
        kept.append((b"accept", b"application/fhir+json"))
        if body:
            kept.append((b"content-type", b"application/fhir+json"))
        for name, header in _CONDITIONS.items():
            if isinstance(value := wanted.get(name), str):
                kept.append((header, value.encode("latin-1", "replace")))
        if name := self._asked.request_id:
            # One name for each entry, as long as any name may be.
            whole = hashlib.blake2b(f"{name}|{number}".encode(), digest_size=24).hexdigest()
            kept.append((b"x-request-id", whole.encode()))
        return kept

    def _refusal(self, status: int, code: str, text: Text, number: int) -> bytes:
        told = outcome(self._asked.request, code=code, text=text, place=f"Bundle.entry[{number}].request")
        return b'{"response":{"status":"%d","outcome":%b}}' % (status, told)


def _phases(entries: Sequence[Mapping[str, Any]]) -> Iterator[list[int]]:
    """Yield the places of what is done at once: Patients first, as others are about them, and reads last."""
    ranks: list[int] = []
    for entry in entries:
        wanted = entry["request"]
        is_patient = wanted["url"].partition("?")[0].partition("/")[0] == "Patient"
        ranks.append(2 if wanted["method"] in ("GET", "HEAD") else int(not is_patient))
    for rank in range(3):
        if phase := [number for number, of in enumerate(ranks) if of == rank]:
            yield phase


def _checked_entries(bundle: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the entries of a batch whose frame is right; what they hold is each entry's own matter.

    Raises:
        ParameterRefusedError: an entry is none.
        BodyTooLargeError: there are too many.
    """
    entries = bundle.get("entry", [])
    if not isinstance(entries, list):
        raise ParameterRefusedError(say["fhir_batch_form"], place="Bundle.entry")
    if len(entries) > _ENTRIES_MOST:
        raise BodyTooLargeError(say("fhir_batch_large", most=_ENTRIES_MOST), place="Bundle.entry")
    for number, entry in enumerate(entries):
        wanted = entry.get("request") if isinstance(entry, dict) else None
        if not isinstance(wanted, dict) or not all(
            isinstance(wanted.get(name), str) for name in ("method", "url")
        ):
            raise ParameterRefusedError(say["fhir_batch_form"], place=f"Bundle.entry[{number}].request")
    frames = [{name: value for name, value in entry.items() if name != "resource"} for entry in entries]
    frame = {**bundle, "entry": frames} if frames else bundle
    issue = next((one for one in fhir.validate(frame) if one.is_error), None)
    if issue is not None:
        raise ParameterRefusedError(issue.text, place=issue.expression)
    return entries


def _entry_of(response: Response) -> bytes:
    headers = response.headers
    told: dict[str, str] = {"status": str(response.status_code)}
    for name in ("location", "etag"):
        if value := headers.get(name):
            told[name] = value
    if value := headers.get("last-modified"):
        told["lastModified"] = parsedate_to_datetime(value).isoformat()
    body = bytes(response.body)
    is_outcome = body.startswith(b'{"resourceType":"OperationOutcome"')
    if not body:
        return b'{"response":%b}' % orjson.dumps(told)
    if is_outcome:
        return b'{"response":%b,"outcome":%b}}' % (orjson.dumps(told)[:-1], body)
    return b'{"resource":%b,"response":%b}' % (body, orjson.dumps(told))
