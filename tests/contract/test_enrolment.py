"""How an agent gets its certificates, over the wire."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from assentry.v1 import link_pb2 as pb
from assentry.v1 import link_pb2_grpc as stubs
from cryptography import x509

from control_plane.agents.authority import CertificateAuthority
from control_plane.kit.clock import SystemClock
from data_plane.link import channel, enrolment
from data_plane.link.enrolment import EnrolmentError
from data_plane.link.messages import LinkState
from data_plane.runtime.secret import Secret
from tests.contract.stack import ControlSide, changed, running_agent
from tests.support.sealing import files_of


async def test_an_agent_enrols_and_gets_certificates_for_its_own_keys(control: ControlSide) -> None:
    identity = await control.enrol()
    assert identity.deployment == "test"
    assert identity.signing_keys == {key.key_id: key.raw for key in control.world.keys.public_keys()}
    assert identity.listener_names() == ("127.0.0.1", "localhost")
    assert "PRIVATE KEY" in identity.client_key.decode()
    assert "PRIVATE" not in repr(identity)


async def test_a_join_token_is_good_once(control: ControlSide) -> None:
    """Invariant 12: and its use, as well as what came too late, is in the audit log."""
    token = await control.join_token()
    await control.enrol(token)
    with pytest.raises(EnrolmentError, match="make a new one"):
        await control.enrol(token)
    kinds = [(row.kind, row.subject) for row in await control.world.audited("agent.")]
    assert kinds == [("agent.enrolled", "demo"), ("agent.enrolment-refused", "demo")]


@pytest.mark.parametrize("reason", ["unknown", "expired", "other-agent"])
async def test_a_join_token_that_is_not_valid_says_nothing_of_why(control: ControlSide, reason: str) -> None:
    """Invariant 12: it cannot be guessed in steps."""
    token, agent = await control.join_token(), "demo"
    if reason == "unknown":
        token = Secret(token.reveal() + "x")
    elif reason == "expired":
        control.world.clock.advance(3601)
    else:
        agent = "another"
    with pytest.raises(EnrolmentError, match="used, expired or unknown"):
        await control.enrol(token, agent)


async def test_a_control_plane_of_another_authority_is_not_believed(control: ControlSide, tmp_path: Path) -> None:
    other = CertificateAuthority.open(tmp_path / "other", SystemClock().now(), files_of(tmp_path))
    token = await control.join_token()
    with pytest.raises(EnrolmentError, match=r"no control plane at .* vouches for"):
        await control.enrol(token, ca=other.certificates)
    await control.enrol(token)  # the token never left the agent


async def test_enrolment_gives_nothing_on_the_link_port_and_the_link_nothing_without_a_certificate(
    control: ControlSide,
) -> None:
    identity = await control.enrol()
    async with channel.link(control.link_address, identity) as connection:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stubs.EnrolmentStub(connection).Enrol(pb.EnrolRequest(join_token="x"))
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    for address in (control.link_address, control.enrolment_address):
        async with channel.enrolment(address, control.feature.authority.certificates) as connection:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stubs.LinkStub(connection).Renew(pb.RenewRequest())
            assert refused.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED}


async def test_certificates_are_renewed_with_new_keys_and_the_old_ones_stay_good(
    control: ControlSide, tmp_path: Path
) -> None:
    old = await control.enrol()
    new = await enrolment.renew(old, address=control.link_address, listener_names=("db.example",))
    assert new.client_key != old.client_key
    assert new.client_certificate != old.client_certificate
    assert new.listener_names() == ("db.example",)
    for name, identity in (("old", old), ("new", new)):
        async with running_agent(tmp_path / name, identity, control.link_address) as agent:
            await agent.until(lambda agent=agent: agent.link.reachable)


async def test_certificates_are_due_for_renewal_at_two_thirds_of_their_life(control: ControlSide) -> None:
    identity = await control.enrol()
    certificate = x509.load_pem_x509_certificate(identity.client_certificate)
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert identity.renewal_at() == pytest.approx((certificate.not_valid_before_utc + life * 2 / 3).timestamp())
    assert life < timedelta(days=4)


async def test_a_certificate_that_was_never_given_out_opens_nothing(control: ControlSide, tmp_path: Path) -> None:
    """The CA signs requesters' certificates too; one of those is not an agent."""
    identity = await control.enrol()
    clock = SystemClock()
    request = enrolment._request(key := enrolment._new_key(), "demo", ())
    issued = control.feature.authority.issue(request, "idn_x", "crd_x", clock.now(), clock.now() + timedelta(hours=1))
    stranger = changed(identity, client_key=enrolment._pem(key), client_certificate=issued.chain_pem.encode())
    async with running_agent(tmp_path / "agent", stranger, control.link_address) as agent:
        await agent.until(lambda: agent.link.state is LinkState.REFUSED)
        assert agent.side.lease_ends == ["agent-disabled"]
