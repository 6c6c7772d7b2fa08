"""Looks whether Slack is set up as the settings say, and tells what to mend. It changes nothing, here or in Slack.

It asks Slack with the tokens, and the running control plane from outside, as Slack would. It cannot see whether Slack's
own settings name this URL, nor whether the identities fit: the guide in deploy/slack says how to try that.
"""

from __future__ import annotations

import enum
import json
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlencode

import aiohttp
import httpx
import msgspec
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient

from control_plane.kit.clock import Clock, milliseconds
from control_plane.kit.ids import random_text
from control_plane.slack.api import SlackError, WebApi, Workspace
from control_plane.slack.config import SlackConfiguration
from control_plane.slack.hints import hint

PATH: Final = "/v1/slack/interactions"
_PATIENCE: Final = 10.0
_SKEW_IS_BAD: Final = 240.0  # seconds; at 300 every request is refused
_SKEW_IS_ODD: Final = 30.0
_NEEDED: Final = {"chat:write": "shows requests"}
_NEEDED_BY_EMAIL: Final = {"users:read": "finds who presses", "users:read.email": "reads their address"}
_HELPFUL: Final = {"channels:read": "lets this command see channels"}


class Verdict(enum.StrEnum):
    GOOD = "ok"
    DOUBTFUL = "warning"
    BAD = "failed"


class Finding(msgspec.Struct, frozen=True):
    verdict: Verdict
    check: str
    told: str


def good(check: str, told: str) -> Finding:
    return Finding(Verdict.GOOD, check, told)


def doubtful(check: str, told: str) -> Finding:
    return Finding(Verdict.DOUBTFUL, check, told)


def bad(check: str, told: str) -> Finding:
    return Finding(Verdict.BAD, check, told)


