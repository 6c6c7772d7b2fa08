"""Cancel keys of our own, and what becomes of a CancelRequest. No sockets: sessions and siblings are ports.

Follows "Canceling Requests in Progress" (55.2.8). The process id is the backend's real one (clients compare it with
pg_backend_pid() and NOTIFY), the secret is ours: 4 random bytes in protocol 3.0, 32 in 3.2. Keys are compared in
constant time. A key that is not of this process goes to the sibling workers, which share the port; an unknown one goes
nowhere, never to a target. A 4-byte secret can be guessed by whoever may connect often enough; handshakes are bounded,
and all that is won is to cancel one statement.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from data_plane.protocols.postgres.answers import CancelKey
from data_plane.protocols.postgres.messages import PROTOCOL_3_2

log = structlog.get_logger(__name__)

SECRET_BYTES_3_0: Final = 4
SECRET_BYTES_3_2: Final = 32


class Cancellable(Protocol):
    async def cancel(self) -> None:
        """Returns when the cancellation has been delivered, or when there was nothing to cancel."""


class Siblings(Protocol):
    async def forward(self, key: CancelKey) -> None:
        """Asks the other workers; returns when they have done what they could. Never raises."""


class NoSiblings:
    async def forward(self, key: CancelKey) -> None:
        del key


class CancelRegistry:
    """The keys of this process's sessions."""

    def __init__(self, siblings: Siblings, draw: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._siblings = siblings
        self._draw = draw
        self._by_process: dict[int, list[tuple[bytes, Cancellable]]] = {}

    def issue(self, version: int, backend: CancelKey | None, session: Cancellable) -> CancelKey:
        """A key for a new session; `backend` is the target's own, None when it gave none."""
        size = SECRET_BYTES_3_2 if version >= PROTOCOL_3_2 else SECRET_BYTES_3_0
        process_id = backend.process_id if backend else int.from_bytes(self._draw(4), "big") >> 1
        key = CancelKey(process_id, self._draw(size))
        self._by_process.setdefault(process_id, []).append((key.secret, session))
        return key

    def revoke(self, key: CancelKey) -> None:
        kept = [entry for entry in self._by_process.get(key.process_id, []) if entry[0] != key.secret]
        if kept:
            self._by_process[key.process_id] = kept
        else:
            self._by_process.pop(key.process_id, None)

    def __len__(self) -> int:
        return sum(map(len, self._by_process.values()))

    async def cancel(self, key: CancelKey) -> None:
        if not await self.cancel_here(key):
            await self._siblings.forward(key)

    async def cancel_here(self, key: CancelKey) -> bool:
        """For keys that a sibling forwards: they are not passed on again. False: not a key of this process."""
        found = None
        for secret, session in self._by_process.get(key.process_id, ()):
            if hmac.compare_digest(secret, key.secret):
                found = session
        if found is None:
            return False
        log.info("cancel requested", process_id=key.process_id)
        await found.cancel()
        return True
