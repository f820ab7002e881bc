"""Data quality (数据质量): rules -> findings -> scores -> rankings -> rectification.

The core keeps what was found, row by row and exactly, and adds it up by cell: a data set of one institution
in one month. The rooms beside it (`scanning`, `plausibility`, `coverage`, `scoring`, `rectifying`,
`reconciling`, `catalogue`, `circular`) have front doors of their own.
"""

from kangshu.quality.model import (
    Cell,
    CellTally,
    DimensionTally,
    FindingCount,
    Origin,
    dimension_of,
    find_rule,
)
from kangshu.quality.operations import forget_files, record_file, replace_region_findings
from kangshu.quality.queries import (
    add_up,
    cells_of,
    file_findings,
    finding_rows,
    list_findings,
    list_months,
    list_tallies,
    merge_findings,
)
from kangshu.quality.waiting import (
    Waiting,
    datasets_waiting,
    expect_assessment,
    expect_files,
    files_kept,
    next_waiting,
    rows_kept,
    settle,
)
from kangshu.quality.weighing import Weighed, weigh

__all__ = [
    "Cell",
    "CellTally",
    "DimensionTally",
    "FindingCount",
    "Origin",
    "Waiting",
    "Weighed",
    "add_up",
    "cells_of",
    "datasets_waiting",
    "dimension_of",
    "expect_assessment",
    "expect_files",
    "file_findings",
    "files_kept",
    "find_rule",
    "finding_rows",
    "forget_files",
    "list_findings",
    "list_months",
    "list_tallies",
    "merge_findings",
    "next_waiting",
    "record_file",
    "replace_region_findings",
    "rows_kept",
    "settle",
    "weigh",
]
