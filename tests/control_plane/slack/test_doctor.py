"""`assentry doctor slack` finds what is wrong, and says what to do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from control_plane.cli import doctor as command
from control_plane.config import Settings
from control_plane.kit.clock import Clock, SystemClock
from control_plane.kit.starting import StartError
from control_plane.slack.config import configuration
from control_plane.slack.doctor import Doctor, Finding
from tests.control_plane.slack.conftest import DBA, SECURITY, slack_settings
from tests.support.slack.double import BOT_TOKEN, SlackDouble
from tests.support.slack.methods import SCOPES


@pytest.fixture
async def double() -> AsyncIterator[SlackDouble]:
    made = SlackDouble()
    made.workspace.channel(DBA, "dba")
    made.workspace.channel(SECURITY, "security")
    async with made.serving():
        yield made


async def examined(
    double: SlackDouble, mode: str = "socket", *, clock: Clock | None = None, url: str = "https://x", **more: Any
) -> dict[str, Finding]:
    identity = more.pop("identity", "email")
    found = configuration(Settings(**slack_settings(double, mode, identity, **more)))
    assert found is not None
    return {finding.check: finding async for finding in Doctor(found, url, clock or SystemClock()).examine()}


async def test_what_is_well_is_said_to_be(double: SlackDouble):
    found = await examined(double)
    assert {finding.verdict for finding in found.values()} == {"ok"}
    assert set(found) == {
        "identities", "bot token", "clock", "permissions", f"channel {DBA}", f"channel {SECURITY}", "socket",
    }  # fmt: skip
    assert "Test" in found["bot token"].told


@pytest.mark.parametrize(
    ("change", "check", "verdict", "told"),
    [
        ({"slack_bot_token": "xoxb-other"}, "bot token", "failed", "invalid_auth: the bot token is wrong"),
        ({"slack_app_token": "xapp-other"}, "socket", "failed", "connections:write"),
        ({"slack_channel": "C999"}, "channel C999", "failed", "channel_not_found"),
        ({"slack_api_url": "http://127.0.0.1:1/"}, "bot token", "failed", "could not be reached"),
    ],
)
async def test_a_wrong_setting_is_found(
    double: SlackDouble, change: dict[str, str], check: str, verdict: str, told: str
):
    finding = (await examined(double, **change))[check]
    assert finding.verdict == verdict
    assert told in finding.told


async def test_what_is_wrong_in_slack_is_found(double: SlackDouble):
    double.methods.scopes -= {"users:read.email"}
    double.workspace.channels[DBA].members.clear()
    double.workspace.channels[SECURITY].shared = True
    found = await examined(double)
    assert found["permissions"].verdict == "failed"
    assert "users:read.email is missing" in found["permissions"].told
    assert "/invite @Assentry" in found[f"channel {DBA}"].told
    assert found[f"channel {SECURITY}"].verdict == "warning"
    double.workspace.channels[DBA].archived = True
    assert "archived" in (await examined(double))[f"channel {DBA}"].told


async def test_scopes_of_the_other_mapping_are_not_asked_for(double: SlackDouble):
    double.methods.scopes -= {"users:read", "users:read.email"}
    assert (await examined(double, identity="slack-user-id"))["permissions"].verdict == "ok"
    double.methods.scopes -= {"channels:read"}
    found = await examined(double, identity="slack-user-id")
    assert found["permissions"].verdict == found[f"channel {DBA}"].verdict == "warning"


@pytest.mark.parametrize(("seconds", "verdict"), [(0, "ok"), (60, "warning"), (600, "failed")])
async def test_a_clock_that_is_wrong_is_found(double: SlackDouble, seconds: int, verdict: str):
    class Wrong:
        def now(self) -> datetime:
            return datetime.now(UTC) - timedelta(seconds=seconds)

    assert (await examined(double, clock=Wrong()))["clock"].verdict == verdict


async def test_an_endpoint_that_nobody_serves_is_found(double: SlackDouble):
    found = await examined(double, "http", url="http://127.0.0.1:1")
    assert found["public URL"].verdict == "failed"
    assert found["endpoint"].verdict == "warning"
    other = await examined(double, "http", url=double.api_url.removesuffix("/api/"))
    assert "is not there" in other["endpoint"].told


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"slack_mode": ""}, "ASSENTRY_SLACK_MODE: say http or socket"),
        ({"slack_identity": ""}, "ASSENTRY_SLACK_IDENTITY: say slack-user-id or email"),
        ({"slack_channel": ""}, "ASSENTRY_SLACK_CHANNEL: "),
        ({"slack_bot_token": ""}, "ASSENTRY_SLACK_BOT_TOKEN: is missing"),
        ({"slack_bot_token": "hunter2"}, "ASSENTRY_SLACK_BOT_TOKEN: is not one: it begins with xoxb-"),
        ({"slack_signing_secret": "hunter2"}, "ASSENTRY_SLACK_SIGNING_SECRET: is not one"),
        ({"slack_signing_secret": ""}, "ASSENTRY_SLACK_SIGNING_SECRET: is missing"),
        ({"slack_mode": "socket"}, "ASSENTRY_SLACK_APP_TOKEN: is missing"),
        ({"slack_bot_token_file": "/nowhere/token"}, "ASSENTRY_SLACK_BOT_TOKEN_FILE: ASSENTRY_SLACK_BOT_TOKEN is set"),
        ({"slack_bot_token": "", "slack_bot_token_file": "/nowhere/token"}, "BOT_TOKEN_FILE: cannot read"),
    ],
)
async def test_settings_that_are_half_said_stop_the_start(double: SlackDouble, change: dict[str, str], told: str):
    with pytest.raises(StartError) as error:
        configuration(Settings(**{**slack_settings(double, "http"), **change}))
    assert str(error.value).startswith(told.split(": ", maxsplit=1)[0]) or told in str(error.value)
    assert told in str(error.value)
    assert "hunter2" not in str(error.value)


async def test_secrets_come_from_files_too_and_never_print(double: SlackDouble, tmp_path: Any):
    file = tmp_path / "token"
    file.write_text(f"{BOT_TOKEN}\n")
    settings = Settings(**{**slack_settings(double, "http"), "slack_bot_token": "", "slack_bot_token_file": file})
    found = configuration(settings)
    assert found is not None
    assert found.bot_token.reveal() == BOT_TOKEN
    assert BOT_TOKEN not in repr(found) + repr(settings) + str(settings.model_dump())


async def test_nothing_configured_is_no_slack_and_a_channel_may_be_a_groups_own(double: SlackDouble):
    assert configuration(Settings()) is None
    found = configuration(Settings(**slack_settings(double, "http")))
    assert found is not None
    assert found.channels_of(frozenset({"dba"})) == {DBA}
    assert found.channels_of(frozenset({"security"})) == {SECURITY}
    assert found.channels_of(frozenset({"dba", "security"})) == {DBA, SECURITY}
    assert found.channels_of(frozenset()) == {DBA}


async def test_the_command_says_what_it_needs(monkeypatch: pytest.MonkeyPatch, double: SlackDouble):
    for name, value in slack_settings(double, "socket").items():
        monkeypatch.setenv(f"ASSENTRY_{name.upper()}", value)
    rows = await command._slack()
    assert {row["result"] for row in rows} == {"ok"}
    monkeypatch.setenv("ASSENTRY_SLACK_CHANNEL", "#dba")
    with pytest.raises(command.CommandError, match="ASSENTRY_SLACK_CHANNEL: is a channel's id"):
        await command._slack()
    monkeypatch.setenv("ASSENTRY_SLACK_CHANNEL", DBA)
    monkeypatch.setenv("ASSENTRY_SLACK_APP_TOKEN", "")
    with pytest.raises(command.CommandError, match="ASSENTRY_SLACK_APP_TOKEN"):
        await command._slack()


def test_the_manifest_asks_for_what_is_needed_and_no_more():
    manifest = YAML(typ="safe").load((Path(__file__).parents[3] / "deploy" / "slack" / "manifest.yaml").read_text())
    assert set(manifest["oauth_config"]["scopes"]["bot"]) == SCOPES
    settings = manifest["settings"]
    assert settings["interactivity"]["is_enabled"]
    assert settings["socket_mode_enabled"]
    assert not settings["token_rotation_enabled"]
    assert "event_subscriptions" not in settings
