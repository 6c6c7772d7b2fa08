"""What the thread under a message tells: one sentence for a notice. Pure. The message itself shows the state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from control_plane.approvals.schemas import ApprovalOut
from control_plane.kit.clock import from_milliseconds
from control_plane.kit.unit_of_work import Json
from control_plane.notifications.ports import Notice


class Line(msgspec.Struct, frozen=True):
    """`loud`: shown in the channel too, because it asks somebody to do something."""

    text: str
    loud: bool = False


_LOUD: Final = frozenset({"approval.escalated", "approval.reminded", "approval.break-glass"})


def line(notice: Notice, now: ApprovalOut) -> Line | None:
    """None: nothing that the message does not show."""
    text = _text(notice.kind, notice.data, now)
    return Line(text, notice.kind in _LOUD) if text else None


def _text(kind: str, data: Mapping[str, Json], now: ApprovalOut) -> str:
    if kind == "approval.delegated":
        return _delegated(data)
    place = f" in place of {data['for']}" if data.get("for") else ""
    broken = (
        f"{data.get('by')} broke the glass: {_flat(data.get('reason'))}. Somebody else must close the review of it."
    )
    texts = {
        "approval.agreed": f"{data.get('by')} agreed{place}. {_waits(now)}",
        "approval.commented": f"{data.get('by')} comments:\n{_quoted(data.get('text'))}",
        "approval.escalated": f"Nobody decided in time, so more people are asked. {_waits(now)}",
        "approval.stage-changed": f"Somebody who agreed may no longer approve it. {_waits(now)}",
        "approval.reminded": f"A decision is still missing. {_waits(now)}",
        "approval.break-glass": broken,
        "review.closed": "The review of the broken glass is closed.",
    }
    return texts.get(kind, "")


def _delegated(data: Mapping[str, Json]) -> str:
    who, whom, until = data.get("delegator"), data.get("delegate"), data.get("until_ms")
    if data.get("revoked"):
        return f"{who} took back what was delegated to {whom}."
    end = f", until {from_milliseconds(until):%Y-%m-%d %H:%M} UTC" if isinstance(until, int) else ""
    return f"{who} delegated to {whom}, who may decide in this place{end}."


def _quoted(text: Json) -> str:
    """A line of a comment cannot be taken for one of ours."""
    return "\n".join(f"│ {one}" for one in str(text).split("\n"))


def _flat(text: Json) -> str:
    return " ".join(str(text).split())


def _waits(now: ApprovalOut) -> str:
    return f"It waits for {now.waits_for}." if now.waits_for else f"It is {now.state}."
