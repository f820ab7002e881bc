"""Bytes to a tree of XML, safely: one encoding, no document type, no entities, no network, bounded.

The bytes are decoded here and not by the XML library: what is searched for forbidden things is then exactly
what is parsed, and GB18030 means the same everywhere.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import Any, TypeAlias

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - compiled, without stubs

from kangshu.kernel.texts import Text
from kangshu.standards.cda.errors import (
    CdaError,
    CharsetError,
    DocumentTooLargeError,
    ForbiddenXmlError,
    NotADocumentError,
    NotXmlError,
    say,
)

V3 = "{urn:hl7-org:v3}"

Element: TypeAlias = Any
"""An element of lxml, which has no types of its own."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much one document may be. A scan of 10 MB in Base64 fits; more belongs in an archive of images."""

    bytes: int = 20 << 20
    elements: int = 200_000
    depth: int = 100


LIMITS = Limits()

_DECLARATION = re.compile(rb"""<\?xml\s[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._:-]{1,40})["']""")
_NAME = re.compile(rb"""<(?:[^\s<>/:="']{1,60}:)?([^\s<>/:="']{1,60})[\s/>]""")
_SPACES = re.compile(rb"[ \t\r\n]*")
_THREE_BYTES = re.compile(rb"[\xe0-\xef]")
_BLANKS = b" \t\r\n"
_PROLOG_PARTS = 100  # comments and instructions before the root; arbitrary, no honest document comes near

# Encodings of documents seen in the wild, and the codec that reads them; GB18030 holds GB2312 and GBK.
_CODECS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "utf-8",
    "ascii": "utf-8",
    "gb18030": "gb18030",
    "gb18030-2000": "gb18030",
    "gb18030-2005": "gb18030",
    "gb18030-2022": "gb18030",
    "gbk": "gb18030",
    "cp936": "gb18030",
    "gb2312": "gb18030",
    "gb_2312-80": "gb18030",
    "euc-cn": "gb18030",
    "big5": "big5",
    "iso-8859-1": "latin-1",
    "latin1": "latin-1",
    "windows-1252": "cp1252",
    "iso-8859-15": "iso8859-15",
    "utf-16": "utf-16",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
    "ucs-2": "utf-16",
    "iso-10646-ucs-2": "utf-16",
}
# What a root may be called when somebody sends a part of a document by itself.
_PARTS = frozenset(
    re.findall(
        r"\w+",
        """
    realmCode typeId templateId id code title effectiveTime confidentialityCode languageCode setId
    versionNumber recordTarget patientRole patient author assignedAuthor dataEnterer informant custodian
    informationRecipient legalAuthenticator authenticator participant participantRole associatedEntity
    inFulfillmentOf documentationOf serviceEvent relatedDocument parentDocument authorization
    componentOf encompassingEncounter component structuredBody nonXMLBody section text entry
    entryRelationship observation organizer act procedure supply substanceAdministration encounter
    observationMedia regionOfInterest externalDocument manufacturedProduct performer product consumable
    reference value signatureText
    """,
    )
)
_CUT_OFF = frozenset({5, 44, 74, 77})  # libxml2: document end, CDATA, literal and tag not finished
_UNDECLARED = 201  # libxml2: a namespace prefix that is not declared


@dataclass(frozen=True, kw_only=True)
class Readable:
    """The root element, and how the bytes were read."""

    root: Element
    charset: str
    charset_note: Text | None = None


def looks_like(data: bytes) -> bool:
    """Return whether `data` begins as a CDA document does; the beginning only is looked at."""
    head = data[: 64 << 10]
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) or b"\0" in head[:4]:
        codec = _utf_16(head) or "utf-16"
        head = head.decode(codec, "ignore").lstrip("\ufeff").encode("utf-8", "ignore")
    elif head.startswith(codecs.BOM_UTF8):
        head = head[3:]
    try:
        return _root_name(head) == b"ClinicalDocument"
    except ForbiddenXmlError:  # to be refused as the document it pretends to be
        return b"ClinicalDocument" in head


def read_tree(data: bytes, *, limits: Limits = LIMITS) -> Readable:
    """Return the root of the document in `data`, without comments and instructions.

    Raises:
        CdaError: it is not XML, not a document, forbidden or too large; the message quotes nothing of it.
    """
    if len(data) > limits.bytes:
        raise DocumentTooLargeError(say("too_many_bytes", limit=limits.bytes))
    if not data.strip():
        raise NotXmlError(say("empty"))
    content, charset, note = _utf_8(data)
    _check_root(content)
    # Each element takes a "<" and each attribute a "=", so these counts bound the tree before it is built.
    if content.count(b"<") > 2 * limits.elements or content.count(b"=") > 4 * limits.elements:
        raise DocumentTooLargeError(say("too_many_elements", limit=limits.elements))
    root = _parse(content)
    if root.tag != f"{V3}ClinicalDocument":
        raise NotADocumentError(say("wrong_namespace"), place="ClinicalDocument")
    if root.xpath("boolean(" + "/*" * (limits.depth + 1) + ")"):
        raise DocumentTooLargeError(say("too_deep", limit=limits.depth))
    return Readable(root=root, charset=charset, charset_note=note)


