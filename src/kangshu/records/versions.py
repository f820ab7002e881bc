"""The versions of one entry of the timeline: what was said first, what corrected it, by which message."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from kangshu.consent import AccessGrant
from kangshu.records.errors import ResourceUnknownError, say
from kangshu.records.model import Attached, EntryVersion, SealedResource, require
from kangshu.records.moments import LOCAL
from kangshu.records.queries import history
from kangshu.records.summary import span_told
from kangshu.records.timelines import stored_entry
from kangshu.standards import fhir
from kangshu.storage.database import Connection

_TEXT_MOST = 1 << 20
"""Of an attached text; what is longer is no text that somebody reads on a page."""
_TEXTS_MOST = 20


async def entry_versions(
    connection: Connection,
    *,
    type: str,  # noqa: A002 - FHIR's word
    id: str,  # noqa: A002 - FHIR's word
    persons: Sequence[int],
    grant: AccessGrant | None,
    now: datetime,
    limit: int = 50,
) -> list[EntryVersion]:
    """Return the versions of a resource about a person as a timeline shows them, the newest first.

    `persons` are all numbers of the person, `grant` is for one of them. At most `limit` versions (500).

    Raises:
        ResourceUnknownError: there is no such resource, it is not about this person, or it is of a kind that
            no timeline shows.
        GrantMissingError: there is no grant.
        AccessRefusedError: the grant is for somebody else, or over.
    """
    require(grant, person=persons[0], same_person=frozenset(persons), now=now)
    page = await history(connection, type=type, id=id, limit=limit)
    # A resource that was given to somebody else later is that person's business.
    if page.versions[0].person not in persons:
        raise ResourceUnknownError(say["resource_unknown"])
    own = [one for one in page.versions if one.person in persons]
    versions = [_version(replace(one, same_person=frozenset(persons)), grant, now) for one in own]
    if all(one.entry is None for one in versions):
        raise ResourceUnknownError(say["resource_unknown"])
    return versions


def _version(sealed: SealedResource, grant: AccessGrant | None, now: datetime) -> EntryVersion:
    version = EntryVersion(
        version=sealed.version,
        stored_at=sealed.updated_at,
        institution=sealed.institution,
        person=sealed.person,
        message=sealed.message,
        entry=None,
    )
    if sealed.deleted:
        return version
    resource = fhir.loads(sealed.open(grant=grant, now=now))
    span = span_told(sealed.type, resource)
    known = {
        name: getattr(sealed, name) for name in ("type", "id", "version", "person", "institution", "message")
    }
    at = span.start.astimezone(LOCAL).replace(tzinfo=None) if span else None
    return replace(
        version,
        entry=stored_entry(known, resource, at=at),
        attached=tuple(_attached(sealed.type, resource)),
    )


def _attached(type_: str, resource: Mapping[str, Any]) -> Iterator[Attached]:
    """Yield the texts that stand in the resource; other things that do are not for reading on a page."""
    found = resource.get("content" if type_ == "DocumentReference" else "presentedForm")
    for holder in found[:_TEXTS_MOST] if isinstance(found, list) else ():
        one = holder.get("attachment", holder) if isinstance(holder, Mapping) else None
        if isinstance(one, Mapping) and (text := _text_of(one)):
            title = one.get("title")
            yield Attached(title=title if isinstance(title, str) else None, text=text)


def _text_of(attachment: Mapping[str, Any]) -> str | None:
    kind, data = attachment.get("contentType"), attachment.get("data")
    if not isinstance(kind, str) or not isinstance(data, str) or len(data) > _TEXT_MOST * 4 // 3 + 4:
        return None
    if kind.partition(";")[0].strip().lower() != "text/plain":
        return None
    try:
        content = base64.b64decode(data)
    except (binascii.Error, ValueError):
        return None
    return content.decode("utf-8", "replace").strip() or None
