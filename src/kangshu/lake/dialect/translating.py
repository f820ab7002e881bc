"""A DuckDB query as Spark SQL with equal results: the tree is walked with the types that DuckDB gives it.

Spark's words are chosen by type (`a - b` of days, of moments, of numbers), so each name must be known: from
the tables' columns, from what subqueries select. What is not known to be equal is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from kangshu.lake.dialect import functions as known
from kangshu.lake.dialect.aggregates import AGGREGATES, Call
from kangshu.lake.dialect.casts import cast
from kangshu.lake.dialect.functions import FUNCTIONS, Argument, Function, refuse
from kangshu.lake.dialect.kinds import (
    BIGINT,
    BOOLEAN,
    DATE,
    DOUBLE,
    INTEGER,
    NULL,
    TIMESTAMP,
    VARCHAR,
    Constant,
    Kind,
    Term,
    canonical,
    common,
    constant,
    is_integer,
    is_list,
    is_number,
)

_MOST_TEXT = 50_000
"""A value that is written longer than this is not written several times."""
_TRANSFORMS = ("list_transform", "list_apply", "array_transform", "array_apply", "apply")

Columns = dict[str, Kind]
"""A table's columns in order, by name in small letters."""


@dataclass
class _Scope:
    """What names mean within one SELECT."""

    sources: dict[str, Columns] = field(default_factory=dict)
    shown: dict[str, dict[str, str]] = field(default_factory=dict)
    """How a column is written, by source: in the letters of its declaration."""
    parameters: dict[str, Term] = field(default_factory=dict)
    aliases: dict[str, Term] = field(default_factory=dict)
    """What the SELECT's own list has named so far."""
    takes_aliases: bool = False
    """Whether such a name is put in as what it stands for: Spark knows it in fewer places."""
    merged: dict[str, Kind] = field(default_factory=dict)
    """Columns that USING made one of two."""
    windows: dict[str, exp.Window] = field(default_factory=dict)
    parent: _Scope | None = None
    tables: dict[str, Columns] = field(default_factory=dict)
    """What WITH has named."""


def quoted(name: str) -> str:
    """Return `name` as an identifier of Spark's."""
    return "`" + name.replace("`", "``") + "`"


