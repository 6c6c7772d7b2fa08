"""The lines of a card: who asks and where, how far the chain is, and how it ends. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from control_plane.approvals.domain import State
from control_plane.approvals.schemas import ApprovalOut
from control_plane.kit.display import fitted
from control_plane.slack.blocks import Element, bold, instant, labelled, link, one_line, plain

_MOST_LISTED: Final = 12
_MOST_OF_A_TEXT: Final = 200
_OPEN: Final = (State.PENDING, State.REQUESTED)

Line = Sequence[Element]


def facts(out: ApprovalOut) -> Iterator[Line]:
    by = out.requested_by
    owner = f", owned by {by.owner.name}" if by.owner else ""
    yield labelled("Requester", plain(f"{by.name} ({by.kind}{owner})"))
    if by.behalf:
        yield labelled("On behalf of", plain(_short(f"{by.behalf}; none of them decides")))
    if by.client_address:
        application = f", which says it is {by.application_name}" if by.application_name else ""
        yield labelled("From", plain(_short(f"{by.client_address}{application}")))
    yield labelled("Target", plain(f"{out.on.name}, environment {out.on.environment or 'not named'}"))
    yield from _kind(out)
    yield labelled("Rule", plain(out.rule))
    before = out.earlier
    counts = f"{before.approved} approved, {before.denied} denied, {before.undecided} undecided"
    yield labelled("Earlier, like this", plain(counts))
    if out.hidden_characters:
        yield [bold(f"{out.hidden_characters} characters that a screen would hide are written out below.")]


def _kind(out: ApprovalOut) -> Iterator[Line]:
    if out.operation is not None:
        told = [out.undo.kind, out.undo.how] if out.undo else []
        yield labelled("Does", plain(_short("; ".join([", ".join(out.operation.verbs) or out.action, *told]))))
        if out.operation.in_transaction:
            yield [bold("The client holds a transaction open, and perhaps locks, while it waits.")]
    if out.access is not None:
        yield labelled("Gives", plain(f"the group {out.access.group} for {out.access.duration}"))
    if out.row_guard is not None:
        yield labelled("Row guard", plain(_short(out.row_guard.says)))


def alike(out: ApprovalOut, meant: int) -> Iterator[Line]:
    """The identical requests that a press is for too, each by its code; and how many wait besides."""
    if not out.alike:
        return
    yield [bold(f"{out.count} identical requests of this requester wait; a press is for {meant + 1} of them.")]
    for one in out.alike[:meant]:
        yield [plain(f"also {one.short_code} from {_short(one.client_address) or 'the same place'}")]


def progress(out: ApprovalOut) -> Iterator[Line]:
    yield labelled("Chain", plain(out.chain))
    for number, stage in enumerate(out.stages[:_MOST_LISTED], 1):
        name = f"{stage.name}: " if stage.name else ""
        missing = f", {stage.missing} missing" if stage.missing and out.state in _OPEN else ""
        silent = f"; if it is silent, {stage.escalates_to} are asked too" if stage.escalates_to else ""
        asked = f"; {stage.escalates_to} are asked too" if stage.escalated else silent
        yield [plain(f"{number}. {name}{_short(stage.needs)}{missing}{_short(asked)}")]
    yield from _more(len(out.stages))
    if out.waits_for:
        yield labelled("Waits for", plain(_short(out.waits_for)))
    for one in out.stand_ins[:_MOST_LISTED]:
        yield [plain(f"{one.delegate} may decide in place of {one.delegator}, until "), instant(one.until)]
    yield from _more(len(out.stand_ins))
    yield from _decisions(out)


def _decisions(out: ApprovalOut) -> Iterator[Line]:
    for said in out.decisions[:_MOST_LISTED]:
        verb = "denied" if said.verb == "deny" else "agreed"
        place = f" in place of {said.in_place_of}" if said.in_place_of else ""
        window = f" to a window of {said.window.uses} operations" if said.window else ""
        because = f": “{_short(said.reason)}”" if said.reason else "."
        yield [bold(said.name), plain(f" {verb}{window}{place} by {said.channel}, "), instant(said.at), plain(because)]
    yield from _more(len(out.decisions))
    if out.broken_glass is not None:
        broken = out.broken_glass
        closed = f"closed by {broken.closed_by}: {broken.verdict}" if broken.closed_at else "open"
        yield [bold(f"{broken.by} broke the glass"), plain(f": “{_short(broken.reason)}”. The review is {closed}.")]


def ending(out: ApprovalOut) -> Iterator[Line]:
    if out.state == State.PENDING:
        yield labelled("Until", instant(out.approve_by))
        yield [plain(out.silence)]
    elif out.state == State.APPROVED and out.execute_by:
        yield labelled("May run until", instant(out.execute_by))
    if out.decided_at:
        yield labelled("Decided", instant(out.decided_at))
    if out.window is not None:
        used = f"{out.window.used} of {out.window.uses} operations ran, until "
        yield labelled("Window", plain(used), instant(out.window.until))
    if out.reason:
        yield labelled("Why", plain(_short(out.reason)))
    if out.result:
        yield labelled("Result", plain(_short(out.result)))
    for one in out.links[:_MOST_LISTED]:
        yield [link(one.url, _short(one.label or one.channel))]


def _short(text: str) -> str:
    """What is beside the matter; what it leaves out is counted, and stands in the console."""
    fit = fitted(one_line(text), _MOST_OF_A_TEXT)
    return f"{fit.text}… ({fit.hidden_bytes} bytes more in the console)" if fit.hidden_bytes else fit.text


def _more(count: int) -> Iterator[Line]:
    if count > _MOST_LISTED:
        yield [plain(f"and {count - _MOST_LISTED} more, see the console")]
