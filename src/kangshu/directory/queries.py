"""Look up institutions within somebody's reach, divisions with their place, departments, populations."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from kangshu.directory import store
from kangshu.directory.errors import InstitutionUnknownError
from kangshu.directory.model import (
    TOWNSHIP_CENTRE_TYPES,
    VILLAGE_UNIT_TYPES,
    Department,
    Division,
    Institution,
    Population,
)
from kangshu.directory.store import Extent
from kangshu.kernel.texts import Text, load_catalogue
from kangshu.security.principals import Reach, ReachKind
from kangshu.standards.identifiers import DivisionLevel, division_prefix
from kangshu.storage.database import Connection

say = load_catalogue(__package__ or __name__)

PAGE_MAXIMUM = 10_000
_LEVEL_NUMBERS = {level: number for number, level in enumerate(DivisionLevel, 1)}
_TOWNSHIP_PLACES = 9


async def get_institution(connection: Connection, *, code: str) -> Institution:
    """Return the institution.

    Raises:
        InstitutionUnknownError: it is not in the directory, not even provisionally.
    """
    found = await find_institution(connection, code=code)
    if found is None:
        raise InstitutionUnknownError(say["institution_unknown"])
    return found


async def find_institution(connection: Connection, *, code: str) -> Institution | None:
    """Return the institution, or `None` if it is not in the directory."""
    return await store.find_institution(connection, code=code) if code.isprintable() else None


async def list_institutions(
    connection: Connection,
    *,
    within: Collection[Reach],
    text: str = "",
    limit: int = 50,
    offset: int = 0,
) -> list[Institution]:
    """Return the institutions within any of the reaches, listed ones first, by division and code.

    `text` is looked for in names and codes. No reach, no institution. A department's reach shows its
    institution, for that is where the department is.
    """
    return await store.select_institutions(
        connection,
        extent=_extent(within),
        pattern=_pattern(text),
        limit=min(max(limit, 0), PAGE_MAXIMUM),
        offset=max(offset, 0),
    )


async def count_institutions(connection: Connection, *, within: Collection[Reach], text: str = "") -> int:
    """Return how many institutions `list_institutions` has in all."""
    return await store.count_institutions(connection, extent=_extent(within), pattern=_pattern(text))


async def institution_codes(connection: Connection, *, within: Collection[Reach]) -> list[str] | None:
    """Return the codes of all institutions within reach, or `None` where that is the whole region.

    What is filtered by the list then needs no filter at all, and shows unlisted senders too.
    """
    extent = _extent(within)
    return None if extent.everything else await store.select_codes(connection, extent=extent)


async def names_of(connection: Connection, *, codes: Collection[str]) -> dict[str, str]:
    """Return the short names of these institutions; codes that are not in the directory are left out."""
    return {entry.code: entry.label for entry in await institutions_by_code(connection, codes=codes)}


async def divisions_of(connection: Connection, *, codes: Collection[str]) -> dict[str, str]:
    """Return the division codes of these institutions, where they are known."""
    found = await institutions_by_code(connection, codes=codes)
    return {entry.code: entry.division_code for entry in found if entry.division_code}


async def institutions_by_code(connection: Connection, *, codes: Collection[str]) -> list[Institution]:
    """Return those of these institutions that are in the directory, by code."""
    return await store.select_by_codes(connection, codes=[code for code in codes if code.isprintable()])


async def reports_for(connection: Connection, *, institution: str) -> Sequence[str] | None:
    """Return whose rows an institution may send, itself first; `None` means everybody's.

    A health information centre reports for all. A township hospital or community health centre reports
    for the village clinics and stations of its township as well, as they seldom have a system of their
    own. Everybody else reports for itself.
    """
    sender = await find_institution(connection, code=institution)
    if sender is None:
        return [institution]
    if sender.is_centre:
        return None
    township = _township(sender)
    if township is None:
        return [institution]
    below = await store.select_below(connection, township=township, types=VILLAGE_UNIT_TYPES)
    return [institution, *(code for code in below if code != institution)]


async def list_divisions(
    connection: Connection, *, within: str | None = None, level: DivisionLevel | None = None
) -> list[Division]:
    """Return the divisions inside `within` (itself too), of one level or of all, outer before inner.

    Raises:
        ValueError: `within` is not a division code.
    """
    prefix = division_prefix(within) if within else None
    return await store.select_divisions(
        connection, within=prefix, level=_LEVEL_NUMBERS[level] if level else None
    )


async def division_path(connection: Connection, *, code: str | None) -> list[Division]:
    """Return the listed divisions that lead to `code`: province, city, county ... and itself.

    Empty for what is no division code, so that an institution without a place can be shown.
    """
    try:
        prefix = division_prefix(code or "")
    except ValueError:
        return []
    return await store.select_division_path(connection, prefix=prefix)


async def list_departments(connection: Connection) -> list[Department]:
    """Return the departments by code."""
    return await store.select_departments(connection)


async def list_populations(connection: Connection, *, division_code: str, year: int) -> list[Population]:
    """Return a division's population by age group and sex; empty where none was given.

    Raises:
        ValueError: not a division code.
    """
    return await store.select_populations(connection, prefix=division_prefix(division_code), year=year)


def level_title(level: DivisionLevel) -> Text:
    """Return what a level of division is called."""
    return say[f"level_{level}"]


def _extent(within: Collection[Reach]) -> Extent:
    return Extent(
        everything=any(reach.kind is ReachKind.REGION for reach in within),
        codes=[code for reach in within if (code := reach.institution_code)],
        prefixes=[division_prefix(reach.code) for reach in within if reach.kind is ReachKind.DIVISION],
    )


def _pattern(text: str) -> str | None:
    """Return the LIKE pattern for `text` anywhere; half characters and NUL are found nowhere."""
    searched = "".join(character for character in text.strip() if character.isprintable())
    if not searched:
        return None
    escaped = searched.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
    return f"%{escaped}%"


def _township(sender: Institution) -> str | None:
    if not sender.type or sender.type[:2] not in TOWNSHIP_CENTRE_TYPES:
        return None
    try:
        prefix = division_prefix(sender.division_code or "")
    except ValueError:
        return None
    return prefix[:_TOWNSHIP_PLACES] if len(prefix) >= _TOWNSHIP_PLACES else None
