"""Columns go into PostgreSQL and come back unchanged, whatever their values."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kangshu.storage.copying import copy_in, copy_out, encode
from kangshu.storage.database import Database

moments = st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31))
kinds = {
    "small": ("smallint", pa.int16(), st.integers(-(2**15), 2**15 - 1)),
    "middle": ("integer", pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    "large": ("bigint", pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "single": ("real", pa.float32(), st.floats(width=32, allow_nan=False)),
    "exact": ("double precision", pa.float64(), st.floats(allow_nan=False)),
    "told": ("boolean", pa.bool_(), st.booleans()),
    "day": ("date", pa.date32(), st.dates(min_value=date(1, 1, 1), max_value=date(9999, 12, 31))),
    "local": ("timestamp", pa.timestamp("us"), moments),
    "moment": ("timestamptz", pa.timestamp("us", tz="UTC"), moments.map(lambda m: m.replace(tzinfo=UTC))),
    "name": ("text", pa.string(), st.text(st.characters(exclude_characters="\0", codec="utf-8"))),
    "sealed": ("bytea", pa.binary(), st.binary(max_size=40)),
    "digest": ("bytea", pa.binary(16), st.binary(min_size=16, max_size=16)),
}
nullable = {name: st.one_of(st.none(), values) for name, (_, _, values) in kinds.items()}
rows_with_nulls = st.lists(st.fixed_dictionaries(nullable), max_size=6)
rows_without_nulls = st.lists(
    st.fixed_dictionaries({name: values for name, (_, _, values) in kinds.items()}), max_size=6
)


@pytest.mark.database
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.one_of(rows_with_nulls, rows_without_nulls), order=st.permutations(sorted(kinds)))
def test_what_is_copied_in_is_what_is_read(run, database_url, rows, order):
    async def scenario():
        async with await Database.open(database_url) as database, database.transaction() as connection:
            shape = ", ".join(f'"{name}" {kinds[name][0]}' for name in order)
            await connection.execute(f"CREATE TEMP TABLE copied (number bigint, {shape}) ON COMMIT DROP")
            columns = {name: pa.array([row[name] for row in rows], kinds[name][1]) for name in order}
            columns["number"] = pa.array(range(len(rows)), pa.int64())

            copied = await copy_in(connection, table="copied", columns=columns)

            found = await connection.fetch(f"SELECT {', '.join(sorted(kinds))} FROM copied ORDER BY number")
            assert copied == len(rows)
            assert [dict(row) for row in found] == [
                {name: row[name] for name in sorted(kinds)} for row in rows
            ]

    run(scenario())


@pytest.mark.database
def test_many_rows_in_slices_and_chunks_keep_their_order_and_nulls(database_run):
    size = 40_000
    numbers = np.arange(size + 5, dtype=np.int64)
    texts = pa.array([None if n % 3 == 0 else "康枢" * (n % 5) for n in range(size + 5)]).slice(5)
    chunked = pa.chunked_array([texts.slice(0, 17), texts.slice(17, 0), texts.slice(17)])

    async def scenario(database):
        async with database.transaction() as connection:
            await connection.execute("CREATE TEMP TABLE copied (n bigint, t text) ON COMMIT DROP")
            await copy_in(connection, table="copied", columns={"n": numbers[5:], "t": chunked})
            return await connection.fetch("SELECT n, t FROM copied ORDER BY n")

    found = database_run(scenario)

    assert [row["n"] for row in found] == list(range(5, size + 5))
    assert [row["t"] for row in found] == texts.to_pylist()


@pytest.mark.database
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=st.lists(st.tuples(kinds["large"][2], kinds["large"][2]), max_size=50))
def test_bigints_come_out_as_they_went_in(run, database_url, pairs):
    async def scenario():
        async with await Database.open(database_url) as database, database.transaction() as connection:
            await connection.execute("CREATE TEMP TABLE copied (a bigint, b bigint) ON COMMIT DROP")
            a = np.array([pair[0] for pair in pairs], dtype=np.int64)
            b = np.array([pair[1] for pair in pairs], dtype=np.int64)
            await copy_in(connection, table="copied", columns={"a": a, "b": b})
            out = await copy_out(connection, query="SELECT a, b FROM copied", columns=["a", "b"])
            assert sorted(zip(out["a"].tolist(), out["b"].tolist(), strict=True)) == sorted(pairs)

    run(scenario())


@pytest.mark.database
@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1::bigint, NULL::bigint",
        "SELECT 1::bigint",
        "SELECT 1::bigint, 'abcdefgh'::text, 3::bigint",
        "SELECT 1::bigint, 2::integer",
    ],
)
def test_a_query_of_another_shape_is_an_error_not_a_wrong_number(database_run, query):
    async def scenario(database):
        async with database.connection() as connection:
            await copy_out(connection, query=query, columns=["a", "b"])

    with pytest.raises(ValueError, match="bigints"):
        database_run(scenario)


def test_columns_of_different_length_are_refused():
    with pytest.raises(ValueError, match="length"):
        list(encode({"a": pa.array([1, 2]), "b": pa.array([1])}))


def test_a_type_without_a_binary_twin_is_refused():
    with pytest.raises(TypeError, match="no binary form"):
        list(encode({"a": pa.array([timedelta(days=1)])}))


def test_a_column_of_nothing_but_nulls_may_lack_a_type():
    header, rows, trailer = encode({"a": pa.nulls(2)})

    assert rows == bytes.fromhex("0001ffffffff" * 2)
    assert (len(header), trailer) == (19, b"\xff\xff")


@pytest.mark.parametrize("name", ["Person", "a b", 'x"; DROP', ""])
def test_names_that_need_quoting_are_refused(run, name):
    with pytest.raises(ValueError, match="lower-case"):
        run(copy_in(None, table=name, columns={}))  # pyright: ignore[reportArgumentType]
