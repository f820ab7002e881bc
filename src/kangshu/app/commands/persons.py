"""`persons`: the person index."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from kangshu import identity
from kangshu.app.errors import UsageError, say
from kangshu.app.platform import open_platform
from kangshu.app.presenting import present, print_facts, print_table
from kangshu.app.program import Json, app, home_of, run
from kangshu.audit import AuditEntry, record
from kangshu.storage.database import Connection

# Whoever sits at the machine: the command line knows no accounts.
_ACTOR = "command-line"

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
    """显示一位居民 / show one person, masked, with numbers and merges."""
    found = run(_show(home_of(context), person), as_json=as_json)
    columns = {
        "identifiers": ("kind", "issuer", "number", "disputed", "person"),
        "merges": ("merge", "survivor", "absorbed", "at", "by", "undone_at"),
    }

    def show() -> None:
        print_facts({name: value for name, value in found.items() if name not in columns})
        for name, titles in columns.items():
            if found[name]:
                print_table(
                    titles, [tuple(one[title] for title in titles) for one in found[name]], title=name
                )

    present(found, as_json=as_json, show=show)


async def _show(home: Path, person: int) -> dict[str, Any]:
    _check_number(person)
    async with open_platform(home) as platform, platform.database.connection() as connection:
        found = await identity.get_person(connection, keys=platform.keys, person=person)
        identifiers = await identity.list_identifiers(connection, keys=platform.keys, person=person)
        merges = await identity.list_merges(connection, person=person)
        return {
            **_masked(found),
            "absorbed": list(found.absorbed),
            "identifiers": [
                {
                    "kind": one.kind.name.lower(),
                    "issuer": one.issuer,
                    "number": _masked_number(one.value),
                    "disputed": one.disputed,
                    "person": one.person,
                }
                for one in identifiers
            ],
            "merges": [_merge_facts(one) for one in merges],
        }


@persons_app.command("merge")
def merge_command(
    context: typer.Context,
    survivor: Annotated[int, typer.Argument(help="保留的人员编号 / the person that stands for both")],
    absorbed: Annotated[int, typer.Argument(help="并入的人员编号 / the person that is merged into it")],
    reason: Annotated[str, typer.Option(help="理由 / why")] = "",
    as_json: Json = False,
) -> None:
    """合并两位居民为一人，可撤销 / make two persons one; nothing moves, and `split` takes it back."""
    present(run(_merge(home_of(context), survivor, absorbed, reason), as_json=as_json), as_json=as_json)


async def _merge(home: Path, survivor: int, absorbed: int, reason: str) -> dict[str, Any]:
    _check_number(survivor)
    _check_number(absorbed)
    async with open_platform(home) as platform:
        now = platform.clock.now()

        async def work(connection: Connection) -> dict[str, Any]:
            merge = await identity.merge_persons(
                connection, survivor=survivor, absorbed=absorbed, actor=_ACTOR, reason=reason, now=now
            )
            if merge is not None:
                await _trace(connection, "person.merge", merge, now)
            meaning = await identity.persons_meaning(connection, persons=[survivor])
            facts = _merge_facts(merge) if merge else {"merge": None, "survivor": meaning[survivor][0]}
            return {**facts, "persons": list(meaning[survivor])}

        return await platform.database.run(work)


@persons_app.command("explain")
def explain_command(
    context: typer.Context,
    one: Annotated[int, typer.Argument(help="人员编号 / a person")],
    other: Annotated[int, typer.Argument(help="另一人员编号 / another person")],
    as_json: Json = False,
) -> None:
    """说明两人为何是或不是同一人 / why two persons are, or are not, taken for one."""
    found = run(_explain(home_of(context), one, other), as_json=as_json)
    columns = {
        "parts": ("comparison", "level", "weight"),
        "stored": ("account", "at", "by", "verdict", "weight", "model"),
    }

    def show() -> None:
        print_facts({name: value for name, value in found.items() if name not in columns})
        for name, titles in columns.items():
            if found[name]:
                print_table(
                    titles, [tuple(row[title] for title in titles) for row in found[name]], title=name
                )

    present(found, as_json=as_json, show=show)


async def _explain(home: Path, one: int, other: int) -> dict[str, Any]:
    _check_number(one)
    _check_number(other)
    async with open_platform(home) as platform, platform.database.connection() as connection:
        found = await identity.explain(
            connection, keys=platform.keys, one=one, other=other, model=platform.linkage
        )
    account = found.account
    return {
        "one": one,
        "other": other,
        "same": found.same,
        "apart": found.apart,
        "verdict": str(account.verdict),
        "weight": round(account.weight, 6),
        "probability": account.probability,
        "prior": round(account.prior, 6),
        "review_at": found.model.review_at,
        "link_at": found.model.link_at,
        "guards": list(account.guards),
        "model": account.model,
        "parts": [
            {"comparison": part.comparison, "level": part.level, "weight": round(part.weight, 6)}
            for part in account.parts
        ],
        "stored": [
            {
                "account": kept.id,
                "at": kept.at.isoformat(timespec="seconds"),
                "by": kept.actor,
                "verdict": str(kept.account.verdict),
                "weight": round(kept.account.weight, 6),
                "model": kept.account.model,
            }
            for kept in found.stored
        ],
    }


@persons_app.command("split")
def split_command(
    context: typer.Context,
    person: Annotated[int, typer.Argument(help="人员编号 / a person")],
    take: Annotated[
        list[int] | None,
        typer.Option(help="拆出 show 所列第几个标识 / take this identifier (its place in `show`) out"),
    ] = None,
    reason: Annotated[str, typer.Option(help="理由 / why")] = "",
    as_json: Json = False,
) -> None:
    """拆出标识为新的人员；不指明时撤销合并 / take identifiers out into a new person, or undo the merge."""
    work = _take_out(home_of(context), person, take, reason) if take else _split(home_of(context), person)
    present(run(work, as_json=as_json), as_json=as_json)


async def _take_out(home: Path, person: int, take: list[int], reason: str) -> dict[str, Any]:
    _check_number(person)
    async with open_platform(home) as platform:
        now = platform.clock.now()

        async def work(connection: Connection) -> dict[str, Any]:
            held = await identity.list_identifiers(connection, keys=platform.keys, person=person)
            if not all(0 < place <= len(held) for place in take):
                raise UsageError(say("no_such_identifier", count=len(held)))
            done = await identity.split_person(
                connection,
                person=person,
                identifiers=[held[place - 1].key for place in take],
                actor=_ACTOR,
                reason=reason,
                now=now,
                keys=platform.keys,
            )
            await _trace_split(connection, "person.separate", done, now)
            return _split_facts(done)

        return await platform.database.run(work)


@persons_app.command("undo")
def undo_command(
    context: typer.Context,
    merge: Annotated[int | None, typer.Option(help="合并编号 / number of a merge")] = None,
    split: Annotated[int | None, typer.Option(help="拆分编号 / number of a split")] = None,
    as_json: Json = False,
) -> None:
    """撤销一次合并或拆分，恢复原状 / undo a merge or a split: what was before is restored."""
    present(run(_undo(home_of(context), merge, split), as_json=as_json), as_json=as_json)


async def _undo(home: Path, merge: int | None, split: int | None) -> dict[str, Any]:
    if (merge is None) == (split is None):
        raise UsageError(say("undo_one"))
    _check_number(merge or split or 0)
    async with open_platform(home) as platform:
        now = platform.clock.now()

        async def work(connection: Connection) -> dict[str, Any]:
            if merge is not None:
                undone = await identity.undo_merge(connection, merge=merge, actor=_ACTOR, now=now)
                await _trace(connection, "person.split", undone, now)
                return _merge_facts(undone)
            back = await identity.undo_split(connection, split=split or 0, actor=_ACTOR, now=now)
            await _trace_split(connection, "person.reunite", back, now)
            return _split_facts(back)

        return await platform.database.run(work)


@persons_app.command("rebuild")
def rebuild_command(
    context: typer.Context,
    check: Annotated[
        bool, typer.Option("--check", help="只核对，不修改 / compare only, change nothing")
    ] = False,
    as_json: Json = False,
) -> None:
    """由事件重建主索引，或核对两者是否一致 / make the index anew out of its events, or compare the two."""
    found = run(_rebuild(home_of(context), check=check), as_json=as_json)
    present(found, as_json=as_json)
    if not found["agrees"] and not found["mended"]:
        raise typer.Exit(1)


async def _rebuild(home: Path, *, check: bool) -> dict[str, Any]:
    async with open_platform(home) as platform:
        if check:
            async with platform.database.transaction(snapshot=True) as connection:
                found = await identity.check_index(connection)
        else:
            found = await platform.database.run(identity.rebuild_index)
    return {**asdict(found), "agrees": found.agrees}


def _split_facts(split: identity.PersonSplit) -> dict[str, Any]:
    return {
        "split": split.id,
        "person": split.person,
        "created": split.created,
        "identifiers": split.identifiers,
        "at": split.at.isoformat(timespec="seconds"),
        "by": split.actor,
        "reason": split.reason,
        "undone_at": split.undone_at.isoformat(timespec="seconds") if split.undone_at else None,
        "undone_by": split.undone_by,
    }


async def _trace_split(
    connection: Connection, action: str, split: identity.PersonSplit, now: datetime
) -> None:
    """Put on the audit chain of both persons what was taken apart or put together again."""
    told = {"person": split.person, "created": split.created}
    await _put_on_record(connection, action, f"split/{split.id}", told, now)


async def _split(home: Path, absorbed: int) -> dict[str, Any]:
    _check_number(absorbed)
    async with open_platform(home) as platform:
        now = platform.clock.now()

        async def work(connection: Connection) -> dict[str, Any]:
            merge = await identity.get_merge_of(connection, absorbed=absorbed)
            undone = await identity.undo_merge(connection, merge=merge.id, actor=_ACTOR, now=now)
            await _trace(connection, "person.split", undone, now)
            return _merge_facts(undone)

        return await platform.database.run(work)


async def _trace(connection: Connection, action: str, merge: identity.PersonMerge, now: datetime) -> None:
    """Put on the audit chain of both persons what was done with them."""
    told = {"survivor": merge.survivor, "absorbed": merge.absorbed}
    await _put_on_record(connection, action, f"merge/{merge.id}", told, now)


async def _put_on_record(
    connection: Connection, action: str, resource: str, persons: dict[str, int], now: datetime
) -> None:
    """Write an act to the audit chain of each of the persons, who are told by what they were in it."""
    entries = [
        AuditEntry(
            at=now,
            actor=_ACTOR,
            actor_name=_ACTOR,
            action=action,
            person=person,
            resource=resource,
            detail=persons,
        )
        for person in persons.values()
    ]
    await record(connection, entries=entries)


def _check_number(person: int) -> None:
    if not 0 < person < 1 << 63:  # beyond what the database can hold
        raise UsageError(say("no_such_person", id=person))


def _merge_facts(merge: identity.PersonMerge) -> dict[str, Any]:
    return {
        "merge": merge.id,
        "survivor": merge.survivor,
        "absorbed": merge.absorbed,
        "at": merge.at.isoformat(timespec="seconds"),
        "by": merge.actor,
        "reason": merge.reason,
        "undone_at": merge.undone_at.isoformat(timespec="seconds") if merge.undone_at else None,
        "undone_by": merge.undone_by,
    }


@persons_app.command("review")
def review_command(context: typer.Context, limit: int = 50, as_json: Json = False) -> None:
    """待审核，最有价值的在前 / what waits for a decision, the most valuable one first."""
    found = run(_review(home_of(context), limit), as_json=as_json)
    columns = ("review", "person", "other", "reason", "value", "weight", "opinions", "created_at")
    present(
        {"reviews": found},
        as_json=as_json,
        show=lambda: print_table(columns, [tuple(one[key] for key in columns) for one in found]),
    )


async def _review(home: Path, limit: int) -> list[dict[str, Any]]:
    async with open_platform(home) as platform, platform.database.transaction() as connection:
        queue = await identity.review_queue(connection, limit=limit)
        return [
            {
                "review": one.review.id,
                "person": one.review.person,
                "other": one.review.other,
                "reason": str(one.review.reason),
                "value": round(one.value, 3),
                "weight": None if one.weight is None else round(one.weight, 3),
                "opinions": one.opinions,
                "created_at": one.review.created_at.isoformat(timespec="seconds"),
            }
            for one in queue
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
    if number is None:
        return None
    shown = 4 if len(number) > 10 else 2 if len(number) > 4 else 0
    head = number[:3] if len(number) > 10 else ""
    return head + "*" * (len(number) - len(head) - shown) + number[len(number) - shown :]
