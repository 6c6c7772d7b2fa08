"""A recording as a timeline on the terminal: one line for each thing that happened, a table for each result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from rich.padding import Padding
from rich.table import Table

from control_plane.cli.client import Api, Json
from control_plane.cli.output import cell, console, say
from data_plane.recording.model import AGENT_CRASHED

_INDENT: Final = 19  # of what stands under a line: as wide as its time and number
_MARGIN: Final = " " * _INDENT


class Recording:
    """The events of one session, read page by page. `status` is known once they have been read."""

    def __init__(self, api: Api, session_id: str) -> None:
        self.session_id = session_id
        self.status = ""
        self._api = api

    def __iter__(self) -> Iterator[Json]:
        cursor: str | None = None
        while True:
            page = self._api.get(f"/v1/sessions/{self.session_id}/timeline", cursor=cursor)
            self.status = str(page["status"])
            yield from page["events"]
            cursor = page["next_cursor"]
            if cursor is None:
                return


def joined(events: Iterable[Json], *, whole: bool) -> Iterator[Json]:
    """The pieces of one result put together: all of them, or only those of the same millisecond."""
    result: Json | None = None
    for event in events:
        if result is not None and _continues(result, event) and (whole or event["at_ms"] == result["at_ms"]):
            result = _put_together(result, event)
            continue
        if result is not None:
            yield result
        result = event if event["kind"] == "result" else None
        if result is None:
            yield event
    if result is not None:
        yield result


def _continues(result: Json, event: Json) -> bool:
    """Its next piece, not the next result of the same operation."""
    same = event["kind"] == "result" and event["operation"] == result["operation"]
    return same and event["columns"] is None and not result["tags"]


def _put_together(result: Json, piece: Json) -> Json:
    lists = {name: [*result[name], *piece[name]] for name in ("rows", "messages", "tags")}
    return {**result, **lists, **{name: result[name] + piece[name] for name in ("text", "unreadable")}}


def print_event(event: Json) -> None:
    """One line, or a table for a result."""
    number = f"#{event['operation']}" if "operation" in event else ""
    when = f"[dim]{event['at_ms'] / 1000:9.3f} s {number:>5}[/dim]  "
    if event["kind"] == "result":
        _print_result(event, when)
    else:
        say(when + _SENTENCES[event["kind"]](event))


def _print_result(event: Json, when: str) -> None:
    if event["columns"] or event["rows"]:
        say(f"{when}[dim]result[/dim]")
        console.print(Padding(_table(event), (0, 0, 0, _INDENT), expand=False))
    for message in event["messages"]:
        colour = "red" if message["kind"] == "error" else "yellow"
        text = f"{message['severity']} {message['code']} {message['message']}"
        say(f"{when}[{colour}]{cell(text)}[/{colour}]")
    for text in (event["text"], event["unreadable"]):
        if text:
            say(f"{when}{_lines(text)}")


def _table(event: Json) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=bool(event["columns"]))
    for index in range(len(event["columns"] or event["rows"][0])):
        table.add_column(cell(event["columns"][index]["name"]) if event["columns"] else "", overflow="fold")
    for row in event["rows"]:
        table.add_row(*("[dim]NULL[/dim]" if value is None else cell(value) for value in row))
    return table


def _input(event: Json) -> str:
    values = "".join(f"\n{_MARGIN}{cell(one['name'])} = {_lines(one['value'])}" for one in event["parameters"])
    return f"[bold]{_lines(event['text'])}[/bold]{values}"


def _lines(text: str) -> str:
    """Each under the first, beside the margin with the times."""
    return cell(text).replace("\n", f"\n{_MARGIN}")


def _decision(event: Json) -> str:
    colour = {"allow": "green", "hold": "yellow", "deny": "red"}.get(event["effect"], "white")
    message = f": {cell(event['message'])}" if event["message"] else ""
    by = cell(event["rules"]) or "no rule"
    return f"[{colour}]{cell(event['effect'])}[/{colour}] {cell(event['action'])} by {by}{message}"


def _approval(event: Json) -> str:
    by = f" by {cell(event['approvers'])}" if event["approvers"] else ""
    return f"[bold]{cell(event['outcome'])}[/bold]{by} {cell(event['reason'])}".rstrip()


def _completed(event: Json) -> str:
    cut = f", {event['rows_kept']} of {event['rows']} rows are in the recording"
    return f"done: {cell(event['status'])}{cut if event['rows_kept'] < event['rows'] else ''}"


def _closed(event: Json) -> str:
    if event["reason"] == AGENT_CRASHED:
        return f"[red]the agent died here: what it let pass after operation {event['operations']} is not recorded[/red]"
    return f"closed: {cell(event['reason'])}, {event['operations']} operations"


_SENTENCES: dict[str, Any] = {
    "opened": lambda event: (
        f"opened on {cell(event['target'])} by {cell(event['requester'])}, {cell(event['started_at'])}"
    ),
    "input": _input,
    "decision": _decision,
    "hold": lambda event: f"[yellow]held[/yellow] {cell(event['short_code'])}, waits for {cell(event['reviewers'])}",
    "approval": _approval,
    "completed": _completed,
    "closed": _closed,
    "broken": lambda event: f"[red]the recording cannot be read from here on: {cell(event['reason'])}[/red]",
}
