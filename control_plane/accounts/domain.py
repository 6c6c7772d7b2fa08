"""What can become of an account of a session. Pure."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final


class State(enum.StrEnum):
    OPEN = "open"  # it was to be made; its session may be over, but nobody has confirmed yet that it is gone
    DISABLED = "disabled"  # it will not go away, but nobody can sign in with it
    FAILED = "failed"  # it could not be removed or disabled so far
    GONE = "gone"


STUCK: Final = frozenset({State.DISABLED, State.FAILED})

# By outcome of AccountEnded. What is gone stays gone: its name is never used again.
OUTCOMES: Final[Mapping[str, State]] = {
    "gone": State.GONE,
    "disabled": State.DISABLED,
    "failed": State.FAILED,
}


def then(before: State, outcome: str) -> State:
    """Raises ValueError for an outcome that is not known."""
    try:
        after = OUTCOMES[outcome]
    except KeyError as error:
        raise ValueError(f"{outcome[:64]!r} is no outcome of an account") from error
    return before if before is State.GONE else after
