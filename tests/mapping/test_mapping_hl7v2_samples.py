"""Messages of other projects become good FHIR, or are refused for a reason that a reader would give."""

import os
from pathlib import Path

import pytest
from hl7v2_messages import MAPPING, make_id

from kangshu.mapping import MappingError
from kangshu.standards import fhir, hl7v2

SAMPLES = Path(os.environ.get("KANGSHU_SAMPLES", Path(__file__).parents[3] / "shared" / "samples"))

pytestmark = [
    pytest.mark.samples,
    pytest.mark.skipif(not SAMPLES.is_dir(), reason="the sample files are not here: set KANGSHU_SAMPLES"),
]


def files() -> list[Path]:
    return sorted(path for path in (SAMPLES / "hl7v2").rglob("*") if path.is_file())


def test_no_sample_message_fails_and_every_resource_is_good():
    wrong: list[object] = []
    refused: dict[str, int] = {}
    taken = 0
    for path in files():
        for piece in hl7v2.split(path.read_bytes()):
            try:
                message = hl7v2.parse(piece.data)
                result = MAPPING.apply(message, sender="H0001", make_id=make_id)
            except hl7v2.Hl7Error:
                continue
            except MappingError as error:
                refused[error.place or ""] = refused.get(error.place or "", 0) + 1
                continue
            taken += 1
            for draft in result.drafts:
                issues = [one for one in fhir.validate(draft.resource) if one.severity in ("fatal", "error")]
                wrong += [(path.name, draft.type, one.expression) for one in issues]

    assert wrong == []
    assert set(refused) <= {"PID", "PID-3", "PID-7"}
    assert taken > 10 * sum(refused.values())


def chinese(name: str, encoding: str = "utf8"):
    data = (SAMPLES / "hl7v2" / "cn_deidentified" / f"{name}.{encoding}.hl7").read_bytes()
    return MAPPING.apply(hl7v2.parse(data), sender="H0001", make_id=make_id)


@pytest.mark.parametrize("encoding", ["utf8", "gb18030", "gbk_undeclared_or_misdeclared"])
def test_an_ultrasound_report_reads_the_same_in_every_encoding(encoding):
    result = chinese("oru_r01_pacs_ultrasound_report", encoding)
    report = next(draft.resource for draft in result.drafts if draft.type == "DiagnosticReport")
    texts = [draft.resource for draft in result.drafts if draft.type == "Observation"]

    assert report["status"] == "corrected"
    assert report["category"][0]["coding"][0]["code"] == "RUS"
    assert texts[0]["valueCodeableConcept"]["text"].startswith("肝大小形态正常")
    assert texts[1]["valueString"] == "肝脾未见明显异常"


@pytest.mark.parametrize("encoding", ["utf8", "gb18030", "gbk_undeclared_or_misdeclared"])
def test_tumour_markers_are_quantities_with_ranges(encoding):
    result = chinese("oul_r24_lis_tumor_markers", encoding)
    results = [draft.resource for draft in result.drafts if draft.type == "Observation"]

    assert [str(one["valueQuantity"]["value"]) for one in results] == ["1.82", "1.96", "1.34", "0.33", "0.25"]
    assert {one["valueQuantity"].get("unit") for one in results} == {"ug/L", None}
    assert all("high" in one["referenceRange"][0] for one in results)
