"""Laws of the document mapping, on generated documents and on those of the samples; all values are made up."""

# ruff: noqa: E501 - documents are easier to read unbroken

import os
import re
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from cda_documents import (
    amount,
    below,
    coded,
    document,
    mapped,
    observation,
    one,
    organizer,
    section,
    text,
)
from hypothesis import given
from hypothesis import strategies as st

from kangshu.mapping import MappingError
from kangshu.standards import cda
from kangshu.standards.fhir import dumps, loads, references, validate

SAMPLES = Path(os.environ.get("KANGSHU_SAMPLES", Path(__file__).parents[3] / "shared" / "samples"))
FILES = sorted((SAMPLES / "cda").glob("**/*.xml")) + sorted((SAMPLES / "cda").glob("**/*.ccda"))


def quoted(said):
    return escape(said, {'"': "&quot;"})


words = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=10
)
numbers = st.sampled_from(["1", "36.50", "-3", "1e5", "x", "", "0.000000001", "9" * 25])
units = st.sampled_from(["", "1", "℃", "mmHg", "kg", "次/min", "mmol/L", "箱", "%"])
systems = st.sampled_from(
    [
        "2.16.156.10011.2.3.3.11",
        "2.16.156.10011.2.3.3.14",
        "2.16.156.10011.2.3.3.12",
        "2.16.156.10011.2.3.1.85",
        "1.2",
        "x",
        "",
    ]
)
codes = st.sampled_from(["I10", "I10.x00", "1", "47.0100", "BNG020", " ", "a b", "疾病"]) | words
elements = st.sampled_from(
    re.findall(
        r"DE[\d.]+",
        """DE05.01.024.00 DE05.01.025.00 DE05.10.130.00 DE05.10.172.00 DE02.10.023.00 DE02.10.022.00 DE04.10.186.00
        DE04.10.174.00 DE04.10.176.00 DE04.10.188.00 DE04.50.001.00 DE04.30.019.00 DE04.30.015.00 DE04.30.016.00
        DE04.30.017.00 DE04.50.134.00 DE04.50.130.00 DE04.50.131.00 DE06.00.288.00 DE06.00.289.00 DE06.00.290.00 DE06.00.133.00""",
    )
)
times = st.sampled_from(["", "2025", "20250102", "202501020800", "20250102080000+0800", "明天"])
values = st.one_of(
    st.builds(amount, numbers, units),
    st.builds(
        lambda code, name, system: coded(*(quoted(part) for part in (code, name, system))),
        codes,
        words,
        systems,
    ),
    words.map(lambda said: text(escape(said))),
    st.sampled_from(['<value xsi:type="BL" value="true"/>', '<value xsi:type="TS" value="20250101"/>', "<value/>", ""]),
)  # fmt: skip
titles = words.map(quoted)
entries = st.recursive(
    st.builds(lambda code, value, title, time: observation(code, value, title=title, time=time), elements, values, titles, times),
    lambda inner: st.one_of(
        st.builds(lambda members: organizer(*members), st.lists(inner, max_size=4)),
        st.builds(lambda code, value, parts: observation(code, value, below(*parts)), elements, values, st.lists(inner, max_size=3)),
        st.builds(
            lambda code, system, parts: f'<procedure moodCode="EVN"><code code="{quoted(code)}" codeSystem="{system}"/>{below(*parts)}</procedure>',
            codes, systems, st.lists(inner, max_size=2),
        ),
        st.builds(
            lambda name, number, unit, parts: f"""<substanceAdministration moodCode="EVN"><doseQuantity value="{number}" unit="{unit}"/>
            <consumable><manufacturedProduct><manufacturedLabeledDrug><name>{escape(name)}</name></manufacturedLabeledDrug>
            </manufacturedProduct></consumable>{below(*parts)}</substanceAdministration>""",
            words, numbers, units, st.lists(inner, max_size=2),
        ),
    ),
    max_leaves=15,
)  # fmt: skip
sections = st.builds(
    lambda inner, code: section(*inner, code=code),
    st.lists(entries, max_size=4),
    st.sampled_from(
        ["29548-5", "11535-2", "8716-3", "30954-2", "10160-0", "47519-4", "48765-2", "46209-3", ""]
    ),
)
classes = st.sampled_from(["C0002", "C0004", "C0006", "C0007", "C0008", "C0020", "C0032", "C0052", "X"])


def faults(result):
    """Everything that is wrong with the drafts, structurally."""
    ids = {f"{draft.type}/{draft.id}" for draft in result.drafts}
    assert len(ids) == len(result.drafts)
    for draft in result.drafts:
        for issue in validate(draft.resource):
            if issue.severity in ("error", "fatal"):
                yield f"{draft.type} {issue.expression} {issue.text.en}"
        for holder, key in references(draft.resource):
            target = holder[key]
            replaced = target.startswith("DocumentReference/")
            if target not in ids and not replaced:
                yield f"{draft.type} points at nothing: {target}"


@given(st.lists(sections, max_size=3), classes)
def test_whatever_the_entries_say_the_resources_are_good_fhir(parts, code):
    result = mapped(document(*parts, code=code))

    assert list(faults(result)) == []
    source = f"DocumentReference/{one(result, 'DocumentReference')['id']}"
    for draft in result.drafts:
        assert draft.type in ("Patient", "DocumentReference") or draft.resource["meta"]["source"] == source
        assert loads(dumps(draft.resource)) == draft.resource


@given(st.lists(sections, max_size=2), classes)
def test_no_note_quotes_the_document(parts, code):
    secret = section(observation("DE05.01.024.00", coded("机密代码", "机密病名")))

    result = mapped(document(*parts, secret, code=code))

    assert "机密" not in " ".join(f"{note.place} {note.text}" for note in result.notes)


@pytest.mark.samples
@pytest.mark.skipif(not FILES, reason="the sample files are not here: set KANGSHU_SAMPLES")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_documents_of_others_become_good_fhir(path):
    try:
        result = mapped(path.read_bytes())
    except cda.CdaError:
        assert b"ClinicalDocument" not in path.read_bytes() or not cda.looks_like(path.read_bytes()) or path.parent.name in {
            "hl7_c-cda-examples", "fhir-test-cases_cda"
        }  # fmt: skip
        return
    except MappingError:
        assert "skeletons" in path.parent.name  # templates that nobody filled in
        return

    assert list(faults(result)) == []
    assert result.drafts[0].type == "Patient"
    assert one(result, "DocumentReference")["content"][0]["attachment"]["url"].startswith("Binary/")
