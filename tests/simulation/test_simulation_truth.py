"""Files and truth agree: who a row is about, what is wrong with it, what should become of the file."""

from __future__ import annotations

import csv
import io
import zipfile
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import python_calamine
from simulated_region import SimulatedRegion, read_region

from kangshu.declarations import Pack
from kangshu.simulation import simulate

Row = dict[str, str]
NUMBERS = ("居民身份证号码", "身份证号", "resident_number", "A20")


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows of any file of the region, without the platform's own reader."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        columns = [
            ["" if value is None else str(value) for value in table[name].to_pylist()]
            for name in table.column_names
        ]
        return table.column_names, [list(row) for row in zip(*columns, strict=True)]
    if path.suffix == ".xlsx":
        rows = python_calamine.CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python()
        return [str(cell) for cell in rows[0]], [[str(cell) for cell in row] for row in rows[1:]]
    content = path.read_bytes()
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            content = archive.read(archive.namelist()[0])
    rows = list(csv.reader(io.StringIO(_text(content)), delimiter=_delimiter(content)))
    return rows[0], rows[1:]


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("gb18030")


def _delimiter(content: bytes) -> str:
    line = content.split(b"\n", 1)[0]
    return max(",|\t", key=lambda mark: line.count(mark.encode()))


def _by_row(region: SimulatedRegion, file: str) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = defaultdict(list)
    for error in region.errors:
        if error["file"] == file:
            found[int(error["row"])].append(error)
    return found


def _records(region: SimulatedRegion) -> dict[str, dict[int, int]]:
    records: dict[str, dict[int, int]] = defaultdict(dict)
    with (region.folder / "truth" / "records.csv").open(encoding="utf-8", newline="") as stream:
        for record in csv.DictReader(stream):
            records[record["file"]][int(record["row"])] = int(record["person"])
    return records


def test_the_summary_counts_what_lies_there(region: SimulatedRegion) -> None:
    found = [path for path in (region.folder / "submissions").glob("*/*") if path.is_file()]

    assert region.summary.files == len(found) == len(region.files)
    assert region.summary.institutions == 25
    assert {path.parent.name for path in found} <= {row["institution"] for row in region.files}
    assert region.summary.rows == sum(int(row["rows"]) for row in region.files if row["fate"] == "committed")


def test_every_row_is_about_the_person_that_the_truth_names(region: SimulatedRegion) -> None:
    records = _records(region)
    numbers = {int(person["person"]): person["resident_number"] for person in region.persons}
    compared = 0

    for file in region.files:
        if file["fate"] not in ("committed", "superseded"):
            continue
        headings, rows = _read(region.path(file["file"]))
        wrong = _by_row(region, file["file"])
        place = next((headings.index(name) for name in NUMBERS if name in headings), None)
        assert len(rows) == int(file["rows"]), file["file"]
        if place is None:
            continue
        for number, row in enumerate(rows, start=2):
            if (
                len(row) == len(headings)
                and len(row[place]) == 18
                and not _about(wrong.get(number, []), "resident_number")
            ):
                assert row[place] == numbers[records[file["file"]][number]], (file["file"], number)
                compared += 1

    assert compared > 100_000


def _about(errors: list[Row], field: str) -> bool:
    return any(error["field"] == field for error in errors)


def test_rejected_rows_are_those_with_an_error_that_rejects(region: SimulatedRegion) -> None:
    expected: dict[str, set[int]] = defaultdict(set)
    for error in region.errors:
        if error["outcome"] == "rejected":
            expected[error["file"]].add(int(error["row"]))

    for file in region.files:
        if file["fate"] in ("committed", "superseded"):
            assert int(file["rejected_rows"]) == len(expected[file["file"]])


def test_errors_are_of_every_kind_and_at_the_rates_of_their_institutions(region: SimulatedRegion) -> None:
    kinds = Counter(error["kind"] for error in region.errors)
    rows: Counter[str] = Counter()
    for file in region.files:
        if file["fate"] == "committed":
            rows[file["institution"]] += int(file["rows"])
    wrong = Counter(
        error["file"].split("/")[0]
        for error in region.errors
        if error["kind"] not in ("middle-dot", "rare-character-lost", "sex-as-text")
    )
    shares = sorted(wrong[institution] / count for institution, count in rows.items() if count > 2_000)

    assert {
        "missing-required", "wrong-code", "invalid-date", "invalid-number", "too-long", "check-digit",
        "sex-contradiction", "birth-contradiction", "times-out-of-order", "sum-wrong", "duplicate-row",
        "ragged-row", "orphan", "name-homophone", "name-variant", "name-spaced", "old-number",
        "missing-number", "other-number", "mother-number", "local-number-reused", "middle-dot", "sex-as-text",
    } <= set(kinds)  # fmt: skip
    assert shares[0] < 0.002
    assert shares[-1] > 0.04


