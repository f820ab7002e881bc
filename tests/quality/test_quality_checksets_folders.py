"""Check sets of a pack of one's own: the language, what is refused where, and folders that mean no good."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from kangshu.app.commands import quality_tables
from kangshu.app.program import app
from kangshu.declarations import DeclarationError, load_pack
from kangshu.quality.checksets import (
    FolderUnusableError,
    NoCheckSetError,
    Report,
    State,
    TableUnusableError,
    check_declared,
    load_checkset,
    report_html,
    run_checks,
)

DATASET = """
[dataset]
name = "stay"
title = "住院"
title_en = "Stay"
edition = "1"
source = "made up"
description = "测试"
valid_from = 2000-01-01
key = ["number"]

[[field]]
name = "number"
title = "编号"
title_en = "Number"
type = "integer"
obligation = "required"

[[field]]
name = "ward"
title = "病区"
title_en = "Ward"
type = "string"
obligation = "optional"

[[field]]
name = "days"
title = "天数"
title_en = "Days"
type = "integer"
obligation = "optional"
"""

CHECKS = """
[checkset]
name = "stays"
title = "住院检查"
title_en = "Checks of stays"
edition = "1"
source = "made up"

[[check]]
name = "tooLong"
title = "天数过长"
title_en = "too long"
level = "FIELD"
dimension = "plausibility"
rows = "limits.csv"
threshold_from = "allowed"
applies = "{field} IS NOT NULL"
violated = "{field} > {most}"
message = "{table}.{field} 超过 {most}"
message_en = "{table}.{field} is above {most}"

