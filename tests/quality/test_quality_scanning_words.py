"""What the scan reads in a rule's SQL, and that Spark can be asked the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scanning_world import FUNCTIONS, ORDER, PACK, RULES, VISIT

from kangshu.declarations import Rule, duckdb_type
from kangshu.lake import SYSTEM_COLUMNS
from kangshu.lake.dialect import to_spark
from kangshu.quality.scanning import compile_scan, places_of_bits
from kangshu.quality.scanning.naming import owners, rename, words
from kangshu.quality.scanning.windows import has_window, partition_of, parts_of, window_functions

NAMES = {("here", "x"): "H", ("look", "low"): "L"}


@pytest.mark.parametrize(
    ("sql", "renamed"),
    [
        ("here.x > look.low", "H > L"),
        ('HERE . X > "look"."low"', "H > L"),
        ("x > 'here.x' or here.x = 'it''s here.x'", "x > 'here.x' or H = 'it''s here.x'"),
        ("E'here.x \\' here.x' = here.x", "E'here.x \\' here.x' = H"),
        (
            "$$ here.x $$ = $t$ here.x $t$ /* here.x */ -- here.x\n and here.x",
            "$$ here.x $$ = $t$ here.x $t$ /* here.x */ -- here.x\n and H",
        ),
        ("where_here.x + here.xy + a.here.x", "where_here.x + here.xy + a.here.x"),
        ("here.x(1)", "here.x(1)"),
        ("\"here.x\" = ''", "\"here.x\" = ''"),
    ],
)
def test_only_names_are_put_into_other_words(sql: str, renamed: str):
    assert rename(sql, NAMES) == renamed


@given(st.text(alphabet="abhere.x'\"$/*-\n ", max_size=40))
def test_no_text_makes_reading_names_fail(sql: str):
    assert rename(sql, {}) == sql
    assert "" not in owners(sql)
    assert all(word == word.casefold() for word in words(sql))


def test_a_window_is_seen_where_it_is_one():
    known = window_functions(FUNCTIONS)

    assert known == {"least_of", "is_least"}
    assert has_window("sum(x) OVER (ORDER BY y) > 1", functions=known)
    assert has_window("IS_LEAST(x, y)", functions=known)
    assert not has_window("x = 'sum(x) over (y)' and over_all > 1 -- over (", functions=known)


def test_the_rows_a_window_looks_at_are_told_by_its_partition():
    assert partition_of("lag(x) OVER (PARTITION BY a, b + 1 ORDER BY c) < x") == ("a", "(b + 1)")
    assert partition_of("lag(x) OVER (PARTITION BY a) < sum(x) OVER (PARTITION BY a)") == ("a",)
    assert partition_of("lag(x) OVER (PARTITION BY a) < sum(x) OVER (PARTITION BY b)") == ()
    assert partition_of("x < sum(x) OVER ()") == ()
    assert partition_of("is_least(x, y)") == ()
    assert partition_of("no sql ((") == ()


def test_a_predicate_with_windows_has_three_parts():
    parts = parts_of("x + 1 < 2 * sum(y * 2) FILTER (WHERE z > 0) OVER (PARTITION BY a ORDER BY b)")

    assert parts is not None
    assert set(parts.values.values()) == {"(y * 2)", "(z > 0)", "a", "b", "x"}
    assert {parts.values[name] for name in parts.columns} == {"a", "b", "x"}
    assert list(parts.windows) == ["_window0"]
    assert "_window0" in parts.verdict
    assert parts_of("x > 1") is None
    assert parts_of("list_transform([x], lambda n: n)[1] > sum(x) OVER ()") is None


@given(st.lists(st.sets(st.integers(0, 99)), max_size=20))
def test_bits_lead_back_to_rows(rows: list[set[int]]):
    words_of = [
        np.array([sum(1 << bit % 62 for bit in row if bit // 62 == word) for row in rows], np.int64)
        for word in (0, 1)
    ]

    found = {number: places.tolist() for number, places in places_of_bits(words_of, count=100)}

    assert found == {
        bit: [place for place, row in enumerate(rows) if bit in row] for bit in sorted(set().union(*rows))
    }


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_spark_can_be_asked_the_same(rule: Rule):
    tables = {
        f"lake_{one.name}": {
            **dict(SYSTEM_COLUMNS),
            **{field.name: duckdb_type(field) for field in one.fields},
        }
        for one in (VISIT, ORDER)
    }
    for source in ("lake_visit", "(SELECT * FROM lake_visit WHERE _file IN (1, 2))"):
        scan = compile_scan(
            pack=PACK, dataset=VISIT, rules=[rule], table=lambda name: f"lake_{name}", source=source
        )
        for sql in (scan.sql, scan.careful_sql):
            assert to_spark(sql, FUNCTIONS, tables=tables)
