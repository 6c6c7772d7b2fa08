"""Sign-ins of the command line that a browser confirms: the device authorization grant (RFC 8628).

The asker gets two codes; a person who is signed in to the console enters the short one, sees from where and since when
somebody asks, and confirms or refuses. The next poll opens a sign-in of that person, once. It proves nothing anew: who
proved it, how and when are those of the console's sign-in, it ends no later, and when that one is gone by then, nothing
is opened. What it cannot prevent: a person who confirms a code that somebody else sent them (§5.4); the page says so.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from control_plane.identities import repository, throttle
from control_plane.identities.sign_ins import SignInService
from control_plane.identities.tables import SignInRow
from control_plane.kit.access import Principal
from control_plane.kit.errors import ForbiddenError, TooManyRequestsError, UnavailableError
from control_plane.kit.ids import new_id
from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import NOBODY, AuditEvent, UnitOfWork, Units
from control_plane.sign_on import admission, device_rows
from control_plane.sign_on.device_codes import (
    LIFETIME,
    PAUSE_SECONDS,
    Asked,
    Begun,
    NotYet,
    Opened,
    State,
    hash_of,
    new_device_code,
    new_user_code,
    typed,
)
from control_plane.sign_on.device_elsewhere import SignInsElsewhere
from control_plane.sign_on.device_tables import DeviceCodeRow
from control_plane.sign_on.errors import UnknownDeviceCodeError

_MOST_OF_A_NETWORK: Final = 30
_MOST: Final = 10_000
_TRIES: Final = 10
# What the throttle counts by: longer than any name, so that nobody locks somebody out by a name that says the same.
_COUNTED_TRIES: Final = "codes of sign-ins from the command line that nobody has asked for, entered by {}"
_COUNTED_POLLS: Final = "codes of sign-ins from the command line that nobody has begun, polled with from {}"


class DeviceSignIns:
    def __init__(self, units: Units, sign_ins: SignInService, elsewhere: SignInsElsewhere, public_url: str) -> None:
        self._units = units
        self._sign_ins = sign_ins
        self._elsewhere = elsewhere
        self._page = f"{public_url}/device"

    # -------------------------------------------------------------- whoever asks

    async def begin(self, address: str) -> Begun:
        """Raises TooManyRequestsError: too many from there wait already."""
        async with self._units() as uow:
            await self._make_room(uow, address)
            user_code, device_code = await _free_user_code(uow), new_device_code()
            row = _row(uow, new_id("dvc"), device_code, address, hash_of(user_code))
            uow.session.add(row)
        return _begun(row, device_code, user_code, self._page, f"{self._page}?code={user_code}")

    async def begin_at(self, provider: str, address: str) -> Begun:
        """By the provider's own device flow. It is counted before the provider is asked, also when that is in vain:
        nobody makes us ask more often than they may begin. Raises a ProblemError."""
        row_id, device_code = new_id("dvc"), new_device_code()
        async with self._units() as uow:
            await self._make_room(uow, address)
            row = _row(uow, row_id, device_code, address, hash_of(f"{row_id} is confirmed at {provider}"))
            row.provider = provider
            uow.session.add(row)
        there, handle = await self._elsewhere.begin(row_id, provider, address)
        async with self._units() as uow:
            row = await uow.session.merge(row)
            row.handle, row.pause_seconds = handle, there.pause_seconds
            row.expires_at = uow.now + timedelta(seconds=there.lifetime_seconds)
        return _begun(row, device_code, there.user_code, there.uri, there.complete_uri or there.uri)

    async def poll(self, device_code: str, address: str) -> Opened | NotYet:
        """Raises a ProblemError: a provider's answer cannot be taken, or nobody here is linked to it."""
        async with self._units() as uow:
            row = await device_rows.by_device_code(uow, device_code)
            answer = await self._answer(uow, row, address)
        if row is not None and row.provider and answer is NotYet.PENDING:
            return await self._elsewhere.poll(row)
        return answer

    async def _answer(self, uow: UnitOfWork, row: DeviceCodeRow | None, address: str) -> Opened | NotYet:
        if row is None or row.state == State.USED:
            return await self._unknown(uow, row, address)
        if row.expires_at <= uow.now:
            return NotYet.EXPIRED
        match row.state:
            case State.DENIED:
                return NotYet.DENIED
            case State.CONFIRMED:
                return await self._redeem(uow, row)
        return _too_soon(uow, row)

    async def _make_room(self, uow: UnitOfWork, address: str) -> None:
        await device_rows.forget(uow)
        network, waiting = throttle.network(address), device_rows.waiting(uow)
        await admission.make_room(uow, device_rows.CODES, network, _MOST_OF_A_NETWORK, _MOST, *waiting)

    async def _unknown(self, uow: UnitOfWork, row: DeviceCodeRow | None, address: str) -> NotYet:
        """Audited while it is not a flood."""
        name = _COUNTED_POLLS.format(throttle.network(address))
        if not await throttle.locked_for(uow, name):
            await throttle.failed(uow, name)
            cause = "the code is unknown" if row is None else "the code was used already"
            _refused(uow, row.id if row else "", cause, address)
        return NotYet.UNKNOWN

    async def _redeem(self, uow: UnitOfWork, row: DeviceCodeRow) -> Opened | NotYet:
        with_which = await uow.session.get(SignInRow, row.sign_in_id)
        found = await repository.identities_by_id(uow.session, [row.identity_id or ""])
        if with_which is None or with_which.expires_at <= uow.now or not found or not found[0].able:
            row.state = State.DENIED
            _refused(uow, row.id, "the sign-in that confirmed it has ended", row.client_address)
            return NotYet.DENIED
        row.state = State.USED
        opened = await self._sign_ins.carry_over(uow, found[0], "cli", with_which)
        return Opened(opened, int((opened.expires_at - uow.now).total_seconds()))

    # -------------------------------------------------------------- whoever confirms

    async def look(self, person: Principal, user_code: str) -> Asked:
        """Raises UnknownDeviceCodeError, TooManyRequestsError, ForbiddenError."""
        _must_be_in_the_console(person)
        async with self._units() as uow:
            row = await self._waiting(uow, person, user_code)
        if row is None:
            raise UnknownDeviceCodeError
        return Asked(typed(user_code), row.client_address, row.created_at, row.expires_at)

    async def decide(self, person: Principal, user_code: str, *, confirm: bool) -> None:
        """Once. Raises UnknownDeviceCodeError, TooManyRequestsError, ForbiddenError."""
        _must_be_in_the_console(person)
        async with self._units() as uow:
            row = await self._waiting(uow, person, user_code)
            if row is not None:
                row.state = State.CONFIRMED if confirm else State.DENIED
                row.identity_id, row.sign_in_id = person.identity, person.credential_id
                kind = "device.confirmed" if confirm else "device.denied"
                uow.audit(AuditEvent(kind, person.actor, row.id, {"client_address": row.client_address}))
        if row is None:
            raise UnknownDeviceCodeError

    async def _waiting(self, uow: UnitOfWork, person: Principal, user_code: str) -> DeviceCodeRow | None:
        """None: no such code waits; that is counted against the person."""
        tries = _COUNTED_TRIES.format(person.identity)
        if wait := await throttle.locked_for(uow, tries):
            raise TooManyRequestsError(
                f"too many wrong codes; try again in {wait} s", headers={"retry-after": str(wait)}
            )
        row = await device_rows.by_user_code(uow, typed(user_code))
        if row is not None and row.state == State.PENDING and not row.provider and row.expires_at > uow.now:
            await throttle.succeeded(uow, tries)
            return row
        await throttle.failed(uow, tries)
        cause = "the code is unknown" if row is None else f"the code is {row.state} or too old"
        uow.audit(AuditEvent("device.refused", person.actor, row.id if row else "", {"cause": cause}))
        return None


