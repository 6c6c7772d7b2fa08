"""Channels as documents: what is refused, and what they choose; and the log of deliveries that admins read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from control_plane.assembly import ControlPlane
from control_plane.kit.secret import Secret
from control_plane.notifications.channels import Selected
from control_plane.notifications.config import parse_networks
from control_plane.notifications.documents import AppriseSpec, SecretSource, Selection
from control_plane.notifications.ports import Channel, Later, Never, Notice
from control_plane.notifications.secrets import Secrets
from control_plane.notifications.service import KEPT_FOR
from tests.control_plane.conftest import ManualClock
from tests.control_plane.notifications.post import Fixed, Post, Scripted
from tests.control_plane.world import World

API = "assentry.dev/v1"
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # nothing here depends on it
HOOK = {"type": "webhook", "url": "https://hooks.example.org/a", "secret_from": {"env": "ASSENTRY_SECRET_HOOK"}}
MAIL = {"type": "apprise", "url_from": {"file": "mail-url"}}
JIRA = {
    "type": "jira",
    "url": "https://example.atlassian.net",
    "user": "bot@example.org",
    "token_from": {"file": "jira"},
    "project": "OPS",
}
NOW = {
    "type": "servicenow",
    "url": "https://example.service-now.com",
    "user": "assentry",
    "password_from": {"file": "now"},
}


def channel(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API, "kind": "NotificationChannel", "metadata": {"name": name}, "spec": spec}


async def apply(client: httpx.AsyncClient, *documents: dict[str, Any], prune: bool = False) -> httpx.Response:
    return await client.post("/v1/documents/apply", json={"documents": documents, "prune": prune})


# ------------------------------------------------------------------ documents


async def test_channels_are_planned_applied_exported_and_pruned_like_other_documents(admin: httpx.AsyncClient) -> None:
    wanted = [channel("hook", HOOK), channel("jira", JIRA), channel("mail", MAIL), channel("now", NOW)]
    answer = await apply(admin, *wanted)
    assert answer.is_success, answer.text
    assert {change["change"] for change in answer.json()["changes"]} == {"create"}
    exported = (await admin.get("/v1/documents/export")).json()["documents"]
    mine = [one for one in exported if one["kind"] == "NotificationChannel"]
    assert mine == wanted
    again = await apply(admin, *mine)
    assert {change["change"] for change in again.json()["changes"]} == {"unchanged"}
    fewer = (await apply(admin, *exported[:-1], prune=True)).json()["changes"]
    assert [change["name"] for change in fewer if change["change"] == "delete"] == ["now"]


@on_sqlite
@pytest.mark.parametrize(
    ("spec", "path", "words"),
    [
        ({**HOOK, "typo": 1}, "$.spec.typo", "unknown field 'typo'"),
        ({**HOOK, "type": "carrier-pigeon"}, "$.spec.type", "invalid value 'carrier-pigeon'"),
        ({**HOOK, "events": ["approval.pendng"]}, "$.spec.events[0]", "no notice is called 'approval.pendng'"),
        ({**HOOK, "chains": ["nobody"]}, "$.spec.chains[0]", "there is no ApprovalChain named 'nobody'"),
        ({**HOOK, "secret_from": {"env": "PATH"}}, "$.spec.secret_from", "begins with ASSENTRY_SECRET_"),
        ({**HOOK, "secret_from": {"file": "../keys/0001.pem"}}, "$.spec.secret_from", "without any folder"),
        ({**HOOK, "secret_from": {"file": ".hidden"}}, "$.spec.secret_from", "without any folder"),
        ({**HOOK, "secret_from": {}}, "$.spec.secret_from", "either {env: NAME} or {file: NAME}"),
        ({**HOOK, "secret_from": {"env": "ASSENTRY_SECRET_A", "file": "a"}}, "$.spec.secret_from", "either"),
        ({**HOOK, "old_secret_from": HOOK["secret_from"]}, "$.spec.old_secret_from", "it is the secret itself"),
        ({**HOOK, "url": "ftp://example.org"}, "$.spec.url", "begins with https://"),
        ({**HOOK, "url": "https://user:pw@example.org"}, "$.spec.url", "holds a user or password"),
        ({**HOOK, "url": "https://example.org:port"}, "$.spec.url", "no address"),
        ({**HOOK, "url_from": {"file": "a"}}, "$.spec.url", "either url, or url_from"),
        ({**HOOK, "decisions": {"map": "anything"}}, "$.spec.decisions.map", "email, external-id, name"),
        ({**JIRA, "project": 'OPS" OR project = "X'}, "$.spec.project", "the key of a project"),
        ({**JIRA, "user": "bot"}, "$.spec.user", "e-mail address"),
        ({**NOW, "table": "incident?x=1"}, "$.spec.table", "the name of a table"),
        ({**NOW, "fields": {"a^b": "x"}}, "$.spec.fields.a^b", "the name of a column"),
        ({**NOW, "closed": {"correlation_id": "x"}}, "$.spec.closed.correlation_id", "leave them to it"),
        ({"type": "apprise"}, "$.spec", "url_from"),
    ],
)
async def test_what_is_wrong_is_told_with_its_place(
    admin: httpx.AsyncClient, spec: dict[str, Any], path: str, words: str
) -> None:
    answer = await admin.post("/v1/documents/plan", json={"documents": [channel("one", spec)]})
    assert answer.status_code == 422
    (problem, *_) = answer.json()["errors"]
    assert problem["path"] == f"$.documents[0]{path[1:]}"
    assert words in problem["message"]


@on_sqlite
async def test_only_admins_change_where_the_deployment_speaks_to(
    client_of: Callable[[str], Awaitable[httpx.AsyncClient]],
) -> None:
    answer = await apply(await client_of("policy-editor"), channel("hook", HOOK))
    assert answer.status_code == 403


@on_sqlite
async def test_a_name_that_settings_use_is_taken(admin: httpx.AsyncClient) -> None:
    answer = await apply(admin, channel("slack", HOOK))
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "$.documents[0].metadata.name")


@on_sqlite
async def test_a_chain_that_a_channel_names_stays(admin: httpx.AsyncClient) -> None:
    chain = {
        "apiVersion": API,
        "kind": "ApprovalChain",
        "metadata": {"name": "dba"},
        "spec": {"stages": [{"groups": ["admins"]}]},
    }
    assert (await apply(admin, chain, channel("hook", {**HOOK, "chains": ["dba"]}))).is_success
    refused = await admin.delete("/v1/approval-chains/dba", headers={"if-match": "*"})
    assert refused.status_code == 422
    assert "there is no ApprovalChain named 'dba'" in refused.text


async def test_a_new_first_channel_begins_with_what_happens_from_now_on(
    admin: httpx.AsyncClient, control_plane: ControlPlane
) -> None:
    async with control_plane.units() as uow:
        uow.notice("approval.pending", "apr_before")
    assert (await apply(admin, channel("hook", HOOK))).is_success
    async with control_plane.units() as uow:
        uow.notice("approval.pending", "apr_after")
    await control_plane.notifications.fan_out.run()
    log = (await admin.get("/v1/notifications/deliveries")).json()["items"]
    assert [one["key"] for one in log] == ["apr_after"]


@on_sqlite
async def test_a_channel_is_the_same_object_until_its_document_changes(
    admin: httpx.AsyncClient, control_plane: ControlPlane
) -> None:
    async def present() -> dict[str, Channel]:
        async with control_plane.units.reading() as uow:
            return dict(await control_plane.notifications.channels.present(uow))

    await apply(admin, channel("hook", HOOK), channel("mail", MAIL))
    before = await present()
    assert await present() == before
    await apply(admin, channel("hook", {**HOOK, "events": ["approval.*"]}), channel("mail", MAIL))
    after = await present()
    assert after["hook"] is not before["hook"]
    assert after["mail"] is before["mail"]


# ------------------------------------------------------------------ what a channel chooses


@on_sqlite
async def test_a_channel_chooses_by_event_environment_label_and_chain(world: World) -> None:
    approval = await world.held()
    notice, facts = await Post(world, Fixed()).given("approval.pending", approval)
    courier = Scripted("any")

    def wants(selection: Selection) -> bool:
        return Selected("one", selection, courier).wants(notice, facts)

    chosen = [
        Selection(),
        Selection(events=("approval.*",)),
        Selection(environments=("staging", "production"), labels={"team": "shop"}, chains=("dba",)),
        AppriseSpec(url_from=SecretSource()),
    ]
    passed_over = [
        Selection(events=("approval.denied", "review.*")),
        Selection(environments=("staging",)),
        Selection(labels={"team": "bank"}),
        Selection(labels={"tier": "1"}),
        Selection(chains=("security",)),
    ]
    assert [wants(one) for one in chosen] == [True] * len(chosen)
    assert [wants(one) for one in passed_over] == [False] * len(passed_over)
    progress = msgspec.structs.replace(notice, kind="approval.agreed")
    assert not Selected("one", AppriseSpec(url_from=SecretSource()), courier).wants(progress, facts)
    lock = Notice(1, "fatigue.locked", "idn_bot", {}, 0)
    nobody = msgspec.structs.replace(facts, view=None)
    assert Selected("one", Selection(environments=("staging",)), courier).wants(lock, nobody)


# ------------------------------------------------------------------ secrets


def test_only_named_variables_and_plain_files_are_secrets(tmp_path: Path) -> None:
    """Invariant 9: whoever writes documents cannot have the control plane's own keys sent away."""
    (tmp_path / "good").write_text("value\n")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "large").write_text("x" * 20_000)
    secrets = Secrets(tmp_path, {"ASSENTRY_SECRET_A": "of the environment", "HOME": "/root"}.get)
    assert secrets.read(SecretSource(file="good")).reveal() == "value"
    assert secrets.read(SecretSource(env="ASSENTRY_SECRET_A")).reveal() == "of the environment"
    assert repr(secrets.read(SecretSource(file="good"))) == "***"
    wrong = [
        SecretSource(env="HOME"),
        SecretSource(env="ASSENTRY_SECRET_MISSING"),
        SecretSource(file="missing"),
        SecretSource(file="empty"),
        SecretSource(file="large"),
        SecretSource(file="../good"),
        SecretSource(file="/etc/passwd"),
    ]
    for source in wrong:
        with pytest.raises(Later):
            secrets.read(source)
    assert isinstance(secrets.read(SecretSource(file="good")), Secret)


