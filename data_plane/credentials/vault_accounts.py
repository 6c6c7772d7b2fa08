"""Accounts that Vault or OpenBao makes: the dynamic secrets of its engines, one for each session.

Each account hangs on a token of its own, an orphan that lives for ten minutes unless it is renewed: when the agent dies
anywhere between asking and writing down what it got, Vault ends token and account by itself, and so it does when it was
out of reach for longer. The agent's policy in Vault needs:

    path "database/creds/ROLE"           { capabilities = ["read"] }     # aws/creds/ROLE; kubernetes/creds/ROLE: update
    path "auth/token/create-orphan"      { capabilities = ["update"] }
    path "sys/leases/renew"              { capabilities = ["update"] }
    path "sys/leases/revoke"             { capabilities = ["update"] }

What the account may do is written in the role there, for every session alike: nothing can be widened for one operation.
An STS token of the AWS engine cannot be revoked; it ends when Vault says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from data_plane.credentials.ports import (
    Credential,
    CredentialError,
    Found,
    KeyCredential,
    Lease,
    Made,
    Need,
    PasswordCredential,
    StuckError,
    TokenCredential,
)
from data_plane.credentials.vault import Answer, Vault, VaultError
from data_plane.gate.ports import Clock
from data_plane.policy.model import TargetSpec
from data_plane.runtime.secret import Secret

LIFETIME: Final = 600.0  # seconds that an account lives on without the agent
_SURELY_ENDED: Final = LIFETIME + 120.0  # after its lease was written down: Vault's own end of it included


class Engine(msgspec.Struct, frozen=True):
    """One kind of engine: how an account is asked for, and where it stands in the answer."""

    name: str
    method: str
    shape: Callable[[Answer], tuple[str, Credential]]  # what the account is called, and how to sign in with it


def _database(data: Answer) -> tuple[str, Credential]:
    return data["username"], PasswordCredential(data["username"], Secret(data["password"]))


def _aws(data: Answer) -> tuple[str, Credential]:
    session = data.get("session_token") or data.get("security_token") or ""
    return data["access_key"], KeyCredential(data["access_key"], Secret(data["secret_key"]), Secret(session))


def _kubernetes(data: Answer) -> tuple[str, Credential]:
    name = f"{data['service_account_namespace']}/{data['service_account_name']}"
    return name, TokenCredential(Secret(data["service_account_token"]))


DATABASE: Final = Engine("vault-database", "GET", _database)
AWS: Final = Engine("vault-aws", "GET", _aws)
KUBERNETES: Final = Engine("vault-kubernetes", "POST", _kubernetes)


class Issued(msgspec.Struct, frozen=True):
    """What Vault gave. `lease` is Vault's; `seconds`: it ends then unless it is renewed."""

    principal: str
    credential: Credential
    lease: str
    token: Secret
    seconds: float


class Dynamic:
    """One role of one engine. All of it blocks; every call raises CredentialError."""

    def __init__(
        self, vault: Vault, engine: Engine, mount: str, role: str, values: Mapping[str, object] | None = None
    ) -> None:
        self.vault, self.engine = vault, engine
        self._path = f"{mount}/creds/{role}"
        self._values = values  # of the request, where the engine takes some: kubernetes_namespace

    def issue(self, told: Mapping[str, str]) -> Issued:
        """`told` is shown to who looks at the token in Vault."""
        wanted = {"ttl": f"{LIFETIME:.0f}s", "renewable": True, "display_name": "assentry", "meta": dict(told)}
        made = self.vault.ask("POST", "auth/token/create-orphan", wanted)["auth"]
        token = Secret(made["client_token"])
        try:
            answer = self.vault.ask(self.engine.method, self._path, self._values, token.reveal())
            principal, credential = self.engine.shape(answer["data"])
            seconds = min(float(made["lease_duration"]), float(answer["lease_duration"]))
            return Issued(principal, credential, answer["lease_id"], token, seconds)
        except (KeyError, TypeError):
            self.end(token)
            raise CredentialError(f"{self.vault}: {self._path}: this is no account of {self.engine.name}") from None
        except BaseException:
            self.end(token)
            raise

    def renew(self, lease: str, token: Secret) -> float:
        """For how many seconds from now."""
        wanted = {"increment": int(LIFETIME)}
        token_left = self.vault.ask("POST", "auth/token/renew-self", wanted, token.reveal())["auth"]["lease_duration"]
        if not lease:
            return float(token_left)
        left = self.vault.ask("POST", "sys/leases/renew", {"lease_id": lease, **wanted})["lease_duration"]
        return min(float(token_left), float(left))

    def revoke(self, lease: str) -> None:
        """Done when it returns; of one that is not there any more too."""
        self.vault.ask("POST", "sys/leases/revoke", {"lease_id": lease, "sync": True})

    def end(self, token: Secret) -> None:
        """The token, and whatever hangs on it. Never raises: it ends by itself."""
        try:
            self.vault.ask("POST", "auth/token/revoke-self", token=token.reveal())
        except CredentialError:
            return


