"""Puts the feature together."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter

from control_plane.documents.stored_kind import StoredKind
from control_plane.identities.credentials import CredentialService
from control_plane.identities.ending import Ending
from control_plane.identities.parents import Parents
from control_plane.identities.service import IdentityService
from control_plane.identities.sign_ins import RequestAuthenticator
from control_plane.kit.unit_of_work import Units
from control_plane.workloads import endpoints, token_endpoints
from control_plane.workloads.acting import ActingTokens
from control_plane.workloads.bearer import WorkloadBearer
from control_plane.workloads.clients import ClientCredentials
from control_plane.workloads.departed import MadeByTheDeparted
from control_plane.workloads.directory import LinkedSubjects
from control_plane.workloads.ending import EndedWorkloads
from control_plane.workloads.exchange import TokenService
from control_plane.workloads.issuers import IssuerKeys
from control_plane.workloads.service import WorkloadService
from control_plane.workloads.trust_kind import TrustKind
from control_plane.workloads.trusts import Trusts


class WorkloadsFeature:
    def __init__(
        self,
        units: Units,
        own_url: str,
        identities: IdentityService,
        credentials: CredentialService,
        parents: Parents,
        providers: StoredKind,
        authenticator: RequestAuthenticator,
        ending: Ending,
    ) -> None:
        self.kind = TrustKind()
        self.keys = IssuerKeys()
        self.sign_ins = WorkloadService(identities)
        self.clients = ClientCredentials(identities, own_url)
        self.acting = ActingTokens(identities, parents)
        self.subjects = LinkedSubjects(providers, identities)
        bearer = WorkloadBearer()
        parents.know(bearer)
        parents.know_makers(self.clients)
        parents.know_makers(self.kind)
        ending.follow(MadeByTheDeparted())
        authenticator.accept(bearer)
        ended = EndedWorkloads()
        ending.follow(ended)
        ending.follow_sign_outs(ended)
        self.tokens = TokenService(
            units,
            Trusts(units, self.kind, self.keys, own_url),
            self.clients,
            self.acting,
            identities,
            credentials,
            self.subjects,
        )

    def parts(self) -> Sequence[object]:
        return (self.sign_ins, self.clients, self.acting, self.tokens)

    def routers(self) -> Sequence[APIRouter]:
        return (token_endpoints.router, endpoints.trusts, endpoints.router)
