"""What each gRPC method is for and which credential it takes, declared at the method; a server starts with no other.

    @called_with(Credential.CERTIFICATE, "serve")
    async def Connect(...): ...

The credential is asked for by TLS and looked up by the method itself, at every call; here it is said, so that it can be
read in one place and so that no method comes to be served of which nobody has said it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec
from google.protobuf.descriptor import ServiceDescriptor

F = TypeVar("F", bound=Callable[..., Any])


class Credential(enum.StrEnum):
    JOIN_TOKEN = "a join token"  # noqa: S105 - its name; made by an admin, good once
    CERTIFICATE = "the agent's certificate"


class Permission(enum.StrEnum):
    ENROL = "enrol"  # become an agent: of the one that the token was made for
    SERVE = "serve"  # as this agent: be told what it must know, report what happened
    RECORD = "record"  # hand over recordings of its own sessions
    SECRETS = "agent-secrets"  # fetch and store what it signs in with at its own targets


class Declared(msgspec.Struct, frozen=True):
    credential: Credential
    permission: Permission


def called_with(credential: Credential, permission: Permission) -> Callable[[F], F]:
    def declare(method: F) -> F:
        method.__declared__ = Declared(credential, permission)  # type: ignore[attr-defined]
        return method

    return declare


def declarations(service: ServiceDescriptor, servicer: object) -> Iterator[tuple[str, Declared]]:
    """Of every method of the service. Raises TypeError for one that says nothing, or that is not there."""
    for method in service.methods:
        declared = getattr(getattr(servicer, method.name, None), "__declared__", None)
        if not isinstance(declared, Declared):
            raise TypeError(f"{service.full_name}/{method.name} does not say which credential it takes")
        yield method.name, declared
