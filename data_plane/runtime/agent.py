"""The agent in one process: what the link tells it becomes ended sessions, refused connections or a drain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import structlog

from data_plane.gate.interface import SessionFacts
from data_plane.identifiers import SessionId
from data_plane.policy.snapshot import Snapshot
from data_plane.runtime.listener import Listener
from data_plane.runtime.session import Sessions

log = structlog.get_logger(__name__)

_REVOKED: Final = "access to this target has ended: the identity, the credential or the policy has changed"
_LEASE: Final = "this gateway has lost its control plane for too long: connect again later"


class Doors(Protocol):
    """Admission, as far as the agent closes it."""

    draining: bool

    def objection(self, facts: SessionFacts) -> str:
        """Why this session would not be admitted now; empty: it would."""


class Agent:
    """What `assembly` wraps as the link's Agent port."""

    def __init__(self, sessions: Sessions, doors: Doors, drain_seconds: float) -> None:
        self._sessions = sessions
        self._doors = doors
        self.listeners: Sequence[Listener] = ()
        self.drain_seconds = drain_seconds
        self.stop = asyncio.Event()  # set: drain, then end

    def snapshot_applied(self, snapshot: Snapshot) -> None:
        """Sessions whose ground is gone end now; the others are judged by the new policy from here on."""
        ended = self._sessions.terminate_where(
            lambda facts: bool(self._doors.objection(facts)), "access-revoked", _REVOKED
        )
        log.info("snapshot in force", version=snapshot.version, sessions_ended=ended)

    def terminate(self, session_id: str, reason: str) -> None:
        self._sessions.terminate(SessionId(session_id), "terminated", f"this session was ended: {reason}")

    def drain(self, seconds: float) -> None:
        log.info("the control plane asks for a drain", seconds=seconds)
        self.drain_seconds = seconds
        self.stop.set()

    def lease_ended(self, reason: str) -> None:
        self._sessions.terminate_where(lambda _: True, reason, _LEASE)

    async def drained(self, after: Callable[[], Awaitable[None]]) -> None:
        """Takes nothing new, lets sessions end by themselves, ends the rest, then `after`."""
        self._doors.draining = True
        for listener in self.listeners:
            await listener.close()
        await self._sessions.drain(self.drain_seconds)
        await after()
