"""Examine a file and assess what was found; the file is read, and nothing is written but scratch."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from kangshu.declarations import Dataset, Pack
from kangshu.intake import examine
from kangshu.quality.scoring import Assessment, assess_file


@dataclass(frozen=True, kw_only=True)
class SelfTest:
    """What was found in a file called `file`; `unknown` are the positions of columns that have no field."""

    file: str
    unknown: tuple[int, ...]
    assessment: Assessment

    @property
    def dataset(self) -> Dataset:
        """The file's data set."""
        return self.assessment.dataset

    def document(self) -> dict[str, Any]:
        """Return the report as plain values: the platform's own about the file, and what it was called."""
        return {
            "file": self.file,
            "unknown_columns": list(self.unknown),
            **self.assessment.document(),
        }


def check_file(
    *,
    path: Path,
    pack: Pack,
    received_at: datetime,
    name: str | None = None,
    dataset: str | None = None,
    institution: str | None = None,
    allowed: Sequence[str] | None = None,
) -> SelfTest:
    """Return what the platform would find in the file at `path`, called `name`; see `intake.examine`.

    Raises:
        TableError: the file cannot be read.
        FileRejectedError: its headings do not fit a data set, or it has no rows.
    """
    name = name or path.name
    with tempfile.TemporaryDirectory(prefix="kangshu-check-") as scratch:
        found = examine(
            path=path,
            name=name,
            pack=pack,
            received_at=received_at,
            scratch=Path(scratch),
            dataset=dataset,
            institution=institution,
            allowed=allowed,
        )
    assessment = assess_file(dataset=found.dataset, pack=pack, examined=found.examined)
    return SelfTest(file=name, unknown=found.unknown, assessment=assessment)
