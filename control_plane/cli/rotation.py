"""`assentry targets rotate` and `credentials`: the agents' own accounts, changed now, and how old they are."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

import typer

from control_plane.cli.client import Api, Json, part
from control_plane.cli.config import load_profile
from control_plane.cli.errors import CommandError
from control_plane.cli.output import Format, OutputOption, print_fields, print_list

_PAUSE_SECONDS: Final = 0.5
_FIELDS: Final = ("id", "state", "account", "previous", "disabled", "remaining", "resumed", "problem")
_COLUMNS: Final = ("target", "account", "kept", "sessions", "changed", "used", "every", "next", "problems")
_HISTORY: Final = ("started_at", "state", "cause", "asked_by", "account", "previous", "problem")
Name = Annotated[str, typer.Argument(help="name of the target")]


def rotate(
    name: Name,
    wait: Annotated[bool, typer.Option(help="until it is over; the exit code is 1 when it failed")] = True,
    output: OutputOption = Format.TABLE,
) -> None:
    """Give the agent's own account at a target a new password now."""
    with Api(load_profile()) as api:
        rotation = api.post(f"/v1/targets/{part(name)}/rotate")
        while wait and rotation["state"] == "running":
            time.sleep(_PAUSE_SECONDS)
            rotation = api.get(f"/v1/rotations/{part(rotation['id'])}")
    print_fields(rotation, _FIELDS, output)
    if rotation["state"] == "failed":
        raise CommandError(f"not rotated: {rotation['problem']}; what was in force works")


def rotations(name: Name, limit: Annotated[int, typer.Option(min=1)] = 50, output: OutputOption = Format.TABLE) -> None:
    """List what became of a target's rotations, newest first."""
    print_list(Api(load_profile()).pages(f"/v1/targets/{part(name)}/rotations", limit), _HISTORY, output)


def credentials(output: OutputOption = Format.TABLE) -> None:
    """Report which account is used at each target, where it is kept, how old it is and when it was used last."""
    found = Api(load_profile()).get("/v1/credentials/report")
    print_list(found if output is Format.JSON else map(_row, found), _COLUMNS, output)


def _row(line: Json) -> dict[str, Any]:
    return {**line, "changed": line["changed_at"], "used": line["used_at"], "next": line["next_at"]}


COMMANDS: Final = (rotate, rotations, credentials)
