"""Print a command's result for people or as one JSON object; turn failures into a sentence and a status."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import orjson
import typer
from rich.console import Console
from rich.table import Table

from kangshu.app.errors import say
from kangshu.kernel.errors import KangshuError, Kind

EXIT_DONE, EXIT_REJECTED, EXIT_WRONG, EXIT_ENVIRONMENT = 0, 1, 2, 3

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ENVIRONMENT_KINDS = {Kind.UNAVAILABLE, Kind.BUSY, Kind.INTERRUPTED}

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def present(
    result: Mapping[str, Any],
    *,
    as_json: bool,
    show: Callable[[], None] | None = None,
    status: int = EXIT_DONE,
) -> None:
    """Print the result; end the command with `status` where it is not zero."""
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(result, option=orjson.OPT_APPEND_NEWLINE, default=str))
        sys.stdout.buffer.flush()
    elif show:
        show()
    else:
        print_facts(result)
    if status:
        raise typer.Exit(status)


def print_facts(facts: Mapping[str, Any]) -> None:
    """Print one fact a line."""
    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        table.add_row(f"[dim]{name}[/]", number(value))
    out.print(table)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str | None = None) -> None:
    """Print rows under headings, numbers to the right."""
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for position, name in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[position], int | float) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(number(cell) for cell in row))
    out.print(table)


def number(value: Any) -> str:
    """Return a value as people read it: thousands apart, nothing for None."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}"
    return str(value)


def fail(error: BaseException, *, as_json: bool) -> NoReturn:
    """End the command with one clear sentence and its status, whatever happened.

    Of a failure that nobody foresaw only its class and the line of ours are told: its own words may
    quote somebody's values. `KANGSHU_DEBUG=1` lets it through with its traceback.
    """
    if isinstance(error, KangshuError):
        status = EXIT_ENVIRONMENT if error.kind in _ENVIRONMENT_KINDS else EXIT_WRONG
        _print_failure(error.text.zh, error.text.en, error.place, as_json=as_json)
        raise SystemExit(status) from None
    if os.environ.get("KANGSHU_DEBUG"):
        raise error
    if isinstance(error, OSError) and error.errno in _FULL:
        text = say("disk_full", path=error.filename or "home")
    elif isinstance(error, OSError) and error.filename:
        text = say("system_refused", path=error.filename, reason=error.strerror)
    else:
        text = say("fault", error=type(error).__name__, place=_own_line(error))
    _print_failure(text.zh, text.en, None, as_json=as_json)
    raise SystemExit(EXIT_ENVIRONMENT) from None


def _own_line(error: BaseException) -> str:
    """Return the innermost line of this program that the failure went through."""
    lines = [
        f"{frame.f_globals.get('__name__', '?')}:{number}"
        for frame, number in traceback.walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__", "")).startswith("kangshu.")
    ]
    return lines[-1] if lines else "?"


def _print_failure(zh: str, en: str, place: str | None, *, as_json: bool) -> None:
    if as_json:
        body = {"error": {"reason": zh, "reason_en": en, "place": place}}
        sys.stdout.buffer.write(orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE))
        sys.stdout.buffer.flush()
    where = f"{place}: " if place else ""
    err.print(f"[bold red]{where}{zh}[/]", soft_wrap=True)
    err.print(f"{where}{en}", soft_wrap=True)
