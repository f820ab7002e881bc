"""Templates: what Kangshu hands out is what it takes back."""

from datetime import datetime
from pathlib import Path

import pytest

from kangshu.declarations import Severity, load_pack
from kangshu.intake import recognise
from kangshu.intake.template import template_workbook
from kangshu.quality.selftest import check_file
from kangshu.standards.tables import open_table

PACK = load_pack()
MOMENT = datetime(2026, 11, 1)
NAMES = [name for name, dataset in PACK.datasets.items() if dataset.category != "sample"]


@pytest.mark.parametrize("name", NAMES)
def test_a_template_is_recognised_as_its_own_data_set(name: str, tmp_path: Path):
    path = tmp_path / f"{name}.xlsx"
    path.write_bytes(template_workbook(dataset=PACK.datasets[name], pack=PACK))

    with open_table(path, scratch=tmp_path) as reader:
        found = recognise(headings=reader.headings, pack=PACK, file_name=path.name)

    assert found.dataset.name == name
    assert found.unknown == ()


@pytest.mark.parametrize("name", NAMES)
def test_the_example_row_of_a_template_passes_the_check(name: str, tmp_path: Path):
    path = tmp_path / f"{name}.xlsx"
    path.write_bytes(template_workbook(dataset=PACK.datasets[name], pack=PACK))

    report = check_file(path=path, dataset=name, pack=PACK, received_at=MOMENT).assessment

    assert [one for one in report.findings if one.severity is Severity.ERROR] == []
    assert report.accepted == 1


def test_the_same_declaration_gives_the_same_bytes():
    dataset = PACK.datasets["lab_result"]

    assert template_workbook(dataset=dataset, pack=PACK) == template_workbook(dataset=dataset, pack=PACK)
