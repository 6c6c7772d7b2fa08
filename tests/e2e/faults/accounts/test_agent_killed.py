"""The agent is killed at every step of a session's account."""

from __future__ import annotations

import pytest

from tests.e2e.faults.accounts.scene import SIGN_IN_SECONDS, at, nobody_can_sign_in, nothing_is_left
from tests.e2e.faults.steps import Relay, Step
from tests.support.stack import Stack, eventually


@pytest.mark.parametrize("step", Step, ids=lambda step: step.name.lower())
def test_an_agent_that_is_killed_leaves_nobody_a_way_in(step: Step, stack: Stack, relay: Relay) -> None:
    try:
        with at(step, stack, relay) as release:
            stack.agent.kill()
            release(False)
        eventually(lambda: nobody_can_sign_in(stack.server), "the end of the time to sign in", SIGN_IN_SECONDS + 5)
    finally:
        stack.agent.start()
    nothing_is_left(stack)


@pytest.mark.parametrize("step", [Step.LEASED, Step.SIGNING_IN, Step.DROPPING], ids=lambda step: step.name.lower())
def test_what_a_dead_agent_has_sent_and_arrives_late_leaves_nobody_a_way_in(
    step: Step, stack: Stack, relay: Relay
) -> None:
    try:
        with at(step, stack, relay) as release:
            stack.agent.kill()
            stack.agent.start()
            release(True)
        eventually(lambda: nobody_can_sign_in(stack.server), "the end of the time to sign in", SIGN_IN_SECONDS + 5)
    finally:
        stack.agent.stop()
        stack.agent.start()  # its janitor would look again within a minute
    nothing_is_left(stack)
