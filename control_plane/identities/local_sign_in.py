"""Sign-in with a name and a password that this control plane keeps: the `SignIn` that is always there."""

from __future__ import annotations

from control_plane.identities import repository, throttle
from control_plane.identities.passwords import BusyError, Passwords
from control_plane.identities.ports import NotProven, Proven, Reason
from control_plane.kit.access import Principal
from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import NOBODY, AuditEvent, Json, Units

_BUSY_SECONDS = 2


class LocalSignIn:
    """Hashing happens between transactions, so that nobody waits for it who only wants the database."""

    def __init__(self, units: Units, passwords: Passwords, *, on: bool = True) -> None:
        self._units = units
        self._passwords = passwords
        self._on = on

    async def prove(self, name: str, password: Secret, address: str = "") -> Proven | NotProven:
        if not self._on:
            return await self._switched_off(name, address)
        async with self._units.reading() as uow:
            if wait := await throttle.locked_for(uow, name, address):
                return NotProven(Reason.LOCKED, wait)
            row = await repository.row_by_name(uow.session, name)
        try:
            matched = await self._passwords.matches(row.password_hash if row else "", password)
        except BusyError:
            return NotProven(Reason.BUSY, _BUSY_SECONDS)
        return await self._judge(name, address, matched=matched)

    async def _switched_off(self, name: str, address: str) -> NotProven:
        """No password is looked at. Counted all the same, so that nobody fills the log."""
        async with self._units() as uow:
            if wait := await throttle.locked_for(uow, name, address):
                return NotProven(Reason.LOCKED, wait)
            await throttle.failed(uow, name, address)
            told: dict[str, Json] = {"cause": "local accounts are switched off", "client_address": address}
            uow.audit(AuditEvent("sign-in.failed", NOBODY, _printable(name), told))
        return NotProven(Reason.OFF)

    async def _judge(self, name: str, address: str, *, matched: bool) -> Proven | NotProven:
        async with self._units() as uow:
            if wait := await throttle.locked_for(uow, name, address):  # others may have tried in the meantime
                return NotProven(Reason.LOCKED, wait)
            identity = await repository.identity_by_name(uow.session, name) if matched else None
            if identity is not None and identity.able and identity.kind == "person":
                await throttle.succeeded(uow, name)
                return Proven(identity)
            told: dict[str, Json] = {"failures": await throttle.failed(uow, name, address), "client_address": address}
            uow.audit(AuditEvent("sign-in.failed", NOBODY, _printable(name), told))
            return NotProven(Reason.WRONG)


def _printable(name: str) -> str:
    return name[:64].replace("\0", "")


class PasswordAgain:
    """The port ProofAgain: the password of the same person, counted by the throttle like any other attempt."""

    method = "password"

    def __init__(self, sign_in: LocalSignIn) -> None:
        self._sign_in = sign_in

    async def prove_again(self, principal: Principal, evidence: Secret) -> Proven | NotProven:
        return await self._sign_in.prove(principal.name, evidence)
