"""A simulated region with its truth, as the tests of this folder look at it. All people are synthetic."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from kangshu.simulation import SimulationSummary


@dataclass(frozen=True)
class SimulatedRegion:
    """What `simulate` wrote, with its truth read back."""

    folder: Path
    summary: SimulationSummary
    files: list[dict[str, str]]
    errors: list[dict[str, str]]
    persons: list[dict[str, str]]

    def path(self, file: str) -> Path:
        return self.folder / "submissions" / file


def read_region(folder: Path, summary: SimulationSummary) -> SimulatedRegion:
    """Return the region that `simulate` wrote into `folder`."""
    return SimulatedRegion(
        folder=folder,
        summary=summary,
        files=_rows(folder / "truth" / "files.csv"),
        errors=_rows(folder / "truth" / "errors.csv"),
        persons=_rows(folder / "truth" / "persons.csv"),
    )


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
