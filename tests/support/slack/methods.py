"""Slack's Web API methods as far as they are used, refusing what Slack would refuse."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.slack import strict
from tests.support.slack.workspace import BOT, TEAM, Channel, Message, Modal, Workspace, random_id

TRIGGER_SECONDS = 3.0
SCOPES = {"chat:write", "users:read", "users:read.email", "channels:read", "groups:read"}
NEEDS = {
    "chat.postMessage": "chat:write",
    "chat.update": "chat:write",
    "chat.postEphemeral": "chat:write",
    "users.info": "users:read",
    "conversations.info": "channels:read",
}


_SAID = {"channel", "text", "blocks", "parse", "link_names"}
KNOWN = {
    "auth.test": set(),
    "chat.postMessage": {*_SAID, "thread_ts", "reply_broadcast", "mrkdwn", "unfurl_links", "unfurl_media"},
    "chat.update": {*_SAID, "ts"},
    "chat.postEphemeral": {*_SAID, "user", "thread_ts"},
    "views.open": {"trigger_id", "view"},
    "users.info": {"user"},
    "conversations.info": {"channel"},
}


class Refused(Exception):
    def __init__(self, error: str, *messages: str) -> None:
        super().__init__(error)
        self.answer = {"ok": False, "error": error, "response_metadata": {"messages": list(messages)}}


@dataclass
class Trigger:
    user: str
    made: float = field(default_factory=time.monotonic)
    used: bool = False


class Methods:
    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.scopes = set(SCOPES)
        self.triggers: dict[str, Trigger] = {}
        self.age_of_triggers = 0.0  # added to each: to see one expire without waiting
        self.leeway = 1.0  # times as long as Slack waits, for a machine on which many tests run at once
        self.on_change: Callable[[], None] = lambda: None

    def call(self, method: str, sent: Mapping[str, Any]) -> dict[str, Any]:
        needed = NEEDS.get(method)
        if needed and needed not in self.scopes:
            raise Refused("missing_scope", f"needed: {needed}")
        known = {
            "auth.test": self._auth_test,
            "chat.postMessage": self._post,
            "chat.update": self._update,
            "chat.postEphemeral": self._ephemeral,
            "views.open": self._open_view,
            "users.info": self._user,
            "conversations.info": self._channel,
        }
        if method not in known:
            raise Refused("unknown_method")
        if unknown := set(sent) - KNOWN[method]:
            raise Refused("invalid_arguments", f"unknown: {sorted(unknown)}")
        answer = {"ok": True, **known[method](dict(sent))}
        self.on_change()
        return answer

    def _auth_test(self, _sent: dict[str, Any]) -> dict[str, Any]:
        enterprise = self.workspace.enterprise or None
        return {"team_id": TEAM, "team": "Test", "user_id": BOT, "bot_id": "B012BOT", "enterprise_id": enterprise}

    def _post(self, sent: dict[str, Any]) -> dict[str, Any]:
        channel = self._postable(sent)
        blocks = _checked(sent)
        thread = sent.get("thread_ts", "")
        if thread and self.workspace.find(channel.id, thread) is None:
            raise Refused("thread_not_found")
        broadcast = bool(sent.get("reply_broadcast"))
        if broadcast and not thread:
            raise Refused("invalid_arguments", "reply_broadcast without thread_ts")
        made = Message(channel.id, self.workspace.new_ts(), sent["text"], blocks, thread, broadcast)
        self.workspace.messages.append(made)
        return {"channel": channel.id, "ts": made.ts}

    def _update(self, sent: dict[str, Any]) -> dict[str, Any]:
        channel = self._postable(sent)
        blocks = _checked(sent)
        found = self.workspace.find(channel.id, sent.get("ts", ""))
        if found is None or found.only_for:
            raise Refused("message_not_found")
        found.versions.append(found.blocks)
        found.text, found.blocks = sent["text"], blocks
        return {"channel": channel.id, "ts": found.ts}

    def _ephemeral(self, sent: dict[str, Any]) -> dict[str, Any]:
        channel = self._postable(sent)
        if sent.get("user") not in channel.members:
            raise Refused("user_not_in_channel")
        made = Message(channel.id, self.workspace.new_ts(), sent["text"], _checked(sent), only_for=sent["user"])
        self.workspace.messages.append(made)
        return {"message_ts": made.ts}

    def _open_view(self, sent: dict[str, Any]) -> dict[str, Any]:
        trigger = self.triggers.get(sent.get("trigger_id", ""))
        if trigger is None:
            raise Refused("invalid_trigger_id")
        if trigger.used:
            raise Refused("exchanged_trigger_id")
        if time.monotonic() - trigger.made + self.age_of_triggers > TRIGGER_SECONDS * self.leeway:
            raise Refused("expired_trigger_id")
        wrong = strict.view_problems(sent.get("view") or {})
        if wrong:
            raise Refused("invalid_arguments", *wrong)
        trigger.used = True
        modal = Modal(random_id("V"), sent["view"], trigger.user)
        self.workspace.modals.append(modal)
        return {"view": {"id": modal.id}}

    def _user(self, sent: dict[str, Any]) -> dict[str, Any]:
        found = self.workspace.users.get(sent.get("user", ""))
        if found is None:
            raise Refused("user_not_found")
        if "users:read.email" not in self.scopes:
            found = {**found, "profile": {}}
        return {"user": found}

    def _channel(self, sent: dict[str, Any]) -> dict[str, Any]:
        found = self.workspace.channels.get(sent.get("channel", ""))
        if found is None:
            raise Refused("channel_not_found")
        told = {"id": found.id, "name": found.name, "is_archived": found.archived, "is_ext_shared": found.shared}
        return {"channel": {**told, "is_member": BOT in found.members}}

    def _postable(self, sent: dict[str, Any]) -> Channel:
        found = self.workspace.channels.get(sent.get("channel", ""))
        if found is None:
            raise Refused("channel_not_found")
        if BOT not in found.members:
            raise Refused("not_in_channel")
        if found.archived:
            raise Refused("is_archived")
        return found


def _checked(sent: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The blocks of a message, which has text for notifications too."""
    if not sent.get("text"):
        raise Refused("no_text")
    if len(sent["text"]) > 4000:
        raise Refused("msg_too_long")
    wrong = strict.problems(sent.get("blocks"))
    if wrong:
        raise Refused("invalid_blocks", *wrong)
    if strict.too_long(sent["blocks"]):
        raise Refused("msg_blocks_too_long")
    return list(sent["blocks"])
