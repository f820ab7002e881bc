"""What cannot be mapped.

KangshuError
  MappingError    the sender must correct the message; `place` is in the sender's notation (`PID-7`)
"""

from __future__ import annotations

from typing import ClassVar

from kangshu.kernel.errors import KangshuError, Kind
from kangshu.kernel.texts import load_catalogue

say = load_catalogue(__package__ or __name__)


class MappingError(KangshuError):
    """The message cannot become records: something without which nothing is said is missing or impossible."""

    kind: ClassVar[Kind] = Kind.INCORRECT
