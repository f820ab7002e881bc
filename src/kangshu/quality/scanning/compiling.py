"""Turn the rules of a data set into one statement that judges every row once.

The rows are read once. Verdicts are taken first, each in a column of its own, so that what several rules ask
is computed once; then they are put together into words of bits, and rows are grouped by institution, month
and words. A group tells how many rows it has and, where the words are not 0, which: all counts follow.
Rules that no row can answer alone, for a key that must occur once or a window, are judged apart over the
columns that they name and come in by the row's number.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from kangshu.declarations import Dataset, FieldType, Look, Pack, Rule, Scope, functions_sql
from kangshu.quality.scanning.masks import BITS, place_of, words_for
from kangshu.quality.scanning.naming import literal, owners, quoted, rename
from kangshu.quality.scanning.windows import has_window, partition_of, parts_of, window_functions

SCANNED = (Scope.ROW, Scope.FILE, Scope.REGION)
"""Scopes of rules that are asked of rows; the others are about an institution's month as a whole."""

_ROWS = "rows"  # the figure that every look has
_HERE = "here"  # the rule's own row, in the condition of a look


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One statement that counts and locates the rows of a data set that break `rules`.

    It answers a row for each group: `_file`, `_institution`, `month` (its first day, from `_at`), words of
    verdicts `m0`, `m1` ..., words `a0` ... that tell which rules of `applied` the rows are about, `rows`, and
    `_rows`: the numbers of the rows in the file, NULL where they break nothing. The verdict about rule
    number n is bit n % 62 of word n // 62. `sql` fails where a rule cannot be computed for some row, as by an
    overflow; `careful_sql` is slower and counts such a row as breaking the rule.
    """

    dataset: Dataset
    rules: tuple[Rule, ...]
    sql: str
    careful_sql: str
    words: int

    @property
    def applied(self) -> tuple[Rule, ...]:
        """The rules that are about some rows only, in the order of their bits."""
        return tuple(rule for rule in self.rules if rule.applies)


def compile_scan(
    *,
    pack: Pack,
    dataset: Dataset,
    rules: Sequence[Rule],
    table: Callable[[str], str],
    source: str,
    locate: bool = True,
) -> Scan:
    """Return the statement that asks `rules` of the rows of `source`, which is what may stand after FROM.

    `table` gives the same for all rows of a data set, for looks, windows and keys that must occur once in the
    region. `source` may hold fewer rows of `dataset`, as those of one file: each of them gets the verdict
    that it would get among all, and the work is about them and the rows that they look at. Without `locate`
    rows are counted only.

    Raises:
        ValueError: there is no rule, one is about cells, or two have one id.
    """
    if not rules or len({rule.id for rule in rules}) < len(rules):
        raise ValueError("a scan is of rules that are told apart")
    if any(rule.scope not in SCANNED for rule in rules):
        raise ValueError("a rule about cells is not asked of rows")
    texts = [
        _Statement(pack, dataset, rules, table, source, careful=careful).text(locate=locate)
        for careful in (False, True)
    ]
    return Scan(
        dataset=dataset,
        rules=tuple(rules),
        sql=texts[0],
        careful_sql=texts[1],
        words=words_for(len(rules)),
    )


@dataclass(frozen=True, kw_only=True)
class _Joined:
    """What the rows to be judged are joined with: a relation under an alias, on a condition."""

    relation: str
    alias: str
    on: str

    @property
    def sql(self) -> str:
        return f"LEFT JOIN {self.relation} AS {self.alias} ON {self.on}"


@dataclass
class _Verdicts:
    """Columns to take from rows: the verdict about each rule, and what its rows are."""

    columns: list[str] = field(default_factory=list[str])
    joins: list[_Joined] = field(default_factory=list[_Joined])

    def join(self, joined: _Joined) -> None:
        if joined not in self.joins:
            self.joins.append(joined)


class _Statement:
    """Composes the statement, once quick and once careful."""

    def __init__(
        self,
        pack: Pack,
        dataset: Dataset,
        rules: Sequence[Rule],
        table: Callable[[str], str],
        source: str,
        *,
        careful: bool,
    ) -> None:
        self._pack = pack
        self._dataset = dataset
        self._rules = rules
        self._table = table
        self._source = source
        self._careful = careful
        # Narrower rows than all: what they look at is narrowed to them too.
        self._narrow = table(dataset.name) != source
        self._with: dict[str, str] = {}
        self._windowed = window_functions(functions_sql(pack))

    def text(self, *, locate: bool) -> str:
        """Return the statement."""
        apart = self._judge_apart()
        verdicts = _Verdicts()
        for number, rule in enumerate(self._rules):
            if number not in apart:
                verdicts.columns.append(f"{self._verdict(rule, verdicts)} AS v{number}")
        applied = [rule for rule in self._rules if rule.applies]
        verdicts.columns += [f"{self._applies(rule)} AS p{number}" for number, rule in enumerate(applied)]
        words = self._words(apart, applied)
        keys = [name for name, _ in words]
        judged = ", ".join(
            [
                *("here._file", "here._row", "here._institution"),
                "year(here._at) * 12 + month(here._at) - 1 AS _months",
                *verdicts.columns,
            ]
        )
        broken = " OR ".join(f"m{word} <> 0" for word in range(words_for(len(self._rules))))
        masked = ", ".join(
            ["_file", "_row", "_institution", "_months", *(f"{sql} AS {n}" for n, sql in words)]
        )
        masked = f"SELECT {masked} FROM (SELECT {judged} FROM {self._from(self._source, verdicts)}) AS judged"
        if apart:
            masked = self._with_apart(masked, keys, apart)
        statement = (
            "SELECT _file, _institution, make_date(_months // 12, _months % 12 + 1, 1) AS month, "
            f"{', '.join(f'CAST({key} AS BIGINT) AS {key}' for key in keys)}, count(*) AS rows, "
            f"{f'list(_row) FILTER (WHERE {broken})' if locate else 'CAST(NULL AS BIGINT[])'} AS _rows "
            f"FROM ({masked}) AS masked "
            f"GROUP BY _file, _institution, _months, {', '.join(keys)}"
        )
        parts = ", ".join(f"{name} AS ({sql})" for name, sql in self._with.items())
        return f"WITH {parts} {statement}" if parts else statement

    def _words(self, apart: Collection[int], applied: Sequence[Rule]) -> list[tuple[str, str]]:
        """Return the words of verdicts `m0` ... and of `applied` rules `a0` ..., with their SQL."""
        terms: dict[str, list[str]] = {}
        for word in range(words_for(len(self._rules))):
            terms[f"m{word}"] = []
        places = {rule.id: number for number, rule in enumerate(applied)}
        for number, rule in enumerate(self._rules):
            if number in apart:
                continue
            word, bit = place_of(number)
            # Of the forms that say the same this is the quickest: half the time of CASE WHEN NOT v.
            term = f"CASE v{number} WHEN false THEN {1 << bit} ELSE 0 END"
            if rule.applies:
                term = f"CASE WHEN p{places[rule.id]} AND NOT v{number} THEN {1 << bit} ELSE 0 END"
            terms[f"m{word}"].append(term)
        for number in range(len(applied)):
            word, bit = place_of(number)
            terms.setdefault(f"a{word}", []).append(f"CASE p{number} WHEN true THEN {1 << bit} ELSE 0 END")
        return [(name, " + ".join(parts or ["0"])) for name, parts in terms.items()]

    def _with_apart(self, masked: str, keys: Sequence[str], apart: dict[int, str]) -> str:
        """Return the rows of `masked` with the verdicts that were found apart.

        Joined any earlier, it would take columns apart that are held as dictionaries, and with them the
        advantage that DuckDB judges each different value once.
        """
        relation, words = self._apart(apart)
        sums = [f"{key} + coalesce(_apart_{key}, 0) AS {key}" if key in words else key for key in keys]
        return (
            f"SELECT _file, _row, _institution, _months, {', '.join(sums)} FROM ({masked}) AS own "
            f"LEFT JOIN {relation} AS apart ON _apart_file = _file AND _apart_row = _row"
        )

    # --- one rule --------------------------------------------------------------------------------------

    def _verdict(self, rule: Rule, verdicts: _Verdicts) -> str:
        """Return the rule's verdict, with the looks that it needs joined to `verdicts`."""
        predicate = self._predicate(rule, verdicts, own=self._source)
        return _careful(f"({predicate}) IS NOT FALSE", "false") if self._careful else f"({predicate})"

    def _predicate(self, rule: Rule, verdicts: _Verdicts, *, own: str) -> str:
        names: dict[tuple[str, str], str] = {}
        for look in rule.looks:
            joined, figures = self._look(look, own)
            verdicts.join(joined)
            names |= {(look.name.casefold(), name): sql for name, sql in figures.items()}
        return rename(rule.sql, names) if names else rule.sql

    def _applies(self, rule: Rule) -> str:
        return _careful(f"({rule.applies}) IS TRUE", "true") if self._careful else f"({rule.applies})"

    def _value(self, sql: str) -> str:
        """Return a key's expression; what cannot be computed belongs to nobody."""
        return _careful(sql, "NULL") if self._careful else f"({sql})"

    def _condition(self, sql: str) -> str:
        return _careful(sql, "false") if self._careful else f"({sql})"

    def _from(self, source: str, verdicts: _Verdicts) -> str:
        return " ".join([f"{source} AS here", *(joined.sql for joined in verdicts.joins)])

    def _relation(self, sql: str, prefix: str) -> str:
        """Return the name under which the statement has the relation `sql`; the same one is there once."""
        for name, known in self._with.items():
            if known == sql:
                return name
        name = f"{prefix}{len(self._with)}"
        self._with[name] = sql
        return name

    # --- looks -----------------------------------------------------------------------------------------

    def _look(self, look: Look, own: str) -> tuple[_Joined, dict[str, str]]:
        """Return what to join for a look, and for each of its figures the SQL that has it."""
        if _HERE in owners(look.where):
            name, figures = self._pairs(look, own)
            on = f"{name}._pair_file = here._file AND {name}._pair_row = here._row"
        else:
            name, figures = self._groups(look, own)
            on = " AND ".join(
                f"{name}._key{number} = {self._value(mine)}" for number, (mine, _) in enumerate(look.on)
            )
        known = {_ROWS: f"coalesce({name}.{quoted(_ROWS)}, 0)"}
        return _Joined(relation=name, alias=name, on=on), known | {
            taken.casefold(): f"{name}.{column}" for taken, column in figures.items()
        }

    def _groups(self, look: Look, own: str) -> tuple[str, dict[str, str]]:
        """A look that is the same for all rows with one key: the other rows, added up by key."""
        keys = [f"_key{number}" for number in range(len(look.on))]
        figures, terms = self._figures(look)
        keyed = ", ".join(
            f"{self._value(theirs)} AS {key}" for key, (_, theirs) in zip(keys, look.on, strict=True)
        )
        other = f"(SELECT *, {keyed} FROM {self._table(look.dataset)} AS there) AS there"
        if self._narrow or own != self._source:
            mine = ", ".join(f"{self._value(sql)} AS _own{number}" for number, (sql, _) in enumerate(look.on))
            on = " AND ".join(f"{key} = _own{number}" for number, key in enumerate(keys))
            other += f" SEMI JOIN (SELECT DISTINCT {mine} FROM {own} AS own_rows) AS own ON {on}"
        conditions = [f"{key} IS NOT NULL" for key in keys]
        conditions += [self._condition(look.where)] if look.where else []
        sql = (
            f"SELECT {', '.join([*keys, *terms])} FROM {other} WHERE {' AND '.join(conditions)} "
            f"GROUP BY {', '.join(keys)}"
        )
        return self._relation(sql, "look"), figures

    def _pairs(self, look: Look, own: str) -> tuple[str, dict[str, str]]:
        """A look whose condition names the own row: rows joined one by one, added up by own row."""
        columns = ["_file", "_row", "_person", "_institution", "_at"]
        columns += [one.name for one in self._dataset.fields]
        names = {(_HERE, column.casefold()): quoted(f"_here_{column}") for column in columns}
        condition = rename(look.where, names)
        figures, terms = self._figures(look)
        needed = [
            f"{quoted(column)} AS {quoted('_here_' + column)}"
            for column in columns
            if quoted(f"_here_{column}") in condition
        ]
        mine = [
            "_file AS _pair_file",
            "_row AS _pair_row",
            *(f"{self._value(sql)} AS _own{number}" for number, (sql, _) in enumerate(look.on)),
            *needed,
        ]
        on = " AND ".join(
            f"{self._value(theirs)} = _own{number}" for number, (_, theirs) in enumerate(look.on)
        )
        sql = (
            f"SELECT _pair_file, _pair_row, {', '.join(terms)} "
            f"FROM (SELECT {', '.join(mine)} FROM {own} AS own_rows) AS own "
            f"JOIN {self._table(look.dataset)} AS there ON {on} "
            f"WHERE {self._condition(condition)} GROUP BY _pair_file, _pair_row"
        )
        return self._relation(sql, "look"), figures

    @staticmethod
    def _figures(look: Look) -> tuple[dict[str, str], list[str]]:
        """Return the columns of the figures that are taken, and what makes all of them."""
        columns = {name: quoted(name) for name, _ in look.take}
        terms = [f"count(*) AS {quoted(_ROWS)}"]
        terms += [f"({sql}) AS {columns[name]}" for name, sql in look.take]
        return columns, terms

    # --- rules that no row answers alone ---------------------------------------------------------------

    def _judge_apart(self) -> dict[int, str]:
        """Return for each rule judged apart the relation with `_file` and `_row` of those who break it."""
        return {
            number: self._repeated(rule) if rule.unique else self._windowed_rows(rule)
            for number, rule in enumerate(self._rules)
            if rule.unique or has_window(rule.sql, functions=self._windowed)
        }

    def _apart(self, relations: dict[int, str]) -> tuple[str, list[str]]:
        """Return the relation with the words of all who break one of these rules, and the words' names."""
        words = sorted({place_of(number)[0] for number in relations})
        parts: list[str] = []
        for number, relation in relations.items():
            word, bit = place_of(number)
            terms = [f"CAST({1 << bit if one == word else 0} AS BIGINT) AS w{one}" for one in words]
            parts.append(f"SELECT _file, _row, {', '.join(terms)} FROM {relation}")
        sums = ", ".join(f"bit_or(w{word}) AS _apart_m{word}" for word in words)
        sql = (
            f"SELECT _file AS _apart_file, _row AS _apart_row, {sums} "
            f"FROM ({' UNION ALL '.join(parts)}) AS parts GROUP BY _file, _row"
        )
        return self._relation(sql, "apart"), [f"m{word}" for word in words]

    def _repeated(self, rule: Rule) -> str:
        """Rows whose key stood in a row before: in their file, or in the region where the rule is about that.

        Sorting all keys would cost more than all other rules. A hash finds the few that may stand twice, and
        only these are compared: its collisions cost time and no verdict.
        """
        within = ["_file"] if rule.scope is Scope.FILE else []
        rows = self._source if rule.scope is Scope.FILE else self._table(self._dataset.name)
        names = [*within, *(quoted(name) for name in rule.unique)]
        key = ", ".join(names)
        # A key with an empty part, or one that states "none", is nobody's double.
        given = " AND ".join([f"{quoted(name)} IS NOT NULL" for name in rule.unique] + self._unmarked(rule))
        if rule.applies:
            given += f" AND {self._condition(rule.applies)}"
        mine = ""
        if self._narrow and not within:
            mine = (
                f" SEMI JOIN (SELECT hash({key}) AS _own FROM {self._source} AS own_rows WHERE {given}) "
                f"AS own ON hash({key}) = _own"
            )
        twice = self._relation(
            f"SELECT _hash FROM (SELECT hash({key}) AS _hash FROM {rows} AS here{mine} WHERE {given}) "
            "AS keys GROUP BY _hash HAVING count(*) > 1",
            "twice",
        )
        return self._relation(
            f"SELECT _file, _row FROM (SELECT _file, _row, "
            f"row_number() OVER (PARTITION BY {key} ORDER BY _file, _row) AS _place "
            f"FROM {rows} AS here SEMI JOIN {twice} ON _hash = hash({key}) WHERE {given}) AS places "
            "WHERE _place > 1",
            "repeated",
        )

    def _unmarked(self, rule: Rule) -> list[str]:
        marks = ", ".join(literal(mark) for mark in self._dataset.absent_marks)
        texts = [name for name in rule.unique if self._dataset.field(name).type is FieldType.STRING]
        return [f"{quoted(name)} NOT IN ({marks})" for name in texts] if marks else []

    def _windowed_rows(self, rule: Rule) -> str:
        """Rows that break a rule with windows, which look at all rows or at those with the same partition."""
        rows = self._table(self._dataset.name)
        if self._narrow and (partition := partition_of(rule.sql)):
            mine = ", ".join(f"{self._value(sql)} AS _own{number}" for number, sql in enumerate(partition))
            on = " AND ".join(
                f"here._part{number} IS NOT DISTINCT FROM own._own{number}"
                for number in range(len(partition))
            )
            parts = ", ".join(f"{self._value(sql)} AS _part{number}" for number, sql in enumerate(partition))
            rows = (
                f"(SELECT here.* FROM (SELECT *, {parts} FROM {rows} AS there) AS here "
                f"SEMI JOIN (SELECT DISTINCT {mine} FROM {self._source} AS own_rows) AS own ON {on})"
            )
        verdicts = _Verdicts()
        predicate = self._predicate(rule, verdicts, own=rows)
        columns = [f"{self._applies(rule)} AS _applies"] if rule.applies else []
        parts = parts_of(predicate) if self._careful else None
        if parts is None:
            columns.append(f"({predicate}) AS _verdict")
            judged = f"SELECT here._file, here._row, {', '.join(columns)} FROM {self._from(rows, verdicts)}"
        else:
            columns += [
                f"{text if name in parts.columns else self._value(text)} AS {name}"
                for name, text in parts.values.items()
            ]
            valued = f"SELECT here._file, here._row, {', '.join(columns)} FROM {self._from(rows, verdicts)}"
            over = ", ".join(f"{text} AS {name}" for name, text in parts.windows.items())
            judged = (
                f"SELECT *, {_careful(f'({parts.verdict}) IS NOT FALSE', 'false')} AS _verdict "
                f"FROM (SELECT *, {over} FROM ({valued}) AS valued) AS windowed"
            )
        applies = " AND _applies" if rule.applies else ""
        return self._relation(
            f"SELECT _file, _row FROM ({judged}) AS judged WHERE NOT _verdict{applies}", "windowed"
        )


def _careful(sql: str, otherwise: str) -> str:
    """Return `sql`, or `otherwise` for rows that it cannot be computed for.

    What stands twice DuckDB takes out and computes once, even out of TRY (seen in 1.5.6), where nothing
    holds its failure back; it takes nothing out of CASE. The condition is always true, which DuckDB learns
    too late to do away with it.
    """
    return f"coalesce(TRY(CASE WHEN _row IS NOT NULL THEN {sql} END), {otherwise})"


assert BITS < 63, "words are signed in most engines"
