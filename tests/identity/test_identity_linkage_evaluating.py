"""Linking any table and comparing with the truth: roles, learning, public sets. All persons are synthetic."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from kangshu.app.cli import app
from kangshu.identity.linkage import (
    TableUnusableError,
    TrainerMissingError,
    TrainingFailedError,
    dump_model,
    evaluate_column,
    evaluate_pairs,
    guess_roles,
    link_persons,
    link_table,
    load_model,
    prepare_table,
    read_table,
    train,
)

SAMPLES = Path(os.environ.get("KANGSHU_SAMPLES", Path(__file__).parents[3] / "shared/samples"))
SETS = SAMPLES / "person_linkage"
needs_sets = pytest.mark.skipif(not SETS.is_dir(), reason="the sample files are not here (KANGSHU_SAMPLES)")

GIVEN = ["amber", "bruno", "carla", "dmitri", "elena", "farid", "greta", "hugo", "irina", "jonas"]
FAMILY = ["abbot", "brandt", "castillo", "dvorak", "engel", "fontana", "garcia", "hansen", "ivanov", "jansen"]


def _people(count, seed=3):
    """Return a table of `count` made-up persons, each told twice, the second time with an error."""
    random = np.random.default_rng(seed)
    rows = []
    for person in range(count):
        given, family = GIVEN[random.integers(10)], FAMILY[random.integers(10)] + "xyz"[random.integers(3)]
        day = f"{random.integers(1930, 2020)}-{random.integers(1, 13):02}-{random.integers(1, 29):02}"
        phone = f"555{random.integers(10**6, 10**7)}"
        rows.append((given, family, day, phone, person))
        kind = random.integers(4)
        if kind == 0:
            rows.append((family, given, day, phone, person))
        elif kind == 1:
            rows.append((given[:-1], family, day, phone, person))
        elif kind == 2:
            rows.append((given, family, f"{day[:4]}-{day[8:]}-{day[5:7]}", phone, person))
        else:
            rows.append((given, family, day, None, person))
    columns = zip(*rows, strict=True)
    names = ("first_name", "surname", "dob", "phone", "who")
    told = {
        name: [None if v is None else str(v) for v in column]
        for name, column in zip(names, columns, strict=True)
    }
    return pa.table({"id": [str(number) for number in range(len(rows))]} | told)


def _roles(table, **more):
    return {one.column: one.role.value for one in guess_roles(table, **more)}


def test_roles_are_told_by_headings_and_else_by_values():
    table = pa.table(
        {
            "rec_id": ["1", "2", "3"],
            "GivenName": ["amber", "bruno", "carla"],
            "family name": ["abbot", "brandt", "engel"],
            "a": ["1980-01-02", "1990-11-12", "2001-03-04"],
            "b": ["a@x.org", "b@y.org", "c@z.org"],
            "postcode": ["1234", "2345", "3456"],
            "who": ["1", "2", "2"],
        }
    )

    assert _roles(table, truth=["who"]) == {
        "rec_id": "record",
        "GivenName": "given_name",
        "family name": "surname",
        "a": "birth_date",
        "b": "email",
        "postcode": "code",
        "who": "truth",
    }


def test_chinese_headings_and_numbers_are_recognised():
    table = pa.table(
        {
            "编号": ["1", "2", "3"],
            "姓名": ["王小明", "李四", "张三"],
            "身份证号": ["990101198001010019", "990101198001010027", "990101198001010035"],
            "出生日期": ["19800101", "19800102", "19800103"],
        }
    )

    assert _roles(table) == {
        "编号": "record",
        "姓名": "name",
        "身份证号": "resident_number",
        "出生日期": "birth_date",
    }
    assert prepare_table(table).chinese


def test_a_foreign_table_is_linked_without_any_truth():
    table = _people(300)

    persons = prepare_table(table, truth=["who"])
    found = evaluate_column(link_persons(persons).clusters, table["who"])

    assert found.pairs_true == 300
    assert found.precision >= 0.99
    assert found.recall >= 0.97


def test_the_truth_is_not_looked_at():
    table = _people(100)
    lie = table.set_column(table.column_names.index("who"), "who", pa.array(["1"] * table.num_rows))

    honest = link_persons(prepare_table(table, truth=["who"]))
    lied = link_persons(prepare_table(lie, truth=["who"]))

    assert honest.clusters.equals(lied.clusters)


def test_the_same_table_is_always_linked_alike():
    persons = prepare_table(_people(200), truth=["who"])

    assert dump_model(train(persons.model, profiles=persons.profiles, seed=5)) == dump_model(
        train(persons.model, profiles=persons.profiles, seed=5)
    )


def test_training_keeps_fixed_levels_and_says_every_weight():
    persons = prepare_table(_people(200), truth=["who"])

    trained = load_model(dump_model(train(persons.model, profiles=persons.profiles)))

    fixed = 0
    for before, after in zip(persons.model.comparisons, trained.comparisons, strict=True):
        for one, other in zip(before.levels, after.levels, strict=True):
            assert 0 < other.m <= 1
            assert 0 < other.u <= 1
            if one.fixed:
                fixed += 1
                assert (one.m, one.u) == (other.m, other.u)
    assert fixed
    assert trained.version != persons.model.version


def test_splink_gives_a_model_that_links_as_well():
    pytest.importorskip("splink")
    table = _people(300)
    persons = prepare_table(table, truth=["who"])

    trained = load_model(dump_model(train(persons.model, profiles=persons.profiles, trainer="splink")))

    found = evaluate_column(link_table(trained, profiles=persons.profiles).clusters, table["who"])
    assert found.precision >= 0.98
    assert found.recall >= 0.9


def test_what_cannot_be_learnt_or_compared_is_refused():
    persons = prepare_table(_people(20), truth=["who"])
    with pytest.raises(TrainingFailedError):
        train(persons.model, profiles=persons.profiles.slice(0, 1))
    with pytest.raises(TrainerMissingError):
        train(persons.model, profiles=persons.profiles, trainer="other")
    with pytest.raises(TableUnusableError):
        prepare_table(pa.table({"id": ["1", "2"], "empty": pa.array([None, None], pa.string())}))


def test_pairs_as_truth_count_each_pair_once_and_unknown_records_as_missed():
    clusters = pa.table({"record": [0, 1, 2, 3], "cluster": [0, 0, 2, 2]})
    records = pa.chunked_array([["a", "b", "c", "d"]])
    truth = pa.table({"x": ["a", "b", "a", "c", "a"], "y": ["b", "a", "a", "z", "c"]})

    found = evaluate_pairs(clusters, records, truth)

    assert (found.pairs_true, found.pairs_found, found.pairs_right) == (3, 2, 1)
    assert found.precision == 0.5
    assert found.recall == pytest.approx(1 / 3)


def test_rows_whose_person_is_not_told_are_persons_of_their_own():
    clusters = pa.table({"record": [0, 1, 2], "cluster": [0, 0, 2]})

    found = evaluate_column(clusters, pa.chunked_array([["-1", "-1", None]]))

    assert (found.pairs_true, found.pairs_found, found.pairs_right) == (0, 1, 0)
    assert found.clusters_mixed == 1


@pytest.mark.parametrize(
    "data", [b"", b"\x00\xff\x00\xff", b"PAR1nothing", b"a,b\n", b'"a', b"id\n\n\n"], ids=repr
)
def test_a_broken_file_is_refused_with_a_sentence(data, tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(data)

    result = CliRunner().invoke(app, ["persons", "evaluate", str(path), "--truth-column", "who", "--json"])

    assert result.exit_code == 1 or result.exit_code == 2
    assert "Traceback" not in result.output


def test_the_command_says_the_roles_and_the_figures(tmp_path):
    path = tmp_path / "people.csv"
    table = _people(60)
    rows = [",".join(table.column_names)] + [
        ",".join(value or "" for value in row.values()) for row in table.to_pylist()
    ]
    path.write_text("\n".join(rows), encoding="utf-8")

    result = CliRunner().invoke(app, ["persons", "evaluate", str(path), "--truth-column", "who", "--json"])

    facts = json.loads(result.stdout)
    assert facts["pairs_true"] == 60
    assert facts["f1"] > 0.9
    assert facts["roles"]["who"] == "truth"
    assert {"precision", "recall", "clusters", "seconds"} <= set(facts)


def test_a_file_in_gb_18030_is_read(tmp_path):
    path = tmp_path / "people.csv"
    path.write_bytes("编号,姓名\n1,王小明\n2,李四\n".encode("gb18030"))

    assert read_table(path)["姓名"].to_pylist() == ["王小明", "李四"]


@needs_sets
@pytest.mark.samples
@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("febrl_dataset1", 1.0),
        ("febrl_dataset3", 0.9992),
        ("epbrn_dup_train", 0.9969),
        ("splink_fake_1000", 0.90),
    ],
)
def test_public_sets_are_linked_at_least_as_well_as_by_splink(name, least):
    table = read_table(SETS / f"{name}.csv")

    found = evaluate_column(link_persons(prepare_table(table, truth=["true_id"])).clusters, table["true_id"])

    assert found.f1 >= least
