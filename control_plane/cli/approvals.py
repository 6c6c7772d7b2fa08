"""`assentry approvals`: what waits for people, decided from a terminal.

What is approved is what was shown: the digest of the request as printed travels with the decision, and a request that
changed in between is refused.
"""

from __future__ import annotations

import contextlib
import sys
from functools import partial
from typing import Annotated, Any

import typer

from control_plane.cli.approval_card import print_approval
from control_plane.cli.client import Api, Json, part
from control_plane.cli.config import load_profile
from control_plane.cli.errors import CommandError
from control_plane.cli.fresh import freshly
from control_plane.cli.live import LiveInbox
from control_plane.cli.output import (
    Format,
    OutputOption,
    cell,
    print_fields,
    print_json,
    print_json_line,
    print_list,
    say,
)
from control_plane.cli.watching import Watch
from control_plane.kit.clock import SystemClock
from data_plane.policy import durations

app = typer.Typer(no_args_is_help=True, help="What waits for people.")
COLUMNS = ("short_code", "state", "requester", "target", "action", "headline", "waits_for", "requested_at")
NEWS = ("id", *COLUMNS)
Reference = Annotated[str, typer.Argument(help="short code or id")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="do not ask; what is shown now is what you decide on")]


@app.command("list")
def list_approvals(
    show: Annotated[str, typer.Option(help="mine: you may decide; all: waiting; decided: over")] = "all",
    limit: Annotated[int, typer.Option(min=1)] = 50,
    output: OutputOption = Format.TABLE,
) -> None:
    """List requests, newest first."""
    print_list(Api(load_profile()).pages("/v1/approvals", limit, show=show), COLUMNS, output)


@app.command()
def show(reference: Reference, output: OutputOption = Format.TABLE) -> None:
    """Show one request in full."""
    approval = Api(load_profile()).get(f"/v1/approvals/{part(reference)}")
    if output is Format.JSON:
        print_json(approval)
    else:
        print_approval(approval)


@app.command()
def approve(
    reference: Reference,
    yes: Yes = False,
    window: Annotated[
        str, typer.Option(help="let more operations of this shape run, for so long, such as 15m; needs --uses")
    ] = "",
    uses: Annotated[int, typer.Option(min=0, help="of a window: operations at most, this one included")] = 0,
    output: OutputOption = Format.TABLE,
) -> None:
    """Agree to exactly what is shown; the waiting client goes on at once."""
    _decide(reference, "approve", yes, output, **_window(window, uses))


def _window(lasting: str, uses: int) -> Json:
    if bool(lasting) != bool(uses):
        raise typer.BadParameter("a window needs both --window and --uses")
    if not lasting:
        return {}
    try:
        seconds = durations.seconds(lasting)
    except durations.DurationError as error:
        raise typer.BadParameter(str(error), param_hint="--window") from error
    return {"window": {"uses": uses, "minutes": max(1, int(seconds // 60))}}


@app.command()
def deny(
    reference: Reference,
    reason: Annotated[str, typer.Option("--reason", "-r", help="told to the requester", prompt=True)],
    yes: Yes = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Refuse, with a reason that reaches the client."""
    _decide(reference, "deny", yes, output, reason=reason)


@app.command()
def watch(output: OutputOption = Format.TABLE) -> None:
    """Follow what waits, and decide by key. In a pipe or as JSON: a line for each request whenever it changes."""
    api = Api(load_profile())
    with contextlib.suppress(KeyboardInterrupt):
        if output is Format.TABLE and sys.stdin.isatty() and sys.stdout.isatty():
            LiveInbox(api, SystemClock(), print_approval, partial(_asked, api)).run()
        else:
            Watch(api, lambda approval: _print_news(approval, output)).run()


def _asked(api: Api, approval: Json, verb: str) -> None:
    """Decides on what has just been printed."""
    if verb == "deny":
        _send(api, approval, verb, reason=typer.prompt("Reason, told to the requester"))
    elif typer.confirm("Approve this operation?"):
        _send(api, approval, verb)


def _print_news(approval: Json, output: Format) -> None:
    if output is Format.JSON:
        print_json_line({name: approval[name] for name in NEWS})
        return
    line = " ".join(cell(approval[field]) for field in ("requester", "target", "action", "headline"))
    note = approval["waits_for"] if approval["state"] == "pending" else approval.get("reason", "")
    say(
        f"[bold]{cell(approval['short_code'])} {cell(approval['state'])}[/bold] {line} [dim]{cell(note)}[/dim]".rstrip()
    )


def _decide(reference: str, verb: str, yes: bool, output: Format, **words: Any) -> None:
    if output is Format.JSON and not yes:
        raise typer.BadParameter("needs --yes with --output json: nothing is shown to decide on")
    api = Api(load_profile())
    approval = api.get(f"/v1/approvals/{part(reference)}")
    if output is Format.TABLE:
        print_approval(approval)
    if not yes and approval["you"]["may_decide"] and not typer.confirm(f"{verb.capitalize()} this operation?"):
        raise CommandError("nothing was decided")
    print_fields(_send(api, approval, verb, **words), ("short_code", "state", "waits_for"), output)


def _send(api: Api, approval: Json, verb: str, **words: Any) -> Json:
    if approval["state"] != "pending":
        why = f": {approval['reason']}" if approval["reason"] else ""
        raise CommandError(f"{approval['short_code']} is {approval['state']}{why}; there is nothing left to decide")
    if not approval["you"]["may_decide"]:
        raise CommandError(f"{approval['short_code']} is not yours to decide: {approval['you']['why']}")
    body: Json = {"digest": approval["digest"], "channel": "cli", **words}
    if approval["alike"] and "window" not in words:
        body["also"] = [{"id": one["id"], "digest": one["digest"]} for one in approval["alike"]]
    return freshly(api, f"/v1/approvals/{approval['id']}/{verb}", body)
