"""In which ways one may sign in here, for whoever is not signed in yet: providers by title, and local accounts."""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.sign_on.documents import IdentityProvider, ProviderKind, parse


class Provided(msgspec.Struct, frozen=True):
    """One provider: what its button says, and where the sign-in begins."""

    title: str
    path: str


class Choices(msgspec.Struct, frozen=True):
    local: bool
    providers: tuple[Provided, ...]


class SignInChoices:
    def __init__(self, kind: ProviderKind, *, local: bool) -> None:
        self._kind = kind
        self._local = local

    async def now(self, uow: UnitOfWork) -> Choices:
        documents = [parse(row.json_text) for row in await self._kind.rows(uow)]
        return Choices(self._local, tuple(_provided(one) for one in documents if not one.spec.disabled))


def _provided(document: IdentityProvider) -> Provided:
    protocol = "oidc" if document.spec.oidc is not None else "saml"
    name = document.metadata.name
    return Provided(document.spec.title or name, f"/sign-in/{protocol}/{quote(name, safe='')}")
