"""Circulars: one set of figures in three forms, and what was issued stays. All institutions are fictional."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from circular_made_up import NASTY, circular
from python_calamine import CalamineWorkbook
from scoring_made_up import DATASET, HOSPITAL, MARCH, NOON, examined, finding, pack

from kangshu.directory import load_institutions
from kangshu.kernel.texts import Language, Text
from kangshu.quality.circular import (
    Circular,
    CircularIssuedError,
    Issue,
    MonthNotOverError,
    Shape,
    TypesetterMissingError,
    find_circular,
    issue_circular,
    list_issues,
    make_circular,
    read_circular,
    shown,
    source_of,
    summary_of,
    tables_of,
    write_pdf,
    write_xlsx,
)
from kangshu.quality.circular.typesetting import find_fonts, write_source
from kangshu.quality.operations import record_file

REGION = Text(zh="模拟省", en="Simulated Province")
APRIL = datetime(2026, 4, 12, 1, tzinfo=UTC)
BY = {"actor": "u1", "actor_name": "中心虚构"}


def _sheets(data: bytes) -> list[list[list[Any]]]:
    workbook = CalamineWorkbook.from_filelike(io.BytesIO(data))
    return [workbook.get_sheet_by_name(name).to_python() for name in workbook.sheet_names]


def _texts(made: Circular, *, most: int | None = None) -> list[list[list[str]]]:
    return [
        [[cell.text for cell in row] for row in table.rows]
        for table in tables_of(made, language="zh", most=most)
    ]


def test_the_spreadsheet_shows_the_figures_of_the_page():
    made = circular(name=NASTY)

    sheets = _sheets(write_xlsx(made))

    for sheet, table in zip(sheets, tables_of(made, language="zh"), strict=True):
        top = sheet.index(next(row for row in sheet if tuple(row[: len(table.columns)]) == table.columns))
        for read, row in zip(sheet[top + 1 :], table.rows, strict=False):
            as_shown = [
                shown(value, cell.shape) if isinstance(value, float | int) else value
                for value, cell in zip(read, row, strict=False)
            ]
            assert as_shown == [cell.text for cell in row]
    assert [row[0] for row in sheets[0][3:7]] == summary_of(made, language="zh")


def test_the_typesetter_is_given_the_figures_of_the_page():
    made = circular(name=NASTY)

    source = source_of(made, language="zh")

    assert [part["rows"] for part in source["parts"]] == _texts(made)
    assert source["summary"] == summary_of(made, language="zh")
    assert json.loads(json.dumps(source))["title"] == "模拟省数据质量通报"


def test_what_the_typesetter_sets_is_what_it_was_given(tmp_path: Path):
    typst = pytest.importorskip("typst", reason="needs the extra pdf")
    made = circular(name=NASTY)

    page = write_source(made, folder=tmp_path, language="zh")
    tables = json.loads(typst.query(str(page), "table"))

    # The narrow ones come first.
    expected = sorted(tables_of(made, language="zh"), key=lambda table: len(table.columns) > 2)
    for table, was_set in zip(expected, tables, strict=True):
        words = [*table.columns, *(cell.text for row in table.rows for cell in row)]
        assert [_text_of(cell["body"]) for cell in _cells(was_set)] == words


def _cells(element: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for child in element["children"]:
        found += [child] if child["func"] == "cell" else _cells(child)
    return found


def _text_of(body: dict[str, Any]) -> str:
    return body["text"] if body["func"] == "text" else _text_of(body["child"])


def test_a_pdf_of_the_same_circular_is_the_same_file():
    pytest.importorskip("typst", reason="needs the extra pdf")
    _needs_font()

    once, again = write_pdf(circular(name=NASTY)), write_pdf(circular(name=NASTY))

    assert once.startswith(b"%PDF-")
    assert once == again


def _needs_font() -> None:
    try:
        find_fonts()
    except TypesetterMissingError:
        pytest.skip("needs the font Noto Sans CJK")


def test_without_a_font_the_error_says_what_to_install(tmp_path: Path):
    with pytest.raises(TypesetterMissingError, match="fonts-noto-cjk"):
        find_fonts(tmp_path)


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "typst", None)

    with pytest.raises(TypesetterMissingError, match=r"kangshu\[pdf\]"):
        write_pdf(circular())


def test_a_long_ranking_ends_in_the_pdf_and_says_where_the_rest_is():
    made = circular(institutions=501)

    (ranking,) = [part for part in source_of(made, language="zh")["parts"] if part["wide"]]

    assert len(ranking["rows"]) == 500
    assert "其余 1 家见 Excel" in ranking["note"]
    assert len(tables_of(made, language="zh")[-1].rows) == 501


def test_best_and_worst_are_not_the_same_institutions():
    few, many = circular(institutions=7), circular(institutions=25)

    assert (len(few.best), few.worst) == (7, ())
    assert [line.place for line in many.worst] == list(range(25, 15, -1))


def test_a_kept_circular_reads_back_as_it_was():
    issue = Issue(month=MARCH, issued_at=APRIL, issued_by="u1")
    made = circular(name=NASTY)

    kept = read_circular(json.loads(json.dumps(made.document())), issue=issue)

    assert kept.issue == issue
    assert kept.document() == made.document()
    assert _texts(kept) == _texts(made)


def test_in_english_nothing_is_left_in_chinese_but_names():
    made = circular(institutions=3)
    words = [*summary_of(made, language="en")]
    for table in tables_of(made, language="en"):
        words += [table.title, *table.columns]

    assert not [word for word in words if any("一" <= character <= "鿿" for character in word)]


def test_a_check_of_every_data_set_is_told_in_words_and_a_rule_by_its_id():
    made = circular(institutions=3)
    (one,) = made.findings
    more = (one, replace(one, rule="required"), replace(one, rule="ragged"))

    told: dict[Language, list[str]] = {
        "zh": ["FP006", "必填检查", "列数检查"],
        "en": ["FP006", "required", "cells"],
    }
    for language, words in told.items():
        (table,) = (
            table
            for table in tables_of(replace(made, findings=more), language=language)
            if one.dataset_title.in_(language) == table.rows[0][0].text and len(table.rows) == 3
        )
        assert [row[1].text for row in table.rows] == words


def test_shares_are_cut_so_that_all_means_all():
    assert shown(0.99999, Shape.SHARE) == "99.99%"
    assert shown(0.29, Shape.SHARE) == "29.00%"
    assert shown(1.0, Shape.SHARE) == "100.00%"


@pytest.mark.database
def test_a_circular_is_made_of_the_figures_and_stays_as_issued(database_run: Any):
    made_up = pack()

    async def scenario(database: Any) -> None:
        async with database.transaction() as connection:
            await load_institutions(
                connection, rows=[{"institution_code": HOSPITAL, "name": "虚构医院", "type": "A1"}]
            )
            await _record(connection, 1, examined(finding("C1", [1, 2]), finding("K2", [3]), rows=8))

            draft = await make_circular(connection, pack=made_up, month=MARCH, now=APRIL, region=REGION)
            issued = await issue_circular(connection, circular=draft, now=APRIL, **BY)
            await _record(connection, 2, examined(rows=100))
            kept = await find_circular(connection, month=MARCH)
            later = await make_circular(connection, pack=made_up, month=MARCH, now=APRIL, region=REGION)
            with pytest.raises(CircularIssuedError):
                await issue_circular(connection, circular=later, now=APRIL, **BY)

            assert await list_issues(connection) == [issued.issue]
        assert (draft.headline.rows, draft.headline.rejected, draft.headline.files) == (8, 2, 1)
        assert [(line.place, line.name, line.total) for line in draft.ranking] == [(1, "虚构医院", 90.83)]
        assert [(line.rule, line.rows, line.institutions) for line in draft.findings] == [
            ("C1", 2, 1),
            ("K2", 1, 1),
        ]
        assert kept == issued
        assert later.headline.rows == 108

    database_run(scenario)


async def _record(connection: Any, file: int, found: Any) -> None:
    await record_file(connection, file=file, dataset=DATASET, examined=found, received_at=NOON)


@pytest.mark.database
def test_an_empty_month_has_a_circular_that_says_so(database_run: Any):
    async def scenario(database: Any) -> None:
        async with database.transaction() as connection:
            made = await make_circular(connection, pack=pack(), month=MARCH, now=APRIL, region=REGION)

            assert made.ranking == ()
            assert summary_of(made, language="zh") == ["本月没有应报送的数据，也没有收到数据。"]
            assert write_xlsx(made)

    database_run(scenario)


@pytest.mark.database
def test_a_month_that_still_runs_is_not_issued(database_run: Any):
    async def scenario(database: Any) -> None:
        async with database.transaction() as connection:
            now = datetime(2026, 3, 31, 15, tzinfo=UTC)
            draft = await make_circular(connection, pack=pack(), month=MARCH, now=now, region=REGION)

            with pytest.raises(MonthNotOverError):
                await issue_circular(connection, circular=draft, now=now, **BY)

        assert draft.month == date(2026, 3, 1)

    database_run(scenario)
