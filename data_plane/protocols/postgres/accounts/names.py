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


class Note(msgspec.Struct, frozen=True):
    """The part of a comment that is read again. `owner`: to whom what the role owns may be handed; empty: to nobody."""

    deployment: str
    agent: str
    target: str
    lease: str
    session: str
    owner: str = ""
    proof: str = ""


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

    def comment(self, lease: Lease, owner: str) -> str:
        role = self.role(lease.id)
        proof = self._proof(role, owner) if owner else ""
        note = Note(self.deployment, self.agent, lease.target, lease.id, lease.session, owner, proof)
        return _TOLD + msgspec.json.encode(note).decode()

    def owner(self, role: str, comment: str) -> str:
        """To whom this agent meant to hand over what the role owns; empty: to nobody, or somebody else wrote it."""
        try:
            note = msgspec.json.decode(comment.removeprefix(_TOLD), type=Note)
        except msgspec.DecodeError:
            return ""
        return note.owner if note.owner and hmac.compare_digest(note.proof, self._proof(role, note.owner)) else ""

    def _proof(self, role: str, owner: str) -> str:
        return hmac.new(self.key, f"hand over\0{role}\0{owner}".encode(), hashlib.sha256).hexdigest()[:32]
