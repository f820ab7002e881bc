"""The geometry of the catalogue's small pictures: a column between what feeds it and what it is used for.

The drawing is in the templates; each picture stands beside a list of the same things.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_WIDTH = 760.0
_BOX = 208.0
_MIDDLE = 176.0
_ROW = 46.0
_BOX_HEIGHT = 36.0
_MARGIN = 8.0
_WIDE = 0x2E7F
"""Letters from here on are as wide as high."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One thing in the picture: what it is, a figure or name below it, and where a click leads."""

    title: str
    note: str = ""
    href: str = ""
    tone: str = ""


@dataclass(frozen=True, kw_only=True)
class Box:
    """Where a thing is drawn."""

    node: Node
    x: float
    y: float
    width: float
    height: float

    @property
    def title(self) -> str:
        """What fits of the title."""
        return cut(self.node.title, cells=int((self.width - 16) / 6.6))

    @property
    def note(self) -> str:
        """What fits of the note."""
        return cut(self.node.note, cells=int((self.width - 16) / 6))

    @property
    def middle(self) -> float:
        """The middle of its height."""
        return self.y + self.height / 2


@dataclass(frozen=True, kw_only=True)
class Link:
    """A line from the right edge of one box to the left edge of another, as an SVG path."""

    path: str


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Boxes in three columns, and the lines between them."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    centre: Box
    links: tuple[Link, ...]


@dataclass(frozen=True, kw_only=True)
class Spark:
    """A line of a word's size: points of a polyline in a box of 100 by 20, and the last of them."""

    points: str
    last_x: float
    last_y: float


def lineage_picture(*, feeds: Sequence[Node], centre: Node, uses: Sequence[Node]) -> Picture:
    """Return the picture of a column (`centre`) between its `feeds` (left) and its `uses` (right)."""
    height = max(len(feeds), len(uses), 1) * _ROW + 2 * _MARGIN
    middle = Box(
        node=centre,
        x=(_WIDTH - _MIDDLE) / 2,
        y=height / 2 - _BOX_HEIGHT * 0.65,
        width=_MIDDLE,
        height=_BOX_HEIGHT * 1.3,
    )
    left = _column(feeds, x=0.0, height=height)
    right = _column(uses, x=_WIDTH - _BOX, height=height)
    links = [_link(box.x + box.width, box.middle, middle.x, middle.middle) for box in left]
    links += [_link(middle.x + middle.width, middle.middle, box.x, box.middle) for box in right]
    return Picture(width=_WIDTH, height=height, boxes=(*left, *right), centre=middle, links=tuple(links))


def spark(values: Sequence[float | None], *, highest: float | None = None) -> Spark | None:
    """Return the line of `values`, from 0 to `highest` (by default the largest); None without two of them.

    >>> spark([0, 5, 10]).points
    '1.5,18.5 50.0,10.0 98.5,1.5'
    """
    known = [(place, value) for place, value in enumerate(values) if value is not None]
    if len(known) < 2:
        return None
    top = highest or max(value for _, value in known) or 1.0
    span = max(1, len(values) - 1)
    points = [(1.5 + 97 * place / span, 18.5 - 17 * min(1.0, value / top)) for place, value in known]
    return Spark(
        points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points),
        last_x=round(points[-1][0], 1),
        last_y=round(points[-1][1], 1),
    )


def cut(text: str, *, cells: int) -> str:
    """Return `text` so short that it fits a box: Chinese letters take two cells, others one.

    >>> cut("病案首页", cells=8), cut("病案首页份数", cells=8), cut("OBX-5", cells=8)
    ('病案首页', '病案首…', 'OBX-5')
    """
    widths = [2 if ord(letter) > _WIDE else 1 for letter in text]
    if sum(widths) <= cells:
        return text
    kept = 0
    for place, width in enumerate(widths):
        kept += width
        if kept > cells - 2:
            return f"{text[:place]}…"
    return text


def _column(nodes: Sequence[Node], *, x: float, height: float) -> list[Box]:
    top = (height - len(nodes) * _ROW) / 2
    return [
        Box(
            node=node,
            x=x,
            y=round(top + place * _ROW + (_ROW - _BOX_HEIGHT) / 2, 1),
            width=_BOX,
            height=_BOX_HEIGHT,
        )
        for place, node in enumerate(nodes)
    ]


def _link(x1: float, y1: float, x2: float, y2: float) -> Link:
    bend = (x2 - x1) / 2
    return Link(
        path=f"M{x1:.1f} {y1:.1f}C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
    )