class Translator:
    """Translates one query; `tables` are those that it may read, with their columns and DuckDB types."""

    def __init__(self, tables: Mapping[str, Mapping[str, Kind]]) -> None:
        self._tables = {
            name.casefold(): {column.casefold(): kind for column, kind in columns.items()}
            for name, columns in tables.items()
        }
        self._fresh = 0
        self._careful = False
        self._named: dict[int, str] = {}

    def translate(self, tree: exp.Expr) -> str:
        """Return `tree`, which has no macros any more, in Spark's SQL.

        Raises:
            QueryRefusedError: it asks for what is not known to be equal there.
        """
        return self._query(tree, None)[0]

    # --- queries

    def _query(self, node: exp.Expr, outer: _Scope | None) -> tuple[str, Columns]:
        match node:
            case exp.Select():
                return self._select(node, outer)
            case exp.SetOperation():
                return self._set_operation(node, outer)
            case exp.Subquery():
                return self._bracketed_query(node, outer)
            case exp.Values():
                return self._values(node)
            case _:
                raise refuse(type(node).__name__)

    def _bracketed_query(self, node: exp.Subquery, outer: _Scope | None) -> tuple[str, Columns]:
        scope = self._with(node, outer)
        text, columns = self._query(node.this, scope)
        tail = self._tail(node, _Scope(sources={"": columns}, parent=scope))
        return f"({text}){tail}", columns

    def _set_operation(self, node: exp.SetOperation, outer: _Scope | None) -> tuple[str, Columns]:
        if node.args.get("by_name") or node.args.get("side") or node.args.get("on"):
            raise refuse("UNION BY NAME")
        scope = self._with(node, outer)
        prelude = self._prelude(node)
        # A long UNION ALL is a tree as deep as it is long.
        parts = [node.expression]
        left = node.this
        while type(left) is type(node) and left.args.get("distinct") == node.args.get("distinct"):
            if any(left.args.get(name) for name in ("order", "limit", "offset", "with_")):
                break
            parts.append(left.expression)
            left = left.this
        parts.append(left)
        word = {exp.Union: "UNION", exp.Except: "EXCEPT", exp.Intersect: "INTERSECT"}[type(node)]
        if not node.args.get("distinct"):
            word += " ALL"
        texts, columns = [], {}
        for part in reversed(parts):
            text, found = self._query(part, scope)
            texts.append(f"({text})" if not text.startswith("(") else text)
            columns = _merged(columns, found) if texts[1:] else found
        tail = self._tail(node, _Scope(sources={"": columns}, parent=scope))
        return prelude + f" {word} ".join(texts) + tail, columns

    def _select(self, node: exp.Select, outer: _Scope | None) -> tuple[str, Columns]:
        for name in ("into", "laterals", "match", "connect", "sample", "kind", "hint", "cluster", "sort"):
            if node.args.get(name):
                raise refuse(name.upper())
        outer = self._with(node, outer)
        scope = _Scope(parent=outer)
        for window in node.args.get("windows") or []:
            scope.windows[window.this.name.casefold()] = window
        source = self._from(node, scope)
        listed, columns, shown = self._list(node, scope)
        distinct = self._distinct(node)
        where = self._clause(node, "where", " WHERE ", scope)
        group = self._group(node, scope)
        having = self._clause(node, "having", " HAVING ", scope)
        prelude = self._prelude(node)
        qualify = node.args.get("qualify")
        rest = f"{source}{where}{group}{having}"
        if qualify is None:
            text = f"{prelude}SELECT {distinct}{', '.join(listed)}{rest}"
            return text + self._tail(node, scope), columns
        # The rest of SELECT comes after QUALIFY, which Spark has not.
        if distinct or node.args.get("order") or node.args.get("limit"):
            raise refuse("QUALIFY with DISTINCT, ORDER BY or LIMIT")
        scope.takes_aliases = True
        kept = self._value(qualify.this, scope).sql
        inner = f"SELECT {', '.join(listed)}, {kept} AS `_kept`{rest}"
        names = ", ".join(quoted(name) for name in shown)
        return f"{prelude}SELECT {names} FROM ({inner}) WHERE `_kept`", columns

    def _with(self, node: exp.Expr, outer: _Scope | None) -> _Scope | None:
        clause = node.args.get("with_")
        if clause is None:
            return outer
        if clause.args.get("recursive"):
            raise refuse("WITH RECURSIVE")
        scope = _Scope(parent=outer)
        texts = []
        for entry in clause.expressions:
            text, columns = self._query(entry.this, scope)
            alias = entry.args["alias"]
            if alias.columns:
                columns = dict(
                    zip([name.name.casefold() for name in alias.columns], columns.values(), strict=True)
                )
                names = ", ".join(quoted(name.name) for name in alias.columns)
                texts.append(f"{quoted(alias.name)} ({names}) AS ({text})")
            else:
                texts.append(f"{quoted(alias.name)} AS ({text})")
            scope.tables[alias.name.casefold()] = columns
        self._named[id(node)] = f"WITH {', '.join(texts)} "
        return scope

    def _prelude(self, node: exp.Expr) -> str:
        return self._named.get(id(node), "")

    def _tail(self, node: exp.Expr, scope: _Scope) -> str:
        text = ""
        if order := node.args.get("order"):
            text += " " + self._order(order, scope)
        for name, word in (("limit", "LIMIT"), ("offset", "OFFSET")):
            if clause := node.args.get(name):
                number = known.whole(self._value(clause.expression, scope))
                if number is None:
                    raise refuse(f"{word} ?")
                text += f" {word} {number}"
        return text

    def _distinct(self, node: exp.Select) -> str:
        distinct = node.args.get("distinct")
        if distinct and distinct.args.get("on"):
            raise refuse("DISTINCT ON")
        return "DISTINCT " if distinct else ""

    def _clause(self, node: exp.Expr, name: str, word: str, scope: _Scope) -> str:
        clause = node.args.get(name)
        if clause is None:
            return ""
        scope.takes_aliases = True
        text = word + self._condition(clause.this, scope)
        scope.takes_aliases = False
        return text

    def _group(self, node: exp.Select, scope: _Scope) -> str:
        group = node.args.get("group")
        if group is None:
            return ""
        if group.args.get("totals"):
            raise refuse("GROUP BY")
        if group.args.get("all"):
            return " GROUP BY ALL"
        scope.takes_aliases = True
        parts = [self._group_part(value, scope) for value in group.expressions]
        for name in ("rollup", "cube", "grouping_sets"):
            parts += [self._group_part(clause, scope) for clause in group.args.get(name) or []]
        scope.takes_aliases = False
        return f" GROUP BY {', '.join(parts)}"

    def _group_part(self, node: exp.Expr, scope: _Scope) -> str:
        match node:
            case exp.GroupingSets():
                sets = [self._grouping_set(one, scope) for one in node.expressions]
                return f"GROUPING SETS ({', '.join(sets)})"
            case exp.Rollup() | exp.Cube():
                values = ", ".join(self._value(value, scope).sql for value in node.expressions)
                return f"{type(node).__name__.upper()} ({values})"
            case _:
                return self._value(node, scope).sql

    def _grouping_set(self, node: exp.Expr, scope: _Scope) -> str:
        values = node.expressions if isinstance(node, exp.Tuple) else [node.unnest()]
        return f"({', '.join(self._value(value, scope).sql for value in values)})"

    def _order(self, order: exp.Order, scope: _Scope) -> str:
        terms = []
        for entry in order.expressions:
            if isinstance(entry.this, exp.Var):
                raise refuse("ORDER BY ALL")
            # Both put NULL where it is told; DuckDB's own place for it is the end.
            nulls = "FIRST" if entry.args.get("nulls_first") else "LAST"
            direction = "DESC" if entry.args.get("desc") else "ASC"
            terms.append(f"{self._value(entry.this, scope).sql} {direction} NULLS {nulls}")
        return f"ORDER BY {', '.join(terms)}"

    # --- the SELECT list

    def _list(self, node: exp.Select, scope: _Scope) -> tuple[list[str], Columns, list[str]]:
        texts: list[str] = []
        columns: Columns = {}
        shown: list[str] = []
        for place, entry in enumerate(node.expressions):
            star = entry if isinstance(entry, exp.Star) else None
            table = ""
            if isinstance(entry, exp.Column) and isinstance(entry.this, exp.Star):
                star, table = entry.this, entry.table.casefold()
            if star is not None:
                for name, text, kind in self._star(star, table, scope):
                    texts.append(f"{text} AS {quoted(name)}")
                    columns[name.casefold()] = kind
                    shown.append(name)
                continue
            term = self._value(entry.this if isinstance(entry, exp.Alias) else entry, scope)
            name = entry.alias_or_name or f"_column_{place}"
            texts.append(f"{term.sql} AS {quoted(name)}")
            columns[name.casefold()] = term.kind
            shown.append(name)
            if isinstance(entry, exp.Alias):
                scope.aliases[name.casefold()] = term
        return texts, columns, shown

    def _star(self, star: exp.Star, table: str, scope: _Scope) -> list[tuple[str, str, Kind]]:
        """Return what a star stands for: names, texts and types."""
        if star.args.get("rename"):
            raise refuse("* RENAME")
        left_out = {name.name.casefold() for name in star.args.get("except_") or []}
        replaced = {
            entry.alias.casefold(): self._value(entry.this, scope) for entry in star.args.get("replace") or []
        }
        if table and table not in scope.sources:
            raise refuse(f"{table}.*")
        entries: list[tuple[str, str, Kind]] = []
        seen: set[str] = set()
        for source, columns in scope.sources.items():
            if table and source != table:
                continue
            for column, kind in columns.items():
                if column in left_out or (column in scope.merged and column in seen):
                    continue
                seen.add(column)
                name = scope.shown.get(source, {}).get(column, column)
                own = Term(f"{quoted(source)}.{quoted(name)}" if source else quoted(name), kind)
                term = replaced.get(column, own)
                entries.append((name, term.sql, term.kind))
        if not entries:
            raise refuse("*")
        return entries

    # --- FROM

    def _from(self, node: exp.Select, scope: _Scope) -> str:
        clause = node.args.get("from_")
        if clause is None:
            return ""
        text = " FROM " + self._source(clause.this, scope)
        for join in node.args.get("joins") or []:
            text += self._join(join, scope)
        return text

    def _source(self, node: exp.Expr, scope: _Scope) -> str:
        match node:
            case exp.Table():
                return self._table(node, scope)
            case exp.Subquery():
                if node.args.get("sample") or node.args.get("pivots"):
                    raise refuse("SAMPLE")
                text, columns = self._bracketed_query(_without_alias(node), scope)
                return self._named_source(text, columns, node.args.get("alias"), scope)
            case exp.Values():
                text, columns = self._values(node)
                return self._named_source(f"({text})", columns, node.args.get("alias"), scope)
            case _:
                raise refuse(f"FROM {type(node).__name__}")

    def _table(self, node: exp.Table, scope: _Scope) -> str:
        if node.args.get("sample") or node.args.get("pivots") or node.args.get("joins"):
            raise refuse("FROM")
        if isinstance(node.this, exp.Anonymous):
            return self._table_function(node, scope)
        name = node.name.casefold()
        columns = _find_table(name, scope) or self._tables.get(name)
        if columns is None or node.args.get("db"):
            raise refuse(f"FROM {node.name}")
        if node.args.get("alias") is None:
            node = node.copy()
            node.set("alias", exp.TableAlias(this=exp.to_identifier(node.name)))
        return self._named_source(quoted(node.name), columns, node.args["alias"], scope)

    def _table_function(self, node: exp.Table, scope: _Scope) -> str:
        call = node.this
        if _called(call) != "range" or not 1 <= len(call.expressions) <= 2:
            raise refuse(f"FROM {call.this}(...)")
        bounds = [known.whole(self._value(bound, scope)) for bound in call.expressions]
        if None in bounds:
            raise refuse("FROM range(?)")
        text = f"(SELECT id AS `range` FROM range({', '.join(str(bound) for bound in bounds)}))"
        return self._named_source(text, {"range": BIGINT}, node.args.get("alias"), scope)

    def _named_source(self, text: str, columns: Columns, alias: exp.TableAlias | None, scope: _Scope) -> str:
        self._fresh += 1
        name = alias.name if alias and alias.name else f"_source_{self._fresh}"
        written = {column: column for column in columns}
        renamed = ""
        if alias and alias.columns:
            fresh = [column.name for column in alias.columns]
            if len(fresh) > len(columns):
                raise refuse("AS t(...)")
            names = [*fresh, *list(columns)[len(fresh) :]]
            columns = {n.casefold(): k for n, k in zip(names, columns.values(), strict=True)}
            written = {n.casefold(): n for n in names}
            renamed = f"({', '.join(quoted(n) for n in names)})"
        if name.casefold() in scope.sources:
            raise refuse(f"FROM {name}, {name}")
        scope.sources[name.casefold()] = columns
        scope.shown[name.casefold()] = written
        return f"{text} AS {quoted(name)}{renamed}"

    def _join(self, join: exp.Join, scope: _Scope) -> str:
        method, side, kind = (str(join.args.get(name) or "").upper() for name in ("method", "side", "kind"))
        if method or kind not in ("", "INNER", "OUTER", "CROSS", "SEMI", "ANTI"):
            raise refuse(f"{method or kind} JOIN")
        if isinstance(join.this, exp.Unnest):
            return self._unnest(join.this, scope)
        if isinstance(join.this, exp.Lateral):
            raise refuse("LATERAL")
        before = dict(scope.sources)
        source = self._source(join.this, scope)
        on, using = join.args.get("on"), join.args.get("using")
        if kind in ("SEMI", "ANTI"):
            word = f"LEFT {kind} JOIN"
        elif not (on or using):
            word = "CROSS JOIN"
        else:
            word = f"{side} {'OUTER ' if side else ''}JOIN".strip()
        text = f" {word} {source}"
        if on is not None:
            text += f" ON {self._condition(on, scope)}"
        if using:
            text += f" USING ({', '.join(quoted(name.name) for name in using)})"
            for name in using:
                kinds = [columns.get(name.name.casefold()) for columns in scope.sources.values()]
                scope.merged[name.name.casefold()] = common(kind for kind in kinds if kind is not None)
        if kind in ("SEMI", "ANTI"):
            for name in set(scope.sources) - set(before):
                del scope.sources[name]
        return text

    def _unnest(self, node: exp.Unnest, scope: _Scope) -> str:
        """Return the rows of a list beside each row, as `FROM t, unnest(xs) AS u(x)` asks for."""
        alias = node.args.get("alias")
        if len(node.expressions) != 1 or node.args.get("offset") or not alias:
            raise refuse("unnest")
        xs = self._value(node.expressions[0], scope)
        if not is_list(xs.kind):
            raise refuse("unnest(?)")
        name = alias.name
        column = alias.columns[0].name if alias.columns else "unnest"
        scope.sources[name.casefold()] = {column.casefold(): str(xs.kind)[:-2]}
        scope.shown[name.casefold()] = {column.casefold(): column}
        return f" LATERAL VIEW explode({xs.sql}) {quoted(name)} AS {quoted(column)}"

    def _values(self, node: exp.Values) -> tuple[str, Columns]:
        scope = _Scope()
        rows = [[self._value(value, scope) for value in row.expressions] for row in node.expressions]
        columns = {
            f"col{place}": common(term.kind for term in terms)
            for place, terms in enumerate(zip(*rows, strict=True))
        }
        texts = ", ".join(f"({', '.join(term.sql for term in row)})" for row in rows)
        names = ", ".join(quoted(name) for name in columns)
        return f"SELECT * FROM VALUES {texts} AS _values({names})", columns

    # --- values

    def _condition(self, node: exp.Expr, scope: _Scope) -> str:
        return self._value(node, scope).sql

    def _value(self, node: exp.Expr, scope: _Scope) -> Term:
        match node:
            case exp.Paren():
                return self._value(node.this, scope)
            case exp.Column():
                return self._column(node, scope)
            case exp.Identifier():
                return self._name(node.name, scope)
            case exp.Literal() | exp.Boolean() | exp.Null() | exp.RawString() | exp.ByteString():
                return _literal(node)
            case exp.And() | exp.Or():
                return self._chain(node, scope)
            case exp.Not():
                return Term(f"(NOT {self._value(node.this, scope).sql})", BOOLEAN)
            case exp.Case():
                return self._case(node, scope)
            case exp.Cast():
                return self._cast(node, scope)
            case exp.Anonymous() | exp.Window() | exp.Filter() | exp.IgnoreNulls() | exp.RespectNulls():
                return self._call(node, scope)
            case exp.Subquery() | exp.Exists() | exp.In() | exp.Select():
                return self._with_query(node, scope)
            case _:
                return self._operator(node, scope)

    def _column(self, node: exp.Column, scope: _Scope) -> Term:
        table = node.table.casefold()
        if not table:
            return self._name(node.name, scope)
        if node.args.get("db"):
            raise refuse(f"{node.table}.{node.name}")
        name = node.name.casefold()
        at: _Scope | None = scope
        while at is not None:
            if table in at.sources:
                if name not in at.sources[table]:
                    raise refuse(f"{node.table}.{node.name}")
                written = at.shown.get(table, {}).get(name, node.name)
                return Term(f"{quoted(table)}.{quoted(written)}", at.sources[table][name])
            at = at.parent
        raise refuse(f"{node.table}.{node.name}")

    def _name(self, name: str, scope: _Scope) -> Term:
        key = name.casefold()
        at: _Scope | None = scope
        while at is not None:
            if key in at.parameters:
                return at.parameters[key]
            if key in at.merged:
                return Term(quoted(name), at.merged[key])
            for source, columns in at.sources.items():
                if key in columns:
                    written = at.shown.get(source, {}).get(key, name)
                    # A bare name within a subquery may mean another table there than it meant here.
                    text = f"{quoted(source)}.{quoted(written)}" if source else quoted(written)
                    return Term(text, columns[key])
            if key in at.aliases:
                return at.aliases[key] if at.takes_aliases or at is not scope else _alias(name, at)
            at = at.parent
        raise refuse(name)

    def _chain(self, node: exp.Expr, scope: _Scope) -> Term:
        """Return a long AND or OR without a bracket for each word."""
        parts, left = [], node
        while type(left) is type(node):
            parts.append(left.expression)
            left = left.this
        parts.append(left)
        word = " AND " if isinstance(node, exp.And) else " OR "
        return Term(f"({word.join(self._value(part, scope).sql for part in reversed(parts))})", BOOLEAN)

    def _case(self, node: exp.Case, scope: _Scope) -> Term:
        asked = None if node.this is None else self._value(node.this, scope)
        text, results = "CASE", []
        for branch in node.args["ifs"]:
            when = self._value(branch.this, scope)
            if asked is not None:
                _check_comparison(asked, when)
                when = Term(f"{asked.sql} = {when.sql}", BOOLEAN)
            then = self._value(branch.args["true"], scope)
            results.append(then)
            text += f" WHEN {when.sql} THEN {then.sql}"
        if default := node.args.get("default"):
            results.append(self._value(default, scope))
            text += f" ELSE {results[-1].sql}"
        known._check_mix(results)
        return Term(f"{text} END", common(term.kind for term in results))

    def _cast(self, node: exp.Cast, scope: _Scope) -> Term:
        kind = canonical(node.args["to"].sql(dialect="duckdb"))
        forgiving = isinstance(node, exp.TryCast) or self._careful
        return cast(self._value(node.this, scope), kind, forgiving=forgiving)

    def _with_query(self, node: exp.Expr, scope: _Scope) -> Term:
        if isinstance(node, exp.Exists):
            return Term(f"EXISTS ({self._query(node.this, scope)[0]})", BOOLEAN)
        if isinstance(node, exp.In):
            return self._in(node, scope)
        text, columns = self._query(node.this if isinstance(node, exp.Subquery) else node, scope)
        if len(columns) != 1:
            raise refuse("a subquery of several columns as a value")
        return Term(f"({text})", next(iter(columns.values())))

    def _in(self, node: exp.In, scope: _Scope) -> Term:
        if isinstance(node.this.unnest(), exp.Tuple):
            values = [self._value(value, scope) for value in node.this.unnest().expressions]
            subject = f"({', '.join(value.sql for value in values)})"
        else:
            values = [self._value(node.this, scope)]
            subject = values[0].sql
        if query := node.args.get("query"):
            text, _ = self._query(query.this if isinstance(query, exp.Subquery) else query, scope)
            return Term(f"({subject} IN ({text}))", BOOLEAN)
        if len(values) > 1 or node.args.get("unnest") or node.args.get("field"):
            raise refuse("IN")
        listed = [self._value(value, scope) for value in node.expressions]
        for value in listed:
            _check_comparison(values[0], value)
        listed = [_like(value, values[0]) for value in listed]
        return Term(f"({subject} IN ({', '.join(value.sql for value in listed)}))", BOOLEAN)

    # --- operators

    def _operator(self, node: exp.Expr, scope: _Scope) -> Term:
        if build := _OPERATORS.get(type(node)):
            return build(*(self._value(node.args[name], scope) for name in ("this", "expression")))
        match node:
            case exp.Add() | exp.Sub() | exp.Mul():
                return self._sum(node, scope)
            case exp.Neg():
                value = self._value(node.this, scope)
                return Term(f"(-{value.sql})", value.kind)
            case exp.Between():
                value = self._value(node.this, scope)
                bounds = [self._value(node.args[name], scope) for name in ("low", "high")]
                for bound in bounds:
                    _check_comparison(value, bound)
                low, high = (_like(bound, value).sql for bound in bounds)
                return Term(f"({value.sql} BETWEEN {low} AND {high})", BOOLEAN)
            case exp.Is():
                return self._is(node, scope)
            case exp.Escape() | exp.Like() | exp.ILike():
                return self._like(node, scope)
            case exp.RegexpLike() | exp.SimilarTo():
                return known.matches_whole(self._value(node.this, scope), self._value(node.expression, scope))
            case exp.If():
                return self._case(exp.Case(ifs=[node], default=node.args.get("false")), scope)
            case exp.Extract():
                return known.part(node.this.name, self._value(node.expression, scope))
            case exp.Interval():
                return self._interval(node, scope)
            case exp.Array() if not node.find(exp.Comprehension):
                return known.make_list(*(self._value(value, scope) for value in node.expressions))
            case exp.Bracket() if len(node.expressions) == 1 and not isinstance(
                node.expressions[0], exp.Slice
            ):
                if (term := self._named_once(node, scope)) is not None:
                    return term
                return known.element(self._value(node.this, scope), self._value(node.expressions[0], scope))
            case exp.Substring():
                parts = [node.args.get(name) for name in ("this", "start", "length")]
                return known.substr(*(self._value(part, scope) for part in parts if part is not None))
            case exp.Trim():
                return self._trim(node, scope)
            case exp.StrPosition():
                values = [self._value(node.args[name], scope) for name in ("this", "substr")]
                return FUNCTIONS["position"](*values)
            case exp.BitwiseNot():
                value = self._value(node.this, scope)
                return Term(f"(~{_bits(value)})", value.kind)
            case _:
                raise refuse(type(node).__name__)

    def _named_once(self, node: exp.Bracket, scope: _Scope) -> Term | None:
        """Return `list_transform([x], lambda n: ...)[1]` as what the lambda makes of x; None for others.

        That is how a macro names a value that it needs several times, and what it makes of that again. Spark
        runs lambdas slowly, and computes once what it finds written several times; but not within another
        lambda.
        """
        made, functions = node.this, list[exp.Lambda]()
        while isinstance(made, exp.Anonymous) and _called(made) in _TRANSFORMS and len(made.expressions) == 2:
            made, function = made.expressions
            if not isinstance(function, exp.Lambda) or len(function.expressions) != 1:
                return None
            functions.append(function)
        is_one = (
            isinstance(made, exp.Array) and len(made.expressions) == 1 and str(node.expressions[0]) == "1"
        )
        if not (is_one and functions) or any(function.this.find(exp.Lambda) for function in functions):
            return None
        value = self._value(made.expressions[0], scope)
        for function in reversed(functions):
            names = {function.expressions[0].name.casefold(): value}
            value = self._value(function.this, _Scope(parameters=names, parent=scope))
        return value if len(value.sql) <= _MOST_TEXT else None

    def _sum(self, node: exp.Expr, scope: _Scope) -> Term:
        left, right = (self._value(node.args[name], scope) for name in ("this", "expression"))
        build = {exp.Add: known.add, exp.Sub: known.subtract, exp.Mul: known.multiply}[type(node)]
        term = build(left, right)
        if self._careful and is_number(term.kind) and not {left.kind, right.kind} & {DATE, TIMESTAMP}:
            name = {exp.Add: "try_add", exp.Sub: "try_subtract", exp.Mul: "try_multiply"}[type(node)]
            return Term(f"{name}({left.sql}, {right.sql})", term.kind)
        return term

    def _is(self, node: exp.Is, scope: _Scope) -> Term:
        value = self._value(node.this, scope)
        if isinstance(node.expression, exp.Null):
            return Term(f"({value.sql} IS NULL)", BOOLEAN)
        if isinstance(node.expression, exp.Boolean):
            return Term(f"({value.sql} IS {'TRUE' if node.expression.this else 'FALSE'})", BOOLEAN)
        raise refuse("IS ?")

    def _like(self, node: exp.Expr, scope: _Scope) -> Term:
        escape = None
        if isinstance(node, exp.Escape):
            escape, node = self._value(node.expression, scope), node.this
        text, pattern = (self._value(node.args[name], scope) for name in ("this", "expression"))
        if text.kind != VARCHAR:
            raise refuse(f"{text.kind or '?'} LIKE")
        term = known.like(text, pattern, escape, any_case=isinstance(node, exp.ILike))
        return Term(f"(NOT {term.sql})", BOOLEAN) if node.args.get("negate") else term

    def _interval(self, node: exp.Interval, scope: _Scope) -> Term:
        if node.this is None or node.unit is None or not hasattr(node.unit, "name"):
            raise refuse("INTERVAL '...'")
        count = node.this
        if isinstance(count, exp.Literal):
            try:
                return known.interval(Term(str(int(count.this)), INTEGER), node.unit.name)
            except ValueError as error:
                raise refuse("INTERVAL '...'") from error
        return known.interval(self._value(count, scope), node.unit.name)

    def _trim(self, node: exp.Trim, scope: _Scope) -> Term:
        name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(
            str(node.args.get("position") or "").upper(), "trim"
        )
        letters = node.args.get("expression")
        values = [self._value(value, scope) for value in (node.this, letters) if value is not None]
        return FUNCTIONS[name](*values)

    # --- calls

    def _call(self, node: exp.Expr, scope: _Scope) -> Term:
        call, where, over = node, None, None
        ignore_nulls = False
        if isinstance(call, exp.Window):
            over, call = self._over(call, scope), call.this
        if isinstance(call, exp.Filter):
            where, call = self._condition(call.expression.this, scope), call.this
        if isinstance(call, (exp.IgnoreNulls, exp.RespectNulls)):
            ignore_nulls, call = isinstance(call, exp.IgnoreNulls), call.this
        if not isinstance(call, exp.Anonymous):
            raise refuse(type(call).__name__)
        name = _called(call)
        if name == "try":
            return self._try(call, scope)
        try:
            if name in AGGREGATES:
                return AGGREGATES[name](self._aggregate(call, scope, where, over, ignore_nulls))
            if name in FUNCTIONS and where is None and over is None:
                return FUNCTIONS[name](*(self._argument(value, scope) for value in call.expressions))
        except (TypeError, AttributeError) as error:
            # A builder was given more, fewer or other arguments than it has a place for.
            raise refuse(f"{name}(...)") from error
        raise refuse(f"{name}()")

    def _try(self, call: exp.Anonymous, scope: _Scope) -> Term:
        """Return a value that is NULL where it cannot be computed: each step in it forgives."""
        before, self._careful = self._careful, True
        try:
            (value,) = call.expressions
            return self._value(value, scope)
        finally:
            self._careful = before

    def _argument(self, node: exp.Expr, scope: _Scope) -> Argument:
        if not isinstance(node, exp.Lambda):
            return self._value(node, scope)
        names = [parameter.name.casefold() for parameter in node.expressions]

        def body(terms: Sequence[Term]) -> Term:
            inner = _Scope(parameters=dict(zip(names, terms, strict=True)), parent=scope)
            return self._value(node.this, inner)

        return Function(parameters=len(names), body=body, fresh=self._fresh_name)

    def _fresh_name(self) -> str:
        self._fresh += 1
        return f"_p{self._fresh}"

    def _aggregate(
        self, call: exp.Anonymous, scope: _Scope, where: str | None, over: str | None, ignore_nulls: bool
    ) -> Call:
        star = distinct = False
        order: list[tuple[Term, bool]] = []
        arguments: list[Term] = []
        for value in call.expressions:
            node = value
            if isinstance(node, exp.Star):
                star = True
                continue
            if isinstance(node, exp.Order):
                order += [(self._value(e.this, scope), bool(e.args.get("desc"))) for e in node.expressions]
                node = node.this
            if isinstance(node, (exp.IgnoreNulls, exp.RespectNulls)):
                ignore_nulls, node = isinstance(node, exp.IgnoreNulls), node.this
            if isinstance(node, exp.Distinct):
                distinct = True
                arguments += [self._value(one, scope) for one in node.expressions]
            elif node is not None:
                arguments.append(self._value(node, scope))
        return Call(
            arguments=arguments,
            star=star,
            distinct=distinct,
            where=where,
            over=over,
            order=order,
            ignore_nulls=ignore_nulls,
        )

    def _over(self, node: exp.Window, scope: _Scope) -> str:
        if node.args.get("alias"):
            named = scope.windows.get(node.alias.casefold())
            if named is None:
                raise refuse(f"OVER {node.alias}")
            node = named
        parts = []
        if partition := node.args.get("partition_by"):
            parts.append("PARTITION BY " + ", ".join(self._value(value, scope).sql for value in partition))
        if order := node.args.get("order"):
            parts.append(self._order(order, scope))
        if spec := node.args.get("spec"):
            parts.append(self._frame(spec, scope))
        return f"({' '.join(parts)})"

    def _frame(self, spec: exp.WindowSpec, scope: _Scope) -> str:
        if spec.args.get("exclude") or str(spec.args.get("kind")).upper() not in ("ROWS", "RANGE"):
            raise refuse("window frame")
        ends = []
        for name in ("start", "end"):
            bound: Any = spec.args.get(name)
            side = str(spec.args.get(f"{name}_side") or "").upper()
            if bound is None:
                continue
            text = bound.upper() if isinstance(bound, str) else self._value(bound, scope).sql
            ends.append(f"{text} {side}".strip())
        frame = f"BETWEEN {ends[0]} AND {ends[1]}" if len(ends) > 1 else ends[0]
        return f"{str(spec.args['kind']).upper()} {frame}"