class VaultAccounts:
    """Implements `ports.AccountProvider`. The principal is the account's name and Vault's lease of it."""

    def __init__(self, dynamic: Dynamic, clock: Clock) -> None:
        self.name = dynamic.engine.name
        self._dynamic, self._vault, self._clock = dynamic, dynamic.vault, clock
        self._tokens: dict[str, Secret] = {}

    def principal(self, lease_id: str) -> str:
        del lease_id
        return ""

    async def create(self, lease: Lease, need: Need) -> Made:
        if need.spec.credential.session_roles is not None:
            raise CredentialError(
                f"{lease.target} names session_roles, and this agent takes accounts from Vault: choose one of them"
            )
        told = {"assentry_lease": lease.id, "session": lease.session, "target": lease.target}
        asked_at = self._clock.now()
        issued = await self._vault.run(
            lambda: self._dynamic.issue(told), undo=lambda late: self._dynamic.end(late.token)
        )
        self._tokens[lease.id] = issued.token
        return Made(issued.credential, f"{issued.principal} {issued.lease}", asked_at + issued.seconds)

    async def signed_in(self, lease: Lease) -> None:
        """Vault's accounts sign in as often as their role lets them."""

    async def remove(self, lease: Lease) -> None:
        vault_lease = lease.principal.rpartition(" ")[2]
        token = self._tokens.get(lease.id)
        if not lease.principal:
            self._never_told(lease)
        elif vault_lease:
            await self._revoked(lease, vault_lease)
        if token is not None:
            await self._vault.run(lambda: self._dynamic.end(token))
            del self._tokens[lease.id]

    def _never_told(self, lease: Lease) -> None:
        """Whether there is an account nobody knows but Vault, which ends it when nobody renews its token."""
        if self._clock.now() < lease.created_at + _SURELY_ENDED:
            raise CredentialError(f"{self._vault} did not answer: if it made an account, it ends it within 12 minutes")

    async def _revoked(self, lease: Lease, vault_lease: str) -> None:
        try:
            await self._vault.run(lambda: self._dynamic.revoke(vault_lease))
        except VaultError as error:
            if error.status == 400:  # it was asked, and the target did not let it
                raise StuckError(f"{self._vault} cannot revoke {lease.principal}: {error}", disabled=False) from None
            raise

    async def renew(self, lease: Lease) -> float:
        token = self._tokens.get(lease.id)
        if token is None:
            return lease.expires_at
        vault_lease, asked_at = lease.principal.rpartition(" ")[2], self._clock.now()
        return asked_at + await self._vault.run(lambda: self._dynamic.renew(vault_lease, token))

    async def existing(self, spec: TargetSpec) -> list[Found]:
        """Nothing: an account that no lease of ours names ends by itself, and telling whose it is would need `sudo`."""
        del spec
        return []

    def lacks(self, lease: Lease, actions: Iterable[str]) -> bool:
        """Never: the account is as wide for every operation."""
        del lease, actions
        return False

    async def widen(self, lease: Lease, actions: Iterable[str]) -> None:
        del lease, actions

    async def narrow(self, lease: Lease) -> None:
        del lease

    async def close(self) -> None:
        """What is left ends by itself."""


class VaultOwnAccount:
    """Implements `ports.SecretStore`: the agent's own account, renewed while it is used, else made anew."""

    writable = False

    def __init__(self, dynamic: Dynamic, clock: Clock, target: str) -> None:
        self._dynamic, self._vault, self._clock = dynamic, dynamic.vault, clock
        self._target = target
        self._turn = asyncio.Lock()
        self._kept: tuple[Issued, float] | None = None

    async def read(self) -> Secret:
        async with self._turn:
            if self._kept is None or not await self._lives(*self._kept):
                self._kept = await self._new()
            credential: Any = self._kept[0].credential
        told = {"username": credential.username, "password": credential.password.reveal()}
        return Secret(msgspec.json.encode(told).decode())

    async def _lives(self, issued: Issued, ends_at: float) -> bool:
        asked_at = self._clock.now()
        if ends_at - asked_at > issued.seconds / 2:
            return True
        try:
            seconds = await self._vault.run(lambda: self._dynamic.renew(issued.lease, issued.token))
        except CredentialError:
            return False
        self._kept = issued, asked_at + seconds
        return seconds > issued.seconds / 2  # less: as old as its role lets it become

    async def _new(self) -> tuple[Issued, float]:
        asked_at, told = self._clock.now(), {"target": self._target}
        issued = await self._vault.run(
            lambda: self._dynamic.issue(told), undo=lambda late: self._dynamic.end(late.token)
        )
        return issued, asked_at + issued.seconds

    async def write(self, value: Secret) -> None:
        del value
        raise CredentialError(f"{self._vault} makes this account: nothing of it is written from here")
