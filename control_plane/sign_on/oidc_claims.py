"""From the claims of a provider to what is told of somebody, with their groups. Pure.

Groups are never lost in silence: a provider that says that there are more than fit into a token (Entra's overage) is
asked elsewhere, and when it does not answer there either the sign-in is refused.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from control_plane.sign_on.documents import GroupRules
from control_plane.sign_on.domain import Told
from control_plane.sign_on.oidc_tokens import IdToken, TokenError, instant

_MOST_GROUPS: Final = 5_000
_ELSEWHERE: Final = ("hasgroups",)


class Groups(enum.Enum):
    NOT_TOLD = enum.auto()  # the claim is not there
    ELSEWHERE = enum.auto()  # there are some, but not here


def groups_at(path: str, claims: Mapping[str, Any]) -> Sequence[str] | Groups:
    """Raises TokenError: what is there is no list of names. A claim whose name has dots is found by its whole name."""
    value = claims.get(path)
    if value is None:
        value = _within(claims, path.split("."))
    if value is None:
        return Groups.ELSEWHERE if _is_elsewhere(path, claims) else Groups.NOT_TOLD
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or len(names) > _MOST_GROUPS or not all(isinstance(one, str) for one in names):
        raise TokenError(f"its claim {path} is no list of at most {_MOST_GROUPS} names of groups")
    return list(names)


def maps_groups(rules: GroupRules) -> bool:
    return bool(rules.map) or rules.same_names


def _within(value: Any, path: Sequence[str]) -> Any:
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _is_elsewhere(path: str, claims: Mapping[str, Any]) -> bool:
    named = claims.get("_claim_names")
    first = path.split(".", maxsplit=1)[0]
    distributed = isinstance(named, Mapping) and (path in named or first in named)
    return distributed or any(claims.get(name) in {True, "true"} for name in _ELSEWHERE)


def told(
    provider: str, token: IdToken, profile: Mapping[str, Any], groups: Sequence[str] | None, not_before: datetime
) -> Told:
    """`profile`: of the userinfo endpoint, empty when it was not asked. `not_before`: when the person has proved who
    they are at the earliest, for a provider that does not say when."""
    everything = {**profile, **token.everything}
    claims = token.claims
    proven = not_before if claims.auth_time is None else instant(claims.auth_time)
    # An address and whether it is verified are one word: what userinfo verified is not what the token names.
    addressed = token.everything if "email" in token.everything else profile
    email = _text(addressed, "email")
    return Told(
        provider=provider,
        subject=claims.sub,
        called=_called(everything, email),
        email=email,
        email_verified=addressed.get("email_verified") in {True, "true"},
        groups=groups,
        session=claims.sid,
        acr=claims.acr[:255],
        amr=tuple(one[:64] for one in claims.amr[:16]),
        authenticated_at=proven,
    )


def too_old(token: IdToken, now: datetime, max_age: timedelta, skew: timedelta) -> bool:
    """Whether the provider itself says that the person proved it longer ago than was asked for."""
    at = token.claims.auth_time
    return at is not None and instant(at) < now - max_age - skew


def _called(claims: Mapping[str, Any], email: str) -> str:
    name = _text(claims, "preferred_username") or _text(claims, "nickname") or email
    return name.partition("@")[0]


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    return value[:255] if isinstance(value, str) and value.isprintable() else ""
