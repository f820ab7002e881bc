"""`kangshu quality ...`: findings, scores and what follows; one module for each group of commands."""

from __future__ import annotations

import typer

from kangshu.app.program import app

quality = typer.Typer(no_args_is_help=True, help="数据质量：问题、评分、排名、整改 / data quality")
app.add_typer(quality, name="quality")
