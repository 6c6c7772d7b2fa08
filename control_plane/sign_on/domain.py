"""What a provider says of somebody who signed in there, and which of our groups that means. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from control_plane.sign_on.documents import GroupRules


class Told(msgspec.Struct, frozen=True):
    """Verified, whatever the protocol: nothing in it was believed before its signature.

    `called`: what the person is called there, for the name of a new identity. `groups` None: the provider says nothing
    of groups, so those that it told before stay as they are.
    """

    provider: str
    subject: str
    issuer: str = ""  # the provider's own name of itself, whatever a document here calls it; of SAML its entity id
    called: str = ""
    email: str = ""
    email_verified: bool = False
    groups: Sequence[str] | None = None
    session: str = ""  # what the provider calls its own session with this person
    acr: str = ""
    amr: tuple[str, ...] = ()
    authenticated_at: datetime | None = None
    refresh: str = ""  # sealed


def our_groups(rules: GroupRules, told: Sequence[str]) -> set[str]:
    """Theirs that are mapped, and, where the rules say so, ours of the same name."""
    mapped = {rules.map[name] for name in told if name in rules.map}
    return mapped | {name for name in told if rules.same_names and name not in rules.map}


def domain_of(email: str) -> str:
    """Lower case. Empty: this is no address."""
    local, at, domain = email.rpartition("@")
    return domain.lower() if local and at else ""
