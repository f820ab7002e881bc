"""What people may change: what each role may do, what machines may ask for, how strict sign-in is.

System administration, audit and working with data are held by different people (GB/T 22239,
三权分立): an administrator sees no person's data, an auditor sees who looked and not at what.
Whether somebody may read a certain person, and for what purpose, is `consent`'s decision.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum


class Role(StrEnum):
    """What somebody works as."""

    ADMINISTRATOR = "administrator"  # 系统管理员
    AUDITOR = "auditor"  # 审计员
    CENTRE_STAFF = "centre-staff"  # 信息中心业务人员
    STATISTICIAN = "statistician"  # 统计人员
    CLINICIAN = "clinician"  # 医务人员
    INSTITUTION_IT = "institution-it"  # 机构信息科
    DESK = "desk"  # 服务窗口


class Permission(StrEnum):
    """One thing that can be done."""

    SEE_OVERVIEW = "see-overview"
    SEE_DECLARATIONS = "see-declarations"
    SEE_DIRECTORY = "see-directory"
    SEE_RECEIPTS = "see-receipts"
    SEE_STATISTICS = "see-statistics"
    SEE_QUALITY = "see-quality"
    MANAGE_QUALITY = "manage-quality"
    SUBMIT_DATA = "submit-data"
    DOWNLOAD_REJECTS = "download-rejects"
    SEE_MESSAGES = "see-messages"
    SUBMIT_MESSAGES = "submit-messages"
    FIND_PERSONS = "find-persons"
    READ_RECORDS = "read-records"
    BREAK_GLASS = "break-glass"
    REVIEW_PERSONS = "review-persons"
    SEE_AUDIT = "see-audit"
    MANAGE_ACCOUNTS = "manage-accounts"
    OPERATE = "operate"
    USE_CARDS = "use-cards"
    MANAGE_CARDS = "manage-cards"
    HOLD_CARDS = "hold-cards"
    SEE_CARDS = "see-cards"


_EVERYBODY = frozenset({Permission.SEE_OVERVIEW, Permission.SEE_DECLARATIONS, Permission.SEE_DIRECTORY})

ROLE_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.ADMINISTRATOR: _EVERYBODY
    | {
        Permission.MANAGE_ACCOUNTS,
        Permission.OPERATE,
        Permission.SEE_RECEIPTS,
        Permission.SEE_MESSAGES,
    },
    Role.AUDITOR: _EVERYBODY | {Permission.SEE_AUDIT},
    Role.CENTRE_STAFF: _EVERYBODY
    | {
        Permission.SEE_RECEIPTS,
        Permission.SEE_STATISTICS,
        Permission.SEE_QUALITY,
        Permission.MANAGE_QUALITY,
        Permission.SUBMIT_DATA,
        Permission.DOWNLOAD_REJECTS,
        Permission.SEE_MESSAGES,
        Permission.SUBMIT_MESSAGES,
        Permission.FIND_PERSONS,
        Permission.READ_RECORDS,
        Permission.REVIEW_PERSONS,
        Permission.SEE_CARDS,
        Permission.MANAGE_CARDS,
        Permission.HOLD_CARDS,
        Permission.USE_CARDS,
    },
    Role.STATISTICIAN: _EVERYBODY
    | {
        Permission.SEE_RECEIPTS,
        Permission.SEE_STATISTICS,
        Permission.SEE_QUALITY,
        Permission.SEE_CARDS,
    },
    Role.CLINICIAN: _EVERYBODY | {Permission.FIND_PERSONS, Permission.READ_RECORDS, Permission.BREAK_GLASS},
    Role.INSTITUTION_IT: _EVERYBODY
    | {
        Permission.SEE_RECEIPTS,
        Permission.SEE_QUALITY,
        Permission.SUBMIT_DATA,
        Permission.DOWNLOAD_REJECTS,
        Permission.SEE_MESSAGES,
        Permission.SUBMIT_MESSAGES,
        Permission.FIND_PERSONS,
        Permission.READ_RECORDS,
        Permission.SEE_CARDS,
        Permission.USE_CARDS,
    },
    Role.DESK: _EVERYBODY
    | {
        Permission.FIND_PERSONS,
        Permission.READ_RECORDS,
        Permission.SEE_CARDS,
        Permission.MANAGE_CARDS,
        Permission.HOLD_CARDS,
    },
}

EXCLUSIVE_ROLES = frozenset({Role.ADMINISTRATOR, Role.AUDITOR})
"""Roles that nobody holds together with another one."""

SCOPE_PERMISSIONS: dict[str, frozenset[Permission]] = {
    "datasets.write": frozenset({Permission.SUBMIT_DATA, Permission.SEE_RECEIPTS}),
    "messages.write": frozenset({Permission.SUBMIT_MESSAGES}),
    "receipts.read": frozenset({Permission.SEE_RECEIPTS}),
    "quality.read": frozenset({Permission.SEE_QUALITY}),
    "rejects.read": frozenset({Permission.DOWNLOAD_REJECTS}),
    "directory.read": frozenset({Permission.SEE_DIRECTORY}),
    "declarations.read": frozenset({Permission.SEE_DECLARATIONS}),
    "persons.find": frozenset({Permission.FIND_PERSONS}),
    "records.read": frozenset({Permission.READ_RECORDS}),
    "cards.use": frozenset({Permission.USE_CARDS}),
    "cards.manage": frozenset({Permission.MANAGE_CARDS}),
    "cards.hold": frozenset({Permission.HOLD_CARDS}),
}
"""What each scope of a machine client lets it do, for its own institution."""

DEFAULT_SCOPES = ("datasets.write", "declarations.read")

PASSWORD_MINIMUM = 8
PASSWORD_MAXIMUM = 128  # arbitrary: bounds the work of hashing
PASSWORD_KINDS = 3

FAILURES_BEFORE_LOCK = 5
LOCK_TIME = timedelta(minutes=15)

SESSION_IDLE_TIME = timedelta(minutes=30)
SESSION_TIME = timedelta(hours=12)
SESSION_TOUCH_TIME = timedelta(minutes=1)  # a session is not rewritten for every picture of a page
TOKEN_TIME = timedelta(hours=1)
