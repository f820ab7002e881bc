"""Keep how full the columns are: file by file as they come in, and what only a look over the lake tells."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from kangshu.declarations import Dataset, Pack, functions_sql
from kangshu.kernel.errors import KangshuError
from kangshu.lake import FIRST_MESSAGE_FILE, FileSource, LakeEngine, count_rows, list_files, live_segments
from kangshu.quality.catalogue import store
from kangshu.quality.catalogue.counting import (
    FEW,
    content_digest,
    different_sql,
    exact_sql,
    file_fill_sql,
    files_sql,
    message_fill_sql,
)
from kangshu.quality.catalogue.model import Refreshed
from kangshu.storage.database import Connection, Database

_LATEST_FILES = 200
"""Among so many files the last one from messages is looked for (arbitrary: a flush makes one in seconds)."""


async def record_fill(
    connection: Connection,
    *,
    file: int,
    dataset: str,
    institution: str,
    month: date,
    accepted: int,
    filled: Mapping[str, int],
    received_at: datetime | None = None,
    replaces: Sequence[int] = (),
) -> None:
    """Keep how many of a file's `accepted` rows have a value in each column, and forget those it replaces.

    To be called once for each file in the transaction that commits it, with its sender and the (last) month
    of its period; a file of several institutions or months is told apart by the next `refresh`. What is said
    again counts instead.

    Raises:
        ValueError: a column has more values than there are rows, or fewer than none.
    """
    if accepted < 0 or any(not 0 <= count <= accepted for count in filled.values()):
        raise ValueError("a column has at most as many values as there are rows, and at least none")
    await store.delete_fills(connection, files=[*replaces, file])
    fill = store.Fill(
        file=file,
        dataset=dataset,
        institution=institution,
        month=month.replace(day=1),
        accepted=accepted,
        columns=tuple(filled),
        filled=tuple(filled.values()),
        received_at=received_at,
        files=int(accepted > 0),
        whole_files=int(accepted > 0),
    )
    await store.insert_fills(connection, fills=[fill])


async def forget_fills(connection: Connection, *, files: Sequence[int]) -> None:
    """Forget the counts of files that no longer stand."""
    await store.delete_fills(connection, files=files)


async def add_up_fills(database: Database) -> None:
    """Bring the sums up to date, so that asking stays quick; what is asked is right without it too."""
    async with database.connection() as connection:
        datasets = await store.list_datasets_with_changes(connection)
    for dataset in datasets:
        async with database.transaction() as connection:
            await store.add_changes_to_sums(connection, dataset=dataset)


async def refresh(
    database: Database,
    engine: LakeEngine,
    *,
    pack: Pack,
    now: datetime,
    datasets: Sequence[str] | None = None,
    force: bool = False,
) -> list[Refreshed]:
    """Count in the lake what files do not tell: rows from messages, and how many values differ.

    Also sets right what a crash or an older version left: files that stand and are not counted, files that
    are counted and do not stand. A data set of which the lake holds what it held the last time is skipped,
    but for `force`. Each is a transaction of its own: what was done before a failure stands, the others are
    tried, and then the first failure is raised.

    Raises:
        LakeError: a data set could not be read.
    """
    done: list[Refreshed] = []
    failure: KangshuError | None = None
    for name, dataset in pack.datasets.items():
        if datasets is not None and name not in datasets:
            continue
        try:
            done.append(await _refresh(database, engine, pack=pack, dataset=dataset, now=now, force=force))
        except KangshuError as error:
            failure = failure or error
    await add_up_fills(database)
    if failure:
        raise failure
    return done


@dataclass(frozen=True, kw_only=True)
class _Unsettled:
    """A file that was counted as a whole though its rows are of several institutions or months."""

    received_at: datetime | None
    month: date
    one_month: date | None


@dataclass(frozen=True, kw_only=True)
class _Standing:
    """What the manifest and our tables say at one moment."""

    source: str
    content: bytes
    same: bool
    empty: bool
    counted: set[int]
    unsettled: Mapping[int, _Unsettled]
    last_message: datetime | None


async def _refresh(
    database: Database,
    engine: LakeEngine,
    *,
    pack: Pack,
    dataset: Dataset,
    now: datetime,
    force: bool,
) -> Refreshed:
    standing = await _standing(database, engine, dataset)
    if standing.same and not force:
        return Refreshed(dataset=dataset.name, skipped=True)
    counts = _Counts(engine, pack, dataset, standing)
    # Nothing is held open while the lake is read: what changes meanwhile is another day's refresh.
    fills, different = await asyncio.to_thread(counts.read, now.date().replace(day=1))
    messages = [fill for fill in fills if fill.file == FIRST_MESSAGE_FILE]
    async with database.transaction() as connection:
        if not await store.put_refreshed(
            connection, dataset=dataset.name, content=standing.content, started_at=now, now=now
        ):
            return Refreshed(dataset=dataset.name, skipped=True)
        gone = sorted(standing.counted - counts.files)
        removed = await store.delete_fills(connection, files=gone, dataset=dataset.name) if gone else 0
        anew = [FIRST_MESSAGE_FILE, *(file for file in standing.unsettled if file in counts.files)]
        await store.delete_fills(connection, files=anew, dataset=dataset.name)
        await store.insert_fills(connection, fills=fills)
        await store.replace_different(connection, dataset=dataset.name, different=different)
    return Refreshed(
        dataset=dataset.name,
        skipped=False,
        rows=counts.rows,
        message_rows=sum(fill.accepted for fill in messages),
        files_added=len(counts.files - standing.counted),
        files_removed=removed,
        columns=len(different),
    )


async def _standing(database: Database, engine: LakeEngine, dataset: Dataset) -> _Standing:
    async with database.transaction(readonly=True, snapshot=True) as connection:
        segments = await live_segments(connection, dataset=dataset.name)
        counted = await store.list_file_ids(connection, dataset=dataset.name)
        unsettled = await store.list_unsettled(connection, dataset=dataset.name)
        known = await store.list_refreshed(connection)
        files = await list_files(connection, dataset=dataset.name, limit=_LATEST_FILES)
        rows = (await count_rows(connection)).get(dataset.name, 0)
    content = content_digest(dataset, rows=rows, latest=files[0] if files else None)
    earlier = known.get(dataset.name)
    return _Standing(
        source=engine.table_sql(dataset=dataset, segments=segments),
        content=content,
        same=earlier is not None and earlier[0] == content and not unsettled,
        empty=not segments,
        counted=counted,
        unsettled={
            row["file_id"]: _Unsettled(
                received_at=row["received_at"], month=row["month"], one_month=row["one_month"]
            )
            for row in unsettled
        },
        last_message=next((file.committed_at for file in files if file.source is FileSource.MESSAGE), None),
    )


class _Counts:
    """What a look over one data set in the lake finds."""

    def __init__(self, engine: LakeEngine, pack: Pack, dataset: Dataset, standing: _Standing) -> None:
        self._engine, self._functions = engine, functions_sql(pack)
        self._dataset, self._standing = dataset, standing
        self._columns = tuple(field.name for field in dataset.fields)
        self.files: set[int] = set()
        self.rows = 0

    def read(self, undated: date) -> tuple[list[store.Fill], dict[str, store.Different]]:
        """Return the counts of rows from messages and of files not rightly counted yet, and different values.

        Rows without a time count for the file's own month, or for `undated`.
        """
        if self._standing.empty:
            return [], {}
        source = self._standing.source
        self.files = {row["_file"] for row in self._ask(files_sql(source))}
        found = self._ask(message_fill_sql(source, self._columns))
        missing = sorted(self.files - (self._standing.counted - self._standing.unsettled.keys()))
        for statement in file_fill_sql(source, self._columns, missing):
            found += self._ask(statement)
        different = self._different(different_sql(source, self._columns), exact=False)
        few = [name for name, told in different.items() if told.count <= FEW]
        different.update(self._different(exact_sql(source, few), exact=True))
        self.rows = sum(row["_rows"] for row in found)
        return self._fills(found, undated), different

    def _different(
        self, statements: Iterable[tuple[Sequence[str], str]], *, exact: bool
    ) -> dict[str, store.Different]:
        found: dict[str, store.Different] = {}
        for names, statement in statements:
            row = self._ask(statement)[0]
            for place, name in enumerate(names):
                found[name] = store.Different(count=row[f"_c{place}"] or 0, exact=exact)
        return found

    def _ask(self, statement: str) -> list[dict[str, Any]]:
        batches = self._engine.query(statement, functions=self._functions)
        return [row for batch in batches for row in batch.to_pylist()]

    def _fills(self, rows: Sequence[dict[str, Any]], undated: date) -> list[store.Fill]:
        merged: dict[tuple[int, str, date], list[int]] = {}
        for row in rows:
            month = self._month(row, undated)
            key = row["_file"], row["_institution"], month
            counts = [row["_rows"], *(row[f"_c{place}"] for place in range(len(self._columns)))]
            known = merged.get(key)
            merged[key] = [a + b for a, b in zip(known, counts, strict=True)] if known else counts
        firsts: set[tuple[int, str]] = set()
        found: list[store.Fill] = []
        for (file, institution, month), counts in sorted(merged.items()):
            sent = file != FIRST_MESSAGE_FILE
            is_first = sent and (file, "") not in firsts
            is_own_first = sent and (file, institution) not in firsts
            firsts.update(((file, ""), (file, institution)))
            found.append(
                store.Fill(
                    file=file,
                    dataset=self._dataset.name,
                    institution=institution,
                    month=month,
                    accepted=counts[0],
                    columns=self._columns,
                    filled=tuple(counts[1:]),
                    received_at=self._received_at(file),
                    files=int(is_own_first),
                    whole_files=int(is_first),
                    settled=True,
                )
            )
        return found

    def _month(self, row: dict[str, Any], undated: date) -> date:
        """Return the month that rows count for: that of their file where it has one, else their event's."""
        known = self._standing.unsettled.get(row["_file"])
        if known is None:
            return row["_month"] or undated
        return known.one_month or row["_month"] or known.month

    def _received_at(self, file: int) -> datetime | None:
        if file == FIRST_MESSAGE_FILE:
            return self._standing.last_message
        known = self._standing.unsettled.get(file)
        return known.received_at if known else None