def _parse(content: bytes) -> Element:
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        attribute_defaults=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        collect_ids=False,
    )
    refusal: CdaError | None = None
    root: Element = None
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as error:
        refusal = _refusal(error.code, error.lineno)
    except ValueError:
        refusal = NotXmlError(say("broken_xml"))
    if refusal:
        raise refusal  # outside of the handler: the library's message quotes the document
    if root.getroottree().docinfo.internalDTD is not None:
        raise ForbiddenXmlError(say("doctype"))
    return root


def _refusal(code: int | None, line: int | None) -> CdaError:
    place = f"line {line}" if line else None
    if code == _UNDECLARED:
        return NotXmlError(say("undeclared_prefix"), place=place)
    return NotXmlError(say("cut_off" if code in _CUT_OFF else "broken_xml"), place=place)


def _check_root(content: bytes) -> None:
    name = _root_name(content)
    if name is None:
        raise NotXmlError(say("not_xml"), place="line 1")
    if name == b"ClinicalDocument":
        return
    text = name.decode("utf-8", "replace")
    if text in _PARTS:
        raise NotADocumentError(say("fragment", name=text), place=text)
    raise NotADocumentError(say("not_cda"), place="line 1")


def _root_name(content: bytes) -> bytes | None:
    """Return the local name of the first element; a document type before it is refused."""
    position = 0
    for _ in range(_PROLOG_PARTS):
        position = _SPACES.match(content, position).end()  # type: ignore[union-attr] - it always matches
        if content.startswith(b"<!--", position):
            end = content.find(b"-->", position + 4)
            position = end + 3
        elif content.startswith(b"<?", position):
            end = content.find(b"?>", position + 2)
            position = end + 2
        elif content.startswith(b"<!", position):
            raise ForbiddenXmlError(say("doctype"), place="line 1")
        else:
            found = _NAME.match(content, position)
            return found[1] if found else None
        if end < 0:
            return None
    return None


def _utf_8(data: bytes) -> tuple[bytes, str, Text | None]:
    """Return the content in UTF-8 without its declaration, the encoding it was in, and a note."""
    if data.startswith(codecs.BOM_UTF8):
        return _without_declaration(_checked(data[3:], "utf-8")), "utf-8", None
    if codec := _utf_16(data):
        text = _decoded(data, codec)
        if text is None:
            raise CharsetError(say("wrong_charset", declared="UTF-16"))
        return _without_declaration(text.lstrip("\ufeff").encode("utf-8")), "utf-16", None
    found = _DECLARATION.match(data.lstrip(_BLANKS)[:300])
    declared = found[1].decode("ascii") if found else "UTF-8"
    codec = _CODECS.get(declared.lower().replace("_", "-"), _CODECS.get(declared.lower()))
    if codec is None:
        raise CharsetError(say("unknown_charset"), place="line 1")
    if codec.startswith("utf-16"):  # said so, but there is no sign of it
        codec = "utf-8"
    content, actual = _by_content(data, codec, declared)
    note = None
    if actual != codec:
        note = say("charset_differs", declared=declared, actual=actual.upper())
    return _without_declaration(content), actual, note


def _by_content(data: bytes, codec: str, declared: str) -> tuple[bytes, str]:
    """Return the content in UTF-8 and its encoding: the declared one, unless the bytes contradict it."""
    is_utf_8 = _decoded(data, "utf-8") is not None
    if codec == "utf-8" and is_utf_8:
        return data, "utf-8"
    # Text in GBK that is valid UTF-8 too, with characters of three bytes, does not come about by chance.
    if codec == "gb18030" and is_utf_8 and _THREE_BYTES.search(data):
        return data, "utf-8"
    for candidate in (codec, "gb18030"):
        text = None if candidate == "utf-8" else _decoded(data, candidate)
        if text is not None:
            return text.encode("utf-8"), candidate
    raise CharsetError(say("wrong_charset", declared=declared))


def _checked(data: bytes, codec: str) -> bytes:
    if _decoded(data, codec) is None:
        raise CharsetError(say("wrong_charset", declared=codec.upper()))
    return data


def _decoded(data: bytes, codec: str) -> str | None:
    try:
        text = data.decode(codec)
        text.encode("utf-8")
    except UnicodeError:
        return None
    return text


def _utf_16(data: bytes) -> str | None:
    if data[:2] == codecs.BOM_UTF16_LE or data[:4] == b"<\0?\0" or data[:4] == b"<\0C\0":
        return "utf-16-le"
    if data[:2] == codecs.BOM_UTF16_BE or data[:4] == b"\0<\0?" or data[:4] == b"\0<\0C":
        return "utf-16-be"
    return None


def _without_declaration(content: bytes) -> bytes:
    content = content.lstrip(_BLANKS)
    if content.startswith(b"<?xml") and content[5:6] in (b" ", b"\t", b"\r", b"\n"):
        end = content.find(b"?>")
        if end < 0:
            raise NotXmlError(say("cut_off"), place="line 1")
        # Line breaks stay, so that line numbers stay right.
        return b"\n" * content.count(b"\n", 0, end) + content[end + 2 :]
    return content
