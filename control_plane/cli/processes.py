"""Commands that start one of the two planes, and become it."""

from __future__ import annotations

import importlib.util
import os
import sys

import typer

from control_plane.cli.errors import CommandError


def control_plane(context: typer.Context) -> None:
    """Run the control plane; what follows goes to it: `serve`, or `init` for the first admin."""
    _become_plane("control_plane", "control-plane", "fastapi", context.args)


def agent(context: typer.Context) -> None:
    """Run an agent: `assentry agent --config agent.toml`."""
    _become_plane("data_plane", "agent", "grpc", context.args)


def _become_plane(module: str, extra: str, needs: str, arguments: list[str]) -> None:
    """Replaces this process, so that signals reach the plane itself."""
    require(needs, extra)
    command = [sys.executable, "-m", module, *arguments]
    os.execv(command[0], command)  # noqa: S606 - our own interpreter and module, no shell


def require(module: str, extra: str) -> None:
    """Raises CommandError when a plane's libraries are not installed."""
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise CommandError(f"this needs more than the command line: pip install 'assentry[{extra}]'")
