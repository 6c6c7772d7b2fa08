"""Structured logs, one JSON object a line, on standard error. Values named like secrets never get there."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

from control_plane.kit.secret import Secret

_SENSITIVE = ("password", "token", "secret", "authorization", "cookie", "private", "csr", "text", "parameters")


def configure_logs(level: str) -> None:
    """Once, at start; the standard library's loggers (uvicorn, alembic, grpc) go the same way, warnings and up."""
    number: int = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(stream=sys.stderr, level=max(number, logging.WARNING), format="%(message)s", force=True)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            hide_secrets,
            structlog.processors.JSONRenderer(default=repr),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def hide_secrets(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """By the name of the field: also what somebody logs without thinking."""
    for name, value in event.items():
        if isinstance(value, Secret) or any(part in name.lower() for part in _SENSITIVE):
            event[name] = "***"
    return event
