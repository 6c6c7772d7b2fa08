"""Slack's Web API as far as it is used, over slack-sdk and one session of connections. Knows nothing of approvals.

Nothing is tried again here: whoever calls has a queue. No token stands in what it raises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import aiohttp
import msgspec
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from control_plane.kit.display import displayed, fitted
from control_plane.kit.secret import Secret
from control_plane.slack.blocks import MOST_OF_A_TEXT, Block, escaped, lines, plain
from control_plane.slack.card import Card

_PATIENCE_SECONDS: Final = 10
_RATE_LIMITED_SECONDS: Final = 30  # when Slack does not say


class SlackError(Exception):
    """Slack refused, or could not be asked. `code` is Slack's own word, or `unreachable`."""

    def __init__(self, method: str, code: str, detail: str = "", retry_after: float = 0) -> None:
        super().__init__(f"{method}: {code}" + (f" ({detail})" if detail else ""))
        self.code = code
        self.detail = detail
        self.retry_after = retry_after  # seconds; 0: Slack did not say


class Workspace(msgspec.Struct, frozen=True):
    """Where the app is installed, and as whom."""

    team_id: str
    team: str
    enterprise_id: str
    bot_user_id: str
    scopes: frozenset[str]
    at: str  # Slack's clock, as HTTP's Date


class SlackUser(msgspec.Struct, frozen=True):
    id: str
    team_id: str
    email: str  # empty: none, or not confirmed
    problem: str  # why this user is nobody's identity here: a bot, a guest, gone. Empty: a full member


class SlackChannelInfo(msgspec.Struct, frozen=True):
    name: str
    is_member: bool
    is_archived: bool
    is_shared: bool  # with other organisations


class SlackApi(Protocol):
    async def workspace(self) -> Workspace: ...

    async def post(self, channel: str, card: Card) -> str:
        """The new message's ts."""

    async def update(self, channel: str, ts: str, card: Card) -> None: ...

    async def reply(self, channel: str, ts: str, text: str, *, broadcast: bool = False) -> None:
        """In the message's thread; `broadcast` shows it in the channel too. Plain text."""

    async def tell(self, channel: str, user_id: str, text: str) -> None:
        """To this person alone. Plain text."""

    async def open_view(self, trigger_id: str, view: Block) -> None: ...

    async def user(self, user_id: str) -> SlackUser: ...

    async def channel(self, channel_id: str) -> SlackChannelInfo: ...


