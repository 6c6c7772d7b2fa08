"""The first person who may administer: made by `control-plane init`, or at start from a password file."""

from __future__ import annotations

from typing import Final

from control_plane.identities import repository
from control_plane.identities.service import IdentityService
from control_plane.identities.sign_ins import SignInService
from control_plane.kit.secret import Secret
from control_plane.kit.starting import StartError
from control_plane.kit.unit_of_work import SYSTEM, Units

GROUP = "admins"
_NO_PASSWORDS: Final = (
    "ASSENTRY_LOCAL_SIGN_IN: off, but nobody administers yet: set it to on, make the first admin, set up an identity "
    "provider, let somebody of it administer, and switch it off then"
)


class FirstAdmin:
    def __init__(self, units: Units, identities: IdentityService, sign_ins: SignInService) -> None:
        self._units = units
        self._identities = identities
        self._sign_ins = sign_ins

    async def make(self, name: str, password: Secret | None = None) -> Secret | None:
        """The password; None, and nothing changed, when somebody administers already. Raises StartError."""
        async with self._units() as uow:
            if await repository.able_admins(uow.session):
                return None
            if not self._sign_ins.local:
                raise StartError(_NO_PASSWORDS)
            if await repository.row_by_name(uow.session, name) is None:
                await self._identities.create(uow, SYSTEM, name=name, kind="person")
            group = await self._identities.find_group(uow, GROUP)
            members = {name, *(group.members if group else ())}
            await self._identities.put_group(uow, SYSTEM, GROUP, roles=["admin"], members=sorted(members))
        return await self._sign_ins.reset_password(SYSTEM, name, password)
