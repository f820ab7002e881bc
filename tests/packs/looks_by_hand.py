"""Rules of scope region worked out the slow and plain way, look by look, to hold the quick one against."""

from __future__ import annotations

from collections.abc import Callable

import duckdb

from kangshu.declarations import Look, Rule


def breaches(
    engine: duckdb.DuckDBPyConnection, rule: Rule, *, own: str, table: Callable[[str], str]
) -> list[tuple[int, int]]:
    """Return file and row of each row of `own` that breaks `rule`; `table` names a data set's rows."""
    for look in rule.looks:
        engine.execute(f'CREATE OR REPLACE TEMP TABLE "look {look.name}" AS {_look(look, own, table)}')
    columns = "".join(f', {_structure(look)} AS "{look.name}"' for look in rule.looks)
    joins = "".join(
        f' LEFT JOIN "look {look.name}" ON "look {look.name}".__file = own_rows._file '
        f'AND "look {look.name}".__row = own_rows._row'
        for look in rule.looks
    )
    found = engine.execute(
        f"""SELECT _file, _row FROM (
            SELECT _file, _row, ({rule.sql}) AS holds, ({rule.applies or "true"}) AS applies
            FROM (SELECT own_rows.*{columns} FROM {own} AS own_rows{joins})
        ) WHERE applies AND NOT holds ORDER BY ALL"""
    )
    return [(int(file), int(row)) for file, row in found.fetchall()]


def _look(look: Look, own: str, table: Callable[[str], str]) -> str:
    keys = ", ".join(f"({mine}) AS __key{n}" for n, (mine, _) in enumerate(look.on))
    equal = " AND ".join(f"__key{n} = ({theirs})" for n, (_, theirs) in enumerate(look.on))
    taken = "".join(f', ({sql}) AS "{name}"' for name, sql in look.take)
    return f"""SELECT __file, __row, count(*) AS "rows"{taken}
        FROM (SELECT _file AS __file, _row AS __row, here, {keys} FROM {own} AS here), {table(look.dataset)}
        WHERE {equal} AND ({look.where or "true"})
        GROUP BY __file, __row"""


def _structure(look: Look) -> str:
    taken = "".join(f', "{name}" := "look {look.name}"."{name}"' for name, _ in look.take)
    return f'struct_pack("rows" := coalesce("look {look.name}"."rows", 0){taken})'
