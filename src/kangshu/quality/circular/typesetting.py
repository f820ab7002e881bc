"""A circular as a PDF, set by Typst: the sentences and tables of everywhere, handed over finished."""

from __future__ import annotations

import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from kangshu.kernel.texts import Language
from kangshu.quality.circular.errors import TypesetterMissingError, TypesettingError, say
from kangshu.quality.circular.model import Circular
from kangshu.quality.circular.tables import (
    Table,
    status_of,
    subtitle_of,
    summary_of,
    tables_of,
    title_of,
)

FONT_FAMILY = "Noto Sans CJK SC"
FONT_FOLDERS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"))
"""Where systems keep fonts; a caller's own folder goes before them."""

MOST_RANKED = 500
"""Institutions of the full ranking in a PDF: 6,000 took 11 s and 1.2 GiB of memory, 500 a tenth."""

_FONT_NAMES = ("NotoSansCJK*.tt[cf]", "NotoSansCJK*.otf")
_NARROW_TO, _WIDE_FROM = 2, 9  # columns


def write_pdf(circular: Circular, *, font_path: Path | None = None, language: Language = "zh") -> bytes:
    """Return the circular as PDF/A-2b; `font_path` is a folder with Noto Sans CJK, None the system's.

    Raises:
        TypesetterMissingError: the extra `pdf` or the font is not there; the text says what to install.
        TypesettingError: the typesetter failed.
    """
    try:
        import typst  # pyright: ignore[reportMissingImports] - an optional extra
    except ImportError:
        raise TypesetterMissingError(say["typesetter_missing"]) from None
    fonts = find_fonts(font_path)
    with tempfile.TemporaryDirectory() as folder:
        page = write_source(circular, folder=Path(folder), language=language)
        try:
            return typst.compile(
                str(page),
                format="pdf",
                font_paths=[str(one) for one in fonts],
                ignore_system_fonts=True,
                pdf_standards="a-2b",
            )
        except (RuntimeError, ValueError):
            # What it says may quote the text.
            raise TypesettingError(say["typesetting_failed"]) from None


def write_source(circular: Circular, *, folder: Path, language: Language) -> Path:
    """Write what the typesetter reads into `folder` and return the page's path.

    The page is always the same; names and messages are in a file of data, so that no text is ever a command.
    """
    page = folder / "circular.typ"
    page.write_bytes(resources.files(__package__ or "").joinpath("circular.typ").read_bytes())
    (folder / "circular.json").write_bytes(msgspec.json.encode(source_of(circular, language=language)))
    return page


def source_of(circular: Circular, *, language: Language) -> dict[str, Any]:
    """Return the finished texts of the page."""
    return {
        "language": language,
        "font": FONT_FAMILY,
        "title": title_of(circular, language=language),
        "subtitle": subtitle_of(circular, language=language),
        "status": status_of(circular, language=language),
        # PDF/A asks for a date; that of the figures makes the same circular the same file.
        "day": [circular.as_of.year, circular.as_of.month, circular.as_of.day],
        "page_of": say["page_of"].in_(language),
        "summary": summary_of(circular, language=language),
        "parts": [_part(table) for table in tables_of(circular, language=language, most=MOST_RANKED)],
    }


def find_fonts(font_path: Path | None = None) -> list[Path]:
    """Return the folders that hold the font.

    Raises:
        TypesetterMissingError: there is none.
    """
    for place in (font_path,) if font_path else FONT_FOLDERS:
        found = sorted({path.parent for name in _FONT_NAMES for path in place.rglob(name)})
        if found:
            return found
    raise TypesetterMissingError(say["font_missing"])


def _part(table: Table) -> dict[str, Any]:
    return {
        "title": table.title,
        "note": table.note,
        "columns": table.columns,
        "numeric": table.numeric,
        "widths": table.widths,
        "narrow": len(table.columns) <= _NARROW_TO,
        "wide": len(table.columns) >= _WIDE_FROM,
        "rows": [[cell.text for cell in row] for row in table.rows],
    }
