"""`spawn`, the only maker of tasks in the control plane: it keeps the task alive and logs how it dies."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

T = TypeVar("T")

_log = structlog.get_logger(__name__)
_running: set[asyncio.Task[Any]] = set()


def spawn(coroutine: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """Runs `coroutine` beside its caller. Whoever needs its end awaits or cancels the task."""
    task = asyncio.get_running_loop().create_task(coroutine, name=name)
    _running.add(task)
    task.add_done_callback(_finished)
    return task


def _finished(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("task died", task=task.get_name(), exc_info=error)


async def stop(task: asyncio.Task[Any]) -> None:
    """Cancels the task and waits until it has cleaned up."""
    task.cancel()
    await asyncio.wait([task])
