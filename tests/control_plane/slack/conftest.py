"""A whole control plane that talks to a double of Slack: held requests, people in both, and the loops that matter."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.app import create_app
from control_plane.approvals.reports import PendingAnswer, RequestedReport
from control_plane.approvals.review import View
from control_plane.assembly import ControlPlane
from control_plane.audit import repository as audit
from control_plane.config import Settings
from control_plane.identities.tables import CredentialRow
from control_plane.kit.clock import milliseconds
from control_plane.kit.tasks import spawn, stop
from control_plane.kit.unit_of_work import SYSTEM
from control_plane.sessions.reports import OpenedReport
from tests.control_plane.conftest import ManualClock
from tests.control_plane.world import INSTANCE, REPORTER, operation_of, world
from tests.support.slack.double import APP_TOKEN, BOT_TOKEN, SIGNING_SECRET, SlackDouble
from tests.support.slack.workspace import Message

__all__ = ["world"]
API = "assentry.dev/v1"
DBA, SECURITY = "C012DBA", "C034SEC"
LOOPS = {"notifications", "slack-inbox", "slack-socket", "approval-deadlines"}
_numbers = itertools.count(1)


def document(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec}


@dataclass
class Scene:
    """`ada`, `bob` (dba) and `eve` (security) are in Slack as UADA, UBOB and UEVE; `bot` asks."""

    control_plane: ControlPlane
    double: SlackDouble
    clock: ManualClock
    ids: dict[str, str] = field(default_factory=dict)

    async def person(self, name: str, group: str, **more: Any) -> None:
        more = {"email": f"{name}@example.org", "slack_user_id": f"U{name.upper()}", **more}
        async with self.control_plane.units() as uow:
            made = await self.control_plane.identities.create(uow, SYSTEM, name=name, kind="person", **more)
            found = await self.control_plane.identities.find_group(uow, group)
            members = [*(found.members if found else ()), name]
            await self.control_plane.identities.put_group(uow, SYSTEM, group, roles=["reviewer"], members=members)
        self.ids[name] = made.id

    async def chain(self, *stages: dict[str, Any], **spec: Any) -> None:
        """The chain `dba`, as it is from now on."""
        await self.apply(document("ApprovalChain", "dba", stages=list(stages), **spec))

    async def apply(self, *documents: dict[str, Any]) -> None:
        app = create_app(self.control_plane)
        async with self.control_plane.units.reading() as uow:
            root = await self.control_plane.identities.named(uow, "root")
        async with self.control_plane.units() as uow:
            opened = await self.control_plane.sign_ins.open(uow, root, "cli")
        headers = {"authorization": f"Bearer {opened.token.reveal()}"}
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="https://x", headers=headers
        ) as client:
            answer = await client.post("/v1/documents/apply", json={"documents": documents})
        assert answer.is_success, answer.text

    async def hold(self, text: str = "DELETE FROM orders WHERE id = 1041", **changes: Any) -> str:
        """A machine's operation that waits; its id."""
        number = next(_numbers)
        now = milliseconds(self.clock.now())
        requester, credential = self.ids["bot"], self.ids["credential"]
        opened = OpenedReport(
            f"ses_{number}", now, "orders", "postgres", requester, credential, "10.0.0.9:1", "psql", 1, REPORTER.boot_id
        )
        report = {key: changes.pop(key) for key in ("reason", "impact_json") if key in changes}
        asked = RequestedReport(
            approval_id=f"apr_{number:020d}",
            at_ms=now,
            operation=operation_of(f"ses_{number}", text=text, **changes),
            policy="production",
            rule="writes",
            chain="dba",
            policy_version=1,
            wait_until_ms=now + 900_000,
            ticket=False,
            in_transaction=False,
            requester_id=requester,
            credential_id=credential,
            **report,
        )
        async with self.control_plane.units() as uow:
            await self.control_plane.sessions.opened(uow, REPORTER, opened)
            answer = await self.control_plane.approvals.service.requested(uow, INSTANCE, asked)
        assert isinstance(answer, PendingAnswer), answer
        return asked.approval_id

    async def view(self, approval_id: str) -> View:
        async with self.control_plane.units.reading() as uow:
            view = await self.control_plane.approvals.review.present(uow, approval_id)
        assert view is not None
        return view

    async def state(self, approval_id: str) -> str:
        return (await self.view(approval_id)).row.state

    async def message(self, approval_id: str, channel: str = DBA, *, buttons: bool = True) -> Message:
        """The message of this request, once it is there whole."""
        code = (await self.view(approval_id)).row.short_code

        def found() -> Message | None:
            made = self.double.workspace.in_channel(channel)
            return next(
                (one for one in made if code in one.shown and bool(one.buttons) == buttons and one.versions), None
            )

        message: Message = await self.double.until(found)
        return message

    async def shows(self, message: Message, text: str) -> None:
        await self.double.until(lambda: text in message.shown)

    async def thread_tells(self, message: Message, text: str) -> None:
        await self.double.until(lambda: any(text in one for one in self.double.workspace.thread(message)))

    async def told(self, user: str, text: str) -> None:
        await self.double.until(lambda: any(text in one for one in self.double.workspace.told(user)))

    async def audited(self, kind: str) -> list[dict[str, Any]]:
        async with self.control_plane.units.reading() as uow:
            rows = await audit.newest(uow.session, audit.Filter(), None, 1000)
        return [
            {"actor": row.actor_name, "subject": row.subject, **json.loads(row.data)}
            for row in reversed(rows)
            if row.kind == kind
        ]


