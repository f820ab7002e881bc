"""What may be asked about what arrived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from kangshu.declarations import Dataset
from kangshu.intake import store
from kangshu.intake.errors import ReceiptNotFoundError, say
from kangshu.intake.model import ReasonCount, Receipt
from kangshu.intake.values import ZONE
from kangshu.kernel.texts import Text
from kangshu.storage.database import Connection


@dataclass(frozen=True, kw_only=True)
class DayCount:
    """What arrived on one day; rows of every file, also of those that were refused or replaced."""

    day: date
    files: int
    rows: int
    accepted: int
    rejected: int


@dataclass(frozen=True, kw_only=True)
class StandingCount:
    """What stands of one data set and period from one institution."""

    institution: str
    dataset: str
    period: str
    rows: int
    accepted: int
    rejected: int
    warnings: int
    last_arrival: datetime


@dataclass(frozen=True, kw_only=True)
class SenderCount:
    """What one institution sent in a span of time, and when its last file ever arrived."""

    institution: str
    files: int
    rows: int
    accepted: int
    rejected: int
    last_arrival: datetime


@dataclass(frozen=True, kw_only=True)
class DatasetCount:
    """What stands of one data set, from how many institutions."""

    dataset: str
    institutions: int
    files: int
    accepted: int
    rejected: int


async def get_receipt(
    connection: Connection, *, receipt_id: int, institutions: Sequence[str] | None = None
) -> Receipt:
    """Return a receipt; with `institutions` only one of theirs.

    Raises:
        ReceiptNotFoundError: there is none, or it is another institution's.
    """
    known = 0 < receipt_id < 1 << 63  # a number that the database cannot hold is no receipt's
    receipt = await store.find_receipt(connection, receipt_id=receipt_id) if known else None
    if receipt is None or (institutions is not None and receipt.institution not in institutions):
        raise ReceiptNotFoundError(receipt_id=receipt_id)
    return receipt


async def list_receipts(
    connection: Connection,
    *,
    institutions: Sequence[str] | None = None,
    dataset: str | None = None,
    state: str | None = None,
    day: date | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[Receipt]:
    """Return receipts, the newest first; page on with `before` set to the last one's id.

    `day` takes those that arrived on that day by the region's wall clock.
    """
    return await store.list_receipts(
        connection,
        institutions=institutions,
        dataset=dataset,
        state=state,
        day=day,
        zone=ZONE,
        before=before,
        limit=limit,
    )


async def list_reasons(connection: Connection, *, receipt_id: int) -> list[ReasonCount]:
    """Return why rows of a file were refused or marked, errors first."""
    return await store.list_reasons(connection, receipt_id=receipt_id)


async def list_top_reasons(
    connection: Connection, *, institutions: Sequence[str] | None = None, limit: int = 20
) -> list[tuple[str, ReasonCount]]:
    """Return with their data set the most frequent reasons over all files that stand."""
    return await store.top_reasons(connection, institutions=institutions, limit=limit)


async def list_days(
    connection: Connection, *, first: date, institutions: Sequence[str] | None = None
) -> list[DayCount]:
    """Return what arrived on each day from `first` on, days without arrivals left out."""
    rows = await store.count_by_day(connection, institutions=institutions, first=first, zone=ZONE)
    return [DayCount(**dict(row)) for row in rows]


async def list_sender_counts(
    connection: Connection, *, since: date, institutions: Sequence[str] | None = None
) -> list[SenderCount]:
    """Return what each institution that ever sent a file has sent since the day `since`."""
    rows = await store.count_by_sender(connection, institutions=institutions, since=since, zone=ZONE)
    return [SenderCount(**dict(row)) for row in rows]


async def list_dataset_counts(
    connection: Connection, *, institutions: Sequence[str] | None = None
) -> list[DatasetCount]:
    """Return what stands of each data set, the largest first."""
    rows = await store.count_by_dataset(connection, institutions=institutions)
    return [DatasetCount(**dict(row)) for row in rows]


async def list_standing(
    connection: Connection, *, institutions: Sequence[str] | None = None
) -> list[StandingCount]:
    """Return what stands, by institution, data set and period."""
    rows = await store.count_by_institution(connection, institutions=institutions)
    return [StandingCount(**dict(row)) for row in rows]


def rejects_path(home: Path, receipt_id: int) -> Path:
    """Return where the list of a file's refused rows lies (it need not exist)."""
    return home / "rejects" / f"{receipt_id // 1000:06d}" / f"{receipt_id}.csv"


def reason_text(*, rule: str, field: str, dataset: Dataset | None) -> Text:
    """Return what one reason tells the sender: the declared rule's message or the field's check."""
    if dataset is not None:
        for declared in dataset.rules:
            if declared.id == rule:
                return declared.message
    if rule == "unknown_column":
        return say(rule, column=field.lstrip("#"))
    if rule in say and "{" not in say[rule].zh:
        return say(rule)
    if dataset is not None and field:
        return _field_text(rule, dataset, field)
    return Text(zh=rule, en=rule)


def _field_text(rule: str, dataset: Dataset, name: str) -> Text:
    field = dataset.field(name)
    key = f"type_{field.type}" if rule == "type" else rule
    return say(
        key,
        title=field.title.zh,
        title_en=field.title.en,
        length=field.length,
        scale=field.scale,
        table=field.value_set_title.zh,
        table_en=field.value_set_title.en,
        minimum=_bound(field.minimum),
        maximum=_bound(field.maximum),
    )


def _bound(value: float | None) -> str:
    return "…" if value is None else f"{value:g}"
