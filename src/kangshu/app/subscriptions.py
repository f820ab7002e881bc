"""Who listens to what."""

from __future__ import annotations

from collections.abc import Sequence

from kangshu.app.pipeline import audit_file, load_directory
from kangshu.intake import Listener


def listeners() -> Sequence[Listener]:
    """Return who acts in the transaction that commits a file, in order."""
    return (load_directory, audit_file)
