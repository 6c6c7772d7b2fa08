"""`assentry agents`: the agents that are enrolled, and join tokens for new ones."""

from __future__ import annotations

from typing import Annotated

import typer

from control_plane.cli.client import Api
from control_plane.cli.config import load_profile
from control_plane.cli.output import Format, OutputOption, print_fields, print_list

app = typer.Typer(no_args_is_help=True, help="Agents next to targets.")


@app.command("list")
def list_agents(output: OutputOption = Format.TABLE) -> None:
    """List agents and what they run."""
    agents = Api(load_profile()).pages("/v1/agents", 1000)
    print_list(agents, ("name", "id", "connected", "version", "snapshot_version", "disabled"), output)


@app.command()
def join(
    name: Annotated[str, typer.Argument(help="name of the agent; targets name it in `agent:`")],
    output: OutputOption = Format.TABLE,
) -> None:
    """Make a one-time join token for an agent."""
    print_fields(Api(load_profile()).post("/v1/join-tokens", {"agent": name}), ("token", "expires_at"), output)


@app.command()
def disable(
    name: Annotated[str, typer.Argument(help="name or id of the agent")], output: OutputOption = Format.TABLE
) -> None:
    """Cut an agent off: its link ends, its sessions end, its certificates are refused."""
    print_fields(Api(load_profile()).post(f"/v1/agents/{name}/disable"), ("name", "disabled"), output)