def slack_settings(double: SlackDouble, mode: str, identity: str = "slack-user-id", **more: str) -> dict[str, Any]:
    return {
        "slack_mode": mode,
        "slack_identity": identity,
        "slack_bot_token": BOT_TOKEN,
        "slack_signing_secret": SIGNING_SECRET if mode == "http" else "",
        "slack_app_token": APP_TOKEN if mode == "socket" else "",
        "slack_channel": DBA,
        "slack_channels": f"security={SECURITY}",
        "slack_api_url": double.api_url,
        **more,
    }


@pytest.fixture
async def double(clock: ManualClock) -> AsyncIterator[SlackDouble]:
    made = SlackDouble(lambda: clock.now().timestamp())
    made.workspace.channel(DBA, "dba")
    made.workspace.channel(SECURITY, "security")
    for name in ("ada", "bob", "eve", "zoe"):
        made.workspace.user(f"U{name.upper()}", email=f"{name}@example.org")
    async with made.serving():
        yield made


@pytest.fixture
def mode() -> str:
    return "http"


@pytest.fixture
def mapping() -> str:
    return "slack-user-id"


@pytest.fixture
def settings(database_url: str, tmp_path: Path, double: SlackDouble, mode: str, mapping: str) -> Settings:
    return Settings(
        state_dir=tmp_path / "state",
        database_url=database_url,
        public_url="https://assentry.example.org",
        deployment="test",
        grpc_address="127.0.0.1:0",
        **slack_settings(double, mode, mapping),
    )


@pytest.fixture
async def scene(
    control_plane: ControlPlane,
    double: SlackDouble,
    clock: ManualClock,
    mode: str,
    person: Callable[..., Awaitable[Any]],
) -> AsyncIterator[Scene]:
    made = Scene(control_plane, double, clock)
    await person("root", "admin", "policy-editor")
    await made.person("ada", "dba")
    await made.person("bob", "dba")
    await made.person("eve", "security")
    await _bot(made)
    spec = {"protocol": "postgres", "environment": "production", "agent": "demo", "address": "127.0.0.1:5432"}
    chain = document("ApprovalChain", "dba", stages=[{"groups": ["dba"], "require": 1, "timeout": "15m"}])
    rule = {"name": "writes", "match": {"action": "write"}, "effect": "hold", "approval": "dba"}
    policy = document("Policy", "production", targets={"environment": "production"}, rules=[rule])
    await made.apply(document("Target", "orders", **spec), chain, policy)
    async with _connected(made, mode), running(control_plane):
        if mode == "socket":
            await double.until(lambda: double.connections)
        yield made


@contextlib.asynccontextmanager
async def running(control_plane: ControlPlane) -> AsyncIterator[None]:
    tasks = [spawn(loop(), name) for name, loop in control_plane._loops if name in LOOPS]
    try:
        yield
    finally:
        for task in tasks:
            await stop(task)


@contextlib.asynccontextmanager
async def _connected(scene: Scene, mode: str) -> AsyncIterator[None]:
    if mode == "socket":
        yield
        return
    transport = httpx.ASGITransport(create_app(scene.control_plane), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="https://assentry.example.org") as client:
        scene.double.app = client
        yield


async def _bot(scene: Scene) -> None:
    control_plane = scene.control_plane
    async with control_plane.units() as uow:
        bot = await control_plane.identities.create(uow, SYSTEM, name="bot", kind="machine", owner="root")
        await control_plane.identities.put_group(uow, SYSTEM, "bots", roles=["requester"], members=["bot"])
        uow.session.add(
            CredentialRow(
                id="crd_bot", identity_id=bot.id, kind="token", parent_id="key_1", targets=["*"], issued_at=uow.now,
                expires_at=uow.now.replace(year=2036),
            )
        )  # fmt: skip
    scene.ids.update(bot=bot.id, credential="crd_bot")
