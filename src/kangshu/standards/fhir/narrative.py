"""Narratives (txt-1, txt-2): XHTML that a page can show as it is, without running, loading or sending
anything.

What R4 forbids is an error: elements and attributes that are not in its list, so scripts, forms, frames,
objects and `on...` attributes among them, and addresses that run something (`javascript:`, `data:` in links).
What R4 allows but would tell another server who is looking at which record is a warning: pictures and styles
from elsewhere. A page that shows narratives must not load those.
"""

from __future__ import annotations

import re
from typing import Any
from xml.parsers import expat

from kangshu.standards.fhir.findings import MAXIMUM_FINDINGS, Finding, Findings, only_errors
from kangshu.standards.fhir.json_form import plain_name
from kangshu.standards.fhir.model import Severity

XHTML = "http://www.w3.org/1999/xhtml"


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_COMMON = _names("id class title style lang dir tabindex accesskey")
_ALIGNED = _names("align char charoff valign")
_CELL = _ALIGNED | _names("abbr axis headers scope rowspan colspan width height bgcolor nowrap")
_SIZED = _ALIGNED | _names("span width")
_TABLE = _names("summary width border frame rules cellspacing cellpadding align bgcolor")
_PLAIN = _names(
    "abbr acronym address b bdo big br center cite code dd dfn dl dt em h1 h2 h3 h4 h5 h6 i kbd s samp"
    " small span strike strong sub sup tt u var"
)
_MORE: dict[str, frozenset[str]] = {
    "a": _names("href name rel rev charset hreflang type shape coords target"),
    "area": _names("href alt shape coords nohref"),
    "blockquote": _names("cite"),
    "caption": _names("align"),
    "col": _SIZED,
    "colgroup": _SIZED,
    "div": _names("align"),
    "font": _names("color face size"),
    "hr": _names("align width size noshade"),
    "img": _names("src alt longdesc height width usemap ismap border align"),
    "li": _names("type value"),
    "map": _names("name"),
    "ol": _names("type start"),
    "p": _names("align"),
    "pre": _names("width"),
    "q": _names("cite"),
    "table": _TABLE,
    "tbody": _ALIGNED,
    "td": _CELL,
    "tfoot": _ALIGNED,
    "th": _CELL,
    "thead": _ALIGNED,
    "tr": _ALIGNED | _names("bgcolor"),
    "ul": _names("type"),
}
_DIV, _PICTURE = f"{XHTML} div", f"{XHTML} img"
_ALLOWED = {
    f"{XHTML} {name}": _COMMON | more for name, more in (dict.fromkeys(_PLAIN, _names("")) | _MORE).items()
}
_XML_ATTRIBUTES = frozenset(f"http://www.w3.org/XML/1998/namespace {name}" for name in ("lang", "space"))
_ADDRESSES = frozenset({"href", "src", "cite", "longdesc", "usemap"})
# Not SVG, which is a document of its own.
_PIXELS = tuple(f"data:image/{kind}" for kind in ("png", "jpeg", "jpg", "gif", "webp", "bmp"))
_SAFE_SCHEMES = frozenset(["http", "https", "mailto", "tel", "urn", "ftp", "cid"])
_scheme = re.compile(r"([a-z][a-z0-9+\-.]*):").match
_ignored_by_browsers = re.compile(r"[\x00-\x20\u200b\ufeff]")
_style_that_runs = re.compile(
    r"expression\s*\(|behaviou?r\s*:|-moz-binding|javascript:|\\", re.IGNORECASE
).search
_style_from_elsewhere = re.compile(r"url\s*\(\s*['\"]?(?!#|data:)|@import|image-set", re.IGNORECASE).search


