"""Rotations as the control plane knows them: one at a time, by cadence and on demand, audited, told, and reported."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest
from sqlmodel import select

from control_plane.agents.errors import AgentLeftError, ErrandFailedError, NoAgentError
from control_plane.assembly import ControlPlane
from control_plane.kit.outbox import NoticeRow
from tests.control_plane.conftest import ManualClock

TURNS = {"every": "30d", "accounts": ["agent_a", "agent_b"]}
DONE = {"account": "agent_b", "previous": "agent_a", "disabled": "disabled", "remaining": 2}
TOLD = {"account": "agent_a", "kept": "file: orders.password", "writable": True}


class Agent:
    """What the one agent answers; `asked` is what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {"rotate-credential": DONE, "show-credential": TOLD}
        self.asked: list[tuple[str, str]] = []
        self.told: list[dict[str, Any]] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def ask(self, target: str, kind: str, arguments: Mapping[str, Any], timeout: float) -> Any:
        self.asked.append((kind, target))
        self.told.append(dict(arguments))
        await self.go_on.wait()
        answer = self.answers[kind]
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def rotated(self) -> int:
        return [kind for kind, _ in self.asked].count("rotate-credential")


@pytest.fixture
def agent(control_plane: ControlPlane) -> Agent:
    made = Agent()
    control_plane.rotation.service._errands = made
    return made


async def target(admin: httpx.AsyncClient, name: str = "orders", **credential: Any) -> None:
    spec = {"protocol": "postgres", "environment": "production", "agent": "demo", "address": "db:5432"}
    document = {
        "apiVersion": "assentry.dev/v1", "kind": "Target", "metadata": {"name": name},
        "spec": {**spec, "credential": credential},
    }  # fmt: skip
    answer = await admin.put(f"/v1/targets/{name}", json=document, headers={"If-Match": "*"})
    if answer.status_code == 412:
        answer = await admin.put(f"/v1/targets/{name}", json=document)
    assert answer.is_success, answer.text


async def ended(admin: httpx.AsyncClient, rotation: Mapping[str, Any]) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while (found := (await admin.get(f"/v1/rotations/{rotation['id']}")).json())["state"] == "running":
            await asyncio.sleep(0.01)
    return dict(found)


async def history(admin: httpx.AsyncClient, name: str = "orders") -> list[dict[str, Any]]:
    return list((await admin.get(f"/v1/targets/{name}/rotations")).json()["items"])


async def audited(admin: httpx.AsyncClient, kind: str) -> list[Any]:
    return list((await admin.get("/v1/audit", params={"kind": kind})).json()["items"])


async def notices(control_plane: ControlPlane, kind: str) -> list[dict[str, Any]]:
    async with control_plane.units.reading() as uow:
        return [row.data for row in (await uow.session.exec(select(NoticeRow).where(NoticeRow.kind == kind))).all()]


async def test_a_person_rotates_and_sees_what_became_of_it(
    control_plane: ControlPlane, admin: httpx.AsyncClient, agent: Agent
) -> None:
    await target(admin, rotate=TURNS)
    answer = await admin.post("/v1/targets/orders/rotate")
    assert answer.status_code == 202
    done = await ended(admin, answer.json())
    assert done["state"] == "done"
    assert {name: done[name] for name in DONE} == DONE
    assert (done["cause"], done["asked_by"]) == ("demand", "admin")
    assert [one["id"] for one in await history(admin)] == [done["id"]]
    (begun,), (told,) = await audited(admin, "rotation.begun"), await audited(admin, "rotation.done")
    assert (begun["actor"]["name"], told["data"]["account"]) == ("admin", "agent_b")


async def test_only_one_runs_for_a_target_at_a_time(admin: httpx.AsyncClient, agent: Agent) -> None:
    await target(admin, rotate=TURNS)
    await target(admin, "other", rotate=TURNS)
    agent.go_on.clear()
    first = (await admin.post("/v1/targets/orders/rotate")).json()
    refused = await admin.post("/v1/targets/orders/rotate")
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:assentry:problem:rotation-running")
    assert (await admin.post("/v1/targets/other/rotate")).status_code == 202
    agent.go_on.set()
    await ended(admin, first)
    assert (await admin.post("/v1/targets/orders/rotate")).status_code == 202


async def test_a_target_without_a_word_of_rotation_is_not_rotated(admin: httpx.AsyncClient, agent: Agent) -> None:
    await target(admin)
    refused = await admin.post("/v1/targets/orders/rotate")
    assert refused.status_code == 409
    assert "credential: {rotate: {}}" in refused.json()["detail"]
    assert (await admin.post("/v1/targets/nothing/rotate")).status_code == 404


