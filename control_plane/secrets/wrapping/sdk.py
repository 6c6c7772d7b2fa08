"""What the wrapping keys of other services have in common: their libraries block, so each call is made in a thread, of
a few that are kept for them alone, so that a service that hangs takes nothing else of the control plane with it.

A library is loaded at the first call, because some need a second for it; that it is installed is asked at the start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, Protocol, TypeVar

from control_plane.secrets.ports import WrapperConfigurationError, WrapperUnavailableError

T = TypeVar("T")
CONNECT_SECONDS: Final = 3.0
ANSWER_SECONDS: Final = 8.0
_PATIENCE: Final = 20.0  # for all tries of a library together
_pool: Final = ThreadPoolExecutor(max_workers=8, thread_name_prefix="wrapping-keys")


class Keeper(Protocol):
    """A service that keeps the key. Both calls block, may come from several threads at once, end by themselves within
    the seconds above (a library may try twice) and raise the errors that `ports.KeyWrapper` promises."""

    def wrap(self, data_key: bytes, context: bytes) -> bytes: ...

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes: ...


class KeptElsewhere:
    """Implements `ports.KeyWrapper` over a `Keeper`."""

    def __init__(self, key_id: str, keeper: Keeper) -> None:
        if len(key_id) > 255:
            raise WrapperConfigurationError(f"{key_id[:60]}…: a wrapping key's name has 255 characters at most")
        self.id = key_id
        self._keeper = keeper

    async def wrap(self, data_key: bytes, context: bytes) -> bytes:
        return await self._in_thread(lambda: self._keeper.wrap(data_key, context))

    async def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        return await self._in_thread(lambda: self._keeper.unwrap(wrapped, context))

    async def _in_thread(self, call: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(_PATIENCE):
                return await asyncio.wrap_future(_pool.submit(call))
        except TimeoutError:
            raise WrapperUnavailableError(f"{self.id}: no answer within {_PATIENCE:g} s") from None


def installed(module: str, extra: str) -> None:
    """Raises WrapperConfigurationError."""
    try:
        found = find_spec(module) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise WrapperConfigurationError(f"this kind of wrapping key needs a library: install assentry[{extra}]")


def library(module: str, extra: str) -> Any:
    """Raises WrapperConfigurationError."""
    installed(module, extra)
    return import_module(module)
