"""Following approvals: what is told, once each, through connections that break."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from control_plane.cli import watching
from control_plane.cli.client import ApiError
from control_plane.cli.watching import Watch, server_sent

RESYNC = ["event: resync", "data: {}", ""]


def news(approval_id: str) -> list[str]:
    return ["event: approval", f'data: {{"id": "{approval_id}"}}', ""]


class Script:
    """An Api whose streams say what they are told to, and end as they are told to."""

    def __init__(self, *streams: list[str] | ApiError) -> None:
        self.streams = list(streams)
        self.approvals: dict[str, str] = {}
        self.after: dict[int, dict[str, str]] = {}  # what has changed when so many streams are left

    @contextmanager
    def stream(self, _path: str) -> Iterator[Iterator[str]]:
        self.approvals |= self.after.get(len(self.streams), {})
        said = self.streams.pop(0)
        if isinstance(said, ApiError):
            raise said
        yield iter(said)

    def pages(self, _path: str, _limit: int, **_query: str) -> list[dict[str, str]]:
        return [self.get(one) for one, state in self.approvals.items() if state == "pending"]

    def get(self, path: str) -> dict[str, str]:
        approval_id = path.rpartition("/")[2]
        return {"id": approval_id, "state": self.approvals[approval_id], "waits_for": "", "count": 1}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "RETRY_SECONDS", (0,))


def told_by(script: Script) -> list[tuple[str, str]]:
    told: list[tuple[str, str]] = []
    api: Any = script
    with pytest.raises(ApiError, match="over"):
        Watch(api, lambda approval: told.append((approval["id"], approval["state"]))).run()
    return told


OVER = ApiError("over", 401)
GONE = ApiError("cannot reach it")


def test_events_are_read_and_comments_are_not() -> None:
    lines = [": alive", "", *news("apr_1"), "data: x", "data: y", ""]
    assert list(server_sent(iter(lines))) == [("approval", b'{"id": "apr_1"}'), ("message", b"xy")]


def test_each_state_is_told_once() -> None:
    script = Script([*RESYNC, *news("a"), *RESYNC], OVER)
    script.approvals = {"a": "pending", "b": "pending"}
    assert told_by(script) == [("b", "pending"), ("a", "pending")]


def test_what_happened_while_the_connection_was_broken_is_told() -> None:
    script = Script(RESYNC, GONE, GONE, RESYNC, OVER)
    script.approvals = {"a": "pending"}
    script.after = {2: {"a": "denied", "b": "pending"}}
    assert told_by(script) == [("a", "pending"), ("a", "denied"), ("b", "pending")]


def test_a_control_plane_that_cannot_be_reached_at_first_is_an_error() -> None:
    api: Any = Script(GONE)
    with pytest.raises(ApiError, match="cannot reach"):
        Watch(api, lambda _: None).run()
