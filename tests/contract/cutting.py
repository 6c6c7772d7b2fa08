"""A line between an agent and the control plane that is cut where a test wants it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Self


class CuttingProxy:
    """A TCP relay that cuts its n-th connection after `after(n)` pieces of data, either way; None: never."""

    def __init__(self, port: int, after: Callable[[int], int | None]) -> None:
        self._port = port
        self._after = after
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.connections = 0
        self.cuts = 0
        self.refusing = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    @property
    def address(self) -> str:
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        number, self.connections = self.connections, self.connections + 1
        left = [self._after(number)]
        self._writers.add(writer)
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._port)
        except BaseException:
            self._writers.discard(writer)
            writer.transport.abort()
            raise
        pair = (writer, upstream_writer)
        self._writers.add(upstream_writer)
        await asyncio.gather(
            self._pump(reader, upstream_writer, left, pair), self._pump(upstream_reader, writer, left, pair)
        )
        self._writers.difference_update(pair)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        left: list[int | None],
        pair: Sequence[asyncio.StreamWriter],
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if left[0] is not None:
                    left[0] -= 1
                    if left[0] < 0:
                        self.cuts += 1
                        break
                writer.write(data)
                await writer.drain()
        for one in pair:
            one.transport.abort()
