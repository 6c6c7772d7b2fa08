"""What every protocol offers the agent, and what the agent gives it for one endpoint."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from data_plane.credentials.ports import AccountProvider, CredentialSource, PasswordCredential
from data_plane.credentials.rotation import Accounts
from data_plane.gate.admission import Admission
from data_plane.gate.interface import TargetFacts
from data_plane.gate.ports import Clock
from data_plane.identifiers import TargetName
from data_plane.policy.in_force import InForce
from data_plane.policy.model import MaskSpec, PolicySpec, TargetSpec
from data_plane.runtime.listener import Accepted
from data_plane.runtime.session import Sessions


class Process(msgspec.Struct, frozen=True):
    """`folder` is shared by the workers of one agent and entered by nobody else; `worker` names this one in it.
    `deployment` and `agent` tell the accounts made here from those of others at the same target."""

    folder: Path
    worker: str
    deployment: str = ""
    agent: str = ""


class Endpoint(msgspec.Struct, frozen=True, eq=False):
    """One target as clients reach it."""

    target: TargetName
    admission: Admission
    credentials: CredentialSource
    sessions: Sessions
    clock: Clock
    in_force: InForce
    mask_key: bytes  # keys the marks that stand for masked values
    tls: Callable[[], ssl.SSLContext | None] = lambda: None  # asked for each connection, so that it can be renewed
    tls_required: bool = False  # also of clients on this machine


Serve = Callable[[Accepted], Awaitable[None]]


class Examined(msgspec.Struct, frozen=True, eq=False):
    """A target whose account is looked at, with all that policy says of it. `options`: see the protocol's own."""

    target: TargetFacts
    spec: TargetSpec
    policies: tuple[PolicySpec, ...]
    masks: Mapping[str, MaskSpec]
    credential: PasswordCredential
    options: Mapping[str, str]
    preview: str = ""  # the name of the account that impact previews use; empty: there is none


class ExaminationError(Exception):
    """It could not be looked at; `args[0]` says why and what to do. It names no secret."""


class ProtocolService(Protocol):
    """One protocol in one process."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def rotating(self, spec: TargetSpec) -> Accounts:
        """How passwords of the target's accounts are changed."""

    def serving(self, endpoint: Endpoint) -> Serve:
        """What the listener of this endpoint calls for each connection."""

    def accounts(self, endpoint: Endpoint) -> AccountProvider:
        """What makes accounts for sessions of this endpoint. It signs in with `endpoint.credentials.own()`."""

    async def examine(self, examined: Examined) -> Mapping[str, Any]:
        """What the agent's account can do there beyond what policy could ever allow, and how to mend it; as JSON.
        Raises ExaminationError."""


ALPN: Mapping[str, tuple[str, ...]] = {"postgres": ("postgresql",)}
"""By protocol: what its listeners agree on in TLS."""
