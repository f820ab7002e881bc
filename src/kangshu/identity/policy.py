"""What counts as evidence of who somebody is: decisions that a centre can discuss and change.

They bind stored digests: after changing one, what was stored before is no longer found by it.
"""

from __future__ import annotations

from kangshu.standards.identifiers import DocumentKind

STRONG_DOCUMENTS = frozenset(
    {
        DocumentKind.PASSPORT,
        DocumentKind.OFFICER_CARD,
        DocumentKind.HONG_KONG_MACAU_PERMIT,
        DocumentKind.TAIWAN_PERMIT,
        DocumentKind.BIRTH_CERTIFICATE,
        DocumentKind.RESIDENCE_PERMIT,
        DocumentKind.PERMANENT_RESIDENCE,
    }
)
"""Documents whose type and number name one person. A household book names a household; nobody knows what
`other` names."""

RESIDENT_NUMBER_DOCUMENTS = frozenset(
    {
        DocumentKind.RESIDENT_CARD,
        DocumentKind.DRIVING_LICENCE,
        DocumentKind.RESIDENCE_PERMIT,
        DocumentKind.PERMANENT_RESIDENCE,
    }
)
"""Documents that carry the resident number itself, where their number has that form."""

UNKNOWN_NAMES = frozenset(
    {
        "无",
        "无名",
        "无名氏",
        "无名男",
        "无名女",
        "未知",
        "不详",
        "不明",
        "佚名",
        "暂无",
        "未命名",
        "UNKNOWN",
        "NULL",
        "NONE",
    }
)
"""Names that say that the name is not known (folded form): they neither agree nor contradict."""

UNKNOWN_NUMBERS = frozenset({"无", "无号", "未知", "不详", "暂无", "NULL", "NONE", "NA", "UNKNOWN"})
"""Numbers that say that there is none; so does a number without letter and digit, or of zeros only."""
