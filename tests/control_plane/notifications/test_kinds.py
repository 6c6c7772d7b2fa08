"""Every notice that anybody writes has a name for people."""

from __future__ import annotations

import re

from control_plane.approvals.domain import State
from control_plane.notifications.kinds import ALARMS, CLOSING, EVERY, headline, is_pattern, matches
from tests.architecture.test_structure import sources


def test_every_notice_in_the_code_and_every_state_is_known() -> None:
    written = re.compile(r"""\.notice\(\s*"([a-z.-]+)\"""")
    kinds = {kind for _, text in sources("control_plane") for kind in written.findall(text)}
    assert len(kinds) > 5, "the pattern looks for the wrong call"
    states = {f"approval.{state}" for state in State if state is not State.REQUESTED}
    assert kinds | states <= set(EVERY)
    assert set(ALARMS) | CLOSING <= set(EVERY)


def test_a_pattern_is_a_kind_or_the_beginning_of_some() -> None:
    assert all(map(is_pattern, ("approval.pending", "approval.*", "*", "review.*")))
    assert not any(map(is_pattern, ("approval", "approvals.*", "", "approval.pend")))
    assert matches(["review.*"], "review.opened")
    assert not matches(["review.*"], "approval.pending")
    assert headline("something.new") == "something.new"
