"""The Z segment of the documentation works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

from kangshu.declarations import BASE_PACK
from kangshu.mapping import load_authorities
from kangshu.mapping.hl7v2 import load_hl7v2
from kangshu.standards import hl7v2

PAGE = Path(__file__).parents[2] / "docs" / "message-lane.md"


def test_the_z_segment_of_the_page_adds_a_telephone_number(tmp_path: Path):
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "z.toml").write_text(block, encoding="utf-8")
    mapping = load_hl7v2(tmp_path, authorities=load_authorities(BASE_PACK / "authorities.toml"))
    text = (
        "MSH|^~\\&|HIS|H1|K|R|20260301083000||ADT^A04|C1|P|2.4\rEVN|A04|20260301\r"
        "PID|1||P1^^^H1^PI||测试甲||19680512|M\rZPI|1|^PRN^CP^^^^19900000001\rPV1|1|O\r"
    )

    mapped = mapping.apply(
        hl7v2.parse(text.encode()), sender="H1", make_id=lambda kind, key: f"{kind}.{len(key)}"
    )

    patient = next(draft.resource for draft in mapped.drafts if draft.type == "Patient")
    assert [one["value"] for one in patient["telecom"]] == ["19900000001"]
