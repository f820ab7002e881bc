"""Linking a whole table of registrations: how long it takes, and how right it is, against the truth.

Normalising is told apart from linking, and linking with the stored model from training one first. Accuracy
is counted over all pairs after clustering and guards, on a seed that no weight or threshold was set with.
"""

# pyarrow makes its compute functions at import, where pyright cannot see them.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kangshu import identity
from kangshu.app.benchmarks.model import Measurement, Stage
from kangshu.app.benchmarks.surroundings import Watch, elsewhere, fresh_folder, machine
from kangshu.identity import linkage
from kangshu.simulation import simulate_registrations

SEED = 20_266
"""Weights and thresholds were set with the seeds 1, 2, 3, 4 and 20265."""

_PERSONS_MOST = 1 << 40
_DRAWN = 5_000  # arbitrary: what several humans look at in a quarter
_DUCKDB_MOST = "640MiB"  # of two gigabytes in all; profiles and pairs lie outside DuckDB


async def link_batch(size: int, stage: Stage) -> Measurement:
    """Simulate `size` registrations, link them with the stored model, then train one and link with that."""
    with fresh_folder() as folder:
        stage(f"{size:,} registrations")
        await elsewhere(write_registrations, folder, records=size, seed=SEED)
        table = await asyncio.to_thread(pq.read_table, folder / "registrations.parquet")
        model = linkage.default_model()
        times: dict[str, float] = {}
        with Watch() as watch:
            stage("normalising")
            profiles = await _timed(times, "normalise", linkage.prepare, table)
            del table  # whoever links needs the profiles alone
            pa.default_memory_pool().release_unused()
            stage("linking with the stored model")
            found = await _timed(
                times, "link", linkage.link_table, model, profiles=profiles, memory_limit=_DUCKDB_MOST
            )
        with Watch() as training:
            stage("training")
            trained = await _timed(
                times, "train", linkage.train, model, profiles=profiles, memory_limit=_DUCKDB_MOST
            )
            stage("linking with the trained model")
            again = await _timed(
                times, "again", linkage.link_table, trained, profiles=profiles, memory_limit=_DUCKDB_MOST
            )
        truth = pq.read_table(folder / "truth.parquet")
    assert watch.use is not None, "the watch has ended"
    assert training.use is not None, "the watch has ended"
    return Measurement(
        value=round(times["link"], 2),
        unit="seconds to link with the stored model, records normalised",
        peak_mib=max(watch.use.peak_mib, training.use.peak_mib),
        conditions={
            "records": size,
            "peak_mib_normalise_and_link": watch.use.peak_mib,
            "peak_mib_train_and_link": training.use.peak_mib,
            "normalise_seconds": round(times["normalise"], 2),
            "normalised_records_per_second": round(size / times["normalise"]),
            "normalise_and_link_seconds": round(times["normalise"] + times["link"], 2),
            "train_seconds": round(times["train"], 2),
            "train_and_link_seconds": round(times["train"] + times["again"], 2),
            "compared_pairs": found.compared,
            "with_stored_model": accuracy(found, truth),
            "with_trained_model": accuracy(again, truth),
            "false_links": false_links(found, truth, seed=SEED),
            "seed": SEED,
            **machine(),
        },
    )


async def _timed(times: dict[str, float], name: str, work: Any, *parts: Any, **named: Any) -> Any:
    started = time.perf_counter()
    result = await asyncio.to_thread(work, *parts, **named)
    times[name] = time.perf_counter() - started
    return result


def write_registrations(folder: Path, *, records: int, seed: int) -> None:
    """Write the registrations and their truth; they are made in a process whose memory is not counted."""
    made = simulate_registrations(records=records, seed=seed)
    pq.write_table(made.table, folder / "registrations.parquet")
    pq.write_table(made.truth, folder / "truth.parquet")


def accuracy(found: linkage.Linkage, truth: pa.Table) -> dict[str, Any]:
    """Return how right the clusters are; both tables tell the records in the same order.

    `false_merge_clusters_per_1000` counts clusters that hold more than one person among all clusters;
    `review_share` is pairs for a human among records.
    """
    cluster = found.clusters["cluster"].to_numpy().astype(np.int64)
    person = truth["person"].to_numpy().astype(np.int64)
    together = cluster * _PERSONS_MOST + person
    right, made, true = _pairs(together), _pairs(cluster), _pairs(person)
    clusters = len(np.unique(cluster))
    mixed = int((np.unique(np.unique(together) // _PERSONS_MOST, return_counts=True)[1] > 1).sum())
    return {
        "precision": round(right / made, 6) if made else 1.0,
        "recall": round(right / true, 6) if true else 1.0,
        "false_pairs": made - right,
        "missed_pairs": true - right,
        "false_merge_clusters": mixed,
        "false_merge_clusters_per_1000": round(mixed / max(clusters, 1) * 1000, 4),
        "review_pairs": found.reviews.num_rows,
        "review_share": round(found.reviews.num_rows / max(len(cluster), 1), 6),
    }


def false_links(found: linkage.Linkage, truth: pa.Table, *, seed: int) -> dict[str, Any]:
    """Return the share of wrong ones among automatic links, estimated from a sample, with its interval.

    A centre does the same with a human's eye in place of the truth (`identity.sample_links`).
    """
    clusters, people = found.clusters.sort_by("record"), truth.sort_by("record")
    record, cluster = clusters["record"].to_numpy(), clusters["cluster"].to_numpy()
    person = people["person"].to_numpy()
    linked = found.edges.filter(pc.equal(found.edges["verdict"], "link"))
    ends = [np.searchsorted(record, linked[end].to_numpy()) for end in ("one", "other")]
    pairs = np.stack(ends, axis=1)
    pairs = pairs[cluster[pairs[:, 0]] == cluster[pairs[:, 1]]]
    drawn = np.random.default_rng(seed).choice(len(pairs), size=min(_DRAWN, len(pairs)), replace=False)
    one, other = pairs[drawn].T
    wrong = int((person[one] != person[other]).sum())
    told = identity.estimate_false_links(
        links=len(pairs), drawn=len(drawn), right=len(drawn) - wrong, wrong=wrong, unsure=0
    )
    return {
        "links": told.links,
        "drawn": told.drawn,
        "wrong": told.wrong,
        "rate": told.rate,
        "low": round(told.low, 6),
        "high": round(told.high, 6),
        "level": told.level,
        "method": told.method,
    }


def _pairs(labels: npt.NDArray[np.int64]) -> int:
    counts = np.unique(labels, return_counts=True)[1].astype(np.int64)
    return int((counts * (counts - 1) // 2).sum())
