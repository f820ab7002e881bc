"""Automatic links drawn at random to be looked at, and what became of one person in the index.

What is wrong is mended here: identifiers are taken out of a person into a new one, and merges and splits are
undone. Every look and every act is on record with the person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from starlette.responses import Response

from kangshu import identity
from kangshu.console.acts import LINK_DRAW, LINK_JUDGE, MERGE_UNDO, REVIEW_OPEN, SPLIT, SPLIT_UNDO, note
from kangshu.console.errors import PageNotFoundError, say
from kangshu.console.exporting import csv_answer
from kangshu.console.openings import sex_title
from kangshu.console.reach import names
from kangshu.console.side_by_side import IdentifierRow, identifier_rows, parts_of, present, whole
from kangshu.console.visits import Visit, page
from kangshu.identity import Seen, ToldFacts
from kangshu.security.errors import NotPermittedError
from kangshu.security.principals import Permission
from kangshu.storage.database import Connection

_SIZES = ("20", "50", "100", "300")
_LIST_MOST = 100
_EXPORT_MOST = 200
_NOTE_LENGTH = 500
_SEED_BYTES = 7
_PREFIX = "take."


@dataclass(frozen=True, kw_only=True)
class Happening:
    """One thing that happened to a person in the index, in the visitor's words."""

    at: datetime
    what: str
    other: int | None
    actor: str
    reason: str
    weight: float | None
    model: str


async def show_samples(visit: Visit) -> Response:
    """Show how often automatic links are wrong, and the links that wait to be looked at."""
    _require_region(visit)
    async with visit.services.database.connection() as connection:
        found = await identity.false_link_estimate(connection)
        drawn = await identity.list_sampled(connection, limit=_LIST_MOST)
    return visit.page("samples.html", found=found, drawn=drawn, sizes=[(one, one) for one in _SIZES])


async def export_samples(visit: Visit) -> Response:
    """Send what was drawn and seen as CSV."""
    _require_region(visit)
    async with visit.services.database.connection() as connection:
        drawn = await identity.list_sampled(connection, limit=_EXPORT_MOST)
    titles = ("number", "account", "drawn_at", "drawn_by", "verdict", "judged_at", "judged_by")
    rows = [
        [
            one.id,
            one.account,
            one.drawn_at.isoformat(),
            one.drawn_by,
            visit.say(f"review.seen_{one.verdict}") if one.verdict else "",
            one.judged_at.isoformat() if one.judged_at else "",
            one.judged_by or "",
        ]
        for one in drawn
    ]
    return csv_answer("links.csv", [[visit.say(f"review.export_{title}") for title in titles], *rows])


async def draw(visit: Visit) -> Response:
    """Draw some more links."""
    _require_region(visit)
    size = visit.form.get("size", "")
    async with visit.services.database.transaction() as connection:
        drawn = await identity.sample_links(
            connection,
            size=int(size) if size in _SIZES else int(_SIZES[0]),
            seed=int.from_bytes(visit.services.random(_SEED_BYTES)),
            actor=visit.staff.id,
            now=visit.now,
        )
        await note(connection, visit, LINK_DRAW, resource="links", detail={"drawn": len(drawn)})
    return visit.go("/console/linkage", flash="flash.links_drawn")


async def show_sample(visit: Visit) -> Response:
    """Show a drawn link: whom it linked, by what, and what was seen."""
    _require_region(visit)
    async with visit.services.database.transaction() as connection:
        sample = await identity.get_sampled(connection, sample=_id(visit))
        stored = await identity.get_account(connection, account=sample.account)
        other = stored.other if stored.other is not None else stored.one
        found = await identity.explain(
            connection, keys=visit.services.keys, one=stored.one, other=other, model=visit.services.linkage
        )
        for person in sorted({stored.one, other}):
            await note(connection, visit, REVIEW_OPEN, resource=f"link/{sample.id}", person=person)
        called = await names(
            connection, [one.issuer for side in (found.one, found.other) for one in side.identifiers]
        )
    parts, total = parts_of(visit, stored.account, found.model)
    return visit.page(
        "sample.html",
        sample=sample,
        stored=stored,
        parts_kept=parts,
        total=total,
        pair=present(visit, found) if stored.other is not None else None,
        persons=(stored.one, other) if stored.other is not None else (stored.one,),
        sides=[
            identifier_rows(visit, side, called)
            for side in ((found.one, found.other) if stored.other is not None else (found.one,))
        ],
        name=found.one.person.name or "",
        verdicts=[(one.value, visit.say(f"review.seen_{one.value}")) for one in Seen],
        note_length=_NOTE_LENGTH,
    )


async def judge(visit: Visit) -> Response:
    """Write down what the visitor saw, and lead to the next link that waits."""
    _require_region(visit)
    verdict = visit.form.get("verdict", "")
    if verdict not in set(Seen):
        raise PageNotFoundError
    async with visit.services.database.transaction() as connection:
        done = await identity.judge_link(
            connection,
            sample=_id(visit),
            verdict=Seen(verdict),
            actor=visit.staff.id,
            now=visit.now,
            note=visit.form.get("note", "").strip()[:_NOTE_LENGTH],
        )
        await note(connection, visit, LINK_JUDGE, resource=f"link/{done.id}", detail={"verdict": verdict})
        waiting = await identity.list_sampled(connection, unjudged=True, limit=1)
    return visit.go(
        f"/console/linkage/{waiting[0].id}" if waiting else "/console/linkage", flash="flash.link_judged"
    )


