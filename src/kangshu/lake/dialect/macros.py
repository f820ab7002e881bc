"""The functions of a pack, put into a query in place of their calls: the same query without any macro."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from kangshu.lake.dialect.reading import Plain, read_select, read_value, tokens_of
from kangshu.lake.errors import QueryRefusedError, say

# A macro that calls macros that call macros: base packs have four of these levels, and none may have no end.
_MOST_LEVELS = 40
_MOST_NODES = 2_000_000


@dataclass(frozen=True, kw_only=True)
class Macro:
    """A scalar macro: its parameters, those with a default, and its body."""

    parameters: tuple[str, ...]
    defaults: Mapping[str, exp.Expr]
    body: exp.Expr


@dataclass(frozen=True, kw_only=True)
class Functions:
    """What a pack's functions define: macros by name, and variables with their values."""

    macros: Mapping[str, Macro]
    variables: Mapping[str, exp.Expr]


def read_functions(functions: str) -> Functions:
    """Return what the text of a pack's functions defines.

    Raises:
        QueryRefusedError: it holds anything but scalar macros and SET VARIABLE.
    """
    macros: dict[str, Macro] = {}
    variables: dict[str, exp.Expr] = {}
    for words in _statements(tokens_of(functions)):
        heads = [word.text.upper() for word in words[:7]]
        if heads[:2] == ["SET", "VARIABLE"] and heads[3:4] == ["="]:
            variables[words[2].text.casefold()] = read_value(functions[words[4].start : words[-1].end + 1])
        elif heads[:1] == ["CREATE"]:
            name, macro = _macro(functions, words)
            macros[name] = macro
        else:
            raise QueryRefusedError(say["not_a_function"])
    return Functions(macros=macros, variables=variables)


def expand(tree: exp.Expr, functions: Functions) -> exp.Expr:
    """Return `tree` with every call of a macro replaced by its body, and every variable by its value.

    Raises:
        QueryRefusedError: a macro is called wrongly, or calls itself.
    """
    return _Expansion(functions).expand(tree.copy())


def expand_macros(sql: str, functions: str) -> str:
    """Return the SELECT `sql`, in DuckDB's dialect, without calls of the macros that `functions` define.

    Raises:
        QueryRefusedError: either cannot be read, a macro is called wrongly, or calls itself.
    """
    return expand(read_select(sql), read_functions(functions)).sql(dialect=Plain)


class _Expansion:
    def __init__(self, functions: Functions) -> None:
        self._functions = functions
        self._renamed = 0
        self._nodes = 0

    def expand(self, tree: exp.Expr) -> exp.Expr:
        return self._expand(tree, ())

    def _expand(self, node: exp.Expr, within: tuple[str, ...]) -> exp.Expr:
        """Expand below `node`, arguments before their calls, and return what stands for it."""
        self._nodes += 1
        if self._nodes > _MOST_NODES or len(within) > _MOST_LEVELS:
            raise QueryRefusedError(say("query_refused", reason="macros without end"))
        for child in list(node.iter_expressions()):
            fresh = self._expand(child, within)
            if fresh is not child:
                child.replace(fresh)
        if not isinstance(node, exp.Anonymous):
            return node
        name = str(node.this).strip('"').casefold()
        if name == "getvariable":
            return self._variable(node)
        macro = self._functions.macros.get(name)
        if macro is None:
            return node
        if name in within:
            raise QueryRefusedError(say("query_refused", reason=f"{name} calls itself"))
        body = self._filled(macro, _given(name, macro, node.expressions))
        return _bracketed(self._expand(body, (*within, name)))

    def _variable(self, call: exp.Anonymous) -> exp.Expr:
        name = call.expressions[0] if call.expressions else None
        if not (isinstance(name, exp.Literal) and name.is_string):
            raise QueryRefusedError(say("not_in_spark", what="getvariable(?)"))
        value = self._functions.variables.get(str(name.this).casefold())
        return exp.Null() if value is None else _bracketed(value.copy())

    def _filled(self, macro: Macro, given: Mapping[str, exp.Expr]) -> exp.Expr:
        """Return the macro's body with `given` for its parameters.

        What is given may name a column as a lambda of the body names its parameter; the latter are renamed.
        """
        root = exp.Paren(this=macro.body.copy())
        for function in reversed(list(root.find_all(exp.Lambda))):  # inner ones first
            self._rename(function)
        for node in list(root.find_all(exp.Column, exp.Identifier)):
            if isinstance(node, exp.Identifier) and isinstance(node.parent, (exp.Column, exp.Lambda)):
                continue
            plain = not node.args.get("table") if isinstance(node, exp.Column) else _stands_alone(node)
            if plain and (value := given.get(node.name.casefold())) is not None:
                node.replace(_bracketed(value.copy()))
        return root.this

    def _rename(self, function: exp.Lambda) -> None:
        names = {}
        for parameter in function.expressions:
            self._renamed += 1
            names[parameter.name.casefold()] = f"{parameter.name}_{self._renamed}"
            parameter.set("this", names[parameter.name.casefold()])
        body = function.this
        for node in list(body.find_all(exp.Identifier)):
            fresh = names.get(node.name.casefold())
            if fresh and not _is_name_of_a_column_of_a_table(node) and not _is_own_parameter(node):
                node.set("this", fresh)


