"""What a predicate's window functions look at, read from its syntax."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self, cast

import duckdb

from kangshu.quality.scanning.naming import bare, words

_OVER = re.compile(r"\bover\b\s*[(\w]", re.IGNORECASE)
_FUNCTION = re.compile(
    r"\bCREATE\s+(?:OR\s+REPLACE\s+)?(?:TEMP\w*\s+)?(?:MACRO|FUNCTION)\s+(\w+)", re.IGNORECASE
)


def has_window(sql: str, *, functions: frozenset[str]) -> bool:
    """Tell whether `sql` has window functions of its own or through one of `functions`."""
    return bool(_OVER.search(bare(sql)) or words(sql) & functions)


@lru_cache(maxsize=8)
def window_functions(functions: str) -> frozenset[str]:
    """Return the names of those `functions` whose bodies have window functions."""
    starts = [*_FUNCTION.finditer(functions)]
    ends = [*(match.start() for match in starts[1:]), len(functions)]
    bodies = {
        match[1].casefold(): functions[match.end() : end] for match, end in zip(starts, ends, strict=True)
    }
    found: set[str] = set()
    while fresh := {
        name
        for name, body in bodies.items()
        if name not in found and has_window(body, functions=frozenset(found))
    }:
        found |= fresh
    return frozenset(found)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A predicate in three steps: `values` of each row, `windows` over them, and the `verdict` about both.

    The first two are names with SQL. `columns` are those of the values that are plain columns.
    """

    values: Mapping[str, str]
    columns: frozenset[str]
    windows: Mapping[str, str]
    verdict: str


@lru_cache(maxsize=1024)
def partition_of(sql: str) -> tuple[str, ...]:
    """Return the expressions that all windows of the predicate `sql` are partitioned by.

    It is empty where they differ, where a window looks at all rows, or where one hides in a function: then
    nothing less than all rows will do.
    """
    with _Syntax(sql) as syntax:
        found = {tuple(syntax.text(part) for part in window["partitions"]) for window in syntax.windows()}
    return found.pop() if len(found) == 1 else ()


@lru_cache(maxsize=1024)
def parts_of(sql: str) -> Parts | None:
    """Return the predicate `sql` in parts, or None where a window hides in a function or there is a lambda.

    DuckDB's TRY holds no windows: in parts, values and verdict can be tried.
    """
    with _Syntax(sql) as syntax:
        windows = syntax.windows()
        if not windows or any(node.get("class") == "LAMBDA" for node in _walk(syntax.tree)):
            return None
        values, over = _Cut(syntax, "_value"), _Cut(syntax, "_window")
        for window in windows:
            window["children"] = [values.cut(child) for child in window["children"]]
            window["partitions"] = [values.cut(part) for part in window["partitions"]]
            for order in (*window["orders"], *window["arg_orders"]):
                order["expression"] = values.cut(order["expression"])
            if window["filter_expr"]:
                window["filter_expr"] = values.cut(window["filter_expr"])
            # Overwritten in place: whoever holds the window now holds the column.
            column = over.cut(dict(window))
            window.clear()
            window.update(column)
        for node in list(_walk(syntax.expression)):
            if node.get("class") == "COLUMN_REF" and node["column_names"][0] not in {
                *values.texts,
                *over.texts,
            }:
                node.update(values.cut(dict(node)))
        return Parts(
            values=dict(values.texts),
            columns=frozenset(values.columns),
            windows=dict(over.texts),
            verdict=syntax.text(syntax.expression),
        )


class _Syntax:
    """The syntax tree of one expression, by DuckDB's parser."""

    def __init__(self, sql: str) -> None:
        self._engine = duckdb.connect(":memory:")
        answer = self._engine.execute("SELECT json_serialize_sql(?)", [f"SELECT ({sql})"]).fetchall()
        self.tree: dict[str, Any] = json.loads(answer[0][0])

    @property
    def expression(self) -> dict[str, Any]:
        """The expression itself; empty where `sql` is none."""
        return {} if self.tree["error"] else self.tree["statements"][0]["node"]["select_list"][0]

    def windows(self) -> list[dict[str, Any]]:
        """Return its windows."""
        return [node for node in _walk(self.expression) if node.get("class") == "WINDOW"]

    def text(self, expression: dict[str, Any]) -> str:
        """Return an expression as SQL."""
        statement = json.loads(json.dumps(self.tree))
        statement["statements"][0]["node"]["select_list"] = [expression | {"alias": ""}]
        answer = self._engine.execute("SELECT json_deserialize_sql(?)", [json.dumps(statement)]).fetchall()
        return str(answer[0][0]).removeprefix("SELECT ").removesuffix(";")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_unused: object) -> None:
        self._engine.close()


class _Cut:
    """Puts names in the place of expressions, the same one for the same text."""

    def __init__(self, syntax: _Syntax, prefix: str) -> None:
        self._syntax = syntax
        self._prefix = prefix
        self._names: dict[str, str] = {}
        self.columns: set[str] = set()

    @property
    def texts(self) -> dict[str, str]:
        """What each name stands for."""
        return {name: text for text, name in self._names.items()}

    def cut(self, expression: dict[str, Any]) -> dict[str, Any]:
        """Return a column in the expression's place."""
        if expression["class"] == "CONSTANT":
            return expression
        name = self._names.setdefault(self._syntax.text(expression), f"{self._prefix}{len(self._names)}")
        if expression["class"] == "COLUMN_REF":
            self.columns.add(name)
        return {
            "class": "COLUMN_REF",
            "type": "COLUMN_REF",
            "alias": "",
            "query_location": 0,
            "column_names": [name],
        }


def _walk(tree: Any) -> Iterator[dict[str, Any]]:
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield cast(dict[str, Any], part)
            waiting.extend(cast(dict[str, Any], part).values())
        elif isinstance(part, list):
            waiting.extend(cast(list[Any], part))
