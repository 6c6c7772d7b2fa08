"""From an interaction to Slack's acknowledgement, within its three seconds, whichever way it came.

The decision is in the inbox before the acknowledgement, and is carried out beside it; a modal waits a moment for it, so
that it can say what is wrong. Whoever may not decide is told so, alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, Final

import msgspec
import structlog

from control_plane.kit.tasks import spawn, stop
from control_plane.slack.api import SlackApi, SlackError
from control_plane.slack.inbox import Inbox, Left, Receipt
from control_plane.slack.interactions import (
    REASON,
    Approving,
    Decision,
    Denying,
    Interaction,
    Submitted,
    denial_modal,
)

_log = structlog.get_logger(__name__)

_TAKES: Final = 1.5  # seconds; Slack gives up after three
_WAITS: Final = 1.0
_LAST_WORK: Final = 5.0  # when the process ends
PRESS_AGAIN: Final = "Slack did not let the question for your reason open. Press again, or deny in the console."


class Acknowledgement(msgspec.Struct, frozen=True):
    """`body` empty: an empty answer, which closes a modal."""

    replayed: bool
    body: Mapping[str, Any] = {}


class Answering:
    def __init__(self, inbox: Inbox, api: SlackApi) -> None:
        self._inbox = inbox
        self._api = api
        self._working: set[asyncio.Task[Any]] = set()

    async def answer(self, interaction: Interaction, signature_hash: str | None) -> Acknowledgement:
        """Raises TimeoutError when the database does not take it in time: then Slack must not hear that it arrived."""
        kept = interaction.decision if isinstance(interaction, Approving | Submitted) else None
        async with asyncio.timeout(_TAKES):
            receipt = await self._inbox.take(interaction.id, signature_hash, kept)
        if receipt is not Receipt.TAKEN:
            return Acknowledgement(replayed=receipt is Receipt.REPLAYED)
        match interaction:
            case Approving(interaction_id, decision):
                self._beside(self._decide(interaction_id))
            case Denying(_, trigger_id, decision):
                self._beside(self._ask_for_a_reason(trigger_id, decision))
            case Submitted(interaction_id, _):
                return Acknowledgement(replayed=False, body=await self._submitted(interaction_id))
            case _:
                _log.info("an interaction that means nothing here", why=interaction.why)
        return Acknowledgement(replayed=False)

    async def run(self) -> None:
        """For ever: what other processes, or this one before, left behind."""
        while True:
            try:
                for left in await self._inbox.left_behind():
                    await self._tell(left)
                await self._inbox.forget()
            except Exception:  # noqa: BLE001 - outlives a database that is away
                _log.exception("the decisions from Slack could not be looked through; trying again")
            await self._inbox.pause()

    async def close(self) -> None:
        """What is under way may end; the rest is in the inbox."""
        if self._working:
            _, late = await asyncio.wait(tuple(self._working), timeout=_LAST_WORK)
            for task in late:
                await stop(task)

    # -------------------------------------------------------------- beside the acknowledgement

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = spawn(work, "slack-interaction")
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    async def _decide(self, interaction_id: str) -> None:
        try:
            left = await self._inbox.work(interaction_id)
        except SlackError as error:
            _log.warning("Slack cannot say who pressed; trying again", error=str(error))
            return
        if left is not None:
            await self._tell(left)

    async def _submitted(self, interaction_id: str) -> Mapping[str, Any]:
        """What the modal does: closes, or shows beside its field what is wrong."""
        work = spawn(self._inbox.work(interaction_id), "slack-denial")
        done, _ = await asyncio.wait({work}, timeout=_WAITS)
        if not done:
            self._beside(self._told_later(work))
            return {}
        error = work.exception()
        if error is not None:
            _log.warning("a denial from Slack could not be carried out; trying again", error=str(error))
            return {}
        left = work.result()
        return {"response_action": "errors", "errors": {REASON: left.sentence}} if left and left.sentence else {}

    async def _told_later(self, work: asyncio.Task[Left | None]) -> None:
        if left := await work:
            await self._tell(left)

    async def _ask_for_a_reason(self, trigger_id: str, decision: Decision) -> None:
        try:
            code, why_not = await self._inbox.may_decide(decision)
            if not why_not:
                await self._api.open_view(trigger_id, denial_modal(decision, code))
                return
        except SlackError as error:
            _log.warning("the modal could not be opened", error=str(error))
            why_not = PRESS_AGAIN
        await self._tell(Left(decision, why_not))

    async def _tell(self, left: Left) -> None:
        if not left.sentence:
            return
        place, person = left.decision.place, left.decision.person
        try:
            await self._api.tell(place.channel, person.user_id, left.sentence)
        except SlackError as error:
            _log.warning("somebody could not be told why a decision does not count", error=str(error))
