"""What approvals need from elsewhere. `directory.py` adapts the neighbouring features; `agents/wire.py` the wire."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from control_plane.approvals.domain import Asked, Chain, Person, Vote
from control_plane.kit.unit_of_work import UnitOfWork

# ------------------------------------------------------------------ the grant on the wire


class GrantWindow(msgspec.Struct, frozen=True):
    """More operations of the same shape in the same session, the first one included."""

    shape: bytes
    until_ms: int
    uses: int


class GrantContents(msgspec.Struct, frozen=True):
    """GrantPayload, field by field. `session_id` is empty for a ticket."""

    deployment: str
    agent_instance: str
    session_id: str
    credential_id: str
    requester_id: str
    target: str
    policy_version: int
    digest: bytes
    approval_id: str
    nonce: bytes
    not_before_ms: int
    execute_by_ms: int
    scope: str
    approvals: tuple[Vote, ...]
    most_rows: int | None = None  # the row guard; None: there is none
    window: GrantWindow | None = None  # only with the scope "window"


class GrantEncoder(Protocol):
    """Implemented by `agents/wire.py`."""

    def encode_grant(self, contents: GrantContents) -> bytes:
        """The serialized GrantPayload, deterministic. What it returns is what is signed and sent."""


# ------------------------------------------------------------------ who and what


class Subject(msgspec.Struct, frozen=True):
    """Who asks, for the card."""

    id: str
    name: str
    kind: str
    groups: tuple[str, ...]
    owner_id: str | None
    owner_name: str
    enabled: bool
    key_makers: tuple[str, ...] = ()  # who made keys of it that are still good, and may have kept one

    @property
    def answerable(self) -> frozenset[str]:
        """Who answers for it or could act as it: they never decide on what it asks."""
        return frozenset(one for one in (self.owner_id, *self.key_makers) if one)


class CredentialFacts(msgspec.Struct, frozen=True):
    """`owner_ids`: who answers for this credential or made it, beside the requester and its owner, and everybody on
    whose behalf it is. `chain` names those, the first one first: id, name, kind."""

    description: str
    valid: bool
    owner_ids: tuple[str, ...] = ()
    chain: tuple[Mapping[str, str], ...] = ()


class TargetFacts(msgspec.Struct, frozen=True):
    name: str
    protocol: str
    environment: str
    labels: dict[str, str]


class PlanRule(msgspec.Struct, frozen=True):
    """A policy lets plans be approved by this chain."""

    policy: str
    chain: str
    most: int  # operations in one plan


class SessionFacts(msgspec.Struct, frozen=True):
    id: str
    instance_id: str
    agent_name: str
    target: str
    requester_id: str
    credential_id: str
    client_address: str
    application_name: str
    open: bool


class People(Protocol):
    async def people(self, uow: UnitOfWork, identity_ids: Sequence[str]) -> Sequence[Person]:
        """As they are now; ids that are not known are left out."""

    async def parties(
        self, uow: UnitOfWork, identity_ids: Collection[str], requester_ids: Collection[str]
    ) -> tuple[Sequence[Person], Mapping[str, Subject]]:
        """As `people` and, by id, as `subject`."""

    async def named_in(self, uow: UnitOfWork, asked: Asked, until_ms: int | None = None) -> Sequence[Person]:
        """Everybody whom the sets of a chain name, machines and disabled ones too. On call are those whose turn it is
        now, or with `until_ms` at any time until then."""

    async def people_named(self, uow: UnitOfWork, names: Sequence[str]) -> Sequence[Person]:
        """Those whom chains and people call by name; names that are not known are left out."""

    async def subject(self, uow: UnitOfWork, identity_id: str) -> Subject | None: ...

    async def credential(self, uow: UnitOfWork, credential_id: str) -> CredentialFacts | None: ...

    async def sign_in(self, uow: UnitOfWork, credential_id: str) -> CredentialFacts:
        """What somebody called the control plane with. A person's sign-in that has ended stays valid: nothing depends
        on it any more. A service account's key that is revoked does not."""


class Rulebook(Protocol):
    async def chain(self, uow: UnitOfWork, name: str) -> Chain | None: ...

    async def target(self, uow: UnitOfWork, name: str) -> TargetFacts | None: ...

    async def fingerprint(self, uow: UnitOfWork, subject: Subject | None, chain: str, target: str) -> str:
        """Changes when anything changes that could decide otherwise: the policies that select this requester on this
        target, the chain, or the target. A request made under another one does not stand."""

    async def offer_fingerprint(self, uow: UnitOfWork, offer: str, chain: str, target: str) -> str:
        """Changes when the offer of access, what its group opens, the chain or the target changes."""

    async def plan_rules(self, uow: UnitOfWork, subject: Subject, target: str) -> Sequence[PlanRule]:
        """Of the policies that select this requester on this target: those that let plans be asked."""


class Sessions(Protocol):
    async def session(self, uow: UnitOfWork, session_id: str) -> SessionFacts | None: ...
