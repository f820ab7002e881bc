"""`cards`: electronic health cards."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from kangshu import healthcard
from kangshu.app.cards import Offices, card_settings
from kangshu.app.errors import UsageError, say
from kangshu.app.platform import Platform, open_platform
from kangshu.app.presenting import present, print_facts, print_table
from kangshu.app.program import Json, app, home_of, run
from kangshu.healthcard import Application, Caller, Card, KeyKind, Office, RowProblem, Way
from kangshu.storage.database import Connection

# Whoever sits at the machine: the command line knows no accounts.
_ACTOR = "command-line"
_CHUNK = 5000
_ROWS_SHOWN = 50
_COLUMNS = (
    "name", "document_type", "document_number", "sex", "birth_date", "nation", "phone", "address",
)  # fmt: skip

cards_app = typer.Typer(help="电子健康卡 / electronic health cards", no_args_is_help=True)
app.add_typer(cards_app, name="cards")


@cards_app.command("register")
def register_command(
    context: typer.Context,
    name: Annotated[str, typer.Option(help="姓名 / name", prompt="姓名 name")],
    number: Annotated[str, typer.Option(help="证件号码 / document number", prompt="证件号码 number")],
    document: Annotated[str, typer.Option(help="证件类型 / kind of document")] = "01",
    phone: Annotated[str | None, typer.Option(help="电话 / telephone")] = None,
    born: Annotated[str | None, typer.Option(help="出生日期 / birth date, 1980-01-31")] = None,
    guardian: Annotated[int | None, typer.Option(help="监护人的卡 / the guardian's card")] = None,
    relation: Annotated[str | None, typer.Option(help="与监护人关系代码 / GB/T 4761")] = None,
    institution: Annotated[str | None, typer.Option(help="办理机构 / institution")] = None,
    as_json: Json = False,
) -> None:
    """申领一张卡；同一证件返回同一张 / register a card; the same document returns the same card."""
    application = Application(
        name=name,
        document_type=document,
        document_number=number,
        phone=phone,
        birth_date=_day(born) if born else None,
        guardian=guardian,
        relation=relation,
        way=Way.WINDOW,
    )
    present(run(_register(home_of(context), application, institution), as_json=as_json), as_json=as_json)


async def _register(home: Path, application: Application, institution: str | None) -> dict[str, Any]:
    async with open_platform(home) as platform:
        office = await _office(platform)

        async def work(connection: Connection) -> dict[str, Any]:
            found = await healthcard.register_card(
                connection,
                office=office,
                application=application,
                caller=_caller(institution),
                now=platform.clock.now(),
            )
            return {**_masked(office, found.card), "new": found.new, "claimed": found.claimed}

        return await platform.database.run(work)


@cards_app.command("batch")
def batch_command(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV, UTF-8")],
    institution: Annotated[str | None, typer.Option(help="办理机构 / institution")] = None,
    as_json: Json = False,
) -> None:
    """批量预生成 / make cards in advance from a CSV (name, document_type, document_number, ...)."""
    found = run(_batch(home_of(context), file, institution), as_json=as_json)

    def show() -> None:
        print_facts({name: value for name, value in found.items() if name != "problems"})
        if found["problems"]:
            rows = [(one["row"], one["reason"]) for one in found["problems"]]
            print_table(("row", "reason"), rows)

    present(found, as_json=as_json, show=show)


async def _batch(home: Path, file: Path, institution: str | None) -> dict[str, Any]:
    created = existing = read = refused = 0
    problems: list[dict[str, Any]] = []
    async with open_platform(home) as platform:
        office = await _office(platform)
        for first, applications, wrong in _chunks(file):

            async def work(
                connection: Connection, applications: list[Application] = applications
            ) -> healthcard.Batch:
                return await healthcard.register_cards(
                    connection,
                    office=office,
                    applications=applications,
                    caller=_caller(institution),
                    now=platform.clock.now(),
                )

            batch = await platform.database.run(work)
            created, existing, read = (
                created + batch.created,
                existing + batch.existing,
                first + len(applications),
            )
            # Lines count from 1, and the first is the heading.
            found = {**batch.problems, **dict.fromkeys(wrong, RowProblem.FIELD_WRONG)}
            refused += len(found)
            problems += [
                {"row": first + row + 2, "reason": problem.value} for row, problem in sorted(found.items())
            ]
    return {
        "rows": read,
        "created": created,
        "existing": existing,
        "refused": refused,
        "problems": problems[:_ROWS_SHOWN],
    }


def _chunks(file: Path) -> Iterator[tuple[int, list[Application], list[int]]]:
    """Yield the rows of a file in pieces: the number of the first, the rows, which have an impossible day."""
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        if not {"name", "document_number"} <= set(reader.fieldnames or ()):
            raise UsageError(say("cards_columns", columns=", ".join(_COLUMNS)))
        first, rows, wrong = 0, list[Application](), list[int]()
        try:
            for row in reader:
                born = (row.get("birth_date") or "").strip()
                day = _find_day(born) if born else None
                if born and day is None:
                    wrong.append(len(rows))
                rows.append(_application(row, day))
                if len(rows) == _CHUNK:
                    yield first, rows, wrong
                    first, rows, wrong = first + len(rows), [], []
        except (csv.Error, UnicodeDecodeError):
            # The chained error would quote the line, so it ends here.
            raise UsageError(say("cards_file_unreadable")) from None
    if rows:
        yield first, rows, wrong


def _application(row: dict[str, str | None], day: date | None) -> Application:
    def told(name: str) -> str | None:
        return (row.get(name) or "").strip() or None

    return Application(
        name=told("name") or "",
        document_type=told("document_type") or "01",
        document_number=told("document_number"),
        sex=told("sex"),
        birth_date=day,
        nation=told("nation"),
        phone=told("phone"),
        address=told("address"),
        way=Way.BATCH,
    )


@cards_app.command("show")
def show_command(
    context: typer.Context,
    card: Annotated[int, typer.Argument(help="卡编号（本平台）/ the card's number here")],
    as_json: Json = False,
) -> None:
    """显示一张卡（脱敏）/ show one card, masked, with what happened to it and what is bound to it."""
    found = run(_show(home_of(context), card), as_json=as_json)
    columns = {
        "bindings": ("system", "issuer", "number", "since"),
        "family": ("card", "relation", "guardian", "since", "until"),
        "events": ("at", "event", "by", "institution"),
    }

    def show() -> None:
        print_facts({name: value for name, value in found.items() if name not in columns})
        for name, titles in columns.items():
            if found[name]:
                rows = [tuple(one[title] for title in titles) for one in found[name]]
                print_table(titles, rows, title=name)

    present(found, as_json=as_json, show=show)


async def _show(home: Path, card: int) -> dict[str, Any]:
    async with open_platform(home) as platform, platform.database.connection() as connection:
        office = await _office(platform)
        found = await healthcard.get_card(connection, office=office, card=card, now=platform.clock.now())
        bindings = await healthcard.list_bindings(connection, office=office, card=card)
        family = await healthcard.list_family(connection, card=card)
        events = await healthcard.history_of(connection, card=card)
    return {
        **_masked(office, found),
        "bindings": [
            {"system": one.system, "issuer": one.issuer, "number": one.masked, "since": _text(one.bound_at)}
            for one in bindings
        ],
        "family": [
            {
                "card": one.member,
                "relation": one.relation,
                "guardian": one.guardian,
                "since": _text(one.since),
                "until": _text(one.ended_at),
            }
            for one in family
        ],
        "events": [
            {"at": _text(one.at), "event": str(one.kind), "by": one.actor, "institution": one.institution}
            for one in events
        ],
    }


@cards_app.command("figures")
def figures_command(
    context: typer.Context,
    days: Annotated[int, typer.Option(min=1, max=3660, help="最近天数 / the last days")] = 30,
    institution: Annotated[str | None, typer.Option(help="机构 / institution")] = None,
    as_json: Json = False,
) -> None:
    """发卡、用卡、脱卡、融合、认领等指标 / cards, uses, off-card, fusion and claim rates."""
    found = run(_figures(home_of(context), days, institution), as_json=as_json)
    present(found, as_json=as_json, show=lambda: print_facts(found))


async def _figures(home: Path, days: int, institution: str | None) -> dict[str, Any]:
    async with open_platform(home) as platform, platform.database.connection() as connection:
        now = platform.clock.now()
        found = await healthcard.figures(
            connection,
            settings=card_settings(platform),
            since=now - timedelta(days=days - 1),
            until=now,
            institution=institution,
        )
    return {
        "days": days,
        "cards": found.cards,
        "issued": found.issued,
        "uses": found.use_count,
        "off_card_rate": found.off_card_rate,
        "fusion_rate": found.fusion_rate,
        "claim_rate": found.claim_rate,
        "family_cards": found.family_members,
        "scans": found.scans,
        "refused": {str(reason): count for reason, count in found.refused_scans.items()},
        "status": {healthcard.status_title(one).zh: count for one, count in found.by_status.items() if count},
        "ways": {healthcard.way_title(one).zh: count for one, count in found.by_way.items() if count},
        "coverage": {one.institution: round(one.share, 3) for one in found.coverage},
    }


@cards_app.command("rotate")
def rotate_command(
    context: typer.Context,
    kind: Annotated[KeyKind, typer.Argument(help="root 根密钥, code 动态码, sign 离线签名")],
    as_json: Json = False,
) -> None:
    """更换密钥，已发的卡不受影响 / make a new key; cards that exist stay valid."""
    present(run(_rotate(home_of(context), kind), as_json=as_json), as_json=as_json)


async def _rotate(home: Path, kind: KeyKind) -> dict[str, Any]:
    async with open_platform(home) as platform:
        office = await _office(platform)

        async def work(connection: Connection) -> dict[str, Any]:
            version = await healthcard.rotate_key(
                connection, office=office, kind=kind, caller=_caller(None), now=platform.clock.now()
            )
            return {"kind": kind.value, "version": version}

        return await platform.database.run(work)


async def _office(platform: Platform) -> Office:
    return await Offices(platform)()


def _caller(institution: str | None) -> Caller:
    return Caller(actor=_ACTOR, actor_name=_ACTOR, institution=institution, role="terminal")


def _masked(office: Office, card: Card) -> dict[str, Any]:
    """A command line's output ends up in histories and tickets: it shows no full name or number."""
    view = healthcard.view_of(office.settings, holder=card.holder, role="terminal")
    return {
        "card": card.id,
        "person": card.person,
        "active": card.active,
        "name": view.name,
        "document_type": view.document_type,
        "document_number": view.document_number,
        "status": healthcard.status_title(card.status).zh,
        "attribute": healthcard.attribute_title(card.attribute).zh,
        "way": healthcard.way_title(card.way).zh,
        "institution": card.institution,
        "registered_at": _text(card.registered_at),
        "claimed_at": _text(card.claimed_at),
        "valid_until": _text(card.valid_until),
    }


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None


def _day(text: str) -> date:
    day = _find_day(text)
    if day is None:
        raise UsageError(say("no_such_day"))
    return day


def _find_day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
