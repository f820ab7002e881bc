"""Region packs (区域包): what a centre declares about its data sets, read, checked and frozen.

A pack is a folder of TOML and CSV files that a centre edits without touching Python. From one
declaration come the check, the lake's schema, the template and the reference page. A wrong
declaration is refused with file, line and reason.
"""

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
from kangshu.declarations.loading import BASE_PACK, load_pack
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
from kangshu.declarations.tables import Source, Table, read_source
from kangshu.declarations.typing import duckdb_type, functions_sql

__all__ = [
    "BASE_PACK",
    "PATIENT",
    "PATIENT_PATHS",
    "Code",
    "CodeTable",
    "Dataset",
    "DeclarationError",
    "Dimension",
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
    "Obligation",
    "Pack",
    "Privacy",
    "Role",
    "Rule",
    "Scope",
    "Severity",
    "Source",
    "Step",
    "Table",
    "UnknownDatasetError",
    "duckdb_type",
    "functions_sql",
    "load_pack",
    "read_source",
]
