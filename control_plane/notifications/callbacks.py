"""Decisions that a ticketing or on-call system brings on behalf of a person: `POST /v1/webhooks/{channel}/decisions`.

Why no machine credential approves by this (DESIGN invariant 5). Nothing that a machine of a requester can hold is
taken here: a call is believed for the HMAC over its body with the channel's own secret, which only the operator's
folder of secrets and that one system know. The secret stands for no identity and gives no right of its own; it lets its
holder say *which person* has decided, so it is a trust root for exactly the people of the channel's one mapping, and an
admin must turn that on in the channel's document (`decisions: {map: …}`); it is off otherwise. What the person may do
is asked of Assentry at that moment: they must be a person, enabled, a reviewer, in the stage that waits, neither
requester nor owner, and count once. The chain's `channels` must take `webhook`, and a chain that demands
re-authentication never does: the principal made here has authenticated at no time that would satisfy it.

A call carries the digest of what the person was shown (invariant 2), a timestamp that is believed for five minutes, and
an id that is taken once, in the transaction of the decision. What we signed ourselves is none: its type differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final, Protocol

import pydantic
import structlog
from sqlalchemy.exc import IntegrityError

from control_plane.approvals.domain import Refused, Ruling, Verb
from control_plane.approvals.review import ReviewService, Word
from control_plane.identities.domain import Identity
from control_plane.kit.access import Principal
from control_plane.kit.clock import milliseconds
from control_plane.kit.errors import ConflictError, FieldProblem, InvalidError, UnauthenticatedError, UnavailableError
from control_plane.kit.unit_of_work import NOBODY, AuditEvent, UnitOfWork, Units
from control_plane.notifications import repository
from control_plane.notifications.directory import Addresses
from control_plane.notifications.documents import ChannelKind, WebhookSpec, parse
from control_plane.notifications.ports import Later
from control_plane.notifications.schemas import DecisionIn, DecisionTakenOut
from control_plane.notifications.secrets import Secrets
from control_plane.notifications.signing import Genuine, Wrong, verified
from control_plane.notifications.tables import CallRow
from control_plane.notifications.webhook import signing_keys
from data_plane.identifiers import CredentialId

_log = structlog.get_logger(__name__)

CHANNEL: Final = "webhook"
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)  # no re-authentication is as old as this
_REFUSED: Final = "the channel takes no decisions, or the signature, its timestamp or the secret is wrong"


class People(Addresses, Protocol):
    """Asked of identities: who carries an attribute, and nothing else."""

    async def meant_by_email(self, uow: UnitOfWork, email: str) -> list[Identity]: ...

    async def with_external_id(self, uow: UnitOfWork, external_id: str) -> Identity | None: ...

    async def find_named(self, uow: UnitOfWork, names: Iterable[str]) -> list[Identity]: ...


class CallTakenError(ConflictError):
    code, title = "call-taken", "This call has been taken before"


class PersonUnknownError(InvalidError):
    code, title = "person-unknown", "Nobody to decide for"


class Callbacks:
    def __init__(
        self, units: Units, kind: ChannelKind, secrets: Secrets, people: People, review: ReviewService
    ) -> None:
        self._units = units
        self._kind = kind
        self._secrets = secrets
        self._people = people
        self._review = review

    async def take(
        self, channel: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[Ruling | None, DecisionTakenOut]:
        """The ruling, for the caller to raise when it is a refusal: by then it is in the audit log."""
        async with self._units.reading() as uow:
            spec = await self._spec(uow, channel)
            now = milliseconds(uow.now) // 1000
        genuine = self._verified(channel, spec, headers, body, now)
        asked = _decoded(body)
        async with self._units() as uow:
            await _take_once(uow, channel, genuine)
            return await self._decide(uow, channel, spec, asked)

    async def _spec(self, uow: UnitOfWork, channel: str) -> WebhookSpec:
        row = await self._kind.row(uow, channel)
        spec = parse(row.json_text).spec if row is not None else None
        if not isinstance(spec, WebhookSpec) or spec.decisions is None:
            raise UnauthenticatedError(_REFUSED)
        return spec

    def _verified(
        self, channel: str, spec: WebhookSpec, headers: Mapping[str, str], body: bytes, now_seconds: int
    ) -> Genuine:
        try:
            found = verified(signing_keys(spec, self._secrets), headers, body, now_seconds)
        except Later as later:
            _log.error("a callback could not be verified", channel=channel, why=later.why)
            raise UnavailableError("the channel's secret is not where it should be; ask an admin") from None
        if isinstance(found, Wrong):
            _log.warning("a callback is not believed", channel=channel, why=found.why)
            raise UnauthenticatedError(_REFUSED)
        return found

    async def _decide(
        self, uow: UnitOfWork, channel: str, spec: WebhookSpec, asked: DecisionIn
    ) -> tuple[Ruling | None, DecisionTakenOut]:
        person = await self._person(uow, spec, asked.person)
        if person is None:
            told = {"channel": channel, "person": asked.person, "verb": asked.verb, "approval": asked.approval_id}
            uow.audit(AuditEvent("webhook.person-unknown", NOBODY, channel, told))
            return None, DecisionTakenOut(approval_id=asked.approval_id, state="", person="")
        word = Word(Verb(asked.verb), bytes.fromhex(asked.digest), CHANNEL, asked.reason)
        ruling = await self._review.decide(uow, _principal(person, channel), asked.approval_id, word)
        await uow.session.flush()
        view = await self._review.present(uow, asked.approval_id)
        state = view.row.state if view is not None else ""
        return ruling, DecisionTakenOut(approval_id=asked.approval_id, state=state, person=person.name)

    async def _person(self, uow: UnitOfWork, spec: WebhookSpec, said: str) -> Identity | None:
        """Exactly one, and a person. There is one mapping, and no other is tried."""
        match spec.decisions.map if spec.decisions else None:
            case "email":
                found = await self._people.meant_by_email(uow, said)
            case "external-id":
                one = await self._people.with_external_id(uow, said)
                found = [one] if one is not None else []
            case "name":
                found = await self._people.find_named(uow, [said])
            case None:
                return None
        return found[0] if len(found) == 1 and found[0].kind == "person" else None


def is_refused(ruling: Ruling | None) -> bool:
    return ruling is None or isinstance(ruling, Refused)


def _principal(person: Identity, channel: str) -> Principal:
    return person.principal(CredentialId(f"webhook:{channel}"), "webhook", _NEVER)


async def _take_once(uow: UnitOfWork, channel: str, genuine: Genuine) -> None:
    if await repository.is_taken(uow.session, channel, genuine.id):
        raise CallTakenError(f"the call {genuine.id!r} has been taken before")
    uow.session.add(CallRow(channel=channel, call_id=genuine.id, at_ms=milliseconds(uow.now)))
    try:
        await uow.session.flush()
    except IntegrityError as error:  # another replica takes it at this moment
        raise CallTakenError(f"the call {genuine.id!r} has been taken before") from error


def _decoded(body: bytes) -> DecisionIn:
    try:
        return DecisionIn.model_validate_json(body)
    except pydantic.ValidationError as error:
        problems = [FieldProblem(path=_path(one["loc"]), message=one["msg"]) for one in error.errors(include_url=False)]
        raise InvalidError("this is no decision", problems) from None


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(["$", *map(str, location)])
