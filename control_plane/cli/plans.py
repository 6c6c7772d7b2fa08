"""`assentry plans`: several statements told beforehand, approved as one request, each good for once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from control_plane.cli.client import Api, Json, part
from control_plane.cli.config import load_profile
from control_plane.cli.deciding import decided, ended_well
from control_plane.cli.errors import CommandError
from control_plane.cli.output import Format, OutputOption, cell, print_fields, print_json, print_list, say
from control_plane.cli.sql_statements import statements

app = typer.Typer(no_args_is_help=True, help="Operations told beforehand, approved as one request.")
COLUMNS: Final = ("short_code", "state", "requester", "target", "headline", "waits_for", "requested_at")
FIELDS: Final = ("short_code", "state", "target", "reason", "waits_for", "approve_by", "execute_by", "outcome")
Reference = Annotated[str, typer.Argument(help="short code or id")]


@app.command()
def submit(
    file: Annotated[Path, typer.Argument(help="SQL statements, each as the client will send it; - reads them")],
    target: Annotated[str, typer.Option("--target", "-t")],
    reason: Annotated[str, typer.Option("--reason", "-r", help="shown to reviewers")],
    database: Annotated[str, typer.Option(help="where the target leaves it open")] = "",
    state: Annotated[
        list[str] | None, typer.Option("--state", help="NAME=VALUE of a setting that is not as a session begins")
    ] = None,
    any_order: Annotated[bool, typer.Option("--any-order", help="none need wait for the one above it")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="until people have decided; fails unless they agree")] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Ask for all statements of a file as one request."""
    body: Json = {
        "target": target,
        "operations": statements(_read(file)),
        "reason": reason,
        "ordered": not any_order,
        "database": database,
        "session_state": dict(_setting(one) for one in state or ()),
    }
    if not body["operations"]:
        raise CommandError(f"{file} has no statement in it")
    api = Api(load_profile())
    plan = api.post("/v1/plans", body)
    if wait:
        if output is Format.TABLE:
            say(f"plan {cell(plan['short_code'])} waits for {cell(plan['waits_for'])}")
        decided(api, plan["id"])
        plan = api.get(f"/v1/plans/{part(plan['id'])}")
    _print(plan, output)
    if wait:
        ended_well(plan)


@app.command("list")
def list_plans(limit: Annotated[int, typer.Option(min=1)] = 50, output: OutputOption = Format.TABLE) -> None:
    """List plans, newest first."""
    print_list(Api(load_profile()).pages("/v1/plans", limit), COLUMNS, output)


@app.command()
def show(reference: Reference, output: OutputOption = Format.TABLE) -> None:
    """Show a plan and how far it is used."""
    _print(Api(load_profile()).get(f"/v1/plans/{part(reference)}"), output)


@app.command()
def withdraw(
    reference: Reference,
    reason: Annotated[str, typer.Option("--reason", "-r")] = "",
    output: OutputOption = Format.TABLE,
) -> None:
    """Take a plan back; what is not used yet is void."""
    api = Api(load_profile())
    plan = api.get(f"/v1/plans/{part(reference)}")
    api.post(f"/v1/approvals/{part(plan['id'])}/withdraw", {"reason": reason})
    _print(api.get(f"/v1/plans/{part(plan['id'])}"), output)


def _print(plan: Json, output: Format) -> None:
    if output is Format.JSON:
        print_json(plan)
        return
    print_fields(plan, FIELDS, output)
    state = "; ".join(f"{name} = {value}" for name, value in plan["session_state"].items())
    say(f"[dim]each once{', in this order' if plan['ordered'] else ''}, where {cell(state)}[/dim]")
    for one in plan["operations"]:
        used = f"  [dim]{cell(one['state'])} {cell(one['used_at'])}[/dim]" if one["used_by"] else ""
        say(f"{one['number']:>3}. {cell(one['text'])}{used}")


def _read(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CommandError(f"{file} is not UTF-8") from error


def _setting(told: str) -> tuple[str, str]:
    name, equals, value = told.partition("=")
    if not name or not equals:
        raise CommandError(f"--state {told!r} is not NAME=VALUE")
    return name, value
