"""DuckDB's aggregates and window functions in Spark's SQL, as far as both give equal results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from kangshu.lake.dialect.functions import as_double, refuse, whole
from kangshu.lake.dialect.kinds import (
    BIGINT,
    BOOLEAN,
    DOUBLE,
    INTEGER,
    VARCHAR,
    Term,
    constant,
    decimal_of,
    is_integer,
    list_of,
)


@dataclass(frozen=True, kw_only=True)
class Call:
    """An aggregate or window function as it is called."""

    arguments: Sequence[Term]
    star: bool = False
    distinct: bool = False
    where: str | None = None
    """The condition of FILTER."""
    over: str | None = None
    """The whole of OVER (...)."""
    order: Sequence[tuple[Term, bool]] = ()
    """ORDER BY within the call: values, and whether descending."""
    ignore_nulls: bool = False

    def make(self, name: str, *arguments: str) -> str:
        """Return the call of Spark's function `name`."""
        given = list(arguments)
        # Spark has no FILTER beside OVER.
        if self.where and self.over:
            given[0] = f"CASE WHEN {self.where} THEN {given[0]} END"
        unlike = "DISTINCT " if self.distinct else ""
        text = f"{name}({unlike}{', '.join(given)})"
        if self.where and not self.over:
            text += f" FILTER (WHERE {self.where})"
        return f"{text} OVER {self.over}" if self.over else text


Aggregate: TypeAlias = Callable[[Call], Term]


def _one(call: Call) -> Term:
    if len(call.arguments) != 1 or call.star or call.order:
        raise TypeError("arguments")
    return call.arguments[0]


def _count(call: Call) -> Term:
    if call.star or not call.arguments:
        return Term(call.make("count", "1"), BIGINT)
    value = _one(call)
    if call.distinct and call.over:
        given = f"CASE WHEN {call.where} THEN {value.sql} END" if call.where else value.sql
        return Term(f"CAST(array_size(collect_set({given}) OVER {call.over}) AS BIGINT)", BIGINT)
    return Term(call.make("count", value.sql), BIGINT)


def _count_if(call: Call) -> Term:
    return Term(call.make("count", f"CASE WHEN {_one(call).sql} THEN 1 END"), BIGINT)


def _sum(call: Call) -> Term:
    value = _one(call)
    if value.kind == BOOLEAN:
        return Term(call.make("sum", f"CAST({value.sql} AS BIGINT)"), "HUGEINT")
    if is_integer(value.kind):
        return Term(call.make("sum", value.sql), "HUGEINT")
    if parts := decimal_of(value.kind):
        return Term(call.make("sum", value.sql), f"DECIMAL(38,{parts[1]})")
    if value.kind != DOUBLE:
        raise refuse(f"sum({value.kind or '?'})")
    return Term(call.make("sum", value.sql), DOUBLE)


def _avg(call: Call) -> Term:
    value = _one(call)
    if parts := decimal_of(value.kind):
        # Spark's own average of decimals is a decimal of few digits; DuckDB divides whole numbers.
        whole_sum = f"CAST({call.make('sum', value.sql)} * CAST(1e{parts[1]} AS DECIMAL(38,0)) AS DOUBLE)"
        count = call.make("count", value.sql)
        return Term(f"({whole_sum} / nullif({count} * 1e{parts[1]}, 0))", DOUBLE)
    if not (is_integer(value.kind) or value.kind == DOUBLE):
        raise refuse(f"avg({value.kind or '?'})")
    return Term(call.make("avg", value.sql), DOUBLE)


def _same(name: str) -> Aggregate:
    def build(call: Call) -> Term:
        value = _one(call)
        return Term(call.make(name, value.sql), value.kind)

    return build


def _truth(name: str) -> Aggregate:
    return lambda call: Term(call.make(name, _one(call).sql), BOOLEAN)


def _about_how_many(call: Call) -> Term:
    """Return about how many values differ: each engine's own estimate, within some percent."""
    return Term(call.make("approx_count_distinct", _one(call).sql, "0.02"), BIGINT)


def _spread(name: str) -> Aggregate:
    return lambda call: Term(call.make(name, as_double(_one(call))), DOUBLE)


