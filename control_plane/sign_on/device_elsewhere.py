"""Sign-ins of the command line that are confirmed at an identity provider, by its own device flow.

The provider's device code is as good as its holder's name, so it stays here, sealed; whoever asks gets one of ours.
"""

from __future__ import annotations

import base64
from typing import Final, Protocol

import msgspec

from control_plane.kit.errors import UnavailableError
from control_plane.kit.unit_of_work import NOBODY, AuditEvent, Units
from control_plane.secrets.envelope import Sealed
from control_plane.secrets.own import OwnSecretError, OwnSecrets
from control_plane.sign_on import device_rows
from control_plane.sign_on.device_codes import NotYet, Opened, State
from control_plane.sign_on.device_tables import DeviceCodeRow
from control_plane.sign_on.documents import IdentityProviderSpec
from control_plane.sign_on.domain import Told
from control_plane.sign_on.errors import NotKnownHereError
from control_plane.sign_on.linking import SignOn
from control_plane.sign_on.oidc_device import DeviceBegun, NotYetTold

_NO_KEY: Final = "the wrapping key cannot be used at this moment; try again"


class DeviceFlow(Protocol):
    """Of any provider, by its name. Nothing of it in a transaction: it asks the provider."""

    async def begin(self, provider: str, address: str = "") -> DeviceBegun: ...

    async def poll(self, provider: str, handle: str, address: str = "") -> Told | NotYetTold: ...

    async def spec(self, provider: str) -> IdentityProviderSpec: ...


class SignInsElsewhere:
    def __init__(self, units: Units, flow: DeviceFlow, secrets: OwnSecrets, sign_on: SignOn) -> None:
        self._units = units
        self._flow = flow
        self._secrets = secrets
        self._sign_on = sign_on

    async def begin(self, row_id: str, provider: str, address: str) -> tuple[DeviceBegun, str]:
        """What the person is shown, and the sealed handle. Raises a ProblemError."""
        begun = await self._flow.begin(provider, address)
        try:
            sealed = await self._secrets.seal(_what(row_id), begun.handle.encode())
        except OwnSecretError as error:
            raise UnavailableError(_NO_KEY) from error
        return begun, base64.b64encode(msgspec.msgpack.encode(sealed)).decode()

    async def poll(self, row: DeviceCodeRow) -> Opened | NotYet:
        """Raises a ProblemError."""
        told = await self._flow.poll(row.provider, await self._handle(row), row.client_address)
        if isinstance(told, Told):
            return await self._opened(row.id, told)
        answer = NotYet(told.value)
        if answer is not NotYet.PENDING:
            await self._remember(row.id, answer)
        return answer

    async def _handle(self, row: DeviceCodeRow) -> str:
        sealed = msgspec.msgpack.decode(base64.b64decode(row.handle), type=Sealed)
        try:
            return (await self._secrets.open(_what(row.id), sealed)).decode()
        except OwnSecretError as error:
            raise UnavailableError(_NO_KEY) from error

    async def _remember(self, row_id: str, answer: NotYet) -> None:
        async with self._units() as uow:
            row = await device_rows.by_id(uow, row_id)
            if row is not None and answer is NotYet.SLOW_DOWN:
                device_rows.slower(row)
            elif row is not None:
                row.state = State.DENIED

    async def _opened(self, row_id: str, told: Told) -> Opened | NotYet:
        spec = await self._flow.spec(told.provider)
        try:
            async with self._units() as uow:
                row = await device_rows.by_id(uow, row_id)
                if row is None or row.state != State.PENDING:
                    return NotYet.UNKNOWN
                row.state = State.USED
                opened = await self._sign_on.open(uow, spec, told, "cli")
                return Opened(opened, int((opened.expires_at - uow.now).total_seconds()))
        except NotKnownHereError as error:
            await self._refused(row_id, told, error.cause)
            raise

    async def _refused(self, row_id: str, told: Told, why: str) -> None:
        cause = {"cause": why, "provider": told.provider, "subject": told.subject}
        async with self._units() as uow:
            row = await device_rows.by_id(uow, row_id)
            if row is not None:
                row.state = State.DENIED
            uow.audit(AuditEvent("device.refused", NOBODY, row_id, cause))


def _what(row_id: str) -> str:
    return f"what a provider is polled with:{row_id}"
