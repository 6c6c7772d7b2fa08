"""`assentry approvals`: what waits for people, decided from a terminal.

What is approved is what was shown: the digest of the request as printed travels with the decision, and a request that
changed in between is refused.
"""

from __future__ import annotations

import contextlib
from typing import Annotated, Any

import typer
from rich.panel import Panel

from control_plane.cli.client import Api, Json
from control_plane.cli.config import load_profile
from control_plane.cli.output import Format, OutputOption, cell, console, errors, print_fields, print_json, print_list

app = typer.Typer(no_args_is_help=True, help="What waits for people.")
COLUMNS = ("short_code", "state", "requester", "target", "action", "headline", "waits_for", "requested_at")
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
    approval = Api(load_profile()).get(f"/v1/approvals/{reference}")
    if output is Format.JSON:
        print_json(approval)
    else:
        print_approval(approval)


@app.command()
def approve(reference: Reference, yes: Yes = False, output: OutputOption = Format.TABLE) -> None:
    """Agree to exactly what is shown; the waiting client goes on at once."""
    _decide(reference, "approve", yes, output)


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
def watch() -> None:
    """Print each request as it arrives and as it is decided, until Ctrl-C."""
    api = Api(load_profile())
    seen: dict[str, str] = {}
    _print_news(api, seen)
    with contextlib.suppress(KeyboardInterrupt), api.stream("/v1/approvals/events") as lines:
        for line in lines:
            if line.startswith("data:"):
                _print_news(api, seen)


def _print_news(api: Api, seen: dict[str, str]) -> None:
    pending = {item["id"]: item for item in api.pages("/v1/approvals", 100, show="all")}
    for over in set(seen) - set(pending):
        approval = api.get(f"/v1/approvals/{over}")
        console.print(f"[bold]{cell(seen.pop(over))}[/bold] {cell(approval['state'])} {cell(approval['reason'])}")
    for item in reversed(list(pending.values())):
        if item["id"] not in seen:
            seen[item["id"]] = item["short_code"]
            line = " ".join(cell(item[field]) for field in ("requester", "target", "action", "headline"))
            console.print(f"[bold]{cell(item['short_code'])}[/bold] {line} [dim]({cell(item['waits_for'])})[/dim]")


def _decide(reference: str, verb: str, yes: bool, output: Format, **words: str) -> None:
    api = Api(load_profile())
    approval = api.get(f"/v1/approvals/{reference}")
    if output is Format.TABLE:
        print_approval(approval)
    if not yes and not typer.confirm(f"{verb.capitalize()} this operation?"):
        errors.print("nothing decided")
        raise typer.Exit(1)
    body: Json = {"digest": approval["digest"], "channel": "cli", **words}
    decided = api.post(f"/v1/approvals/{approval['id']}/{verb}", body)
    print_fields(decided, ("short_code", "state", "waits_for"), output)


def print_approval(approval: Json) -> None:
    """Everything a reviewer is shown, complete."""
    operation, by, on = approval["operation"], approval["requested_by"], approval["on"]
    console.print(Panel(cell(operation["text"]), title=f"{approval['short_code']} · {cell(approval['state'])}"))
    if operation["hidden_characters"]:
        console.print(f"[bold red]{operation['hidden_characters']} hidden characters are written out above[/bold red]")
    for parameter in operation["parameters"]:
        note = "" if parameter["decoded"] else " [dim](hex: not decoded)[/dim]"
        value = "NULL" if parameter["null"] else cell(parameter["value"])
        console.print(f"  {cell(parameter['name'])} {cell(parameter['type'])} = {value}{note}")
    for name, value in _facts(approval, by, on).items():
        console.print(f"[bold]{name:<14}[/bold]{cell(value)}")


def _facts(approval: Json, by: Json, on: Json) -> dict[str, Any]:
    operation = approval["operation"]
    owner = f", owned by {by['owner']['name']}" if by["owner"] else ""
    return {
        "requester": f"{by['name']} ({by['kind']}{owner}) from {by['client_address']} with {by['credential']}",
        "application": f"{by['application_name']} (told by the client)",
        "target": f"{on['name']} ({on['environment']}, {on['protocol']})",
        "does": f"{operation['action']}: {', '.join(operation['verbs'])}"
        + (", inside an open transaction" if operation["in_transaction"] else ""),
        "touches": [f"{thing['name']} ({'/'.join(thing['access'])})" for thing in operation["resources"]],
        "rule": f"{approval['rule']}, chain {approval['chain']}",
        "waits for": approval["waits_for"] or "nobody",
        "approve by": approval["approve_by"],
        "decided": [f"{one['name']}: {one['verb']} {one['reason']}".strip() for one in approval["decisions"]],
        "you": "may decide" if approval["you"]["may_decide"] else approval["you"]["why"],
        "silence": approval["silence"],
        "digest": operation["digest"],
    }
