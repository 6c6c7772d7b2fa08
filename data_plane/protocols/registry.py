"""The protocols that the agent speaks: one line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from data_plane.protocols.interface import Process, ProtocolService
from data_plane.protocols.postgres.service import PostgresService

PROTOCOLS: Final[Mapping[str, Callable[[Process], ProtocolService]]] = {
    "postgres": PostgresService,
}
