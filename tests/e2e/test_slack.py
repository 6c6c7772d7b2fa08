"""A plain psql, both planes as processes, and people who press buttons in a double of Slack."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import httpx
import pytest

from control_plane.cli.config import client_environment
from control_plane.slack.card import APPROVE, DENY
from tests.support.postgres import PostgresServer
from tests.support.slack.double import APP_TOKEN, BOT_TOKEN, SIGNING_SECRET
from tests.support.slack.threaded import ThreadedDouble, threaded_double
from tests.support.stack import REVIEWER, Stack, policy, running_stack, target

CHANNEL, ROSA = "C012DBA", "UROSA"
MAPPINGS = {"http": "email", "socket": "slack-user-id"}
RULES = (
    {"name": "reads", "match": {"action": "read"}, "effect": "allow"},
    {"name": "writes", "match": {"action": "write"}, "effect": "hold", "approval": "dba", "hold": {"wait": "60s"}},
)


@dataclass
class InSlack:
    stack: Stack
    slack: ThreadedDouble
    settings: dict[str, str]

    def message(self, text: str):
        return self.slack.live(CHANNEL, text)

    def press(self, text: str, action: str):
        message = self.message(text)
        pressed = self.slack.do(self.slack.double.press(ROSA, message, action))
        assert pressed.acknowledged
        assert pressed.attempts == 1
        return message


@pytest.fixture(scope="module", params=sorted(MAPPINGS))
def in_slack(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[InSlack]:
    mode, database = request.param, f"slack_{request.param}"
    postgres.execute(f"CREATE DATABASE {database}")
    postgres.execute("CREATE TABLE orders AS SELECT i AS id FROM generate_series(1, 20) i", database=database)
    with ExitStack() as opened:
        slack = opened.enter_context(threaded_double())
        slack.double.workspace.channel(CHANNEL, "dba")
        slack.double.workspace.user(ROSA, email="rosa@example.com")
        settings = {
            "slack_mode": mode,
            "slack_identity": MAPPINGS[mode],
            "slack_bot_token": BOT_TOKEN,
            "slack_signing_secret" if mode == "http" else "slack_app_token": SIGNING_SECRET
            if mode == "http"
            else APP_TOKEN,
            "slack_channel": CHANNEL,
            "slack_api_url": slack.double.api_url,
        }
        documents = [target(database, postgres, database), policy(database, database, *RULES)]
        account = (postgres.superuser, postgres.password)
        stack = opened.enter_context(running_stack(postgres, documents, {database: account}, control_settings=settings))
        if mode == "http":
            slack.sends_to(stack.control.url)
        else:
            headers = {"Authorization": f"Bearer {stack.control.admin.token}", "If-Match": "*"}
            path = f"{stack.control.url}/v1/identities/{REVIEWER}"
            httpx.patch(path, json={"slack_user_id": ROSA}, headers=headers).raise_for_status()
        yield InSlack(stack, slack, settings)


def name_of(in_slack: InSlack) -> str:
    return f"slack_{in_slack.settings['slack_mode']}"


def test_a_held_statement_is_approved_in_slack_and_runs(in_slack: InSlack) -> None:
    client = in_slack.stack.start_psql(name_of(in_slack), "DELETE FROM orders WHERE id = 3")
    message = in_slack.press("DELETE FROM orders WHERE id = 3", APPROVE)
    out, error = client.communicate(timeout=60)
    assert (client.returncode, out.strip()) == (0, "DELETE 1"), error
    in_slack.slack.until(lambda: "Executed: write on" in message.shown and "DELETE 1" in message.shown)
    assert not message.buttons
    assert len(in_slack.slack.double.workspace.in_channel(CHANNEL)) >= 1
    assert in_slack.slack.double.refusals == []


def test_a_denial_in_slack_reaches_the_client_with_its_reason(in_slack: InSlack) -> None:
    workspace = in_slack.slack.double.workspace
    workspace.modals.clear()
    client = in_slack.stack.start_psql(name_of(in_slack), "DELETE FROM orders WHERE id = 4")
    message = in_slack.press("DELETE FROM orders WHERE id = 4", DENY)
    modal = in_slack.slack.until(lambda: next(iter(workspace.modals), None))
    assert in_slack.slack.do(in_slack.slack.double.submit(modal, "the audit is not over")).body == {}
    _, error = client.communicate(timeout=60)
    assert client.returncode != 0
    assert "the audit is not over" in error
    in_slack.slack.until(lambda: "Denied: write on" in message.shown)


def test_a_client_that_gives_up_takes_the_buttons_away(in_slack: InSlack) -> None:
    client = in_slack.stack.start_psql(name_of(in_slack), "DELETE FROM orders WHERE id = 5")
    message = in_slack.message("DELETE FROM orders WHERE id = 5")
    client.terminate()
    client.communicate(timeout=60)
    in_slack.slack.until(lambda: not message.buttons)
    assert "Cancelled: write on" in message.shown


def test_a_control_plane_that_was_killed_goes_on_with_its_messages(in_slack: InSlack) -> None:
    client = in_slack.stack.start_psql(name_of(in_slack), "DELETE FROM orders WHERE id = 6")
    message = in_slack.message("DELETE FROM orders WHERE id = 6")
    in_slack.stack.control.kill()
    in_slack.stack.control.start()
    if in_slack.settings["slack_mode"] == "socket":
        in_slack.slack.until(lambda: in_slack.slack.double.connections)
    in_slack.press("DELETE FROM orders WHERE id = 6", APPROVE)
    out, error = client.communicate(timeout=60)
    assert (client.returncode, out.strip()) == (0, "DELETE 1"), error
    in_slack.slack.until(lambda: "Executed: write on" in message.shown)
    live = [one for one in in_slack.slack.double.workspace.in_channel(CHANNEL) if "id = 6" in one.shown]
    assert live == [message]


def test_doctor_looks_at_the_running_control_plane(in_slack: InSlack) -> None:
    settings = {f"ASSENTRY_{name.upper()}": value for name, value in in_slack.settings.items()}
    environment = client_environment(ASSENTRY_PUBLIC_URL=in_slack.stack.control.url, **settings)
    command = [sys.executable, "-c", "from control_plane.cli.main import main; main()", "doctor", "slack"]
    done = subprocess.run(
        [*command, "--output", "json"], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    found = {one["check"]: one for one in json.loads(done.stdout)}
    bad = {check for check, one in found.items() if one["result"] != "ok"}
    if in_slack.settings["slack_mode"] == "http":
        assert bad == {"public URL"}  # https only; everything else is well
        assert "takes what Slack signs, and nothing else" in found["endpoint"]["told"]
    else:
        assert bad == set()
    assert done.returncode == bool(bad)
    assert not {BOT_TOKEN, SIGNING_SECRET, APP_TOKEN} & set(done.stdout.split() + done.stderr.split())
