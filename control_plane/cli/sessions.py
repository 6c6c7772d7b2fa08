"""`assentry sessions`: who is connected, ending a session, and replaying one as a timeline."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.table import Table

from control_plane.cli.client import Api, Json
from control_plane.cli.config import load_profile
from control_plane.cli.output import Format, OutputOption, cell, console, print_fields, print_json, print_list

app = typer.Typer(no_args_is_help=True, help="Sessions, open and past.")
COLUMNS = ("id", "opened_at", "requester", "target", "application_name", "operations", "held", "denied", "close_reason")
FIELDS = (*COLUMNS, "environment", "agent", "client_address", "credential_id", "allowed", "closed_at", "ending")
SessionId = Annotated[str, typer.Argument(help="id of the session, or `last`")]


@app.command("list")
def list_sessions(
    open_only: Annotated[bool, typer.Option("--open", help="only open ones")] = False,
    target: str = "",
    requester: Annotated[str, typer.Option(help="name or id")] = "",
    limit: Annotated[int, typer.Option(min=1)] = 20,
    output: OutputOption = Format.TABLE,
) -> None:
    """List sessions, newest first."""
    wanted = {"open": True if open_only else None, "target": target or None, "requester": requester or None}
    print_list(Api(load_profile()).pages("/v1/sessions", limit, **wanted), COLUMNS, output)


@app.command()
def show(session: SessionId, output: OutputOption = Format.TABLE) -> None:
    """Show one session."""
    api = Api(load_profile())
    print_fields(api.get(f"/v1/sessions/{_resolve(api, session)}"), FIELDS, output)


@app.command()
def kill(
    session: SessionId,
    reason: Annotated[str, typer.Option("--reason", "-r", help="told to the client", prompt=True)],
    output: OutputOption = Format.TABLE,
) -> None:
    """End a session now; its holds are cancelled and its grants are void."""
    api = Api(load_profile())
    ended = api.post(f"/v1/sessions/{_resolve(api, session)}/terminate", {"reason": reason})
    print_fields(ended, ("id", "ending", "close_reason"), output)


@app.command()
def replay(
    session: SessionId,
    real_time: Annotated[bool, typer.Option("--real-time", help="with the timing it had")] = False,
    speed: Annotated[float, typer.Option(min=0.1, help="with --real-time: so many times as fast")] = 1.0,
    output: OutputOption = Format.TABLE,
) -> None:
    """Replay a session: what was asked, decided, approved and answered. Watching is audited."""
    api = Api(load_profile())
    events = timeline(api, _resolve(api, session))
    if output is Format.JSON:
        print_json(list(events))
        return
    before = 0
    for event in events:
        if real_time:
            time.sleep((event["at_ms"] - before) / 1000 / speed)
            before = event["at_ms"]
        print_event(event)


def timeline(api: Api, session_id: str) -> Iterator[Json]:
    cursor: str | None = None
    while True:
        page = api.get(f"/v1/sessions/{session_id}/timeline", cursor=cursor)
        yield from page["events"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


def _resolve(api: Api, session: str) -> str:
    if session != "last":
        return session
    for newest in api.pages("/v1/sessions", 1):
        return str(newest["id"])
    raise typer.BadParameter("there is no session yet")


def print_event(event: Json) -> None:
    """One line, or a table for a result."""
    number = f"#{event['operation']}" if "operation" in event else ""
    console.print(f"[dim]{event['at_ms'] / 1000:9.3f} s {number:>5}[/dim]  ", end="")
    if event["kind"] == "result":
        _print_result(event)
    else:
        console.print(_SENTENCES[event["kind"]](event), soft_wrap=True)


def _print_result(event: Json) -> None:
    console.print("[dim]result[/dim]")
    if event["columns"] or event["rows"]:
        table = Table(box=None, pad_edge=True, header_style="bold", show_header=bool(event["columns"]))
        width = len(event["columns"] or event["rows"][0])
        for index in range(width):
            table.add_column(cell(event["columns"][index]["name"]) if event["columns"] else "", overflow="fold")
        for row in event["rows"]:
            table.add_row(*("[dim]NULL[/dim]" if value is None else cell(value) for value in row))
        console.print(table)
    for message in event["messages"]:
        colour = "red" if message["kind"] == "error" else "yellow"
        console.print(f"    [{colour}]{message['severity']}[/{colour}] {message['code']} {cell(message['message'])}")
    for text in (event["text"], *event["tags"], event["unreadable"]):
        if text:
            console.print(f"    {cell(text)}", soft_wrap=True)


def _input(event: Json) -> str:
    values = "".join(f"\n{'':17} {cell(one['name'])} = {cell(one['value'])}" for one in event["parameters"])
    return f"[bold]{cell(event['text'])}[/bold]{values}"


def _decision(event: Json) -> str:
    colour = {"allow": "green", "hold": "yellow", "deny": "red"}.get(event["effect"], "white")
    message = f": {cell(event['message'])}" if event["message"] else ""
    by = cell(event["rules"]) or "no rule"
    return f"[{colour}]{event['effect']}[/{colour}] {cell(event['action'])} by {by}{message}"


def _approval(event: Json) -> str:
    by = f" by {cell(event['approvers'])}" if event["approvers"] else ""
    return f"[bold]{cell(event['outcome'])}[/bold]{by} {cell(event['reason'])}"


_SENTENCES: dict[str, Any] = {
    "opened": lambda event: f"opened on {cell(event['target'])} by {cell(event['requester'])}",
    "input": _input,
    "decision": _decision,
    "hold": lambda event: f"[yellow]held[/yellow] {event['short_code']}, waits for {cell(event['reviewers'])}",
    "approval": _approval,
    "completed": lambda event: f"{cell(event['status'])}, {event['rows']} rows ({event['rows_kept']} kept)",
    "closed": lambda event: f"closed: {cell(event['reason'])}, {event['operations']} operations",
    "broken": lambda event: f"[red]the recording cannot be read from here on: {cell(event['reason'])}[/red]",
}
