"""The rules of the documentation work as they stand there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from kangshu.declarations import BASE_PACK, load_pack

PAGE = Path(__file__).parents[2] / "docs" / "data-quality.md"


def test_the_rules_of_the_page_can_be_added_to_a_data_set(tmp_path: Path):
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    pack = tmp_path / "pack"
    shutil.copytree(BASE_PACK, pack)
    file = pack / "datasets" / "diagnosis.toml"
    file.write_text(f"{file.read_text(encoding='utf-8')}\n{block}", encoding="utf-8")

    dataset = load_pack(pack).dataset("diagnosis")

    assert {"DG990", "DG991"} <= {rule.id for rule in dataset.rules}
    assert "confirmed_share" in {measure.name for measure in dataset.measures}
