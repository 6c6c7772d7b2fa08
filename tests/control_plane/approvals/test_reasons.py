"""What clients say their operations are for: their own words, shown as such."""

from __future__ import annotations

from control_plane.approvals.review import View
from control_plane.approvals.schemas import ApprovalOut
from tests.control_plane.world import World


async def test_the_reason_of_the_client_is_shown_escaped_and_bounded(world: World) -> None:
    await world.open_session()
    approval = (await world.ask(world.request(reason="\u202eok\u001b[2J " + "x" * 2000))).approval_id
    view: View = await world.view(approval)
    assert len(view.shown.reason) < 1100
    said = ApprovalOut.full(view).said
    assert "⟨U+202E" in said
    assert "\u001b" not in said
    assert "more characters" in said
