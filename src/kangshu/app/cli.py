"""The command line: `kangshu [--home DIR] COMMAND ...`."""

from __future__ import annotations

import os
import sys

from kangshu.app import commands
from kangshu.app.program import app

__all__ = ["app", "commands", "main"]


def main() -> None:
    """Run the program."""
    try:
        app()
    except BrokenPipeError:
        # The reader went away (`| head`): not a failure, and nothing more can be said to it.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - stays open to the end of the process
        raise SystemExit(0) from None