async def show_person(visit: Visit) -> Response:
    """Show what a person is known by, and everything that happened to it in the index."""
    _require_region(visit)
    person = _id(visit)
    async with visit.services.database.transaction() as connection:
        return await _person_page(visit, connection, person)


async def split(visit: Visit) -> Response:
    """Take the identifiers that were marked out of the person into a new one."""
    _require_region(visit)
    person = _id(visit)
    keys = [name.removeprefix(_PREFIX) for name in visit.form if name.startswith(_PREFIX)]
    facts = ToldFacts(
        name=visit.form.get("name", "").strip() or None, sex=visit.form.get("sex", "").strip() or None
    )
    async with visit.services.database.transaction() as connection:
        done = await identity.split_person(
            connection,
            person=person,
            identifiers=keys,
            actor=visit.staff.id,
            reason=visit.form.get("reason", "").strip()[:_NOTE_LENGTH],
            now=visit.now,
            facts=facts,
            keys=visit.services.keys,
            random=visit.services.random,
        )
        for one in (done.person, done.created):
            await note(
                connection,
                visit,
                SPLIT,
                resource=f"split/{done.id}",
                person=one,
                detail={"identifiers": done.identifiers},
            )
    return visit.go(f"/console/linkage/persons/{person}", flash="flash.person_split")


async def undo(visit: Visit) -> Response:
    """Undo a merge or a split of the person."""
    _require_region(visit)
    person = _id(visit)
    merge, split_number = whole(visit.form.get("merge")), whole(visit.form.get("split"))
    async with visit.services.database.transaction() as connection:
        if merge is not None:
            if merge not in {
                one.id for one in await identity.list_merges(connection, person=person, limit=200)
            }:
                raise PageNotFoundError
            done = await identity.undo_merge(connection, merge=merge, actor=visit.staff.id, now=visit.now)
            touched, act, what = (done.survivor, done.absorbed), MERGE_UNDO, f"merge/{merge}"
        elif split_number is not None:
            if split_number not in {
                one.id for one in await identity.list_splits(connection, person=person, limit=200)
            }:
                raise PageNotFoundError
            back = await identity.undo_split(
                connection, split=split_number, actor=visit.staff.id, now=visit.now
            )
            touched, act, what = (back.person, back.created), SPLIT_UNDO, f"split/{split_number}"
        else:
            raise PageNotFoundError
        for one in touched:
            await note(connection, visit, act, resource=what, person=one)
    return visit.go(f"/console/linkage/persons/{person}", flash="flash.undone")


async def _person_page(visit: Visit, connection: Connection, person: int) -> Response:
    found = await identity.explain(
        connection, keys=visit.services.keys, one=person, other=person, model=visit.services.linkage
    )
    merges = await identity.list_merges(connection, person=person, limit=100)
    splits = await identity.list_splits(connection, person=person, limit=100)
    events = await identity.list_events(connection, person=person, limit=100)
    meaning = (await identity.persons_meaning(connection, persons=[person]))[person]
    called = await names(connection, [one.issuer for one in found.one.identifiers])
    await note(connection, visit, REVIEW_OPEN, resource=f"person/{person}", person=person)
    rows: Sequence[IdentifierRow] = identifier_rows(visit, found.one, called)
    return visit.page(
        "person_past.html",
        person=person,
        name=found.one.person.name or "",
        sex=sex_title(visit, found.one.person.sex),
        birth=found.one.person.birth_date,
        survivor=meaning[0],
        meaning=meaning,
        identifiers=rows,
        merges=merges,
        splits=splits,
        events=[_happening(visit, one) for one in events],
        prefix=_PREFIX,
        note_length=_NOTE_LENGTH,
    )


def _happening(visit: Visit, event: identity.Event) -> Happening:
    return Happening(
        at=event.at,
        what=visit.say(f"review.event_{event.kind.name.lower()}"),
        other=event.other,
        actor=event.actor,
        reason=event.reason or "",
        weight=event.weight,
        model=(event.model or "")[:12],
    )


def _require_region(visit: Visit) -> None:
    """Do nothing if the visitor works for the whole region: links are drawn from all of it.

    Raises:
        NotPermittedError: for a part only.
    """
    if not visit.staff.region_wide:
        raise NotPermittedError(say["review.region_only"])


def _id(visit: Visit) -> int:
    number = whole(visit.request.path_params["id"])
    if number is None:
        raise PageNotFoundError
    return number


routes = [
    page("/linkage", show_samples, may=Permission.REVIEW_PERSONS),
    page("/linkage.csv", export_samples, may=Permission.REVIEW_PERSONS),
    page("/linkage", draw, may=Permission.REVIEW_PERSONS, method="POST"),
    page("/linkage/persons/{id}", show_person, may=Permission.REVIEW_PERSONS),
    page("/linkage/persons/{id}/split", split, may=Permission.REVIEW_PERSONS, method="POST"),
    page("/linkage/persons/{id}/undo", undo, may=Permission.REVIEW_PERSONS, method="POST"),
    page("/linkage/{id}", show_sample, may=Permission.REVIEW_PERSONS),
    page("/linkage/{id}", judge, may=Permission.REVIEW_PERSONS, method="POST"),
]
