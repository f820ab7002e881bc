"""Fixtures for the tests of the machine doors: the same small region that the console's tests use."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "console"))

from console_world import site_run

__all__ = ["site_run"]
