"""Security keys as a use case: registered, removed, asked to sign, and taken at their word once.

Who has a key manages keys with a key: a stolen password or cookie adds none and removes none. The first one is
registered with a fresh sign-in to the console itself, none that rests on another; whoever has lost every key asks an
admin, who may remove them and add none. A key whose counter goes back has been copied: from then on it proves nothing,
until it is removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from control_plane.identities.service import IdentityService
from control_plane.kit.access import Principal
from control_plane.kit.clock import milliseconds
from control_plane.kit.ids import new_id, random_text
from control_plane.kit.unit_of_work import Actor, AuditEvent, Json, UnitOfWork
from control_plane.security_keys import repository
from control_plane.security_keys.ceremony import (
    CeremonyError,
    NewKey,
    Site,
    asserted,
    assertion_options,
    registered,
    registration_options,
)
from control_plane.security_keys.errors import (
    FreshProofError,
    KeyNotFoundError,
    NoKeyError,
    NoNameError,
    OnlyInConsoleError,
    OnlySignedInError,
    TooManyKeysError,
)
from control_plane.security_keys.signed import Signed, encoded
from control_plane.security_keys.statement import Decision, Purpose, Statement, decode, encode
from control_plane.security_keys.tables import ChallengeRow, SecurityKeyRow

MOST_KEYS: Final = 10
FRESH: Final = timedelta(minutes=5)
LIFETIME: Final = timedelta(minutes=5)
_MOST_WAITING: Final = 20  # challenges of one person
_LARGEST: Final = 32 * 1024
_SIGNED_IN: Final = frozenset({"console", "cli"})


class Ceremony(msgspec.Struct, frozen=True):
    """`options`: for the browser's `navigator.credentials`, bytes as base64url."""

    challenge_id: str
    options: Mapping[str, Any]
    expires_at: datetime


class Answer(msgspec.Struct, frozen=True):
    """What the browser made of a ceremony: the credential as `toJSON` has it."""

    challenge_id: str
    credential: dict[str, Any]

    @staticmethod
    def read(text: str) -> Answer | None:
        """None: it is none."""
        try:
            return msgspec.json.decode(text, type=Answer) if len(text) <= _LARGEST else None
        except (msgspec.MsgspecError, UnicodeError):
            return None


class Proof(msgspec.Struct, frozen=True):
    """A key of this very person has signed this statement just now, and never will again. Only `prove` makes one."""

    statement: Statement
    signed: Signed


class Rejected(msgspec.Struct, frozen=True):
    why: str  # for the audit log


