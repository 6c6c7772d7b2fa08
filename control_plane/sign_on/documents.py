"""The document `IdentityProvider`: where people sign in, and what is believed of what is said there.

kind: IdentityProvider
metadata: {name: corp}
spec:
  title: Example Corp
  oidc: {issuer: "https://id.example.com", client_id: assentry, client_secret: corp-oidc}   # a sealed secret's name
  groups: {claim: groups, map: {"DBA Team": dba}}
  linking: {create: true}
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, cast

import msgspec

from control_plane.documents.stored_kind import StoredKind
from control_plane.identities.sourced import SourcedIdentities
from control_plane.kit.access import Permission
from control_plane.kit.unit_of_work import Actor, UnitOfWork
from control_plane.sign_on.saml_metadata import entity_of
from data_plane.policy import documents, model
from data_plane.policy.documents import Problem

KIND: Final = "IdentityProvider"


class Oidc(model.Document, frozen=True):
    issuer: str  # exactly as the provider writes it; discovery is below it
    client_id: str
    client_secret: str = ""  # the name of a sealed secret; empty: a public client, by PKCE alone
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    acr_values: tuple[str, ...] = ()  # one of which is asked for at every sign-in, and demanded
    device: bool = False  # the provider's own device flow may be used by the command line


class Saml(model.Document, frozen=True):
    metadata: str  # the provider's metadata: XML, or the https address of it
    signed_by: str = ""  # the certificate, PEM, that must have signed the metadata; empty: it is taken as it comes
    subject: str = ""  # the attribute that names the person for ever; empty: the NameID, which must not be transient
    email: str = "email"  # the attribute that has the mail address
    email_verified: bool = False  # the provider lets nobody choose that address
    called: str = ""  # the attribute with a short name of the person; empty: the NameID
    encrypted: bool = False  # only encrypted assertions are taken
    acr: tuple[str, ...] = ()  # authentication contexts, one of which is asked for at every sign-in, and demanded


class GroupRules(model.Document, frozen=True):
    claim: str = "groups"  # of OIDC, dots lead into objects; of SAML, the attribute's name
    map: dict[str, str] = msgspec.field(default_factory=dict)  # theirs: ours
    same_names: bool = False  # a group of theirs is ours of the same name


class Linking(model.Document, frozen=True):
    """How a subject that was never seen becomes an identity. Without any of it: only one that is linked already."""

    create: bool = False  # a new person
    by_email: tuple[str, ...] = ()  # domains of which a verified address is enough to be the one person who has it


class IdentityProviderSpec(model.Document, frozen=True):
    title: str = ""  # what the sign-in page says; empty: the name
    oidc: Oidc | None = None
    saml: Saml | None = None
    groups: GroupRules = GroupRules()
    linking: Linking = Linking()
    disabled: bool = False


class IdentityProvider(model.Document, frozen=True, tag_field="kind", tag="IdentityProvider"):
    apiVersion: Literal["assentry.dev/v1"]
    metadata: model.Metadata
    spec: IdentityProviderSpec


class ProviderKind(StoredKind):
    """The DocumentKind."""

    def __init__(self, sourced: SourcedIdentities) -> None:
        super().__init__(IdentityProvider, "identity-provider", Permission.ADMIN)
        self._sourced = sourced

    async def put(self, uow: UnitOfWork, by: Actor, document: model.Document, *, managed: bool) -> None:
        """Who is not asked any more, or is another provider now, is not believed of groups either."""
        provider = cast("IdentityProvider", document)
        row = await self.row(uow, provider.metadata.name)
        before = None if row is None else _speaker(parse(row.json_text).spec)
        await super().put(uow, by, provider, managed=managed)
        if before is not None and before != _speaker(provider.spec):
            await self._sourced.forget_memberships(uow, by, source_of(provider.metadata.name))

    async def delete(self, uow: UnitOfWork, by: Actor, name: str) -> None:
        await super().delete(uow, by, name)
        await self._sourced.forget_memberships(uow, by, source_of(name))

    async def users_of(self, uow: UnitOfWork, secret: str) -> Sequence[str]:
        """The providers whose client has it."""
        found = {row.name: parse(row.json_text).spec.oidc for row in await self.rows(uow)}
        return [f"the provider {name}" for name, oidc in found.items() if oidc and oidc.client_secret == secret]

    def decode(self, value: object) -> model.Document | Problem:
        return documents.into(IdentityProvider, value, KIND, _name_of(value))


def source_of(provider: str) -> str:
    """Of what it tells of people and groups."""
    return f"provider:{provider}"


def _speaker(spec: IdentityProviderSpec) -> str | None:
    """Whose word counts. None: nobody's."""
    if spec.disabled:
        return None
    return spec.oidc.issuer if spec.oidc else entity_of(spec.saml.metadata) if spec.saml else None


def parse(text: str) -> IdentityProvider:
    return msgspec.json.decode(text, type=IdentityProvider)


def _name_of(value: object) -> str:
    metadata = value.get("metadata") if isinstance(value, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""