def _called(call: exp.Anonymous) -> str:
    """Return the name of a function, which may be quoted."""
    return str(call.this).strip('"').casefold()


def _alias(name: str, scope: _Scope) -> Term:
    return Term(quoted(name), scope.aliases[name.casefold()].kind)


def _literal(node: exp.Expr) -> Term:
    if isinstance(node, exp.Null):
        return Term("NULL", NULL)
    if isinstance(node, exp.Boolean):
        return Term("true" if node.this else "false", BOOLEAN)
    text = str(node.this)
    if isinstance(node, exp.RawString) or (isinstance(node, exp.Literal) and node.is_string):
        return Term(Constant(text), VARCHAR)
    if isinstance(node, exp.ByteString):
        raise refuse("E'...'")
    if "e" in text.casefold():
        return Term(f"{text}D", DOUBLE)
    if "." in text:
        before, after = text.split(".")
        digits = before.lstrip("0") + after
        # Spark takes .5 and 5. amiss in places; DuckDB counts a zero before the point as a digit.
        return Term(f"{before or '0'}.{after or '0'}", f"DECIMAL({max(len(digits), 1)},{len(after)})")
    if int(text) >= 1 << 63:
        return Term(f"CAST('{text}' AS DECIMAL(38,0))", "HUGEINT")
    return Term(text if int(text) < 1 << 31 else f"{text}L", INTEGER if int(text) < 1 << 31 else BIGINT)


