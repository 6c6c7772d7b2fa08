"""Who stands behind a workload: on whose behalf it acts, the first one first. Pure.

RFC 8693 writes it from the other end: `sub` is whom it is all for, `act` who acts now, and inside it who acted before.
Here the one who acts is the identity of a credential; everybody else is its chain. Nobody in it may approve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from control_plane.identities.domain import Identity

MOST: Final = 8
Link = dict[str, str]  # id (empty: nobody that is known here), name, kind; of a stranger also issuer, subject


def link(identity: Identity) -> Link:
    return {"id": str(identity.id), "name": identity.name, "kind": identity.kind}


def stranger(issuer: str, subject: str) -> Link:
    """Somebody whom only the issuer knows. Whoever comes to be linked to that subject later is barred by it."""
    name = printable(f"{subject} ({issuer})", 255)
    return {"id": "", "name": name, "kind": "unknown", "issuer": issuer, "subject": subject}


def ids(chain: Sequence[Mapping[str, str]]) -> list[str]:
    return [one["id"] for one in chain if one.get("id")]


def told_subjects(claims: Mapping[str, Any]) -> list[str] | None:
    """Those on whose behalf the token's actor acts, the first one first, from `sub` and `act`. None: not well-formed.

    The outermost `act` is the workload itself, whom the trust means; those inside acted before it. They are kept as
    they are told, so nothing is taken that no database keeps."""
    subject, actor = claims.get("sub"), claims.get("act")
    acted: list[str] = []
    while actor is not None:
        if not isinstance(actor, dict) or not _is_plain(actor.get("sub")) or len(acted) >= MOST:
            return None
        acted.append(actor["sub"])
        actor = actor.get("act")
    before = list(reversed(acted[1:]))
    if acted and isinstance(subject, str) and not _is_plain(subject):
        return None
    return [subject, *before] if acted and isinstance(subject, str) else []


def acting_subject(claims: Mapping[str, Any]) -> Any:
    """Whose token it is: the actor's, if it says that there is one."""
    actor = claims.get("act")
    return actor.get("sub") if isinstance(actor, dict) else claims.get("sub")


def _is_plain(subject: object) -> bool:
    return isinstance(subject, str) and subject.isprintable()


def printable(text: str, most: int) -> str:
    """Of what others wrote: safe to keep and to show."""
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in cut)