def test_networks_are_written_with_commas() -> None:
    assert [str(one) for one in parse_networks("10.0.0.0/8, ::1/128,")] == ["10.0.0.0/8", "::1/128"]
    with pytest.raises(ValueError, match="with commas between them"):
        parse_networks("10.0.0.1/8")


# ------------------------------------------------------------------ the delivery log


async def scripted(control_plane: ControlPlane, channel: Scripted, *keys: str) -> None:
    control_plane.notifications.channels.add(channel)
    for key in keys:
        async with control_plane.units() as uow:
            uow.notice("approval.commented", key)
    post = Post.of(control_plane, channel)
    await post.round()


async def test_the_log_shows_every_delivery_and_can_be_narrowed(
    admin: httpx.AsyncClient, control_plane: ControlPlane
) -> None:
    hook = Scripted("hook", error=Never("answered 410"))
    await scripted(control_plane, hook, "apr_1", "apr_2")
    log = (await admin.get("/v1/notifications/deliveries")).json()["items"]
    assert [(one["key"], one["state"], one["attempts"], one["error"]) for one in log] == [
        ("apr_2", "failed", 1, "answered 410"),
        ("apr_1", "failed", 1, "answered 410"),
    ]
    one = (await admin.get("/v1/notifications/deliveries", params={"key": "apr_1", "state": "failed"})).json()["items"]
    assert [each["key"] for each in one] == ["apr_1"]
    assert (await admin.get("/v1/notifications/deliveries", params={"channel": "other"})).json()["items"] == []
    first = (await admin.get("/v1/notifications/deliveries", params={"limit": 1})).json()
    rest = await admin.get("/v1/notifications/deliveries", params={"limit": 1, "cursor": first["next_cursor"]})
    assert [each["key"] for each in rest.json()["items"]] == ["apr_1"]
    shown = await admin.get(f"/v1/notifications/deliveries/{log[0]['id']}")
    assert shown.json() == log[0]