def _comparison(sign: str) -> Callable[[Term, Term], Term]:
    def build(left: Term, right: Term) -> Term:
        _check_comparison(left, right)
        return Term(f"({_like(left, right).sql} {sign} {_like(right, left).sql})", BOOLEAN)

    return build


def _check_comparison(left: Term, right: Term) -> None:
    """Refuse a text column beside a number: which of both becomes the other differs."""
    kinds = {left.kind, right.kind}
    if VARCHAR in kinds and len(kinds) == 2 and not kinds & {NULL}:
        text = left if left.kind == VARCHAR else right
        if constant(text) is None or None in kinds:
            raise refuse(f"{left.kind or '?'} = {right.kind or '?'}")


def _like(term: Term, other: Term) -> Term:
    """Return a literal text as what it is compared with."""
    if term.kind == VARCHAR and constant(term) is not None and other.kind not in (VARCHAR, NULL, None):
        return cast(term, str(other.kind), forgiving=False)
    return term


def _not_distinct(negated: bool) -> Callable[[Term, Term], Term]:
    def build(left: Term, right: Term) -> Term:
        _check_comparison(left, right)
        text = f"({_like(left, right).sql} <=> {_like(right, left).sql})"
        return Term(f"(NOT {text})" if negated else text, BOOLEAN)

    return build


