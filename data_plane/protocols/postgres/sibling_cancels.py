"""Cancel requests between the workers of one agent, which share a port: the kernel gives a request to any of them.

Each worker listens on a Unix socket in a folder that only the agent's user can enter, and takes CancelRequests there
as a PostgreSQL server would; it never passes one on again.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Final

import structlog

from data_plane.protocols.postgres.answers import CancelKey
from data_plane.protocols.postgres.cancellation import CancelRegistry
from data_plane.protocols.postgres.startup import Cancel, StartupCore
from data_plane.protocols.postgres.target_startup import encode_cancel
from data_plane.runtime import tasks
from data_plane.runtime.connection import Connection, dial

log = structlog.get_logger(__name__)

SECONDS: Final = 15.0
_SUFFIX: Final = ".cancel"


class UnixSiblings:
    """Implements `cancellation.Siblings`. `folder` is shared by the workers, `name` is this worker's own."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._own = folder / f"{name}{_SUFFIX}"
        self._server: asyncio.Server | None = None

    async def listen(self, registry: CancelRegistry) -> None:
        """A socket that a crashed worker of the same name has left is replaced."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._own.unlink(missing_ok=True)

        def accepted() -> Connection:
            return _Accepted(registry)

        self._server = await asyncio.get_running_loop().create_unix_server(accepted, str(self._own))
        self._own.chmod(0o600)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._own.unlink(missing_ok=True)

    async def forward(self, key: CancelKey) -> None:
        others = [path for path in sorted(self._folder.glob(f"*{_SUFFIX}")) if path != self._own]
        await asyncio.gather(*(_ask(path, key) for path in others))


class _Accepted(Connection):
    def __init__(self, registry: CancelRegistry) -> None:
        super().__init__()
        self._registry = registry

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        tasks.spawn(self._serve(), "sibling cancel")

    async def _serve(self) -> None:
        core = StartupCore(offers_tls=False)
        try:
            async with asyncio.timeout(SECONDS):
                step = None
                while step is None and (data := await self.receive()):
                    step = core.client_sent(data)
                if isinstance(step, Cancel):
                    await self._registry.cancel_here(step.key)
        except (TimeoutError, OSError) as error:
            log.warning("sibling cancel failed", error=type(error).__name__)
        finally:
            self.close()


async def _ask(path: Path, key: CancelKey) -> None:
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(SECONDS):
            connection = await dial("", 0, str(path))
            try:
                connection.send(encode_cancel(key))
                while await connection.receive():
                    pass
            finally:
                connection.close()
