"""Waiting at a terminal until people have decided on something that was asked for beforehand."""

from __future__ import annotations

import time
from typing import Final

import msgspec

from control_plane.cli.client import Api, ApiError, Json, part
from control_plane.cli.errors import CommandError
from control_plane.cli.watching import RETRY_SECONDS, server_sent

_UNDECIDED: Final = frozenset({"requested", "pending"})
_AGREED: Final = frozenset({"approved", "ended"})


def decided(api: Api, approval_id: str) -> None:
    """Returns when it is; a connection that breaks is opened again. Raises ApiError when it is refused."""
    tries = 0
    while True:
        try:
            with api.stream("/v1/approvals/events") as lines:
                for kind, data in server_sent(lines):
                    tries = 0
                    news_of_it = kind == "approval" and msgspec.json.decode(data)["id"] == approval_id
                    if (kind == "resync" or news_of_it) and _is_decided(api, approval_id):
                        return
        except ApiError as error:
            if error.status:
                raise
        time.sleep(RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)])
        tries += 1


def ended_well(asked: Json) -> None:
    """Raises CommandError unless people agreed."""
    if asked["state"] not in _AGREED:
        raise CommandError(f"{asked['short_code']} is {asked['state']}: {asked['outcome'] or 'nobody agreed'}")


def _is_decided(api: Api, approval_id: str) -> bool:
    return api.get(f"/v1/approvals/{part(approval_id)}")["state"] not in _UNDECIDED