def _joined(left: Term, right: Term) -> Term:
    """Return `left || right`: texts, or lists, of which one that is NULL makes NULL."""
    left_text, right_text = constant(left), constant(right)
    if left_text is not None and right_text is not None:
        return Term(Constant(left_text + right_text), VARCHAR)
    if is_list(left.kind) or is_list(right.kind):
        kind = common([left.kind, right.kind])
        if NULL in (left.kind, right.kind) or not is_list(kind):
            raise refuse("list || ?")
        return Term(f"concat({left.sql}, {right.sql})", kind)
    return Term(f"concat({known.text_of(left).sql}, {known.text_of(right).sql})", VARCHAR)


def _bits(term: Term) -> str:
    if not is_integer(term.kind) or str(term.kind).startswith(("U", "HUGE")):
        raise refuse(f"bits of {term.kind or '?'}")
    return term.sql


def _bitwise(sign: str) -> Callable[[Term, Term], Term]:
    return lambda left, right: Term(f"({_bits(left)} {sign} {_bits(right)})", common([left.kind, right.kind]))


def _shift_left(left: Term, right: Term) -> Term:
    """Return a shift; one that would lose bits or the sign is an error, as in DuckDB."""
    bits = {"TINYINT": 7, "SMALLINT": 15, INTEGER: 31, BIGINT: 63}.get(str(left.kind))
    value, places = known.whole(left), known.whole(right)
    if bits and value is None and isinstance(left.sql, str):
        value = _cast_literal(left.sql)
    if bits is None or places is None or value is None or value < 0 or value << places >= 1 << bits:
        raise refuse(f"{left.kind or '?'} << ?")
    return cast(Term(f"{value << places}L", BIGINT), str(left.kind), forgiving=False)