def check_div(value: Any) -> Findings | None:
    """Refuse what is no XHTML `div`, is empty, or holds what R4 forbids there."""
    if type(value) is not str or not value:
        return [Finding("wrong_type", "value", type="xhtml")]
    # So there is no document type declaration, and no entity but XML's own five.
    if not value.lstrip().startswith("<div"):
        return [Finding("narrative_not_xhtml", "structure")]
    reader = _Reader()
    parser = expat.ParserCreate("utf-8", " ")
    parser.buffer_text = True
    parser.StartElementHandler = reader.take_element
    parser.CharacterDataHandler = reader.take_text
    parser.ProcessingInstructionHandler = reader.take_instruction
    parser.CommentHandler = reader.take_comment
    parser.StartCdataSectionHandler = reader.take_section
    try:
        parser.Parse(value, True)
    except (expat.ExpatError, ValueError):
        return [Finding("narrative_not_xhtml", "structure")]
    return reader.result()


class _Reader:
    """Sees the elements of a narrative once, in the order in which they are written; keeps none of them."""

    def __init__(self) -> None:
        self._found: dict[tuple[Any, ...], Finding] = {}
        self._has_root = self._has_content = self._is_foreign = False

    def result(self) -> Findings | None:
        """Return each fault once, however often it is there."""
        found = list(self._found.values())
        if not self._has_content and not only_errors(found):
            found.append(Finding("rule", "invariant", rule="txt-2"))
        return found or None

    def take_element(self, name: str, attributes: dict[str, str]) -> None:
        """Take the begin of an element."""
        if not self._has_root:
            self._has_root = True
            self._is_foreign = name != _DIV
            if self._is_foreign:
                self._note(Finding("narrative_namespace", "structure"))
        if self._is_foreign:
            return
        allowed = _ALLOWED.get(name)
        if allowed is None:
            self._note(Finding("narrative_element", "invariant", name=plain_name(name.rpartition(" ")[2])))
            return
        if attributes:
            for attribute, text in attributes.items():
                for one in _check_attribute(attribute, text, allowed):
                    self._note(one)
        if name == _PICTURE:
            self._has_content = True

    def take_text(self, text: str) -> None:
        """Take text between tags."""
        if not self._has_content and text.strip(" \t\r\n"):
            self._has_content = True

    def take_instruction(self, target: str, data: str) -> None:
        """Take a processing instruction, which has no business in a narrative."""
        self._note(Finding("narrative_element", "invariant", name="?"))

    def take_comment(self, text: str) -> None:
        """Take a comment. An HTML page ends some of them earlier than XML does, and runs what follows."""
        if text.startswith((">", "->")):
            self._note(Finding("narrative_runs", "security"))

    def take_section(self) -> None:
        """Take the begin of a CDATA section, which an HTML page does not know: it would run what is in it."""
        self._note(Finding("narrative_runs", "security"))

    def _note(self, one: Finding) -> None:
        if len(self._found) < MAXIMUM_FINDINGS:
            self._found[(one.key, *one.values.values())] = one


def _check_attribute(name: str, text: str, allowed: frozenset[str]) -> Findings:
    if name not in allowed and name not in _XML_ATTRIBUTES:
        return [Finding("narrative_attribute", "invariant", name=plain_name(name.rpartition(" ")[2]))]
    if name in _ADDRESSES:
        return _check_address(name, text)
    if name == "style" and _style_that_runs(text):
        return [Finding("narrative_runs", "security")]
    if name == "style" and _style_from_elsewhere(text):
        return [Finding("narrative_elsewhere", "security", severity=Severity.WARNING)]
    return []


def _check_address(name: str, text: str) -> Findings:
    plain = _ignored_by_browsers.sub("", text).lower()
    scheme = _scheme(plain)
    if scheme is None:
        elsewhere = plain.startswith(("//", "\\\\", "/\\", "\\/"))
    elif name == "src" and plain.startswith(_PIXELS):
        return []
    elif scheme[1] not in _SAFE_SCHEMES:
        return [Finding("narrative_runs", "security")]
    else:
        elsewhere = scheme[1] in ("http", "https", "ftp")
    if elsewhere and name == "src":
        return [Finding("narrative_elsewhere", "security", severity=Severity.WARNING)]
    return []
