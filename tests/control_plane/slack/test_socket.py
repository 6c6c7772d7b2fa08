"""Socket mode: connections end and begin, and nothing that was pressed is lost or counts twice."""

from __future__ import annotations

import asyncio

import pytest

from control_plane.slack import answering
from control_plane.slack.card import APPROVE
from control_plane.slack.inbox import Inbox, Receipt
from tests.control_plane.slack.conftest import Scene, running

pytestmark = [
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
    pytest.mark.parametrize("mode", ["socket"]),
]


async def test_a_connection_that_slack_recycles_is_followed_by_another(scene: Scene):
    message = await scene.message(await scene.hold())
    await scene.double.ask_to_reconnect()
    opened = lambda: len([method for method, _ in scene.double.calls if method == "apps.connections.open"])  # noqa: E731
    await scene.double.until(lambda: opened() == 2 and scene.double.connections == 1)
    assert (await scene.double.press("UADA", message, APPROVE)).acknowledged
    await scene.shows(message, "Approved: write")


async def test_a_connection_that_dies_is_opened_again(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    message = await scene.message(await scene.hold())
    await scene.double.drop()
    await scene.double.until(lambda: scene.double.connections)
    assert (await scene.double.press("UADA", message, APPROVE)).acknowledged
    await scene.shows(message, "Approved: write")


async def test_what_cannot_be_taken_in_time_is_not_acknowledged_and_taken_when_it_comes_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
):
    message = await scene.message(await scene.hold())
    taking, slow = Inbox.take, asyncio.Event()

    async def once_too_slow(inbox: Inbox, *what: object) -> Receipt:
        if not slow.is_set():
            slow.set()
            monkeypatch.setattr(answering, "_TAKES", 30)  # from the second on; the first is bounded already
            await asyncio.sleep(60)
        return await taking(inbox, *what)  # type: ignore[arg-type]

    monkeypatch.setattr(Inbox, "take", once_too_slow)
    monkeypatch.setattr(answering, "_TAKES", 0.2)
    scene.double.patience = 3
    pressed = await scene.double.press("UADA", message, APPROVE)
    assert (pressed.acknowledged, pressed.attempts) == (True, 2)
    await scene.shows(message, "Approved: write")


async def test_two_replicas_connected_decide_once(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(answering, "_TAKES", 30)  # what is too slow for it would not be sent again here
    message = await scene.message(await scene.hold())
    async with running(scene.control_plane):  # the loops of another process over the same database
        await scene.double.until(lambda: scene.double.connections == 2)
        payload = scene.double.pressed("UADA", message, APPROVE)
        first, second = scene.double._sockets
        for socket in (first, second):
            await socket.send_json(
                {
                    "envelope_id": str(id(socket)),
                    "type": "interactive",
                    "payload": payload,
                    "accepts_response_payload": True,
                }
            )
        await scene.shows(message, "Approved: write")
    assert len(await scene.audited("approval.agreed")) == 1
    assert scene.double.workspace.told("UADA") == []


async def test_envelopes_of_other_kinds_are_acknowledged_and_do_nothing(scene: Scene):
    for envelope in ({"type": "events_api", "payload": {"x": 1}}, {"type": "interactive", "payload": {"x": 1}}):
        waiting = scene.double._envelopes["e1"] = asyncio.get_running_loop().create_future()
        await scene.double._sockets[0].send_json({"envelope_id": "e1", "accepts_response_payload": False, **envelope})
        assert await asyncio.wait_for(waiting, 5) == {}
