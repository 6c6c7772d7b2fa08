"""Which group roles a session has, and which it lacks for an operation that people approved. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from data_plane.policy.model import SessionRoles
from data_plane.protocols.postgres.accounts.names import Handover

DDL: Final = "ddl"


@dataclass
class Rights:
    """Of one session's role, as long as it lives in this process."""

    spec: SessionRoles
    owner: str  # to whom what sessions of this target make belongs; empty: to nobody
    runs_as: str  # the owner, in a session that policy allows ddl; empty: the session's own role
    given: frozenset[str]
    everything: bool  # what it owns may be given to the owner, whatever it is: ddl was allowed or approved
    extra: frozenset[str] = frozenset()  # for the operation that runs now

    @classmethod
    def of(cls, spec: SessionRoles, actions: frozenset[str]) -> Rights:
        owner = spec.owner or next(iter(spec.roles.get(DDL, ())), "")
        runs_as = owner if DDL in actions else ""
        return cls(spec, owner, runs_as, _roles(spec, owner, actions), bool(runs_as))

    @property
    def handover(self) -> Handover:
        return Handover(self.owner, self.everything)

    def lacking(self, actions: Iterable[str]) -> frozenset[str]:
        """A session that runs as the owner lacks nothing that could be given to its own role."""
        if self.runs_as:
            return frozenset()
        return _roles(self.spec, self.owner, actions) - self.given

    def may_make(self, actions: Iterable[str]) -> bool:
        """Whether, with these, the role itself comes to own what the owner should have."""
        return bool(self.owner) and not self.runs_as and DDL in actions


def _roles(spec: SessionRoles, owner: str, actions: Iterable[str]) -> frozenset[str]:
    named = {role for action in actions for role in spec.roles.get(action, ())}  # type: ignore[call-overload]
    return frozenset(named | ({owner} if owner and DDL in actions else set()))
