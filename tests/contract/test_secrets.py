"""A secret on its way from the control plane to the agent that serves its target, and to no other; and back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from assentry.v1 import link_pb2 as pb
from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlmodel import col, update

from control_plane.kit.unit_of_work import SYSTEM
from control_plane.secrets.tables import SecretRow
from data_plane.credentials.ports import CredentialError
from data_plane.identifiers import TargetName
from data_plane.link.identity import Identity
from data_plane.link.secrets import _SUITE, SealedSecret, SealedSecrets
from data_plane.policy import model
from data_plane.runtime.secret import Secret
from tests.contract.stack import AGENT, ControlSide, RunningAgent, running_agent, target_document

ORDERS = TargetName("orders")
VALUE = "correct horse battery staple"
ROTATED = model.AccountRotation()


async def served(control: ControlSide, agent: RunningAgent, name: str = "orders-agent", **more: Any) -> SealedSecret:
    """The agent's store for a target that it serves and that names the secret."""
    version = await control.publish(target_document("orders", secret=name, **more))
    await agent.until(lambda: agent.policy.version == version)
    return agent.parts.secrets.store(ORDERS)


async def fetched(agent: RunningAgent, target: str = "orders") -> pb.FetchSecretResponse:
    """What the call itself answers, whatever the agent's own side thinks of it."""
    key = X25519PrivateKey.generate().public_key().public_bytes_raw()
    calls = await agent.link.calls()
    return await calls.FetchSecret(pb.FetchSecretRequest(target=target, recipient_key=key))


async def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code(), refused.value.details() or ""


async def audited(control: ControlSide, kind: str) -> list[tuple[str, str, Any]]:
    return [(row.actor_name, row.subject, json.loads(row.data)) for row in await control.world.audited(kind)]


# ---------------------------------------------------------------- fetching


async def test_the_agent_that_serves_the_target_gets_its_secret_once(control: ControlSide, agent: RunningAgent) -> None:
    await control.keep("orders-agent", VALUE)
    store = await served(control, agent)
    assert await store.read() == Secret(VALUE)
    assert await store.read() == Secret(VALUE)
    assert await audited(control, "secret.delivered") == [(AGENT, "orders-agent", {"target": "orders", "version": 1})]
    async with control.world.units.reading() as uow:
        [delivery] = (await control.secrets.service.described(uow, "orders-agent")).deliveries
    assert (delivery.agent, delivery.target, delivery.version) == (AGENT, "orders", 1)


async def test_it_is_sealed_to_the_key_of_the_call_and_to_what_it_is_for(
    control: ControlSide, agent: RunningAgent
) -> None:
    await control.keep("orders-agent", VALUE)
    await served(control, agent)
    key = X25519PrivateKey.generate()
    asked = pb.FetchSecretRequest(target="orders", recipient_key=key.public_key().public_bytes_raw())
    answer = await (await agent.link.calls()).FetchSecret(asked)
    assert VALUE.encode() not in answer.SerializeToString()
    info = b"assentry-secret-v1\0test\0orders\0" + b"1"
    assert _SUITE.decrypt(answer.sealed, key, info=info) == VALUE.encode()
    for other in (b"assentry-secret-v1\0test\0others\0" + b"1", b"assentry-secret-v1\0test\0orders\0" + b"2"):
        with pytest.raises(InvalidTag):
            _SUITE.decrypt(answer.sealed, key, info=other)


@pytest.mark.parametrize("key", [b"", b"k" * 31, b"k" * 33])
async def test_a_key_that_is_none_is_refused(control: ControlSide, agent: RunningAgent, key: bytes) -> None:
    await control.keep("orders-agent", VALUE)
    await served(control, agent)
    call = (await agent.link.calls()).FetchSecret(pb.FetchSecretRequest(target="orders", recipient_key=key))
    assert (await refusal(call))[0] is grpc.StatusCode.INVALID_ARGUMENT


async def test_another_agent_gets_nothing_and_that_is_audited_once(
    control: ControlSide, agent: RunningAgent, tmp_path: Path
) -> None:
    await control.keep("orders-agent", VALUE)
    await served(control, agent)
    other = await control.enrol(agent="other")
    async with running_agent(tmp_path / "other", other, control.link_address) as intruder:
        for _ in range(2):
            told = await refusal(fetched(intruder))
            assert told == (grpc.StatusCode.PERMISSION_DENIED, "this agent does not serve such a target")
        store = pb.StoreSecretRequest(target="orders", expected_version=1, value="mine")
        assert (await refusal((await intruder.link.calls()).StoreSecret(store)))[0] is grpc.StatusCode.PERMISSION_DENIED
        nothing_like_it = await refusal(fetched(intruder, "no-such-target"))
        assert nothing_like_it == (grpc.StatusCode.PERMISSION_DENIED, "this agent does not serve such a target")
    reason = {"reason": "this agent does not serve such a target"}
    assert await audited(control, "secret.refused") == [
        ("other", "orders", reason),
        ("other", "no-such-target", reason),
    ]
    assert await audited(control, "secret.delivered") == []


