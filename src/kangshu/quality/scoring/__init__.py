"""Scores (评分) of files, of institutions' months; scoring sheets, indicators and rankings.

Every score follows from findings by the formulas in README.md, in whole numbers: whoever computes it again
gets the very same figure.
"""

from kangshu.quality.scoring.assessing import (
    AssessedFinding,
    Assessment,
    SheetResult,
    assess_file,
    message_of,
    title_of,
)
from kangshu.quality.scoring.formulas import (
    CellScorer,
    band_of,
    points_of,
    rounded_points,
    score_cell,
    score_institution,
    score_missing,
    weight_of,
)
from kangshu.quality.scoring.model import CellScore, InstitutionScore, Ranked
from kangshu.quality.scoring.operations import refresh_figures, refresh_scores
from kangshu.quality.scoring.placing import rank
from kangshu.quality.scoring.queries import (
    comparable,
    emr_index,
    indicators,
    institution_scores,
    kept_cells,
    kept_scores,
    ranking,
    score_institutions,
    scores,
    sheet_scores,
)
from kangshu.quality.scoring.shares import (
    Aspect,
    Combination,
    EmrCoefficient,
    IndicatorValue,
    ShareCount,
    ShareKind,
    coefficients,
)
from kangshu.quality.scoring.sheets import SheetCount, add_sheets, count_sheet, row_points

__all__ = [
    "Aspect",
    "AssessedFinding",
    "Assessment",
    "CellScore",
    "CellScorer",
    "Combination",
    "EmrCoefficient",
    "IndicatorValue",
    "InstitutionScore",
    "Ranked",
    "ShareCount",
    "ShareKind",
    "SheetCount",
    "SheetResult",
    "add_sheets",
    "assess_file",
    "band_of",
    "coefficients",
    "comparable",
    "count_sheet",
    "emr_index",
    "indicators",
    "institution_scores",
    "kept_cells",
    "kept_scores",
    "message_of",
    "points_of",
    "rank",
    "ranking",
    "refresh_figures",
    "refresh_scores",
    "rounded_points",
    "row_points",
    "score_cell",
    "score_institution",
    "score_institutions",
    "score_missing",
    "scores",
    "sheet_scores",
    "title_of",
    "weight_of",
]
