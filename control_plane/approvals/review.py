"""Approvals as people know them: lists, one request in full, approve and deny."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Mapping, Sequence

import msgspec

from control_plane.approvals import repository, shown, stages, windows
from control_plane.approvals.acts import Acts, acts_of
from control_plane.approvals.agreement import Agreement
from control_plane.approvals.domain import (
    Agreed,
    Counted,
    Denied,
    Event,
    Ineligible,
    Place,
    Progress,
    Refusal,
    Refused,
    Ruling,
    StandIn,
    State,
    Verb,
    Vote,
    place_for,
    place_of,
    rule,
)
from control_plane.approvals.domain.choice import Wish, objection
from control_plane.approvals.domain.manner import Manner, unfit
from control_plane.approvals.grouping import Regroup, members
from control_plane.approvals.kinds import Kind
from control_plane.approvals.seeing import may_see, sees_all
from control_plane.approvals.signed_words import Signature, kept, told_of, unsigned
from control_plane.approvals.standing import Decider, Judged, Seen, Standing
from control_plane.approvals.tables import ApprovalRow, DelegationRow, VoteRow, WindowUseRow
from control_plane.approvals.telling import Telling, Tellings
from control_plane.approvals.transitions import TOPIC, audited, move
from control_plane.kit.access import Principal
from control_plane.kit.clock import milliseconds
from control_plane.kit.pagination import Paging, newest_key
from control_plane.kit.unit_of_work import SYSTEM, Json, UnitOfWork

_CHUNK = 100


class Mode(enum.StrEnum):
    MINE = "mine"  # waiting for a decision that I may give
    ALL = "all"  # waiting for anybody's decision
    DECIDED = "decided"  # over, whatever the outcome


class Member(msgspec.Struct, frozen=True):
    """One of several identical requests, with the digest of what was shown of it."""

    approval_id: str
    shown: bytes


class Word(msgspec.Struct, frozen=True):
    """What a person says. `shown` is the digest that came with what they looked at; `also` are the others that stood
    on the same card and are meant too, which `cards` takes."""

    verb: Verb
    shown: bytes
    channel: str  # console, cli, rest
    reason: str = ""
    also: tuple[Member, ...] = ()
    window: Wish | None = None  # of one who approves; None: this operation alone
    signature: Signature = None  # of a security key, over this word


class View(msgspec.Struct, frozen=True):
    """One request as one person sees it."""

    row: ApprovalRow
    shown: shown.Shown
    votes: Sequence[VoteRow]
    progress: Progress
    barred: Ineligible | None  # why this person may not decide; None: may, if it is still pending
    seen: Seen
    in_place_of: DelegationRow | None = None  # by which they would decide; None: in their own place, or not at all
    place: Place | None = None  # of the chain, which they would fill
    telling: Telling = Telling()
    alike: Sequence[ApprovalRow] = ()  # others on its card that wait, oldest first
    acts: Acts = Acts()  # of one request alone; lists leave it empty
    uses: Sequence[WindowUseRow] = ()  # of its window; lists leave it empty

    @property
    def may_decide(self) -> bool:
        return self.row.state == State.PENDING and self.barred is None

    @property
    def why(self) -> str:
        """Why this person may not decide. Empty: may."""
        if self.row.state != State.PENDING:
            return f"it is {self.row.state}"
        return self.barred.value if self.barred else ""


class ReviewService:
    def __init__(self, standing: Standing, agreement: Agreement, tellings: Tellings | None = None) -> None:
        """`tellings` None: nothing but the console tells of requests."""
        self._standing = standing
        self._agreement = agreement
        self._tellings = tellings

    # -------------------------------------------------------------- reading

    async def view(self, uow: UnitOfWork, principal: Principal, reference: str, pause: float = 0) -> View | None:
        """By id or by short code. None: there is none, or it is not theirs to see. How it stands is read at once, and
        what belongs to it after `pause` seconds."""
        row = await repository.one(uow.session, reference)
        if row is None and len(reference) <= 8:
            row = await repository.by_code(uow.session, reference.upper())
        if row is None or not may_see(principal, row):
            return None
        if pause:
            await asyncio.sleep(pause)
        (view,) = await self._views(uow, principal, [row])
        if not sees_all(principal):
            view = msgspec.structs.replace(view, shown=view.shown.without_findings())
        return await self._with_acts(uow, principal, view)

    async def listed(
        self, uow: UnitOfWork, principal: Principal, mode: Mode, paging: Paging
    ) -> tuple[list[View], str | None]:
        """Newest first."""
        of = "" if sees_all(principal) else principal.identity
        wanted = repository.Wanted(open=mode is not Mode.DECIDED, of=of)
        found: list[View] = []
        after = newest_key(paging)
        while len(found) <= paging.limit:
            rows = await repository.newest(uow.session, wanted, after, _CHUNK)
            views = await self._views(uow, principal, rows)
            found += [view for view in views if mode is not Mode.MINE or view.may_decide]
            if len(rows) < _CHUNK:
                break
            after = (rows[-1].requested_at_ms, rows[-1].id)
        return paging.page(found, lambda view: (view.row.requested_at_ms, view.row.id))

    async def of_kind(
        self, uow: UnitOfWork, principal: Principal, kind: Kind, paging: Paging
    ) -> tuple[list[View], str | None]:
        """Newest first, decided or not."""
        of = "" if sees_all(principal) else principal.identity
        wanted = repository.Wanted(open=None, of=of, kind=kind)
        rows = await repository.newest(uow.session, wanted, newest_key(paging), paging.limit + 1)
        views = await self._views(uow, principal, rows)
        return paging.page(views, lambda view: (view.row.requested_at_ms, view.row.id))

    async def _views(self, uow: UnitOfWork, principal: Principal, rows: Sequence[ApprovalRow]) -> list[View]:
        return await self._seen_by(uow, principal.identity, rows)

    async def present(self, uow: UnitOfWork, approval_id: str) -> View | None:
        """As it is now, seen by nobody in particular: for channels. None: there is no such request."""
        row = await repository.one(uow.session, approval_id)
        return None if row is None else await self._with_acts(uow, None, (await self._seen_by(uow, "", [row]))[0])

    async def recipients(self, uow: UnitOfWork, approval_id: str) -> list[Decider]:
        """Whom to tell that it waits: everybody who could decide on it now."""
        row = await repository.one(uow.session, approval_id)
        return [] if row is None else await self._standing.deciders(uow, row)

    async def _with_acts(self, uow: UnitOfWork, principal: Principal | None, view: View) -> View:
        uses = await windows.uses_of(uow.session, view.row.id) if view.row.window_used else ()
        return msgspec.structs.replace(view, acts=await acts_of(uow, principal, view.row, view.seen), uses=uses)

    async def _seen_by(self, uow: UnitOfWork, viewer: str, rows: Sequence[ApprovalRow]) -> list[View]:
        seen = await self._standing.seen(uow, rows, *([viewer] if viewer else []))
        told = await self._tellings.of(uow, [row.id for row in rows]) if self._tellings else {}
        cards = await members(uow.session, {row.card_id for row in rows if row.state == State.PENDING})
        views = [_view(row, one, viewer) for row, one in zip(rows, seen, strict=True)]
        return [
            msgspec.structs.replace(view, telling=told.get(view.row.id, Telling()), alike=_alike(view.row, cards))
            for view in views
        ]

    # -------------------------------------------------------------- deciding

    async def decide(self, uow: UnitOfWork, principal: Principal, approval_id: str, word: Word) -> Ruling | None:
        """Takes one person's word, with the request locked: of two at once, the second sees what the first did.

        None: there is no such request. A refused word changes nothing and is audited.
        """
        row = await repository.locked(uow.session, approval_id)
        return None if row is None else await self.decide_on(uow, principal, row, word)

    async def decide_on(self, uow: UnitOfWork, principal: Principal, row: ApprovalRow, word: Word) -> Ruling:
        """As `decide`, for who has locked the request already."""
        judged = await self._standing.judged(uow, row, principal.identity)
        if judged.fault and row.state == State.PENDING:
            move(uow, row, Event.VOIDED, SYSTEM, judged.fault)
            return Refused(Refusal.OVER, judged.fault)
        ruling = _ruled(judged, principal, word, milliseconds(uow.now), row)
        if not isinstance(ruling, Refused):
            await _forget_void(uow, judged, principal)
        self._carry_out(uow, row, principal, word, ruling)
        return ruling

    def _carry_out(self, uow: UnitOfWork, row: ApprovalRow, principal: Principal, word: Word, ruling: Ruling) -> None:
        said: dict[str, Json] = {"channel": word.channel, "sign_in": principal.credential_id, "shown": word.shown.hex()}
        if not isinstance(ruling, Refused):
            said.update(told_of(word.signature))
        match ruling:
            case Refused(why, detail):
                told: dict[str, Json] = {**said, "verb": word.verb, "why": why, "detail": detail}
                uow.audit(audited(row, "decision-refused", principal.actor, told))
            case Denied(vote, reason):
                uow.session.add(_vote_row(row, vote, principal, word, reason))
                move(uow, row, Event.DENIED, principal.actor, reason, {**said, **_place(vote)})
            case Counted(vote, counted):
                uow.session.add(_vote_row(row, vote, principal, word))
                uow.check_last(Regroup(row.card_id))
                stages.keep_step(row, counted.stage, milliseconds(uow.now))
                told = {**said, **_place(vote), **_chosen(vote), "missing": counted.missing}
                uow.audit(audited(row, "agreed", principal.actor, told))
                uow.notify(TOPIC, row.id)
                uow.notice("approval.agreed", row.id, {"by": vote.name, **_place(vote), "missing": counted.missing})
            case Agreed(vote, counted):
                uow.session.add(_vote_row(row, vote, principal, word))
                uow.audit(
                    audited(row, "agreed", principal.actor, {**said, **_place(vote), **_chosen(vote), "missing": 0})
                )
                self._agreement.reached(uow, row, principal.actor, counted)


def _alike(row: ApprovalRow, cards: Mapping[str, Sequence[ApprovalRow]]) -> Sequence[ApprovalRow]:
    return [one for one in cards.get(row.card_id, ()) if one.id != row.id] if row.state == State.PENDING else ()


def _view(row: ApprovalRow, seen: Seen, viewer: str) -> View:
    request, people = seen.request, seen.people
    person = people.get(viewer)
    place = place_of(request, person, people) if person and request.chain.stages else Ineligible.NOT_REVIEWER
    barred = place if isinstance(place, Ineligible) else None
    lent = next((one for one in seen.delegations if isinstance(place, StandIn) and one.id == place.id), None)
    helps = place_for(request, people[lent.delegator_id] if lent else person, people) if person else None
    mine = helps if isinstance(helps, Place) else None
    return View(row, shown.decode(row.shown), seen.votes, request.progress(people), barred, seen, lent, mine)


def _ruled(judged: Judged, principal: Principal, word: Word, at_ms: int, row: ApprovalRow) -> Ruling:
    person = judged.people.get(principal.identity)
    if person is None or principal.kind != "person":
        return Refused(Refusal.NOT_ENTITLED, Ineligible.MACHINE if person else Ineligible.DISABLED)
    choice = word.window.at(at_ms) if word.window and word.verb is Verb.APPROVE else None
    ruling = rule(
        judged.request,
        word.verb,
        person,
        judged.people,
        shown=word.shown,
        at_ms=at_ms,
        channel=word.channel,
        reason=word.reason,
        window=choice,
    )
    if isinstance(ruling, Refused):
        return ruling
    if choice is not None and (why := objection(shown.decode(row.shown).window, choice, at_ms)):
        return Refused(Refusal.WINDOW, why)
    why = unsigned(row, principal.identity, word.verb, word.shown, word.window, word.signature)
    if word.signature is not None and why:
        return Refused(Refusal.SECURITY_KEY, why)
    if word.verb is Verb.DENY:
        why = ""  # it lets nothing run: whoever has lost their key may deny
    proven_at = milliseconds(principal.authenticated_at)
    manner = Manner(word.channel, proven_at, principal.acr, principal.amr, why)
    return unfit(judged.request.chain, manner, at_ms) or ruling


async def _forget_void(uow: UnitOfWork, judged: Judged, principal: Principal) -> None:
    """Whoever agreed under a delegation that was taken back may decide anew; what they said stays in the audit log."""
    for said in judged.votes:
        if said.identity_id == principal.identity:
            await uow.session.delete(said)


def _place(vote: Vote) -> dict[str, Json]:
    """In whose place, when it is not their own."""
    return {"for_id": vote.for_id, "for": vote.for_name, "delegation": vote.delegation_id} if vote.for_id else {}


def _chosen(vote: Vote) -> dict[str, Json]:
    return {"window_until_ms": vote.window.until_ms, "window_uses": vote.window.uses} if vote.window else {}


def _vote_row(row: ApprovalRow, vote: Vote, principal: Principal, word: Word, reason: str = "") -> VoteRow:
    return VoteRow(
        approval_id=row.id,
        identity_id=vote.identity_id,
        name=vote.name,
        verb=word.verb,
        stage=vote.stage,
        at_ms=vote.at_ms,
        channel=vote.channel,
        credential_id=principal.credential_id,
        shown_digest=word.shown,
        reason=reason,
        for_id=vote.for_id,
        for_name=vote.for_name,
        delegation_id=vote.delegation_id,
        on_call=msgspec.json.encode(vote.on_call).decode(),
        window_until_ms=vote.window.until_ms if vote.window else None,
        window_uses=vote.window.uses if vote.window else 0,
        signature=kept(word.signature),
    )
