"""What can be wrong with a question about quality, or with work on it."""

from __future__ import annotations

from kangshu.kernel.errors import KangshuError
from kangshu.kernel.texts import load_catalogue

say = load_catalogue(__package__ or __name__)


class QualityError(KangshuError):
    """Something about quality could not be done."""
