"""`assentry sessions`: who is connected, ending a session, and replaying one as a timeline."""

from __future__ import annotations

import time
from typing import Annotated, Final

import typer

from control_plane.cli.client import Api, Json, part
from control_plane.cli.config import load_profile
from control_plane.cli.errors import CommandError
from control_plane.cli.output import Format, OutputOption, cell, print_fields, print_json, print_list, warn
from control_plane.cli.replay import Recording, joined, print_event

app = typer.Typer(no_args_is_help=True, help="Sessions, open and past.")
COLUMNS: Final = ("id", "opened", "requester", "target", "application", "operations", "held", "denied", "ended")
FIELDS: Final = (
    "id", "requester", "target", "environment", "protocol", "agent", "client_address", "application_name",
    "credential_id", "opened_at", "closed_at", "close_reason", "ending", "operations", "allowed", "held", "denied",
)  # fmt: skip
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
    found = Api(load_profile()).pages("/v1/sessions", limit, **wanted)
    print_list(found if output is Format.JSON else map(_row, found), COLUMNS, output)


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
    longest: Annotated[float, typer.Option("--longest-pause", min=0, help="with --real-time: seconds")] = 3600.0,
    output: OutputOption = Format.TABLE,
) -> None:
    """Replay a session: what was asked, decided, approved and answered. Watching is audited."""
    api = Api(load_profile())
    recording = Recording(api, _resolve(api, session))
    if output is Format.JSON:
        events = list(recording)
        print_json({"session": recording.session_id, "status": recording.status, "events": events})
        return
    before = 0
    for event in joined(recording, whole=not real_time):
        if real_time:
            time.sleep(min((event["at_ms"] - before) / 1000 / speed, longest))
            before = event["at_ms"]
        print_event(event)
    if recording.status != "complete":
        warn(f"[yellow]the recording is {cell(recording.status)}[/yellow]: this is all of it that there is now")


def _resolve(api: Api, session: str) -> str:
    if session != "last":
        return part(session)
    for newest in api.pages("/v1/sessions", 1):
        return str(newest["id"])
    raise CommandError("there is no session yet")


def _row(session: Json) -> Json:
    opened, over = session["opened_at"], session["close_reason"]
    return {**session, "opened": opened, "application": session["application_name"], "ended": over or "open"}