async def test_an_admin_has_it_delivered_again_under_the_same_key(
    admin: httpx.AsyncClient, auditor: httpx.AsyncClient, control_plane: ControlPlane
) -> None:
    hook = Scripted("hook", error=Never("answered 410"))
    await scripted(control_plane, hook, "apr_1")
    (row,) = (await admin.get("/v1/notifications/deliveries")).json()["items"]
    hook.error = None
    again = await admin.post(f"/v1/notifications/deliveries/{row['id']}/redeliver")
    assert again.json()["state"] == "pending"
    await Post.of(control_plane, hook).round()
    assert [facts.idempotency_key for _, facts in hook.told] == [row["id"]]
    assert (await admin.get(f"/v1/notifications/deliveries/{row['id']}")).json()["state"] == "delivered"
    (entry,) = (await auditor.get("/v1/audit", params={"kind": "delivery.redelivered"})).json()["items"]
    assert entry["actor"]["name"] == "admin"


@on_sqlite
async def test_what_is_not_there_is_not_delivered_again(admin: httpx.AsyncClient, control_plane: ControlPlane) -> None:
    assert (await admin.post("/v1/notifications/deliveries/dlv_none/redeliver")).status_code == 404
    assert (await admin.get("/v1/notifications/deliveries/dlv_none")).status_code == 404
    hook = Scripted("hook")
    await scripted(control_plane, hook, "apr_1")
    control_plane.notifications.channels.remove("hook")
    (row,) = (await admin.get("/v1/notifications/deliveries")).json()["items"]
    assert (await admin.post(f"/v1/notifications/deliveries/{row['id']}/redeliver")).status_code == 409


