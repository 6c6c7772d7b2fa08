"""`assentry targets …`: the accounts that agents have at targets."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable
from typing import Annotated, Final

import typer

from control_plane.cli.client import Api, Json, part
from control_plane.cli.config import load_profile
from control_plane.cli.output import Format, OutputOption, cell, print_json, say, visible, warn

app = typer.Typer(no_args_is_help=True, help="Accounts that agents have at targets.")
Name = Annotated[str, typer.Argument(help="name of the target")]

MENDING_NEEDED: Final = 3
_COLOURS: Final = {"critical": "bold red", "warning": "yellow", "remark": "dim"}
_PATIENCE_SECONDS: Final = 60


class Masks(enum.StrEnum):
    CLOSED = "closed"
    AGENT = "agent"


@app.callback()
def group() -> None:
    """Accounts that agents have at targets."""


@app.command()
def doctor(
    name: Name,
    sql: Annotated[bool, typer.Option("--sql", help="write the SQL that sets the target up, and nothing else")] = False,
    database: Annotated[str, typer.Option(help="which one, where the target leaves it to clients")] = "",
    masks: Annotated[
        Masks, typer.Option(help="closed: no role may read what policy masks for everybody; agent: the agent masks it")
    ] = Masks.CLOSED,
    accept: Annotated[list[str] | None, typer.Option(help="a finding (its code) that is known and may stay")] = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """See what the agent's account can do at a target beyond what policy could ever allow.

    The exit code is 0 when there is nothing to mend, 3 when there is, 1 when nobody could look.
    """
    with Api(load_profile(), timeout=_PATIENCE_SECONDS) as api:
        found = api.post(f"/v1/targets/{part(name)}/examine", {"database": database, "masks": masks.value})
    if sql:
        typer.echo(visible(found["sql"]), nl=False)
        return
    if output is Format.JSON:
        print_json(found)
    else:
        _tell(found)
    left = {one["code"] for one in found["findings"] if one["severity"] != "remark"} - set(accept or [])
    if left and output is not Format.JSON:
        options = {"--database": database, "--masks": "" if masks is Masks.CLOSED else masks.value}
        asked = "".join(f" {option} {value}" for option, value in options.items() if value)
        _tell_what_to_do(found, asked, proposed="no-session-roles" in left)
    if left:
        raise typer.Exit(MENDING_NEEDED)


def _tell(found: Json) -> None:
    for one in found["findings"]:
        _tell_one(one)
    counted = [one["severity"] for one in found["findings"]]
    total = ", ".join(f"{counted.count(severity)} {severity}" for severity in _COLOURS if severity in counted)
    where = f"{cell(found['target'])}, database {cell(found['database'])}, as {cell(found['account'])}"
    say(f"[bold]{where}[/bold]: {total or '[green]nothing to mend[/green]'}")


def _tell_one(one: Json) -> None:
    colour = _COLOURS.get(one["severity"], "bold")
    say(f"[{colour}]{cell(one['severity'])}[/{colour}] [bold]{cell(one['code'])}[/bold] {cell(one['about'])}")
    say(f"  {cell(one['says'])}")
    if one["advice"]:
        say(f"  [dim]{cell(one['advice'])}[/dim]")
    _tell_sql(one["sql"])


def _tell_sql(lines: Iterable[str]) -> None:
    every = list(lines)
    for line in every[:6]:
        say(f"    [cyan]{cell(line)}[/cyan]")
    if len(every) > 6:
        say(f"    [dim]and {len(every) - 6} more: --sql[/dim]")


def _tell_what_to_do(found: Json, asked: str, *, proposed: bool) -> None:
    """`asked`: the options that the findings come from, and what mends them too."""
    again = f"assentry targets doctor {cell(found['target'] + asked)} --sql"
    warn(f"[dim]all that mends it, to read and apply:[/dim] {again}")
    if proposed:
        roles = json.dumps(found["session_roles"]["roles"]).replace('"', "")
        owner = found["session_roles"]["owner"]
        warn(f"[dim]then, in the target's document:[/dim] credential: {{session_roles: {{roles: {cell(roles)}"
             f"{f', owner: {cell(owner)}' if owner else ''}}}}}")  # fmt: skip
    if found["account_to_use"] != found["account"]:
        warn(f"[dim]and, where the agent keeps its account:[/dim] {cell(found['account_to_use'])}")
