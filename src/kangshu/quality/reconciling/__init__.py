"""Reconciliation (对账): two declared figures that should agree, by institution and month, down to rows.

Figures are computed over the lake and kept; a new file costs its own institution and months. How they
stand to each other follows from the tolerance that is declared now. Nothing here shows what a row holds.
"""

from kangshu.quality.reconciling.drilling import DIFFERING, MOST_PLACES, differing_rows
from kangshu.quality.reconciling.errors import ReconciliationNotFoundError
from kangshu.quality.reconciling.model import (
    MESSAGES,
    Balance,
    FileRows,
    Partner,
    RowPlace,
    Side,
    SideRows,
    State,
    weigh,
)
from kangshu.quality.reconciling.operations import reconcile, reconcile_files
from kangshu.quality.reconciling.queries import get_reconciliation, list_balances, list_months

__all__ = [
    "DIFFERING",
    "MESSAGES",
    "MOST_PLACES",
    "Balance",
    "FileRows",
    "Partner",
    "ReconciliationNotFoundError",
    "RowPlace",
    "Side",
    "SideRows",
    "State",
    "differing_rows",
    "get_reconciliation",
    "list_balances",
    "list_months",
    "reconcile",
    "reconcile_files",
    "weigh",
]
