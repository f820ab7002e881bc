"""`POST /datasets/{name}` and `/receipts`: files in, and what became of them."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import orjson
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, Response

from kangshu.api.errors import (
    BodyRefusedError,
    BodyTooLargeError,
    BodyUnsupportedError,
    OutOfReachError,
    RejectsMissingError,
    UnknownDatasetError,
    say,
)
from kangshu.api.problems import accepted_language
from kangshu.api.services import Services
from kangshu.api.tokens import Caller
from kangshu.audit import AuditEntry, record
from kangshu.directory import find_institution, institution_codes
from kangshu.intake import (
    ZONE,
    FileState,
    ReasonCount,
    Receipt,
    get_receipt,
    list_reasons,
    reason_text,
    rejects_path,
)
from kangshu.kernel.periods import Period
from kangshu.kernel.texts import Language
from kangshu.quality.selftest import check_file
from kangshu.security.principals import Permission, Principal
from kangshu.storage.errors import StorageFullError

_NAME_MOST = 200
_OPEN = frozenset({FileState.RECEIVED, FileState.WORKING, FileState.FAILED})
_FORMS = frozenset({"multipart/form-data", "application/x-www-form-urlencoded"})

# A check takes a core, and memory as intake does.
_checks = asyncio.Semaphore(2)

router = APIRouter(tags=["data sets"])


class ReasonAnswer(BaseModel):
    """Why rows were returned (`error`) or marked (`warning`), and how many."""

    rule: str
    field: str
    severity: str
    rows: int
    message: str


class ReceiptAnswer(BaseModel):
    """What became of one file."""

    id: int
    name: str
    state: FileState
    dataset: str | None
    institution: str | None
    period: str | None
    format: str | None
    bytes: int
    rows: int
    accepted: int
    rejected: int
    warnings: int
    persons_created: int
    reason: str | None
    place: str | None
    duplicate_of: int | None
    supersedes: int | None
    superseded_by: int | None
    received_at: datetime
    finished_at: datetime | None
    reasons: list[ReasonAnswer]
    rejects: str | None
    """Where the list of returned rows can be had, if there is one."""


_BINARY = {"schema": {"type": "string", "format": "binary"}}


@router.post(
    "/datasets/{name}",
    summary="Send a data-set file",
    description="The body is the file itself: CSV, XLSX or Parquet, zipped or not. Format, encoding and "
    "columns are recognised by content. The same bytes again give the receipt of a duplicate and "
    "change nothing.",
    response_model=ReceiptAnswer,
    responses={
        200: {"description": "Known already: the receipt of a duplicate, or of a file that was refused"},
        201: {"description": "Taken in"},
        202: {"description": "Received; ask for the receipt later"},
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": _BINARY, "text/csv": _BINARY},
        }
    },
)
async def take_file(
    request: Request,
    caller: Caller,
    name: str,
    institution: Annotated[str | None, Query(max_length=64, description="who the file is from")] = None,
    period: Annotated[str | None, Query(max_length=32, description="such as 2026-03")] = None,
    file_name: Annotated[str | None, Query(max_length=_NAME_MOST, alias="file")] = None,
) -> Response:
    """Put the file on record and answer with its receipt."""
    services: Services = request.app.state.services
    caller.require(Permission.SUBMIT_DATA)
    if name not in services.pack.datasets:
        raise UnknownDatasetError(say["dataset_unknown"])
    sender = await _sender(services, caller, institution)
    label = _period(period)
    path = await _receive(request, services)
    try:
        receipt = await services.submit_upload(
            file=path,
            name=_bare_name(file_name) or name,
            dataset=name,
            institution=sender,
            period=label,
            principal=caller,
        )
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    await _record(services, caller, action="api.upload", receipt=receipt)
    answer = await _answer(services, receipt, language=accepted_language(request))
    return Response(
        answer.model_dump_json(),
        status_code=_status(receipt),
        media_type="application/json",
        headers={"Location": f"/receipts/{receipt.id}"},
    )


@router.post(
    "/datasets/{name}/check",
    summary="Test a data-set file",
    description="What the platform would find in the file, with scores: the same report as `kangshu check` "
    "gives. Nothing is stored.",
    responses={200: {"description": "The report: counts, scores, findings with row numbers; never a value"}},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": _BINARY, "text/csv": _BINARY},
        }
    },
)
async def check_file_of(
    request: Request,
    caller: Caller,
    name: str,
    file_name: Annotated[str | None, Query(max_length=_NAME_MOST, alias="file")] = None,
) -> Response:
    """Answer with the report about the body."""
    services: Services = request.app.state.services
    caller.require(Permission.SUBMIT_DATA)
    if name not in services.pack.datasets:
        raise UnknownDatasetError(say["dataset_unknown"])
    path = await _receive(request, services)
    try:
        async with _checks:
            test = await asyncio.to_thread(
                check_file,
                path=path,
                name=_bare_name(file_name) or name,
                pack=services.pack,
                received_at=services.clock.now().astimezone(ZoneInfo(ZONE)).replace(tzinfo=None),
                dataset=name,
            )
    finally:
        path.unlink(missing_ok=True)
    return Response(orjson.dumps(test.document()), media_type="application/json")


@router.get(
    "/receipts/{receipt_id}",
    summary="What became of a file",
    response_model=ReceiptAnswer,
)
async def tell_receipt(request: Request, caller: Caller, receipt_id: int) -> Response:
    """Answer with a receipt of the caller's own institution."""
    services: Services = request.app.state.services
    receipt = await _own_receipt(services, caller, receipt_id, Permission.SEE_RECEIPTS)
    answer = await _answer(services, receipt, language=accepted_language(request))
    return Response(answer.model_dump_json(), media_type="application/json")


