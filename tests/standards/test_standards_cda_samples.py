"""Clinical documents that nobody here wrote: WS/T 500 templates, C-CDA examples, hostile XML."""

import os
import socket
from pathlib import Path

import pytest

from kangshu.standards import cda

SAMPLES = Path(os.environ.get("KANGSHU_SAMPLES", Path(__file__).parents[3] / "shared" / "samples"))

pytestmark = [
    pytest.mark.samples,
    pytest.mark.skipif(not SAMPLES.is_dir(), reason="the sample files are not here: set KANGSHU_SAMPLES"),
]

CHINESE = sorted((SAMPLES / "cda").glob("cn_wst500_*/*.xml"))
INTERNATIONAL = [
    *sorted((SAMPLES / "cda" / "ms_fhir_converter_ccda").glob("*.ccda")),
    *sorted((SAMPLES / "cda" / "hl7_c-cda-examples").glob("Documents_*.xml")),
    SAMPLES / "cda" / "fhir-test-cases_cda" / "cda-original.xml",
]
FRAGMENTS = sorted((SAMPLES / "cda" / "hl7_c-cda-examples").glob("Guide_Examples_*.xml"))
HOSTILE = [path for path in sorted((SAMPLES / "robustness").glob("xml_*/*")) if path.is_file()]


def shown(view):
    sections = list(view.sections)
    while sections:
        section = sections.pop()
        sections.extend(section.sections)
        yield section.title
        yield cda.blocks_text(section.blocks)


@pytest.mark.parametrize("path", CHINESE, ids=lambda path: path.name)
def test_chinese_documents_are_read_and_shown(path):
    document = cda.parse(path.read_bytes())
    view = cda.view(document)

    assert cda.looks_like(path.read_bytes())
    assert document.code.startswith("C00")
    assert view.title == document.title
    assert view.institution
    assert all(section.title for section in view.sections)
    content = "\n".join(shown(view))
    assert len(content) > 80
    assert "<" not in content


@pytest.mark.parametrize("path", CHINESE, ids=lambda path: path.name)
def test_chinese_documents_say_the_same_in_gb18030(path):
    text = path.read_text(encoding="utf-8").partition("?>")[2]
    data = ('<?xml version="1.0" encoding="GB18030"?>' + text).encode("gb18030")

    assert cda.view(cda.parse(data)) == cda.view(cda.parse(path.read_bytes()))


@pytest.mark.parametrize("path", INTERNATIONAL, ids=lambda path: path.name)
def test_international_documents_are_read_and_shown(path):
    view = cda.view(cda.parse(path.read_bytes()), language="en")

    assert view.patient
    assert view.date
    assert view.sections or view.attachment


@pytest.mark.parametrize("path", FRAGMENTS, ids=lambda path: path.name)
def test_fragments_are_refused_as_fragments(path):
    data = path.read_bytes()
    # Two are cut out together with a root that is in no namespace.
    expected = cda.NotXmlError | cda.NotADocumentError if cda.looks_like(data) else cda.NotADocumentError

    with pytest.raises(cda.CdaError) as caught:
        cda.parse(data)

    assert isinstance(caught.value, expected)
    assert caught.value.place


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path.name)
def test_hostile_xml_is_refused_and_nothing_is_fetched(path, monkeypatch):
    def never(*_, **__):
        raise AssertionError("nothing may be fetched")

    monkeypatch.setattr(socket.socket, "connect", never)

    with pytest.raises(cda.CdaError) as caught:
        cda.parse(path.read_bytes())

    if b"<!DOCTYPE" in path.read_bytes():
        assert isinstance(caught.value, cda.ForbiddenXmlError)


def test_replacing_documents_name_what_they_replace():
    (path,) = (SAMPLES / "cda" / "hl7_c-cda-examples").glob("General_Parent_Document_Replace*")

    (related,) = cda.parse(path.read_bytes()).related

    assert related.type == "RPLC"
    assert related.ids[0].key
