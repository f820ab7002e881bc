"""The narrative of a section (StrucDoc.Text): paragraphs, lists, tables of plain text; no markup is left."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from kangshu.standards.cda.model import Block, Cell, ListBlock, Paragraph, Table
from kangshu.standards.cda.reading import Element
from kangshu.standards.cda.values import lines, local

_PARAGRAPHS = frozenset({"paragraph", "p", "div", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "blockquote"})
_LISTS = frozenset({"list", "ul", "ol"})
_MOST_SPAN = 100
_REFERENCE_LENGTH = 2_000

# Markup that senders write as text (`&lt;br&gt;`, CDATA): names of HTML only, and the short ones only with
# proper attributes, so that "a<b and c>d" stays what it is.
_HTML = re.compile(
    r"</?(?P<long>blockquote|body|br|button|center|div|embed|font|form|frame|h[1-6]|head|hr|html|iframe|img|input|"
    r"label|li|link|meta|object|script|select|span|strike|strong|style|svg|table|tbody|td|textarea|tfoot|th|thead|"
    r"tr|ul)\b[^<>]*>"
    r"|</?(?P<short>a|b|big|code|col|dd|dl|dt|em|i|ins|ol|option|p|pre|s|small|sub|sup|title|tt|u)"
    r"(?:\s+[A-Za-z:_-]+\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s<>\"']+))*\s*/?>",
    re.IGNORECASE,
)
_BREAKING = frozenset(
    {"br", "p", "div", "tr", "li", "table", "ul", "ol", "hr", "blockquote", "title"}
    | {f"h{level}" for level in range(1, 7)}
)
_ROUNDS = 8  # tags within tags are peeled off that often


def readable(text: str) -> str:
    """Return a text as a person reads it: HTML that was written as text is taken out of it."""
    for _ in range(_ROUNDS):
        if "<" not in text:
            return text
        peeled = _HTML.sub(_instead, text)
        if peeled == text:
            return text
        text = lines(peeled)
    return text.replace("<", "＜")


def _instead(found: re.Match[str]) -> str:
    return "\n" if (found["long"] or found["short"]).lower() in _BREAKING else ""


def blocks(element: Element | None) -> tuple[Block, ...]:
    """Return the blocks of a `<text>`; text between them makes paragraphs."""
    if element is None:
        return ()
    collector = _Collector()
    collector.walk(element)
    collector.flush()
    return tuple(collector.blocks)


class _Collector:
    """Gathers inline text into paragraphs, and blocks in their order."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._buffer: list[str] = []

    def flush(self) -> None:
        text = readable(lines("".join(self._buffer)))
        self._buffer.clear()
        if text:
            self.blocks.append(Paragraph(text=text))

    def walk(self, element: Element) -> None:
        # Line breaks of the source are spaces, but for sections that are nothing but text: they are meant.
        preserve = local(element) in ("text", "pre") and not len(element)
        self._buffer.append(_inline(element.text, preserve=preserve))
        for part in element.iterchildren():
            self._take(part)
            self._buffer.append(_inline(part.tail, preserve=False))

    def _take(self, part: Element) -> None:
        kind = local(part)
        if kind == "br":
            self._buffer.append("\n")
        elif kind == "table":
            self.flush()
            self._add(_table(part))
        elif kind in _LISTS:
            self.flush()
            self._add(_list(part))
        elif kind in _PARAGRAPHS:
            self.flush()
            self.walk(part)
            self.flush()
        else:
            self.walk(part)

    def _add(self, block: Block | None) -> None:
        if block is not None:
            self.blocks.append(block)


def _inline(text: str | None, *, preserve: bool) -> str:
    if not text:
        return ""
    return text if preserve else re.sub(r"\s+", " ", text)


def _list(element: Element) -> ListBlock | None:
    items: list[tuple[Block, ...]] = []
    caption = ""
    for part in element.iterchildren():
        if local(part) == "caption":
            caption = _flat(part)
        elif found := blocks(part):
            items.append(found)
    ordered = element.get("listType") == "ordered" or local(element) == "ol"
    return ListBlock(items=tuple(items), ordered=ordered, caption=caption) if items or caption else None


def _table(element: Element) -> Table | None:
    head: list[tuple[Cell, ...]] = []
    rows: list[tuple[Cell, ...]] = []
    caption = ""
    for part in element.iterchildren():
        kind = local(part)
        if kind == "caption":
            caption = _flat(part)
        elif kind == "tr":
            rows.append(_cells(part))
        elif kind in ("thead", "tbody", "tfoot"):
            (head if kind == "thead" else rows).extend(_cells(one) for one in part if local(one) == "tr")
    kept_head = tuple(row for row in head if row)
    kept = tuple(row for row in rows if row)
    return Table(head=kept_head, rows=kept, caption=caption) if kept or kept_head or caption else None


def _cells(row: Element) -> tuple[Cell, ...]:
    return tuple(
        Cell(
            text=_flat(cell),
            heading=local(cell) == "th",
            columns=_span(cell.get("colspan")),
            rows=_span(cell.get("rowspan")),
        )
        for cell in row.iterchildren()
        if local(cell) in ("td", "th")
    )


def _span(text: str | None) -> int:
    text = (text or "").strip()
    if not text.isascii() or not text.isdigit() or len(text) > 4:
        return 1
    return min(max(int(text), 1), _MOST_SPAN)


def _flat(element: Element) -> str:
    """Return a cell's or caption's content as text: items of lists and inner rows on lines of their own."""
    return "\n".join(_flat_blocks(blocks(element)))


def _flat_blocks(found: tuple[Block, ...]) -> Iterator[str]:
    for block in found:
        if isinstance(block, Paragraph):
            yield block.text
        elif isinstance(block, ListBlock):
            if block.caption:
                yield block.caption
            for item in block.items:
                yield "• " + "\n".join(_flat_blocks(item))
        else:
            if block.caption:
                yield block.caption
            for row in (*block.head, *block.rows):
                yield "  ".join(cell.text for cell in row if cell.text)


class NarrativeReferences(Mapping[str, str]):
    """The pieces of narrative that have an ID, as text; each is made when it is first asked for."""

    def __init__(self, root: Element) -> None:
        self._elements: dict[str, Element] = {
            one.get("ID"): one for one in root.xpath("//*[@ID]") if one.get("ID")
        }
        self._texts: dict[str, str] = {}

    def __getitem__(self, key: str) -> str:
        if key not in self._texts:
            self._texts[key] = _short(self._elements[key])
        return self._texts[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._elements)

    def __len__(self) -> int:
        return len(self._elements)


def _short(element: Element) -> str:
    gathered: list[str] = []
    length = 0
    for text in element.itertext():
        gathered.append(text)
        length += len(text)
        if length > _REFERENCE_LENGTH:
            break
    return readable(" ".join("".join(gathered).split()))[:_REFERENCE_LENGTH]