async def test_a_disabled_agent_gets_nothing(
    control: ControlSide, agent: RunningAgent, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_plane.link.secrets._CONNECT_SECONDS", 0.05)
    await control.keep("orders-agent", VALUE)
    store = await served(control, agent)
    async with control.world.units() as uow:
        await control.feature.service.set_disabled(uow, SYSTEM, AGENT, disabled=True)
    key = X25519PrivateKey.generate().public_key().public_bytes_raw()
    with pytest.raises(CredentialError):
        await store.read()
    with pytest.raises(Exception, match="disabled or its certificate ended"):
        await control.feature.secret_calls.fetch(serial_of(identity), "orders", key)
    assert (AGENT, "orders", {"reason": "this agent is disabled or its certificate ended"}) in await audited(
        control, "secret.refused"
    )


async def test_a_target_that_moves_takes_its_secret_with_it(
    control: ControlSide, agent: RunningAgent, tmp_path: Path
) -> None:
    await control.keep("orders-agent", VALUE)
    store = await served(control, agent)
    await store.read()
    control.world.clock.advance(seconds=1)
    version = await control.publish(target_document("orders", "other", secret="orders-agent"))
    await agent.until(lambda: agent.policy.version == version)
    assert (await refusal(fetched(agent)))[0] is grpc.StatusCode.PERMISSION_DENIED
    assert store._kept is None
    with pytest.raises(CredentialError, match="names no secret any more"):
        await store.read()
    async with running_agent(tmp_path / "other", await control.enrol(agent="other"), control.link_address) as heir:
        await heir.until(lambda: heir.policy.version == version)
        assert await heir.parts.secrets.store(ORDERS).read() == Secret(VALUE)
    async with control.world.units.reading() as uow:
        deliveries = (await control.secrets.service.described(uow, "orders-agent")).deliveries
    assert [one.agent for one in deliveries] == ["other", AGENT], "who was given it is not forgotten"


async def test_a_target_without_a_secret_and_a_secret_without_a_value(
    control: ControlSide, agent: RunningAgent
) -> None:
    await served(control, agent, "")
    assert await refusal(fetched(agent)) == (grpc.StatusCode.PERMISSION_DENIED, "the target names no secret")
    store = await served(control, agent, "orders-agent")
    assert await refusal(fetched(agent)) == (grpc.StatusCode.NOT_FOUND, "the secret has no value yet")
    with pytest.raises(CredentialError, match="no value yet"):
        await store.read()


# ---------------------------------------------------------------- a new value


async def test_a_new_value_is_fetched_before_the_next_session(control: ControlSide, agent: RunningAgent) -> None:
    await control.keep("orders-agent", VALUE)
    store = await served(control, agent)
    assert await store.read() == Secret(VALUE)
    assert await control.keep("orders-agent", "another") == 2
    await agent.until(lambda: store._kept is None)
    assert await store.read() == Secret("another")


async def test_what_was_written_while_the_link_was_down_is_heard_of_afterwards(
    control: ControlSide, agent: RunningAgent
) -> None:
    await control.keep("orders-agent", VALUE)
    store = await served(control, agent)
    assert await store.read() == Secret(VALUE)
    await control.feature.server.stop()
    await agent.until(lambda: not agent.link.reachable)
    assert await store.read() == Secret(VALUE), "what was fetched serves on"
    await control.keep("orders-agent", "another")
    await control.replaced()
    await agent.until(lambda: store._kept is None)
    assert await store.read() == Secret("another")


async def test_an_agent_that_has_nothing_yet_gets_nothing_while_the_control_plane_is_away(
    control: ControlSide, agent: RunningAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_plane.link.secrets._CONNECT_SECONDS", 0.05)
    await control.keep("orders-agent", VALUE)
    store = await served(control, agent)
    await control.feature.server.stop()
    await agent.until(lambda: not agent.link.reachable)
    with pytest.raises(CredentialError, match="out of reach"):
        await store.read()


async def test_all_who_wait_for_one_fetch_are_told_its_failure_at_once(
    control: ControlSide, agent: RunningAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_plane.link.secrets._CONNECT_SECONDS", 0.3)
    await control.keep("orders-agent", VALUE)
    store = await served(control, agent)
    await control.feature.server.stop()
    await agent.until(lambda: not agent.link.reachable)
    async with asyncio.timeout(2):
        told = await asyncio.gather(*(store.read() for _ in range(50)), return_exceptions=True)
    assert {type(one) for one in told} == {CredentialError}
    await control.replaced()
    await agent.until(lambda: agent.link.reachable)
    assert await store.read() == Secret(VALUE)


class Closing:
    """A stub whose connection is closed beneath every call; gRPC says so by cancelling whoever waits."""

    async def FetchSecret(self, request: Any, *, timeout: float) -> Any:
        raise asyncio.CancelledError

    async def StoreSecret(self, request: Any, *, timeout: float) -> Any:
        raise asyncio.CancelledError


async def test_a_link_that_ends_beneath_a_call_cancels_nobody() -> None:
    async def calls() -> Any:
        return Closing()

    store = SealedSecrets("test", calls, lambda _: "orders-agent").store(ORDERS)
    with pytest.raises(CredentialError, match="the link has ended"):
        await store.read()


async def test_who_stops_waiting_for_a_secret_is_let_go() -> None:
    async def never() -> Any:
        await asyncio.Event().wait()

    store = SealedSecrets("test", never, lambda _: "orders-agent").store(ORDERS)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await store.read()


async def test_an_older_value_is_never_used_again(control: ControlSide, agent: RunningAgent) -> None:
    """Somebody who can write to the database puts a whole row back."""
    await control.keep("orders-agent", VALUE)
    async with control.world.units.reading() as uow:
        row = await uow.session.get(SecretRow, "orders-agent")
        assert row is not None
        before = {"version": row.version, "sealed": row.sealed, "wrapped_key": row.wrapped_key}
    store = await served(control, agent)
    await control.keep("orders-agent", "another")
    await agent.until(lambda: store._least == 2)
    assert await store.read() == Secret("another")
    async with control.world.units() as uow:
        await uow.session.exec(update(SecretRow).where(col(SecretRow.name) == "orders-agent").values(**before))
        uow.notify("secret", "orders-agent")
    await agent.until(lambda: store._kept is None)
    with pytest.raises(CredentialError, match="an older value"):
        await store.read()


async def test_another_secret_of_the_target_counts_its_own_versions(control: ControlSide, agent: RunningAgent) -> None:
    for value in ("one", "two", "three"):
        await control.keep("orders-agent", value)
    await control.keep("spare", "first")
    assert await (await served(control, agent)).read() == Secret("three")
    assert await (await served(control, agent, "spare")).read() == Secret("first")


async def test_a_row_that_was_changed_or_swapped_opens_for_nobody(control: ControlSide, agent: RunningAgent) -> None:
    await control.keep("orders-agent", VALUE)
    await control.keep("other", "theirs")
    store = await served(control, agent)
    async with control.world.units() as uow:
        rows = {name: await uow.session.get(SecretRow, name) for name in ("orders-agent", "other")}
        mine, theirs = rows["orders-agent"], rows["other"]
        assert mine is not None
        assert theirs is not None
        mine.sealed, mine.wrapped_key = theirs.sealed, theirs.wrapped_key
        uow.session.add(mine)
    with pytest.raises(CredentialError, match="what is stored is not what was sealed"):
        await store.read()
    assert await audited(control, "secret.delivered") == []


# ---------------------------------------------------------------- back to the control plane


async def test_an_agent_that_rotates_stores_the_next_value_for_all(
    control: ControlSide, agent: RunningAgent, identity: Identity, tmp_path: Path
) -> None:
    await control.keep("orders-agent", VALUE)
    store = await served(control, agent, rotate=ROTATED)
    async with running_agent(tmp_path / "sibling", identity, control.link_address) as sibling:
        await sibling.until(lambda: sibling.policy.version == agent.policy.version)
        beside = sibling.parts.secrets.store(ORDERS)
        assert await beside.read() == Secret(VALUE)
        await store.write(Secret("rotated"))
        assert await store.read() == Secret("rotated")
        await sibling.until(lambda: beside._kept is None)
        assert await beside.read() == Secret("rotated")
    told = {"version": 2, "target": "orders", "wrapping_key": control.secrets.sealing.envelope.wraps_with}
    assert await audited(control, "secret.rotated") == [(AGENT, "orders-agent", told)]


async def test_a_lost_answer_is_asked_for_again_and_an_outdated_value_is_not_stored(
    control: ControlSide, agent: RunningAgent
) -> None:
    await control.keep("orders-agent", VALUE)
    store = await served(control, agent, rotate=ROTATED)
    calls = await agent.link.calls()
    request = pb.StoreSecretRequest(target="orders", expected_version=1, value="rotated")
    assert [(await calls.StoreSecret(request)).version for _ in range(2)] == [2, 2]
    other = pb.StoreSecretRequest(target="orders", expected_version=1, value="something else")
    code, why = await refusal(calls.StoreSecret(other))
    assert (code, "version 2" in why) == (grpc.StatusCode.ABORTED, True)
    assert await store.read() == Secret("rotated")


async def test_a_credential_that_nobody_said_to_rotate_is_not_overwritten(
    control: ControlSide, agent: RunningAgent
) -> None:
    await control.keep("orders-agent", VALUE)
    store = await served(control, agent)
    with pytest.raises(CredentialError, match="does not say that its credential is rotated"):
        await store.write(Secret("mine"))
    assert await store.read() == Secret(VALUE)


@pytest.mark.parametrize("value", ["", "x" * 16_385, "a\x00b"])
async def test_what_no_secret_may_be_is_not_stored(control: ControlSide, agent: RunningAgent, value: str) -> None:
    await control.keep("orders-agent", VALUE)
    store = await served(control, agent, rotate=ROTATED)
    with pytest.raises(CredentialError, match=r"a secret (has|is)"):
        await store.write(Secret(value))
    assert await store.read() == Secret(VALUE)


def serial_of(identity: Identity) -> str:
    return f"{x509.load_pem_x509_certificate(identity.client_certificate).serial_number:x}"
