"""The double on a thread of its own, for tests of whole processes that are written without asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx

from tests.support.slack.double import SlackDouble
from tests.support.slack.workspace import Message

T = TypeVar("T")


class ThreadedDouble:
    def __init__(self, double: SlackDouble, loop: asyncio.AbstractEventLoop) -> None:
        self.double = double
        self._loop = loop

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def until(self, what: Callable[[], Any]) -> Any:
        return self.do(self.double.until(what))

    def live(self, channel: str, text: str) -> Message:
        """The message with buttons in which this text stands, once it is there."""

        def found() -> Message | None:
            return next(
                (one for one in self.double.workspace.in_channel(channel) if one.buttons and text in one.shown), None
            )

        message: Message = self.until(found)
        return message

    def sends_to(self, url: str) -> None:
        """HTTP mode: where interactions go."""

        async def make() -> httpx.AsyncClient:
            return httpx.AsyncClient(base_url=url)

        self.double.app = self.do(make())


@contextmanager
def threaded_double() -> Iterator[ThreadedDouble]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    double = SlackDouble()
    serving = double.serving()
    made = ThreadedDouble(double, loop)
    try:
        made.do(serving.__aenter__())
        yield made
    finally:
        if double.app is not None:
            made.do(double.app.aclose())
        made.do(serving.__aexit__(None, None, None))
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
