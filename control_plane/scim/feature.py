"""Puts SCIM together from what knows identities."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter

from control_plane.identities.ending import Ending
from control_plane.identities.service import IdentityService
from control_plane.identities.sourced import SourcedIdentities
from control_plane.kit.unit_of_work import Units
from control_plane.scim import client_endpoints, discovery, endpoints
from control_plane.scim.accounts import Accounts
from control_plane.scim.clients import ClientService
from control_plane.scim.groups import GroupsService
from control_plane.scim.people import PeopleService
from control_plane.scim.refusals import Refusals
from control_plane.scim.service import ScimService
from control_plane.scim.sources import ClientSources
from control_plane.scim.tokens import TokenService
from control_plane.sign_on.documents import ProviderKind


class ScimFeature:
    def __init__(
        self,
        *,
        units: Units,
        url: str,
        identities: IdentityService,
        sourced: SourcedIdentities,
        ending: Ending,
        providers: ProviderKind,
    ) -> None:
        self.tokens = TokenService()
        ending.follow(self.tokens)
        accounts = Accounts(identities, sourced, ClientSources(), ending)
        people = PeopleService(identities, sourced, ending, accounts)
        self.service = ScimService(units, url, self.tokens, people, GroupsService(sourced))
        self.clients = ClientService(identities, ending, providers, self.tokens, url)
        self.refusals = Refusals(units, self.tokens)

    def parts(self) -> Sequence[object]:
        return (self.service, self.clients, self.tokens, self.refusals)

    def routers(self) -> Sequence[APIRouter]:
        return (client_endpoints.router, endpoints.router, discovery.router)
