"""The audit trail for those who watch over it: who did what, and whether the chain is whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from starlette.responses import Response

from kangshu.audit import Outcome, RecordedEntry, list_entries, verify
from kangshu.consent import Purpose, purpose_title
from kangshu.console.acts import ACTIONS, VERIFY, note_alone
from kangshu.console.errors import say
from kangshu.console.paging import address
from kangshu.console.reach import names
from kangshu.console.visits import Visit, page
from kangshu.intake.messages import BODY_READ, REPLAY
from kangshu.security.principals import Permission

_PER_PAGE = 100
_VERIFIED = "kangshu_verified"
_OUTCOME_LOOKS = {
    Outcome.DONE: ("ok", "check"),
    Outcome.REFUSED: ("bad", "cross"),
    Outcome.FAILED: ("warn", "alarm"),
}
_OTHER_ACTIONS = (
    "person.read",
    "intake.commit",
    "message.take",
    "person.query",
    "person.merge",
    "person.split",
    BODY_READ,
    REPLAY,
    "message.replay",
    "api.token",
    "api.upload",
    "api.rejects-download",
)


@dataclass(frozen=True, kw_only=True)
class AuditRow:
    """One entry in the visitor's words."""

    number: str
    at: datetime
    actor: str
    actor_name: str
    action: str
    outcome: str
    tone: str
    sign: str
    purpose: str
    resource: str
    institution: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class ShownVerification:
    """What the last verification that this visitor asked for found."""

    entries: int
    intact: bool
    fault: str
    at: int | None


async def show_audit(visit: Visit) -> Response:
    """List entries, newest first. What was read is not in them, only that it was."""
    filters = {name: visit.query.get(name, "").strip() for name in ("actor", "action", "first", "last")}
    first, last = parse_day(filters["first"]), parse_day(filters["last"])
    before = visit.query.get("before", "")
    zone = visit.services.zone
    async with visit.services.database.connection() as connection:
        found = await list_entries(
            connection,
            actor=_actor(filters["actor"]),
            action=filters["action"] or None,
            since=datetime.combine(first, time(), zone) if first else None,
            until=datetime.combine(last + timedelta(days=1), time(), zone) if last else None,
            before=int(before) if before.isascii() and before.isdigit() and len(before) < 19 else None,
            limit=_PER_PAGE + 1,
        )
        institution_names = await names(connection, (entry.institution for entry in found))
    shown = found[:_PER_PAGE]
    chained = [entry.chain for entry in shown if entry.chain is not None]
    more = len(found) > _PER_PAGE and bool(chained)
    verified = visit.pocket(_VERIFIED)
    return visit.page(
        "audit.html",
        entries=[_row(visit, entry, institution_names) for entry in shown],
        filters=filters,
        filtered=any(filters.values()),
        action_choices=[(action, action_title(visit, action)) for action in (*_OTHER_ACTIONS, *ACTIONS)],
        verification=ShownVerification(**verified["found"]) if verified else None,
        verification_at=datetime.fromtimestamp(verified["at"], tz=UTC) if verified else None,
        newer=address("/console/audit", filters) if before else None,
        older=address("/console/audit", {**filters, "before": str(chained[-1])}) if more else None,
    )


async def take_verify(visit: Visit) -> Response:
    """Walk the whole chain now and show what was found."""
    services = visit.services
    found = await verify(services.database, keys=services.keys, anchor=services.anchor, now=visit.now)
    await note_alone(visit, VERIFY, outcome=Outcome.DONE if found.intact else Outcome.FAILED)
    response = visit.go("/console/audit")
    shown = {
        "entries": found.entries,
        "intact": found.intact,
        "fault": visit.own(found.fault) if found.fault else "",
        "at": found.at,
    }
    visit.put_pocket(
        response,
        _VERIFIED,
        {"found": shown, "at": visit.now.timestamp()},
        minutes=30,
        path="/console/audit",
    )
    return response


def action_title(visit: Visit, action: str) -> str:
    """Return what an act is called; one that another package made up later stands for itself."""
    key = f"action.{action}"
    return visit.say(key) if key in say else action


def purpose_text(visit: Visit, purpose: str | None) -> str:
    """Return what a purpose is called."""
    if not purpose:
        return ""
    return visit.own(purpose_title(Purpose(purpose))) if purpose in set(Purpose) else purpose


def parse_day(text: str) -> date | None:
    """Return the day that a date field holds, if it holds one."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _row(visit: Visit, entry: RecordedEntry, institution_names: Mapping[str, str]) -> AuditRow:
    known = entry.outcome in set(Outcome)
    tone, sign = _OUTCOME_LOOKS[Outcome(entry.outcome)] if known else ("", "dot")
    return AuditRow(
        number=str(entry.chain) if entry.chain is not None else "…",
        at=entry.at,
        actor=entry.actor,
        actor_name=entry.actor_name or visit.say("audit.unknown_actor"),
        action=action_title(visit, entry.action),
        outcome=visit.say(f"outcome.{entry.outcome}") if known else entry.outcome,
        tone=tone,
        sign=sign,
        purpose=purpose_text(visit, entry.purpose),
        resource=entry.resource or "",
        institution=institution_names.get(entry.institution or "", entry.institution or ""),
        detail=_detail_text(entry.detail),
    )


def _detail_text(detail: Mapping[str, object]) -> str:
    """Return the detail in one line: words of the acting package, never a personal value."""
    return " · ".join(f"{name}: {_plain(value)}" for name, value in detail.items() if value is not None)


def _plain(value: object) -> str:
    return ", ".join(str(one) for one in value) if isinstance(value, list) else str(value)


def _actor(text: str) -> str | None:
    """A name without its kind is a member of the staff."""
    if not text:
        return None
    return text if ":" in text or text in ("system", "unknown") else f"staff:{text}"


routes = [
    page("/audit", show_audit, may=Permission.SEE_AUDIT),
    page("/audit/verify", take_verify, may=Permission.SEE_AUDIT, method="POST"),
]
