"""The linkage engine: one score in SQL and Python, blocks, clusters, models as texts. Persons are made up."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kangshu.identity.linkage import (
    BlockingKey,
    Cap,
    Comparison,
    Guard,
    Level,
    LinkageModel,
    ModelUnreadableError,
    Verdict,
    dump_model,
    key_texts,
    link_table,
    load_model,
    read_condition,
    score,
    score_pairs,
    versioned,
    write_condition,
)
from kangshu.identity.linkage.blocking import LARGE_BLOCK, block_pairs
from kangshu.identity.linkage.clustering import components
from kangshu.identity.linkage.conditions import Alike, All, Any, Edits, Either, Equal, Known, Near, Not

COLUMNS = ("name", "turned", "birth", "phone", "number")


def _level(name, condition, m, u, **more):
    return Level(name=name, condition=condition, m=m, u=u, **more)


def _compared(column, *levels):
    known = Known(column=column)
    return Comparison(name=column, known=known, levels=levels, otherwise=_level("else", known, 0.05, 0.95))


def _model():
    return versioned(
        LinkageModel(
            name="test",
            version="",
            comparisons=(
                _compared(
                    "name",
                    _level("exact", Equal(column="name"), 0.8, 0.01, term="name"),
                    _level("turned", Equal(column="name", across="turned"), 0.05, 0.001),
                    _level("edit", Edits(column="name", most=1), 0.07, 0.01),
                    _level("alike", Alike(column="name", least=0.85), 0.03, 0.02),
                ),
                _compared(
                    "birth",
                    _level("exact", Equal(column="birth"), 0.9, 0.0001),
                    _level("near", Near(column="birth", most=31), 0.05, 0.01),
                ),
                _compared("phone", _level("exact", Equal(column="phone"), 0.7, 0.0005)),
                _compared("number", _level("exact", Equal(column="number"), 0.95, 0.00001)),
            ),
            keys=(
                BlockingKey(name="name", columns=("name", "birth")),
                BlockingKey(name="phone", columns=("phone",)),
                BlockingKey(name="number", columns=("number",)),
            ),
            prior=-14.0,
            link_at=4.0,
            review_at=-1.0,
            margin=2.0,
            caps=(Cap(comparisons=("name", "phone"), most=12.0),),
            guards=(
                Guard(
                    name="two numbers",
                    condition=All(of=(Known(column="number"), Not(of=Equal(column="number")))),
                    verdict=Verdict.DIFFERENT,
                ),
                Guard(
                    name="first of the epoch",
                    condition=Any(
                        of=(Either(column="birth", value=0), Either(column="name", value="no'body"))
                    ),
                    verdict=Verdict.POSSIBLE,
                ),
            ),
            terms={"name": {"wang": 0.07, "li": 0.05}},
            rare={"name": 0.0001},
        )
    )


MODEL = _model()
texts = st.one_of(st.none(), st.sampled_from(["wang", "wnag", "wan", "li", "lia", "no'body", "ouyang"]))
profiles = st.fixed_dictionaries(
    {
        "name": texts,
        "turned": texts,
        "birth": st.one_of(st.none(), st.sampled_from([0, 20, 31, 10_000])),
        "phone": st.one_of(st.none(), st.sampled_from(["111", "222"])),
        "number": st.one_of(st.none(), st.sampled_from(["9901", "9902"])),
    }
)


def _table(rows):
    types = {name: pa.int32() if name == "birth" else pa.string() for name in COLUMNS}
    return pa.table(
        {"record": pa.array(range(len(rows)), pa.int64())}
        | {name: pa.array([row.get(name) for row in rows], types[name]) for name in COLUMNS}
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(profiles, min_size=2, max_size=8))
def test_a_pair_weighs_the_same_in_a_table_and_alone(rows):
    pairs = [(one, other) for one in range(len(rows)) for other in range(len(rows)) if one != other]
    asked = pa.table({"one": [one for one, _ in pairs], "other": [other for _, other in pairs]})

    scored = score_pairs(MODEL, profiles=_table(rows), pairs=asked).to_pylist()

    for found in scored:
        account = score(MODEL, rows[found["one"]], rows[found["other"]])
        assert found["weight"] == pytest.approx(account.weight, abs=1e-9)
        assert found["verdict"] == account.verdict.value


@given(profiles, profiles)
def test_the_parts_and_the_prior_add_up_to_the_weight_and_order_does_not_matter(one, other):
    account = score(MODEL, one, other)

    assert account.prior + sum(part.weight for part in account.parts) == pytest.approx(
        account.weight, abs=1e-9
    )
    assert score(MODEL, other, one).weight == pytest.approx(account.weight, abs=1e-9)
    assert score(MODEL, other, one).verdict == account.verdict


@settings(max_examples=40, deadline=None)
@given(st.lists(profiles, min_size=2, max_size=12))
def test_pairs_are_compared_exactly_where_key_texts_meet(rows):
    keys = [set(key_texts(MODEL, row)) for row in rows]
    expected = sum(bool(keys[one] & keys[other]) for one in range(len(rows)) for other in range(one))

    assert link_table(MODEL, profiles=_table(rows)).compared == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(profiles, min_size=1, max_size=14))
def test_no_cluster_holds_two_who_cannot_be_one_and_no_review_lies_within_one(rows):
    linked = link_table(MODEL, profiles=_table(rows))

    cluster = dict(
        zip(linked.clusters["record"].to_pylist(), linked.clusters["cluster"].to_pylist(), strict=True)
    )
    numbers: dict[int, set[str]] = {}
    for record, row in enumerate(rows):
        if row["number"] is not None:
            numbers.setdefault(cluster[record], set()).add(row["number"])
    assert all(len(told) == 1 for told in numbers.values())
    for pair in linked.reviews.to_pylist():
        assert cluster[pair["one"]] != cluster[pair["other"]]


def test_a_rare_name_that_agrees_says_more_than_a_common_one():
    uncapped = replace(MODEL, caps=())
    common = score(uncapped, {"name": "wang"}, {"name": "wang"}).weight
    rare = score(uncapped, {"name": "ouyang"}, {"name": "ouyang"}).weight

    assert rare - common == pytest.approx(np.log2(0.07 / 0.0001))


def test_a_cap_bounds_what_the_family_shares():
    account = score(MODEL, {"name": "ouyang", "phone": "111"}, {"name": "ouyang", "phone": "111"})

    said = [part.weight for part in account.parts if part.comparison in ("name", "phone")]
    assert sum(said) == pytest.approx(12.0)
    assert all(part > 0 for part in said)


def test_a_record_between_two_who_cannot_be_one_joins_neither_when_both_are_as_near():
    rows = [
        {"name": "ouyang", "birth": 100, "number": "9901"},
        {"name": "ouyang", "birth": 100, "number": "9902"},
        {"name": "ouyang", "birth": 100},
    ]

    linked = link_table(MODEL, profiles=_table(rows))

    assert len(set(linked.clusters["cluster"].to_pylist())) == 3
    assert {(pair["one"], pair["other"]) for pair in linked.reviews.to_pylist()} == {(0, 2), (1, 2)}


def test_the_order_of_the_table_does_not_change_who_is_who():
    rows = [
        {"name": name, "birth": birth, "phone": phone}
        for name, birth, phone in [
            ("wang", 10, "111"),
            ("wnag", 10, "111"),
            ("ouyang", 99, None),
            ("ouyang", 99, "222"),
            ("li", 50, "222"),
        ]
    ]

    def groups(order):
        linked = link_table(MODEL, profiles=_table([rows[place] for place in order]))
        found: dict[int, set[int]] = {}
        for place, cluster in zip(order, linked.clusters["cluster"].to_pylist(), strict=True):
            found.setdefault(cluster, set()).add(place)
        return {frozenset(group) for group in found.values()}

    assert groups([0, 1, 2, 3, 4]) == groups([4, 2, 0, 3, 1])


def test_a_table_without_a_row_or_without_the_columns_has_no_links():
    assert link_table(MODEL, profiles=_table([])).clusters.num_rows == 0

    bare = link_table(MODEL, profiles=pa.table({"record": [1, 2], "phone": ["111", "111"]}))
    assert bare.compared == 1
    assert len(set(bare.clusters["cluster"].to_pylist())) == 2


def test_a_block_of_thousands_does_not_bring_millions_of_pairs():
    rows = 20 * LARGE_BLOCK
    key, likeness = np.zeros(rows, np.uint64), np.arange(rows, dtype=np.uint64) // 2

    pairs = block_pairs([key], [np.ones(rows, bool)], likeness=likeness)

    assert len(pairs) < 30 * rows
    found = {(int(pair) // rows, int(pair) % rows) for pair in pairs.tolist()}
    assert all((twin, twin + 1) in found for twin in range(0, rows, 2))


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30))
def test_components_are_those_of_walking_along_the_pairs(pairs):
    one, other = np.array([p[0] for p in pairs], int), np.array([p[1] for p in pairs], int)

    label = components(one, other, 20)

    for start in range(20):
        reached, new = {start}, {start}
        while new:
            new = {b for a, b in pairs if a in new} | {a for a, b in pairs if b in new}
            new -= reached
            reached |= new
        assert label[start] == min(reached)


def test_a_model_as_a_text_comes_back_the_same():
    assert load_model(dump_model(MODEL)) == MODEL
    assert dump_model(load_model(dump_model(MODEL))) == dump_model(MODEL)


def test_two_models_that_differ_in_one_weight_have_two_versions():
    assert versioned(replace(MODEL, prior=-13.0)).version != MODEL.version


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b"-14.0", b"-13.0"),
        lambda data: data[:-5],
        lambda data: b"[]",
        lambda data: b"",
        lambda data: b'{"version": "x"}',
        lambda data: b"[" * 100_000,
    ],
)
def test_a_changed_or_broken_model_is_refused(change):
    with pytest.raises(ModelUnreadableError):
        load_model(change(dump_model(MODEL)))


@pytest.mark.parametrize(
    "senseless",
    [
        replace(MODEL, review_at=9.0),
        replace(MODEL, caps=(Cap(comparisons=("nothing",), most=1.0),)),
        replace(MODEL, comparisons=MODEL.comparisons * 2),
        replace(MODEL, rare={}),
        replace(MODEL, terms={"name": {"wang": 0.0}}, rare={"name": 0.1}),
    ],
)
def test_a_model_that_makes_no_sense_is_refused(senseless):
    with pytest.raises(ModelUnreadableError):
        load_model(dump_model(senseless))


@pytest.mark.parametrize(
    "told",
    [
        {"is": "equal", "column": "name; DROP TABLE profile"},
        {"is": "edits", "column": "name", "most": "1 OR true"},
        {"is": "nothing"},
        {"is": "equal", "row": "name"},
        {"is": "all", "of": ["name"]},
    ],
)
def test_a_condition_that_would_not_stand_in_sql_is_refused(told):
    with pytest.raises(ModelUnreadableError):
        read_condition(told)


def test_conditions_come_back_from_their_declaration():
    for comparison in MODEL.comparisons:
        for level in comparison.levels:
            assert read_condition(write_condition(level.condition)) == level.condition
    for guard in MODEL.guards:
        assert read_condition(write_condition(guard.condition)) == guard.condition
