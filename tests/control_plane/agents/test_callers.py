"""Every gRPC method says what it is for and which credential it takes."""

from __future__ import annotations

import inspect
from typing import Any, cast

import grpc
import pytest
from assentry.v1 import link_pb2 as pb

from control_plane.agents.callers import Credential, declarations
from control_plane.agents.servicer import LinkServicer
from tests.support.who_may import methods


class AbortedError(Exception):
    pass


class NoCertificate:
    """The context of a call that came without one."""

    def auth_context(self) -> dict[str, list[bytes]]:
        return {}

    async def abort(self, code: grpc.StatusCode, reason: str) -> None:
        raise AbortedError(code, reason)


@pytest.mark.parametrize("name", [method for service, method, _ in methods() if service == "Link"])
async def test_a_method_that_takes_the_agents_certificate_does_nothing_without_one(name: str):
    servicer = LinkServicer(cast("Any", None), cast("Any", None), cast("Any", None))
    called = getattr(servicer, name)(None, NoCertificate())
    with pytest.raises(AbortedError) as refused:
        if inspect.isasyncgen(called):
            await anext(called)
        else:
            await called
    assert refused.value.args[0] is grpc.StatusCode.UNAUTHENTICATED


def test_every_grpc_method_says_what_it_is_for_and_which_credential_it_takes():
    found = {f"{service}/{method}": one for service, method, one in methods()}
    assert {name for name, one in found.items() if one.credential is Credential.JOIN_TOKEN} == {"Enrolment/Enrol"}
    assert len(found) == sum(len(service.methods) for service in pb.DESCRIPTOR.services_by_name.values())


def test_a_server_does_not_start_with_a_method_that_says_nothing():
    class Forgetful:
        async def Enrol(self) -> None: ...

    with pytest.raises(TypeError, match="Enrolment/Enrol"):
        list(declarations(pb.DESCRIPTOR.services_by_name["Enrolment"], Forgetful()))
