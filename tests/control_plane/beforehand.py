"""What plans and access windows need of a whole control plane: documents, a machine that asks, people who decide."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx

from control_plane.assembly import ControlPlane

ClientOf = Callable[[str], Awaitable[httpx.AsyncClient]]


def document(kind: str, name: str, /, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "assentry.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def target(name: str, **spec: Any) -> dict[str, Any]:
    fixed = {"protocol": "postgres", "environment": "production", "agent": "demo", "address": "127.0.0.1:5432"}
    return document("Target", name, **{**fixed, "database": "shop", **spec})


HELD = {"name": "writes", "match": {"action": "write"}, "effect": "hold", "approval": "dba"}
CHAIN = document("ApprovalChain", "dba", stages=[{"groups": ["reviewers"], "timeout": "15m"}])
POLICY = document("Policy", "production", targets={"environment": "production"}, rules=[HELD])
PLANS = document(
    "Policy",
    "production",
    targets={"environment": "production"},
    requesters={"groups": ["machines"]},
    rules=[HELD],
    plans={"approval": "dba", "most": 3},
)
WINDOW = document("Group", "orders-window")
BY_HAND = document(
    "Policy",
    "orders-by-hand",
    targets={"names": "orders"},
    requesters={"groups": ["orders-window"]},
    rules=[{"name": "all", "match": {"action": "connect"}, "effect": "allow"}],
)
OFFER = document(
    "AccessOffer", "orders-on-call", target="orders", group="orders-window", ask=["machines"], approval="dba",
    longest="2h",
)  # fmt: skip


@dataclass
class Deployment:
    """`machine` is `bot`, owned by `admin`, in the group `machines`; `reviewer` is in `reviewers`."""

    control_plane: ControlPlane
    admin: httpx.AsyncClient
    editor: httpx.AsyncClient
    reviewer: httpx.AsyncClient
    machine: httpx.AsyncClient

    @classmethod
    async def of(
        cls, control_plane: ControlPlane, client_of: ClientOf, machine: httpx.AsyncClient, *documents: Any
    ) -> Deployment:
        clients = [await client_of(role) for role in ("admin", "policy-editor", "reviewer")]
        made = cls(control_plane, *clients, machine)
        await made.apply(target("orders"), WINDOW, CHAIN, *documents)
        return made

    async def apply(self, *documents: dict[str, Any]) -> None:
        answer = await self.admin.post("/v1/documents/apply", json={"documents": documents})
        assert answer.is_success, answer.text

    async def decide(self, approval_id: str, verb: str = "approve", **body: Any) -> None:
        shown = (await self.reviewer.get(f"/v1/approvals/{approval_id}")).json()
        answer = await self.reviewer.post(
            f"/v1/approvals/{approval_id}/{verb}", json={"digest": shown["digest"], **body}
        )
        assert answer.is_success, answer.text

    async def page(self, path: str) -> httpx.Response:
        """As the reviewer sees it in a browser."""
        async with self.control_plane.units() as uow:
            reviewer = await self.control_plane.identities.named(uow, "reviewer")
            opened = await self.control_plane.sign_ins.open(uow, reviewer, "console")
        headers = {"cookie": f"{self.control_plane.cookies.name}={opened.token.reveal()}"}
        transport = self.reviewer._transport
        async with httpx.AsyncClient(transport=transport, base_url=self.reviewer.base_url, headers=headers) as browser:
            return await browser.get(path)

    async def audited(self, kind: str) -> list[dict[str, Any]]:
        return (await self.admin.get("/v1/audit", params={"kind": kind})).json()["items"]
