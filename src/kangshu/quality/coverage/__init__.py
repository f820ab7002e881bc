"""Coverage (覆盖情况): whether everything that should arrive has arrived, complete and in time.

Who should send what by when is declared (`Pack.quality.expectations`); how much follows from what the
institution reported itself, from the same month of last year and from the usual month.
"""

from kangshu.quality.coverage.model import (
    Arrived,
    Basis,
    Coverage,
    CoverageState,
    Expected,
    Standing,
    assess,
    due_day,
    expected_rows,
    needed_rows,
)
from kangshu.quality.coverage.operations import note_arrival
from kangshu.quality.coverage.queries import coverage, expects

__all__ = [
    "Arrived",
    "Basis",
    "Coverage",
    "CoverageState",
    "Expected",
    "Standing",
    "assess",
    "coverage",
    "due_day",
    "expected_rows",
    "expects",
    "needed_rows",
    "note_arrival",
]