@router.get(
    "/receipts/{receipt_id}/rejects",
    summary="The returned rows of a file",
    description="A CSV with row number, field, rule and reason of each returned row; never a value.",
    responses={200: {"content": {"text/csv": {}}}},
)
async def send_rejects(request: Request, caller: Caller, receipt_id: int) -> Response:
    """Send the list of returned rows."""
    services: Services = request.app.state.services
    receipt = await _own_receipt(services, caller, receipt_id, Permission.DOWNLOAD_REJECTS)
    path = rejects_path(services.lake_home, receipt.id)
    if not path.is_file():
        raise RejectsMissingError(say["rejects_missing"])
    await _record(services, caller, action="api.rejects-download", receipt=receipt)
    return FileResponse(path, media_type="text/csv; charset=utf-8", filename=f"rejects-{receipt.id}.csv")


async def _receive(request: Request, services: Services) -> Path:
    """Return where the body lies on the disk now; nothing is left of one that was refused or cut off."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type in _FORMS:
        raise BodyUnsupportedError(say["body_form"])
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > services.upload_limit_bytes:
        raise BodyTooLargeError(say["body_too_large"])
    await asyncio.to_thread(services.inbox.mkdir, parents=True, exist_ok=True)
    path = services.inbox / f"{services.random(16).hex()}.part"
    received = 0
    try:
        with path.open("xb") as target:
            async for chunk in request.stream():
                received += len(chunk)
                if received > services.upload_limit_bytes:
                    raise BodyTooLargeError(say["body_too_large"])
                await asyncio.to_thread(target.write, chunk)
            if not received:
                raise BodyRefusedError(say["body_empty"])
            target.flush()
            await asyncio.to_thread(os.fsync, target.fileno())
    except ClientDisconnect:
        path.unlink(missing_ok=True)
        raise BodyRefusedError(say["body_cut_off"]) from None
    except OSError as error:
        path.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError(say["disk_full"]) from error
        raise
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


async def _sender(services: Services, caller: Principal, named: str | None) -> str | None:
    """Return the institution that the file is from: the caller's own, or one within its reach.

    Raises:
        OutOfReachError: it is not.
    """
    own = caller.institutions
    if not named:
        if len(own) == 1:
            return next(iter(own))
        if caller.region_wide:
            return None
        raise OutOfReachError(say["institution_needed"])
    if named in own:
        return named
    async with services.database.connection() as connection:
        found = await find_institution(connection, code=named)
    division = found.division_code if found else None
    if not caller.covers(institution_code=named, division_code=division):
        raise OutOfReachError(say["out_of_reach"])
    return named


async def _own_receipt(
    services: Services, caller: Principal, receipt_id: int, permission: Permission
) -> Receipt:
    caller.require(permission)
    async with services.database.connection() as connection:
        codes = await institution_codes(connection, within=caller.reaches)
        if codes is not None:
            # A machine may act before its institution is listed.
            codes = [*codes, *caller.institutions]
        return await get_receipt(connection, receipt_id=receipt_id, institutions=codes)


async def _answer(services: Services, receipt: Receipt, *, language: Language) -> ReceiptAnswer:
    async with services.database.connection() as connection:
        reasons = await list_reasons(connection, receipt_id=receipt.id)
    has_rejects = receipt.rejected > 0 and rejects_path(services.lake_home, receipt.id).is_file()
    return ReceiptAnswer(
        id=receipt.id,
        name=receipt.name,
        state=receipt.state,
        dataset=receipt.dataset,
        institution=receipt.institution,
        period=receipt.period,
        format=receipt.format,
        bytes=receipt.bytes,
        rows=receipt.rows,
        accepted=receipt.accepted,
        rejected=receipt.rejected,
        warnings=receipt.warnings,
        persons_created=receipt.persons_created,
        reason=receipt.reason.in_(language) if receipt.reason else None,
        place=receipt.place,
        duplicate_of=receipt.duplicate_of,
        supersedes=receipt.supersedes,
        superseded_by=receipt.superseded_by,
        received_at=receipt.received_at,
        finished_at=receipt.finished_at,
        reasons=_reasons(services, receipt, reasons, language),
        rejects=f"/receipts/{receipt.id}/rejects" if has_rejects else None,
    )


def _reasons(
    services: Services, receipt: Receipt, reasons: Sequence[ReasonCount], language: Language
) -> list[ReasonAnswer]:
    dataset = services.pack.datasets.get(receipt.dataset or "")
    return [
        ReasonAnswer(
            rule=reason.rule,
            field=reason.field,
            severity=reason.severity,
            rows=reason.rows,
            message=reason_text(rule=reason.rule, field=reason.field, dataset=dataset).in_(language),
        )
        for reason in reasons
    ]


async def _record(services: Services, caller: Principal, *, action: str, receipt: Receipt) -> None:
    entry = AuditEntry(
        at=services.clock.now(),
        actor=caller.id,
        actor_name=caller.name,
        action=action,
        resource=f"receipt/{receipt.id}",
        institution=receipt.institution,
    )
    async with services.database.transaction() as connection:
        await record(connection, entries=[entry])


def _status(receipt: Receipt) -> int:
    if receipt.state in _OPEN:
        return 202
    return 201 if receipt.state is FileState.COMMITTED else 200


def _period(label: str | None) -> str | None:
    if not label:
        return None
    try:
        return Period.parse(label).label
    except ValueError:
        raise BodyRefusedError(say["period"], place="period") from None


def _bare_name(name: str | None) -> str:
    """Return the name without folders and control characters, so that it can be shown and logged."""
    bare = (name or "").replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(character for character in bare if character.isprintable())[-_NAME_MOST:]
