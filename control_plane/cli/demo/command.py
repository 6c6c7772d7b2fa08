"""Starts the demo, says what to try and stays up; or runs the same story by itself."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import resources
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from control_plane.cli.client import Api
from control_plane.cli.config import save_profile_to
from control_plane.cli.demo import postgres, shop
from control_plane.cli.demo.planes import LocalAgent, LocalControlPlane, Plane, StartError
from control_plane.cli.demo.ports import HOST
from control_plane.cli.demo.story import Story, StoryError
from control_plane.cli.output import cell, console, warn
from control_plane.cli.processes import require
from control_plane.cli.yaml_documents import dump_documents

DRAIN_SECONDS = 2  # of who is connected when it ends: less than a process has before it is killed
_LOOK_SECONDS = 0.5  # whether both planes still run


class Demo:
    """Everything that runs, and how to reach it."""

    def __init__(self, folder: Path, control: LocalControlPlane, agent: LocalAgent, target: shop.Shop) -> None:
        self.folder, self.control, self.agent, self.target = folder, control, agent, target
        self.reviewer_password = control.give_password(shop.REVIEWER)
        self.reviewer = control.sign_in(shop.REVIEWER, self.reviewer_password)
        self.profile_file = folder / "profile.json"
        save_profile_to(self.profile_file, self.reviewer)
        self.admin_profile_file = folder / "admin-profile.json"
        save_profile_to(self.admin_profile_file, control.sign_in())
        self.documents_file = folder / "shop.yaml"
        self.documents_file.write_text(dump_documents(shop.demo_documents(target.port)), encoding="utf-8")
        self.token = control.machine_token(shop.BOT, [shop.TARGET])

    @property
    def port(self) -> int:
        return self.agent.ports[shop.TARGET]

    @property
    def planes(self) -> tuple[Plane, ...]:
        return (self.control.plane, self.agent.plane)

    def console_link(self) -> str:
        return self.control.url + str(Api(self.reviewer).post("/v1/session/links")["path"])


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="run the story unattended and exit; not 0 when a step is wrong")
    ] = False,
) -> None:
    """Start a control plane, an agent and a PostgreSQL with sample data here, and say what to try."""
    require("fastapi", "demo")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell without job control has it ignored
    try:
        with _running() as running:
            if once:
                Story(running.control, running.agent, running.target, running.reviewer, running.token).run()
            else:
                _invite(running)
                _wait_for_interrupt(running.planes)
    except (StartError, StoryError, postgres.PostgresError) as error:
        warn(f"[red]error[/red] {cell(str(error))}")
        raise typer.Exit(1) from error


@contextmanager
def _running() -> Iterator[Demo]:
    """In a temporary folder that goes away with the demo."""
    folder = Path(tempfile.mkdtemp(prefix="assentry-demo-"))
    folder.chmod(0o711)  # PostgreSQL runs as another user below it where this is root
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        _say("starting a PostgreSQL with sample data")
        target = shop.Shop(folder / "target")
        stack.callback(target.stop)
        _say("starting the control plane")
        control = LocalControlPlane(folder / "control-plane")
        stack.callback(control.stop)
        control.apply(shop.demo_documents(target.port))
        _say("starting the agent")
        accounts = (shop.ACCOUNT, target.account_password, shop.PREVIEW_ACCOUNT, target.preview_password)
        agent = LocalAgent(control, folder / "agent", {shop.TARGET: accounts}, drain_seconds=DRAIN_SECONDS)
        stack.callback(agent.stop)
        _say("setting its account up as `assentry targets doctor` says")
        target.set_up(shop.examined(control.admin)["sql"])
        yield Demo(folder, control, agent, target)


def _say(what: str) -> None:
    console.print(f"[dim]· {what}[/dim]")


def _invite(running: Demo) -> None:
    password = running.folder / "bot.token"
    password.touch(mode=0o600)
    password.write_text(running.token)
    invitation = Template((resources.files("control_plane.cli.demo") / "documents" / "invitation.txt").read_text())
    values = {
        "bot": shop.BOT,
        "reviewer": shop.REVIEWER,
        "password": password,
        "psql": shutil.which("psql") or running.target.bin / "psql",
        "host": HOST,
        "port": running.port,
        "database": shop.DATABASE,
        "link": running.console_link(),
        "profile": running.profile_file,
        "admin_profile": running.admin_profile_file,
        "documents": running.documents_file,
        "bin": Path(sys.argv[0]).resolve().parent,
        "reviewer_password": running.reviewer_password,
        "folder": running.folder,
    }
    console.print(invitation.substitute(values), soft_wrap=True)


def _wait_for_interrupt(planes: Sequence[Plane]) -> None:
    """Raises StartError when one of them ends before."""
    try:
        while True:
            for plane in planes:
                plane.check()
            time.sleep(_LOOK_SECONDS)
    except KeyboardInterrupt:
        console.print("\nstopping")