class Doctor:
    def __init__(self, configuration: SlackConfiguration, public_url: str, clock: Clock) -> None:
        self._configuration = configuration
        self._public_url = public_url
        self._clock = clock

    async def examine(self) -> AsyncIterator[Finding]:
        """One after the other, as they are found. What needs the bot token is left out when it is not good."""
        yield self._mapping()
        api = WebApi(self._configuration.bot_token, self._configuration.api_url)
        try:
            workspace = await api.workspace()
        except SlackError as error:
            yield bad("bot token", f"{error}{hint(error.code)}")
        else:
            yield good("bot token", f"the app is installed in {workspace.team} ({workspace.team_id})")
            yield self._skew(workspace)
            for finding in self._scopes(workspace):
                yield finding
            for channel in sorted({self._configuration.channel, *self._configuration.channels.values()}):
                yield await self._channel(api, channel)
        finally:
            await api.close()
        if self._configuration.mode == "socket":
            yield await self._socket()
        else:
            async for finding in self._http():
                yield finding

    def _mapping(self) -> Finding:
        if self._configuration.identity == "email":
            return good("identities", "a person is who has the same confirmed e-mail address in Slack and here")
        return good("identities", "a person is who has the Slack user's id as slack_user_id here")

    def _skew(self, workspace: Workspace) -> Finding:
        try:
            theirs = milliseconds(parsedate_to_datetime(workspace.at)) / 1000
        except (TypeError, ValueError):
            return doubtful("clock", "Slack did not say what time it is")
        skew = abs(milliseconds(self._clock.now()) / 1000 - theirs)
        told = f"this machine and Slack differ by {skew:.0f} s"
        if skew > _SKEW_IS_BAD:
            return bad("clock", f"{told}: set it right (NTP), what Slack signs is refused as too old")
        return doubtful("clock", f"{told}: set it right (NTP)") if skew > _SKEW_IS_ODD else good("clock", told)

    def _scopes(self, workspace: Workspace) -> list[Finding]:
        if not workspace.scopes:
            return [doubtful("permissions", "Slack did not say which permissions the app has")]
        needed = {**_NEEDED, **(_NEEDED_BY_EMAIL if self._configuration.identity == "email" else {})}
        again = "add it under OAuth & Permissions and install the app again"
        found = [
            bad("permissions", f"{scope} is missing, which {what}: {again}")
            for scope, what in needed.items()
            if scope not in workspace.scopes
        ]
        found += [
            doubtful("permissions", f"{scope} is missing, which {what}: {again}")
            for scope, what in _HELPFUL.items()
            if scope not in workspace.scopes
        ]
        return found or [good("permissions", f"the app has {', '.join(sorted(needed))}")]

    async def _channel(self, api: WebApi, channel: str) -> Finding:
        check = f"channel {channel}"
        try:
            found = await api.channel(channel)
        except SlackError as error:
            if error.code == "missing_scope":
                return doubtful(check, "cannot be looked at without channels:read (groups:read for a private one)")
            return bad(check, f"{error}{hint(error.code)}")
        if found.is_archived:
            return bad(check, f"#{found.name} is archived: choose another")
        if not found.is_member:
            return bad(check, f"the app is not in #{found.name}: type /invite @Assentry there")
        if found.is_shared:
            return doubtful(
                check, f"#{found.name} is shared with another organisation, whose people read what is asked"
            )
        return good(check, f"the app is in #{found.name}")

    async def _socket(self) -> Finding:
        """Opens one and waits for Slack's hello. What arrives on it is not acknowledged, so Slack sends it again."""
        token = self._configuration.app_token.reveal()
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_PATIENCE)) as session:
                client = AsyncWebClient(base_url=self._configuration.api_url, session=session, retry_handlers=[])
                opened = await client.apps_connections_open(app_token=token)
                async with session.ws_connect(str(opened["url"]), proxy=client.proxy) as socket:
                    hello = await socket.receive_json(timeout=_PATIENCE)
        except SlackApiError as error:
            code = str(error.response.get("error", "")) if hasattr(error.response, "get") else ""
            return bad("socket", f"the app-level token is not good ({code}): it needs the scope connections:write")
        except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError, TypeError, ValueError) as error:
            return bad("socket", f"it could not be opened ({type(error).__name__}){hint('unreachable')}")
        if hello.get("type") != "hello":
            return bad("socket", "Slack did not greet: see that Socket Mode is on for the app")
        return good("socket", f"it opens; {hello.get('num_connections', 1)} are open with this one")

    async def _http(self) -> AsyncIterator[Finding]:
        url = self._public_url + PATH
        if not self._public_url.startswith("https://"):
            yield bad("public URL", f"Slack sends to https only, and ASSENTRY_PUBLIC_URL is {self._public_url}")
        else:
            yield good("public URL", f"Interactivity's Request URL in Slack must be {url}")
        try:
            async with httpx.AsyncClient(timeout=_PATIENCE) as client:
                unsigned = await client.post(url, data={"payload": "{}"})
                body, headers = self._signed()
                signed = await client.post(url, content=body, headers=headers)
        except httpx.HTTPError as error:
            yield doubtful("endpoint", f"{url} does not answer from here ({type(error).__name__}): is it running?")
            return
        yield self._endpoint(url, unsigned.status_code, signed.status_code)

    @staticmethod
    def _endpoint(url: str, unsigned: int, signed: int) -> Finding:
        if unsigned == httpx.codes.NOT_FOUND:
            return bad("endpoint", f"{url} is not there: the control plane runs without ASSENTRY_SLACK_MODE=http")
        if unsigned != httpx.codes.UNAUTHORIZED:
            return bad("endpoint", f"{url} answers {unsigned} to what nobody signed: is that the control plane?")
        if signed != httpx.codes.OK:
            return bad("endpoint", f"{url} refuses what this signing secret signs: it runs with another one, or clock")
        return good("endpoint", f"{url} takes what Slack signs, and nothing else")

    def _signed(self) -> tuple[bytes, dict[str, str]]:
        """An interaction that means nothing, signed as Slack would."""
        now = str(milliseconds(self._clock.now()) // 1000)
        nothing = {"type": "assentry_doctor", "user": {"id": "U000"}, "trigger_id": random_text(20)}
        body = urlencode({"payload": json.dumps(nothing)}).encode()
        verifier = SignatureVerifier(self._configuration.signing_secret.reveal())
        signature = verifier.generate_signature(timestamp=now, body=body) or ""
        kind = "application/x-www-form-urlencoded"
        return body, {"content-type": kind, "x-slack-request-timestamp": now, "x-slack-signature": signature}
