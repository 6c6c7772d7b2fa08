"""`python -m control_plane serve|init|…`: one process, one event loop, HTTP and gRPC. Settings come from ASSENTRY_….

`init` makes the first admin and prints its one-time password once (or takes it from
ASSENTRY_ADMIN_PASSWORD_FILE); run again it changes nothing. `serve` ends cleanly on SIGTERM and SIGINT.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path

import uvicorn
from pydantic import ValidationError

from control_plane.agents import rotation
from control_plane.agents.rotation import RotationError
from control_plane.agents.service import CERTIFICATE_LIFE
from control_plane.app import create_app
from control_plane.assembly import ControlPlane
from control_plane.config import Settings
from control_plane.identities import ssh_authority
from control_plane.kit.clock import SystemClock
from control_plane.kit.logs import configure_logs
from control_plane.kit.sealing import FileSeal, SealError
from control_plane.kit.starting import StartError, bind
from control_plane.secrets.feature import Sealing

_USAGE = "usage: assentry control-plane serve|init|ca-prepare|ca-switch|ca-forget|ssh-ca-add"
_HELP = f"""{_USAGE}

  serve  run it until SIGTERM or SIGINT: REST and console, the link of the agents, their enrolment
  init   make the first admin and print the password, once; run again it changes nothing
  ca-prepare, ca-switch, ca-forget
         the three steps to another certificate authority; each says what to do next
  ssh-ca-add
         make another key for SSH certificates, which signs from the next start on

Settings are environment variables; with what holds when they are left out:

{{settings}}

What each is, and how to run it for good: deploy/README.md.
"""
_DRAIN_SECONDS = 10


def main(arguments: Sequence[str]) -> int:
    commands = {"serve": serve, "init": init, **_ROTATION}
    if {"-h", "--help", "help"}.intersection(arguments):
        sys.stdout.write(_HELP.format(settings=_defaults()))
        return 0
    if len(arguments) != 1 or arguments[0] not in commands:
        sys.stderr.write(f"{_USAGE}\n")
        return 2
    try:
        settings = Settings()
    except ValidationError as error:
        sys.stderr.write(f"{told(error)}\n")
        return 2
    configure_logs(settings.log_level)
    try:
        return commands[arguments[0]](settings)
    except StartError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except OSError as error:
        where = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        sys.stderr.write(f"the control plane cannot start: {where}\n")
        return 1


def _defaults() -> str:
    fields = [(f"ASSENTRY_{name.upper()}", field.default) for name, field in Settings.model_fields.items()]
    return "\n".join(f"  {name:<34} {'-' if str(default) in ('', 'None') else default}" for name, default in fields)


def serve(settings: Settings) -> int:
    sockets = bind("ASSENTRY_HTTP_ADDRESS", settings.http.host, settings.http.port)
    app = create_app(ControlPlane(settings))
    config = uvicorn.Config(
        app,
        lifespan="off",  # _Server has it in hand
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
        h11_max_incomplete_event_size=64 * 1024,
        limit_concurrency=1000,
    )
    server = _Server(config, app.router.lifespan_context(app))
    server.run(sockets)
    return 0 if server.started else 1


class _Server(uvicorn.Server):
    """Enters the application's life itself: uvicorn would log what fails in it as a traceback and hide the error."""

    def __init__(self, config: uvicorn.Config, life: AbstractAsyncContextManager[object]) -> None:
        super().__init__(config)
        self._life = life

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self._life.__aenter__()
        await super().startup(sockets)
        # What is there now stays. Looking through all of it again would stop every stream and every request for as
        # long as a fifth of a second, now and then.
        gc.collect()
        gc.freeze()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        await self._life.__aexit__(None, None, None)


def init(settings: Settings) -> int:
    return asyncio.run(_init(settings))


async def _init(settings: Settings) -> int:
    control_plane = ControlPlane(settings)
    await control_plane.prepare()
    try:
        password = await control_plane.make_first_admin()
    finally:
        await control_plane.database.close()
    if password is None:
        sys.stdout.write("there is an admin already; nothing was changed\n")
    elif settings.admin_password_file is None:
        sys.stdout.write(f"{settings.admin_name}: {password.reveal()}\n")
    else:
        sys.stdout.write(f"{settings.admin_name}: has the password of {settings.admin_password_file}\n")
    return 0


def _rotated(step: Callable[[Path, datetime, FileSeal], str]) -> Callable[[Settings], int]:
    def run(settings: Settings) -> int:
        try:
            seal = Sealing(settings.wrapping_keys, settings.state_dir, settings.deployment).files
            sys.stdout.write(f"{step(settings.state_dir / 'ca', SystemClock().now(), seal)}\n")
        except (RotationError, SealError) as error:
            raise StartError(str(error)) from error
        return 0

    return run


_ROTATION = {
    "ca-prepare": _rotated(rotation.prepare),
    "ca-switch": _rotated(lambda ca, now, _seal: rotation.switch(ca, now, CERTIFICATE_LIFE)),
    "ca-forget": _rotated(lambda ca, now, _seal: rotation.forget(ca, now, CERTIFICATE_LIFE)),
    "ssh-ca-add": _rotated(lambda ca, _now, seal: ssh_authority.rotate(ca.with_name("ssh-ca"), seal)),
}


def told(error: ValidationError) -> str:
    """Which variable, and what is wrong with it; never its value."""
    return "\n".join(
        f"ASSENTRY_{'_'.join(str(part) for part in item['loc']).upper()}: {item['msg'].removeprefix('Value error, ')}"
        for item in error.errors()
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
