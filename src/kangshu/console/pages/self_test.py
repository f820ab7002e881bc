"""The self-test: drop a file, see what the platform would find, and nothing is kept."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from kangshu.console.errors import UploadRefusedError, say
from kangshu.console.pages.receipts import dataset_choices
from kangshu.console.uploading import Upload, receive_upload
from kangshu.console.visits import FORM_FIELD, Visit, page, require_own_form
from kangshu.kernel.errors import KangshuError
from kangshu.kernel.statuses import STATUS_OF_KIND
from kangshu.quality.selftest import SelfTest, check_file, report_html
from kangshu.security.principals import Permission

_MOST_BYTES = 512 << 20  # arbitrary: so much is checked while a person waits; larger files at home


async def show_self_test(visit: Visit) -> Response:
    """Show the form."""
    return _form(visit)


async def take_self_test(visit: Visit) -> Response:
    """Check the file and show the report, or send it as a page to keep; the file is gone by then."""
    try:
        upload = await _receive(visit)
    except ClientDisconnect:
        return Response(status_code=400)
    except KangshuError as refusal:
        return _form(visit, refusal=visit.own(refusal.text), status=STATUS_OF_KIND[refusal.kind])
    try:
        test = await _check(visit, upload)
    except KangshuError as refusal:
        place = f" ({refusal.place})" if refusal.place else ""
        text = f"{visit.own(refusal.text)}{place}"
        return _form(visit, refusal=text, status=STATUS_OF_KIND[refusal.kind])
    finally:
        upload.path.unlink(missing_ok=True)
    if upload.fields.get("answer") == "report":
        return _report(test)
    return _form(visit, test=test)


async def _receive(visit: Visit) -> Upload:
    services = visit.services
    upload = await receive_upload(
        visit.request,
        inbox=services.inbox,
        name=services.random(16).hex(),
        limit_bytes=_limit(visit),
        check_field=lambda name, value: require_own_form(visit, value) if name == FORM_FIELD else None,
    )
    try:
        require_own_form(visit, upload.fields.get(FORM_FIELD, ""))
        named = upload.fields.get("dataset", "")
        if named and named not in services.pack.datasets:
            raise UploadRefusedError(say["upload.unknown_dataset"])
    except BaseException:
        upload.path.unlink(missing_ok=True)
        raise
    return upload


async def _check(visit: Visit, upload: Upload) -> SelfTest:
    now = visit.services.clock.now().astimezone(visit.services.zone).replace(tzinfo=None)
    # A check takes a core and memory like intake's; documents wait at the same door.
    async with visit.request.app.state.reading:
        return await asyncio.to_thread(
            check_file,
            path=upload.path,
            name=upload.file_name,
            pack=visit.services.pack,
            received_at=now,
            dataset=upload.fields.get("dataset") or None,
        )


def _report(test: SelfTest) -> Response:
    name = quote(f"{test.dataset.name}-self-test.html")
    return Response(
        report_html(test),
        media_type="text/html; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _form(visit: Visit, *, test: SelfTest | None = None, refusal: str = "", status: int = 200) -> Response:
    return visit.page(
        "self_test.html",
        status=status,
        test=test,
        refusal=refusal,
        dataset_choices=dataset_choices(visit),
        limit=_limit(visit),
    )


def _limit(visit: Visit) -> int:
    return min(_MOST_BYTES, visit.services.upload_limit_bytes)


routes = [
    page("/quality/check", show_self_test, may=Permission.SUBMIT_DATA),
    page("/quality/check", take_self_test, may=Permission.SUBMIT_DATA, method="POST", streamed=True),
]
