"""What can be wrong with a question about reconciliations.

QualityError
  ReconciliationNotFoundError   the pack declares no such pair
"""

from __future__ import annotations

from kangshu.kernel.errors import Kind
from kangshu.kernel.texts import load_catalogue
from kangshu.quality.errors import QualityError

say = load_catalogue(__package__ or __name__)


class ReconciliationNotFoundError(QualityError):
    """Name a pair that the pack declares."""

    kind = Kind.NOT_FOUND

    def __init__(self, *, reconciliation: str) -> None:
        super().__init__(say("unknown", id=reconciliation[:40]))
