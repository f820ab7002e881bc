"""One entry of a record in all its versions: what was said first, what was corrected, by which message."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from starlette.responses import Response

from kangshu.console.errors import PageNotFoundError
from kangshu.console.openings import enter_record, frame_of, know
from kangshu.console.reach import names
from kangshu.console.record_reading import reader_of
from kangshu.console.timeline import ShownEntry, ShownField, Writer
from kangshu.console.visits import Visit, page
from kangshu.records import Attached, EntryVersion, entry_versions, kind_title
from kangshu.security.principals import Permission

_VERSIONS_MOST = 50
_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}")
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Something that a version says; `changed` where the version before said otherwise."""

    title: str
    value: str
    code: str
    changed: bool
    before: str
    """What the version before said, where it said anything."""


@dataclass(frozen=True, kw_only=True)
class ShownVersion:
    """One version; `entry` is None where it says that the entry was deleted."""

    version: int
    stored_at: datetime
    institution: str
    message: int | None
    entry: ShownEntry | None
    at: datetime | None
    facts: tuple[Fact, ...]
    attached: tuple[Attached, ...]


async def show_entry(visit: Visit) -> Response:
    """Show the versions of a stored entry, the newest first."""
    type_, id_ = (visit.request.path_params[name] for name in ("type", "entry"))
    if not (_TYPE.fullmatch(type_) and _ID.fullmatch(id_)):
        raise PageNotFoundError
    access = await enter_record(visit)
    if isinstance(access, Response):
        return access
    known = await know(visit, access)
    async with visit.services.database.connection() as connection:
        versions = await entry_versions(
            connection,
            type=type_,
            id=id_,
            persons=access.persons,
            grant=access.grant,
            now=visit.now,
            limit=_VERSIONS_MOST,
        )
        institution_names = await names(connection, (one.institution for one in versions))
    writer = Writer(reader_of(visit, access, known, institution_names))
    shown = _shown(visit, versions, writer)
    latest = next((one.entry for one in shown if one.entry), None)
    if latest is None:
        raise PageNotFoundError
    return visit.page(
        "entry.html",
        frame=frame_of(visit, access, known),
        latest=latest,
        kind=visit.own(kind_title(latest.kind)),
        versions=shown,
        more=len(versions) == _VERSIONS_MOST and versions[-1].version > 1,
        may_see_messages=visit.staff.may(Permission.SEE_MESSAGES),
    )


def _shown(visit: Visit, versions: Sequence[EntryVersion], writer: Writer) -> list[ShownVersion]:
    shown: list[ShownVersion] = []
    for place, one in enumerate(versions):
        entry = writer.entry(one.entry) if one.entry else None
        earlier = versions[place + 1] if place + 1 < len(versions) else None
        before = writer.entry(earlier.entry) if earlier and earlier.entry else None
        shown.append(
            ShownVersion(
                version=one.version,
                stored_at=one.stored_at,
                institution=writer.reader.place(one.institution),
                message=one.message,
                entry=entry,
                at=one.entry.at if one.entry else None,
                facts=tuple(_facts(visit, entry, before)) if entry else (),
                attached=tuple(replace(text, text=writer.reader.mask(text.text)) for text in one.attached),
            )
        )
    return shown


def _facts(visit: Visit, entry: ShownEntry, before: ShownEntry | None) -> list[Fact]:
    """Return what a version says, each with what the version before said of the same."""
    earlier = {field.title: _text(field) for field in _fields(visit, before)} if before else None
    return [
        Fact(
            title=field.title,
            value=field.value,
            code=field.code,
            changed=earlier is not None and earlier.get(field.title, "") != _text(field),
            before=(earlier or {}).get(field.title, ""),
        )
        for field in _fields(visit, entry)
    ]


def _fields(visit: Visit, entry: ShownEntry) -> list[ShownField]:
    made = [ShownField(visit.say("entry.what"), entry.title, "", wide=True)]
    if entry.measure:
        measure = entry.measure
        words = (measure.value, measure.unit, measure.flag)
        made.append(
            ShownField(visit.say("entry.value"), " ".join(word for word in words if word), "", wide=True)
        )
        if measure.usual:
            made.append(ShownField(visit.say("trend.usual"), measure.usual, "", wide=True))
    return [*made, *entry.fields]


def _text(field: ShownField) -> str:
    return " ".join(word for word in (field.value, field.code) if word)


routes = [page("/persons/{id}/entries/{type}/{entry}", show_entry, may=Permission.READ_RECORDS)]
