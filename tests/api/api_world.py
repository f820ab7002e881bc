"""The small synthetic region of the console's tests, for the tests of the machine doors."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "console"))

from console_world import (
    HOSPITAL,
    PASSWORD,
    SECOND_HOSPITAL,
    Site,
    csv_bytes,
    lab_rows,
    residents,
    send,
    site_run,
    visit_rows,
)

__all__ = [
    "HOSPITAL",
    "PASSWORD",
    "SECOND_HOSPITAL",
    "Site",
    "csv_bytes",
    "lab_rows",
    "residents",
    "send",
    "site_run",
    "visit_rows",
]