class SecurityKeys:
    def __init__(self, url: str, deployment: str, identities: IdentityService) -> None:
        self._url = url
        self._site = Site.of(url)
        self._deployment = deployment
        self._identities = identities

    @property
    def site(self) -> Site:
        """Raises NoNameError."""
        if self._site is None:
            raise NoNameError(self._url)
        return self._site

    # -------------------------------------------------------------- what somebody has

    async def of(self, uow: UnitOfWork, principal: Principal) -> Sequence[SecurityKeyRow]:
        return await repository.keys_of(uow.session, principal.identity)

    async def of_named(self, uow: UnitOfWork, name: str) -> Sequence[SecurityKeyRow]:
        """Raises IdentityNotFoundError."""
        identity = await self._identities.named(uow, name)
        return await repository.keys_of(uow.session, identity.id)

    def may_manage(self, now: datetime, principal: Principal, *, has_keys: bool) -> bool:
        """Add and remove some of one's own, at this moment."""
        fresh = _is_fresh(now, principal.authenticated_at)
        return fresh and (not has_keys or _is_fresh(now, principal.security_key_at))

    async def begin_registration(self, uow: UnitOfWork, principal: Principal) -> Ceremony:
        present = await self._managed(uow, principal)
        if len(present) >= MOST_KEYS:
            raise TooManyKeysError(MOST_KEYS)
        row = await self._challenge(uow, principal, Purpose.REGISTER)
        options = registration_options(self.site, principal.identity, principal.name, row.statement, present)
        return Ceremony(row.id, options, row.expires_at)

    async def register(
        self, uow: UnitOfWork, principal: Principal, name: str, answer: Answer | None
    ) -> SecurityKeyRow | Rejected:
        """What is rejected is audited: commit it."""
        present = await self._managed(uow, principal)
        waiting = await self._spent(uow, principal, Purpose.REGISTER, answer)
        if isinstance(waiting, Rejected) or answer is None:
            return waiting if isinstance(waiting, Rejected) else Rejected("it cannot be read")
        try:
            new = registered(self.site, waiting.statement, answer.credential)
        except CeremonyError as error:
            return _rejected(uow, principal, Purpose.REGISTER, error.args[0])
        if await repository.is_known(uow.session, new.credential_id):
            return _rejected(uow, principal, Purpose.REGISTER, "this key is registered already")
        if len(present) >= MOST_KEYS:
            raise TooManyKeysError(MOST_KEYS)
        return _added(uow, principal, name, new)

    async def remove(self, uow: UnitOfWork, principal: Principal, key_id: str) -> None:
        """One's own."""
        present = await self._managed(uow, principal)
        row = next((one for one in present if one.id == key_id), None)
        await _remove(uow, principal, key_id, row, principal.name)

    async def remove_of(self, uow: UnitOfWork, admin: Principal, name: str, key_id: str) -> None:
        """By an admin, for somebody who has lost it. Admins remove their own as everybody does: with a key."""
        identity = await self._identities.named(uow, name)
        if identity.id == admin.identity:
            await self.remove(uow, admin, key_id)
            return
        present = await repository.keys_of(uow.session, identity.id)
        row = next((one for one in present if one.id == key_id), None)
        await _remove(uow, admin, key_id, row, name)

    async def _managed(self, uow: UnitOfWork, principal: Principal) -> Sequence[SecurityKeyRow]:
        """The keys that are there, for whoever may add and remove some now. Raises a ProblemError."""
        _check_signed_in(principal)
        present = await repository.keys_of(uow.session, principal.identity)
        if not _is_fresh(uow.now, principal.authenticated_at):
            minutes = int(FRESH.total_seconds() // 60)
            raise FreshProofError(f"prove again who you are: this needs a sign-in not older than {minutes} minutes")
        if not present and not await repository.is_of_itself(uow.session, principal.credential_id):
            raise OnlyInConsoleError
        if present and not _is_fresh(uow.now, principal.security_key_at):
            raise FreshProofError("prove who you are with a security key that you have; an admin removes lost ones")
        return present

    async def ended(
        self,
        uow: UnitOfWork,
        by: Actor,  # noqa: ARG002 - the port Consequence
        identity_ids: Sequence[str],
        reason: str,  # noqa: ARG002
    ) -> Mapping[str, Json]:
        """Whoever is enabled again begins anew."""
        return {"security_keys": await repository.delete_of(uow.session, identity_ids)}

    # -------------------------------------------------------------- signing

    async def ask(self, uow: UnitOfWork, principal: Principal, decision: Decision | None = None) -> Ceremony:
        """For a signature over a decision, or to prove who one is. Raises a ProblemError."""
        _check_signed_in(principal)
        site = self.site
        usable = [row for row in await self.of(uow, principal) if row.blocked_at is None]
        if not usable:
            raise NoKeyError
        purpose = Purpose.DECIDE if decision else Purpose.AUTHENTICATE
        row = await self._challenge(uow, principal, purpose, decision)
        return Ceremony(row.id, assertion_options(site, row.statement, usable), row.expires_at)

    async def prove(
        self, uow: UnitOfWork, principal: Principal, purpose: Purpose, answer: Answer | None
    ) -> Proof | Rejected:
        """The challenge is spent, whatever comes of it, and what is rejected is audited: commit it."""
        waiting = await self._spent(uow, principal, purpose, answer)
        if isinstance(waiting, Rejected) or answer is None:
            return waiting if isinstance(waiting, Rejected) else Rejected("it cannot be read")
        named = answer.credential.get("id")
        key = await repository.locked_key(uow.session, principal.identity, named) if isinstance(named, str) else None
        if key is None:
            return _rejected(uow, principal, purpose, "no key of this person")
        if key.blocked_at is not None:
            return _rejected(uow, principal, purpose, "the key is blocked", key)
        try:
            found = asserted(self.site, waiting.statement, key, answer.credential)
        except CeremonyError as error:
            return _rejected(uow, principal, purpose, error.args[0], key)
        if (key.sign_count or found.sign_count) and found.sign_count <= key.sign_count:
            return _copied(uow, principal, purpose, key, found.sign_count)
        key.sign_count, key.last_used_at = found.sign_count, uow.now
        uow.session.add(key)
        return Proof(decode(waiting.statement), found.signed)

    async def _challenge(
        self, uow: UnitOfWork, principal: Principal, purpose: Purpose, decision: Decision | None = None
    ) -> ChallengeRow:
        await repository.forget(uow.session, principal.identity, uow.now, _MOST_WAITING - 1)
        statement = Statement(
            purpose=purpose,
            deployment=self._deployment,
            person_id=principal.identity,
            person=principal.name,
            sign_in=principal.credential_id,
            at_ms=milliseconds(uow.now),
            nonce=random_text(52),
            decision=decision,
        )
        row = ChallengeRow(
            id=new_id("skc"),
            identity_id=principal.identity,
            sign_in_id=principal.credential_id,
            purpose=purpose,
            statement=encode(statement),
            expires_at=uow.now + LIFETIME,
        )
        uow.session.add(row)
        return row

    async def _spent(
        self, uow: UnitOfWork, principal: Principal, purpose: Purpose, answer: Answer | None
    ) -> ChallengeRow | Rejected:
        if answer is None:
            return _rejected(uow, principal, purpose, "it cannot be read")
        row = await repository.spend(uow.session, answer.challenge_id)
        if row is None or row.expires_at <= uow.now:
            return _rejected(uow, principal, purpose, "the challenge is unknown, used or too old")
        if (row.identity_id, row.sign_in_id) != (principal.identity, principal.credential_id):
            return _rejected(uow, principal, purpose, "the challenge is another sign-in's")
        if row.purpose != purpose:
            return _rejected(uow, principal, purpose, f"the challenge is to {row.purpose}")
        return row


def _is_fresh(now: datetime, proven_at: datetime | None) -> bool:
    return proven_at is not None and timedelta() <= now - proven_at <= FRESH


def _check_signed_in(principal: Principal) -> None:
    if principal.kind != "person" or principal.credential_kind not in _SIGNED_IN:
        raise OnlySignedInError


def _added(uow: UnitOfWork, principal: Principal, name: str, new: NewKey) -> SecurityKeyRow:
    row = SecurityKeyRow(
        id=new_id("sky"),
        identity_id=principal.identity,
        name=name,
        credential_id=new.credential_id,
        public_key=new.public_key,
        public_der=new.public_der,
        sign_count=new.sign_count,
        model=new.model,
        transports=list(new.transports),
        synced=new.synced,
        created_at=uow.now,
    )
    uow.session.add(row)
    # With this, whoever verifies an export knows whose key signed a decision.
    told: dict[str, Json] = {"name": name, "public_key": encoded(new.public_der), "identity_id": principal.identity}
    uow.audit(AuditEvent("security-key.registered", principal.actor, row.id, {**told, "model": new.model}))
    return row


async def _remove(uow: UnitOfWork, by: Principal, key_id: str, row: SecurityKeyRow | None, of: str) -> None:
    if row is None:
        raise KeyNotFoundError(key_id)
    await uow.session.delete(row)
    told: dict[str, Json] = {"name": row.name, "of": of, "identity_id": row.identity_id}
    uow.audit(AuditEvent("security-key.removed", by.actor, row.id, told))


def _rejected(
    uow: UnitOfWork, principal: Principal, purpose: Purpose, why: str, key: SecurityKeyRow | None = None
) -> Rejected:
    told: dict[str, Json] = {"purpose": purpose, "why": why, "sign_in": principal.credential_id}
    uow.audit(AuditEvent("security-key.refused", principal.actor, key.id if key else "", told))
    return Rejected(why)


def _copied(uow: UnitOfWork, principal: Principal, purpose: Purpose, key: SecurityKeyRow, count: int) -> Rejected:
    key.blocked_at = uow.now
    uow.session.add(key)
    told: dict[str, Json] = {"name": key.name, "counter": count, "seen_before": key.sign_count}
    uow.audit(AuditEvent("security-key.blocked", principal.actor, key.id, told))
    return _rejected(uow, principal, purpose, "its counter went back: the key has been copied", key)
