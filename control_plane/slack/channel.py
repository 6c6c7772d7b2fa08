"""The notification channel Slack: one message for a request in every channel where it is asked, kept up to date.

A new message is posted without buttons and gets them by its first update, when its ts is stored. So a crash between
posting and storing leaves a message that nobody can press, and one more that works; never two that do. What is left
then is one dead line that says where to look. Whatever is pressed, the digest is compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

from control_plane.approvals.domain import State
from control_plane.approvals.domain.chain import asked
from control_plane.approvals.repository import chain_of
from control_plane.approvals.review import View
from control_plane.approvals.schemas import ApprovalOut
from control_plane.kit.unit_of_work import Units
from control_plane.notifications.ports import Facts, Later, Never, Notice, Told
from control_plane.slack import repository
from control_plane.slack.api import SlackApi, SlackError
from control_plane.slack.card import CHANNEL, Card, announcement, card
from control_plane.slack.config import SlackConfiguration
from control_plane.slack.hints import hint
from control_plane.slack.tables import SlackMessageRow
from control_plane.slack.thread import line

# Sending it again would be refused again.
_HOPELESS: Final = frozenset(
    {"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "no_text", "invalid_arguments"}
)
_GONE: Final = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})
_MISCONFIGURED_SECONDS: Final = 30.0  # somebody has to mend something in Slack first


class Shown(msgspec.Struct, frozen=True):
    """What is known to be in a channel. `ts` empty: nothing."""

    ts: str = ""
    hash: str = ""
    told_through: int = 0


class SlackChannel:
    """A Channel of notifications."""

    name = CHANNEL

    def __init__(self, configuration: SlackConfiguration, api: SlackApi, units: Units) -> None:
        self._configuration = configuration
        self._api = api
        self._units = units

    def wants(self, _notice: Notice, facts: Facts) -> bool:
        return facts.view is not None and facts.view.row.state != State.REFUSED

    async def deliver(self, notice: Notice, facts: Facts) -> Told | None:
        view = facts.view
        if view is None:
            return Told("the request is gone")
        here = self._asked_in(view)
        known = await self._known(view.row.id)
        failures: list[SlackError] = []
        for channel in sorted({*here, *known}):
            try:
                await self._show(notice, facts.url, view, channel, known.get(channel, Shown()), here=channel in here)
            except SlackError as error:  # one channel that fails keeps the request from no other
                failures.append(error)
        if failures:
            raise _instruction(failures)
        return Told(f"in {', '.join(sorted({*here, *known}))}" if here or known else "it was not shown in Slack")

    def _asked_in(self, view: View) -> frozenset[str]:
        """The channels of those who can decide now. None when nobody has to any more."""
        if view.row.state != State.PENDING:
            return frozenset()
        stages, waiting = chain_of(view.row).stages, view.progress.stage
        besides = waiting in view.seen.request.escalated
        groups = asked(stages[waiting], added=besides).groups if stages else frozenset()
        return self._configuration.channels_of(groups)

    async def _show(self, notice: Notice, url: str, view: View, channel: str, shown: Shown, *, here: bool) -> None:
        if not shown.ts:
            ts = await self._api.post(channel, announcement(view, url))
            shown = await self._remember(view.row.id, channel, Shown(ts, "", notice.id))
        made = card(view, url, asked_here=here)
        if shown.hash != _hash(made):
            await self._update(view, channel, shown, made)
            shown = await self._remember(view.row.id, channel, msgspec.structs.replace(shown, hash=_hash(made)))
        said = line(notice, ApprovalOut.full(view))
        if said is not None and notice.id > shown.told_through:
            await self._api.reply(channel, shown.ts, said.text, broadcast=said.loud)
            await self._remember(view.row.id, channel, msgspec.structs.replace(shown, told_through=notice.id))

    async def _update(self, view: View, channel: str, shown: Shown, made: Card) -> None:
        try:
            await self._api.update(channel, shown.ts, made)
        except SlackError as error:
            if error.code in _GONE and view.row.state == State.PENDING:
                await self._remember(view.row.id, channel, Shown())  # posted anew at the next attempt
                raise
            if error.code not in _GONE:
                raise

    async def _known(self, approval_id: str) -> Mapping[str, Shown]:
        async with self._units.reading() as uow:
            rows = await repository.messages(uow.session, approval_id)
            return {row.channel: Shown(row.ts, row.shown_hash, row.told_through) for row in rows}

    async def _remember(self, approval_id: str, channel: str, shown: Shown) -> Shown:
        async with self._units() as uow:
            row = await repository.message(uow.session, approval_id, channel)
            row = row or SlackMessageRow(approval_id=approval_id, channel=channel)
            row.ts, row.shown_hash, row.told_through = shown.ts, shown.hash, shown.told_through
            uow.session.add(row)
        return shown


def _hash(made: Card) -> str:
    return hashlib.sha256(msgspec.json.encode([made.text, made.blocks], order="deterministic")).hexdigest()


def _instruction(failures: list[SlackError]) -> Later | Never:
    """Later as long as any of them may end well."""
    told = "; ".join(f"{error}{hint(error.code)}" for error in failures)
    hopeful = [error for error in failures if error.code not in _HOPELESS]
    if not hopeful:
        return Never(told)
    return Later(max(_pause(error) for error in hopeful), told)


def _pause(error: SlackError) -> float:
    if error.code == "ratelimited":
        return error.retry_after
    return 0 if error.code == "unreachable" or error.code in _GONE else _MISCONFIGURED_SECONDS
