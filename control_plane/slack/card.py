"""One request as one message: the same object that the console shows, as blocks. Pure.

It is complete or it has no buttons: what does not fit is counted in bytes and the message links to the console
(DESIGN invariant 2). A chain that wants its decisions elsewhere, or a fresh sign-in, has no buttons here either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from control_plane.approvals.domain import State
from control_plane.approvals.repository import chain_of
from control_plane.approvals.review import Member, View
from control_plane.approvals.schemas import ApprovalOut
from control_plane.approvals.shown import duration
from control_plane.kit.display import fitted
from control_plane.slack import blocks as kit
from control_plane.slack.blocks import Block, Element, bold, link, plain
from control_plane.slack.contents import Part, parts
from control_plane.slack.sentences import alike, ending, facts, progress
from control_plane.slack.value import ButtonValue, with_alike

APPROVE: Final = "assentry_approve"
DENY: Final = "assentry_deny"
CHANNEL: Final = "slack"  # among the channels of a chain

_LIMITS: Final = (kit.MOST_OF_A_TEXT, 1500, 500, 100)  # of each part, one after the other until all of it fits

_TITLES: Final = {
    State.REQUESTED: "Arrived",
    State.REFUSED: "Refused",
    State.PENDING: "Waits for a decision",
    State.APPROVED: "Approved",
    State.DENIED: "Denied",
    State.EXPIRED: "Expired",
    State.CANCELLED: "Cancelled",
    State.VOIDED: "Void",
    State.LAPSED: "Lapsed: approved, never executed",
    State.EXECUTING: "Approved, executing",
    State.EXECUTED: "Executed",
    State.FAILED: "Approved, failed at the target",
    State.OUTCOME_UNKNOWN: "Approved, outcome unknown",
    State.WINDOW: "Approved for a window, which is open",
    State.ENDED: "Over: used up, or its time has passed",
}


class Card(msgspec.Struct, frozen=True):
    text: str  # what a notification shows; mrkdwn, escaped
    blocks: Sequence[Block]
    live: bool  # it has buttons
    hidden_bytes: int


def card(view: View, url: str, *, asked_here: bool = True) -> Card:
    """`asked_here` False: those who can decide now are asked in another channel."""
    out = ApprovalOut.full(view)
    found = list(parts(out))
    for limit in _LIMITS:
        boxes, hidden = _boxes(found, limit)
        made = _whole(view, out, url, boxes, hidden, asked_here=asked_here)
        if kit.size(made.blocks) <= kit.MOST_OF_ALL:
            return made
    return _whole(view, out, url, [], sum(part.bytes for part in found), asked_here=asked_here)


def announcement(view: View, url: str) -> Card:
    """What is posted first, and at once replaced by the card: a message that nobody knows of must have no buttons."""
    out = ApprovalOut.full(view)
    line = [plain(f"{_about(out)}: code {out.short_code}. "), link(url, "Open it in the console")]
    return Card(_notification(out), [kit.lines(line)], live=False, hidden_bytes=0)


def _whole(view: View, out: ApprovalOut, url: str, boxes: Sequence[Block], hidden: int, *, asked_here: bool) -> Card:
    blocks = [
        kit.header(f"{_TITLES[State(out.state)]}: {_about(out)}"),
        kit.lines(*facts(out), *alike(out, len(meant(view).also))),
    ]
    blocks += boxes
    blocks.append(kit.lines(*progress(out), *ending(out)))
    pending = view.row.state == State.PENDING
    without = _why_no_buttons(view, hidden, asked_here=asked_here) if pending else _hidden_words(hidden)
    blocks.append(kit.lines(*_footer(out, url, without)))
    live = pending and not without
    if live:
        value = meant(view)
        times = f", {len(value.also) + 1} times" if value.also else ""
        approve = kit.button(f"Approve exactly this{times}", APPROVE, value.text, "primary")
        blocks.append(kit.buttons(approve, kit.button("Deny…", DENY, value.text, "danger")))
    return Card(_notification(out), blocks, live, hidden)


def meant(view: View) -> ButtonValue:
    """What a press is for: this request, and the identical ones that stand on its card."""
    others = [Member(one.id, one.shown_digest) for one in view.alike]
    return with_alike(view.row.id, view.row.shown_digest, others)


def _boxes(found: Sequence[Part], limit: int) -> tuple[list[Block], int]:
    boxes, hidden = [], 0
    for part in found:
        fit = fitted(part.text, kit.most_characters(part.text, limit))
        hidden += fit.hidden_bytes
        note = f" ({fit.hidden_bytes} bytes hidden)" if fit.hidden_bytes else ""
        boxes.append(kit.code(part.label + note, fit.text))
    return boxes, hidden


def _about(out: ApprovalOut) -> str:
    where = f"{out.on.name} ({out.environment})" if out.environment else out.on.name
    match out.kind:
        case "plan":
            return f"a plan on {where}"
        case "access":
            return f"access to {where}"
        case _:
            return f"{out.action} on {where}"


def _notification(out: ApprovalOut) -> str:
    said = f"{_TITLES[State(out.state)]}: {_about(out)}, asked by {out.requester}, code {out.short_code}"
    return kit.escaped(said)


def _footer(out: ApprovalOut, url: str, without: str) -> Iterator[Sequence[Element]]:
    yield [bold("Code "), plain(f"{out.short_code}, which the client sees too. "), link(url, "Open it in the console")]
    if without:
        yield [bold(without)]


def _why_no_buttons(view: View, hidden: int, *, asked_here: bool) -> str:
    """Empty: it has buttons."""
    chain = chain_of(view.row)
    if hidden:
        return f"{_hidden_words(hidden)} Read it in full and decide in the console."
    if chain.channels and CHANNEL not in chain.channels:
        return f"This chain takes decisions by {', '.join(chain.channels)} only, not by Slack: use the link."
    if chain.reauthenticate_seconds:
        most = duration(int(chain.reauthenticate_seconds))
        return f"This chain wants a sign-in that is not older than {most}: decide in the console."
    return "" if asked_here else "Those who can decide now are asked in another channel."


def _hidden_words(hidden: int) -> str:
    return f"{hidden} bytes of it do not fit here and are hidden." if hidden else ""
