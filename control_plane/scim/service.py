"""Opens what a SCIM request needs: a unit of work, and the client whose token it came with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Final

from scim2_models import ForbiddenException
from sqlalchemy import true
from sqlmodel import col

from control_plane.kit.access import Principal
from control_plane.kit.unit_of_work import UnitOfWork, Units
from control_plane.scim.domain import Client, client_name
from control_plane.scim.groups import GroupsService
from control_plane.scim.people import PeopleService
from control_plane.scim.resources import Group, User
from control_plane.scim.searching import Listing
from control_plane.scim.tables import ScimClientRow, ScimGroupRow, ScimTokenRow, ScimUserRow
from control_plane.scim.tokens import TokenService

_SEEN_EVERY: Final = timedelta(hours=1)  # when a token was last used is known so exactly


class ScimService:
    def __init__(
        self, units: Units, url: str, tokens: TokenService, people: PeopleService, groups: GroupsService
    ) -> None:
        self._units = units
        self._url = url
        self._tokens = tokens
        self.people = people
        self.groups = groups
        self.users_listed: Listing[ScimUserRow, User] = Listing(
            ScimUserRow,
            exact={"id": "id", "externalid": "external_id"},
            folded={"username": "user_name_key"},
            alive=col(ScimUserRow.user_name_key).is_not(None),
            resources=people.resources,
        )

    def groups_listed(self, *, members: bool) -> Listing[ScimGroupRow, Group]:
        return Listing(
            ScimGroupRow,
            exact={"id": "id", "externalid": "external_id"},
            folded={"displayname": "display_key"},
            alive=true(),
            resources=partial(self.groups.resources, members=members),
        )

    def base(self, name: str) -> str:
        return f"{self._url}/scim/v2/{name}"

    @asynccontextmanager
    async def writing(self, principal: Principal, name: str) -> AsyncIterator[tuple[UnitOfWork, Client]]:
        async with self._units() as uow:
            yield uow, await self._client(uow, principal, name)

    @asynccontextmanager
    async def reading(self, principal: Principal, name: str) -> AsyncIterator[tuple[UnitOfWork, Client]]:
        async with self._units.reading() as uow:
            client = await self._client(uow, principal, name)
            token = await uow.session.get(ScimTokenRow, principal.credential_id)
            stale = token is not None and (token.last_used_at is None or token.last_used_at < uow.now - _SEEN_EVERY)
            yield uow, client
        if stale:
            async with self._units() as uow:
                await self._tokens.used(uow, principal.credential_id)

    async def _client(self, uow: UnitOfWork, principal: Principal, name: str) -> Client:
        row = await uow.session.get(ScimClientRow, client_name(principal))
        if row is None or row.name != name:
            raise ForbiddenException(detail="this token is not of the client that the address names")
        if uow.writes:
            await self._tokens.used(uow, principal.credential_id)
        return Client(row.name, row.provider, principal.actor, self.base(row.name))
