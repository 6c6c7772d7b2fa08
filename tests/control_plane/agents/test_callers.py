"""Every gRPC method says what it is for and which credential it takes."""

from __future__ import annotations

import pytest
from assentry.v1 import link_pb2 as pb

from control_plane.agents.callers import Credential, declarations
from tests.support.who_may import methods


def test_every_grpc_method_says_what_it_is_for_and_which_credential_it_takes():
    found = {f"{service}/{method}": one for service, method, one in methods()}
    assert {name for name, one in found.items() if one.credential is Credential.JOIN_TOKEN} == {"Enrolment/Enrol"}
    assert len(found) == sum(len(service.methods) for service in pb.DESCRIPTOR.services_by_name.values())


def test_a_server_does_not_start_with_a_method_that_says_nothing():
    class Forgetful:
        async def Enrol(self) -> None: ...

    with pytest.raises(TypeError, match="Enrolment/Enrol"):
        list(declarations(pb.DESCRIPTOR.services_by_name["Enrolment"], Forgetful()))
