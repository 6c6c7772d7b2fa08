"""The control plane is killed at every step of a session's account."""

from __future__ import annotations

import contextlib

import pytest

from control_plane.cli.demo.planes import LocalControlPlane, StartError
from tests.e2e.faults.accounts.scene import WITHIN, at, nothing_is_left
from tests.e2e.faults.steps import Relay, Step
from tests.support.session_roles import ours
from tests.support.stack import Stack, eventually


@pytest.mark.parametrize("step", Step, ids=lambda step: step.name.lower())
def test_a_control_plane_that_is_killed_keeps_no_account_from_its_end(step: Step, stack: Stack, relay: Relay) -> None:
    try:
        with at(step, stack, relay) as release:
            stack.control.kill()
            release(True)
        eventually(lambda: not ours(stack.server), "the end of every session role without the control plane", WITHIN)
    finally:
        back(stack.control)
    stack.agent.ready()
    nothing_is_left(stack)


def back(control: LocalControlPlane) -> None:
    """Anybody may have its ports meanwhile, for a moment."""

    def started() -> bool:
        with contextlib.suppress(StartError):
            control.start()
            return True
        return False

    eventually(started, "the control plane", WITHIN)
