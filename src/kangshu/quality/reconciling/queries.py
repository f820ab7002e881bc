"""What may be asked about reconciliations that were computed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from kangshu.declarations import Pack, Reconciliation
from kangshu.quality.reconciling import store
from kangshu.quality.reconciling.errors import ReconciliationNotFoundError
from kangshu.quality.reconciling.model import Balance, weigh
from kangshu.quality.reconciling.statements import digest_of
from kangshu.storage.database import Connection


async def list_balances(
    connection: Connection,
    *,
    pack: Pack,
    first: date,
    last: date,
    institutions: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
) -> list[Balance]:
    """Return the balances of the months `first` to `last` (both included), by month, pair and institution.

    Tolerances are those of the present declaration. Figures that an earlier declaration gave are left out:
    they must be computed anew.
    """
    pairs = {pair.id: pair for pair in pack.quality.reconciliations if ids is None or pair.id in ids}
    rows = await store.list_balances(
        connection,
        declared={pair.id: digest_of(pair) for pair in pairs.values()},
        first=first.replace(day=1),
        last=last.replace(day=1),
        institutions=institutions,
    )
    return [
        balance_of(
            pairs[row["reconciliation"]],
            store.Figures(
                institution=row["institution"],
                month=row["month"],
                left=row["left_figure"],
                right=row["right_figure"],
                left_rows=row["left_rows"],
                right_rows=row["right_rows"],
                left_files=tuple(row["left_files"]),
                right_files=tuple(row["right_files"]),
            ),
            computed_at=row["computed_at"],
        )
        for row in rows
    ]


async def list_months(connection: Connection, *, institutions: Sequence[str] | None = None) -> list[date]:
    """Return the months of which anything was computed, the latest first."""
    return await store.list_months(connection, institutions=institutions)


def get_reconciliation(pack: Pack, *, reconciliation: str) -> Reconciliation:
    """Return the pair called `reconciliation`.

    Raises:
        ReconciliationNotFoundError: the pack declares none.
    """
    for pair in pack.quality.reconciliations:
        if pair.id == reconciliation:
            return pair
    raise ReconciliationNotFoundError(reconciliation=reconciliation)


def balance_of(pair: Reconciliation, figures: store.Figures, *, computed_at: datetime) -> Balance:
    """Return figures with what they say by the tolerance that is declared now."""
    state, allowed = weigh(pair, left=figures.left, right=figures.right)
    return Balance(
        id=pair.id,
        institution=figures.institution,
        month=figures.month,
        left=figures.left,
        right=figures.right,
        allowed=allowed,
        state=state,
        left_rows=figures.left_rows,
        right_rows=figures.right_rows,
        left_files=figures.left_files,
        right_files=figures.right_files,
        computed_at=computed_at,
    )
