"""The registry of open sessions: ending one, some, and all."""

from __future__ import annotations

import asyncio

from data_plane.gate.interface import Requester, SessionFacts, TargetFacts
from data_plane.identifiers import CredentialId, IdentityId, SessionId, TargetName
from data_plane.runtime.session import Sessions


def facts(name: str) -> SessionFacts:
    return SessionFacts(
        SessionId(name), TargetFacts(TargetName("t"), "postgres", "test", {}),
        Requester(IdentityId(f"of-{name}"), name, "machine", ()), CredentialId("c"), "local", "",
    )  # fmt: skip


class Handle:
    def __init__(
        self, sessions: Sessions, name: str, *, held: bool = False, stubborn: bool = False, idle: bool = False
    ) -> None:
        self.facts = facts(name)
        self.held, self.idle = held, idle
        self.ended: list[tuple[str, str]] = []
        self._sessions, self._stubborn = sessions, stubborn
        sessions.add(self)

    def end(self, reason: str, message: str) -> None:
        self.ended.append((reason, message))
        if not self._stubborn:
            self._sessions.remove(self)


async def test_one_session_is_ended_by_its_id() -> None:
    sessions = Sessions()
    one, other = Handle(sessions, "one"), Handle(sessions, "other", held=True)
    assert (sessions.count, sessions.held_count) == (2, 1)
    assert sessions.terminate(SessionId("one"), "killed", "an admin ended it")
    assert not sessions.terminate(SessionId("one"), "killed", "again")
    assert (one.ended, other.ended) == ([("killed", "an admin ended it")], [])


async def test_sessions_of_an_identity_are_ended() -> None:
    sessions = Sessions()
    one, other = Handle(sessions, "one"), Handle(sessions, "other")
    assert sessions.terminate_where(lambda facts: facts.requester.id == "of-one", "revoked", "m") == 1
    assert (len(one.ended), len(other.ended), sessions.count) == (1, 0, 1)


async def test_a_session_that_is_still_being_opened_is_ended_as_an_open_one_is() -> None:
    """Invariant 7: what is over before the target has answered opens no more."""
    sessions = Sessions()
    one, other = facts("one"), facts("other")
    with sessions.opening(one), sessions.opening(other):
        assert sessions.count == 0
        assert sessions.terminate(one.id, "killed", "an admin ended it")
        assert sessions.terminate_where(lambda of: of.id == other.id, "revoked", "m") == 1
        assert (sessions.unwanted(one.id), sessions.unwanted(other.id)) == (
            ("killed", "an admin ended it"), ("revoked", "m"),
        )  # fmt: skip
    assert not sessions.terminate(one.id, "killed", "again")
    assert sessions.unwanted(one.id) is None


async def test_a_drain_lets_nothing_open_any_more_and_waits_for_what_is_being_opened() -> None:
    sessions = Sessions()
    with sessions.opening(facts("one")):
        draining = asyncio.create_task(sessions.drain(60))
        await asyncio.sleep(0)
        assert sessions.unwanted(SessionId("one")) is not None
        with sessions.opening(facts("late")):
            assert sessions.unwanted(SessionId("late")) is not None
        await asyncio.sleep(0)
        assert not draining.done()
    await asyncio.wait_for(draining, 5)


async def test_a_full_registry_says_so() -> None:
    sessions = Sessions(most=1)
    assert not sessions.full
    Handle(sessions, "one")
    assert sessions.full


async def test_a_drain_waits_until_ended_sessions_are_gone_from_their_targets() -> None:
    """Invariant 7: an agent that stops must not leave running at the target what it has ended."""
    sessions, told = Sessions(), asyncio.Event()
    sessions.afterwards(_tell(told), "cancel of one")
    await sessions.drain(0)
    assert told.is_set()


async def _tell(told: asyncio.Event) -> None:
    await asyncio.sleep(0)
    told.set()


async def test_a_drain_waits_for_sessions_that_end_by_themselves() -> None:
    sessions = Sessions()
    one = Handle(sessions, "one")
    asyncio.get_running_loop().call_soon(sessions.remove, one)
    await sessions.drain(5)
    assert one.ended == []


async def test_a_drain_ends_those_that_stay() -> None:
    sessions = Sessions()
    one = Handle(sessions, "one")
    await sessions.drain(0.01)
    assert one.ended[0][0] == "drained"
    assert sessions.count == 0


async def test_a_drain_ends_idle_sessions_at_once_and_others_when_they_become_idle() -> None:
    sessions = Sessions()
    resting, busy = Handle(sessions, "resting", idle=True), Handle(sessions, "busy")
    draining = asyncio.ensure_future(sessions.drain(60))
    await asyncio.sleep(0)
    assert (len(resting.ended), len(busy.ended)) == (1, 0)
    busy.idle = True
    await asyncio.wait_for(draining, 10)
    assert busy.ended == resting.ended == [("drained", "the agent is shutting down: connect again")]


async def test_a_hold_at_the_end_of_a_drain_is_told_that_nothing_has_run() -> None:
    sessions = Sessions()
    held = Handle(sessions, "held", held=True)
    await sessions.drain(0.01)
    [(reason, message)] = held.ended
    assert reason == "drained"
    assert "was not run" in message
