"""Where the credential for a target comes from. The client never sees it; it lives in memory as a `Secret`.

Three ports, one below the other. A protocol asks a `CredentialSource` for what a session signs in with. A source that
gives each session an account of its own stands on an `AccountProvider`, which knows how the target (or a Vault before
it) makes and removes accounts; leases, clean-up and alarms are the same for all of them. What the agent itself signs in
with is kept in a `SecretStore`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec

from data_plane.gate.interface import SessionFacts
from data_plane.identifiers import SessionId
from data_plane.policy.model import TargetSpec
from data_plane.runtime.secret import Secret


class PasswordCredential(msgspec.Struct, frozen=True):
    """`also`: what may be the password by the time of the sign-in, while the account is being rotated."""

    username: str
    password: Secret
    also: tuple[Secret, ...] = ()


class CertificateCredential(msgspec.Struct, frozen=True):
    """`certificate` in the form of its kind: X.509 as PEM chain, SSH as one line. `private_key`: PKCS#8 PEM."""

    username: str
    certificate: str
    private_key: Secret


class TokenCredential(msgspec.Struct, frozen=True):
    """A bearer token, as Kubernetes takes it."""

    token: Secret


class KeyCredential(msgspec.Struct, frozen=True):
    """What signs requests to AWS. `session_token` is empty for a lasting key."""

    access_key_id: str
    secret_access_key: Secret
    session_token: Secret


Credential = PasswordCredential | CertificateCredential | TokenCredential | KeyCredential


class CredentialError(Exception):
    """No credential can be had; `args[0]` says why and what to do, for the operator's log. It names no secret."""


class Need(msgspec.Struct, frozen=True, eq=False):
    """What a session is for. `actions`: those that policy may allow it without people (see `policy.reach`)."""

    session: SessionFacts
    spec: TargetSpec
    database: str
    actions: frozenset[str]


class CredentialSource(Protocol):
    """One target's. A source may make an account for each session (and must then take it back)."""

    async def obtain(self, need: Need) -> Credential:
        """Raises CredentialError."""

    async def signed_in(self, session: SessionId) -> None:
        """The session has signed in with it: from now on nobody needs to, nor may. Raises CredentialError: the session
        must not go on."""

    async def own(self) -> PasswordCredential:
        """For the agent's own reading of the target's catalogue. Raises CredentialError."""

    async def preview(self) -> PasswordCredential | None:
        """For impact previews: an account that can do less. None: there is none. Raises CredentialError."""

    def personal(self, session: SessionId) -> bool:
        """Whether what `obtain` gave is the session's own account, whose name means nothing to anybody else."""

    def lacks(self, session: SessionId, actions: Iterable[str]) -> bool:
        """Whether the session's account must be widened before an approved operation with these actions can run.
        Synchronous: asked for each operation that people approved, never for one that policy allows."""

    async def widen(self, session: SessionId, actions: Iterable[str]) -> None:
        """Until `narrow`. Raises CredentialError: nothing was given."""

    async def narrow(self, session: SessionId) -> None:
        """Takes back what `widen` gave. Raises CredentialError: then the session must end, and its account with it."""

    async def release(self, session: SessionFacts) -> None:
        """The session is over, or never came to be after `obtain`. Never raises, harmless twice."""


# ---------------------------------------------------------------- accounts for each session


class Lease(msgspec.Struct, frozen=True):
    """Written down durably before the account is made, so that whatever is made can be found again.

    `id`: 16 characters of a-z and 2-7. `principal` is what the target calls the account: made from the lease's id where
    the agent chooses the name, else filled in when it is known. `spec` as it was then: what was made at one address is
    removed there, wherever the target is by now."""

    id: str
    session: SessionId
    target: str
    provider: str
    principal: str
    database: str
    created_at: float  # Unix time
    expires_at: float  # nobody can sign in afterwards
    spec: TargetSpec


class Made(msgspec.Struct, frozen=True):
    credential: Credential
    principal: str
    expires_at: float = 0.0  # Unix time: the account itself ends then unless it is renewed, and its session with it


class Found(msgspec.Struct, frozen=True):
    """An account of ours that exists at the target. `lease` is empty when its name does not tell one."""

    principal: str
    lease: str
    can_sign_in: bool
    in_use: bool


class StuckError(Exception):
    """The account is still there, for `args[0]`; `disabled` tells whether anybody can still sign in with it."""

    def __init__(self, why: str, *, disabled: bool) -> None:
        super().__init__(why)
        self.disabled = disabled


class AccountProvider(Protocol):
    """Makes accounts at one target. Every call may be repeated after a crash and does what is left to do.

    Calls for one lease never overlap, and none is cancelled half-way because a client went away: a call that takes
    longer than `per_session.PATIENCE` seconds is, and then counts as a CredentialError. Of an account that was
    found without its lease, the lease says no more than id, principal, target and spec."""

    name: str  # for leases and reports: postgres-roles, vault-database

    def principal(self, lease_id: str) -> str:
        """Empty: the target chooses."""

    async def create(self, lease: Lease, need: Need) -> Made:
        """Raises CredentialError; whatever was made by then, `remove` takes away."""

    async def signed_in(self, lease: Lease) -> None:
        """Closes the account for further sign-ins, where each session signs in once. Raises CredentialError."""

    async def remove(self, lease: Lease) -> None:
        """Disables, ends what still runs under it, removes, in this order. Raises StuckError, or CredentialError when
        the target cannot be asked."""

    async def renew(self, lease: Lease) -> float:
        """The new `expires_at`; as it is where there is nothing to renew. Raises CredentialError."""

    async def existing(self, spec: TargetSpec) -> list[Found]:
        """For the janitor: all accounts at the target that this agent made, from whatever state directory. Raises
        CredentialError."""

    def lacks(self, lease: Lease, actions: Iterable[str]) -> bool: ...

    async def widen(self, lease: Lease, actions: Iterable[str]) -> None: ...

    async def narrow(self, lease: Lease) -> None: ...

    async def close(self) -> None:
        """Ends the connections that it keeps."""


class AccountReports(Protocol):
    """What the control plane is told of accounts, through the durable journal."""

    def leased(self, lease: Lease) -> None:
        """Called before the account is made."""

    def ended(self, lease: Lease, outcome: str, detail: str) -> None:
        """gone, disabled (it is still there, but nobody can sign in with it) or failed."""

    def alarm(self, kind: str, text: str) -> None:
        """Something an admin should see."""


# ---------------------------------------------------------------- what the agent itself signs in with


class SecretStore(Protocol):
    """One target's secret, wherever it is kept. Its text is a bare password, or a JSON object with `username` and
    `password`, as Vault and AWS Secrets Manager keep database accounts (`credentials.stored`)."""

    @property
    def writable(self) -> bool:
        """False: what is in it cannot be rotated from here."""

    async def read(self) -> Secret:
        """The newest value. Cached as long as it cannot have changed. Raises CredentialError."""

    async def write(self, value: Secret) -> None:
        """Durable when it returns, and what every other agent of the target reads from now on. Raises CredentialError:
        the old value stands."""
