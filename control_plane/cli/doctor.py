"""`assentry doctor …`: looks whether something is set up as it should be, and says what to mend."""

from __future__ import annotations

import asyncio
from typing import Any

import typer

from control_plane.cli.errors import CommandError
from control_plane.cli.output import Format, OutputOption, print_list
from control_plane.cli.processes import require

app = typer.Typer(no_args_is_help=True, help="See whether something is set up as it should be.")


@app.callback()
def group() -> None:
    """See whether something is set up as it should be; the exit code is 1 when it is not."""


@app.command()
def slack(output: OutputOption = Format.TABLE) -> None:
    """Slack, with the settings (`ASSENTRY_…`) of the control plane. Run it where the control plane runs."""
    require("slack_sdk", "control-plane")
    found = asyncio.run(_slack())
    print_list(found, ("result", "check", "told"), output)
    if any(one["result"] == "failed" for one in found):
        raise typer.Exit(1)


async def _slack() -> list[dict[str, Any]]:
    """Raises CommandError when the settings themselves are wrong."""
    from pydantic import ValidationError  # noqa: PLC0415 - the command line works without the control plane's libraries

    from control_plane.__main__ import told  # noqa: PLC0415
    from control_plane.config import Settings  # noqa: PLC0415
    from control_plane.kit.clock import SystemClock  # noqa: PLC0415
    from control_plane.kit.starting import StartError  # noqa: PLC0415
    from control_plane.slack.config import configuration  # noqa: PLC0415
    from control_plane.slack.doctor import Doctor  # noqa: PLC0415

    try:
        settings = Settings()
        configured = configuration(settings)
    except ValidationError as error:
        raise CommandError(told(error)) from error
    except StartError as error:
        raise CommandError(str(error)) from error
    if configured is None:
        raise CommandError("Slack is not configured: ASSENTRY_SLACK_MODE is not set; see deploy/slack/README.md")
    doctor = Doctor(configured, settings.url, SystemClock())
    return [
        {"result": str(finding.verdict), "check": finding.check, "told": finding.told}
        async for finding in doctor.examine()
    ]
