"""Why a file, as a whole, is not taken in. (A row that fails is not an error: it is counted and listed.)

KangshuError
└── IntakeError
    ├── FileRejectedError        the sender must correct the file
    │   ├── NotRecognisedError
    │   ├── AmbiguousDatasetError
    │   ├── ColumnsMissingError
    │   ├── InstitutionUnknownError
    │   ├── NoRowsError
    │   └── NothingAcceptedError
    └── ReceiptNotFoundError     the caller must name a receipt that exists
"""

from __future__ import annotations

from collections.abc import Sequence

from kangshu.declarations import Dataset, Field
from kangshu.kernel.errors import KangshuError, Kind
from kangshu.kernel.texts import load_catalogue

say = load_catalogue("kangshu.intake")


class IntakeError(KangshuError):
    """The root of what can go wrong when something arrives."""


class FileRejectedError(IntakeError):
    """The file as a whole cannot be taken in; nothing of it was stored."""

    kind = Kind.INCORRECT


class NotRecognisedError(FileRejectedError):
    """The headings are those of no declared data set; they are not repeated: they may be data."""

    def __init__(self) -> None:
        super().__init__(say("not_recognised"), place="row 1")


class AmbiguousDatasetError(FileRejectedError):
    """The headings fit several data sets equally well: the sender must say which it is."""

    def __init__(self, *, datasets: Sequence[Dataset]) -> None:
        names = ", ".join(sorted(dataset.name for dataset in datasets))
        super().__init__(say("ambiguous", names=names), place="row 1")


class ColumnsMissingError(FileRejectedError):
    """Columns of required fields are missing."""

    def __init__(self, *, dataset: Dataset, fields: Sequence[Field]) -> None:
        shown = fields[:8]
        more = len(fields) - len(shown)
        names_zh = "、".join(_named(field.title.zh, field) for field in shown) + (" 等" if more else "")
        names_en = ", ".join(_named(field.name, field) for field in shown) + (" ..." if more else "")
        text = say(
            "columns_missing",
            title=dataset.title.zh,
            title_en=dataset.title.en,
            count=len(fields),
            names=names_zh,
            names_en=names_en,
        )
        super().__init__(text, place="row 1")


class InstitutionUnknownError(FileRejectedError):
    """Nothing says which institution the file is from."""

    def __init__(self) -> None:
        super().__init__(say("institution_unknown"))


class NoRowsError(FileRejectedError):
    """There are headings and nothing below them."""

    def __init__(self) -> None:
        super().__init__(say("no_rows"), place="row 1")


class NothingAcceptedError(FileRejectedError):
    """Every row failed: such a file neither counts nor replaces an earlier one."""

    def __init__(self, *, rows: int) -> None:
        super().__init__(say("nothing_accepted", rows=rows))


class ReceiptNotFoundError(IntakeError):
    """There is no such receipt, or it is not the caller's to see."""

    kind = Kind.NOT_FOUND

    def __init__(self, *, receipt_id: int) -> None:
        super().__init__(say("receipt_not_found", id=receipt_id))


def _named(title: str, field: Field) -> str:
    return f"{title}({field.code})" if field.code else title