@on_sqlite
async def test_nobody_else_reads_the_log(
    reviewer: httpx.AsyncClient, auditor: httpx.AsyncClient, machine: httpx.AsyncClient
) -> None:
    for client in (reviewer, auditor, machine):
        assert (await client.get("/v1/notifications/deliveries")).status_code == 403


async def test_what_is_old_is_forgotten(control_plane: ControlPlane, clock: ManualClock) -> None:
    await scripted(control_plane, Scripted("hook"), "apr_old")
    clock.advance(seconds=KEPT_FOR.total_seconds() + 1)
    async with control_plane.units() as uow:
        uow.notice("approval.commented", "apr_new")
        await uow.session.flush()
        await control_plane.notifications.service.forget(uow)
    post = Post.of(control_plane, Scripted("hook"))
    await post.round()
    assert [row.key for row in await post.deliveries()] == ["apr_new"]
    assert [row.key for row in await post.notices()] == ["apr_new"]


async def test_without_channels_nothing_is_kept_long(control_plane: ControlPlane, clock: ManualClock) -> None:
    async with control_plane.units() as uow:
        uow.notice("approval.commented", "apr_1")
    clock.advance(minutes=11)
    async with control_plane.units() as uow:
        uow.notice("approval.commented", "apr_2")
        await uow.session.flush()
        await control_plane.notifications.service.forget(uow)
    assert [row.key for row in await Post.of(control_plane).notices()] == ["apr_2"]
