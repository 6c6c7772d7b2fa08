"""Another certificate authority takes the place of the first one, and an agent that renews stays connected."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from control_plane.agents import rotation
from control_plane.kit.clock import SystemClock
from data_plane.link import enrolment
from data_plane.link.identity import Identity
from tests.contract.stack import ControlSide, running_agent

AT_ONCE = timedelta(0)


async def restarted_after(control: ControlSide, step: str) -> None:
    directory, now = control.folder / "ca", SystemClock().now()
    match step:
        case "prepare":
            rotation.prepare(directory, now, control.secrets.sealing.files)
        case "switch":
            rotation.switch(directory, now, AT_ONCE)
        case "forget":
            rotation.forget(directory, now, AT_ONCE)
    await control.replaced()


async def renewed(control: ControlSide, identity: Identity) -> Identity:
    return await enrolment.renew(identity, address=control.link_address, listener_names=("localhost",))


async def connects(control: ControlSide, identity: Identity, folder: Path) -> bool:
    async with running_agent(folder, identity, control.link_address) as agent:
        await agent.until(lambda: agent.link.reachable or agent.link._failures)
        return agent.link.reachable


async def test_an_agent_that_renews_goes_through_a_rotation_and_one_that_does_not_is_left_behind(
    control: ControlSide, tmp_path: Path
) -> None:
    first = await control.enrol()
    assert first.ca_certificates.count(b"BEGIN CERTIFICATE") == 1
    await restarted_after(control, "prepare")
    second = await renewed(control, first)
    assert second.ca_certificates.count(b"BEGIN CERTIFICATE") == 2
    await restarted_after(control, "switch")
    assert await connects(control, second, tmp_path / "second"), "its certificate is of the old one, which is trusted"
    assert not await connects(control, first, tmp_path / "first"), "it has never heard of the new one"
    third = await renewed(control, second)
    await restarted_after(control, "forget")
    assert await connects(control, third, tmp_path / "third")
    assert not await connects(control, second, tmp_path / "late"), "the old one is trusted no more"
    fourth = await renewed(control, third)
    assert fourth.ca_certificates.count(b"BEGIN CERTIFICATE") == 1
    assert fourth.ca_certificates not in first.ca_certificates