class WebApi:
    """SlackApi over HTTP."""

    def __init__(self, token: Secret, base_url: str) -> None:
        self._token = token
        self._base_url = base_url
        self._session: aiohttp.ClientSession | None = None

    def client(self) -> AsyncWebClient:
        """Must be called in the event loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_PATIENCE_SECONDS))
        return AsyncWebClient(
            self._token.reveal(), self._base_url, _PATIENCE_SECONDS, session=self._session, retry_handlers=[]
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def workspace(self) -> Workspace:
        answer = await self._call("auth.test")
        headers: Mapping[str, str] = answer.headers
        scopes = next((value for name, value in headers.items() if name.lower() == "x-oauth-scopes"), "")
        return Workspace(
            team_id=str(answer.get("team_id", "")),
            team=str(answer.get("team", "")),
            enterprise_id=str(answer.get("enterprise_id") or ""),
            bot_user_id=str(answer.get("user_id", "")),
            scopes=frozenset(scope.strip() for scope in scopes.split(",") if scope.strip()),
            at=next((value for name, value in headers.items() if name.lower() == "date"), ""),
        )

    async def post(self, channel: str, card: Card) -> str:
        return str(
            (await self._call("chat.postMessage", channel=channel, **_body(card.text, card.blocks), **_NEW))["ts"]
        )

    async def update(self, channel: str, ts: str, card: Card) -> None:
        await self._call("chat.update", channel=channel, ts=ts, **_body(card.text, card.blocks))

    async def reply(self, channel: str, ts: str, text: str, *, broadcast: bool = False) -> None:
        said = {**_text(text), **_NEW, "thread_ts": ts, "reply_broadcast": broadcast}
        await self._call("chat.postMessage", channel=channel, **said)

    async def tell(self, channel: str, user_id: str, text: str) -> None:
        await self._call("chat.postEphemeral", channel=channel, user=user_id, **_text(text))

    async def open_view(self, trigger_id: str, view: Block) -> None:
        await self._call("views.open", trigger_id=trigger_id, view=view)

    async def user(self, user_id: str) -> SlackUser:
        answer = await self._call("users.info", user=user_id)
        return _user(answer["user"])

    async def channel(self, channel_id: str) -> SlackChannelInfo:
        found: Mapping[str, Any] = (await self._call("conversations.info", channel=channel_id))["channel"]
        shared = bool(found.get("is_ext_shared") or found.get("is_pending_ext_shared"))
        name = str(found.get("name", ""))
        return SlackChannelInfo(name, bool(found.get("is_member")), bool(found.get("is_archived")), shared)

    async def _call(self, method: str, **arguments: Any) -> AsyncSlackResponse:
        reads = method in _READS
        try:
            # What reads takes forms only; JSON is for what writes.
            sent: dict[str, Any] = {"params": arguments} if reads else {"json": arguments}
            return await self.client().api_call(method, http_verb="GET" if reads else "POST", **sent)
        except SlackApiError as error:
            raise _refused(method, error) from None
        except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError) as error:
            raise SlackError(method, "unreachable", type(error).__name__) from None


_READS: Final = frozenset({"users.info", "conversations.info"})


def _body(text: str, blocks: Sequence[Block]) -> dict[str, Any]:
    """`text` is escaped. Nothing is looked for in it: no names and no links."""
    return {"text": text, "blocks": list(blocks), "parse": "none", "link_names": False}


def _text(text: str) -> dict[str, Any]:
    """In a block of its own, where it is data; the text beside it is for notifications."""
    fit = fitted(displayed(text).text, MOST_OF_A_TEXT // 2)
    shown = fit.text + (f" … {fit.hidden_bytes} bytes hidden, see the console" if fit.hidden_bytes else "")
    return _body(escaped(fit.text), [lines([plain(shown)])])


# Only a new message knows these: its text is no markup, and links get no previews.
_NEW: Final[Mapping[str, Any]] = {"mrkdwn": False, "unfurl_links": False, "unfurl_media": False}


def _user(found: Mapping[str, Any]) -> SlackUser:
    profile: Mapping[str, Any] = found.get("profile") or {}
    confirmed = found.get("is_email_confirmed") is True
    email = str(profile.get("email") or "") if confirmed else ""
    return SlackUser(str(found.get("id", "")), str(found.get("team_id", "")), email, _problem(found, _NOBODY))


def _problem(found: Mapping[str, Any], nobody: Sequence[tuple[str, str]]) -> str:
    return next((words for field, words in nobody if found.get(field)), "")


_NOBODY: Final = (
    ("deleted", "is deactivated"),
    ("is_bot", "is a bot"),
    ("is_workflow_bot", "is a workflow"),
    ("is_app_user", "is an app"),
    ("is_ultra_restricted", "is a guest"),
    ("is_restricted", "is a guest"),
    ("is_stranger", "belongs to another organisation"),
    ("is_invited_user", "has not accepted the invitation"),
)


def _refused(method: str, error: SlackApiError) -> SlackError:
    response = error.response
    if not isinstance(response, AsyncSlackResponse):
        return SlackError(method, "unreachable", f"HTTP {getattr(response, 'status', '')}")
    data = response.data if isinstance(response.data, dict) else {}
    if response.status_code == 429:
        return SlackError(method, "ratelimited", retry_after=_seconds(response.headers))
    if response.status_code >= 500:
        return SlackError(method, "unreachable", f"HTTP {response.status_code}")
    messages = (data.get("response_metadata") or {}).get("messages") or []
    return SlackError(method, str(data.get("error") or f"HTTP {response.status_code}"), "; ".join(messages)[:300])


def _seconds(headers: Mapping[str, str]) -> float:
    told = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    return float(told) if told.isdecimal() else _RATE_LIMITED_SECONDS
