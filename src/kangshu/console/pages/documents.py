"""Clinical documents of a record: read as a page, or downloaded as they were sent."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace

from starlette.responses import Response

from kangshu.console.acts import DOCUMENT, note
from kangshu.console.documents import SHOWN_MOST, DocumentPage, download_name, make_page, read_body
from kangshu.console.errors import PageNotFoundError
from kangshu.console.openings import Access, Known, enter_record, frame_of, know
from kangshu.console.reach import names
from kangshu.console.record_reading import reader_of
from kangshu.console.timeline import Writer
from kangshu.console.visits import Visit, page
from kangshu.kernel.texts import Text
from kangshu.records import (
    ResourceUnknownError,
    SealedDocument,
    TimelineEntry,
    entry_versions,
    read_document,
)
from kangshu.security.principals import Permission
from kangshu.standards.cda import CdaError, looks_like

_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,60}/[A-Za-z0-9][A-Za-z0-9.+-]{0,80}")
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_ANY_TYPE = "application/octet-stream"


@dataclass(frozen=True, kw_only=True)
class DocumentFacts:
    """What is known of a document besides what it says itself."""

    id: str
    version: int
    message: int | None
    institution: str
    size: int
    media_type: str


@dataclass(frozen=True, kw_only=True)
class _Opened:
    """A document of a record that is open."""

    access: Access
    known: Known
    sealed: SealedDocument
    content: bytes


async def show_document(visit: Visit) -> Response:
    """Show a document as a page."""
    opened = await _open(visit)
    if isinstance(opened, Response):
        return opened
    access, sealed = opened.access, opened.sealed
    shown, why = await _read(visit, opened)
    entry = await _entry(visit, opened)
    async with visit.services.database.connection() as connection:
        institution_names = await names(
            connection, [sealed.institution, *([entry.institution] if entry else [])]
        )
    writer = Writer(reader_of(visit, access, opened.known, institution_names))
    written = writer.entry(entry) if entry else None
    title = (shown.title if shown else "") or (written.title if written else "")
    return visit.page(
        "document.html",
        frame=frame_of(visit, access, opened.known),
        title=title or visit.say("document.title"),
        document=DocumentFacts(
            id=sealed.id,
            version=sealed.version,
            message=sealed.message,
            institution=institution_names.get(sealed.institution, sealed.institution),
            size=sealed.size,
            media_type=sealed.media_type,
        ),
        entry=written,
        shown=shown,
        why=visit.own(why) if why else "",
        stored_at=sealed.stored_at,
        file=_address(visit, access, sealed, "file"),
        body=_address(visit, access, sealed, "body"),
        may_see_messages=visit.staff.may(Permission.SEE_MESSAGES),
    )


async def download_file(visit: Visit) -> Response:
    """Send a document byte for byte as it came; it names its patient, so identifiers must be on show."""
    opened = await _open(visit)
    if isinstance(opened, Response):
        return opened
    if not opened.access.opening.revealed:
        return visit.go(f"{opened.access.path}/documents/{opened.sealed.id}")
    await _note(visit, opened)
    sealed = opened.sealed
    return _attachment(opened.content, media_type=sealed.media_type, id_=sealed.id)


async def download_body(visit: Visit) -> Response:
    """Send the file that is a document's body: a scan, a PDF."""
    opened = await _open(visit)
    if isinstance(opened, Response):
        return opened
    if not opened.access.opening.revealed:
        return visit.go(f"{opened.access.path}/documents/{opened.sealed.id}")
    async with _reading(visit):
        body = await asyncio.to_thread(read_body, opened.content)
    if body is None:
        raise PageNotFoundError
    await _note(visit, opened)
    return _attachment(body.content, media_type=body.media_type, id_=opened.sealed.id)


async def _open(visit: Visit) -> _Opened | Response:
    id_ = visit.request.path_params["document"]
    if not _ID.fullmatch(id_):
        raise PageNotFoundError
    access = await enter_record(visit)
    if isinstance(access, Response):
        return access
    known = await know(visit, access)
    async with visit.services.database.connection() as connection:
        sealed = await read_document(connection, id=id_, version=_version(visit))
    if sealed.person not in access.persons:  # somebody else's looks like none at all
        raise PageNotFoundError
    sealed = replace(sealed, same_person=frozenset(access.persons))
    return _Opened(
        access=access,
        known=known,
        sealed=sealed,
        content=sealed.open(grant=access.grant, now=visit.now),
    )


async def _read(visit: Visit, opened: _Opened) -> tuple[DocumentPage | None, Text | None]:
    """Return the page of the document, or why there is none."""
    content = opened.content
    if len(content) > SHOWN_MOST or not looks_like(content):
        return None, None
    mask = None if opened.access.opening.revealed else opened.known.mask
    try:
        async with _reading(visit):
            return await asyncio.to_thread(make_page, content, language=visit.language, mask=mask), None
    except CdaError as error:
        return None, error.text


def _reading(visit: Visit) -> asyncio.Semaphore:
    """Return what keeps large documents from being read all at once: each takes memory and a core."""
    return visit.request.app.state.reading


async def _entry(visit: Visit, opened: _Opened) -> TimelineEntry | None:
    """Return what the record says of the document: whether it still holds, what it replaced."""
    try:
        async with visit.services.database.connection() as connection:
            versions = await entry_versions(
                connection,
                type="DocumentReference",
                id=opened.sealed.id,
                persons=opened.access.persons,
                grant=opened.access.grant,
                now=visit.now,
                limit=1,
            )
    except ResourceUnknownError:
        return None
    return versions[0].entry


async def _note(visit: Visit, opened: _Opened) -> None:
    """Put on record that the document left the platform."""
    async with visit.services.database.transaction() as connection:
        await note(
            connection,
            visit,
            DOCUMENT,
            person=opened.access.person,
            purpose=opened.access.opening.purpose.value,
            resource=f"Binary/{opened.sealed.id}",
            institution=min(visit.staff.institutions, default=None),
        )


def _attachment(content: bytes, *, media_type: str, id_: str) -> Response:
    kind = media_type if _MEDIA_TYPE.fullmatch(media_type) else _ANY_TYPE
    # Set here, for the framework would say of XML in GBK that it is UTF-8; XML says itself what it is.
    headers = {
        "Content-Type": kind,
        "Content-Disposition": f'attachment; filename="{download_name(id_, kind)}"',
        "X-Content-Type-Options": "nosniff",
    }
    return Response(content, headers=headers)


def _address(visit: Visit, access: Access, sealed: SealedDocument, part: str) -> str:
    version = f"?version={sealed.version}" if visit.query.get("version") else ""
    return f"{access.path}/documents/{sealed.id}/{part}{version}"


def _version(visit: Visit) -> int | None:
    text = visit.query.get("version", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else None


routes = [
    page("/persons/{id}/documents/{document}", show_document, may=Permission.READ_RECORDS),
    page("/persons/{id}/documents/{document}/file", download_file, may=Permission.READ_RECORDS),
    page("/persons/{id}/documents/{document}/body", download_body, may=Permission.READ_RECORDS),
]
