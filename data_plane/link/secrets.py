"""Secrets that the control plane keeps sealed for the targets of this agent: fetched when first needed, kept in memory.

Each is sealed by HPKE (RFC 9180) to a key of that one call, bound to deployment, target and version, beneath the mutual
TLS of the link. While the control plane is away, what was fetched serves on; what was not cannot be had, and no session
opens. A version below one that was seen before is refused: somebody has put an old value back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

import grpc
import msgspec
import structlog
from assentry.v1 import link_pb2 as pb
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from data_plane.credentials.ports import CredentialError
from data_plane.identifiers import TargetName
from data_plane.runtime.secret import Secret

log = structlog.get_logger(__name__)
T = TypeVar("T")

_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_CONNECT_SECONDS: Final = 5.0  # for a link that is just coming up
_CALL_SECONDS: Final = 30.0  # a wrapping key may be far away
_TRIES: Final = 3
_PASSING: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})


class Calls(Protocol):
    """The two calls of the link's stub."""

    def FetchSecret(  # noqa: N802 - gRPC's name
        self, request: pb.FetchSecretRequest, /, *, timeout: float
    ) -> Awaitable[pb.FetchSecretResponse]: ...

    def StoreSecret(  # noqa: N802 - gRPC's name
        self, request: pb.StoreSecretRequest, /, *, timeout: float
    ) -> Awaitable[pb.StoreSecretResponse]: ...


class BrokenOffError(Exception):
    """The connection has ended in the middle of a call."""


class _Kept(msgspec.Struct, frozen=True):
    version: int
    value: Secret


class SealedSecrets:
    """Of one process: the stores of its targets, and what the stream tells of them."""

    def __init__(self, deployment: str, calls: Callable[[], Awaitable[Calls]], name: Callable[[str], str]) -> None:
        """`calls`: once there is a connection. `name`: what the target's document calls its secret now; empty: none."""
        self.deployment = deployment
        self._calls = calls
        self._name = name
        self._stores: dict[str, SealedSecret] = {}

    def store(self, target: TargetName) -> SealedSecret:
        if target not in self._stores:
            self._stores[target] = SealedSecret(target, self)
        return self._stores[target]

    def changed(self, target: str, version: int) -> None:
        store = self._stores.get(target)
        if store is not None:
            store.changed(version)

    def documents_changed(self) -> None:
        """What no document of this agent names any more is not kept in memory."""
        for store in self._stores.values():
            store.renamed()

    def named(self, target: str) -> str:
        return self._name(target)

    async def call(self, make: Callable[[Calls], Awaitable[T]]) -> T:
        """Raises CredentialError, AioRpcError, or BrokenOffError."""
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                calls = await self._calls()
        except TimeoutError as error:
            raise CredentialError("the control plane, which keeps this target's secret, is out of reach") from error
        try:
            return await make(calls)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise BrokenOffError from error  # gRPC says so when the connection is closed beneath a call


class SealedSecret:
    """Implements `credentials.ports.SecretStore` for one target."""

    writable = True

    def __init__(self, target: TargetName, secrets: SealedSecrets) -> None:
        self._target = target
        self._secrets = secrets
        self._turn = asyncio.Lock()
        self._name = ""
        self._kept: _Kept | None = None
        self._least = 0  # the highest version that was seen or told of
        self._failed_at, self._failure = 0.0, ""

    async def read(self) -> Secret:
        """Whoever waited for another's fetch is told its failure, instead of waiting for one's own."""
        clock = asyncio.get_running_loop().time
        asked_at = clock()
        async with self._turn:
            if self._failure and self._failed_at >= asked_at:
                raise CredentialError(self._failure)
            try:
                return (await self._current()).value
            except CredentialError as error:
                self._failed_at, self._failure = clock(), str(error)
                raise

    async def write(self, value: Secret) -> None:
        async with self._turn:
            kept = await self._current()
            version = await self._stored(kept.version, value)
            self._least = max(self._least, version)
            self._kept = _Kept(version, value)

    def changed(self, version: int) -> None:
        """Also for a fetch that is under way. A version that is lower is never what is used: `_current` refuses it."""
        self._least = max(self._least, version)
        if self._kept is not None and self._kept.version != version:
            self._kept = None

    def renamed(self) -> None:
        """Another secret counts its versions anew."""
        name = self._secrets.named(self._target)
        if name != self._name:
            self._name, self._kept, self._least = name, None, 0

    # ------------------------------------------------------------ calls

    async def _current(self) -> _Kept:
        """Raises CredentialError."""
        self.renamed()
        if not self._name:
            raise CredentialError(f"target {self._target!r} names no secret any more")
        for _ in range(_TRIES):
            if self._kept is None:
                name, fetched = self._name, await self._fetched()
                if name == self._name and fetched.version >= self._least:  # both may have changed meanwhile
                    self._kept = fetched
            if self._kept is not None:
                self._least = max(self._least, self._kept.version)
                return self._kept
        log.critical("the control plane gave an older value of a secret", target=self._target, least=self._least)
        raise CredentialError(
            f"the control plane has an older value of {self._name!r} than version {self._least}, which it had before: "
            "if its database was restored on purpose, set the secret again and restart this agent"
        )

    async def _fetched(self) -> _Kept:
        key = X25519PrivateKey.generate()
        request = pb.FetchSecretRequest(target=self._target, recipient_key=key.public_key().public_bytes_raw())
        try:
            answer = await self._secrets.call(lambda calls: calls.FetchSecret(request, timeout=_CALL_SECONDS))
        except (grpc.aio.AioRpcError, BrokenOffError) as error:
            raise CredentialError(self._told("gives no secret", error)) from None
        parts = (b"assentry-secret-v1", self._secrets.deployment.encode(), self._target.encode())
        info = b"\0".join((*parts, str(answer.version).encode()))
        try:
            value = _SUITE.decrypt(answer.sealed, key, info=info).decode()
        except (InvalidTag, ValueError) as error:
            raise CredentialError(f"the secret of {self._target!r} came sealed for something else") from error
        log.info("fetched the secret of a target", target=self._target, version=answer.version)
        return _Kept(answer.version, Secret(value))

    async def _stored(self, expected: int, value: Secret) -> int:
        """An answer that is lost is asked for again. Raises CredentialError."""
        request = pb.StoreSecretRequest(target=self._target, expected_version=expected, value=value.reveal())
        for tries_left in reversed(range(_TRIES)):
            try:
                return (
                    await self._secrets.call(lambda calls: calls.StoreSecret(request, timeout=_CALL_SECONDS))
                ).version
            except (grpc.aio.AioRpcError, BrokenOffError) as error:
                self._kept = None  # whatever happened, the next one who reads learns what is stored
                passes = isinstance(error, BrokenOffError) or error.code() in _PASSING
                if not passes or not tries_left:
                    raise CredentialError(self._told("does not store the secret", error)) from None
        raise AssertionError("unreachable")

    def _told(self, what: str, error: grpc.aio.AioRpcError | BrokenOffError) -> str:
        if isinstance(error, BrokenOffError):
            why = "the link has ended"
        else:
            why = error.details() or error.code().name.lower()
        return f"the control plane {what} of {self._target!r}: {why}"
