"""The list of a file's refused rows: row, field, rule and what to do; never a value out of the row."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from kangshu.declarations import Dataset
from kangshu.intake.checking import Failure
from kangshu.intake.queries import reason_text

HEADINGS = ("行号 row", "字段 field", "字段代码 code", "规则 rule", "原因", "reason")


class RejectsFile:
    """Writes the list beside its place and moves it there when the file is taken in."""

    def __init__(self, *, path: Path, dataset: Dataset) -> None:
        self._path = path
        self._draft = path.with_suffix(f".{os.getpid()}.draft")
        self._dataset = dataset
        self._file = None
        self._writer = None
        self._texts: dict[tuple[str, str], tuple[str, ...]] = {}
        self.counts: Counter[tuple[str, str]] = Counter()

    def add(self, failures: Sequence[Failure]) -> None:
        """Write and count failures, in the order of their rows."""
        if not failures:
            return
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # With a byte order mark, or Excel takes the Chinese text for another encoding.
            self._file = self._draft.open("w", encoding="utf-8-sig", newline="")
            self._writer = csv.writer(self._file)
            self._writer.writerow(HEADINGS)
        for failure in sorted(failures, key=lambda one: (one.row, one.field, one.code)):
            self._writer.writerow((failure.row, *self._describe(failure)))
            self.counts[failure.code, failure.field] += 1

    def publish(self) -> None:
        """Move the list to its place; nothing happens where no row was refused."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._draft, self._path)
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            # First the draft: closing writes what is left, which fails again where the disk is full.
            self._draft.unlink(missing_ok=True)
            with suppress(OSError):
                self._file.close()

    def _describe(self, failure: Failure) -> tuple[str, ...]:
        key = (failure.code, f"{failure.field}/{failure.repeat}")
        if key not in self._texts:
            self._texts[key] = self._columns(failure)
        return self._texts[key]

    def _columns(self, failure: Failure) -> tuple[str, ...]:
        text = reason_text(rule=failure.code, field=failure.field, dataset=self._dataset)
        if not failure.field:
            return "", "", failure.code, text.zh, text.en
        field = self._dataset.field(failure.field)
        nth = f" {failure.repeat}" if field.repeat > 1 else ""
        return f"{field.title.zh}{nth}", field.code or field.name, failure.code, text.zh, text.en
