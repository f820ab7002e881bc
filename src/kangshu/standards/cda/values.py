"""The data types of CDA (HL7 version 3, release 1): from an element to a value; nothing here fails.

What is not as the standard has it is read as far as it can be: senders take liberties, and what they meant
is judged by who maps it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation

from kangshu.standards.cda.model import (
    Address,
    Code,
    Flag,
    Identifier,
    Media,
    Name,
    Period,
    Plain,
    Quantity,
    QuantityRange,
    Telecom,
    Value,
)
from kangshu.standards.cda.reading import V3, Element

SDTC = "{urn:hl7-org:sdtc}"
XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"

_NUMBER = re.compile(r"[+-]?(\d{1,20}(\.\d{0,20})?|\.\d{1,20})([eE][+-]?\d{1,2})?")
_SPACES = re.compile(r"[^\S\n]+")
_NAME_PARTS = frozenset({"family", "given", "prefix", "suffix", "delimiter"})
_MANY = 50  # repetitions that are read of identifiers, names, translations; arbitrary


def local(element: Element) -> str:
    """Return an element's name without its namespace; a thing that is no element has none."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def child(element: Element, name: str) -> Element | None:
    """Return the first child of that name, or None."""
    return next(element.iterchildren(V3 + name), None)


def children(element: Element, name: str) -> Iterator[Element]:
    """Yield the children of that name, not more than a document can mean."""
    for number, one in enumerate(element.iterchildren(V3 + name)):
        if number >= _MANY:
            return
        yield one


def line(text: str | None) -> str:
    """Return the text on one line, or an empty string."""
    return " ".join((text or "").split())


def lines(text: str | None) -> str:
    """Return the text with its line breaks, other whitespace put in order."""
    rows = (_SPACES.sub(" ", row).strip() for row in (text or "").replace("\r", "\n").split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(rows)).strip("\n")


def whole_text(element: Element | None) -> str:
    """Return all text within an element, with line breaks."""
    return "" if element is None else lines("".join(element.itertext()))


def attribute(element: Element | None, name: str) -> str | None:
    """Return an attribute, None where it is absent or blank."""
    value = None if element is None else element.get(name)
    return line(value) or None if value is not None else None


def identifier(element: Element) -> Identifier:
    """Return an II; some senders write the number as text."""
    extension = attribute(element, "extension") or line(element.text)
    return Identifier(
        root=attribute(element, "root"),
        extension=extension or None,
        assigner=attribute(element, "assigningAuthorityName"),
    )


def identifiers(element: Element) -> tuple[Identifier, ...]:
    """Return the identifiers of an element that say anything."""
    found = (identifier(one) for one in children(element, "id") if not one.get("nullFlavor"))
    return tuple(one for one in found if one.key)


def code(element: Element | None, references: Mapping[str, str] | None = None) -> Code | None:
    """Return a CD and its like, or None where the element is absent or empty.

    `references` resolves links of original texts into the narrative (`#id` without the sign).
    """
    return None if element is None else _code(element, references or {}, depth=0)


def _code(element: Element, references: Mapping[str, str], *, depth: int) -> Code | None:
    nested = children(element, "translation") if depth == 0 else ()
    translations = (_code(one, references, depth=1) for one in nested)
    # Chinese templates put the display as text into the element.
    original = _original_text(child(element, "originalText"), references) or line(element.text)
    names = (child(one, "name") for one in children(element, "qualifier"))
    found = Code(
        code=attribute(element, "code"),
        system=attribute(element, "codeSystem"),
        system_name=attribute(element, "codeSystemName"),
        display=attribute(element, "displayName"),
        original_text=original or None,
        null_flavor=attribute(element, "nullFlavor"),
        translations=tuple(one for one in translations if one),
        qualifiers=tuple(text for name in names if (text := attribute(name, "displayName"))),
    )
    said = found.code or found.display or found.original_text or found.null_flavor or found.translations
    return found if said else None


def _original_text(element: Element | None, references: Mapping[str, str]) -> str:
    if element is None:
        return ""
    return line("".join(element.itertext())) or referenced(element, references)


def referenced(element: Element, references: Mapping[str, str]) -> str:
    """Return the piece of narrative that `<reference value="#id"/>` in the element names."""
    target = attribute(child(element, "reference"), "value")
    return references.get(target[1:], "") if target and target.startswith("#") else ""


def number(text: str | None) -> Decimal | None:
    """Return a decimal as written (`6.30` stays so), or None where it is none."""
    text = (text or "").strip()
    if not _NUMBER.fullmatch(text):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def quantity(element: Element | None) -> Quantity | None:
    """Return a PQ, INT, REAL or MO, or None where the element is absent or says nothing."""
    if element is None:
        return None
    text = attribute(element, "value") or line(element.text) or None
    money = attribute(element, "currency")
    found = Quantity(
        value=number(text),
        unit=attribute(element, "unit") or money,
        text=text,
        translations=tuple(
            Quantity(value=number(one.get("value")), unit=attribute(one, "unit") or _unit_code(one))
            for one in children(element, "translation")
        ),
        money=money is not None,
    )
    return found if text or found.unit else None


def _unit_code(element: Element) -> str | None:
    return attribute(element, "displayName") or attribute(element, "code")


