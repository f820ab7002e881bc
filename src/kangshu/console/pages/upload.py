"""Uploading a file: streamed to the disk, handed to intake, answered with a receipt."""

from __future__ import annotations

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from kangshu.console.acts import UPLOAD, note
from kangshu.console.errors import UploadRefusedError, say
from kangshu.console.pages.receipts import dataset_choices
from kangshu.console.reach import choices, find_own_institution
from kangshu.console.uploading import Upload, receive_upload
from kangshu.console.visits import FORM_FIELD, Visit, page, require_own_form
from kangshu.kernel.errors import KangshuError
from kangshu.kernel.periods import Period
from kangshu.kernel.statuses import STATUS_OF_KIND
from kangshu.security.principals import Permission


async def show_upload(visit: Visit) -> Response:
    """Show the form."""
    return await _form(visit)


async def take_upload(visit: Visit) -> Response:
    """Take one file in and lead to its receipt; a script is answered in JSON, a plain form by a redirect."""
    try:
        receipt_id = await _accept(visit)
    except ClientDisconnect:
        return Response(status_code=400)
    except KangshuError as refusal:
        status = STATUS_OF_KIND[refusal.kind]
        if _wants_json(visit):
            return JSONResponse({"message": visit.own(refusal.text)}, status_code=status)
        return await _form(visit, refusal=visit.own(refusal.text), status=status)
    href = f"/console/receipts/{receipt_id}"
    return JSONResponse({"href": href}, status_code=202) if _wants_json(visit) else visit.go(href)


async def _accept(visit: Visit) -> int:
    services = visit.services
    upload = await receive_upload(
        visit.request,
        inbox=services.inbox,
        name=services.random(16).hex(),
        limit_bytes=services.upload_limit_bytes,
        check_field=lambda name, value: require_own_form(visit, value) if name == FORM_FIELD else None,
    )
    try:
        require_own_form(visit, upload.fields.get(FORM_FIELD, ""))
        institution = await _institution(visit, upload)
        receipt = await services.submit_upload(
            file=upload.path,
            name=upload.file_name,
            dataset=_dataset(visit, upload),
            institution=institution,
            period=_period(upload),
            principal=visit.staff,
        )
    except BaseException:
        upload.path.unlink(missing_ok=True)
        raise
    async with services.database.transaction() as connection:
        await note(
            connection,
            visit,
            UPLOAD,
            resource=f"receipt/{receipt.id}",
            institution=receipt.institution or institution,
        )
    return receipt.id


async def _institution(visit: Visit, upload: Upload) -> str | None:
    """Return the institution that the file is from; who works at one place always reports for that one.

    Raises:
        UploadRefusedError: it is unknown or out of reach.
    """
    named = upload.fields.get("institution", "").strip()
    if not named:
        places = visit.staff.institutions
        if visit.staff.region_wide:
            return None
        if len(places) == 1 and not visit.staff.divisions:
            return next(iter(places))
        raise UploadRefusedError(say["upload.name_institution"])
    async with visit.services.database.connection() as connection:
        found = await find_own_institution(visit, connection, code=named)
    if found is None:
        raise UploadRefusedError(say["upload.not_your_institution"])
    return found.code


def _dataset(visit: Visit, upload: Upload) -> str | None:
    named = upload.fields.get("dataset", "")
    if named and named not in visit.services.pack.datasets:
        raise UploadRefusedError(say["upload.unknown_dataset"])
    return named or None


def _period(upload: Upload) -> str | None:
    named = upload.fields.get("period", "").strip()
    if not named:
        return None
    try:
        return Period.parse(named).label
    except ValueError as error:
        raise UploadRefusedError(say["upload.unknown_period"]) from error


async def _form(visit: Visit, *, refusal: str = "", status: int = 200) -> Response:
    async with visit.services.database.connection() as connection:
        offered = await choices(visit, connection)
    return visit.page(
        "upload.html",
        status=status,
        refusal=refusal,
        dataset_choices=dataset_choices(visit),
        institution_choices=offered.pairs,
        only_institution=offered.only,
        limit=visit.services.upload_limit_bytes,
    )


def _wants_json(visit: Visit) -> bool:
    return "application/json" in visit.request.headers.get("accept", "")


routes = [
    page("/upload", show_upload, may=Permission.SUBMIT_DATA),
    page("/upload", take_upload, may=Permission.SUBMIT_DATA, method="POST", streamed=True),
]
