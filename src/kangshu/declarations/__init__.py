"""Region packs (区域包): what a centre declares about its data sets, read, checked and frozen.

A pack is a folder of TOML and CSV files that a centre edits without touching Python. From one
declaration come the check, the lake's schema, the template and the reference page. A wrong
declaration is refused with file, line and reason.
"""

from kangshu.declarations.binding import check_rule
from kangshu.declarations.errors import DeclarationError, UnknownDatasetError
from kangshu.declarations.fhir import (
    FhirCodes,
    FhirCondition,
    FhirConstant,
    FhirField,
    FhirResource,
    FhirSettings,
    FhirTerm,
    FhirTest,
)
from kangshu.declarations.fhir_loading import PATIENT, PATIENT_PATHS
from kangshu.declarations.loading import BASE_PACK, load_pack, read_rule
from kangshu.declarations.model import (
    Code,
    CodeTable,
    Dataset,
    Dimension,
    Field,
    FieldType,
    Obligation,
    Pack,
    Privacy,
    Role,
    Rule,
    Scope,
    Severity,
)
from kangshu.declarations.paths import FhirPath, Filter, Step
from kangshu.declarations.quality import (
    Band,
    CellView,
    EmrItem,
    Expectation,
    Grade,
    Look,
    Measure,
    QualityIndicator,
    QualitySettings,
    Reconciliation,
    ReconciliationSide,
    ScoreSettings,
    Scoring,
    ScoringGroup,
    ScoringItem,
)
from kangshu.declarations.tables import Source, Table, read_source
from kangshu.declarations.typing import SYSTEM_COLUMNS, cell_names, duckdb_type, functions_sql, measures_sql

__all__ = [
    "BASE_PACK",
    "PATIENT",
    "PATIENT_PATHS",
    "SYSTEM_COLUMNS",
    "Band",
    "CellView",
    "Code",
    "CodeTable",
    "Dataset",
    "DeclarationError",
    "Dimension",
    "EmrItem",
    "Expectation",
    "FhirCodes",
    "FhirCondition",
    "FhirConstant",
    "FhirField",
    "FhirPath",
    "FhirResource",
    "FhirSettings",
    "FhirTerm",
    "FhirTest",
    "Field",
    "FieldType",
    "Filter",
    "Grade",
    "Look",
    "Measure",
    "Obligation",
    "Pack",
    "Privacy",
    "QualityIndicator",
    "QualitySettings",
    "Reconciliation",
    "ReconciliationSide",
    "Role",
    "Rule",
    "Scope",
    "ScoreSettings",
    "Scoring",
    "ScoringGroup",
    "ScoringItem",
    "Severity",
    "Source",
    "Step",
    "Table",
    "UnknownDatasetError",
    "cell_names",
    "check_rule",
    "duckdb_type",
    "functions_sql",
    "load_pack",
    "measures_sql",
    "read_rule",
    "read_source",
]
