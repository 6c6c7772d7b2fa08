"""How whoever is signed in can prove again who they are: what pages offer where a fresh or stronger proof is asked."""

from __future__ import annotations

import msgspec

from control_plane.kit.access import Principal
from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.security_keys.service import SecurityKeys
from control_plane.sign_on.choices import SignInChoices


class Ways(msgspec.Struct, frozen=True):
    password: bool
    security_key: bool
    provider: str = ""  # its title; empty: this control plane asked them itself
    path: str = ""  # where the provider's proof begins; `?next=` says where it leads


class Proving:
    def __init__(self, choices: SignInChoices, keys: SecurityKeys) -> None:
        self._choices = choices
        self._keys = keys

    async def ways(self, uow: UnitOfWork, principal: Principal) -> Ways:
        choices = await self._choices.now(uow)
        has_key = any(row.blocked_at is None for row in await self._keys.of(uow, principal))
        suffix = f"/{principal.provider}"
        mine = next((one for one in choices.providers if principal.provider and one.path.endswith(suffix)), None)
        if mine is None:
            return Ways(choices.local, has_key)
        return Ways(password=False, security_key=has_key, provider=mine.title, path=f"{mine.path}/again")
