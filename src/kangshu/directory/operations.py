"""Take the centre's lists in, whole, and put institutions on record that nobody has listed.

The lists come as rows of the data sets `institution`, `division` and `population`, keyed by their
field names; further keys are ignored. Intake has checked them and audits the file they came in, so
these functions only write, in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any, TypeVar

from kangshu.declarations import CodeTable
from kangshu.directory import store
from kangshu.directory.errors import DirectoryRowRefusedError, InstitutionCodeRefusedError
from kangshu.directory.model import Department, Division, Institution, Population
from kangshu.kernel.texts import load_catalogue
from kangshu.standards.identifiers import InstitutionCode, division_prefix
from kangshu.storage.database import Connection

say = load_catalogue(__package__ or __name__)

Row = Mapping[str, object]

_T = TypeVar("_T")

_CODE_MAXIMUM = 64  # arbitrary: the standard's have 22, USCCs 18, local ones fewer


async def load_divisions(connection: Connection, *, rows: Iterable[Row]) -> int:
    """Add or renew divisions and return how many; of two rows for one division the later holds.

    Raises:
        DirectoryRowRefusedError: a row has no name or no possible code.
    """
    divisions = {division.prefix: division for division in (_division(*one) for one in enumerate(rows, 1))}
    await store.upsert_divisions(connection, divisions=_in_order(divisions))
    return len(divisions)


async def load_institutions(connection: Connection, *, rows: Iterable[Row]) -> int:
    """Add or renew institutions and return how many; of two rows for one the later holds.

    Listed ones are provisional no longer. Those that a newer list leaves out stay: their data does.

    Raises:
        DirectoryRowRefusedError: a row has no name or no possible code.
    """
    listed = {entry.code: entry for entry in (_institution(*one) for one in enumerate(rows, 1))}
    await store.upsert_institutions(connection, institutions=_in_order(listed))
    return len(listed)


async def load_populations(connection: Connection, *, rows: Iterable[Row]) -> int:
    """Add or renew populations and return how many groups; of two rows for one group the later holds.

    Raises:
        DirectoryRowRefusedError: a row lacks one of its fields or names no possible division.
    """
    groups: dict[tuple[str, int, str, int], Population] = {}
    for number, row in enumerate(rows, 1):
        entry = _population(number, row)
        groups[division_prefix(entry.division_code), entry.year, entry.sex, entry.age_from] = entry
    await store.upsert_populations(connection, populations=_in_order(groups))
    return len(groups)


async def load_departments(connection: Connection, *, table: CodeTable) -> int:
    """Make the departments those of the pack's code table `department`, and return how many."""
    departments = [
        Department(code=entry.code, title=entry.title, parent=entry.parent) for entry in table.codes
    ]
    async with connection.transaction():
        await store.replace_departments(connection, departments=departments)
    return len(departments)


async def ensure_provisional(connection: Connection, *, code: str, now: datetime) -> bool:
    """Put an institution that sends data on record, if it is not; return whether it is new.

    Its division and type are read from its code where that has the standard's 22 places.

    Raises:
        InstitutionCodeRefusedError: this cannot be the code of an institution.
    """
    if not (code.strip() and len(code) <= _CODE_MAXIMUM and code.isprintable()):
        raise InstitutionCodeRefusedError(say("institution_code_bad", maximum=_CODE_MAXIMUM))
    try:
        parts = InstitutionCode(code=code)
    except ValueError:
        institution = Institution(code=code, name=code, provisional=True)
    else:
        institution = Institution(
            code=code, name=code, division_code=parts.division_code, type=parts.type, provisional=True
        )
    return await store.insert_provisional(connection, institution=institution, now=now)


def _in_order(entries: Mapping[Any, _T]) -> list[_T]:
    """Return the entries by key: transactions that write the same rows in one order do not deadlock."""
    return [entries[key] for key in sorted(entries)]


def _division(number: int, row: Row) -> Division:
    name = _required(number, row, "name")
    code = _required(number, row, "division_code")
    _require_division(number, code)
    return Division(code=code, name=name, parent=_text(row, "parent_code"))


def _institution(number: int, row: Row) -> Institution:
    opened_on = row.get("opened_on")
    return Institution(
        code=_required(number, row, "institution_code"),
        name=_required(number, row, "name"),
        short_name=_text(row, "short_name"),
        division_code=_text(row, "division_code"),
        level=_text(row, "level"),
        type=_text(row, "type"),
        economic_type=_text(row, "economic_type"),
        host=_text(row, "host"),
        opened_on=opened_on if isinstance(opened_on, date) else None,
        beds=_number(row, "beds"),
        staff=_number(row, "staff"),
        vendor=_text(row, "vendor"),
    )


def _population(number: int, row: Row) -> Population:
    division_code = _required(number, row, "division_code")
    _require_division(number, division_code)
    return Population(
        division_code=division_code,
        year=_required_number(number, row, "year"),
        sex=_required(number, row, "sex"),
        age_from=_required_number(number, row, "age_from"),
        age_to=_number(row, "age_to"),
        residents=_required_number(number, row, "residents"),
    )


def _require_division(number: int, code: str) -> None:
    try:
        division_prefix(code)
    except ValueError:
        raise DirectoryRowRefusedError(say["division_code_bad"], place=f"row {number}") from None


def _text(row: Row, field: str) -> str | None:
    value = row.get(field)
    return (str(value).strip() or None) if value is not None else None


def _number(row: Row, field: str) -> int | None:
    value = row.get(field)
    return value if isinstance(value, int) else None


def _required(number: int, row: Row, field: str) -> str:
    value = _text(row, field)
    if value is None:
        raise DirectoryRowRefusedError(say("field_missing", field=field), place=f"row {number}")
    return value


def _required_number(number: int, row: Row, field: str) -> int:
    value = _number(row, field)
    if value is None:
        raise DirectoryRowRefusedError(say("field_missing", field=field), place=f"row {number}")
    return value
