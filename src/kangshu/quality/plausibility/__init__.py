"""Plausibility (合理性): figures of an institution's month, and rules that hold them against what is usual.

No row need be wrong for a month to be: a third of it is missing, it is last month's once more, every value
ends with 0 or 5. Measures are declared with the data set and computed in one statement over the lake; rules
compare them with last month, last year, the usual and the peers, and keep the figures that decided.
"""

from kangshu.quality.plausibility.judging import judge_figures
from kangshu.quality.plausibility.model import CellFigures, CellFinding, Suspects, add_months, measures_of
from kangshu.quality.plausibility.operations import judge_cells, measure_cells
from kangshu.quality.plausibility.queries import find_suspects, list_cell_figures, list_cell_findings

__all__ = [
    "CellFigures",
    "CellFinding",
    "Suspects",
    "add_months",
    "find_suspects",
    "judge_cells",
    "judge_figures",
    "list_cell_figures",
    "list_cell_findings",
    "measure_cells",
    "measures_of",
]
