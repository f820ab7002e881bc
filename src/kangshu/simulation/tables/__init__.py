"""Tables of the simulated region: names, places, illnesses, drugs, tests; read by `kangshu.simulation`."""

from __future__ import annotations

import csv
import io
import tomllib
from functools import cache
from importlib import resources
from typing import Any


@cache
def rows(name: str) -> tuple[dict[str, str], ...]:
    """Return the rows of the table `name`.csv."""
    content = resources.files(__name__).joinpath(f"{name}.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(io.StringIO(content)))


@cache
def values(name: str) -> dict[str, Any]:
    """Return the content of `name`.toml."""
    return tomllib.loads(resources.files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8"))