def _stands_alone(node: exp.Identifier) -> bool:
    """Whether an identifier is a value, as sqlglot leaves names within lambdas, not the name of something."""
    return isinstance(node.parent, (exp.Expr,)) and not isinstance(
        node.parent, (exp.Alias, exp.TableAlias, exp.Table, exp.DataType, exp.PropertyEQ, exp.Dot, exp.Window)
    )


def _is_name_of_a_column_of_a_table(node: exp.Identifier) -> bool:
    return isinstance(node.parent, exp.Column) and bool(node.parent.args.get("table"))


def _is_own_parameter(node: exp.Identifier) -> bool:
    return isinstance(node.parent, exp.Lambda) and node.arg_key == "expressions"


def _given(name: str, macro: Macro, arguments: Sequence[exp.Expr]) -> dict[str, exp.Expr]:
    given: dict[str, exp.Expr] = {}
    placed = iter(macro.parameters)
    for argument in arguments:
        if isinstance(argument, exp.PropertyEQ):
            given[argument.this.name.casefold()] = argument.expression
        elif (parameter := next(placed, None)) is not None:
            given[parameter] = argument
        else:
            raise QueryRefusedError(say("query_refused", reason=f"{name}: too many arguments"))
    filled = {**macro.defaults, **given}
    if set(filled) != set(macro.parameters):
        raise QueryRefusedError(say("query_refused", reason=f"{name}: wrong arguments"))
    return filled


def _bracketed(value: exp.Expr) -> exp.Expr:
    """Return `value` so that it stays one where it is put beside operators."""
    alone = (exp.Paren, exp.Column, exp.Literal, exp.Identifier, exp.Anonymous, exp.Array, exp.Lambda)
    return value if isinstance(value, alone) else exp.Paren(this=value)


def _statements(words: Sequence[Token]) -> Iterator[list[Token]]:
    statement: list[Token] = []
    for word in words:
        if word.token_type is not TokenType.SEMICOLON:
            statement.append(word)
        elif statement:
            yield statement
            statement = []
    if statement:
        yield statement


def _macro(text: str, words: Sequence[Token]) -> tuple[str, Macro]:
    """Read `CREATE OR REPLACE MACRO name(a, b := 1) AS body`."""
    kinds = [word.text.upper() for word in words]
    try:
        start = next(place for place, word in enumerate(kinds[:6]) if word in ("MACRO", "FUNCTION")) + 1
        if set(kinds[: start - 1]) - {"CREATE", "OR", "REPLACE", "TEMP", "TEMPORARY"}:
            raise ValueError
        opening = kinds.index("(", start)
        closing = _closing(words, opening)
        if opening != start + 1 or kinds[closing + 1] != "AS" or kinds[closing + 2] == "TABLE":
            raise ValueError
        parameters, defaults = _parameters(text, words[opening + 1 : closing])
    except (StopIteration, ValueError, IndexError) as error:
        raise QueryRefusedError(say["not_a_function"]) from error
    body = read_value(text[words[closing + 2].start : words[-1].end + 1])
    return words[start].text.casefold(), Macro(parameters=parameters, defaults=defaults, body=body)


def _closing(words: Sequence[Token], opening: int) -> int:
    depth = 0
    for place in range(opening, len(words)):
        depth += {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}.get(words[place].token_type, 0)
        if depth == 0:
            return place
    raise ValueError("no end")


def _parameters(text: str, words: Sequence[Token]) -> tuple[tuple[str, ...], dict[str, exp.Expr]]:
    names: list[str] = []
    defaults: dict[str, exp.Expr] = {}
    for group in _groups(words):
        names.append(group[0].text.casefold())
        if len(group) > 2 and group[1].text in (":=", "="):
            defaults[names[-1]] = read_value(text[group[2].start : group[-1].end + 1])
        elif len(group) != 1:
            raise ValueError("a parameter is a name, with a default or without")
    return tuple(names), defaults


def _groups(words: Sequence[Token]) -> Iterator[list[Token]]:
    group: list[Token] = []
    depth = 0
    for word in words:
        depth += {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}.get(word.token_type, 0)
        if word.token_type is TokenType.COMMA and depth == 0:
            yield group
            group = []
        else:
            group.append(word)
    if group:
        yield group
