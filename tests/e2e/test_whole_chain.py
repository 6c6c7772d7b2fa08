"""One chain of two stages through every channel: two of dba and one of security, then whoever is on call.

Ada is in Slack, Bob in a browser, Sam at the command line, Olga on call in Slack; an unmodified psql waits for all of
them. And each way in which it ends without having run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from control_plane.cli.client import Api
from control_plane.cli.config import Profile, save_profile_to
from control_plane.slack.card import APPROVE, DENY
from tests.e2e.test_console import ARGUMENTS
from tests.support.postgres import PostgresServer
from tests.support.slack.double import BOT_TOKEN, SIGNING_SECRET
from tests.support.slack.threaded import ThreadedDouble, threaded_double
from tests.support.stack import REVIEWER, Stack, document, eventually, policy, running_stack, target

NAME, CHANNEL, WAIT = "chained", "C012ALL", 60
PEOPLE = ("ada", "bob", "sam", "olga")
STAGES = [
    {"name": "agree", "all": [{"groups": ["data"], "require": 2}, {"groups": ["security"]}], "timeout": "5m"},
    {"name": "on call", "on_call": ["primary"], "timeout": "5m"},
]
ROTATION = {"people": ["olga"], "start": "2026-01-05T09:00:00", "every": "7d", "timezone": "Europe/Berlin"}
DOCUMENTS = [
    *(document("Identity", name, kind="person", email=f"{name}@example.com") for name in PEOPLE),
    document("Group", "data", members=["ada", "bob"], roles=["reviewer"]),
    document("Group", "security", members=["sam"], roles=["reviewer"]),
    document("Group", "watch", members=["olga"], roles=["reviewer"]),
    document("OnCallSchedule", "primary", rotation=ROTATION),
    document("ApprovalChain", "whole", stages=STAGES),
    document("ApprovalChain", "hasty", stages=[{"groups": ["data"], "timeout": "3s"}]),
]
READS = {"name": "reads", "match": {"action": "read"}, "effect": "allow"}
HELD = {"match": {"action": "write"}, "effect": "hold", "hold": {"wait": "120s"}}
RULES = (
    READS,
    {**HELD, "name": "deletes", "match": {"verbs": ["DELETE"]}, "approval": "whole"},
    {**HELD, "name": "updates", "match": {"verbs": ["UPDATE"]}, "approval": "hasty"},
)


@dataclass
class Scene:
    stack: Stack
    slack: ThreadedDouble
    browser: Browser
    folder: Path
    passwords: dict[str, str]
    profiles: dict[str, Profile]

    def hold(self, row: int) -> tuple[subprocess.Popen[str], dict[str, Any], str]:
        """A psql that waits, its request, and its statement."""
        statement = f"DELETE FROM orders WHERE id = {row}"
        client = self.stack.start_psql(NAME, statement, "SELECT 'alive'")
        found = eventually(lambda: self._waiting(statement), statement)
        return client, self.stack.approval(found["id"]), statement

    def _waiting(self, statement: str) -> Any:
        waiting = self.stack.reviewer.pages("/v1/approvals", 100, show="all")
        return next((one for one in waiting if one["headline"] == statement), None)

    def in_slack(self, who: str, statement: str, action: str = APPROVE) -> None:
        message = self.slack.live(CHANNEL, statement)
        assert self.slack.do(self.slack.double.press(f"U{who.upper()}", message, action)).acknowledged

    def at_the_command_line(self, who: str, *words: str) -> subprocess.CompletedProcess[str]:
        profile = self.folder / f"{who}.json"
        save_profile_to(profile, self.profiles[who])
        command = [sys.executable, "-c", "from control_plane.cli.main import main; main()", "approvals", *words]
        environment = {**os.environ, "ASSENTRY_PROFILE": str(profile)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=WAIT)

    def in_the_console(self, who: str, request: dict[str, Any]) -> Page:
        page = self.browser.new_context().new_page()
        page.goto(f"{self.stack.control.url}/approvals/{request['short_code']}")
        page.get_by_label("Name").fill(who)
        page.get_by_label("Password").fill(self.passwords[who])
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("#state")).to_have_text("pending")
        return page

    def agreed(self, request: dict[str, Any], people: set[str]) -> None:
        def names() -> bool:
            return {one["name"] for one in self.stack.approval(request["id"])["decisions"]} == people

        eventually(names, f"the agreement of {sorted(people)}")

    def stage(self, request: dict[str, Any]) -> str:
        stages = self.stack.approval(request["id"])["stages"]
        return next((one["name"] for one in stages if one["state"] == "waiting"), "")

    def is_there(self, row: int) -> bool:
        return self.stack.psql(NAME, f"SELECT count(*) FROM orders WHERE id = {row}").stdout.strip() == "1"

    def told(self, client: subprocess.Popen[str], row: int, words: str) -> None:
        """The client was refused with these words, its session lives on, and nothing ran."""
        out, error = client.communicate(timeout=WAIT)
        assert words in error
        assert "alive" in out
        assert self.is_there(row)


@pytest.fixture(scope="module")
def scene(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    postgres.execute(f"CREATE DATABASE {NAME}")
    postgres.execute("CREATE TABLE orders AS SELECT i AS id FROM generate_series(1, 40) i", database=NAME)
    chromium = shutil.which("chromium")
    assert chromium, "chromium is not installed: run `make system`"
    with ExitStack() as opened:
        slack = opened.enter_context(threaded_double())
        slack.double.workspace.channel(CHANNEL, "all")
        for name in PEOPLE:
            slack.double.workspace.user(f"U{name.upper()}", email=f"{name}@example.com")
        settings = {
            "slack_mode": "http",
            "slack_identity": "email",
            "slack_bot_token": BOT_TOKEN,
            "slack_signing_secret": SIGNING_SECRET,
            "slack_channel": CHANNEL,
            "slack_api_url": slack.double.api_url,
        }
        documents = [*DOCUMENTS, target(NAME, postgres, NAME), policy(NAME, NAME, *RULES)]
        account = {NAME: (postgres.superuser, postgres.password)}
        stack = opened.enter_context(running_stack(postgres, documents, account, control_settings=settings))
        slack.sends_to(stack.control.url)
        playwright = opened.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        opened.callback(browser.close)
        passwords = {name: stack.control.give_password(name) for name in PEOPLE}
        profiles = {name: stack.control.sign_in(name, password) for name, password in passwords.items()}
        yield Scene(stack, slack, browser, tmp_path_factory.mktemp("people"), passwords, profiles)


def test_two_stages_are_agreed_to_in_slack_the_console_and_the_command_line_and_then_it_runs(scene: Scene) -> None:
    client, request, statement = scene.hold(1)
    scene.in_slack("ada", statement)
    scene.agreed(request, {"ada"})
    page = scene.in_the_console("bob", request)
    page.get_by_role("button", name="Approve exactly this").click()
    scene.agreed(request, {"ada", "bob"})
    assert client.poll() is None
    assert scene.stage(request) == "agree", "two of data are not security"
    said = scene.at_the_command_line("sam", "approve", request["short_code"], "--yes")
    assert said.returncode == 0, said.stderr
    assert scene.stage(request) == "on call"
    assert scene.is_there(1)
    expect(page.get_by_label("Stages of the chain").locator("li.waiting")).to_contain_text("on call", timeout=10_000)
    scene.in_slack("olga", statement)
    out, error = client.communicate(timeout=WAIT)
    assert "DELETE 1" in out, error
    assert not scene.is_there(1)
    expect(page.locator("#state")).to_have_text("executed", timeout=10_000)
    done = scene.stack.approval(request["id"])
    channels = {one["name"]: one["channel"] for one in done["decisions"]}
    assert channels == {"ada": "slack", "bob": "console", "sam": "cli", "olga": "slack"}
    message = next(one for one in scene.slack.double.workspace.in_channel(CHANNEL) if statement in one.shown)
    scene.slack.until(lambda: "DELETE 1" in message.shown and not message.buttons)
    for kind in ("approval.requested", "approval.agreed", "approval.approved", "approval.grant-consumed"):
        assert scene.stack.audited(kind, request["id"]), kind


def test_a_denial_in_slack_at_the_last_stage_ends_it(scene: Scene) -> None:
    client, request, statement = scene.hold(2)
    for who in ("ada", "bob", "sam"):
        assert scene.at_the_command_line(who, "approve", request["short_code"], "--yes").returncode == 0
    modals = scene.slack.double.workspace.modals
    modals.clear()
    scene.in_slack("olga", statement, DENY)
    modal = scene.slack.until(lambda: next(iter(modals), None))
    scene.slack.do(scene.slack.double.submit(modal, "not in my watch"))
    scene.told(client, 2, "not in my watch")


def test_a_denial_in_the_console_at_the_first_stage_ends_it(scene: Scene) -> None:
    client, request, _ = scene.hold(3)
    page = scene.in_the_console("bob", request)
    page.get_by_label("Reason").fill("there is no backup")
    page.get_by_role("button", name="Deny").click()
    scene.told(client, 3, "there is no backup")


def test_one_person_through_two_channels_counts_once(scene: Scene) -> None:
    client, request, statement = scene.hold(4)
    scene.in_slack("ada", statement)
    scene.agreed(request, {"ada"})
    again = scene.at_the_command_line("ada", "approve", request["short_code"], "--yes")
    assert again.returncode != 0
    assert "counts once" in again.stderr
    scene.at_the_command_line("sam", "approve", request["short_code"], "--yes")
    assert scene.stage(request) == "agree"
    scene.at_the_command_line("bob", "deny", request["short_code"], "--yes", "--reason", "only a test")
    scene.told(client, 4, "only a test")


def test_whoever_is_asked_later_does_not_count_before(scene: Scene) -> None:
    client, request, statement = scene.hold(5)
    scene.in_slack("olga", statement)
    scene.slack.until(lambda: scene.slack.double.workspace.told("UOLGA"))
    early = scene.at_the_command_line("olga", "approve", request["short_code"], "--yes")
    assert early.returncode != 0
    assert scene.stack.approval(request["id"])["decisions"] == []
    scene.at_the_command_line("bob", "deny", request["short_code"], "--yes", "--reason", "only a test")
    scene.told(client, 5, "only a test")


def test_nobody_in_time_is_told_apart_from_a_denial(scene: Scene) -> None:
    client = scene.stack.start_psql(NAME, "UPDATE orders SET id = 606 WHERE id = 6", "SELECT 'alive'")
    scene.told(client, 6, "nobody decided in time")
    assert scene.stack.audited("approval.expired")


def test_a_client_that_goes_away_after_the_first_stage_runs_nothing(scene: Scene) -> None:
    client, request, statement = scene.hold(7)
    for who in ("ada", "bob", "sam"):
        assert scene.at_the_command_line(who, "approve", request["short_code"], "--yes").returncode == 0
    message = scene.slack.live(CHANNEL, statement)
    client.terminate()
    client.communicate(timeout=WAIT)
    scene.slack.until(lambda: not message.buttons)
    late = scene.at_the_command_line("olga", "approve", request["short_code"], "--yes")
    assert late.returncode != 0
    assert scene.is_there(7)


def test_a_role_that_is_lost_after_agreeing_takes_the_agreement_back(scene: Scene) -> None:
    client, request, _ = scene.hold(8)
    for who in ("ada", "bob", "sam"):
        assert scene.at_the_command_line(who, "approve", request["short_code"], "--yes").returncode == 0
    assert scene.stage(request) == "on call"
    _members(scene.stack, "security", [REVIEWER])
    try:
        eventually(lambda: scene.stage(request) == "agree", "the first stage waits again")
    finally:
        _members(scene.stack, "security", ["sam"])
    refused = scene.at_the_command_line("bob", "withdraw", request["short_code"])
    assert "only the requester" in refused.stderr
    scene.stack.admin.post(f"/v1/approvals/{request['id']}/withdraw", {"reason": "the owner changed their mind"})
    scene.told(client, 8, "the owner changed their mind")


def test_a_chain_that_changes_meanwhile_voids_what_was_agreed(scene: Scene) -> None:
    client, request, _ = scene.hold(9)
    assert scene.at_the_command_line("ada", "approve", request["short_code"], "--yes").returncode == 0
    changed = [{**STAGES[0], "timeout": "6m"}, STAGES[1]]
    scene.stack.control.apply([document("ApprovalChain", "whole", stages=changed)])
    scene.told(client, 9, "changed since")


def test_the_requesters_owner_does_not_decide(scene: Scene) -> None:
    client, request, _ = scene.hold(10)
    with pytest.raises(Exception, match=r"needs the permission|owner"):
        scene.stack.admin.post(f"/v1/approvals/{request['id']}/approve", {"digest": request["digest"]})
    machine = Api(Profile(scene.stack.control.url, scene.stack.token))
    with machine, pytest.raises(Exception, match=r"person|signed in|sign-in"):
        machine.post(f"/v1/approvals/{request['id']}/approve", {"digest": request["digest"]})
    scene.at_the_command_line("bob", "deny", request["short_code"], "--yes", "--reason", "only a test")
    scene.told(client, 10, "only a test")


def _members(stack: Stack, group: str, members: list[str]) -> None:
    headers = {"Authorization": f"Bearer {stack.control.admin.token}", "If-Match": "*"}
    body = {"members": members, "roles": ["reviewer"]}
    httpx.put(f"{stack.control.url}/v1/groups/{group}", json=body, headers=headers).raise_for_status()
