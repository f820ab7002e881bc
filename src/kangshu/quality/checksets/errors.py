"""What can go wrong with a check set beside its declarations.

KangshuError
└── CheckSetError
    ├── NoCheckSetError      the caller must name a pack that has checks
    ├── FolderUnusableError  the caller must name a folder with tables of the pack
    └── TableUnusableError   the caller must mend or take away a file
"""

from __future__ import annotations

from pathlib import Path

from kangshu.kernel.errors import KangshuError, Kind
from kangshu.kernel.texts import load_catalogue

say = load_catalogue("kangshu.quality.checksets")


class CheckSetError(KangshuError):
    """The root of what can go wrong when checks are asked of a folder."""

    kind = Kind.INCORRECT


class NoCheckSetError(CheckSetError):
    """The pack declares no checks."""

    kind = Kind.NOT_FOUND

    def __init__(self, *, folder: Path) -> None:
        super().__init__(say("no_checkset"), place=str(folder))


class FolderUnusableError(CheckSetError):
    """There is no such folder, or no file in it is a table of the pack."""

    kind = Kind.NOT_FOUND

    def __init__(self, *, folder: Path) -> None:
        super().__init__(say("no_tables"), place=str(folder))


class TableUnusableError(CheckSetError):
    """A file is not what its name says, or two files are one table; nothing of its content is repeated."""

    def __init__(self, key: str, *, path: Path) -> None:
        super().__init__(say(key), place=path.name)
