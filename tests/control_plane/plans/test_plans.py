"""`/v1/plans`: who may submit what, and what is shown of it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from control_plane.assembly import ControlPlane
from tests.control_plane.beforehand import BY_HAND, HELD, PLANS, POLICY, ClientOf, Deployment, document, target

FIRST, SECOND = "DELETE FROM orders WHERE id = 1", "DELETE FROM orders WHERE id = 2"
PLAN = {"target": "orders", "operations": [FIRST, SECOND], "reason": "ticket 4711"}


@pytest.fixture
async def deployment(control_plane: ControlPlane, client_of: ClientOf, machine: httpx.AsyncClient) -> Deployment:
    return await Deployment.of(control_plane, client_of, machine, PLANS)


async def submitted(deployment: Deployment, **changes: Any) -> httpx.Response:
    return await deployment.machine.post("/v1/plans", json={**PLAN, **changes})


async def test_a_machine_submits_a_plan_and_reviewers_see_all_of_it(deployment: Deployment) -> None:
    made = await submitted(deployment)
    assert made.status_code == 201, made.text
    plan = made.json()
    assert (plan["kind"], plan["state"], plan["ordered"], plan["reason"]) == ("plan", "pending", True, "ticket 4711")
    assert [(one["number"], one["text"], one["used_by"]) for one in plan["operations"]] == [
        (1, FIRST, None),
        (2, SECOND, None),
    ]
    assert plan["session_state"]["database"] == "shop"
    assert plan["session_state"]["search_path"] == "$user, public"
    card = (await deployment.reviewer.get(f"/v1/approvals/{plan['id']}")).json()
    assert card["plan"]["statements"][1]["text"] == SECOND
    assert card["operation"] is None
    assert card["you"]["may_decide"]
    page = await deployment.page(f"/approvals/{plan['id']}")
    assert (page.status_code, SECOND in page.text) == (200, True)
    await deployment.decide(plan["id"])
    shown = (await deployment.machine.get(f"/v1/plans/{plan['short_code']}")).json()
    assert shown["state"] == "approved"
    assert shown["execute_by"]


async def test_what_differs_from_a_sessions_beginning_is_told_and_shown(deployment: Deployment) -> None:
    plan = (await submitted(deployment, session_state={"search_path": "app"}, ordered=False)).json()
    assert plan["session_state"]["search_path"] == "app"
    assert not plan["ordered"]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"operations": [FIRST] * 4}, "$.operations"),
        ({"operations": [FIRST, " ; "]}, "$.operations[1]"),
        ({"operations": ["SELECT '\0'"]}, "$.operations[0]"),
        ({"database": "other"}, "$.database"),
        ({"session_state": {"user": "postgres"}}, "$.session_state.user"),
        ({"session_state": {"database": "other"}}, "$.session_state.database"),
    ],
)
async def test_a_plan_that_could_never_be_used_is_refused_with_its_place(
    deployment: Deployment, changes: dict[str, Any], path: str
) -> None:
    answer = await submitted(deployment, **changes)
    assert answer.status_code == 422
    assert [one["path"] for one in answer.json()["errors"]] == [path]


async def test_a_target_that_leaves_its_database_open_needs_one_in_the_plan(deployment: Deployment) -> None:
    await deployment.apply(target("orders", database=""))
    assert (await submitted(deployment)).json()["errors"][0]["path"] == "$.database"
    assert (await submitted(deployment, database="stock")).json()["session_state"]["database"] == "stock"


async def test_without_a_policy_that_lets_plans_be_asked_they_are_refused(deployment: Deployment) -> None:
    await deployment.apply(POLICY)
    answer = await submitted(deployment)
    assert (answer.status_code, answer.json()["title"]) == (409, "This cannot be asked for")
    assert "no policy lets you submit plans" in answer.json()["detail"]
    assert (await submitted(deployment, target="nowhere")).status_code == 409


async def test_policies_that_name_different_chains_are_no_choice(deployment: Deployment) -> None:
    other = document("ApprovalChain", "other", stages=[{"groups": ["reviewers"]}])
    rules = [{**HELD, "approval": "other"}]
    spec = {"targets": {"names": "orders"}, "rules": rules, "plans": {"approval": "other"}}
    await deployment.apply(other, document("Policy", "second", **spec))
    assert "different chains" in (await submitted(deployment)).json()["detail"]


async def test_one_sees_ones_own_plans_and_reviewers_see_all(deployment: Deployment, client_of: ClientOf) -> None:
    plan = (await submitted(deployment)).json()
    for client, seen in ((deployment.reviewer, 1), (deployment.admin, 1), (await client_of("requester"), 0)):
        listed = (await client.get("/v1/plans")).json()["items"]
        assert [one["id"] for one in listed] == [plan["id"]] * seen
        assert (await client.get(f"/v1/plans/{plan['id']}")).status_code == (200 if seen else 404)


async def test_the_same_submission_again_is_one_plan(deployment: Deployment) -> None:
    headers = {"idempotency-key": "k1"}
    answers = [await deployment.machine.post("/v1/plans", json=PLAN, headers=headers) for _ in range(2)]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert len((await deployment.machine.get("/v1/plans")).json()["items"]) == 1


async def test_whoever_may_not_connect_may_not_plan(deployment: Deployment) -> None:
    assert (await deployment.reviewer.post("/v1/plans", json=PLAN)).status_code == 403


async def test_a_changed_policy_takes_the_plan_away_before_and_after_its_approval(deployment: Deployment) -> None:
    pending, approved = [(await submitted(deployment)).json()["id"] for _ in range(2)]
    await deployment.decide(approved)
    await deployment.apply(BY_HAND)
    await deployment.control_plane.approvals.upkeep.void_what_fell()
    states = [(await deployment.machine.get(f"/v1/plans/{one}")).json()["state"] for one in (pending, approved)]
    assert states == ["pending", "approved"]
    await deployment.apply({**PLANS, "spec": {**PLANS["spec"], "plans": {"approval": "dba", "most": 1}}})
    await deployment.control_plane.approvals.upkeep.void_what_fell()
    states = [(await deployment.machine.get(f"/v1/plans/{one}")).json()["state"] for one in (pending, approved)]
    assert states == ["voided", "lapsed"]


async def test_the_requester_takes_a_plan_back(deployment: Deployment) -> None:
    plan = (await submitted(deployment)).json()["id"]
    answer = await deployment.machine.post(f"/v1/approvals/{plan}/withdraw", json={"reason": "a mistake"})
    assert answer.is_success, answer.text
    assert (await deployment.machine.get(f"/v1/plans/{plan}")).json()["state"] == "cancelled"