def _cast_literal(text: str) -> int | None:
    inner = text.removeprefix("CAST(").split(" AS ", 1)[0]
    return known.whole(Term(inner.rstrip("L")))


def _shift_right(left: Term, right: Term) -> Term:
    return Term(f"shiftright({_bits(left)}, CAST({right.sql} AS INT))", left.kind)


def _begins(left: Term, right: Term) -> Term:
    return Term(f"startswith({left.sql}, {right.sql})", BOOLEAN)


_OPERATORS: Mapping[type[exp.Expr], Callable[[Term, Term], Term]] = {
    exp.EQ: _comparison("="),
    exp.NEQ: _comparison("<>"),
    exp.LT: _comparison("<"),
    exp.LTE: _comparison("<="),
    exp.GT: _comparison(">"),
    exp.GTE: _comparison(">="),
    exp.NullSafeEQ: _not_distinct(False),
    exp.NullSafeNEQ: _not_distinct(True),
    exp.Div: known.divide,
    exp.IntDiv: known.divide_whole,
    exp.Mod: known.remainder,
    exp.DPipe: _joined,
    exp.Pow: lambda left, right: FUNCTIONS["pow"](left, right),
    exp.BitwiseAnd: _bitwise("&"),
    exp.BitwiseOr: _bitwise("|"),
    exp.BitwiseLeftShift: _shift_left,
    exp.BitwiseRightShift: _shift_right,
    exp.StartsWith: _begins,
}


def _without_alias(node: exp.Subquery) -> exp.Subquery:
    copy = node.copy()
    copy.set("alias", None)
    return copy


def _find_table(name: str, scope: _Scope | None) -> Columns | None:
    while scope is not None:
        if name in scope.tables:
            return scope.tables[name]
        scope = scope.parent
    return None


def _merged(one: Columns, other: Columns) -> Columns:
    """Return the columns of a UNION: the first's names, types that hold both."""
    if len(one) != len(other):
        raise refuse("UNION of unlike columns")
    return {
        name: common([kind, second]) for (name, kind), second in zip(one.items(), other.values(), strict=True)
    }
