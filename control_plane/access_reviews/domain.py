"""What somebody has access by, and what about it deserves a look. Pure."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from control_plane.identities.domain import Identity
from control_plane.kit.access import Permission, permissions_of

DORMANT_AFTER: Final = timedelta(days=90)
ROTATED_WITHIN: Final = timedelta(days=90)
# What nobody should hold who does not use it.
_PRIVILEGES: Final = frozenset(Permission) - {Permission.SELF, Permission.REQUEST, Permission.POLICY_READ}


class Kind(enum.StrEnum):
    IDENTITY = "machine"
    KEY = "service-account-key"
    CLIENT_CREDENTIAL = "client-credential"  # a key pair or a secret of a machine
    WORKLOAD_TRUST = "workload-trust"  # by which a workload is let in as a machine
    API_TOKEN = "api-token"  # noqa: S105 - its name
    CREDENTIAL = "credential"  # a token or certificate for targets: hours
    SIGN_IN = "sign-in"
    ACCOUNT = "external-account"


class Finding(enum.StrEnum):
    OWNER_GONE = "owner-gone"
    WRITER_GONE = "writer-gone"  # it lets nobody in until somebody living writes it again
    DORMANT = "dormant"
    NEVER_USED = "never-used"
    NEVER_ROTATED = "never-rotated"
    NO_END = "no-end"
    NO_PURPOSE = "no-purpose"
    UNUSED_PRIVILEGES = "unused-privileges"
    DISABLED = "disabled"


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    """By what somebody has access. `lasts`: it is good for longer than a day, so campaigns ask about it."""

    kind: Kind
    id: str
    identity_id: str
    description: str
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    lasts: bool = True
    rotates: bool = False  # a secret that should be made anew now and then
    writer_gone: bool = False


class Known(msgspec.Struct, frozen=True):
    """What is known of an identity beside what it is."""

    created_at: datetime
    last_seen_at: datetime | None


class Access(msgspec.Struct, frozen=True):
    """One identity with all that it has access by."""

    identity: Identity
    known: Known
    used: Mapping[str, datetime]  # permissions, and when each was last used
    things: Sequence[Thing]
    findings: Sequence[Finding]
    findings_of: Mapping[str, Sequence[Finding]]  # by the id of a thing

    @property
    def held(self) -> frozenset[Permission]:
        return permissions_of(set(self.identity.roles))

    @property
    def unused(self) -> list[str]:
        """Privileges that are held and were not used within the time after which one is dormant."""
        return sorted(one for one in self.held & _PRIVILEGES if one not in self.used)


def examined(
    identity: Identity, known: Known, used: Mapping[str, datetime], things: Sequence[Thing], now: datetime
) -> Access:
    """`used`: at any time; what is too long ago counts as not used."""
    lately = {name: at for name, at in used.items() if now - at <= DORMANT_AFTER}
    of_things = {one.id: _of_thing(identity, one, now) for one in things}
    access = Access(identity, known, lately, things, (), of_things)
    return msgspec.structs.replace(access, findings=_of_identity(access, now))


def _of_identity(access: Access, now: datetime) -> list[Finding]:
    identity, known = access.identity, access.known
    if identity.disabled:
        return [Finding.DISABLED]
    machine, old = identity.kind == "machine", now - known.created_at > DORMANT_AFTER
    found = {
        Finding.OWNER_GONE: owner_gone(identity),
        Finding.DORMANT: _silent(known.last_seen_at, now),
        Finding.NEVER_USED: known.last_seen_at is None and old,
        Finding.NO_END: machine and identity.ends_at is None,
        Finding.NO_PURPOSE: machine and not identity.purpose,
        Finding.UNUSED_PRIVILEGES: old and bool(access.unused),
    }
    return [finding for finding, so in found.items() if so]


def _of_thing(identity: Identity, thing: Thing, now: datetime) -> list[Finding]:
    found = {
        Finding.OWNER_GONE: owner_gone(identity),
        Finding.WRITER_GONE: thing.writer_gone,
        Finding.DORMANT: _silent(thing.last_used_at, now),
        Finding.NEVER_USED: thing.last_used_at is None and now - thing.created_at > DORMANT_AFTER / 3,
        Finding.NEVER_ROTATED: thing.rotates and now - thing.created_at > ROTATED_WITHIN,
    }
    return [finding for finding, so in found.items() if so]


def owner_gone(identity: Identity) -> bool:
    """A machine that is not disabled itself and is not able either has lost its owner."""
    return identity.kind == "machine" and not identity.disabled and not identity.able


def _silent(last: datetime | None, now: datetime) -> bool:
    return last is not None and now - last > DORMANT_AFTER


class State(enum.StrEnum):
    """Of one thing in a campaign."""

    ASKED = "asked"
    KEPT = "kept"  # its owner has confirmed it
    ENDED = "ended"  # its owner does not want it any more
    LOST = "lost"  # nobody confirmed it in time
    GONE = "gone"  # it had ended by itself by then


class Campaign(enum.StrEnum):
    OPEN = "open"
    CLOSED = "closed"
    CANCELLED = "cancelled"
