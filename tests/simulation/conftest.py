"""One small simulated region for all tests of this folder. All people in it are synthetic."""

from __future__ import annotations

from datetime import date

import pytest
from simulated_region import SimulatedRegion, read_region

from kangshu.declarations import Pack, load_pack
from kangshu.simulation import simulate
from kangshu.simulation.world import World, build_world

MONTHS = 2
RESIDENTS = 20_000


@pytest.fixture(scope="session")
def pack() -> Pack:
    return load_pack()


@pytest.fixture(scope="session")
def world() -> World:
    """The people and stays of a year, without files."""
    return build_world(residents=RESIDENTS, months=12, seed=7, start=date(2026, 1, 1))


@pytest.fixture(scope="session")
def region(tmp_path_factory: pytest.TempPathFactory, pack: Pack) -> SimulatedRegion:
    """All institutions of a region of 20,000 over two months."""
    folder = tmp_path_factory.mktemp("region")
    summary = simulate(out=folder, residents=RESIDENTS, months=MONTHS, seed=20260101, pack=pack, processes=1)
    return read_region(folder, summary)
