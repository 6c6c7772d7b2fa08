"""The first person who may administer: made by `control-plane init`, or at start from a password file."""

from __future__ import annotations

from control_plane.identities import repository
from control_plane.identities.service import IdentityService
from control_plane.identities.sign_ins import SignInService
from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import SYSTEM, Units

GROUP = "admins"


class FirstAdmin:
    def __init__(self, units: Units, identities: IdentityService, sign_ins: SignInService) -> None:
        self._units = units
        self._identities = identities
        self._sign_ins = sign_ins

    async def make(self, name: str, password: Secret | None = None) -> Secret | None:
        """The password; None, and nothing changed, when somebody administers already."""
        async with self._units() as uow:
            if await repository.able_admins(uow.session):
                return None
            if await repository.row_by_name(uow.session, name) is None:
                await self._identities.create(uow, SYSTEM, name=name, kind="person")
            group = await self._identities.find_group(uow, GROUP)
            members = {name, *(group.members if group else ())}
            await self._identities.put_group(uow, SYSTEM, GROUP, roles=["admin"], members=sorted(members))
        return await self._sign_ins.reset_password(SYSTEM, name, password)
