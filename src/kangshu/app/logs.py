"""Structured logs: one JSON object a line, without personal values."""

from __future__ import annotations

import logging
import sys

import structlog


def set_up_logs(*, level: int = logging.INFO) -> None:
    """Write logs of our own and of the libraries as JSON lines to stderr.

    Messages are fixed words and their facts are numbers, codes and states; nothing logs a request's
    body or query, which is where personal values would be.
    """
    # A line that cannot be written would be complained of on stderr, with the exception and all it holds.
    logging.raiseExceptions = False
    shared = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
