"""Which institutions a visitor may see, and what they are called."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kangshu.console.visits import Visit
from kangshu.directory import (
    Institution,
    count_institutions,
    institution_codes,
    institutions_by_code,
    list_institutions,
    names_of,
)
from kangshu.intake import Receipt, get_receipt
from kangshu.storage.database import Connection

_MOST_CHOICES = 300
"""Institutions in a list to choose from; a longer list is searched by typing instead."""
_MOST_MATCHES = 500
_PAGE = 10_000


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Institutions to choose from; `only` is the one there is for somebody who works at one place."""

    pairs: tuple[tuple[str, str], ...]
    only: tuple[str, str] | None


async def own_codes(visit: Visit, connection: Connection) -> list[str] | None:
    """Return the codes of the institutions within reach; None means the whole region."""
    return await institution_codes(connection, within=visit.staff.reaches)


async def matching_codes(visit: Visit, connection: Connection, *, text: str) -> list[str] | None:
    """Return the codes within reach that `text` names: a code itself, or words of names and codes."""
    if not text:
        return await own_codes(visit, connection)
    found = await list_institutions(connection, within=visit.staff.reaches, text=text, limit=_MOST_MATCHES)
    exact = [institution.code for institution in found if institution.code == text]
    return exact or [institution.code for institution in found]


async def own_institutions(visit: Visit, connection: Connection) -> list[Institution]:
    """Return every institution within reach."""
    institutions: list[Institution] = []
    while True:
        page = await list_institutions(
            connection, within=visit.staff.reaches, limit=_PAGE, offset=len(institutions)
        )
        institutions += page
        if len(page) < _PAGE:
            return institutions


async def choices(visit: Visit, connection: Connection) -> Choices:
    """Return the institutions to offer in a form; in a large region only the first few hundred."""
    count = await count_institutions(connection, within=visit.staff.reaches)
    found = await list_institutions(connection, within=visit.staff.reaches, limit=_MOST_CHOICES)
    pairs = tuple((institution.code, institution.label) for institution in found)
    only = pairs[0] if count == 1 and not visit.staff.region_wide else None
    return Choices(pairs=pairs, only=only)


async def names(connection: Connection, codes: Iterable[str | None]) -> dict[str, str]:
    """Return what institutions are called; those that nobody has listed are missing."""
    return await names_of(connection, codes={code for code in codes if code})


async def own_receipt(visit: Visit, connection: Connection, *, receipt_id: int) -> Receipt:
    """Return a receipt within reach.

    Raises:
        ReceiptNotFoundError: there is none, or it is out of reach, which looks the same.
    """
    return await get_receipt(
        connection, receipt_id=receipt_id, institutions=await own_codes(visit, connection)
    )


async def find_own_institution(visit: Visit, connection: Connection, *, code: str) -> Institution | None:
    """Return the institution if it is within reach, else None."""
    found = await institutions_by_code(connection, codes=[code])
    if not found:
        return None
    institution = found[0]
    covered = visit.staff.covers(institution_code=code, division_code=institution.division_code) or (
        code in visit.staff.institutions
    )
    return institution if covered else None
