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
from control_plane.approvals.review import View
from control_plane.approvals.schemas import ApprovalOut
from control_plane.approvals.shown import duration
from control_plane.kit.display import fitted
from control_plane.slack import blocks as kit
from control_plane.slack.blocks import Block, Element, bold, labelled, link, plain
from control_plane.slack.contents import Part, parts
from control_plane.slack.value import ButtonValue

APPROVE: Final = "assentry_approve"
DENY: Final = "assentry_deny"
CHANNEL: Final = "slack"  # among the channels of a chain

_LIMITS: Final = (kit.MOST_OF_A_TEXT, 1500, 500, 100)  # of each part, one after the other until all of it fits
_MOST_LISTED: Final = 12
_MOST_OF_A_REASON: Final = 200

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
}


class Card(msgspec.Struct, frozen=True):
    text: str  # what a notification shows; mrkdwn, escaped
    blocks: Sequence[Block]
    live: bool  # it has buttons
    hidden_bytes: int


def card(view: View, url: str, *, asked_here: bool = True) -> Card:
    """`asked_here` False: those who can decide now are asked in another channel."""
    out = ApprovalOut.full(view)
    found = list(parts(view, out))
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
    blocks = [kit.header(f"{_TITLES[State(out.state)]}: {_about(out)}"), kit.lines(*_facts(out))]
    blocks += boxes
    blocks.append(kit.lines(*_progress(out), *_deadlines(out)))
    pending = view.row.state == State.PENDING
    without = _why_no_buttons(view, hidden, asked_here=asked_here) if pending else _hidden_words(hidden)
    blocks.append(kit.lines(*_footer(out, url, without)))
    live = pending and not without
    if live:
        value = ButtonValue(out.id, view.row.shown_digest).text
        approve = kit.button("Approve exactly this", APPROVE, value, "primary")
        blocks.append(kit.buttons(approve, kit.button("Deny…", DENY, value, "danger")))
    return Card(_notification(out), blocks, live, hidden)


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


def _facts(out: ApprovalOut) -> Iterator[Sequence[Element]]:
    by = out.requested_by
    owner = f", owned by {by.owner.name}" if by.owner else ""
    yield labelled("Requester", plain(f"{by.name} ({by.kind}{owner})"))
    application = f", which says it is {by.application_name}" if by.application_name else ""
    if by.client_address:
        yield labelled("From", plain(f"{by.client_address}{application}"))
    yield labelled("Target", plain(f"{out.on.name}, environment {out.environment}"))
    if out.operation is not None:
        yield labelled("Does", plain(", ".join([out.action, *out.operation.verbs])))
        if out.operation.in_transaction:
            yield [bold("The client holds a transaction open, and perhaps locks, while it waits.")]
    yield labelled("Rule", plain(out.rule))
    before = out.earlier
    yield labelled(
        "Earlier, like this",
        plain(f"{before.approved} approved, {before.denied} denied, {before.undecided} undecided"),
    )
    if out.hidden_characters:
        yield [bold(f"{out.hidden_characters} characters that a screen would hide are written out below.")]


def _progress(out: ApprovalOut) -> Iterator[Sequence[Element]]:
    yield labelled("Chain", plain(out.chain))
    for number, stage in enumerate(out.stages[:_MOST_LISTED], 1):
        missing = f": {stage.missing} missing" if stage.missing and out.state in _OPEN else ""
        yield [plain(f"{number}. {stage.needs}{missing}")]
    yield from _more(len(out.stages))
    if out.waits_for:
        yield labelled("Waits for", plain(out.waits_for))
    for said in out.decisions[:_MOST_LISTED]:
        verb = "denied" if said.verb == "deny" else "agreed"
        reason = fitted(said.reason, _MOST_OF_A_REASON)
        hidden = f" ({reason.hidden_bytes} bytes hidden)" if reason.hidden_bytes else ""
        because = f": “{reason.text}”{hidden}" if reason.text else ""
        yield [bold(said.name), plain(f" {verb} by {said.channel}, "), kit.instant(said.at), plain(because or ".")]
    yield from _more(len(out.decisions))


def _more(count: int) -> Iterator[Sequence[Element]]:
    if count > _MOST_LISTED:
        yield [plain(f"and {count - _MOST_LISTED} more, see the console")]


def _deadlines(out: ApprovalOut) -> Iterator[Sequence[Element]]:
    if out.state == State.PENDING:
        yield labelled("Until", kit.instant(out.approve_by))
        yield [plain(out.silence)]
    elif out.state == State.APPROVED and out.execute_by:
        yield labelled("May run until", kit.instant(out.execute_by))
    if out.decided_at:
        yield labelled("Decided", kit.instant(out.decided_at))
    if out.reason:
        reason = fitted(out.reason, _MOST_OF_A_REASON)
        hidden = f" ({reason.hidden_bytes} bytes hidden)" if reason.hidden_bytes else ""
        yield labelled("Why", plain(reason.text + hidden))
    if out.result:
        result = fitted(out.result, _MOST_OF_A_REASON)
        hidden = f" ({result.hidden_bytes} bytes hidden)" if result.hidden_bytes else ""
        yield labelled("Result", plain(result.text + hidden))


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


_OPEN: Final = (State.PENDING, State.REQUESTED)
