"""What must be agreed, and by whom: ordered stages. Pure."""

from __future__ import annotations

import msgspec


class Stage(msgspec.Struct, frozen=True):
    """`required` distinct people out of any of the groups."""

    groups: tuple[str, ...]
    required: int
    timeout_seconds: float


class Chain(msgspec.Struct, frozen=True):
    """Ordered stages. It is kept with the request as it was when the operation was held."""

    name: str
    stages: tuple[Stage, ...]
    execute_within_seconds: float
    break_glass: bool = False  # a person with that permission may override it
    channels: tuple[str, ...] = ()  # through which decisions count; empty: all
    reauthenticate_seconds: float = 0  # how old a deciding sign-in may be; 0: as old as it is


def describe(stage: Stage) -> str:
    """`1 of group dba`; `2 of groups dba, security`: for notices and cards."""
    word = "group" if len(stage.groups) == 1 else "groups"
    return f"{stage.required} of {word} {', '.join(stage.groups)}"


def approve_by_ms(chain: Chain, requested_at_ms: int, wait_until_ms: int) -> int:
    """The end of the first stage's time or of the client's wait, whichever is sooner."""
    return min(wait_until_ms, requested_at_ms + int(chain.stages[0].timeout_seconds * 1000))
