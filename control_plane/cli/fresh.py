"""Asking again who somebody is, where the control plane wants a fresh proof, and going on with what was asked."""

from __future__ import annotations

import sys
from typing import Final

import typer

from control_plane.cli.client import Api, ApiError, Json

_WANTED: Final = "urn:assentry:problem:reauthentication-required"
_ELSEWHERE: Final = frozenset(
    f"urn:assentry:problem:{code}" for code in ("security-key-required", "channel-not-allowed")
)


def freshly(api: Api, path: str, body: Json) -> Json:
    """The answer to the POST about a request. On a terminal the password is asked for once when the sign-in is too old
    for it; what is decided in the console only comes with the link."""
    try:
        answer: Json = api.post(path, body)
    except ApiError as error:
        if error.problem.get("type") in _ELSEWHERE:
            raise ApiError(f"{error}: {_console(api, path)}", error.status, error.problem) from error
        if error.problem.get("type") != _WANTED or not sys.stdin.isatty():
            raise
        password = typer.prompt("This needs a fresh sign-in. Your password, again", hide_input=True)
        api.post("/v1/session/reauthenticate", {"method": "password", "password": password})
        answer = api.post(path, body)
    return answer


def _console(api: Api, path: str) -> str:
    """The page of what `/v1/approvals/ID/…` is about."""
    return api.url + path.removeprefix("/v1").rpartition("/")[0]
