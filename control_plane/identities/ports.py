"""What identities need from elsewhere. Single sign-on comes behind `SignIn`; certificates from the deployment's CA."""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from control_plane.identities.binding import Binding
from control_plane.identities.domain import Identity
from control_plane.kit.access import Principal
from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import Actor, Json, UnitOfWork


class Proven(msgspec.Struct, frozen=True):
    """Whoever signs in is this person."""

    identity: Identity
    acr: str = ""
    amr: tuple[str, ...] = ("pwd",)
    by_security_key: bool = False


class Reason(enum.StrEnum):
    WRONG = "wrong"  # unknown name, wrong password, disabled, a machine: never told apart to the caller
    LOCKED = "locked"  # too many failures lately
    BUSY = "busy"
    OFF = "off"  # nobody signs in this way here


class NotProven(msgspec.Struct, frozen=True):
    reason: Reason
    retry_after: int = 0  # seconds


class SignIn(Protocol):
    """One way of proving who one is."""

    async def prove(self, name: str, password: Secret, address: str = "") -> Proven | NotProven:
        """`address`: where the client is; empty: it has signed in already, and only its password is asked for."""


class ProofAgain(Protocol):
    """One way in which somebody who is signed in proves again who they are."""

    @property
    def method(self) -> str:
        """What the API calls it: password, security-key."""

    async def prove_again(self, principal: Principal, evidence: Secret) -> Proven | NotProven: ...


class BearerScheme(Protocol):
    """One kind of bearer token, told by how it begins."""

    @property
    def prefix(self) -> str: ...

    async def principal(self, uow: UnitOfWork, token: str) -> Principal | None:
        """None: unknown or over, or whose it is does nothing any more."""


class Consequence(Protocol):
    """What an identity's end means for another feature."""

    async def ended(self, uow: UnitOfWork, by: Actor, identity_ids: Sequence[str], reason: str) -> Mapping[str, Json]:
        """Ends it, in this transaction. What was ended, by name, for the one audit event that tells it. Called again
        when the identity is enabled again, for whatever came about in between."""


class SignedOut(msgspec.Struct, frozen=True):
    """Of whom, and which sign-ins. None: all but `keep`, those that ended by themselves too."""

    identity_id: str
    sign_ins: tuple[str, ...] | None
    keep: str = ""


class Dependents(Protocol):
    """What another feature lets people make with a sign-in, to be good when that has ended by itself."""

    async def signed_out(self, uow: UnitOfWork, by: Actor, which: SignedOut, reason: str) -> Mapping[str, Json]:
        """Ends what was made with these, and what was made with that in turn, in this transaction. What was ended, by
        name, for the one audit event that tells it."""


class Handover(Protocol):
    """What it means for another feature that a machine has another owner."""

    async def handed_over(
        self, uow: UnitOfWork, by: Actor, machine_id: str, former_owner_id: str, reason: str
    ) -> Mapping[str, Json]:
        """Ends what the former owner made for it and could have kept, in this transaction. What was ended, by name, for
        the one audit event that tells it."""


class NamedInDocuments(Protocol):
    """Which documents give something to whoever has a name."""

    async def naming(self, uow: UnitOfWork, what: Literal["identity", "group"], name: str) -> Sequence[str]:
        """The documents, as people say them."""

    async def named(self, uow: UnitOfWork, what: Literal["identity", "group"]) -> Collection[str]:
        """Every name that is in some document, whether or not anybody is called so."""


class AddressSources(Protocol):
    """Where the mail addresses of identities are from."""

    async def is_believed(self, uow: UnitOfWork, identity: Identity) -> bool:
        """False: whoever told the address of this one may not speak for it."""


class TargetNames(Protocol):
    async def known(self, uow: UnitOfWork) -> frozenset[str]: ...


class IssuedCertificate(msgspec.Struct, frozen=True):
    chain_pem: str
    ca_pem: str
    expires_at: datetime


class CertificateRequestError(ValueError):
    """The request cannot be signed; `args[0]` says why."""


class CertificateIssuer(Protocol):
    @property
    def certificates(self) -> bytes:
        """PEM: what others trust."""

    def issue(
        self,
        request: bytes,
        identity_id: str,
        credential_id: str,
        now: datetime,
        expires_at: datetime,
        binding: Binding = Binding(),  # noqa: B008 - frozen
    ) -> IssuedCertificate:
        """`request`: PKCS#10, PEM or DER. Raises CertificateRequestError."""
