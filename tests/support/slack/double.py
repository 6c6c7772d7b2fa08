"""Slack, played on this machine: its Web API over HTTP, Socket mode over a WebSocket, and people who press buttons.

Strict where Slack is: tokens, scopes, membership, limits of blocks, triggers of three seconds, real signatures,
acknowledgement within three seconds, and what is not acknowledged is sent again with `X-Slack-Retry-Num`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx
from aiohttp import WSMsgType, web

from tests.support.slack.methods import Methods, Refused, Trigger
from tests.support.slack.workspace import APP, TEAM, Message, Modal, Workspace, random_id

BOT_TOKEN = "xoxb-1-double"
APP_TOKEN = "xapp-1-double"
SIGNING_SECRET = "0123456789abcdef0123456789abcdef"
PATH = "/v1/slack/interactions"
PATIENCE = 3.0
MOST_ATTEMPTS = 3


@dataclass
class Delivery:
    """How one interaction fared. `status` 0: over a socket, or no answer at all."""

    acknowledged: bool = False
    attempts: int = 0
    status: int = 0
    body: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0


class SlackDouble:
    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.workspace = Workspace()
        self.methods = Methods(self.workspace)
        self.methods.on_change = self._changed
        self.clock = clock
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.refusals: list[dict[str, Any]] = []
        self.app: httpx.AsyncClient | None = None  # where interactions go; None: over the socket
        self.limited: dict[str, tuple[int, int]] = {}  # method: how often, Retry-After
        self.broken: dict[str, int] = {}  # method: how often the connection is cut
        self.done_but_cut: dict[str, int] = {}  # the same, after it has been done
        self.before: Callable[[str], Any] | None = None  # awaited before a method
        self.patience = PATIENCE
        self.busy_machine()
        self._change = asyncio.Event()
        self._sockets: list[web.WebSocketResponse] = []
        self._tickets: set[str] = set()
        self._envelopes: dict[str, asyncio.Future[dict[str, Any]]] = {}

    def busy_machine(self, leeway: float = 5.0) -> None:
        """Waits longer than Slack: what is tried is the order of things, and a loaded machine is slow. 1: as Slack."""
        self.methods.leeway, self.patience = leeway, PATIENCE * leeway

    # -------------------------------------------------------------- serving

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[SlackDouble]:
        server = web.Application(client_max_size=4 * 1024 * 1024)
        server.router.add_route("*", "/api/{method}", self._api)
        server.router.add_get("/link", self._link)
        runner = web.AppRunner(server, access_log=None, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            for socket in self._sockets:
                await socket.close()
            await runner.cleanup()

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/"

    async def until(self, what: Callable[[], Any], seconds: float = 20) -> Any:
        """The first true answer; asked again whenever something has changed here."""
        async with asyncio.timeout(seconds):
            while not (found := what()):
                self._change.clear()
                await self._change.wait()
        return found

    def _changed(self) -> None:
        self._change.set()

    async def _api(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        if self.before is not None:
            await self.before(method)
        if self.broken.get(method, 0) > 0:
            self.broken[method] -= 1
            self._changed()
            return self._cut(request)
        times, seconds = self.limited.get(method, (0, 0))
        if times > 0:
            self.limited[method] = (times - 1, seconds)
            self._changed()
            return web.json_response(
                {"ok": False, "error": "ratelimited"}, status=429, headers={"Retry-After": str(seconds)}
            )
        answer = await self._answered(method, request)
        self._changed()
        if self.done_but_cut.get(method, 0) > 0:
            self.done_but_cut[method] -= 1
            return self._cut(request)
        headers = {"X-OAuth-Scopes": ",".join(sorted(self.methods.scopes))}
        return web.json_response(answer, headers=headers)

    @staticmethod
    def _cut(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def _answered(self, method: str, request: web.Request) -> dict[str, Any]:
        try:
            sent = await self._sent(method, request)
            self.calls.append((method, sent))
            if method == "apps.connections.open":
                return {"ok": True, "url": self._ticket()}
            return self.methods.call(method, sent)
        except Refused as refused:
            self.refusals.append({"method": method, **refused.answer})
            return refused.answer

    async def _sent(self, method: str, request: web.Request) -> dict[str, Any]:
        wanted = APP_TOKEN if method == "apps.connections.open" else BOT_TOKEN
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind != "Bearer" or not token:
            raise Refused("not_authed")
        if not hmac.compare_digest(token, wanted):
            raise Refused("not_allowed_token_type" if token[:5] != wanted[:5] else "invalid_auth")
        if request.method == "GET":
            return dict(request.query)
        if request.content_type == "application/json":
            return dict(await request.json()) if await request.read() else {}
        return dict(await request.post())

    # -------------------------------------------------------------- the socket

    def _ticket(self) -> str:
        ticket = secrets.token_hex(8)
        self._tickets.add(ticket)
        return f"ws://127.0.0.1:{self.port}/link?ticket={ticket}"

    async def _link(self, request: web.Request) -> web.StreamResponse:
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets:
            return web.Response(status=403)
        self._tickets.discard(ticket)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets.append(socket)
        hello = {"type": "hello", "num_connections": len(self._sockets), "connection_info": {"app_id": APP}}
        await socket.send_json(hello)
        self._changed()
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                self._acknowledged(json.loads(message.data))
        self._sockets.remove(socket)
        self._changed()
        return socket

    def _acknowledged(self, told: dict[str, Any]) -> None:
        waiting = self._envelopes.pop(told.get("envelope_id", ""), None)
        if waiting is not None and not waiting.done():
            waiting.set_result(told.get("payload") or {})

    @property
    def connections(self) -> int:
        return len(self._sockets)

    async def ask_to_reconnect(self) -> None:
        """As Slack does every few hours: the old connection ends a moment later."""
        for socket in tuple(self._sockets):
            await socket.send_json({"type": "disconnect", "reason": "refresh_requested"})

    async def drop(self) -> None:
        for socket in tuple(self._sockets):
            await socket.close()

    async def _over_socket(self, payload: dict[str, Any]) -> Delivery:
        delivery = Delivery()
        while not delivery.acknowledged and delivery.attempts < MOST_ATTEMPTS:
            await self.until(lambda: self._sockets)
            envelope = random_id("")
            waiting = self._envelopes[envelope] = asyncio.get_running_loop().create_future()
            told = {"envelope_id": envelope, "type": "interactive", "payload": payload}
            more = {"accepts_response_payload": True, "retry_attempt": delivery.attempts}
            begun = time.monotonic()
            delivery.attempts += 1
            await self._sockets[-1].send_json({**told, **more})
            try:
                delivery.body = await asyncio.wait_for(waiting, self.patience)
                delivery.acknowledged = True
            except TimeoutError:
                self._envelopes.pop(envelope, None)
            delivery.seconds = time.monotonic() - begun
        return delivery

    # -------------------------------------------------------------- what people do

    async def press(self, user: str, message: Message, action: str, **changes: Any) -> Delivery:
        """A button that is in the message. `changes` forge fields of the payload."""
        return await self.send({**self.pressed(user, message, action), **changes})

    def pressed(self, user: str, message: Message, action: str) -> dict[str, Any]:
        button = message.buttons[action]
        assert user in self.workspace.channels[message.channel].members, f"{user} does not see the message"
        known = {
            "type": "button",
            "action_id": action,
            "block_id": "b",
            "value": button["value"],
            "text": button["text"],
        }
        return {
            **self._common("block_actions", user),
            "container": {"type": "message", "message_ts": message.ts, "channel_id": message.channel},
            "channel": {"id": message.channel, "name": self.workspace.channels[message.channel].name},
            "message": {"ts": message.ts, "text": message.text, "blocks": message.blocks},
            "state": {"values": {}},
            "response_url": f"http://127.0.0.1:{self.port}/response",
            "actions": [known],
        }

    async def submit(self, modal: Modal, reason: str, **changes: Any) -> Delivery:
        return await self.send({**self.submitted(modal, reason), **changes})

    def submitted(self, modal: Modal, reason: str) -> dict[str, Any]:
        values = {
            block["block_id"]: {block["element"]["action_id"]: {"type": "plain_text_input", "value": reason or None}}
            for block in modal.view["blocks"]
            if block["type"] == "input"
        }
        view = {**modal.view, "id": modal.id, "team_id": TEAM, "app_id": APP, "state": {"values": values}}
        return {**self._common("view_submission", modal.user), "view": view, "response_urls": []}

    def _common(self, kind: str, user: str) -> dict[str, Any]:
        trigger = f"{random_id('')}.{random_id('')}"
        self.methods.triggers[trigger] = Trigger(user)
        known = self.workspace.users[user]
        enterprise = {"id": self.workspace.enterprise, "name": "Org"} if self.workspace.enterprise else None
        return {
            "type": kind,
            "api_app_id": APP,
            "token": "legacy",
            "trigger_id": trigger,
            "team": {"id": TEAM, "domain": "test"},
            "enterprise": enterprise,
            "is_enterprise_install": False,
            "user": {"id": user, "username": known.get("name", ""), "team_id": known["team_id"]},
        }

    async def send(self, payload: dict[str, Any]) -> Delivery:
        return await (self._over_socket(payload) if self.app is None else self._over_http(payload))

    async def _over_http(self, payload: dict[str, Any]) -> Delivery:
        delivery = Delivery()
        while not delivery.acknowledged and delivery.attempts < MOST_ATTEMPTS:
            body = urlencode({"payload": json.dumps(payload)}).encode()
            headers = self.signed(body)
            if delivery.attempts:
                headers |= {"x-slack-retry-num": str(delivery.attempts), "x-slack-retry-reason": "http_timeout"}
            begun = time.monotonic()
            delivery.attempts += 1
            try:
                answer = await asyncio.wait_for(self.raw(body, headers), self.patience)
            except TimeoutError:
                continue
            delivery.seconds = time.monotonic() - begun
            delivery.status, delivery.acknowledged = answer.status_code, answer.status_code == 200
            delivery.body = answer.json() if answer.content else {}
        return delivery

    async def raw(self, body: bytes, headers: dict[str, str]) -> httpx.Response:
        assert self.app is not None
        return await self.app.post(PATH, content=body, headers=headers)

    def signed(self, body: bytes, *, secret: str = SIGNING_SECRET, age: float = 0) -> dict[str, str]:
        timestamp = str(int(self.clock() - age))
        digest = hmac.new(secret.encode(), b"v0:" + timestamp.encode() + b":" + body, hashlib.sha256)
        return {
            "content-type": "application/x-www-form-urlencoded",
            "x-slack-request-timestamp": timestamp,
            "x-slack-signature": f"v0={digest.hexdigest()}",
        }
