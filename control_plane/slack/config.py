"""Slack's settings (`ASSENTRY_SLACK_…`), and the one value that the rest of Slack reads. Secrets print as ***."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec
from pydantic import SecretStr, field_validator
from pydantic_settings import BaseSettings

from control_plane.kit.secret import Secret
from control_plane.kit.starting import StartError

Mode = Literal["http", "socket"]
Mapped = Literal["slack-user-id", "email"]
_CHANNEL: Final = re.compile(r"[CG][A-Z0-9]{2,20}", re.ASCII)
_SECRET_FORM: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_HOW_TO: Final = "deploy/slack/README.md says where it is"


class SlackSettings(BaseSettings):
    """The control plane's settings inherit these. None of them: no Slack."""

    slack_mode: Literal["", "http", "socket"] = ""  # how Slack reaches us; empty: no Slack
    slack_identity: Literal["", "slack-user-id", "email"] = ""  # how a Slack user becomes an identity; no default
    slack_bot_token: SecretStr = SecretStr("")
    slack_bot_token_file: Path | None = None
    slack_signing_secret: SecretStr = SecretStr("")  # http
    slack_signing_secret_file: Path | None = None
    slack_app_token: SecretStr = SecretStr("")  # socket
    slack_app_token_file: Path | None = None
    slack_channel: str = ""  # where requests are shown, by its id
    slack_channels: str = ""  # dba=C012AB3CD,security=C056EF7GH: groups of reviewers with a channel of their own
    slack_api_url: str = "https://slack.com/api/"

    @field_validator("slack_channel")
    @classmethod
    def _is_channel(cls, value: str) -> str:
        if value and _CHANNEL.fullmatch(value) is None:
            raise ValueError("is a channel's id like C012AB3CD, which the channel's details show; not its name")
        return value

    @field_validator("slack_channels")
    @classmethod
    def _are_channels(cls, value: str) -> str:
        _channels(value)
        return value

    @field_validator("slack_api_url")
    @classmethod
    def _is_api(cls, value: str) -> str:
        if not value.startswith(("https://", "http://127.0.0.1:", "http://[::1]:")):
            raise ValueError("begins with https://")
        return value.rstrip("/") + "/"


def _channels(text: str) -> Mapping[str, str]:
    """Raises ValueError."""
    pairs = [one.strip().partition("=") for one in text.split(",") if one.strip()]
    for group, _, channel in pairs:
        if not group or _CHANNEL.fullmatch(channel) is None:
            raise ValueError("is a list of groups and channels' ids, as in dba=C012AB3CD,security=C056EF7GH")
    return {group: channel for group, _, channel in pairs}


class SlackConfiguration(msgspec.Struct, frozen=True):
    mode: Mode
    identity: Mapped
    bot_token: Secret
    signing_secret: Secret  # empty in socket mode
    app_token: Secret  # empty in http mode
    channel: str
    channels: Mapping[str, str]
    api_url: str

    def channels_of(self, groups: frozenset[str]) -> frozenset[str]:
        """Where requests that wait for these groups are shown: each group's own channel, else the one for all."""
        return frozenset(self.channels.get(group, self.channel) for group in groups) or frozenset({self.channel})


def configuration(settings: SlackSettings) -> SlackConfiguration | None:
    """None: no Slack. Raises StartError for what is half said."""
    token, signing, app = (_secret(settings, name) for name in ("bot_token", "signing_secret", "app_token"))
    if not settings.slack_mode:
        if token or signing or app:
            raise StartError("ASSENTRY_SLACK_MODE: say http or socket; without it the other Slack settings do nothing")
        return None
    if not settings.slack_identity:
        raise StartError("ASSENTRY_SLACK_IDENTITY: say slack-user-id or email: how a Slack user becomes an identity")
    if not settings.slack_channel:
        raise StartError("ASSENTRY_SLACK_CHANNEL: give the id of the channel where requests are shown")
    _check("BOT_TOKEN", token, token.reveal().startswith("xoxb-"), "begins with xoxb-")
    if settings.slack_mode == "http":
        form = _SECRET_FORM.fullmatch(signing.reveal()) is not None
        _check("SIGNING_SECRET", signing, form, "is 32 hexadecimal digits")
    else:
        _check("APP_TOKEN", app, app.reveal().startswith("xapp-"), "begins with xapp-")
    return SlackConfiguration(
        mode=settings.slack_mode,
        identity=settings.slack_identity,
        bot_token=token,
        signing_secret=signing,
        app_token=app,
        channel=settings.slack_channel,
        channels=_channels(settings.slack_channels),
        api_url=settings.slack_api_url,
    )


def _secret(settings: SlackSettings, name: str) -> Secret:
    """From its variable or its file. Empty: neither is there."""
    value: SecretStr = getattr(settings, f"slack_{name}")
    file: Path | None = getattr(settings, f"slack_{name}_file")
    if file is None:
        return Secret(value.get_secret_value().strip())
    variable = f"ASSENTRY_SLACK_{name.upper()}"
    if value.get_secret_value():
        raise StartError(f"{variable}_FILE: {variable} is set too; keep one of them")
    try:
        return Secret(file.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeError) as error:
        raise StartError(f"{variable}_FILE: cannot read {file}: {error}") from error


def _check(name: str, secret: Secret, well_formed: bool, form: str) -> None:  # noqa: FBT001 - read at its two callers
    if not secret:
        raise StartError(f"ASSENTRY_SLACK_{name}: is missing (or ASSENTRY_SLACK_{name}_FILE); {_HOW_TO}")
    if not well_formed:
        raise StartError(f"ASSENTRY_SLACK_{name}: is not one: it {form}; {_HOW_TO}")
