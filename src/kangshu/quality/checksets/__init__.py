"""Check sets (检查集): declared checks over any folder of tables, each with a numerator and a denominator.

A pack declares kinds of checks as SQL with places and says in parameter files to which tables, fields and
concepts each applies; the engine asks all of them in one scan a table. The pack `omop` holds the checks of
the OHDSI Data Quality Dashboard.
"""

from kangshu.quality.checksets.errors import (
    CheckSetError,
    FolderUnusableError,
    NoCheckSetError,
    TableUnusableError,
)
from kangshu.quality.checksets.loading import load_checkset, message_of
from kangshu.quality.checksets.model import (
    Check,
    CheckAnswer,
    CheckKind,
    CheckLook,
    CheckSet,
    Report,
    State,
)
from kangshu.quality.checksets.reporting import answer_facts, report_html
from kangshu.quality.checksets.running import check_declared, run_checks

__all__ = [
    "Check",
    "CheckAnswer",
    "CheckKind",
    "CheckLook",
    "CheckSet",
    "CheckSetError",
    "FolderUnusableError",
    "NoCheckSetError",
    "Report",
    "State",
    "TableUnusableError",
    "answer_facts",
    "check_declared",
    "load_checkset",
    "message_of",
    "report_html",
    "run_checks",
]
