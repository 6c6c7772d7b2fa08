"""What was pressed, kept until it is decided: written before Slack hears that it arrived, done in the decision's own
transaction. A crash in between is followed by this or another replica; what is older than five minutes is not decided
any more, and its person is told.

Deciding twice is impossible: whoever works on a row has it locked, and finds it done.
"""

from __future__ import annotations

import asyncio
import enum
from typing import Final

import msgspec
import structlog
from sqlalchemy.exc import IntegrityError

from control_plane.approvals.cards import Cards
from control_plane.approvals.domain import Refused
from control_plane.approvals.review import ReviewService, Word
from control_plane.kit.access import Principal
from control_plane.kit.clock import Clock, milliseconds
from control_plane.kit.unit_of_work import NOBODY, AuditEvent, UnitOfWork, Units
from control_plane.slack import repository
from control_plane.slack.card import CHANNEL
from control_plane.slack.interactions import Decision
from control_plane.slack.people import Claim, Nobody, People
from control_plane.slack.tables import SlackInteractionRow

_log = structlog.get_logger(__name__)

KEPT_FOR_MS: Final = 15 * 60 * 1000  # a signature is good for five minutes before and after its timestamp
GOOD_FOR_MS: Final = 5 * 60 * 1000
_LEFT_ALONE_MS: Final = 10_000  # whoever took it is at it
_LOOKS_EVERY: Final = 15.0  # seconds; only what another process left behind waits so long
TOO_LATE: Final = "Your decision could not be carried out in time and does not count: decide again, or in the console."
NO_SUCH_REQUEST: Final = "There is no such request."


class Receipt(enum.Enum):
    TAKEN = enum.auto()
    AGAIN = enum.auto()  # the same press, sent again by Slack
    REPLAYED = enum.auto()  # the same signature: not Slack


class Left(msgspec.Struct, frozen=True):
    """What came of a decision: the sentence is for the person. Empty: it counts."""

    decision: Decision
    sentence: str


class Inbox:
    def __init__(self, units: Units, clock: Clock, review: ReviewService, cards: Cards, people: People) -> None:
        self._units = units
        self._clock = clock
        self._review = review
        self._cards = cards
        self._people = people

    async def take(self, interaction_id: str, signature_hash: str | None, decision: Decision | None) -> Receipt:
        """None: it is only remembered, so that it is not taken again."""
        try:
            async with self._units() as uow:
                now = milliseconds(uow.now)
                if await repository.is_known(uow.session, interaction_id, signature_hash):
                    return await self._known(uow, signature_hash)
                row = SlackInteractionRow(
                    id=interaction_id,
                    signature_hash=signature_hash,
                    decision=msgspec.json.encode(decision).decode() if decision else "",
                    received_at_ms=now,
                    done_at_ms=None if decision else now,
                )
                uow.session.add(row)
        except IntegrityError:  # another replica was quicker
            async with self._units.reading() as uow:
                return await self._known(uow, signature_hash)
        return Receipt.TAKEN

    async def _known(self, uow: UnitOfWork, signature_hash: str | None) -> Receipt:
        replayed = signature_hash and await repository.is_known(uow.session, "", signature_hash)
        return Receipt.REPLAYED if replayed else Receipt.AGAIN

    async def work(self, interaction_id: str) -> Left | None:
        """Decides. None: it is done already. Raises SlackError when Slack has to be asked and cannot be."""
        async with self._units.reading() as uow:
            row = await uow.session.get(SlackInteractionRow, interaction_id)
            if row is None or row.done_at_ms is not None:
                return None
            decision = msgspec.json.decode(row.decision, type=Decision)
            late = milliseconds(uow.now) - row.received_at_ms > GOOD_FOR_MS
        claim = Nobody(TOO_LATE) if late else await self._people.claim(decision.person)
        async with self._units() as uow:
            locked = await repository.locked_interaction(uow.session, interaction_id)
            if locked is None or locked.done_at_ms is not None:
                return None
            locked.done_at_ms = milliseconds(uow.now)
            locked.decision = ""
            uow.session.add(locked)
            return Left(decision, await self._decided(uow, decision, claim))

    async def _decided(self, uow: UnitOfWork, decision: Decision, claim: Claim | Nobody) -> str:
        who = claim if isinstance(claim, Nobody) else await self._people.principal(uow, claim)
        if isinstance(who, Nobody):
            uow.audit(refused(decision, who))
            return who.why
        word = Word(decision.verb, decision.shown, CHANNEL, decision.reason, also=decision.also)
        return _sentence(await self._cards.decide(uow, who, decision.approval_id, word))

    async def may_decide(self, decision: Decision) -> tuple[str, str]:
        """Before a reason is asked for: the request's short code, and why this person may not decide (empty: may)."""
        claim = await self._people.claim(decision.person)
        async with self._units.reading() as uow:
            who = claim if isinstance(claim, Nobody) else await self._people.principal(uow, claim)
            if isinstance(who, Nobody):
                return "", who.why
            return await self._why_not(uow, who, decision)

    async def _why_not(self, uow: UnitOfWork, who: Principal, decision: Decision) -> tuple[str, str]:
        view = await self._review.view(uow, who, decision.approval_id)
        if view is None:
            return "", NO_SUCH_REQUEST
        if view.row.shown_digest != decision.shown:
            return "", "This message shows something else than what is asked: look at the request in the console."
        return view.row.short_code, "" if view.may_decide else _not_counted(view.why)

    # -------------------------------------------------------------- what was left behind

    async def left_behind(self) -> list[Left]:
        """Works on what nobody has finished; what fails stays for the next time, until it is too late."""
        now = milliseconds(self._clock.now())
        async with self._units.reading() as uow:
            undone = await repository.undone_before(uow.session, now - _LEFT_ALONE_MS)
        finished = []
        for interaction_id in undone:
            try:
                left = await self.work(interaction_id)
            except Exception:  # noqa: BLE001 - one that fails delays no other
                _log.exception("a decision from Slack could not be carried out; trying again")
                continue
            finished += [left] if left else []
        return finished

    async def forget(self) -> None:
        before = milliseconds(self._clock.now()) - KEPT_FOR_MS
        async with self._units.reading() as uow:
            some = await repository.some_done_before(uow.session, before)
        if some:
            async with self._units() as uow:
                await repository.forget_done_before(uow.session, before)

    @staticmethod
    async def pause() -> None:
        await asyncio.sleep(_LOOKS_EVERY)


def refused(decision: Decision, nobody: Nobody) -> AuditEvent:
    told = {"slack_user": decision.person.user_id, "slack_team": decision.person.team_id, "why": nobody.why}
    return AuditEvent("slack.decision-refused", NOBODY, decision.approval_id, {**told, "verb": decision.verb})


def _sentence(ruling: object) -> str:
    if ruling is None:
        return NO_SUCH_REQUEST
    return _not_counted(ruling.detail) if isinstance(ruling, Refused) else ""


def _not_counted(why: str) -> str:
    return f"This does not count: {why}."