def _quantile(call: Call) -> Term:
    if len(call.arguments) != 2 or call.distinct:
        raise TypeError("arguments")
    value, share = call.arguments
    return _percentile(call, value, share.sql)


def _median(call: Call) -> Term:
    return _percentile(call, _one(call), "0.5")


def _percentile(call: Call, value: Term, share: str) -> Term:
    if is_integer(value.kind) or value.kind == DOUBLE:
        kind = list_of(DOUBLE) if share.startswith("array(") else DOUBLE
        return Term(call.make("percentile", as_double(value), share), kind)
    parts = decimal_of(value.kind)
    if not parts or share.startswith("array("):
        raise refuse(f"quantile_cont({value.kind or '?'})")
    # DuckDB looks between whole numbers of the last digit and cuts off what is beyond it.
    scaled = call.make("percentile", f"CAST({value.sql} * 1e{parts[1]} AS DOUBLE)", share)
    cut = f"CAST({scaled} AS BIGINT) / CAST(1e{parts[1]} AS DECIMAL(38,0))"
    return Term(f"CAST({cut} AS DECIMAL({parts[0]},{parts[1]}))", value.kind)


def _quantile_disc(call: Call) -> Term:
    if len(call.arguments) != 2 or call.over or call.distinct:
        raise TypeError("arguments")
    value, share = call.arguments
    filtered = f" FILTER (WHERE {call.where})" if call.where else ""
    within = f"percentile_disc({share.sql}) WITHIN GROUP (ORDER BY {value.sql}){filtered}"
    if not (is_integer(value.kind) or value.kind == DOUBLE):
        raise refuse(f"quantile_disc({value.kind or '?'})")
    return Term(f"CAST({within} AS {'DOUBLE' if value.kind == DOUBLE else 'BIGINT'})", value.kind)


def _extreme(name: str) -> Aggregate:
    """Return a builder for the value where another is greatest or least; rows lacking either are left out."""

    def build(call: Call) -> Term:
        if len(call.arguments) != 2 or call.over or call.order:
            raise TypeError("arguments")
        value, by = call.arguments
        both = f"{value.sql} IS NOT NULL AND {by.sql} IS NOT NULL"
        where = f"{call.where} AND {both}" if call.where else both
        return Term(f"{name}({value.sql}, {by.sql}) FILTER (WHERE {where})", value.kind)

    return build


def _list(call: Call) -> Term:
    """Return all values, those that are NULL too; NULL where there is no row."""
    if len(call.arguments) != 1 or (call.distinct and call.order):
        raise TypeError("arguments")
    value = call.arguments[0]
    if not call.order:
        collect = "collect_set" if call.distinct else "collect_list"
        inner = replace(call, distinct=False).make(collect, f"named_struct('v', {value.sql})")
        every = f"transform({inner}, _n -> _n.v)"
    elif len(call.order) == 1 and not call.order[0][1] and not call.over:
        # What is collected is sorted by key; a key that is NULL comes last, as in DuckDB.
        key = call.order[0][0].sql
        pair = f"named_struct('n', {key} IS NULL, 'k', {key}, 'v', {value.sql})"
        every = f"transform(array_sort({call.make('collect_list', pair)}), _n -> _n.v)"
    else:
        raise refuse("list(x ORDER BY ...)")
    return Term(f"IF(array_size({every}) = 0, NULL, {every})", list_of(value.kind))


def _string_agg(call: Call) -> Term:
    """Return texts with a separator between, in the order of their own or of one key."""
    separator = constant(call.arguments[1]) if len(call.arguments) == 2 else ","
    value = call.arguments[0]
    if separator is None or value.kind != VARCHAR:
        raise refuse("string_agg(?)")
    if not call.order and not call.distinct:
        raise refuse("string_agg without ORDER BY")
    if call.distinct:
        if call.order and (call.order[0][0].sql != value.sql or call.order[0][1]):
            raise refuse("string_agg(DISTINCT x ORDER BY y)")
        every = f"array_sort({call.make('collect_list', value.sql)})"
    else:
        kept = Call(arguments=[value], where=_and(call.where, f"{value.sql} IS NOT NULL"), order=call.order)
        every = _list(kept).sql
    mark = call.arguments[1].sql if len(call.arguments) == 2 else "','"
    joined = f"array_join({every}, {mark})"
    return Term(f"IF(array_size({every}) = 0, NULL, {joined})", VARCHAR)


