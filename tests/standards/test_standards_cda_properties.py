"""Laws of reading and showing documents, on generated input; all values are made up."""

# ruff: noqa: E501 - documents are easier to read unbroken

import contextlib
import dataclasses
import re
from xml.sax.saxutils import escape, quoteattr

from hypothesis import example, given
from hypothesis import strategies as st

from kangshu.standards import cda

HEADER = """<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <id root="2.16.156.10011.1.1" extension="D-1"/><code code="C0007" codeSystem="2.16.156.10011.2.4"/>
  <title>{title}</title><effectiveTime value="202501020800"/>
  <recordTarget><patientRole><id root="1.2.3" extension="P1"/><patient><name>{name}</name></patient></patientRole>
  </recordTarget><component><structuredBody><component><section>"""
FOOTER = "</section></component></structuredBody></component></ClinicalDocument>"
PLAIN = HEADER.format(title="检验报告", name="测试甲") + "<text>正常</text>" + FOOTER

TAG = re.compile(
    r"<\s*/?\s*(script|iframe|object|embed|svg|img|style|form|input|table|tr|td|th|div|span|br|body|html|link|meta)\b",
    re.IGNORECASE,
)

# Anything that XML may hold as text.
characters = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
words = st.text(characters, max_size=12) | st.sampled_from(
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "</td>",
        "a<b",
        "<",
        "&lt;b&gt;",
        "1<2>0",
        "]]>",
    ]
)
markup = st.sampled_from(
    re.findall(
        r"\w+",
        """
        paragraph content br list item table thead tbody tr td th caption linkHtml sub sup
        renderMultiMedia script p div footnote ul li span style iframe
        """,
    )
)
narratives = st.recursive(
    words.map(escape),
    lambda inner: st.builds(
        lambda tag, parts, span: f'<{tag} colspan={quoteattr(span)} ID="x">{"".join(parts)}</{tag}>',
        markup,
        st.lists(inner, max_size=4),
        words,
    ),
    max_leaves=20,
)
elements = st.sampled_from(
    re.findall(
        r"\w+",
        """
        entry observation organizer act procedure substanceAdministration supply encounter component
        entryRelationship value code effectiveTime low high width period statusCode participant
        participantRole playingEntity performer assignedEntity assignedPerson name author time
        consumable manufacturedProduct manufacturedMaterial manufacturedLabeledDrug doseQuantity
        routeCode targetSiteCode interpretationCode referenceRange observationRange text id templateId
        section title translation originalText reference qualifier
        """,
    )
)
attributes = st.dictionaries(
    st.sampled_from(
        ["code", "codeSystem", "displayName", "value", "unit", "root", "extension", "nullFlavor", "xsi:type",
         "moodCode", "classCode", "typeCode", "negationInd", "inclusive", "representation", "mediaType"]
    ),
    words
    | st.sampled_from(["CD", "PQ", "IVL_PQ", "TS", "BL", "ST", "ED", "EVN", "true", "20250101", "1.5", "-3", "B64"]),
    max_size=4,
)  # fmt: skip
trees = st.recursive(
    words.map(escape),
    lambda inner: st.builds(
        lambda tag, given, parts: "<{0}{1}>{2}</{0}>".format(
            tag, "".join(f" {key}={quoteattr(text)}" for key, text in given.items()), "".join(parts)
        ),
        elements,
        attributes,
        st.lists(inner, max_size=5),
    ),
    max_leaves=25,
)


def texts(value):
    """Every text within a frozen value."""
    if isinstance(value, str):
        yield value
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from texts(getattr(value, field.name))
    elif isinstance(value, tuple):
        for one in value:
            yield from texts(one)


@given(st.binary(max_size=400))
@example(b"\xff\xfe<\0")
@example(b"\xef\xbb\xbf")
@example(b"<?xml")
@example(b"<?xml version='1.0' encoding='")
@example(b"\0<\0C")
def test_any_bytes_are_a_document_or_refused(data):
    cda.looks_like(data)
    with contextlib.suppress(cda.CdaError):
        cda.parse(data)


@given(st.data())
def test_a_document_with_any_damage_is_read_or_refused(data):
    content = bytearray(PLAIN.encode(data.draw(st.sampled_from(["utf-8", "gb18030", "utf-16"]))))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=4))

    refusals = []
    try:
        cda.view(cda.parse(bytes(content)))
    except cda.CdaError as refusal:
        refusals.append(str(refusal))

    assert "测试甲" not in "".join(refusals)


@given(narratives, words)
def test_a_view_never_holds_markup_of_the_document(narrative, title):
    section = f"<title>{escape(title)}</title><text>{narrative}</text>"
    data = HEADER.format(title=escape(title), name=escape(title)) + section + FOOTER

    for text in texts(cda.view(cda.parse(data.encode()))):
        assert not TAG.search(text)


@given(st.lists(trees, max_size=4))
def test_any_tree_of_entries_is_read_and_shown_without_markup(parts):
    document = cda.parse((HEADER.format(title="t", name="n") + "".join(parts) + FOOTER).encode())

    for language in ("zh", "en"):
        for text in texts(cda.view(document, language=language)):
            assert not TAG.search(text)


@given(st.text(st.sampled_from("康枢测试王芳䶮㛃𠮷ab1€·"), min_size=1, max_size=8))
def test_a_document_says_the_same_in_every_encoding(name):
    data = HEADER.format(title="标题", name=name) + FOOTER
    expected = cda.parse(data.encode())

    for codec, declared in (("gb18030", "GBK"), ("utf-16", "UTF-16"), ("utf-8-sig", "UTF-8")):
        document = cda.parse(f'<?xml version="1.0" encoding="{declared}"?>{data}'.encode(codec))
        assert document.patient == expected.patient
        assert document.title == expected.title
        assert document.charset_note is None


@given(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=40))
def test_plain_text_is_shown_as_it_is(text):
    data = HEADER.format(title="t", name="n") + f"<text><paragraph>{text}</paragraph></text>" + FOOTER

    (block,) = cda.view(cda.parse(data.encode())).sections[0].blocks

    assert block.text == text
