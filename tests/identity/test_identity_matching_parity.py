"""One record online and a table in batch say the same of a pair, of simulated registrations: nobody real."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from kangshu.identity.linkage import Registration, default_model, prepare, prepare_one, score, score_pairs
from kangshu.simulation import simulate_registrations

_FACTS = tuple(Registration.__dataclass_fields__)


def test_the_online_score_of_every_pair_is_the_batch_score():
    made = simulate_registrations(records=1_500, seed=31)
    model = default_model()
    records = [
        Registration(**{name: row[name] for name in _FACTS})
        for row in made.table.select(list(_FACTS)).to_pylist()
    ]
    one_by_one = [prepare_one(record) for record in records]
    people = made.truth["person"].to_numpy()
    order = np.argsort(people, kind="stable")
    same = np.flatnonzero(people[order][1:] == people[order][:-1])
    strangers = np.arange(len(records) - 1)
    one = np.concatenate([order[same], strangers])
    other = np.concatenate([order[same + 1], strangers + 1])
    ids = made.table["record"]

    found = score_pairs(
        model,
        profiles=prepare(made.table),
        pairs=pa.table({"one": ids.take(pa.array(one)), "other": ids.take(pa.array(other))}),
    )

    accounts = [score(model, one_by_one[a], one_by_one[b]) for a, b in zip(one, other, strict=True)]
    weights = np.array([account.weight for account in accounts])
    assert len(same) > 300
    assert np.abs(found["weight"].to_numpy() - weights).max() < 1e-6
    assert found["verdict"].to_pylist() == [account.verdict.value for account in accounts]