def _and(one: str | None, other: str) -> str:
    return f"{one} AND {other}" if one else other


def _place(name: str) -> Aggregate:
    """Return a builder for a window function that counts."""

    def build(call: Call) -> Term:
        if call.arguments or not call.over or call.where:
            raise TypeError("arguments")
        return Term(f"CAST({name}() OVER {call.over} AS BIGINT)", BIGINT)

    return build


def _share(name: str) -> Aggregate:
    def build(call: Call) -> Term:
        if call.arguments or not call.over or call.where:
            raise TypeError("arguments")
        return Term(f"{name}() OVER {call.over}", DOUBLE)

    return build


def _ntile(call: Call) -> Term:
    number = whole(call.arguments[0]) if len(call.arguments) == 1 else None
    if number is None or not call.over or call.where:
        raise refuse("ntile(?)")
    return Term(f"CAST(ntile({number}) OVER {call.over} AS BIGINT)", BIGINT)


def _neighbour(name: str) -> Aggregate:
    def build(call: Call) -> Term:
        if not call.over or call.where or not 1 <= len(call.arguments) <= 3:
            raise TypeError("arguments")
        value, *rest = call.arguments
        if rest and whole(rest[0]) is None:
            raise refuse(f"{name}(x, ?)")
        nulls = " IGNORE NULLS" if call.ignore_nulls else ""
        given = ", ".join(term.sql for term in call.arguments)
        return Term(f"{name}({given}){nulls} OVER {call.over}", value.kind)

    return build


def _at_end(name: str) -> Aggregate:
    def build(call: Call) -> Term:
        value = _one(call)
        if not call.over or call.where:
            raise refuse(name)
        nulls = " IGNORE NULLS" if call.ignore_nulls else ""
        return Term(f"{name}({value.sql}){nulls} OVER {call.over}", value.kind)

    return build


def _bits(name: str) -> Aggregate:
    def build(call: Call) -> Term:
        value = _one(call)
        if value.kind not in ("TINYINT", "SMALLINT", INTEGER, BIGINT):
            raise refuse(f"{name}({value.kind or '?'})")
        return Term(call.make(name, value.sql), value.kind)

    return build


AGGREGATES: Mapping[str, Aggregate] = {
    "count": _count,
    "count_if": _count_if,
    "countif": _count_if,
    "approx_count_distinct": _about_how_many,
    "sum": _sum,
    "avg": _avg,
    "mean": _avg,
    "min": _same("min"),
    "max": _same("max"),
    "any_value": lambda call: Term(call.make("min", _one(call).sql), _one(call).kind),
    "bool_and": _truth("bool_and"),
    "bool_or": _truth("bool_or"),
    "bit_or": _bits("bit_or"),
    "bit_and": _bits("bit_and"),
    "bit_xor": _bits("bit_xor"),
    "stddev": _spread("stddev_samp"),
    "stddev_samp": _spread("stddev_samp"),
    "stddev_pop": _spread("stddev_pop"),
    "variance": _spread("var_samp"),
    "var_samp": _spread("var_samp"),
    "var_pop": _spread("var_pop"),
    "quantile_cont": _quantile,
    "quantile_disc": _quantile_disc,
    "median": _median,
    "arg_max": _extreme("max_by"),
    "max_by": _extreme("max_by"),
    "argmax": _extreme("max_by"),
    "arg_min": _extreme("min_by"),
    "min_by": _extreme("min_by"),
    "argmin": _extreme("min_by"),
    "list": _list,
    "array_agg": _list,
    "string_agg": _string_agg,
    "listagg": _string_agg,
    "group_concat": _string_agg,
    "row_number": _place("row_number"),
    "rank": _place("rank"),
    "dense_rank": _place("dense_rank"),
    "percent_rank": _share("percent_rank"),
    "cume_dist": _share("cume_dist"),
    "ntile": _ntile,
    "lag": _neighbour("lag"),
    "lead": _neighbour("lead"),
    "first_value": _at_end("first_value"),
    "last_value": _at_end("last_value"),
}
"""Aggregates and window functions by DuckDB's name."""
