"""Ask a rule of a sample of the lake, in a process of its own."""

from __future__ import annotations

import asyncio
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path

from kangshu.declarations import Dataset, Pack, Rule
from kangshu.intake import FileState, Receipt, list_receipts
from kangshu.kernel.errors import KangshuError
from kangshu.lake import Engine, QueryStoppedError, Segment, live_segments
from kangshu.quality.trying.errors import TrialFailedError, TrialStoppedError
from kangshu.quality.trying.model import MOST_ROWS, Question, Trial
from kangshu.storage.database import Connection, Database

_MOST_FILES = 500
_PAGE = 100
_TO_START = 10.0  # seconds that the process may take to begin, on a busy machine


async def try_rule(
    database: Database,
    engine: Engine,
    *,
    home: Path,
    pack: Pack,
    dataset: Dataset,
    rule: Rule,
    institutions: Sequence[str] | None,
    most_rows: int = 100_000,
    seconds: float = 10.0,
    memory_mib: int = 512,
) -> Trial:
    """Return what `rule` finds in the newest files of `dataset`, of `institutions` (None: all) alone.

    The sample has about `most_rows` rows; the rows that looks see are within `institutions` too, but for
    directories. Places with most findings come first. `home` is the lake's.

    Raises:
        DeclarationError: the rule does not bind; its line is the rule's.
        TrialStoppedError: it took longer than `seconds`.
        TrialFailedError: it came to no end.
        LakeError: it could not be computed.
    """
    most_rows = min(most_rows, MOST_ROWS)
    named = {dataset.name, *(look.dataset for look in rule.looks)} & set(pack.datasets)
    async with database.connection() as connection:
        sample = await _sample(connection, dataset.name, institutions, most_rows=most_rows)
        segments = {name: await live_segments(connection, dataset=name) for name in sorted(named)}
        chosen = await live_segments(connection, dataset=dataset.name, files=[one.id for one in sample])
    question = Question(
        home=home,
        pack=pack,
        dataset=dataset,
        rule=rule,
        source=_source(engine.table_sql(dataset=dataset, segments=chosen), sample, most_rows=most_rows),
        tables={
            name: _table(engine, pack.datasets[name], found, institutions) for name, found in segments.items()
        },
        names={receipt.id: receipt.name for receipt in sample},
        seconds=seconds,
        memory_mib=memory_mib,
    )
    return await _ask(question)


async def _ask(question: Question) -> Trial:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "kangshu.quality.trying.answering"),
        stdin=pipe,
        stdout=pipe,
        # What it says as it dies is about our code and perhaps somebody's value.
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(question.seconds + _TO_START):
            answer, _ = await process.communicate(pickle.dumps(question))
    except TimeoutError:
        raise TrialStoppedError(seconds=question.seconds) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode or not answer:
        raise TrialFailedError
    told = pickle.loads(answer)  # noqa: S301 - from our own child
    if isinstance(told, QueryStoppedError):
        raise TrialStoppedError(seconds=question.seconds)
    if isinstance(told, KangshuError):
        raise told
    assert isinstance(told, Trial), "an answer is one or the other"
    return told


async def _sample(
    connection: Connection, dataset: str, institutions: Sequence[str] | None, *, most_rows: int
) -> list[Receipt]:
    """Return the newest files that stand, until they have rows enough."""
    chosen: list[Receipt] = []
    rows = 0
    before: int | None = None
    while rows < most_rows and len(chosen) < _MOST_FILES:
        found = await list_receipts(
            connection,
            institutions=institutions,
            dataset=dataset,
            state=FileState.COMMITTED,
            before=before,
            limit=_PAGE,
        )
        for receipt in found:
            if rows < most_rows and receipt.accepted:
                chosen.append(receipt)
                rows += receipt.accepted
        if len(found) < _PAGE:
            break
        before = found[-1].id
    return chosen


def _table(
    engine: Engine, dataset: Dataset, segments: Sequence[Segment], institutions: Sequence[str] | None
) -> str:
    rows = engine.table_sql(dataset=dataset, segments=segments)
    if institutions is None or dataset.category == "directory":
        return rows
    codes = ", ".join("'" + code.replace("'", "''") + "'" for code in institutions)
    return f"(SELECT * FROM {rows} WHERE _institution IN ({codes or 'NULL'}))"


def _source(table: str, sample: Sequence[Receipt], *, most_rows: int) -> str:
    files = ", ".join(str(receipt.id) for receipt in sample) or "NULL"
    # Row numbers count the heading and refused rows: of one large file about so many rows are taken.
    return f"(SELECT * FROM {table} WHERE _file IN ({files}) AND _row <= {most_rows + 1})"