@pytest.mark.parametrize(
    "answer",
    [
        ErrandFailedError("agent_a may not alter agent_b: it needs CREATEROLE"),
        NoAgentError("agent 'demo' is not connected"),
        {**DONE, "problem": "agent_a is not disabled: the target went away"},
        {"nonsense": True},
    ],
)
async def test_a_failure_alarms_and_is_tried_again(
    control_plane: ControlPlane, admin: httpx.AsyncClient, agent: Agent, clock: ManualClock, answer: Any
) -> None:
    await target(admin, rotate=TURNS)
    agent.answers["rotate-credential"] = answer
    failed = await ended(admin, (await admin.post("/v1/targets/orders/rotate")).json())
    assert failed["state"] == "failed"
    assert failed["problem"]
    (notice,) = await notices(control_plane, "rotation.failed")
    assert (notice["target"], notice["problem"]) == ("orders", failed["problem"])
    assert len(await audited(admin, "rotation.failed")) == 1
    agent.answers["rotate-credential"] = DONE
    await control_plane.rotation.keeper.once()
    assert agent.rotated() == 1, "too early"
    clock.advance(minutes=5)
    await control_plane.rotation.keeper.once()
    newest = (await history(admin))[0]
    assert (newest["state"], newest["cause"]) == ("done", "retry")


async def test_an_agent_that_went_away_is_asked_again_for_the_same_rotation(
    control_plane: ControlPlane, admin: httpx.AsyncClient, agent: Agent
) -> None:
    await target(admin, rotate=TURNS)
    control_plane.rotation.service.comes_back_seconds = 0
    left = AgentLeftError("the agent went away")
    agent.answers["rotate-credential"] = [left, DONE]
    begun = (await admin.post("/v1/targets/orders/rotate")).json()
    assert (await ended(admin, begun))["state"] == "done"
    assert agent.told == [{"rotation": begun["id"]}] * 2
    agent.answers["rotate-credential"] = [left] * 3
    assert (await ended(admin, (await admin.post("/v1/targets/orders/rotate")).json()))["state"] == "failed"


async def test_the_cadence_rotates_by_itself(
    control_plane: ControlPlane, admin: httpx.AsyncClient, agent: Agent, clock: ManualClock
) -> None:
    await target(admin, rotate={"every": "2h"})
    await target(admin, "by-hand", rotate={})
    counts = []
    for minutes in (0, 119, 1, 120):
        clock.advance(minutes=minutes)
        await control_plane.rotation.keeper.once()
        counts.append(agent.rotated())
    assert counts == [1, 1, 2, 3]
    assert {one["cause"] for one in await history(admin)} == {"cadence"}
    assert ("rotate-credential", "by-hand") not in agent.asked


async def test_a_rotation_that_the_control_plane_did_not_survive_is_closed_and_gone_on_with(
    control_plane: ControlPlane, admin: httpx.AsyncClient, agent: Agent, clock: ManualClock
) -> None:
    await target(admin, rotate=TURNS)
    control_plane.rotation.service.run = _killed
    begun = (await admin.post("/v1/targets/orders/rotate")).json()
    del control_plane.rotation.service.run
    clock.advance(minutes=13)
    await control_plane.rotation.keeper.once()
    closed = (await admin.get(f"/v1/rotations/{begun['id']}")).json()
    assert (closed["state"], "stopped" in closed["problem"]) == ("failed", True)
    clock.advance(minutes=5)
    await control_plane.rotation.keeper.once()
    assert (await history(admin))[0]["state"] == "done"


async def _killed(*_: Any) -> None:
    """Whoever waited for the agent is gone."""


async def test_the_report_tells_age_use_and_what_is_wrong(
    control_plane: ControlPlane, admin: httpx.AsyncClient, agent: Agent, clock: ManualClock
) -> None:
    await target(admin, rotate=TURNS)
    await target(admin, "shared")
    await control_plane.rotation.keeper.once()
    clock.advance(hours=3)
    orders, shared = (await admin.get("/v1/credentials/report")).json()
    assert (orders["account"], orders["kept"], orders["every"]) == ("agent_a", "file: orders.password", "30d")
    assert orders["rotated_at"] == orders["changed_at"] == "2026-03-01T12:00:00Z"
    assert orders["next_at"] == "2026-03-31T12:00:00Z"
    assert orders["problems"] == []
    assert (shared["rotated_at"], shared["changed_at"], shared["used_at"]) == (None, None, None)
    assert shared["problems"] == ["all sessions use one account, which is never rotated"]


async def test_what_the_agent_does_not_tell_leaves_what_was_known(
    control_plane: ControlPlane, admin: httpx.AsyncClient, agent: Agent, clock: ManualClock
) -> None:
    await target(admin, rotate={})
    await control_plane.rotation.keeper.once()
    agent.answers["show-credential"] = NoAgentError("agent 'demo' is not connected")
    clock.advance(hours=2)
    await control_plane.rotation.keeper.once()
    (line,) = (await admin.get("/v1/credentials/report")).json()
    assert (line["account"], line["problems"]) == ("agent_a", ["agent 'demo' is not connected"])


async def test_rotations_are_for_admins_and_their_history_for_auditors_too(
    client_of: Callable[[str], Any], admin: httpx.AsyncClient, agent: Agent
) -> None:
    await target(admin, rotate={})
    auditor, reviewer = await client_of("auditor"), await client_of("reviewer")
    assert (await auditor.post("/v1/targets/orders/rotate")).status_code == 403
    assert (await auditor.get("/v1/credentials/report")).status_code == 200
    assert (await reviewer.get("/v1/credentials/report")).status_code == 403
