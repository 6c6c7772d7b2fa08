"""What a notice looks like as text, for people who read it in a mail or a ticket. Pure.

Everything comes out of `ApprovalOut`, the same object that the console and the command line show, so every text of a
client is safe to read. What does not fit is counted and said, never dropped in silence; whoever reads such a text is
sent to the console, and there are no buttons here in any case.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from control_plane.approvals.review import View
from control_plane.approvals.schemas import ApprovalOut
from control_plane.kit.display import displayed, fitted, visible
from control_plane.notifications.kinds import headline
from control_plane.notifications.ports import Facts, Notice

_LEAST_TEXT = 100  # characters of the text that are worth showing; below it there is only the count


class Fact(msgspec.Struct, frozen=True):
    label: str
    value: str


class Message(msgspec.Struct, frozen=True):
    """`facts` are one line each; `text` is what is asked, over several lines; `hidden_bytes` of it were left out."""

    title: str
    facts: tuple[Fact, ...]
    text: str
    hidden_bytes: int
    url: str

    @property
    def hidden(self) -> str:
        """The warning that goes below the text. Empty: the text is complete."""
        return f"… {self.hidden_bytes} bytes hidden: read all of it at {self.url}" if self.hidden_bytes else ""


def message(notice: Notice, facts: Facts, most_characters: int) -> Message:
    """The text is shortened until title, facts and warning fit with it into so many characters."""
    if facts.view is None:
        data = tuple(Fact(visible(name), visible(str(value))) for name, value in sorted(notice.data.items()))
        return Message(headline(notice.kind), data, "", 0, facts.url)
    approval = ApprovalOut.full(facts.view)
    title = f"{headline(notice.kind)}: {approval.requester} on {approval.target} ({approval.short_code})"
    told = tuple(Fact(label, value) for label, value in _facts(notice, approval, facts.view) if value)
    text = _text(approval)
    framed = Message(title, told, "", len(text.encode()), facts.url)
    room = most_characters - len(plain(framed)) - len(title)
    shortened = fitted(text, max(room, 0) if room >= _LEAST_TEXT or len(text) <= room else 0)
    return Message(title, told, shortened.text, shortened.hidden_bytes, facts.url)


def plain(told: Message) -> str:
    """Without the title. The text stands between lines of its own, so that nothing in it looks like ours."""
    lines = [f"{fact.label}: {fact.value}" for fact in told.facts]
    if told.text or told.hidden_bytes:
        lines += ["", "----- what is asked -----", *([told.text] if told.text else []), "-" * 25]
    if told.hidden:
        lines.append(told.hidden)
    return "\n".join([*lines, "", told.url])


def markdown(told: Message) -> str:
    """All of it in one fence that nothing inside closes: in a chat, text of a client makes no link and calls nobody."""
    inside = plain(told)
    fence = "`" * max(3, _longest_run(inside) + 1)
    return f"{fence}\n{inside}\n{fence}\n{told.url}"


def _facts(notice: Notice, approval: ApprovalOut, view: View) -> list[tuple[str, str]]:
    by = approval.requested_by
    owner = f", owner {by.owner.name}" if by.owner else ""
    client = ", ".join(part for part in (by.application_name, by.client_address) if part)
    said = str(notice.data.get("text") or notice.data.get("comment") or "")
    return [
        ("State", approval.state + (f" ({visible(approval.reason)})" if approval.reason else "")),
        ("By", visible(str(notice.data.get("by", "")))),
        ("Comment", visible(said)),
        ("Requester", f"{by.name} ({by.kind}{owner})"),
        ("On behalf of", by.behalf),
        ("Client", client),
        ("Reason given", visible(displayed(view.shown.reason).text)),
        ("Target", f"{approval.target}, environment {approval.environment}" if approval.target else ""),
        ("Rule", approval.rule),
        ("Waits for", approval.waits_for),
        ("Decide by", _time(approval.approve_by) if approval.state == "pending" else ""),
        ("Decided", "; ".join(f"{one.name}: {one.verb} ({one.channel})" for one in approval.decisions)),
        ("Result", visible(approval.result)),
        ("If nobody decides", approval.silence if approval.state == "pending" else ""),
        (
            "Warning",
            f"{approval.hidden_characters} invisible characters are written out" * bool(approval.hidden_characters),
        ),
        ("Code", approval.short_code),
    ]


def _text(approval: ApprovalOut) -> str:
    """What is asked, with its parameters: without them it is not complete."""
    parameters = approval.operation.parameters if approval.operation else []
    values = [f"{one.name} = {'NULL' if one.null else one.value}" for one in parameters]
    return "\n".join([approval.text, *values])


def _time(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _longest_run(text: str) -> int:
    longest = run = 0
    for character in text:
        run = run + 1 if character == "`" else 0
        longest = max(longest, run)
    return longest