def _must_be_in_the_console(person: Principal) -> None:
    """Whoever has only a token of the command line or of the API must not make more sign-ins of it."""
    if person.credential_kind != "console":
        raise ForbiddenError("sign in to the console in a browser and confirm there")


def _too_soon(uow: UnitOfWork, row: DeviceCodeRow) -> NotYet:
    """Whether it kept the pause; who did not keeps a longer one from now on."""
    before, row.polled_at = row.polled_at, uow.now
    if before is None or (uow.now - before).total_seconds() >= row.pause_seconds:
        return NotYet.PENDING
    device_rows.slower(row)
    return NotYet.SLOW_DOWN


def _row(uow: UnitOfWork, row_id: str, device_code: Secret, address: str, user_hash: str) -> DeviceCodeRow:
    return DeviceCodeRow(
        id=row_id,
        device_hash=hash_of(device_code.reveal()),
        user_hash=user_hash,
        state=State.PENDING,
        client_address=address[:64],
        network=throttle.network(address),
        created_at=uow.now,
        expires_at=uow.now + LIFETIME,
        pause_seconds=PAUSE_SECONDS,
    )


def _begun(row: DeviceCodeRow, device_code: Secret, user_code: str, uri: str, complete_uri: str) -> Begun:
    lifetime = int((row.expires_at - row.created_at).total_seconds())
    return Begun(device_code, user_code, uri, complete_uri, lifetime, row.pause_seconds)


async def _free_user_code(uow: UnitOfWork) -> str:
    for _ in range(_TRIES):
        code = new_user_code()
        if await device_rows.by_user_code(uow, code) is None:
            return code
    raise UnavailableError("no code is free at this moment; try again")


def _refused(uow: UnitOfWork, subject: str, cause: str, address: str) -> None:
    uow.audit(AuditEvent("device.refused", NOBODY, subject, {"cause": cause, "client_address": address[:64]}))
