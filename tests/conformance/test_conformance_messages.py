"""Messages and documents that nobody here wrote go through the whole lane; the results are the documents."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from kangshu.app.conformance.client_registry import StepResult, run_client_registry
from kangshu.app.conformance.client_registry import as_page as registry_page
from kangshu.app.conformance.messages import TakenFile, as_page, take_samples
from kangshu.app.messages.opening import open_lane
from kangshu.app.platform import open_platform
from kangshu.storage import embedded

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = Path(os.environ.get("KANGSHU_SAMPLES", ROOT.parent / "shared" / "samples"))
PAGES = ROOT / "docs" / "conformance"

pytestmark = [
    pytest.mark.samples,
    pytest.mark.database,
    pytest.mark.skipif(
        not (SAMPLES / "hl7v2").is_dir(), reason="the sample files are not here: set KANGSHU_SAMPLES"
    ),
]

HL7V2 = (
    "cdc_dex",
    "cn_deidentified",
    "hapi_hl7v2",
    "hl7apy",
    "linuxforhealth",
    "mirth_connect",
    "ms_fhir_converter",
    "python_hl7",
)
FHIR = (
    "ch_epr_ihe_profiles",
    "fhirpath",
    "ihe_mhd_examples_4x",
    "ms_fhir_server_r4",
    "r4_examples",
    "synthea_r4_bundles",
    "validator_cases_r4",
)
CDA = (
    "cn_wst500_filled",
    "cn_wst500_rendered",
    "cn_wst500_skeletons",
    "fhir-test-cases_cda",
    "hl7_c-cda-examples",
    "ms_fhir_converter_ccda",
)
ROBUSTNESS = (
    "fhir_malformed",
    "hl7_broken",
    "json_jsontestsuite",
    "naughty_strings",
    "xml_defusedxml",
    "xml_mirth_xxe",
)
REMARKS_HL7 = {
    "cdc_dex/valid/Lyme_WithWarnings3.txt": "PID-7 is no date; a wrong one would find the wrong person",
    "cdc_dex/batch/phlip-flu-batch.txt": "one of its messages has no MSH-12, which every version requires",
    "cn_deidentified/oru_r01_device_fs114_no_lf_semicolons.utf8.hl7": (
        "an analyser's message names no patient number, only a name: whose result it is would be a guess"
    ),
    "hapi_hl7v2/files/messages.txt": "text between the messages is part of none; the messages are taken",
}
_KINDS_OF_REASON = {
    "the message control id is missing": "MSH-10 is required in every version: repeats are known by it",
    "there is no identifier of the patient at all": "whose record it is would be a guess",
    "the message has no PID segment": "nothing in it is about a patient, or the patient is not said",
    "the message type is missing": "MSH-9 is required in every version",
    "the version id is missing": "MSH-12 is required in every version",
    "the version id must be": "no such version exists",
    "the date and time of the message is missing": "MSH-7 is required from version 2.4",
    "this is no HL7 v2 message": "text or a broken batch, not a message",
    "this is a batch and not a single message": "a batch header inside a broken batch",
    "not a date or time": "a wrong date is refused at its place, not guessed",
    "the template was not filled in": "a template with placeholders is no document",
    "the content is not a recognisable": "a fragment, or another kind of file: negative case",
    "this element is required": "R4 structure",
    "document type declarations and entities": "nothing outside a document is ever read",
}


@dataclass(frozen=True)
class Results:
    hl7v2: list[TakenFile]
    fhir: list[TakenFile]
    cda: list[TakenFile]
    robustness: list[TakenFile]
    registry: list[StepResult]

    @property
    def all(self) -> list[TakenFile]:
        return [*self.hl7v2, *self.fhir, *self.cda, *self.robustness]


@pytest.fixture(scope="module")
def results() -> Results:
    place = Path(tempfile.mkdtemp(prefix="kangshu-test-"))

    async def work() -> Results:
        async with open_platform(place / "home") as platform:
            lane = open_lane(platform)

            async def take(folder: str, sources: tuple[str, ...]) -> list[TakenFile]:
                return await take_samples(platform, lane, folder=SAMPLES / folder, sources=sources)

            steps = SAMPLES / "hl7v2" / "santempi_pix_pdq"
            return Results(
                registry=await run_client_registry(platform, lane, folder=steps),
                hl7v2=await take("hl7v2", HL7V2),
                fhir=await take("fhir", FHIR),
                cda=await take("cda", CDA),
                robustness=await take("robustness", ROBUSTNESS),
            )

    try:
        return asyncio.run(work())
    finally:
        embedded.stop(place / "home")
        shutil.rmtree(place, ignore_errors=True)


def test_nothing_that_was_sent_made_anything_fall(results: Results):
    assert [(one.source, one.file, one.crash) for one in results.all if one.crash] == []
    assert not [
        one.file for one in results.all for _, reason in one.reasons if "could not be stored" in reason
    ]


def test_every_message_is_accounted_for(results: Results):
    assert all(one.messages == one.accepted + one.duplicate + one.refused for one in results.all)


def test_every_refusal_names_a_place_or_says_that_nothing_was_recognised(results: Results):
    without = [
        (one.file, reason)
        for one in results.all
        for place, reason in one.reasons
        if not place and "recognisable" not in reason and "nothing outside is ever read" not in reason
    ]

    assert without == []


def test_the_client_registry_answers_every_step_as_expected(results: Results):
    assert [one.step.name for one in results.registry if not one.agrees] == []
    assert len(results.registry) == 39


def test_what_is_called_valid_is_accepted(results: Results):
    refused = {
        f"{one.source}/{one.file}"
        for one in results.hl7v2
        if one.refused and one.file.startswith("valid/") and f"{one.source}/{one.file}" not in REMARKS_HL7
    }

    assert refused == set()
    assert all(not one.refused for one in results.hl7v2 if one.source == "ms_fhir_converter")
    assert all(not one.refused for one in results.fhir if one.source == "synthea_r4_bundles")
    assert all(not one.refused for one in results.cda if one.source == "cn_wst500_rendered")


def test_chinese_messages_in_every_encoding_are_accepted(results: Results):
    chinese = [one for one in results.hl7v2 if one.source == "cn_deidentified"]

    assert {one.file.split(".")[-2] for one in chinese if one.accepted} >= {"utf8", "gb18030"}
    assert sum(one.accepted for one in chinese) == 9


def test_what_has_no_header_is_refused_at_its_place(results: Results):
    broken = {one.file: one.reasons for one in results.robustness if one.source == "hl7_broken"}

    for field in ("7", "9", "10", "12"):
        places = [place for place, _ in broken[f"PHLIP_FLU_2.5.1_NO_MSH{field}.txt"]]
        assert places
        assert f"MSH-{field}" in places[0]


def test_bombs_and_external_entities_are_refused(results: Results):
    assert not [
        one.file
        for one in results.robustness
        if one.accepted and one.source in ("xml_defusedxml", "xml_mirth_xxe")
    ]


def _cases() -> ModuleType:
    path = ROOT / "tests" / "standards" / "test_standards_fhir_samples.py"
    spec = importlib.util.spec_from_file_location("fhir_cases", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["fhir_cases"] = module
    spec.loader.exec_module(module)
    return module


def _validator_table() -> Iterator[str]:
    module = _cases()
    cases = [case for case in module.validator_cases() if case.expected_errors is not None]
    agree = [case for case in cases if case.agrees]
    yield ""
    yield "## Cases of the reference validator"
    yield ""
    yield f"{len(cases)} cases have an expectation; {len(agree)} agree. Each disagreement with its reason:"
    yield ""
    yield "| case | errors expected | errors found | reason |"
    yield "|---|---:|---:|---|"
    for case in cases:
        if not case.agrees:
            reason = module.DISAGREEMENTS.get(case.test, "")
            yield f"| {case.test} | {case.expected_errors} | {len(case.errors)} | {reason} |"


def _with_remarks(taken: list[TakenFile], known: dict[str, str]) -> dict[str, str]:
    remarks = dict(known)
    for one in taken:
        if not one.reasons:
            continue
        found = {
            text for _, reason in one.reasons for start, text in _KINDS_OF_REASON.items() if start in reason
        }
        remarks.setdefault(f"{one.source}/{one.file}", "; ".join(sorted(found)))
    return remarks


def _page(results: Results, name: str) -> str:
    if name == "client-registry":
        return registry_page(results.registry)
    about = (
        "The files belong to other projects and are not part of this one; every file is a sender of its own."
    )
    if name == "hl7v2":
        return as_page(
            "HL7 v2 samples", about, results.hl7v2, remarks=_with_remarks(results.hl7v2, REMARKS_HL7)
        )
    if name == "cda":
        return as_page("CDA samples", about, results.cda, remarks=_with_remarks(results.cda, {}))
    if name == "fhir":
        text = as_page("FHIR R4 samples", about, results.fhir, remarks=_with_remarks(results.fhir, {}))
        return text + "\n".join([*_validator_table(), ""])
    page = as_page(
        "Hostile and malformed input",
        about,
        results.robustness,
        remarks=_with_remarks(results.robustness, {}),
    )
    return page


@pytest.mark.parametrize("name", ["hl7v2", "fhir", "cda", "robustness", "client-registry"])
def test_the_page_of_results_is_current(results: Results, name: str):
    path = PAGES / f"{name}.md"
    text = _page(results, name)
    if os.environ.get("KANGSHU_WRITE_DOCS"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    assert path.read_text(encoding="utf-8") == text
