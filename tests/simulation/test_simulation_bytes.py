"""The same seed gives the same bytes, whoever does the work; another seed gives another region."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from kangshu.declarations import Pack
from kangshu.simulation import SimulationRefusedError, simulate


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _made(folder: Path, pack: Pack, *, seed: int = 5, processes: int = 1) -> dict[str, str]:
    simulate(out=folder, residents=3_000, months=2, seed=seed, pack=pack, processes=processes)
    return _digests(folder)


def test_the_same_seed_gives_the_same_bytes_with_one_process_and_with_two(tmp_path: Path, pack: Pack) -> None:
    alone = _made(tmp_path / "alone", pack)
    shared = _made(tmp_path / "shared", pack, processes=2)

    assert alone == shared


def test_another_seed_gives_other_people_in_the_same_places(tmp_path: Path, pack: Pack) -> None:
    first = _made(tmp_path / "first", pack)
    second = _made(tmp_path / "second", pack, seed=6)

    assert first["truth/persons.csv"] != second["truth/persons.csv"]
    folders = [
        {name.split("/")[1] for name in made if name.startswith("submissions")} for made in (first, second)
    ]
    assert folders[0] == folders[1]


def test_a_region_of_nobody_is_refused(tmp_path: Path, pack: Pack) -> None:
    with pytest.raises(SimulationRefusedError):
        simulate(out=tmp_path / "none", residents=10, months=1, pack=pack)
    with pytest.raises(SimulationRefusedError):
        simulate(out=tmp_path / "none", residents=1_000, months=0, pack=pack)


def test_progress_rises_to_one(tmp_path: Path, pack: Pack) -> None:
    heard: list[float] = []

    simulate(out=tmp_path / "region", residents=500, months=2, pack=pack, progress=heard.append)

    assert heard == sorted(heard)
    assert heard[-1] == 1.0
