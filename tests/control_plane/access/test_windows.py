"""Access windows: asked for, approved, in the agents' snapshots from then until their end, and nowhere else."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest

from control_plane.assembly import ControlPlane
from control_plane.kit.events import Subscription
from control_plane.kit.revision import current_revision
from control_plane.kit.unit_of_work import SNAPSHOT
from tests.control_plane.beforehand import BY_HAND, OFFER, WINDOW, ClientOf, Deployment, document, target
from tests.control_plane.conftest import ManualClock

ASKED = {"offer": "orders-on-call", "for": "1h", "reason": "ticket 4711"}


@pytest.fixture
async def deployment(control_plane: ControlPlane, client_of: ClientOf, machine: httpx.AsyncClient) -> Deployment:
    return await Deployment.of(control_plane, client_of, machine, BY_HAND, OFFER)


async def asked(deployment: Deployment, **changes: Any) -> dict[str, Any]:
    answer = await deployment.machine.post("/v1/access-requests", json={**ASKED, **changes})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def opened(deployment: Deployment, **changes: Any) -> str:
    window = await asked(deployment, **changes)
    await deployment.decide(window["id"])
    return window["id"]


async def groups(deployment: Deployment) -> tuple[str, ...]:
    """As the next snapshot tells agents."""
    async with deployment.control_plane.units.reading() as uow:
        known = await deployment.control_plane.lent_groups.snapshot(uow)
    return next(one.groups for one in known.identities if one.name == "bot")


async def revision(deployment: Deployment) -> int:
    async with deployment.control_plane.units.reading() as uow:
        return await current_revision(uow.session, SNAPSHOT)


async def shown(deployment: Deployment, window: str) -> dict[str, Any]:
    return (await deployment.machine.get(f"/v1/access-requests/{window}")).json()


async def test_what_is_offered_to_somebody_is_listed_with_what_it_gives(
    deployment: Deployment, client_of: ClientOf
) -> None:
    offered = {"name": "orders-on-call", "description": "", "target": "orders", "group": "orders-window",
               "longest": "2h", "policies": ["orders-by-hand"]}  # fmt: skip
    assert (await deployment.machine.get("/v1/offered-access")).json() == [offered]
    assert (await (await client_of("requester")).get("/v1/offered-access")).json() == []


async def test_the_card_says_who_gets_what_for_how_long(deployment: Deployment) -> None:
    window = await asked(deployment)
    card = (await deployment.reviewer.get(f"/v1/approvals/{window['id']}")).json()
    assert (
        card["text"] == "membership of orders-window for 1h from the approval on; it opens the policies orders-by-hand"
    )
    assert (card["kind"], card["target"], card["operation"]) == ("access", "orders", None)
    assert card["access"]["seconds"] == 3600
    assert "nothing is given" in card["silence"]
    assert card["you"]["may_decide"]
    page = await deployment.page(f"/approvals/{window['id']}")
    assert (page.status_code, "membership of orders-window for 1h" in page.text) == (200, True)


async def test_whoever_made_a_key_of_the_machine_does_not_approve_what_it_asks_for(deployment: Deployment) -> None:
    """Invariant 5: the group is lent to every key of the machine, and a maker may have kept one."""
    await deployment.apply(
        document("Group", "reviewers", members=["admin", "reviewer"], roles=["reviewer"]),
    )
    window = await asked(deployment)
    assert (await deployment.reviewer.get(f"/v1/approvals/{window['id']}")).json()["you"]["may_decide"]
    await deployment.apply(document("Group", "keepers", members=["reviewer"], roles=["admin"]))
    key = await deployment.reviewer.post("/v1/service-account-keys", json={"identity": "bot", "ttl_days": 1})
    assert key.status_code == 201, key.text
    you = (await deployment.reviewer.get(f"/v1/approvals/{window['id']}")).json()["you"]
    assert (you["may_decide"], "owner" in you["why"]) == (False, True)


async def test_the_group_is_lent_from_the_approval_until_its_time_is_over(
    deployment: Deployment, clock: ManualClock
) -> None:
    window = await asked(deployment)
    clock.advance(minutes=5)
    assert await groups(deployment) == ("machines",)
    before = await revision(deployment)
    await deployment.decide(window["id"])
    assert await groups(deployment) == ("machines", "orders-window")
    assert await revision(deployment) > before
    assert (await shown(deployment, window["id"]))["until"].startswith("2026-03-01T13:05:00")
    clock.advance(minutes=59, seconds=59)
    assert await deployment.control_plane.approvals.keeper.end_what_is_due() == 1
    assert await groups(deployment) == ("machines", "orders-window")
    clock.advance(seconds=1)
    assert await groups(deployment) == ("machines",), "even before the timer has run"
    before = await revision(deployment)
    await deployment.control_plane.approvals.keeper.end_what_is_due()
    assert await revision(deployment) > before
    ended = await shown(deployment, window["id"])
    assert (ended["state"], ended["open"], ended["outcome"]) == ("ended", False, "its time is over")
    assert len(await deployment.audited("approval.ended")) == 1


async def test_agents_hear_of_a_lent_group_and_of_its_end(deployment: Deployment) -> None:
    events = deployment.control_plane.events
    async with events.subscribe(SNAPSHOT) as news:
        window = await opened(deployment)
        await _heard(news)
        await deployment.machine.post(f"/v1/access-requests/{window}/end", json={})
        await _heard(news)


async def _heard(news: Subscription) -> None:
    assert (await news.get()).topic == SNAPSHOT


@pytest.mark.parametrize("who", ["machine", "reviewer", "admin"])
async def test_access_is_given_back_before_its_time(deployment: Deployment, who: str) -> None:
    window = await opened(deployment)
    client: httpx.AsyncClient = getattr(deployment, who)
    answer = await client.post(f"/v1/access-requests/{window}/end", json={"reason": "done"})
    assert answer.is_success, answer.text
    assert (answer.json()["state"], answer.json()["open"]) == ("ended", False)
    assert answer.json()["outcome"].endswith("done")
    assert await groups(deployment) == ("machines",)
    assert (await client.post(f"/v1/access-requests/{window}/end", json={})).status_code == 409


async def test_nobody_else_ends_it_and_nothing_but_access_is_ended(deployment: Deployment, client_of: ClientOf) -> None:
    window = await opened(deployment)
    for role, status in (("auditor", 403), ("requester", 404)):
        answer = await (await client_of(role)).post(f"/v1/access-requests/{window}/end", json={})
        assert answer.status_code == status
    assert (await deployment.reviewer.post("/v1/access-requests/nothing/end", json={})).status_code == 404
    assert await groups(deployment) == ("machines", "orders-window")


async def test_a_denied_request_lends_nothing(deployment: Deployment) -> None:
    window = await asked(deployment)
    await deployment.decide(window["id"], "deny", reason="not tonight")
    assert await groups(deployment) == ("machines",)
    assert (await shown(deployment, window["id"]))["until"] is None


@pytest.mark.parametrize(
    ("length", "told"), [("3h", "at most 7200s"), ("soon", "not a duration"), ("10ms", "at least")]
)
async def test_a_length_that_is_not_offered_is_refused(deployment: Deployment, length: str, told: str) -> None:
    answer = await deployment.machine.post("/v1/access-requests", json={**ASKED, "for": length})
    assert answer.status_code == 422
    assert told in answer.json()["errors"][0]["message"]


async def test_whoever_is_not_offered_access_cannot_ask_for_it(deployment: Deployment, client_of: ClientOf) -> None:
    for client in (await client_of("requester"), deployment.admin):
        assert (await client.post("/v1/access-requests", json=ASKED)).status_code == 404


async def test_a_lent_group_gives_no_role_no_place_in_a_chain_and_no_right_to_ask(deployment: Deployment) -> None:
    await deployment.apply({**WINDOW, "spec": {"roles": ["reviewer", "auditor"]}})
    await deployment.apply({**OFFER, "metadata": {"name": "more"}, "spec": {**OFFER["spec"], "ask": ["reviewers"]}})
    await opened(deployment)
    session = (await deployment.machine.get("/v1/session")).json()
    assert "orders-window" not in session["groups"]
    async with deployment.control_plane.units.reading() as uow:
        assert await deployment.control_plane.identities.members_of(uow, ["orders-window"]) == []


@pytest.mark.parametrize("change", ["offer", "policy", "chain", "group's policies", "requester"])
async def test_what_access_stands_on_ends_it_when_it_changes(deployment: Deployment, change: str) -> None:
    window = await opened(deployment)
    changed = {
        "offer": {**OFFER, "spec": {**OFFER["spec"], "longest": "1h"}},
        "policy": {**BY_HAND, "metadata": {"name": "orders-by-hand", "description": "other"}},
        "chain": document("ApprovalChain", "dba", stages=[{"groups": ["reviewers"], "timeout": "1m"}]),
        "group's policies": {**BY_HAND, "metadata": {"name": "another"}},
    }
    if change == "requester":
        await deployment.admin.patch("/v1/identities/bot", json={"disabled": True}, headers={"if-match": "*"})
    else:
        await deployment.apply(changed[change])
    await deployment.control_plane.approvals.upkeep.void_what_fell()
    ended = (await deployment.reviewer.get(f"/v1/access-requests/{window}")).json()
    assert (ended["state"], ended["open"]) == ("lapsed", False)
    assert await groups(deployment) == ("machines",)


async def test_other_documents_leave_access_alone(deployment: Deployment) -> None:
    window = await opened(deployment)
    await deployment.apply(target("stock", environment="staging"), document("Group", "others"))
    await deployment.control_plane.approvals.upkeep.void_what_fell()
    assert (await shown(deployment, window))["open"]


@pytest.mark.parametrize(
    ("spec", "path", "told"),
    [
        ({"target": "nowhere"}, "target", "no Target named"),
        ({"group": "nobody"}, "group", "no Group named"),
        ({"approval": "nobody"}, "approval", "no ApprovalChain named"),
        ({"ask": ["nobody"]}, "ask[0]", "no Group named"),
        ({"ask": []}, "ask", "nobody may ask"),
        ({"ask": ["orders-window"]}, "ask", "in the group already"),
        ({"longest": "for ever"}, "longest", "not a duration"),
        ({"group": "machines"}, "group", "it would give nothing"),
    ],
)
async def test_an_offer_that_makes_no_sense_is_refused_where_it_stands(
    deployment: Deployment, spec: dict[str, Any], path: str, told: str
) -> None:
    offer = {**OFFER, "spec": {**OFFER["spec"], **spec}}
    answer = await deployment.admin.post("/v1/documents/apply", json={"documents": [offer]})
    assert answer.status_code == 422
    errors = {one["path"]: one["message"] for one in answer.json()["errors"]}
    assert told in errors[f"$.documents[0].spec.{path}"]


async def test_an_offer_may_not_open_more_than_the_target_that_it_names(deployment: Deployment) -> None:
    wider = msgspec.json.decode(msgspec.json.encode(BY_HAND))
    wider["spec"]["targets"] = {"environment": "production"}
    await deployment.apply(target("stock", environment="staging"), wider)
    answer = await deployment.admin.post("/v1/documents/apply", json={"documents": [target("stock")]})
    assert answer.status_code == 422
    assert "on stock too" in answer.json()["errors"][0]["message"]
