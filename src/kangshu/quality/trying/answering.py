"""The process of a trial: `python -m kangshu.quality.trying.answering`, a question in, an answer out.

Both are pickles between a process and its own child. A rule can ask for more than an engine stops by itself,
so this process has a bound of its own and its parent ends it when the time is over.
"""

from __future__ import annotations

import pickle
import resource
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from kangshu.declarations import Dataset, Rule, check_rule, functions_sql
from kangshu.kernel.errors import KangshuError
from kangshu.lake import Engine, Segment
from kangshu.quality.scanning import Scanned, compile_scan, run_scan
from kangshu.quality.trying.model import Question, Trial, TrialFile, TrialPlace

_FIRST_ROWS = 20  # arbitrary: enough to look at
_BESIDES_MIB = 1024  # the interpreter, libraries, and what an expression needs for one portion of rows


def answer(question: Question) -> Trial:
    """Bind the rule, run it, and tell what it finds.

    Raises:
        DeclarationError: the rule does not bind.
        LakeError: it could not be computed, or took too long.
    """
    check_rule(question.pack, dataset=question.dataset, rule=question.rule)
    scan = compile_scan(
        pack=question.pack,
        dataset=question.dataset,
        rules=[question.rule],
        table=lambda name: question.tables[name],
        source=question.source,
    )
    with Engine(question.home, threads=1, memory_mib=question.memory_mib) as engine:
        hurried = _Hurried(engine, question.seconds)
        scanned = run_scan(hurried, scan, functions=functions_sql(question.pack))
    return _told(scanned, question.rule, question.names)


class _Hurried:
    """The lake's engine, each query stopped after some seconds."""

    def __init__(self, engine: Engine, seconds: float) -> None:
        self._engine = engine
        self._seconds = seconds

    @property
    def name(self) -> str:
        return self._engine.name

    def table_sql(self, *, dataset: Dataset, segments: Sequence[Segment]) -> str:
        return self._engine.table_sql(dataset=dataset, segments=segments)

    def query(self, sql: str, *, functions: str = "") -> Iterator[pa.RecordBatch]:
        return self._engine.query(sql, functions=functions, seconds=self._seconds)


def _told(scanned: Scanned, rule: Rule, names: Mapping[int, str]) -> Trial:
    totals = scanned.totals.to_pylist()
    about = f"applied.{rule.id}" if rule.applies else "rows"
    rows: defaultdict[str, int] = defaultdict(int)
    for unit in totals:
        rows[unit["_institution"]] += unit[about]
    files: defaultdict[str, defaultdict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for found in scanned.findings():
        files[found.institution][found.file] += found.rows.tolist()
    places = [
        TrialPlace(
            institution=institution,
            rows=count,
            failing=sum(map(len, files[institution].values())),
            files=tuple(_file(file, names, numbers) for file, numbers in sorted(files[institution].items())),
        )
        for institution, count in rows.items()
    ]
    return Trial(
        files=len({unit["_file"] for unit in totals}),
        rows=sum(unit["rows"] for unit in totals),
        applied=sum(rows.values()),
        failing=sum(place.failing for place in places),
        places=tuple(sorted(places, key=lambda place: (-place.failing, place.institution))),
    )


def _file(file: int, names: Mapping[int, str], numbers: Sequence[int]) -> TrialFile:
    first = tuple(sorted(numbers)[:_FIRST_ROWS])
    return TrialFile(file=file, name=names.get(file, ""), failing=len(numbers), first=first)


def _bound(memory_mib: int) -> None:
    """Let this process have so much memory of its own and no more, and write no core of it."""
    most = (memory_mib + _BESIDES_MIB) << 20
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _main() -> None:
    question = pickle.load(sys.stdin.buffer)  # noqa: S301 - from our own parent
    _bound(question.memory_mib)
    try:
        told: Trial | KangshuError = answer(question)
    except KangshuError as failed:
        # Neither the cause nor the trace goes along: they may hold a value.
        told = failed
    sys.stdout.buffer.write(pickle.dumps(told))


if __name__ == "__main__":
    _main()
