"""What the tests of HL7 v2 share: synthetic messages and generators of arbitrary ones. No person is real."""

from __future__ import annotations

from hypothesis import strategies as st

from kangshu.standards.hl7v2 import NULL, Delimiters, build

MARKS = "!#$%&'()*+,-/:;<=>?@[]^_`{|}~\\"

ADT = (
    "MSH|^~\\&|HIS|990100^第一医院^L|KANGSHU|990000|20260301083000+0800||ADT^A01^ADT_A01|M1|P|2.5.1"
    "|||||CHN|UNICODE UTF-8\r"
    "EVN|A01|20260301083000\r"
    "PID|1||P0001^^^HIS&1.2.3&ISO^MR~990101199001011234^^^GA^NI||王^小明||19900101|M\r"
    "PV1|1|I|W01^R02^B03\r"
    "OBX|1|NM|GLU^葡萄糖^L||5.1|mmol/L\r"
    "OBX|2|NM|NA^钠^L||140|mmol/L\r"
)


def adt(text: str = ADT, *, charset: str = "utf-8") -> bytes:
    """Return a synthetic admission as bytes."""
    return text.encode(charset)


def message(
    *segments: str, header: str = "MSH|^~\\&|HIS|990100|KANGSHU|990000|20260301||ADT^A01|M1|P|2.5"
) -> bytes:
    """Return a message of lines in UTF-8."""
    return "\r".join([header, *segments, ""]).encode()


@st.composite
def delimiters(draw) -> Delimiters:
    """Any five or six distinct marks."""
    marks = draw(st.lists(st.sampled_from(MARKS), min_size=6, max_size=6, unique=True))
    field, component, repetition, escape, subcomponent, truncation = marks
    return Delimiters(
        field=field,
        component=component,
        repetition=repetition,
        escape=escape,
        subcomponent=subcomponent,
        truncation=draw(st.sampled_from([truncation, ""])),
    )


# Any text but halves of surrogate pairs, which no character set writes, and NUL, which reading drops.
values = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6),
    st.text(st.sampled_from(MARKS + "XFSTREPHN0A.br\r\n\x0b\x1c测"), max_size=8),
    st.sampled_from([NULL, "\\F\\", "\\X0D\\", "\\.br\\", "a\rb", "王", "\ufeff", " a ", "\\"]),
)
fields = st.one_of(
    values,
    st.lists(st.one_of(values, st.lists(values, min_size=1, max_size=3)), min_size=1, max_size=4).map(tuple),
    st.lists(st.lists(values, min_size=1, max_size=3).map(tuple), min_size=1, max_size=3),
)
names = st.sampled_from(["PID", "PV1", "OBX", "ZZ1", "NTE", "A00"])
segments = st.tuples(names, st.dictionaries(st.integers(1, 12), fields, max_size=5))
headers = st.tuples(st.just("MSH"), st.dictionaries(st.integers(3, 17), fields, max_size=6))


@st.composite
def messages(draw, *, charset: str = "utf-8"):
    """Any message that can be built, with any delimiters."""
    parts = [draw(headers), *draw(st.lists(segments, max_size=6))]
    return build(parts, delimiters=draw(delimiters()), charset=charset)
