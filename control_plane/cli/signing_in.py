"""`assentry login`: in a browser (RFC 8628), at an identity provider, or with a name and a password.

Without `--name` the control plane prints a code and a link; whoever opens the link is signed in there already or signs
in as always, compares the code and confirms. Nothing secret is typed into a terminal; this machine needs no browser.
"""

from __future__ import annotations

import sys
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import httpx
import msgspec
import typer

from control_plane.cli.client import Api, ApiError, Json
from control_plane.cli.config import (
    Profile,
    checked_url,
    known_url,
    save_profile,
    shows_a_browser,
    stored_profile,
)
from control_plane.cli.errors import CommandError
from control_plane.cli.output import cell, say, warn

_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
_CLIENT: Final = "assentry-cli"
_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
_LONGEST_PAUSE: Final = 60
_AGAIN: Final = "nobody confirmed it in time: `assentry login` again"
_ENDED: Final = {
    "access_denied": "the sign-in was refused, or what confirmed it has ended",
    "expired_token": _AGAIN,
}


def login(
    name: Annotated[str, typer.Option(help="a local account, with its password; without it a browser signs in")] = "",
    url: Annotated[str, typer.Option(help="the control plane; the one used last when empty")] = "",
    password_file: Annotated[Path | None, typer.Option(help="read the password here instead of asking")] = None,
    provider: Annotated[str, typer.Option(help="confirm at this identity provider, by its own device flow")] = "",
    browser: Annotated[bool, typer.Option(help="open the link by itself, where there is a browser")] = True,
) -> None:
    """Sign in; the session is kept in a file that only you can read."""
    _check(name, password_file, provider)
    stored = stored_profile(new=True)
    profile = Profile(checked_url(url) if url else known_url(stored), addresses=stored.addresses)
    if profile.url.startswith("http://") and httpx.URL(profile.url).host not in _THIS_MACHINE:
        warn(f"[yellow]warning[/yellow] {cell(profile.url)} is not https: others on the way can read what signs you in")
    api = Api(profile)
    opened = _by_password(api, name, password_file) if name else _by_browser(api, provider, open_it=browser)
    path = save_profile(msgspec.structs.replace(profile, token=opened["token"]))
    who, until = cell(opened["name"]), cell(opened["expires_at"])
    say(f"Signed in to {cell(profile.url)} as {who} until {until}; kept in {cell(path)}")


def _check(name: str, password_file: Path | None, provider: str) -> None:
    if name and provider:
        raise typer.BadParameter("--name is a local account, --provider another way: give one of them")
    if password_file is not None and not name:
        raise typer.BadParameter("--password-file needs --name")


def _by_password(api: Api, name: str, password_file: Path | None) -> Json:
    password = password_file.read_text().rstrip("\n") if password_file else typer.prompt("Password", hide_input=True)
    opened: Json = api.post("/v1/session", {"name": name, "password": password, "channel": "cli"})
    return opened


def _by_browser(api: Api, provider: str, *, open_it: bool) -> Json:
    asked: Json = api.form("/v1/device", client_id=_CLIENT, provider=provider)
    link = asked["verification_uri_complete"]
    say(f"Open [bold]{cell(link)}[/bold]")
    say(f"and confirm there that the code is [bold]{cell(asked['user_code'])}[/bold]")
    if open_it and on_a_terminal() and shows_a_browser() and link.startswith(("https://", "http://")):
        webbrowser.open(link)
    opened = confirmed(api, asked)
    return {**opened, "token": opened["access_token"]}


def on_a_terminal() -> bool:
    return sys.stdout.isatty()


def confirmed(
    api: Api,
    asked: Json,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Json:
    """What the control plane answers once somebody has confirmed. Raises CommandError: refused, or too late."""
    pause, end = asked["interval"], clock() + asked["expires_in"]
    while clock() < end:
        sleep(pause)
        try:
            opened: Json = api.form(
                "/v1/device/token", client_id=_CLIENT, grant_type=_GRANT, device_code=asked["device_code"]
            )
        except ApiError as error:
            pause = _next_pause(error, pause)
        else:
            return opened
    raise CommandError(_AGAIN)


def _next_pause(error: ApiError, pause: int) -> int:
    """In seconds, before it is asked again. Raises CommandError: there is no use in that."""
    match error.problem.get("error"):
        case "authorization_pending":
            return pause
        case "slow_down":
            return pause + 5
        case str(told):
            raise CommandError(_ENDED.get(told, str(error))) from error
    if error.status in (0, httpx.codes.SERVICE_UNAVAILABLE):  # not reached: twice as long (§3.5)
        return min(_LONGEST_PAUSE, 2 * pause)
    raise error
