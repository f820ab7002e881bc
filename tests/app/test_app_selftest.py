"""The self-test at home: findings with rows and remedies, no values, and a page that can be mailed."""

from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from kangshu.app.cli import app
from kangshu.declarations import load_pack

PACK = load_pack()
FIELDS = PACK.datasets["immunization"].fields
runner = CliRunner()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    good = [field.example for field in FIELDS]
    bad = [("秘密" if field.name == "vaccinated_at" else field.example) for field in FIELDS]
    number = next(i for i, field in enumerate(FIELDS) if field.name == "vaccination_number")
    bad[number] = "V-2"
    path = tmp_path / "接种.csv"
    lines = [[field.title.zh for field in FIELDS], good, bad]
    path.write_text("\n".join(",".join(f'"{cell}"' for cell in line) for line in lines), encoding="gb18030")
    return path


def test_a_finding_says_rule_field_row_what_to_do_and_what_it_is_worth(file: Path):
    result = runner.invoke(app, ["check", str(file), "--dataset", "immunization", "--json"])

    report = orjson.loads(result.stdout)
    assert result.exit_code == 1
    assert (report["rows"], report["accepted"], report["rejected"]) == (2, 1, 1)
    finding = next(one for one in report["findings"] if one["field"] == "vaccinated_at")
    assert (finding["rule"], finding["rows"], finding["first_rows"]) == ("type", 1, [3])
    assert finding["message"]
    assert finding["points"] > 0
    assert 0 < report["scores"]["total"] < 100
    assert report["scores"]["dimensions"]["validity"] == 50.0


def test_mending_what_was_found_is_worth_what_the_report_says(file: Path):
    def score() -> dict:
        result = runner.invoke(app, ["check", str(file), "--dataset", "immunization", "--json"])
        return orjson.loads(result.stdout)

    before = score()
    wrong = next(one for one in before["findings"] if one["field"] == "vaccinated_at")
    text = file.read_text(encoding="gb18030")
    example = next(field.example for field in FIELDS if field.name == "vaccinated_at")
    file.write_text(text.replace("秘密", example), encoding="gb18030")
    after = score()

    gained = after["scores"]["total"] - before["scores"]["total"]
    assert gained == pytest.approx(wrong["points"], abs=0.011)


def test_the_report_holds_no_value_out_of_the_file(file: Path, tmp_path: Path):
    page = tmp_path / "report.html"

    result = runner.invoke(app, ["check", str(file), "--dataset", "immunization", "--html", str(page)])

    assert "秘密" not in page.read_text(encoding="utf-8")
    assert "秘密" not in result.stdout
    assert "http" not in page.read_text(encoding="utf-8"), "nothing is loaded from elsewhere"


def test_an_unknown_data_set_is_wrong_usage_with_the_known_ones(file: Path):
    result = runner.invoke(app, ["check", str(file), "--dataset", "nothing", "--json"])

    assert result.exit_code == 2
    assert "immunization" in orjson.loads(result.stdout)["error"]["reason_en"]


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02", b"PK\x03\x04broken", b"a,b\n1,2\n"])
def test_a_file_that_is_no_table_of_this_kind_is_one_clear_sentence(tmp_path: Path, content: bytes):
    path = tmp_path / "x.csv"
    path.write_bytes(content)

    result = runner.invoke(app, ["check", str(path), "--dataset", "immunization", "--json"])

    assert result.exit_code == 2
    assert orjson.loads(result.stdout)["error"]["reason"]
