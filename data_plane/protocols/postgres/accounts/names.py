"""What session roles are called, and what stands in their comments for people and for a later process of this agent."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Final

import msgspec

from data_plane.credentials.ports import CredentialError, Lease

_LEASE: Final = re.compile(r"[a-z2-7]{1,40}")
_TOLD: Final = "A session role of Assentry, removed by its agent when the session is over. "


class Handover(msgspec.Struct, frozen=True):
    """To whom what a role owns is given; empty: to nobody. `everything`: also what can carry code, because policy or
    people let the session make it."""

    owner: str = ""
    everything: bool = False


class Note(msgspec.Struct, frozen=True):
    """The part of a comment that is read again."""

    deployment: str
    agent: str
    target: str
    lease: str
    session: str
    handover: Handover
    proof: str


class Names(msgspec.Struct, frozen=True):
    """`key` is this agent's own: a comment that somebody else wrote hands nothing over."""

    deployment: str
    agent: str
    key: bytes

    @property
    def prefix(self) -> str:
        """Agents and deployments that share a server leave each other's roles alone."""
        digest = hashlib.sha256(f"{self.deployment}\0{self.agent}".encode()).digest()
        return f"gw_{base64.b32encode(digest).decode().lower()[:10]}_"

    def role(self, lease_id: str) -> str:
        if not _LEASE.fullmatch(lease_id):
            raise CredentialError(f"the lease {lease_id!r} cannot be part of a role's name")
        return self.prefix + lease_id

    def lease(self, role: str) -> str:
        """Empty: the name tells none."""
        rest = role.removeprefix(self.prefix)
        return rest if rest != role and _LEASE.fullmatch(rest) else ""

    def comment(self, lease: Lease, handover: Handover) -> str:
        proof = self._proof(self.role(lease.id), handover)
        note = Note(self.deployment, self.agent, lease.target, lease.id, lease.session, handover, proof)
        return _TOLD + msgspec.json.encode(note).decode()

    def handover(self, role: str, comment: str) -> Handover:
        """What this agent meant to do. What somebody else wrote means nothing."""
        try:
            note = msgspec.json.decode(comment.removeprefix(_TOLD), type=Note)
        except msgspec.DecodeError:
            return Handover()
        return note.handover if hmac.compare_digest(note.proof, self._proof(role, note.handover)) else Handover()

    def _proof(self, role: str, handover: Handover) -> str:
        text = msgspec.json.encode(["hand over", role, handover.owner, handover.everything])
        return hmac.new(self.key, text, hashlib.sha256).hexdigest()[:32]
