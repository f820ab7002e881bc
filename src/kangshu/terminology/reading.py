"""Read a full code list from a file in any form that data sets may have: CSV, XLSX, Parquet, packed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kangshu.kernel.texts import Text, load_catalogue
from kangshu.standards.tables import Batch, open_table
from kangshu.terminology.errors import CodeListRefusedError
from kangshu.terminology.model import CodeEntry

say = load_catalogue(__package__ or __name__)

# The headings under which such lists go round; the first is ours.
_HEADINGS = {
    "code": ("code", "编码", "代码", "诊断编码", "手术操作编码"),
    "name_zh": ("name_zh", "名称", "诊断名称", "手术操作名称", "title"),
    "name_en": ("name_en", "英文名称", "title_en"),
    "edition": ("edition", "版本"),
}
_LONGEST_CODE = 40  # arbitrary; the longest in use has 17 characters (dagger and asterisk in one)


@dataclass(frozen=True, kw_only=True)
class CodeList:
    """A code list as it was read: its edition, where the file says it, and its codes in their order."""

    edition: str | None
    entries: tuple[CodeEntry, ...]


def read_code_list(path: Path, *, scratch: Path) -> CodeList:
    """Return the list in the file `path`; columns `code`, `name_zh` and, if given, `name_en` and `edition`.

    Blocks while it reads: call it in a thread from asynchronous code.

    Raises:
        TableError: the file is no table.
        CodeListRefusedError: a row has no code or name, a code occurs twice, or editions are mixed.
    """
    entries: dict[str, CodeEntry] = {}
    editions: set[str] = set()
    with open_table(path, scratch=scratch) as reader:
        columns = _columns(reader.headings)
        for batch in reader.batches():
            for row, cells in _rows(batch, columns):
                entry = _entry(cells, row)
                if entry.code in entries:
                    raise CodeListRefusedError(say("code_twice", code=entry.code), place=f"row {row}")
                entries[entry.code] = entry
                editions.add(cells.get("edition", ""))
    editions.discard("")
    if not entries:
        raise CodeListRefusedError(say("list_empty"))
    if len(editions) > 1:
        raise CodeListRefusedError(say("editions_mixed"))
    return CodeList(edition=next(iter(editions), None), entries=tuple(entries.values()))


def _columns(headings: tuple[str, ...]) -> dict[str, str]:
    """Return for each of our columns the name of the batch's column that holds it."""
    places = {heading.casefold(): f"c{number}" for number, heading in enumerate(headings)}
    found = {
        ours: places[name] for ours, names in _HEADINGS.items() for name in reversed(names) if name in places
    }
    for needed in ("code", "name_zh"):
        if needed not in found:
            raise CodeListRefusedError(say("heading_missing", heading=needed))
    return found


def _rows(batch: Batch, columns: dict[str, str]) -> Iterator[tuple[int, dict[str, str]]]:
    for fault in (*batch.ragged, *batch.faults):
        raise CodeListRefusedError(say("row_unreadable"), place=f"row {fault.row}")
    table = batch.table.select(["_row", *columns.values()])
    for values in table.to_pylist():
        yield values["_row"], {ours: (values[column] or "").strip() for ours, column in columns.items()}


def _entry(cells: dict[str, str], row: int) -> CodeEntry:
    code, chinese = cells["code"], cells["name_zh"]
    if not code or not chinese:
        raise CodeListRefusedError(say("code_missing"), place=f"row {row}")
    if len(code) > _LONGEST_CODE or len(code.split()) > 1:
        raise CodeListRefusedError(say("code_too_long", maximum=_LONGEST_CODE), place=f"row {row}")
    return CodeEntry(code=code, title=Text(zh=chinese, en=cells.get("name_en") or chinese))
