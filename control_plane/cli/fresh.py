"""Asking again who somebody is, where the control plane wants a fresh proof, and going on with what was asked."""

from __future__ import annotations

import sys

import typer

from control_plane.cli.client import Api, ApiError, Json

_WANTED = "urn:assentry:problem:reauthentication-required"


def freshly(api: Api, path: str, body: Json) -> Json:
    """The answer to the POST. On a terminal the password is asked for once when the sign-in is too old for it."""
    try:
        answer: Json = api.post(path, body)
    except ApiError as error:
        if error.problem.get("type") != _WANTED or not sys.stdin.isatty():
            raise
        password = typer.prompt("This needs a fresh sign-in. Your password, again", hide_input=True)
        api.post("/v1/session/reauthenticate", {"method": "password", "password": password})
        answer = api.post(path, body)
    return answer
