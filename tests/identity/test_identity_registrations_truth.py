"""Linking simulated registrations full of errors comes near the truth; batch and single pairs agree.

All people are synthetic; the seed is not among those that weights and thresholds were set with.
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from kangshu.app.benchmarks.linkage import accuracy
from kangshu.app.cli import app
from kangshu.identity import linkage
from kangshu.simulation import Registrations, simulate_registrations

RECORDS = 20_000


@pytest.fixture(scope="module")
def made() -> Registrations:
    return simulate_registrations(records=RECORDS, seed=97)


@pytest.fixture(scope="module")
def profiles(made: Registrations) -> pa.Table:
    return linkage.prepare(made.table)


@pytest.fixture(scope="module")
def found(profiles: pa.Table) -> linkage.Linkage:
    return linkage.link_table(linkage.default_model(), profiles=profiles)


def test_linking_is_nearly_always_right(found: linkage.Linkage, made: Registrations):
    told = accuracy(found, made.truth)

    assert told["precision"] >= 0.9995
    assert told["recall"] >= 0.98
    assert told["review_share"] <= 0.006


def test_nobody_whose_name_is_unknown_is_linked(found: linkage.Linkage, made: Registrations):
    unknown = {
        record
        for record, is_unknown in zip(
            made.truth["record"].to_pylist(), made.truth["unknown"].to_pylist(), strict=True
        )
        if is_unknown
    }
    alone = {record for record, cluster in _rows(found.clusters) if record == cluster}
    sizes: dict[int, int] = {}
    for _, cluster in _rows(found.clusters):
        sizes[cluster] = sizes.get(cluster, 0) + 1

    assert unknown
    assert all(record in alone and sizes[record] == 1 for record in unknown)


def test_a_pair_weighs_the_same_alone_and_in_the_batch(found: linkage.Linkage, profiles: pa.Table):
    model = linkage.default_model()
    rows = {row["record"]: row for row in profiles.to_pylist()}

    for edge in found.edges.slice(0, 2_000).to_pylist():
        account = linkage.score(model, rows[edge["one"]], rows[edge["other"]])
        assert account.weight == pytest.approx(edge["weight"], abs=1e-6)
        assert account.verdict.value == edge["verdict"]


def test_accuracy_counts_pairs_and_mixed_clusters():
    found = linkage.Linkage(
        edges=pa.table({}),
        clusters=pa.table({"record": [0, 1, 2, 3, 4], "cluster": [0, 0, 0, 3, 4]}),
        reviews=pa.table({"one": [3], "other": [4], "weight": [5.0]}),
        compared=4,
    )
    truth = pa.table({"record": [0, 1, 2, 3, 4], "person": [7, 7, 8, 9, 9]})

    told = accuracy(found, truth)

    assert told["precision"] == pytest.approx(1 / 3, abs=1e-6)
    assert told["recall"] == pytest.approx(1 / 2, abs=1e-6)
    assert (told["false_pairs"], told["missed_pairs"], told["false_merge_clusters"]) == (2, 1, 1)
    assert told["review_share"] == pytest.approx(0.2)


def test_the_command_writes_registrations_and_their_truth(tmp_path: Path):
    told = CliRunner().invoke(
        app,
        ["persons", "simulate", "--out", str(tmp_path / "x"), "--records", "300", "--seed", "4", "--json"],
    )

    assert told.exit_code == 0
    assert json.loads(told.stdout)["records"] == 300
    assert pq.read_table(tmp_path / "x" / "registrations.parquet").num_rows == 300
    assert pq.read_table(tmp_path / "x" / "truth.parquet").num_rows == 300


def test_the_command_does_not_write_into_a_folder_that_holds_something(tmp_path: Path):
    (tmp_path / "kept").write_text("kept")

    told = CliRunner().invoke(app, ["persons", "simulate", "--out", str(tmp_path), "--json"])

    assert told.exit_code == 2


def _rows(table: pa.Table) -> list[tuple[int, int]]:
    return list(zip(table["record"].to_pylist(), table["cluster"].to_pylist(), strict=True))
