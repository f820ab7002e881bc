"""FHIR in XML: bytes to the same plain values that JSON gives, and back.

XML does not say what repeats and what is a number, the definitions do. What XML's form of FHIR forbids is
refused here, at its place; what FHIR's rules forbid is `validate`'s business, as with JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from functools import cache
from types import NoneType
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - compiled, without stubs

from kangshu.standards.fhir.definitions import RESOURCE_TYPES, definitions
from kangshu.standards.fhir.errors import (
    EntityError,
    FhirError,
    NotAResourceError,
    NotXmlError,
    TooMuchError,
    say,
)
from kangshu.standards.fhir.json_form import MAXIMUM_BYTES, MAXIMUM_DEPTH, plain_name
from kangshu.standards.fhir.narrative import XHTML, check_div

FHIR = "http://hl7.org/fhir"

_PREFIX = f"{{{FHIR}}}"
_DIV = f"{{{XHTML}}}div"
_SCHEMA_LOCATION = "{http://www.w3.org/2001/XMLSchema-instance}schemaLocation"
_DOCTYPE = re.compile(rb"<!\s*DOCTYPE", re.IGNORECASE).search
_whole = re.compile(r"-?(?:0|[1-9][0-9]{0,100})").fullmatch
_number = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,6})?").fullmatch
_not_xml = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]").search
_LINE_ENDS = {'"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}
_WHOLE_NUMBERS = frozenset({"integer", "positiveInt", "unsignedInt"})
# One level of XML may become two of JSON, a list and an object in it.
_MAXIMUM_LEVELS = MAXIMUM_DEPTH // 2


class _Place(NamedTuple):
    """What an element of XML is in JSON."""

    order: int
    type: str
    is_list: bool
    is_primitive: bool


def from_xml(data: bytes, *, maximum_bytes: int = MAXIMUM_BYTES) -> dict[str, Any]:
    """Return the resource in `data`, as `loads` would return it from JSON.

    Raises:
        NotXmlError: not well formed, or elements, attributes or text that FHIR's XML does not have.
        EntityError: there is a document type declaration. Nothing is ever fetched.
        NotAResourceError: the root element is no resource of R4 in FHIR's namespace.
        TooMuchError: too many bytes, or nested too deep.
    """
    if len(data) > maximum_bytes:
        raise TooMuchError(say("too_many_bytes", limit=maximum_bytes))
    root = _parse(data)
    if not isinstance(root.tag, str) or not root.tag.startswith(_PREFIX):
        raise NotAResourceError(say("no_fhir_namespace"), place=f"line {root.sourceline}")
    return _read_resource(root, plain_name(etree.QName(root).localname), level=0)


def to_xml(resource: Mapping[str, Any]) -> bytes:
    """Return `resource` as XML in UTF-8, its elements in the order of the definitions.

    Raises:
        FhirError: an element that R4 does not have, a narrative that is no XHTML, a character that XML cannot
        hold.
    """
    parts = ['<?xml version="1.0" encoding="UTF-8"?>']
    parts.extend(_write_resource(resource, str(resource.get("resourceType")), root=True))
    text = "".join(parts)
    if _not_xml(text):
        raise FhirError(say("control_character"))
    return text.encode("utf-8")


def _parse(data: bytes) -> etree._Element:
    if _DOCTYPE(data):
        raise EntityError(say("doctype"))
    # A parser is not shared between threads.
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as fault:
        line, column = fault.position if fault.position else (0, 0)
        raise NotXmlError(say("not_xml"), place=f"line {line}, column {column}") from None
    except ValueError:
        raise NotXmlError(say("not_xml")) from None
    if root.getroottree().docinfo.internalDTD is not None:  # written in UTF-16, say
        raise EntityError(say("doctype"))
    return root


@cache
def _places(name: str) -> dict[str, _Place]:
    """Return the elements of a type by their names, attributes of XML left out."""
    made: dict[str, _Place] = {}
    types = definitions().types
    for order, element in enumerate(types[name].elements):
        if element.attribute or element.max == "0":
            continue
        for own, use in element.names().items():
            inner = element.inner or element.inner_of or use.code
            primitive = types[inner].kind == "primitive" and inner != "xhtml"
            made[own] = _Place(order, inner, element.is_list, primitive)
    return made


@cache
def _attributes(name: str) -> tuple[str, ...]:
    return tuple(element.name for element in definitions().types[name].elements if element.attribute)


def _read_resource(node: etree._Element, path: str, *, level: int) -> dict[str, Any]:
    name = etree.QName(node).localname
    if name not in RESOURCE_TYPES:
        raise NotAResourceError(say("unknown_type"), place=path)
    return {"resourceType": name} | _read_object(node, name, path, level=level)


def _read_object(node: etree._Element, name: str, path: str, *, level: int) -> dict[str, Any]:
    if level > _MAXIMUM_LEVELS:
        raise TooMuchError(say("too_deep", limit=_MAXIMUM_LEVELS), place=path)
    made = _read_attributes(node, _attributes(name), path)
    places = _places(name)
    order = 0
    counts: dict[str, int] = {}
    gaps: set[str] = set()
    for child, own in _children(node, path):
        place = places.get(own)
        if place is None or (child.tag == _DIV) != (place.type == "xhtml"):
            raise NotXmlError(say("unknown_element", name=plain_name(own)), place=path)
        if place.order < order:
            raise NotXmlError(say("out_of_order"), place=f"{path}.{own}")
        order = place.order
        index = counts[own] = counts.get(own, -1) + 1
        if index and not place.is_list:
            raise NotXmlError(say("too_many"), place=f"{path}.{own}")
        here = f"{path}.{own}[{index}]" if place.is_list else f"{path}.{own}"
        if place.is_primitive:
            if _take_primitive(made, own, place, _read_primitive(child, place.type, here, level=level + 1)):
                gaps.add(own)
        elif place.is_list:
            made.setdefault(own, []).append(_read_complex(child, place.type, here, level=level + 1))
        else:
            made[own] = _read_complex(child, place.type, here, level=level + 1)
    for own in gaps:
        _drop_empty(made, own)
    return made


def _children(node: etree._Element, path: str) -> Iterator[tuple[etree._Element, str]]:
    """Yield the child elements with their names; text between them, and other namespaces, are refused."""
    _refuse_text(node.text, path)
    for child in node:
        _refuse_text(child.tail, path)
        if not isinstance(child.tag, str):
            if child.tag is etree.Entity:
                raise EntityError(say("doctype"), place=path)
            continue
        qualified = etree.QName(child)
        if qualified.namespace != FHIR and child.tag != _DIV:
            raise NotXmlError(say("no_fhir_namespace"), place=path)
        yield child, qualified.localname


def _refuse_text(text: str | None, path: str) -> None:
    if text and not text.isspace():
        raise NotXmlError(say("text_in_xml"), place=path)


def _read_attributes(node: etree._Element, allowed: tuple[str, ...], path: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, text in node.attrib.items():
        if name in allowed:
            made[str(name)] = str(text)
        elif name != _SCHEMA_LOCATION:
            raise NotXmlError(
                say("unknown_attribute", name=plain_name(etree.QName(name).localname)), place=path
            )
    return made


def _read_complex(node: etree._Element, name: str, path: str, *, level: int) -> Any:
    if name == "xhtml":
        return _read_div(node)
    if name != "Resource":
        return _read_object(node, name, path, level=level)
    _read_attributes(node, (), path)
    inner = [child for child, _ in _children(node, path)]
    if len(inner) != 1:
        raise NotXmlError(say("one_resource"), place=path)
    return _read_resource(inner[0], path, level=level + 1)


def _read_div(node: etree._Element) -> str:
    if any(one.prefix for one in node.iter(etree.Element)):
        node = _without_prefixes(node)
    return etree.tostring(node, encoding="unicode", with_tail=False)


def _without_prefixes(node: etree._Element) -> etree._Element:
    """Return the same narrative with XHTML as the default namespace."""
    made = etree.Element(node.tag, dict(node.attrib), nsmap={None: XHTML})
    made.text, made.tail = node.text, node.tail
    for child in node:
        made.append(_without_prefixes(child) if isinstance(child.tag, str) else child)
    return made


def _read_primitive(node: etree._Element, name: str, path: str, *, level: int) -> tuple[Any, Any]:
    """Return the value and what belongs into `_name`, each `None` where it is not there."""
    if not len(node) and len(node.attrib) == 1 and not node.text and (text := node.get("value")) is not None:
        return _value(str(text), name), None
    beside = _read_attributes(node, ("value", "id"), path)
    text = beside.pop("value", None)
    for child, own in _children(node, path):
        if own != "extension":
            raise NotXmlError(say("unknown_element", name=plain_name(own)), place=path)
        index = len(beside.setdefault("extension", []))
        beside["extension"].append(
            _read_object(child, "Extension", f"{path}.extension[{index}]", level=level + 1)
        )
    if text is None and not beside:
        raise NotXmlError(say("empty_object", rule="ele-1"), place=path)
    return _value(text, name) if text is not None else None, beside or None


def _value(text: str, name: str) -> Any:
    """Return the value as JSON has it; one that is no such value stays text, and is refused as that later."""
    if name == "boolean":
        return {"true": True, "false": False}.get(text, text)
    if name in _WHOLE_NUMBERS:
        return int(text) if _whole(text) else text
    if name == "decimal":
        if _whole(text):
            return int(text)
        return Decimal(text) if _number(text) else text
    return text


def _take_primitive(made: dict[str, Any], own: str, place: _Place, read: tuple[Any, Any]) -> bool:
    """Put a value and its extensions where they belong; tell whether one of the two lists may be empty."""
    value, beside = read
    if place.is_list:
        made.setdefault(own, []).append(value)
        made.setdefault(f"_{own}", []).append(beside)
        return True
    if value is not None:
        made[own] = value
    if beside is not None:
        made[f"_{own}"] = beside
    return False


def _drop_empty(made: dict[str, Any], own: str) -> None:
    for name in (own, f"_{own}"):
        if all(one is None for one in made[name]):
            del made[name]


def _write_resource(resource: Mapping[str, Any], path: str, *, root: bool = False) -> Iterator[str]:
    name = resource.get("resourceType")
    if not isinstance(name, str) or name not in RESOURCE_TYPES:
        raise FhirError(say("unknown_type"), place=plain_name(path))
    yield f'<{name} xmlns="{FHIR}">' if root else f"<{name}>"
    yield from _write_children(resource, name, path)
    yield f"</{name}>"


def _write_children(value: Mapping[str, Any], name: str, path: str) -> Iterator[str]:
    places, attributes = _places(name), _attributes(name)
    own_names = {key.removeprefix("_") for key in value if key not in attributes and key != "resourceType"}
    if unknown := sorted(own_names - places.keys()):
        raise FhirError(say("unknown_element", name=plain_name(unknown[0])), place=path)
    for own in sorted(own_names, key=lambda one: places[one].order):
        place = places[own]
        write = _write_primitive if place.is_primitive else _write_complex
        items, beside = value.get(own), value.get(f"_{own}")
        if not place.is_list:
            yield from write(own, items, beside, place.type, f"{path}.{own}")
            continue
        if not all(isinstance(one, (list, NoneType)) for one in (items, beside)):
            raise FhirError(say("list_expected"), place=f"{path}.{own}")
        items, beside = items or (), beside or ()
        for index in range(max(len(items), len(beside))):
            item = items[index] if index < len(items) else None
            extra = beside[index] if index < len(beside) else None
            yield from write(own, item, extra, place.type, f"{path}.{own}[{index}]")


def _write_primitive(own: str, value: Any, beside: Any, name: str, path: str) -> Iterator[str]:
    identifier = _attribute("id", beside["id"]) if beside and "id" in beside else ""
    text = _attribute("value", _text(value)) if value is not None else ""
    if beside and "extension" in beside:
        yield f"<{own}{identifier}{text}>"
        for index, one in enumerate(beside["extension"]):
            yield from _write_complex("extension", one, None, "Extension", f"{path}.extension[{index}]")
        yield f"</{own}>"
    else:
        yield f"<{own}{identifier}{text}/>"


def _write_complex(own: str, value: Any, _: Any, name: str, path: str) -> Iterator[str]:
    if name == "xhtml":
        faults = ("narrative_not_xhtml", "narrative_namespace", "wrong_type")
        if any(one.key in faults for one in check_div(value) or ()):
            raise FhirError(say("narrative_not_xhtml"), place=path)
        yield value
        return
    if not isinstance(value, Mapping):
        raise FhirError(say("object_expected"), place=path)
    if name == "Resource":
        yield f"<{own}>"
        yield from _write_resource(value, path)
        yield f"</{own}>"
        return
    yield f"<{own}"
    for attribute in _attributes(name):
        if attribute in value:
            yield _attribute(attribute, value[attribute])
    yield ">"
    yield from _write_children(value, name, path)
    yield f"</{own}>"


def _attribute(name: str, text: str) -> str:
    return f' {name}="{escape(text, _LINE_ENDS)}"'


_WRITTEN: dict[type, Callable[[Any], str]] = {str: str, bool: lambda value: "true" if value else "false"}


def _text(value: Any) -> str:
    return _WRITTEN.get(type(value), str)(value)
