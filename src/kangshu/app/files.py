"""Which files a path names, and what their folder says of the sender."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

_CODE = re.compile(r"^[0-9A-Z]{9}[0-9]{6}[0-9A-Z]{7}$")  # the 22-place institution code
_MESSAGES = "messages"  # an institution's messages, beside its files
_IGNORED = {"thumbs.db", "desktop.ini"}


def find_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files that `paths` name, those in folders in the order of their names.

    Hidden files and what a file manager leaves behind are passed over.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(one for one in path.rglob("*") if one.is_file() and not _ignored(one))
        else:
            found.append(path)
    return found


def institution_of_folder(path: Path) -> str | None:
    """Return the institution code that names the file's folder, or the folder of its `messages`."""
    folder = path.resolve().parent
    name = folder.parent.name if folder.name == _MESSAGES else folder.name
    return name if _CODE.match(name) else None


def _ignored(path: Path) -> bool:
    return path.name.startswith((".", "~$")) or path.name.casefold() in _IGNORED
