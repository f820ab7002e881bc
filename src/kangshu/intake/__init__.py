"""What arrived, from whom, in what shape, and what became of it: the bulk lane's front half.

A file of any supported format is recognised by its content and headings, checked by DuckDB against
its data set's declaration, its persons linked, its good rows written to the lake and its bad rows
listed; it is committed whole or not at all, and a receipt says so.
"""

from kangshu.intake.checking import CheckedBatch, CheckEngine, Failure, FileCheck
from kangshu.intake.compiling import CheckPlan, compile_plan, rule_counts_sql
from kangshu.intake.errors import FileRejectedError, IntakeError, ReceiptNotFoundError
from kangshu.intake.events import FILE_COMMITTED
from kangshu.intake.examining import Examination, examine
from kangshu.intake.findings import Examined, Finding, Share, last_month, month_of
from kangshu.intake.model import Arrival, FileState, Outcome, ReasonCount, Receipt, period_in_name
from kangshu.intake.operations import (
    CheckEnginePool,
    Committed,
    IntakeServices,
    Linked,
    Listener,
    PersonLinker,
    RefusalListener,
    Refused,
    SenderRules,
    describe_file,
    process_stored,
    recover,
    register,
    sweep,
    take_in,
)
from kangshu.intake.queries import (
    ZONE,
    DatasetCount,
    DayCount,
    SenderCount,
    StandingCount,
    get_receipt,
    list_dataset_counts,
    list_days,
    list_reasons,
    list_receipts,
    list_sender_counts,
    list_standing,
    list_top_reasons,
    reason_text,
    rejects_path,
)
from kangshu.intake.recognition import Recognition, recognise, repeat_heading

__all__ = [
    "FILE_COMMITTED",
    "ZONE",
    "Arrival",
    "CheckEngine",
    "CheckEnginePool",
    "CheckPlan",
    "CheckedBatch",
    "Committed",
    "DatasetCount",
    "DayCount",
    "Examination",
    "Examined",
    "Failure",
    "FileCheck",
    "FileRejectedError",
    "FileState",
    "Finding",
    "IntakeError",
    "IntakeServices",
    "Linked",
    "Listener",
    "Outcome",
    "PersonLinker",
    "ReasonCount",
    "Receipt",
    "ReceiptNotFoundError",
    "Recognition",
    "RefusalListener",
    "Refused",
    "SenderCount",
    "SenderRules",
    "Share",
    "StandingCount",
    "compile_plan",
    "describe_file",
    "examine",
    "get_receipt",
    "last_month",
    "list_dataset_counts",
    "list_days",
    "list_reasons",
    "list_receipts",
    "list_sender_counts",
    "list_standing",
    "list_top_reasons",
    "month_of",
    "period_in_name",
    "process_stored",
    "reason_text",
    "recognise",
    "recover",
    "register",
    "rejects_path",
    "repeat_heading",
    "rule_counts_sql",
    "sweep",
    "take_in",
]
