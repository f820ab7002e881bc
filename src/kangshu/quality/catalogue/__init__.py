"""The catalogue (数据资产目录): every column of the lake, what it is, how full, from where, used for what.

Declarations tell what a column is; how full it is follows from each file as it comes in, without a look at
the lake; rows from messages and how many values differ are counted in the background. Never a value.
"""

from kangshu.quality.catalogue.model import (
    Column,
    ColumnFigures,
    DatasetFigures,
    Entry,
    Feed,
    Lane,
    MonthFill,
    Refreshed,
    Source,
    SourceFile,
    Use,
    UseKind,
)
from kangshu.quality.catalogue.operations import add_up_fills, forget_fills, record_fill, refresh
from kangshu.quality.catalogue.queries import (
    column_figures,
    dataset_figures,
    list_source_files,
    list_sources,
    search,
)
from kangshu.quality.catalogue.searching import Catalogue, catalogue_of

__all__ = [
    "Catalogue",
    "Column",
    "ColumnFigures",
    "DatasetFigures",
    "Entry",
    "Feed",
    "Lane",
    "MonthFill",
    "Refreshed",
    "Source",
    "SourceFile",
    "Use",
    "UseKind",
    "add_up_fills",
    "catalogue_of",
    "column_figures",
    "dataset_figures",
    "forget_fills",
    "list_source_files",
    "list_sources",
    "record_fill",
    "refresh",
    "search",
]
