"""`persons`: the person index."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from kangshu import identity
from kangshu.app.errors import UsageError, say
from kangshu.app.platform import open_platform
from kangshu.app.presenting import present, print_table
from kangshu.app.program import Json, app, home_of, run

persons_app = typer.Typer(help="居民主索引 / the person index", no_args_is_help=True)
app.add_typer(persons_app, name="persons")


@persons_app.command("find")
def find_command(
    context: typer.Context,
    name: Annotated[str | None, typer.Option(help="姓名 / name")] = None,
    number: Annotated[str | None, typer.Option(help="居民身份证号 / resident number")] = None,
    document: Annotated[str | None, typer.Option(help="其他证件号 / another document's number")] = None,
    born: Annotated[str | None, typer.Option(help="出生日期 / birth date, 1980-01-31")] = None,
    limit: int = 20,
    as_json: Json = False,
) -> None:
    """查找居民 / find persons; results are masked."""
    found = run(_find(home_of(context), name, number, document, born, limit), as_json=as_json)
    columns = ("person", "name", "sex", "birth_date", "resident_number")
    present(
        {"persons": found},
        as_json=as_json,
        show=lambda: print_table(columns, [tuple(one[key] for key in columns) for one in found]),
    )


async def _find(
    home: Path, name: str | None, number: str | None, document: str | None, born: str | None, limit: int
) -> list[dict[str, Any]]:
    async with open_platform(home) as platform, platform.database.connection() as connection:
        found = await identity.find_persons(
            connection,
            keys=platform.keys,
            name=name,
            resident_number=number,
            document_number=document,
            birth_date=_day(born) if born else None,
            limit=limit,
        )
        return [_masked(one) for one in found]


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(say("no_such_day")) from None


@persons_app.command("show")
def show_command(context: typer.Context, person: int, as_json: Json = False) -> None:
    """显示一位居民 / show one person, masked."""
    present(run(_show(home_of(context), person), as_json=as_json), as_json=as_json)


async def _show(home: Path, person: int) -> dict[str, Any]:
    if not 0 < person < 1 << 63:  # beyond what the database can hold
        raise UsageError(say("no_such_person", id=person))
    async with open_platform(home) as platform, platform.database.connection() as connection:
        return _masked(await identity.get_person(connection, keys=platform.keys, person=person))


@persons_app.command("review")
def review_command(context: typer.Context, limit: int = 50, as_json: Json = False) -> None:
    """待审核 / contradictions that wait for a decision."""
    found = run(_review(home_of(context), limit), as_json=as_json)
    columns = ("review", "person", "other", "reason", "created_at")
    present(
        {"reviews": found},
        as_json=as_json,
        show=lambda: print_table(columns, [tuple(one[key] for key in columns) for one in found]),
    )


async def _review(home: Path, limit: int) -> list[dict[str, Any]]:
    async with open_platform(home) as platform, platform.database.connection() as connection:
        reviews = await identity.list_reviews(connection, limit=limit)
        return [
            {
                "review": one.id,
                "person": one.person,
                "other": one.other,
                "reason": str(one.reason),
                "created_at": one.created_at.isoformat(timespec="seconds"),
            }
            for one in reviews
        ]


def _masked(person: Any) -> dict[str, Any]:
    """A command line's output ends up in histories and tickets: it shows no full name or number."""
    return {
        "person": person.id,
        "name": (person.name[:1] + "*" * (len(person.name) - 1)) if person.name else None,
        "sex": person.sex,
        "birth_date": person.birth_date.isoformat() if person.birth_date else None,
        "resident_number": _masked_number(person.resident_number),
    }


def _masked_number(number: str | None) -> str | None:
    return number[:3] + "*" * (len(number) - 7) + number[-4:] if number else None
