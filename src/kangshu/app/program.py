"""The program that commands add themselves to, and what every command needs to run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from kangshu import __version__
from kangshu.app.presenting import fail
from kangshu.app.settings import DEFAULT_HOME

_Result = TypeVar("_Result")

app = typer.Typer(
    name="kangshu",
    help="康枢：区域全民健康信息平台 / An open regional population-health information platform.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="只输出一个 JSON 对象 / print exactly one JSON object")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    home: Annotated[
        Path,
        typer.Option(envvar="KANGSHU_HOME", help="数据目录 / folder of settings, database, lake and keys"),
    ] = DEFAULT_HOME,
    _version_wanted: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    """康枢 Kangshu."""
    context.obj = home


def home_of(context: typer.Context) -> Path:
    """Return the home folder that the command line names."""
    return context.find_root().obj or DEFAULT_HOME


def run(work: Coroutine[Any, Any, _Result], *, as_json: bool = False) -> _Result:
    """Run a command's work to its end; a known failure ends the program with its status."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:  # noqa: BLE001 - the door maps every failure once
        fail(error, as_json=as_json)


def guard(work: Callable[[], _Result], *, as_json: bool = False) -> _Result:
    """Run work that is not asynchronous; a known failure ends the program with its status."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - the door maps every failure once
        fail(error, as_json=as_json)
