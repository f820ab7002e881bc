"""Show the shape of a message without what it says: every value masked, structure kept; pure.

HL7 v2 keeps its segment names, delimiters and the header (MSH, which names programs and no patient; its
security field is masked), JSON and XML keep names of elements and attributes. Everything else becomes `x` for
a letter, `0` for a digit, `〇` for a Chinese character. Bytes that are of no format are masked wholly.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from kangshu.intake.messages.model import MessageFormat, kept_name

_SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}(?![A-Za-z0-9])")
_HEADER_FIELDS = frozenset(range(2, 21)) - {7}  # of the split line, where MSH-8, security, is the seventh
_HEADER_WORD = re.compile(r"[\w.^&~\\ :/+-]{0,60}")
_JSON = re.compile(r'"((?:[^"\\]|\\.?)*+)("?)(\s*+:)?|([^"]+)', re.DOTALL)  # linear on any input
_JSON_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,60}")
_XML = re.compile(r"(<[/!?]?)([A-Za-z_][\w:.-]{0,60})?([^<>]*)(>?)|([^<]+)|<", re.DOTALL)
_XML_ATTRIBUTE = re.compile(
    r"""([A-Za-z_][\w:.-]{0,60})(\s*=\s*)("[^"]*"|'[^']*')|(\s+|[/?])|(.)""", re.DOTALL
)


def mask_body(body: bytes, *, format: MessageFormat, most: int) -> str:  # noqa: A002 - the word of the standards
    """Return at most the first `most` characters of a message, masked; line ends are shown as such."""
    text = _text_of(body[: 4 * most])[:most].replace("\r\n", "\n").replace("\r", "\n")
    return _MASKS.get(_shape(text, format), _mask)(text)


def readable_body(body: bytes, *, most: int) -> str:
    """Return at most the first `most` characters of a message as text, control characters made visible."""
    text = _text_of(body[: 4 * most])[:most].replace("\r\n", "\n").replace("\r", "\n")
    return "".join(one if one.isprintable() or one in "\n\t" else "\N{REPLACEMENT CHARACTER}" for one in text)


def _shape(text: str, format: MessageFormat) -> str:  # noqa: A002
    start = text.lstrip("\ufeff \t\n\v\x1c")[:3]
    if format is MessageFormat.HL7V2:
        return "hl7" if start in ("MSH", "FHS", "BHS") else "none"
    return "json" if start[:1] in ("{", "[") else "xml" if start[:1] == "<" else "none"


def _text_of(body: bytes) -> str:
    """Decode as far as the bytes tell: by their mark, as UTF-8, else as GB18030, which holds GBK."""
    if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return body.decode("utf-16", "replace")
    # The cut may have split the last character.
    for dropped in range(4):
        try:
            return body[: len(body) - dropped].decode("utf-8-sig")
        except UnicodeDecodeError:
            continue
    return body.decode("gb18030", "replace")


def _mask(text: str) -> str:
    return "".join(map(_masked, text))


def _masked(one: str) -> str:
    if one.isdigit():
        return "0"
    if one.isalpha():
        return "x" if ord(one) < 0x2E80 else "〇"
    return one if one in _KEPT_SIGNS else "\N{REPLACEMENT CHARACTER}" if not one.isprintable() else one


_KEPT_SIGNS = "\n\t"


def _mask_hl7(text: str) -> str:
    return "\n".join(map(_mask_line, text.split("\n")))


def _mask_line(line: str) -> str:
    name = line.lstrip("\ufeff \t\v\x1c")[:3]
    if not _SEGMENT.match(name):
        return _mask(line)
    start = line.index(name) + 3
    if name in ("MSH", "BHS", "FHS") and len(line) > start:
        return _mask(line[: start - 3]) + name + _mask_header(line[start:])
    return _mask(line[: start - 3]) + name + _mask(line[start:])


def _mask_header(rest: str) -> str:
    separator = rest[0]
    fields = rest.split(separator)
    kept = [field if _may_stand(place, field) else _mask(field) for place, field in enumerate(fields)]
    return separator.join(kept)


def _may_stand(place: int, field: str) -> bool:
    if place == 1:
        return len(field) < 6 and not field.isalnum()
    return place in _HEADER_FIELDS and bool(_HEADER_WORD.fullmatch(field)) and kept_name(field) == field


def _mask_json(text: str) -> str:
    def replace(found: re.Match[str]) -> str:
        content, end, colon, other = found.groups()
        if content is None:
            return _mask_json_words(other)
        named = colon is not None and _JSON_WORD.fullmatch(content)
        return f'"{content if named else _mask(content)}{end}{colon or ""}'

    return _JSON.sub(replace, text)


def _mask_json_words(text: str) -> str:
    return "".join(one if one in "truefalsn" else _masked(one) for one in text)


def _mask_xml(text: str) -> str:
    def replace(found: re.Match[str]) -> str:
        if found[1] is None:
            return _mask(found[0])
        if found[1] == "<!" or not found[2]:
            return found[1] + _mask(found[0][len(found[1]) :])
        return found[1] + found[2] + _XML_ATTRIBUTE.sub(_mask_attribute, found[3]) + found[4]

    return _XML.sub(replace, text)


def _mask_attribute(found: re.Match[str]) -> str:
    if found[1] is not None:
        return found[1] + found[2] + _mask(found[3])
    return found[4] or _mask(found[5])


_MASKS: dict[str, Callable[[str], str]] = {"hl7": _mask_hl7, "json": _mask_json, "xml": _mask_xml}
