"""Monthly circulars (通报): figures as a page, a spreadsheet and a PDF; an issued one stays as it was."""

from kangshu.quality.circular.errors import (
    CircularError,
    CircularIssuedError,
    MonthNotOverError,
    TypesetterMissingError,
    TypesettingError,
)
from kangshu.quality.circular.making import make_circular
from kangshu.quality.circular.model import (
    BalanceLine,
    BandLine,
    Circular,
    CoverageLine,
    FindingLine,
    Headline,
    Issue,
    ItemLine,
    LoopLine,
    RankLine,
    ShareLine,
    SheetLine,
    read_circular,
)
from kangshu.quality.circular.operations import ISSUE_CIRCULAR, issue_circular
from kangshu.quality.circular.queries import find_circular, list_issues
from kangshu.quality.circular.tables import (
    Cell,
    Shape,
    Table,
    shown,
    status_of,
    subtitle_of,
    summary_of,
    tables_of,
    title_of,
)
from kangshu.quality.circular.typesetting import source_of, write_pdf
from kangshu.quality.circular.workbook import write_xlsx

__all__ = [
    "ISSUE_CIRCULAR",
    "BalanceLine",
    "BandLine",
    "Cell",
    "Circular",
    "CircularError",
    "CircularIssuedError",
    "CoverageLine",
    "FindingLine",
    "Headline",
    "Issue",
    "ItemLine",
    "LoopLine",
    "MonthNotOverError",
    "RankLine",
    "Shape",
    "ShareLine",
    "SheetLine",
    "Table",
    "TypesetterMissingError",
    "TypesettingError",
    "find_circular",
    "issue_circular",
    "list_issues",
    "make_circular",
    "read_circular",
    "shown",
    "source_of",
    "status_of",
    "subtitle_of",
    "summary_of",
    "tables_of",
    "title_of",
    "write_pdf",
    "write_xlsx",
]
