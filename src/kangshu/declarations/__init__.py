"""Region packs (区域包): what a centre declares about its data sets, read, checked and frozen.

A pack is a folder of TOML and CSV files that a centre edits without touching Python. From one
declaration come the check, the lake's schema, the template and the reference page. A wrong
declaration is refused with file, line and reason.
"""

from kangshu.declarations.errors import DeclarationError, UnknownDatasetError
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
from kangshu.declarations.typing import duckdb_type, functions_sql

__all__ = [
    "BASE_PACK",
    "Code",
    "CodeTable",
    "Dataset",
    "DeclarationError",
    "Dimension",
    "Field",
    "FieldType",
    "Obligation",
    "Pack",
    "Privacy",
    "Role",
    "Rule",
    "Scope",
    "Severity",
    "UnknownDatasetError",
    "duckdb_type",
    "functions_sql",
    "load_pack",
]
