"""DuckDB's SQL as a tree: calls stay calls under their own names, so that nothing is read into them."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from kangshu.lake.errors import QueryRefusedError, say

# These have grammars of their own.
_GRAMMARS = ("CAST", "TRY_CAST", "EXTRACT", "POSITION", "SUBSTRING", "TRIM")


class Plain(DuckDB):
    """DuckDB's dialect without sqlglot's knowledge of functions; places in lists are left as written."""

    INDEX_OFFSET = 0

    class Parser(DuckDB.Parser):
        """Reads calls as calls."""

        FUNCTIONS: ClassVar[dict[str, Any]] = {}
        FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
            name: parser for name, parser in DuckDB.Parser.FUNCTION_PARSERS.items() if name in _GRAMMARS
        }

    class Generator(DuckDB.Generator):
        """Writes what sqlglot would write otherwise than it was read."""

        TRANSFORMS: ClassVar[dict[Any, Any]] = {
            **DuckDB.Generator.TRANSFORMS,
            # `~` asks for the whole text; sqlglot would make regexp_matches of it.
            exp.RegexpLike: lambda self, e: self.func("REGEXP_FULL_MATCH", e.this, e.expression),
            exp.IgnoreNulls: lambda self, e: f"{self.sql(e, 'this')} IGNORE NULLS",
            exp.Lambda: lambda self, e: (
                f"LAMBDA {', '.join(self.sql(name) for name in e.expressions)}: {self.sql(e, 'this')}"
            ),
        }


def read_select(sql: str) -> exp.Expr:
    """Return the tree of one SELECT.

    Raises:
        QueryRefusedError: it is not one, or cannot be read.
    """
    trees = [tree for tree in _parse(sql) if tree is not None]
    if len(trees) != 1 or not isinstance(trees[0], (exp.Query, exp.Values)):
        raise QueryRefusedError(say["not_a_select"])
    return trees[0]


def read_value(sql: str) -> exp.Expr:
    """Return the tree of one expression.

    Raises:
        QueryRefusedError: it cannot be read.
    """
    select = read_select(f"SELECT {sql}")
    if len(select.expressions) != 1:
        raise QueryRefusedError(say("query_refused", reason="one expression expected"))
    return select.expressions[0]


def tokens_of(sql: str) -> list[Token]:
    """Return the words of `sql`.

    Raises:
        QueryRefusedError: a text or comment does not end, or a number is not decimal.
    """
    try:
        words = Plain().tokenize(sql)
    except SqlglotError as error:
        raise _refused(error) from error
    for word, following in itertools.pairwise(words):
        # sqlglot would read 0x1F as `0 AS x1F`.
        if (
            word.token_type is TokenType.NUMBER
            and word.end + 1 == following.start
            and following.text[0].isalpha()
        ):
            raise QueryRefusedError(say("not_in_spark", what=word.text + following.text))
    return words


def _parse(sql: str) -> list[exp.Expr | None]:
    words = tokens_of(sql)
    try:
        return Plain().parser().parse(words, sql)
    except SqlglotError as error:
        raise _refused(error) from error
    except RecursionError as error:
        raise QueryRefusedError(say("query_refused", reason="too deep")) from error


def _refused(error: Exception) -> QueryRefusedError:
    return QueryRefusedError(say("query_refused", reason=str(error).strip().splitlines()[0]))
