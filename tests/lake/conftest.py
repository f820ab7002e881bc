"""What the lake's tests ask for: a home, and a lake in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lake_samples import Lake

from kangshu.lake import Engine


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def lake(home: Path) -> Iterator[Lake]:
    with Engine(home, threads=2, memory_mib=256) as engine:
        yield Lake(home=home, engine=engine)
