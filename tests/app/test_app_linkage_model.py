"""A centre may train a linkage model and name it in the settings; all registrations are simulated."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from kangshu.app.cli import app
from kangshu.app.errors import SettingsError
from kangshu.app.platform import linkage_of
from kangshu.app.settings import Settings
from kangshu.identity import default_model
from kangshu.identity.linkage import dump_model, load_model, versioned
from kangshu.simulation import simulate_registrations


@pytest.fixture(scope="module")
def registrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("registrations") / "registrations.parquet"
    pq.write_table(simulate_registrations(records=2_000, seed=31).table, path)
    return path


def test_a_trained_model_weighs_from_then_on(tmp_path: Path, registrations: Path):
    to = tmp_path / "model.json"
    told = CliRunner().invoke(app, ["persons", "train", str(registrations), "--out", str(to), "--json"])
    assert told.exit_code == 0, told.output

    model = linkage_of(Settings(linkage_model=str(to)))

    assert model.version == json.loads(told.stdout)["version"] == load_model(to.read_bytes()).version
    assert model.version != default_model().version


def test_a_file_that_is_no_model_is_refused_by_its_setting(tmp_path: Path):
    (tmp_path / "model.json").write_text("{}")
    for name in ("model.json", "missing.json"):
        with pytest.raises(SettingsError) as refused:
            linkage_of(Settings(linkage_model=str(tmp_path / name)))
        assert refused.value.place == "linkage_model"


def test_a_model_with_other_keys_cannot_ask_the_index(tmp_path: Path):

    model = default_model()
    path = tmp_path / "model.json"
    path.write_bytes(dump_model(versioned(replace(model, keys=model.keys[:-1]))))
    with pytest.raises(SettingsError):
        linkage_of(Settings(linkage_model=str(path)))


def test_a_table_is_linked_and_told_record_by_record(tmp_path: Path, registrations: Path):
    to, reviews = tmp_path / "persons.csv", tmp_path / "reviews.csv"
    told = CliRunner().invoke(
        app, ["persons", "link", str(registrations), "--out", str(to), "--reviews", str(reviews), "--json"]
    )

    assert told.exit_code == 0, told.output
    facts = json.loads(told.stdout)
    lines = to.read_text().splitlines()
    assert (facts["records"], facts["model"], len(lines)) == (2_000, "default", 2_001)
    assert len({line.split(",")[1] for line in lines[1:]}) == facts["persons"]
    assert len(reviews.read_text().splitlines()) == facts["reviews"] + 1