def quantity_or_range(element: Element | None) -> Quantity | QuantityRange | None:
    """Return a PQ, or an IVL_PQ where there are bounds."""
    if element is None:
        return None
    low, high = child(element, "low"), child(element, "high")
    if low is None and high is None:
        return quantity(element) or quantity(child(element, "center"))
    found = QuantityRange(
        low=quantity(low),
        high=quantity(high),
        low_closed=low is None or low.get("inclusive") != "false",
        high_closed=high is None or high.get("inclusive") != "false",
    )
    return found if found.low or found.high else None


def period(element: Element | None) -> Period | None:
    """Return a TS, IVL_TS, PIVL_TS or EIVL_TS, or None where nothing is said."""
    if element is None:
        return None
    phase = child(element, "phase")
    bounds = element if phase is None else phase
    found = Period(
        at=attribute(element, "value") or attribute(child(bounds, "center"), "value"),
        low=attribute(child(bounds, "low"), "value"),
        high=attribute(child(bounds, "high"), "value"),
        width=quantity(child(bounds, "width")),
        every=quantity(child(element, "period")),
        event=attribute(child(element, "event"), "code"),
    )
    return found if found != _NO_PERIOD else None


_NO_PERIOD = Period()


def value(element: Element, references: Mapping[str, str]) -> Value | None:
    """Return an observation's value, by `xsi:type`, else by what it holds; None where it says nothing."""
    kind = (element.get(XSI_TYPE) or "").rpartition(":")[2].upper()
    if kind in ("CD", "CE", "CV", "CS", "CO"):
        return code(element, references)
    if kind in ("PQ", "INT", "REAL", "MO"):
        return quantity(element)
    if kind in ("TS", "IVL_TS", "PIVL_TS", "EIVL_TS"):
        return period(element)
    if kind.startswith(("IVL_PQ", "IVL_INT", "IVL_REAL")):
        return quantity_or_range(element)
    if kind == "BL":
        return flag(element)
    if kind in ("ST", "ED", "SC"):
        return text_or_media(element, references)
    return _untyped(element, references)


def _untyped(element: Element, references: Mapping[str, str]) -> Value | None:
    if element.get("code") or element.get("codeSystem"):
        return code(element, references)
    if child(element, "low") is not None or child(element, "high") is not None:
        return quantity_or_range(element)
    if element.get("value"):
        return quantity(element)
    return text_or_media(element, references)


def flag(element: Element) -> Flag | Plain | None:
    """Return a BL; what is neither true nor false stays a text."""
    said = (attribute(element, "value") or line(element.text)).lower()
    if said in ("true", "1", "t", "是"):
        return Flag(value=True)
    if said in ("false", "0", "f", "否"):
        return Flag(value=False)
    return Plain(text=said) if said else None


def text_or_media(element: Element, references: Mapping[str, str]) -> Plain | Media | None:
    """Return an ST or ED: text, unless it is Base64 or a link outside."""
    media_type = attribute(element, "mediaType")
    if element.get("representation") == "B64":
        return Media(media_type=media_type, base64="".join(element.itertext()))
    text = whole_text(element) or referenced(element, references) or (attribute(element, "value") or "")
    if text:
        return Plain(text=text)
    target = attribute(child(element, "reference"), "value")
    return Media(media_type=media_type, reference=target) if target else None


def name(element: Element | None) -> Name | None:
    """Return a person's name (PN), or None where nothing is said."""
    if element is None or element.get("nullFlavor"):
        return None
    parts: dict[str, list[str]] = {}
    for part in element.iterchildren():
        if (kind := local(part)) in _NAME_PARTS and (text := line("".join(part.itertext()))):
            parts.setdefault(kind, []).append(text)
    text = "" if parts else line("".join(element.itertext()))
    if not text and not parts:
        return None
    return Name(
        text=text or None,
        family=" ".join(parts.get("family", [])) or None,
        given=tuple(parts.get("given", [])[:_MANY]),
        prefix=tuple(parts.get("prefix", [])[:_MANY]),
        suffix=tuple(parts.get("suffix", [])[:_MANY]),
        use=attribute(element, "use"),
    )


def names(element: Element) -> tuple[Name, ...]:
    """Return the names of an element that say anything."""
    return tuple(found for one in children(element, "name") if (found := name(one)))


def addresses(element: Element) -> tuple[Address, ...]:
    """Return the addresses (AD) of an element that say anything."""
    found: list[Address] = []
    for one in children(element, "addr"):
        parts = tuple((local(part), text) for part in one.iterchildren() if (text := line(part.text)))
        text = "" if parts else line("".join(one.itertext()))
        if not one.get("nullFlavor") and (parts or text):
            found.append(Address(parts=parts[:_MANY], text=text or None, use=attribute(one, "use")))
    return tuple(found)


def telecoms(element: Element) -> tuple[Telecom, ...]:
    """Return the telephone numbers and the like (TEL) of an element."""
    return tuple(
        Telecom(value=said, use=attribute(one, "use"))
        for one in children(element, "telecom")
        if (said := attribute(one, "value"))
    )


def templates(element: Element) -> tuple[str, ...]:
    """Return the OIDs of the templates that an element claims to follow."""
    return tuple(root for one in children(element, "templateId") if (root := attribute(one, "root")))
