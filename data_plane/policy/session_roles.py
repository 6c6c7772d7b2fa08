"""What makes no sense in a target's `credential`, told when it is written. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from data_plane.policy import durations, model

_SHORTEST_SIGN_IN, _LONGEST_SIGN_IN = 1.0, 600.0  # seconds
_LONGEST_NAME = 63  # bytes that PostgreSQL keeps of a name
_OURS = "gw_"


def credential_problems(credential: model.TargetCredential) -> Iterator[tuple[str, str]]:
    """JSON path and message."""
    if credential.session_roles is not None:
        yield from _session_roles("$.spec.credential.session_roles", credential.session_roles)
    if credential.rotate is not None:
        yield from _rotation("$.spec.credential.rotate", credential.rotate)


def _session_roles(path: str, spec: model.SessionRoles) -> Iterator[tuple[str, str]]:
    if not any(spec.roles.values()):
        yield f"{path}.roles", "without a role for any action, no session can do anything: name group roles"
    for action, names in spec.roles.items():
        for index, name in enumerate(names):
            yield from _name(f"{path}.roles.{action}[{index}]", name)
    if spec.owner:
        yield from _name(f"{path}.owner", spec.owner)
    yield from _within(f"{path}.sign_in_within", spec.sign_in_within, _SHORTEST_SIGN_IN, _LONGEST_SIGN_IN)


def _rotation(path: str, spec: model.AccountRotation) -> Iterator[tuple[str, str]]:
    if spec.every:
        yield from _within(f"{path}.every", spec.every)
    for index, name in enumerate(spec.accounts or ()):
        yield from _name(f"{path}.accounts[{index}]", name)
    if spec.accounts is not None and spec.accounts[0] == spec.accounts[1]:
        yield f"{path}.accounts", "the two that take turns must be two accounts"


def _name(path: str, name: str) -> Iterator[tuple[str, str]]:
    if not name or len(name.encode()) > _LONGEST_NAME or "\0" in name:
        yield path, f"{name[:80]!r} is no name of a role: 1 to {_LONGEST_NAME} bytes"
    elif name.startswith(_OURS):
        yield path, f"{name!r}: names that begin with {_OURS} are those of single sessions"


def _within(path: str, text: str, shortest: float = 0.0, longest: float | None = None) -> Iterator[tuple[str, str]]:
    try:
        seconds = durations.seconds(text)
    except durations.DurationError as error:
        yield path, str(error)
        return
    if seconds < shortest:
        yield path, f"{text} is too short here: {shortest:.0f}s at least"
    if longest is not None and seconds > longest:
        yield path, f"{text} is too long here: {longest:.0f}s at most"
