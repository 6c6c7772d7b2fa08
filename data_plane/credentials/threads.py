"""Libraries of other services block: each of their calls is made in a thread, of a few that are kept for them alone, so
that a service that hangs takes nothing else of the agent with it. Their own timeouts end every call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from typing import Any, Final, TypeVar

from data_plane.credentials.ports import CredentialError

T = TypeVar("T")
CONNECT_SECONDS: Final = 3.0
ANSWER_SECONDS: Final = 8.0
_PATIENCE: Final = 13.0  # below per_session.PATIENCE, so that it is known what was waited for
_pool: Final = ThreadPoolExecutor(max_workers=16, thread_name_prefix="credentials")


async def in_thread(call: Callable[[], T], what: str, undo: Callable[[T], object] | None = None) -> T:
    """`what` names the service. `undo` is called in the thread with a result that comes when nobody waits for it any
    more. Raises CredentialError when it takes too long."""
    future = _pool.submit(call)
    try:
        async with asyncio.timeout(_PATIENCE):
            return await asyncio.wrap_future(future)
    except BaseException as error:
        if undo is not None and isinstance(error, (TimeoutError, asyncio.CancelledError)):
            future.add_done_callback(lambda late: _undo(late, undo))
        if isinstance(error, TimeoutError):
            raise CredentialError(f"{what}: no answer within {_PATIENCE:g} s") from None
        raise


def _undo(late: Future[T], undo: Callable[[T], object]) -> None:
    if not late.cancelled() and late.exception() is None:
        undo(late.result())


def library(module: str, extra: str) -> Any:
    """Loaded where it is used only. Raises CredentialError."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise CredentialError(f"{error.name} is not installed: install assentry[{extra}]") from None
