"""`assentry agents`: the agents that are enrolled, and join tokens for new ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from control_plane.cli.client import Api, Json, part
from control_plane.cli.config import load_profile, write_private
from control_plane.cli.output import Format, OutputOption, cell, print_fields, print_list, say

app = typer.Typer(no_args_is_help=True, help="Agents next to targets.")
COLUMNS: Final = ("name", "connected", "instances", "version", "snapshot", "sessions", "held", "disabled", "notice")
Name = Annotated[str, typer.Argument(help="name of the agent")]


@app.command("list")
def list_agents(limit: Annotated[int, typer.Option(min=1)] = 1000, output: OutputOption = Format.TABLE) -> None:
    """List agents and what they run."""
    agents = Api(load_profile()).pages("/v1/agents", limit)
    print_list(agents if output is Format.JSON else map(_row, agents), COLUMNS, output)


def _row(agent: Json) -> dict[str, Any]:
    """What its connected instances say, together; of one that is away, the last instance."""
    instances = [one for one in agent["instances"] if one["connected"]] or agent["instances"][-1:]
    notices = {one["snapshot_problem"] or one["notice"] for one in instances} - {""}
    return {
        **agent,
        "instances": sum(one["connected"] for one in instances),
        "version": sorted({one["version"] for one in instances}),
        "snapshot": sorted({one["snapshot_version"] for one in instances}),
        "sessions": sum(one["open_sessions"] for one in instances),
        "held": sum(one["held_operations"] for one in instances),
        "notice": sorted(notices),
    }


@app.command()
def join(
    name: Annotated[str, typer.Argument(help="name of the agent; targets name it in `agent:`")],
    folder: Annotated[
        Path | None, typer.Option("--folder", "-d", help="write `join-token` and `ca.pem` here instead of showing it")
    ] = None,
    minutes: Annotated[int, typer.Option(min=1, max=10_080, help="how long it may be used")] = 60,
    output: OutputOption = Format.TABLE,
) -> None:
    """Make a one-time join token for an agent, and fetch the authority that it will trust."""
    made = Api(load_profile()).post("/v1/join-tokens", {"agent": name, "expires_in": minutes * 60})
    if folder is None:
        print_fields(made, ("token", "expires_at", "ca"), output)
        return
    write_private(folder / "join-token", made["token"].encode())
    write_private(folder / "ca.pem", made["ca"].encode())
    shown = {**made, "token": None, "join_token_file": str(folder / "join-token"), "ca_file": str(folder / "ca.pem")}
    print_fields(shown, ("join_token_file", "ca_file", "expires_at"), output)


@app.command()
def tokens(limit: Annotated[int, typer.Option(min=1)] = 100, output: OutputOption = Format.TABLE) -> None:
    """List join tokens that may still be used, never the tokens themselves."""
    found = Api(load_profile()).pages("/v1/join-tokens", limit)
    print_list(found, ("id", "agent", "created_by", "created_at", "expires_at"), output)


@app.command()
def revoke(token: Annotated[str, typer.Argument(help="id of an unused join token")]) -> None:
    """Take back a join token that has not been used."""
    Api(load_profile()).delete(f"/v1/join-tokens/{part(token)}")
    say(f"{cell(token)} is revoked")


@app.command()
def disable(name: Name, output: OutputOption = Format.TABLE) -> None:
    """Cut an agent off: its link ends, its sessions end, its certificates are refused."""
    print_fields(Api(load_profile()).post(f"/v1/agents/{part(name)}/disable"), ("name", "disabled"), output)


@app.command()
def enable(name: Name, output: OutputOption = Format.TABLE) -> None:
    """Let a disabled agent connect again."""
    print_fields(Api(load_profile()).post(f"/v1/agents/{part(name)}/enable"), ("name", "disabled"), output)


@app.command()
def drain(
    name: Name, seconds: Annotated[int, typer.Option(min=0, max=3600, help="then open sessions are ended")] = 60
) -> None:
    """Let an agent finish, before it is stopped: no new sessions, open ones end by the deadline."""
    Api(load_profile()).post(f"/v1/agents/{part(name)}/drain", {"seconds": seconds})
    say(f"{cell(name)} takes no new sessions; those that are open end within {seconds} s")
