"""The workspace of the double: users, channels, messages, modals and triggers. It knows no transport."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

TEAM = "T012TEAM"
APP = "A012APP"
BOT = "U012BOT"


@dataclass
class Channel:
    id: str
    name: str
    members: set[str]
    archived: bool = False
    shared: bool = False


@dataclass
class Message:
    channel: str
    ts: str
    text: str
    blocks: list[dict[str, Any]]
    thread_ts: str = ""
    broadcast: bool = False
    only_for: str = ""  # an ephemeral one
    versions: list[list[dict[str, Any]]] = field(default_factory=list)  # as it was before
    deleted: bool = False

    @property
    def buttons(self) -> dict[str, dict[str, Any]]:
        """By action."""
        actions = [one for block in self.blocks if block["type"] == "actions" for one in block["elements"]]
        return {one["action_id"]: one for one in actions}

    @property
    def shown(self) -> str:
        """All that can be read in it."""
        return "\n".join(texts(self.blocks))


def texts(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("text"), str):
            yield part["text"]
        if part.get("type") == "date":
            yield part["fallback"]
        for value in part.values():
            yield from texts(value)
    elif isinstance(part, list):
        for value in part:
            yield from texts(value)


@dataclass
class Modal:
    id: str
    view: dict[str, Any]
    user: str


class Workspace:
    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.channels: dict[str, Channel] = {}
        self.users: dict[str, dict[str, Any]] = {BOT: {"id": BOT, "team_id": TEAM, "name": "assentry", "is_bot": True}}
        self.messages: list[Message] = []
        self.modals: list[Modal] = []
        self.enterprise = ""

    def channel(self, channel_id: str, name: str, *members: str, app: bool = True) -> Channel:
        made = Channel(channel_id, name, {*members, *([BOT] if app else [])})
        self.channels[channel_id] = made
        return made

    def user(self, user_id: str, *, email: str = "", **more: Any) -> dict[str, Any]:
        fields = {"team_id": TEAM, "is_email_confirmed": True, "deleted": False, "is_bot": False}
        made = {"id": user_id, "name": user_id.lower(), **fields, "profile": {"email": email}, **more}
        self.users[user_id] = made
        for channel in self.channels.values():
            channel.members.add(user_id)
        return made

    def new_ts(self) -> str:
        return f"1700000000.{next(self._numbers):06d}"

    def in_channel(self, channel: str) -> list[Message]:
        """The messages that everybody there sees, without threads."""
        return [
            one
            for one in self.messages
            if one.channel == channel and not one.thread_ts and not one.only_for and not one.deleted
        ]

    def thread(self, of: Message) -> list[str]:
        return [one.shown for one in self.messages if one.thread_ts == of.ts and one.channel == of.channel]

    def told(self, user_id: str) -> list[str]:
        """What this user alone was told."""
        return [one.shown for one in self.messages if one.only_for == user_id]

    def find(self, channel: str, ts: str) -> Message | None:
        return next((one for one in self.messages if (one.channel, one.ts) == (channel, ts) and not one.deleted), None)

    def live(self) -> list[Message]:
        """Messages with buttons."""
        return [one for one in self.messages if one.buttons and not one.deleted]


def random_id(prefix: str) -> str:
    return prefix + secrets.token_hex(8).upper()
