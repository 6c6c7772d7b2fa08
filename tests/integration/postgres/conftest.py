"""The wire and the runtime are tested on both event loops: uvloop is what runs, asyncio is what is there without it.

psycopg watches descriptors that are not the loop's own, which uvloop cannot always let go of ("Device or resource
busy"), so what drives it hard runs on asyncio.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

ON_BOTH = ("test_through_the_gateway", "test_ends_of_sessions", "test_attacks_on_the_handshake")
ON_ASYNCIO = ("test_masked_sessions",)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    del config
    if item.path.stem in ON_BOTH:
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    if item.path.stem in ON_ASYNCIO:
        return {"asyncio": asyncio.new_event_loop}
    return {"uvloop": uvloop.new_event_loop}
