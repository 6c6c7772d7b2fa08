"""SSH certificates for clients, and the list of those that servers must refuse.

The certificate's principal is the identity's name where it is good everywhere, and NAME/TARGET where it is bound to
targets: names have no slash, so a server that only compares the name of the account refuses a bound one. Whom a
provider or a SCIM client has made, and named, gets bound ones only. The key id is the credential's. Agents verify them
as they do other credentials; a plain sshd with the authority in TrustedUserCAKeys verifies them too, and hears of
revocations by the list that it fetches (RevokedKeys).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec
from sqlmodel import col, delete, select

from control_plane.identities.binding import Binding
from control_plane.identities.credentials import CredentialService
from control_plane.identities.ports import CertificateRequestError
from control_plane.identities.ssh_authority import SshAuthority
from control_plane.identities.ssh_revocation import revocation_list
from control_plane.identities.ssh_tables import SshRevocationRow
from control_plane.identities.tables import CredentialRow, IdentityRow
from control_plane.kit.access import Principal
from control_plane.kit.errors import FieldProblem, ForbiddenError, InvalidError
from control_plane.kit.unit_of_work import Actor, Json, UnitOfWork

KIND: Final = "ssh-certificate"
_NOBODYS: Final = frozenset({"root"})  # the one account that every server has and that may do everything there


class MintedSshCertificate(msgspec.Struct, frozen=True):
    credential_id: str
    certificate: str  # the line of a `-cert.pub` file
    principals: tuple[str, ...]
    expires_at: datetime


class SshCertificateService:
    """Implements `identities.ports.Consequence`."""

    def __init__(self, credentials: CredentialService, authority: SshAuthority, deployment: str) -> None:
        self._credentials = credentials
        self._authority = authority
        self._deployment = deployment

    def authorities(self) -> str:
        """What servers put into the file of TrustedUserCAKeys."""
        return "".join(f"{key.decode()} assentry-{self._deployment}\n" for key in self._authority.public_keys)

    async def issue(
        self, uow: UnitOfWork, principal: Principal, public_key: str, binding: Binding, lifetime: timedelta
    ) -> MintedSshCertificate:
        """For the key of oneself. Raises InvalidError, ForbiddenError."""
        if principal.name in _NOBODYS:
            raise ForbiddenError(
                f"no SSH certificate is made for the name {principal.name}: servers let it do everything"
            )
        if binding.everywhere:
            await _check_named_here(uow, principal)
        row = await self._credentials.issue(uow, principal, KIND, binding, lifetime)
        principals = _principals(principal.name, binding)
        try:
            line = self._authority.issue(
                public_key, row.id, principals, binding.networks, uow.now, row.expires_at
            ).decode()
        except CertificateRequestError as error:
            problem = FieldProblem(path="$.public_key", message=str(error))
            raise InvalidError("the key cannot be signed", [problem]) from error
        return MintedSshCertificate(row.id, f"{line} {principal.name}@assentry", principals, row.expires_at)

    async def revocations(self, uow: UnitOfWork) -> bytes:
        """As OpenSSH reads it: those that were revoked and would still be good otherwise."""
        now = uow.now
        known = select(CredentialRow.id).where(
            col(CredentialRow.kind) == KIND,
            col(CredentialRow.revoked_at).is_not(None),
            col(CredentialRow.expires_at) > now,
        )
        gone = select(SshRevocationRow.credential_id).where(col(SshRevocationRow.expires_at) > now)
        ids = {*(await uow.session.exec(known)).all(), *(await uow.session.exec(gone)).all()}
        return revocation_list(self._authority.public_keys, sorted(ids), int(now.timestamp()))

    async def ended(
        self,
        uow: UnitOfWork,
        by: Actor,  # noqa: ARG002 - one event tells of the end, and by whom
        identity_ids: Sequence[str],
        reason: str,  # noqa: ARG002 - likewise
    ) -> Mapping[str, Json]:
        """They are revoked already; this keeps them in the list when their identity is deleted."""
        await uow.session.exec(delete(SshRevocationRow).where(col(SshRevocationRow.expires_at) <= uow.now))
        theirs = select(CredentialRow.id, CredentialRow.expires_at).where(
            col(CredentialRow.kind) == KIND,
            col(CredentialRow.identity_id).in_(identity_ids),
            col(CredentialRow.expires_at) > uow.now,
        )
        for credential_id, expires_at in (await uow.session.exec(theirs)).all():
            await uow.session.merge(SshRevocationRow(credential_id=credential_id, expires_at=expires_at))
        return {}


async def _check_named_here(uow: UnitOfWork, principal: Principal) -> None:
    """A name that a provider's person could choose must not be that of an account at every server: ubuntu, postgres."""
    row = await uow.session.get(IdentityRow, principal.identity)
    if row is None or row.source:
        raise ForbiddenError(
            f"{principal.name} was not named by an admin here, so no SSH certificate is made that is good everywhere; "
            "name the targets that it is for"
        )


def _principals(name: str, binding: Binding) -> tuple[str, ...]:
    return (name,) if binding.everywhere else tuple(f"{name}/{target}" for target in binding.targets)
