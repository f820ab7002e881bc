"""Look codes up in the editions on record, as of a day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from kangshu.kernel.texts import Text
from kangshu.storage.database import Connection
from kangshu.terminology import store
from kangshu.terminology.model import Edition


async def list_editions(connection: Connection, *, system: str) -> list[Edition]:
    """Return the editions of `system`, the earliest first."""
    return await store.editions(connection, system=system)


async def find_edition(connection: Connection, *, system: str, on: date) -> Edition | None:
    """Return the edition in force on the day `on`, if one is."""
    editions = await store.editions(connection, system=system)
    return next((one for one in reversed(editions) if one.valid_from <= on), None)


async def titles_of(
    connection: Connection, *, system: str, codes: Sequence[str], on: date
) -> dict[str, Text]:
    """Return the title of each of `codes` in the edition in force on `on`; unknown codes are left out."""
    return await store.titles(connection, system=system, codes=codes, on=on)


async def find_code(connection: Connection, *, system: str, code: str, on: date) -> Text | None:
    """Return the title of `code` in the edition in force on `on`, or nothing where it has no such code."""
    return (await titles_of(connection, system=system, codes=[code], on=on)).get(code)
