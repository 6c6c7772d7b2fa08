"""Puts together what knows people and machines: identities, and every way in which one proves who one is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from types import ModuleType
from typing import Final

from argon2 import PasswordHasher
from fastapi import APIRouter

from control_plane.access_reviews import endpoints as access_review_endpoints
from control_plane.access_reviews.feature import AccessReviewsFeature
from control_plane.api_tokens import endpoints as api_token_endpoints
from control_plane.api_tokens.parent import ApiTokenParent
from control_plane.api_tokens.service import ApiTokens
from control_plane.approvals import signing_endpoints
from control_plane.approvals.signing import Signing
from control_plane.config import Settings
from control_plane.documents.naming import DocumentNames
from control_plane.documents.ports import DocumentKind
from control_plane.identities import (
    authority_endpoints,
    credential_endpoints,
    endpoints,
    link_endpoints,
    session_endpoints,
    ssh_endpoints,
    validation,
)
from control_plane.identities.cookies import Cookies
from control_plane.identities.credentials import CredentialService
from control_plane.identities.documents import GroupKind, IdentityKind
from control_plane.identities.ending import Ending
from control_plane.identities.ends import EndDates
from control_plane.identities.first_admin import FirstAdmin
from control_plane.identities.local_sign_in import LocalSignIn, PasswordAgain
from control_plane.identities.parents import Parents
from control_plane.identities.passwords import Passwords
from control_plane.identities.ports import CertificateIssuer, TargetNames
from control_plane.identities.reauthentication import Reauthentication
from control_plane.identities.service import IdentityService
from control_plane.identities.sign_in_links import SignInLinkService
from control_plane.identities.sign_ins import RequestAuthenticator, SignInService
from control_plane.identities.sourced import SourcedIdentities
from control_plane.identities.ssh_authority import SshAuthority
from control_plane.identities.ssh_certificates import SshCertificateService
from control_plane.kit.access import AuthenticatorPart
from control_plane.kit.clock import Clock
from control_plane.kit.keys import SigningKeys
from control_plane.kit.sealing import FileSeal
from control_plane.kit.unit_of_work import Units
from control_plane.scim.feature import ScimFeature
from control_plane.scim.sources import ClientSources
from control_plane.secrets.own import OwnSecrets
from control_plane.security_keys import endpoints as security_key_endpoints
from control_plane.security_keys.proof import SecurityKeyAgain
from control_plane.security_keys.service import SecurityKeys
from control_plane.sign_on import (
    account_endpoints,
    device_endpoints,
    oidc_endpoints,
    oidc_validation,
    provider_endpoints,
    saml_validation,
)
from control_plane.sign_on.accounts import ExternalAccounts
from control_plane.sign_on.choices import SignInChoices
from control_plane.sign_on.device import DeviceSignIns
from control_plane.sign_on.device_elsewhere import SignInsElsewhere
from control_plane.sign_on.documents import ProviderKind
from control_plane.sign_on.linking import SignOn
from control_plane.sign_on.oidc_feature import OidcFeature
from control_plane.sign_on.proving import Proving
from control_plane.sign_on.saml_feature import SamlFeature
from control_plane.workloads import validation as workload_validation
from control_plane.workloads.feature import WorkloadsFeature
from control_plane.workloads.handover import MadeByFormerOwners

VALIDATIONS: Final[Sequence[ModuleType]] = (validation, oidc_validation, saml_validation, workload_validation)


class Who:
    def __init__(
        self,
        units: Units,
        settings: Settings,
        keys: SigningKeys,
        targets: TargetNames,
        issuer: CertificateIssuer,
        ssh: SshAuthority,
        hasher: PasswordHasher | None,
        clock: Clock,
        seal: FileSeal,
        own_secrets: OwnSecrets,
    ) -> None:
        self.loops: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        self.ending = Ending()
        named = DocumentNames()
        sources = ClientSources()
        self.identities = IdentityService(self.ending, named, sources)
        self.cookies = Cookies(settings.url)
        self.authenticator = RequestAuthenticator(units, self.cookies.name)
        sign_in = self._local_accounts(units, settings, hasher)
        self._proofs(units, settings, sign_in)
        parents = Parents()
        self.credentials = CredentialService(keys, settings.deployment, targets, issuer, parents)
        self.ssh_certificates = SshCertificateService(self.credentials, ssh, settings.deployment)
        self.ending.follow(self.ssh_certificates)
        self.sourced = SourcedIdentities(self.identities, named)
        self.providers = ProviderKind(self.sourced)
        self.sign_on = SignOn(self.identities, self.sourced, self.sign_ins, sources)
        self.accounts = ExternalAccounts(self.identities, self.providers, self.sourced, self.ending, sources)
        self._scim(units, settings)
        self._saml(units, settings, clock, seal)
        self._oidc(units, settings, clock, own_secrets)
        self.sign_in_choices = SignInChoices(self.providers, local=self.sign_ins.local)
        self.proving = Proving(self.sign_in_choices, self.security_keys)
        elsewhere = SignInsElsewhere(units, self.oidc.device, own_secrets, self.sign_on)
        self.device_sign_ins = DeviceSignIns(units, self.sign_ins, elsewhere, settings.url)
        self._api_tokens(units, parents)
        self._workloads(units, settings, parents)
        self._access_reviews(units, clock)

    def _local_accounts(self, units: Units, settings: Settings, hasher: PasswordHasher | None) -> LocalSignIn:
        passwords, local = Passwords(hasher), settings.local_sign_in == "on"
        sign_in = LocalSignIn(units, passwords, on=local)
        self.sign_ins = SignInService(units, sign_in, passwords, settings.session_lifetime, self.ending, local=local)
        self.sign_in_links = SignInLinkService(self.sign_ins)
        self.first_admin = FirstAdmin(units, self.identities, self.sign_ins)
        return sign_in

    def _proofs(self, units: Units, settings: Settings, sign_in: LocalSignIn) -> None:
        self.security_keys = SecurityKeys(settings.url, settings.deployment, self.identities)
        self.ending.follow(self.security_keys)
        self.signing = Signing(units, self.security_keys)
        by_key = SecurityKeyAgain(units, self.security_keys, self.identities)
        self.reauthentication = Reauthentication(units, (PasswordAgain(sign_in), by_key))

    def _scim(self, units: Units, settings: Settings) -> None:
        self.scim = ScimFeature(
            units=units,
            url=settings.url,
            identities=self.identities,
            sourced=self.sourced,
            ending=self.ending,
            providers=self.providers,
        )
        self.authenticator.accept(self.scim.tokens)

    def _api_tokens(self, units: Units, parents: Parents) -> None:
        self.api_tokens = ApiTokens(units)
        parents.know(ApiTokenParent())
        self.authenticator.accept(self.api_tokens)
        self.ending.follow(self.api_tokens)
        self.ending.follow_sign_outs(self.api_tokens)
        self.loops.append(("api-token-uses", self.api_tokens.write_uses_at_intervals))

    def _access_reviews(self, units: Units, clock: Clock) -> None:
        self.access_reviews = AccessReviewsFeature(
            units=units, clock=clock, identities=self.identities, ending=self.ending
        )
        self.loops += self.access_reviews.loops

    def _workloads(self, units: Units, settings: Settings, parents: Parents) -> None:
        self.workloads = WorkloadsFeature(
            units=units,
            own_url=settings.url,
            identities=self.identities,
            credentials=self.credentials,
            parents=parents,
            providers=self.providers,
            authenticator=self.authenticator,
            ending=self.ending,
        )
        self.ending.follow_handovers(MadeByFormerOwners())
        self.end_dates = EndDates(units, self.ending)
        self.loops.append(("identities-ends", self.end_dates.run))

    def _saml(self, units: Units, settings: Settings, clock: Clock, seal: FileSeal) -> None:
        self.saml = SamlFeature(
            units=units,
            clock=clock,
            providers=self.providers,
            sign_on=self.sign_on,
            ending=self.ending,
            public_url=settings.url,
            state_dir=settings.state_dir,
            seal=seal,
        )

    def _oidc(self, units: Units, settings: Settings, clock: Clock, own_secrets: OwnSecrets) -> None:
        self.oidc = OidcFeature(
            units=units,
            clock=clock,
            kind=self.providers,
            secrets=own_secrets,
            sign_on=self.sign_on,
            ending=self.ending,
            public_url=settings.url,
            lifetime=settings.session_lifetime,
            renew_every=settings.sign_on_refresh,
        )
        self.loops += self.oidc.loops

    def kinds(self) -> Sequence[DocumentKind]:
        return (IdentityKind(self.identities), GroupKind(self.identities), self.providers, self.workloads.kind)

    def parts(self) -> Sequence[object]:
        """What endpoints get by type."""
        return (
            AuthenticatorPart(self.authenticator, self.access_reviews.uses),
            self.cookies,
            self.identities,
            self.sign_ins,
            self.sign_in_links,
            self.reauthentication,
            self.security_keys,
            self.signing,
            self.credentials,
            self.ssh_certificates,
            self.ending,
            self.sourced,
            self.sign_on,
            self.accounts,
            *self.scim.parts(),
            *self.oidc.parts(),
            *self.saml.parts(),
            self.sign_in_choices,
            self.proving,
            self.device_sign_ins,
            self.api_tokens,
            *self.workloads.parts(),
            *self.access_reviews.parts(),
        )

    def routers(self) -> Sequence[APIRouter]:
        return (
            session_endpoints.router,
            security_key_endpoints.router,
            signing_endpoints.router,
            link_endpoints.router,
            provider_endpoints.router,
            account_endpoints.router,
            oidc_endpoints.router,
            device_endpoints.router,
            api_token_endpoints.router,
            access_review_endpoints.router,  # before what takes any name for an identity's
            endpoints.router,
            *self.scim.routers(),
            credential_endpoints.router,
            ssh_endpoints.router,
            authority_endpoints.router,
            *self.workloads.routers(),
        )
