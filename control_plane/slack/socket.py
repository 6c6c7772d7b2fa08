"""Socket mode: Slack's interactions over a WebSocket that is opened from here, so that no port is open to it.

slack-sdk keeps the connection: it answers pings, and opens a new one when Slack asks for that or the old one dies. One
replica connected is enough; with several Slack picks one for each envelope, and what comes twice is taken once. An
envelope that cannot be taken in time is not acknowledged, and Slack sends it again.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import msgspec
import structlog
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient

from control_plane.slack.answering import Answering
from control_plane.slack.config import SlackConfiguration
from control_plane.slack.interactions import Unreadable, read

_log = structlog.get_logger(__name__)
_INTERACTIVE: Final = "interactive"
_PING_SECONDS: Final = 5.0


class Socket:
    def __init__(self, configuration: SlackConfiguration, answering: Answering) -> None:
        self._configuration = configuration
        self._answering = answering

    async def run(self) -> None:
        """For ever. What cannot connect is tried again by the library, every few seconds."""
        quiet = logging.getLogger("control_plane.slack.socket")
        quiet.setLevel(logging.WARNING)  # what it logs below may hold payloads
        client = SocketModeClient(
            self._configuration.app_token.reveal(),
            logger=quiet,
            web_client=AsyncWebClient(base_url=self._configuration.api_url, logger=quiet),
            ping_interval=_PING_SECONDS,
        )
        client.socket_mode_request_listeners.append(self._received)
        try:
            await client.connect()  # type: ignore[no-untyped-call]
            await asyncio.Event().wait()
        finally:
            await _close(client)

    async def _received(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        if request.type != _INTERACTIVE:
            await client.send_socket_mode_response(SocketModeResponse(request.envelope_id))
            return
        interaction = read(msgspec.json.encode(request.payload))
        if isinstance(interaction, Unreadable):
            _log.warning("an envelope of Slack that is no interaction", why=interaction.why)
            await client.send_socket_mode_response(SocketModeResponse(request.envelope_id))
            return
        try:
            answered = await self._answering.answer(interaction, None)
        except TimeoutError:
            _log.warning("what was pressed in Slack could not be taken in time; Slack sends it again")
            return
        body = dict(answered.body) if request.accepts_response_payload and answered.body else None
        await client.send_socket_mode_response(SocketModeResponse(request.envelope_id, body))


async def _close(client: SocketModeClient) -> None:
    """The library cancels its tasks without waiting for them."""
    await client.close()  # type: ignore[no-untyped-call]
    tasks = (client.message_processor, client.current_session_monitor, client.message_receiver)
    await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)
