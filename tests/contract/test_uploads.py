"""Recordings on their way to the control plane: resumed after a cut, acknowledged, refused when broken."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import grpc
import pytest
from assentry.v1.link_pb2_grpc import LinkStub
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from control_plane.kit.unit_of_work import SYSTEM
from control_plane.recordings.domain import Status
from data_plane.link import channel, wire
from data_plane.link.identity import Identity
from data_plane.link.uploads import GrpcUploads
from data_plane.recording.shelf import Shelf
from data_plane.recording.upload import UploadInterruptedError
from data_plane.recording.writer import Compressor, RecordingWriter
from tests.contract.cutting import CuttingProxy
from tests.contract.stack import AGENT, ControlSide, RunningAgent, running_agent


def record(shelf: Shelf, session_id: str, segments: int, *, key: Ed25519PrivateKey | None = None) -> bytes:
    """A whole recording in the spool; its chain hash."""
    writer, compressor = RecordingWriter(session_id), Compressor()
    shelf.begin(session_id)
    for number in range(segments):
        data = writer.chunk(compressor.pack([("input", number, number, f"SELECT {number} -- {'x' * 2000}", ())]))
        shelf.append(writer, data)
        writer.written(data)
        shelf.seal(writer)
    end = writer.end(key.sign if key else None)
    shelf.end(session_id, end)
    return end.chain_hash


async def stored(control: ControlSide, session_id: str):
    async with control.world.units.reading() as uow:
        whole = await control.world.recordings.whole(uow, session_id)
    return whole.row if whole else None


async def test_a_recording_is_stored_and_the_spool_forgets_it(control: ControlSide, agent: RunningAgent) -> None:
    facts = agent.open_session()
    await agent.acknowledged()
    chain = record(agent.shelf, facts.id, 3)
    agent.uploader.sealed(facts.id)
    await agent.until(lambda: agent.shelf.listing() == [])
    row = await stored(control, facts.id)
    assert (row.status, row.next_segment, row.chain_hash) == (Status.TRUNCATED, 3, chain)
    assert agent.uploader.idle


async def test_an_upload_goes_on_where_it_was_cut(control: ControlSide, identity: Identity, tmp_path: Path) -> None:
    """Cut after every piece of data once: each segment is stored once, in its place."""
    cuts = 30
    async with (
        CuttingProxy(control.feature.server.link_port, lambda n: 12 + n if n < cuts else None) as proxy,
        running_agent(tmp_path / "agent", identity, proxy.address) as agent,
    ):
        sessions = []
        async with asyncio.timeout(60):
            while proxy.connections <= cuts or agent.shelf.listing():
                if proxy.connections <= cuts:
                    facts = agent.open_session()
                    sessions.append((facts.id, record(agent.shelf, facts.id, 4)))
                    agent.uploader.sealed(facts.id)
                await asyncio.sleep(0.05)
    assert proxy.cuts > 10
    for session_id, chain in sessions:
        row = await stored(control, session_id)
        assert (row.status, row.next_segment, row.chain_hash) == (Status.TRUNCATED, 4, chain)


async def test_segments_of_a_session_that_goes_on_are_uploaded_as_they_are_sealed(
    control: ControlSide, agent: RunningAgent
) -> None:
    facts = agent.open_session()
    await agent.acknowledged()
    writer, compressor = RecordingWriter(facts.id), Compressor()
    agent.shelf.begin(facts.id)
    for number in range(3):
        data = writer.chunk(compressor.pack([("input", number, number, "SELECT 1", ())]))
        agent.shelf.append(writer, data)
        writer.written(data)
        agent.shelf.seal(writer)
        agent.uploader.sealed(facts.id)
        async with asyncio.timeout(5):
            while (row := await stored(control, facts.id)) is None or row.next_segment <= number:
                await asyncio.sleep(0.01)
    assert row.status == Status.RECEIVING
    assert agent.shelf.listing() != []


async def test_a_segment_that_does_not_continue_the_chain_is_refused_and_kept_as_evidence(
    control: ControlSide, agent: RunningAgent, tmp_path: Path
) -> None:
    facts = agent.open_session()
    await agent.acknowledged()
    record(agent.shelf, facts.id, 3)
    file = tmp_path / "agent" / "spool" / facts.id / "00000001.segment"
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    file.write_bytes(damaged)
    agent.uploader.sealed(facts.id)
    await agent.until(lambda: agent.uploader.idle)
    row = await stored(control, facts.id)
    assert row.status == Status.BROKEN
    assert file.exists()
    kinds = [one.kind for one in await control.world.audited("recording.")]
    assert kinds == ["recording.broken"]


async def test_a_recording_of_anothers_session_is_refused(
    control: ControlSide, agent: RunningAgent, tmp_path: Path
) -> None:
    facts = agent.open_session()
    await agent.acknowledged()
    stranger = await control.enrol()
    async with running_agent(tmp_path / "stranger", stranger, control.link_address) as other:
        await other.until(lambda: other.link.reachable)
        record(other.shelf, facts.id, 1)
        other.uploader.sealed(facts.id)
        await other.until(lambda: other.uploader.idle)
        assert other.shelf.listing() != []
    assert await stored(control, facts.id) is None


async def test_what_is_signed_is_verified_with_the_keys_of_hello(
    control: ControlSide, identity: Identity, tmp_path: Path
) -> None:
    key = Ed25519PrivateKey.generate()
    shown = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    async with running_agent(tmp_path / "agent", identity, control.link_address, recording_keys=(shown,)) as agent:
        await agent.until(lambda: agent.link.reachable)
        good, forged = agent.open_session(), agent.open_session()
        await agent.acknowledged()
        record(agent.shelf, good.id, 2, key=key)
        record(agent.shelf, forged.id, 2, key=Ed25519PrivateKey.generate())
        for facts in (good, forged):
            agent.uploader.sealed(facts.id)
        await agent.until(lambda: agent.uploader.idle)
    assert (await stored(control, good.id)).status == Status.COMPLETE
    assert (await stored(control, forged.id)).status == Status.BROKEN
    assert json.loads((await control.world.audited("recording.complete"))[0].data)["segments"] == 2


async def test_a_disabled_agent_hands_over_no_recording(
    control: ControlSide, agent: RunningAgent, identity: Identity
) -> None:
    facts = agent.open_session()
    await agent.acknowledged()
    async with control.world.units() as uow:
        await control.feature.service.set_disabled(uow, SYSTEM, AGENT, disabled=True)
    instance = agent.journal.instance_id
    async with (
        channel.link(control.link_address, identity) as connection,
        GrpcUploads(LinkStub(connection), instance).open() as upload,
    ):
        with pytest.raises(UploadInterruptedError, match="this agent is disabled or its certificate ended"):
            await upload.begin(facts.id, instance)
    assert await stored(control, facts.id) is None


async def test_an_upload_that_does_not_begin_is_ended(
    control: ControlSide, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.agents.servicer._BEGIN_SECONDS", 0.01)
    async with channel.link(control.link_address, identity) as connection:
        silent = LinkStub(connection).UploadRecording(None)
        assert await silent.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        wrong = LinkStub(connection).UploadRecording(None)
        await wrong.write(wire.recording_segment(0, b"x"))
        assert await wrong.code() is grpc.StatusCode.INVALID_ARGUMENT
