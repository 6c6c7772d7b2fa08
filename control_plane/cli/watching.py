"""Following approvals by server-sent events. An event says which request changed; what it is now is asked for.

A connection that breaks is opened again, and what happened in between is read from the list. What the control plane
refuses (a sign-in that has ended) ends it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from control_plane.cli.client import Api, ApiError, Json
from control_plane.cli.output import cell, warn

STILL_MOVING: Final = frozenset({"requested", "pending", "approved", "executing"})
RETRY_SECONDS: Final = (0.5, 1.0, 2.0, 5.0, 10.0)


class Watch:
    def __init__(self, api: Api, tell: Callable[[Json], None]) -> None:
        self._api = api
        self._tell = tell
        self._told: dict[str, tuple[str, str, int]] = {}  # what was said of each: state, whom it waits for, how many
        self._failures = 0
        self._connected = False

    def run(self) -> None:
        """Until Ctrl-C. Raises ApiError when it is refused, or cannot begin."""
        while True:
            try:
                with self._api.stream("/v1/approvals/events") as lines:
                    for kind, data in server_sent(lines):
                        self._heard(kind, data)
            except ApiError as error:
                if error.status or not self._connected:
                    raise
                if not self._failures:
                    warn(f"[yellow]{cell(str(error))}[/yellow]; trying again")
            time.sleep(RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS) - 1)])
            self._failures += 1

    def _heard(self, kind: str, data: bytes) -> None:
        self._connected, self._failures = True, 0
        if kind == "approval":
            self._look(msgspec.json.decode(data)["id"])
        elif kind == "resync":
            waiting = list(self._api.pages("/v1/approvals", sys.maxsize, show="all"))
            open_still = {one for one, (state, _, _) in self._told.items() if state in STILL_MOVING}
            for missed in open_still - {approval["id"] for approval in waiting}:
                self._look(missed)
            for approval in reversed(waiting):
                self._see(approval)

    def _look(self, approval_id: str) -> None:
        self._see(self._api.get(f"/v1/approvals/{approval_id}"))

    def _see(self, approval: Json) -> None:
        now = (approval["state"], approval["waits_for"], approval["count"])
        if self._told.get(approval["id"]) == now:
            return
        self._told[approval["id"]] = now
        self._tell(approval)


def server_sent(lines: Iterator[str]) -> Iterator[tuple[str, bytes]]:
    """Kind and data of each event; comments keep the connection alive and are no events."""
    kind, data = "message", ""
    for line in lines:
        if not line:
            if data:
                yield kind, data.encode()
            kind, data = "message", ""
        elif line.startswith("event:"):
            kind = line.removeprefix("event:").strip()
        elif line.startswith("data:"):
            data += line.removeprefix("data:").strip()
