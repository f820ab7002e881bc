"""What can be wrong with a declaration.

KangshuError
├── DeclarationError      the author of the pack must correct the named line
└── UnknownDatasetError   the caller must name a data set that the pack declares
"""

from __future__ import annotations

from pathlib import Path

from kangshu.kernel.errors import KangshuError, Kind
from kangshu.kernel.texts import Text, load_catalogue

say = load_catalogue("kangshu.declarations")


class DeclarationError(KangshuError):
    """A declaration is wrong; `place` is `file:line`."""

    kind = Kind.INCORRECT

    def __init__(self, text: Text, *, path: Path, line: int) -> None:
        super().__init__(text, place=f"{path}:{line}")
        self.path = path
        self.line = line


class UnknownDatasetError(KangshuError):
    """No data set of that name is declared."""

    kind = Kind.NOT_FOUND

    def __init__(self, *, name: str, known: tuple[str, ...]) -> None:
        super().__init__(say("unknown_dataset", name=name, known=", ".join(known)))
