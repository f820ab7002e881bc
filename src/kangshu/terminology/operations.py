"""Load an edition of a code list, whole, in the caller's transaction."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime

from kangshu.kernel.texts import load_catalogue
from kangshu.storage.database import Connection
from kangshu.terminology import store
from kangshu.terminology.errors import CodeListRefusedError, EditionConflictError
from kangshu.terminology.model import CodeEntry, Edition

say = load_catalogue(__package__ or __name__)

_SYSTEM = re.compile(r"[a-z][a-z0-9_]{0,39}")


async def load_edition(
    connection: Connection,
    *,
    system: str,
    edition: str | None,
    valid_from: date,
    entries: Sequence[CodeEntry],
    now: datetime,
) -> Edition:
    """Put the edition on record, in force from `valid_from` on, and return it.

    `system` is the name that the pack's code table of the same codes has (`icd10`). The edition
    before it ends on that day. Loading an edition again replaces its codes and its first day.

    Raises:
        CodeListRefusedError: the system's name is unfit, no edition is named or there is no code.
        EditionConflictError: another edition is in force from the same day.
    """
    if not _SYSTEM.fullmatch(system):
        raise CodeListRefusedError(say("system_bad"))
    if not edition:
        raise CodeListRefusedError(say("edition_unknown"))
    if not entries:
        raise CodeListRefusedError(say("list_empty"))
    await store.lock(connection, system=system)
    rival = await store.edition_from(connection, system=system, valid_from=valid_from)
    if rival is not None and rival != edition:
        raise EditionConflictError(say("edition_same_day", edition=rival))
    await store.replace_edition(
        connection, system=system, edition=edition, valid_from=valid_from, entries=entries, now=now
    )
    editions = await store.editions(connection, system=system)
    return next(one for one in editions if one.name == edition)