def test_a_duplicated_file_has_the_same_bytes_and_a_cut_off_one_their_beginning(
    region: SimulatedRegion,
) -> None:
    fates = Counter(file["fate"] for file in region.files)

    for file in region.files:
        content = region.path(file["file"]).read_bytes()
        related = region.path(file["related"]).read_bytes() if file["related"] else b""
        if file["fate"] == "duplicate":
            assert content == related
        if file["fate"] == "rejected":
            assert content != related
            assert content[: len(content) // 2] == related[: len(content) // 2]

    assert min(fates[fate] for fate in ("committed", "duplicate", "superseded", "rejected")) >= 1


def test_a_corrected_file_comes_later_and_differs_in_the_wrong_rows_alone(region: SimulatedRegion) -> None:
    first = next(file for file in region.files if file["fate"] == "superseded")
    _, before = _read(region.path(first["file"]))
    _, after = _read(region.path(first["related"]))
    changed = {
        number for number, rows in enumerate(zip(before, after, strict=True), start=2) if rows[0] != rows[1]
    }
    wrong = {
        int(error["row"])
        for error in region.errors
        if error["file"] == first["file"] and error["kind"] == "sex-as-text"
    }

    assert first["file"] < first["related"]
    assert changed == wrong
    assert len(wrong) > 0.2 * len(before)


def test_files_come_in_every_form_that_a_region_sends(region: SimulatedRegion) -> None:
    forms: set[str] = set()
    for file in region.files:
        if file["fate"] != "committed":
            continue
        path = region.path(file["file"])
        content = path.read_bytes()
        forms.add(path.suffix)
        if path.suffix in (".csv", ".txt"):
            forms |= _traits(content)

    assert {
        ".csv", ".txt", ".zip", ".parquet", ".xlsx", "bom", "gb18030", "pipe", "tab", "crlf",
        "quoted line break", "chinese headings", "english headings", "codes",
    } <= forms  # fmt: skip


def _traits(content: bytes) -> set[str]:
    line = content.split(b"\n", 1)[0]
    heading = _text(line)
    traits = {
        "bom": content.startswith(b"\xef\xbb\xbf"),
        "pipe": b"|" in line,
        "tab": b"\t" in line,
        "crlf": line.endswith(b"\r"),
        "quoted line break": content.count(b"\n") > content.count(b'"\n') + 1 and line.startswith(b'"'),
        "chinese headings": "机构" in heading,
        "english headings": "institution_code" in heading,
        "codes": "A48" in heading,
        "gb18030": not _is_utf8(content),
    }
    return {name for name, true in traits.items() if true}


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def test_front_pages_have_as_many_numbered_columns_as_are_used(region: SimulatedRegion) -> None:
    page = next(f for f in region.files if f["dataset"] == "front_page" and f["fate"] == "committed")
    headings, rows = _read(region.path(page["file"]))
    numbered = [name for name in headings if name.startswith("C06x")]
    last = headings.index(numbered[-1])

    assert numbered == [f"C06x{number:02d}C" for number in range(1, len(numbered) + 1)]
    assert any(row[last] for row in rows if len(row) == len(headings))


def test_the_centre_sends_the_directories(region: SimulatedRegion) -> None:
    sent = {file["dataset"]: file for file in region.files if file["institution"][17:21] == "P918"}

    assert set(sent) == {"division", "institution", "population"}
    assert all(file["fate"] == "committed" and file["rejected_rows"] == "0" for file in sent.values())


def test_a_large_region_keeps_its_records_as_parquet(
    tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kangshu.simulation.truth.CSV_RESIDENTS", 100)

    summary = simulate(out=tmp_path, residents=1_000, months=2, pack=pack)

    records = pq.read_table(tmp_path / "truth" / "records.parquet")
    files = read_region(tmp_path, summary).files
    told = {file["file"]: int(file["rows"]) for file in files if file["fate"] in ("committed", "superseded")}
    assert Counter(records["file"].to_pylist()) == told
    assert sorted(path.name for path in (tmp_path / "truth").iterdir()) == [
        "anomalies.csv", "errors.csv", "files.csv", "messages.csv", "persons.csv", "records.parquet",
    ]  # fmt: skip
