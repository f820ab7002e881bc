"""Whatever stands in a file, the self-test answers with a report or a reason, and shows no cell of it."""

from __future__ import annotations

import csv
import io
import json
import traceback
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kangshu.declarations import Dataset, Pack, load_pack
from kangshu.kernel.errors import KangshuError
from kangshu.quality.selftest import check_file, report_html

NAMES = ("front_page", "lab_result", "mimic_vitalsign", "synthea_encounters")
SECRET = "绝密ZQXJ"  # stands for everything that must never leave a cell
NOW = datetime(2027, 1, 1, 12, 0)  # the wall clock of the region


@pytest.fixture(scope="module")
def pack() -> Pack:
    return load_pack()


def examples(dataset: Dataset) -> dict[str, str]:
    return {field.title.zh: field.example for field in dataset.fields}


_ODD = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            *("", " ", "-", "—", "NULL", "nan", "inf", "-inf", "1e308", "1e-400", "0x1F", "９９", "٣"),
            *("9999-12-31", "0000-00-00", "2026-02-30", "10000-01-01", "2026-03-01T25:61:61Z", "24:00"),
            *("99999999999999999999999999", "-0", "1.7976931348623157e309", "=1+1", "'; DROP TABLE x; --"),
            *("\ufeff", "\u202e", "\U000e0001", "\x0b", '"', "a\r\nb", "x" * 3000, "，", "\\N"),
        ]
    ),
).map(lambda text: f"{SECRET}{text}" if len(text) % 3 == 0 else text)


def written(headings: list[str], rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([headings, *rows])
    return text.getvalue().encode("utf-8", errors="replace")


def told_by(path: Path, *, pack: Pack, dataset: str | None) -> Iterator[str]:
    """Yield all that a person could come to see of a check of the file."""
    try:
        found = check_file(path=path, pack=pack, received_at=NOW, dataset=dataset)
    except KangshuError as error:
        yield "".join(traceback.format_exception(error))
        return
    document = found.document()
    assert document["rows"] == document["accepted"] + document["rejected"]
    yield json.dumps(document, ensure_ascii=False, default=str)
    yield report_html(found)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_odd_cells_are_judged_and_never_shown(
    name: str, data: st.DataObject, pack: Pack, tmp_path_factory: pytest.TempPathFactory
):
    cells = examples(pack.dataset(name))
    rows: list[list[str]] = []
    for _ in range(data.draw(st.integers(1, 4), label="rows")):
        odd = data.draw(st.dictionaries(st.sampled_from(sorted(cells)), _ODD, max_size=6), label="odd cells")
        rows.append([odd.get(heading, value) for heading, value in cells.items()])
    path = tmp_path_factory.mktemp("fuzz") / "file.csv"
    path.write_bytes(written(list(cells), rows))

    for told in told_by(path, pack=pack, dataset=name):
        assert SECRET not in told


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_torn_files_are_judged_or_refused_and_never_shown(
    name: str, data: st.DataObject, pack: Pack, tmp_path_factory: pytest.TempPathFactory
):
    cells = examples(pack.dataset(name))
    secrets = [SECRET] * len(cells)
    content = bytearray(written(list(cells), [list(cells.values()), secrets, list(cells.values())]))
    for _ in range(data.draw(st.integers(1, 6), label="wounds")):
        start = data.draw(st.integers(0, len(content)), label="start")
        end = min(len(content), start + data.draw(st.integers(0, 200), label="length"))
        content[start:end] = data.draw(st.binary(max_size=30), label="in its place")
    path = tmp_path_factory.mktemp("fuzz") / "file.csv"
    path.write_bytes(bytes(content))

    for told in told_by(path, pack=pack, dataset=data.draw(st.sampled_from([name, None]), label="named")):
        assert SECRET not in told
