"""What an API token of a person may be good for. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Final, Literal

from control_plane.kit.access import Permission

PREFIX: Final = "assentry_p_"
LONGEST: Final = timedelta(days=30)
# With a sign-in that a provider stands behind: when that sign-in has ended by itself, nobody asks the provider again.
LONGEST_BY_PROVIDER: Final = timedelta(hours=24)
MOST: Final = 50  # of one person, that are good at the same time

# What may be given, and what for. All else stays with people who are present: who approves, writes policy, makes
# credentials or changes who there is does so signed in. A permission that is new is not given either.
_P = Permission
GIVABLE: Final[Mapping[Permission, str]] = {
    _P.REQUEST: "connect to targets and ask for approval, as oneself",
    _P.SESSIONS: "see the sessions of others",
    _P.TERMINATE: "end sessions",
    _P.POLICY_READ: "read policies",
    _P.AUDIT: "read the audit log",
}
Givable = Literal["request", "sessions", "terminate", "policy-read", "audit"]


def effective(given: Collection[str], has: frozenset[Permission]) -> frozenset[Permission]:
    """What is left of a token's permissions, by what the person has at this moment."""
    return frozenset({_P.SELF}) | {one for one in has if one in GIVABLE and one.value in given}