[check.parameters]
most = "number"
"""

LIMITS = "table,field,most,allowed\nstay,days,30,50\n"


def make_pack(folder: Path, *, checks: str = CHECKS, limits: str = LIMITS) -> Path:
    (folder / "datasets").mkdir(parents=True)
    (folder / "codes").mkdir()
    (folder / "checks").mkdir()
    (folder / "pack.toml").write_text('name = "own"\ntitle = "自有"\ntitle_en = "Own"\nedition = "1"\n')
    (folder / "codes" / "index.toml").write_text("")
    (folder / "datasets" / "stay.toml").write_text(DATASET, encoding="utf-8")
    (folder / "checks" / "checks.toml").write_text(checks, encoding="utf-8")
    (folder / "checks" / "limits.csv").write_text(limits, encoding="utf-8")
    return folder


def ask(pack_folder: Path, tables: Path, scratch: Path) -> Report:
    pack = load_pack(pack_folder)
    checkset = load_checkset(folder=pack_folder, pack=pack)
    scratch.mkdir(exist_ok=True)
    return run_checks(tables, checkset=checkset, pack=pack, as_of=date(2026, 1, 1), scratch=scratch)


def make_tables(folder: Path, text: str = "number,ward,days\n1,A,40\n2,A,3\n3,B,\n") -> Path:
    folder.mkdir()
    (folder / "stay.csv").write_text(text, encoding="utf-8")
    return folder


def test_a_check_of_ones_own_needs_no_python(tmp_path: Path):
    report = ask(make_pack(tmp_path / "pack"), make_tables(tmp_path / "tables"), tmp_path / "scratch")

    (answer,) = report.answers
    assert (answer.violated, answer.denominator, answer.state) == (1, 2, State.PASSED)


def test_the_allowed_share_stands_beside_the_parameters(tmp_path: Path):
    pack = make_pack(tmp_path / "pack", limits=LIMITS.replace(",50", ",49.9"))

    report = ask(pack, make_tables(tmp_path / "tables"), tmp_path / "scratch")

    assert report.answers[0].state is State.FAILED


def test_headings_may_be_the_titles_and_the_text_gb18030(tmp_path: Path):
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "STAY.CSV").write_bytes("编号,病区,天数\n1,内科,40\n".encode("gb18030"))

    report = ask(make_pack(tmp_path / "pack"), folder, tmp_path / "scratch")

    assert (report.answers[0].violated, report.answers[0].denominator) == (1, 1)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (('rows = "limits.csv"', ""), "checks.toml:9"),
        (("{field} > {most}", "{field} > {least}"), "checks.toml:18"),
        (('violated = "{field} > {most}"', ""), "checks.toml:9"),
        (('most = "number"', 'most = "digits"'), "checks.toml:23"),
        (('level = "FIELD"', 'level = "FIELD"\ncolour = "red"'), "checks.toml:14"),
    ],
)
def test_a_wrong_kind_of_check_is_refused_with_its_line(tmp_path: Path, change: tuple[str, str], place: str):
    folder = make_pack(tmp_path / "pack", checks=CHECKS.replace(*change))

    with pytest.raises(DeclarationError) as caught:
        load_checkset(folder=folder, pack=load_pack(folder))

    assert caught.value.place is not None
    assert caught.value.place.endswith(place)


@pytest.mark.parametrize(
    ("limits", "line"),
    [
        ("table,field,most\nstay,days\n", 2),
        ("table,field,most\nstay,days,many\n", 2),
        ("table,field,most\nward,days,1\n", 2),
        ("table,field,most\nstay,hours,1\n", 2),
        ("table,field,moost\nstay,days,1\n", 1),
        ("field,most\ndays,1\n", 1),
        ("table,field,most,allowed\nstay,days,1,half\n", 2),
        ("table,field,most\nstay,days,1\nstay,days,1\n", 3),
    ],
)
def test_a_wrong_parameter_is_refused_with_its_line(tmp_path: Path, limits: str, line: int):
    folder = make_pack(tmp_path / "pack", limits=limits)

    with pytest.raises(DeclarationError) as caught:
        load_checkset(folder=folder, pack=load_pack(folder))

    assert caught.value.place is not None
    assert caught.value.place.endswith(f"limits.csv:{line}")


def test_sql_that_does_not_bind_is_refused_with_the_line_of_its_parameters(tmp_path: Path):
    folder = make_pack(tmp_path / "pack", checks=CHECKS.replace("{field} > {most}", "nothing > {most}"))
    pack = load_pack(folder)

    with pytest.raises(DeclarationError) as caught:
        check_declared(load_checkset(folder=folder, pack=pack), pack=pack)

    assert caught.value.place is not None
    assert caught.value.place.endswith("limits.csv:2")


def test_a_pack_without_checks_says_so(tmp_path: Path):
    folder = make_pack(tmp_path / "pack")
    (folder / "checks" / "checks.toml").unlink()

    with pytest.raises(NoCheckSetError):
        load_checkset(folder=folder, pack=load_pack(folder))


@pytest.mark.parametrize(
    "sql",
    [
        "(SELECT count(*) FROM read_text('{secret}')) > 0",
        "(SELECT count(*) FROM read_csv('{secret}')) > 0",
        "(SELECT count(*) FROM '{secret}') > 0",
    ],
)
def test_the_sql_of_a_pack_reads_nothing_but_the_folder(tmp_path: Path, sql: str):
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    violated = sql.replace("{secret}", str(secret))
    folder = make_pack(tmp_path / "pack", checks=CHECKS.replace("{field} > {most}", violated))

    report = ask(folder, make_tables(tmp_path / "tables"), tmp_path / "scratch")

    assert report.answers[0].state is State.NOT_RUN


def test_a_file_that_is_no_table_is_refused_without_its_words(tmp_path: Path):
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "stay.parquet").write_bytes("PAR1 机密内容 PAR1".encode())

    with pytest.raises(TableUnusableError) as caught:
        ask(make_pack(tmp_path / "pack"), folder, tmp_path / "scratch")

    assert "机密" not in f"{caught.value}{caught.value.__cause__}{caught.value.__context__}"


def test_two_files_of_one_table_are_refused(tmp_path: Path):
    folder = make_tables(tmp_path / "tables")
    duckdb.sql(f"COPY (SELECT 1 AS number) TO '{folder / 'STAY.parquet'}' (FORMAT parquet)")

    with pytest.raises(TableUnusableError):
        ask(make_pack(tmp_path / "pack"), folder, tmp_path / "scratch")


def test_a_folder_without_tables_is_refused(tmp_path: Path):
    (tmp_path / "tables").mkdir()

    with pytest.raises(FolderUnusableError):
        ask(make_pack(tmp_path / "pack"), tmp_path / "tables", tmp_path / "scratch")


def test_the_report_page_holds_no_value_out_of_the_tables(tmp_path: Path):
    tables = make_tables(tmp_path / "tables", "number,ward,days\n1,<script>机密</script>,77777\n")
    pack = make_pack(tmp_path / "pack", limits=LIMITS.replace(",50", ",0"))

    page = report_html(ask(pack, tables, tmp_path / "scratch"))

    assert "tooLong" in page
    assert "机密" not in page
    assert "77777" not in page


@settings(max_examples=40, deadline=None)
@given(cells=st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30)), max_size=8))
def test_whatever_stands_in_the_cells_every_check_is_answered(
    cells: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
):
    place = tmp_path_factory.mktemp("any")
    folder = place / "tables"
    folder.mkdir()
    con = duckdb.connect()
    con.execute("CREATE TABLE t (number VARCHAR, ward VARCHAR, days VARCHAR)")
    for number, days in cells:
        con.execute("INSERT INTO t VALUES (?, 'A', ?)", [number.replace("\0", ""), days.replace("\0", "")])
    con.execute(f"COPY t TO '{folder / 'stay.parquet'}' (FORMAT parquet)")
    con.close()

    report = ask(make_pack(place / "pack"), folder, place / "scratch")

    assert report.answers[0].state is not State.NOT_RUN
    assert 0 <= report.answers[0].violated <= report.answers[0].denominator <= len(cells)


def test_the_command_tells_the_same_to_people_and_programs(tmp_path: Path):
    pack = make_pack(tmp_path / "pack", limits=LIMITS.replace(",50", ",0"))
    tables = make_tables(tmp_path / "tables")
    page = tmp_path / "report.html"
    words = ["quality", "tables", str(tables), "--pack", str(pack), "--as-of", "2026-01-01"]

    told = CliRunner().invoke(app, [*words, "--html", str(page)])
    asked = CliRunner().invoke(app, [*words, "--json"])

    assert quality_tables.quality.registered_commands
    assert (told.exit_code, asked.exit_code) == (1, 1)
    assert "tooLong" in told.output
    facts = json.loads(asked.stdout)
    assert (facts["failed"], facts["answers"][0]["violated"], facts["answers"][0]["share_percent"]) == (
        1,
        1,
        50.0,
    )
    assert "tooLong" in page.read_text(encoding="utf-8")
