"""What requesters show to agents (short-lived tokens, client certificates) and the keys machines get those with.

A credential is always for oneself, bound to targets and networks, and never outlives what it was made with. Nothing
secret is kept: a token is signed, a key is hashed, a certificate's private key never comes here. Revoking tells the
agents at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from control_plane.identities import credential_rows, repository
from control_plane.identities.binding import EVERY_TARGET, Binding
from control_plane.identities.parents import Bounds, Parents
from control_plane.identities.ports import CertificateIssuer, CertificateRequestError, IssuedCertificate, TargetNames
from control_plane.identities.sign_ins import KEY_PREFIX
from control_plane.identities.standing import machine_given, still_stands
from control_plane.identities.tables import CredentialRow, ServiceAccountKeyRow
from control_plane.kit.access import Permission, Principal
from control_plane.kit.clock import milliseconds
from control_plane.kit.errors import FieldProblem, InvalidError, NotFoundError
from control_plane.kit.ids import new_id, random_text
from control_plane.kit.keys import SigningKeys
from control_plane.kit.pagination import Paging, single_key
from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import AuditEvent, Json, UnitOfWork

LONGEST_CREDENTIAL = timedelta(hours=12)
LONGEST_KEY = timedelta(days=365)
_KEY = "key"  # the noun of their ids
_KEY_LENGTH = 52  # 260 bits
_LONGEST_TOKEN = 8192  # that agents read


class CredentialFacts(msgspec.Struct, frozen=True):
    """What other features may know of a credential. `made_by`: the admin who made the key behind it, if one did.
    `chain`: on whose behalf it is, the first one first."""

    id: str
    kind: str
    identity_id: str
    valid: bool
    made_by: str = ""  # identity id
    chain: tuple[Mapping[str, str], ...] = ()  # id, name, kind
    revoked: bool = False


class MintedToken(msgspec.Struct, frozen=True):
    credential_id: str
    token: Secret
    expires_at: datetime


class MintedCertificate(msgspec.Struct, frozen=True):
    credential_id: str
    certificate: IssuedCertificate


class MintedKey(msgspec.Struct, frozen=True):
    row: ServiceAccountKeyRow
    owner: str
    key: Secret


class CredentialService:
    def __init__(
        self,
        keys: SigningKeys,
        deployment: str,
        targets: TargetNames,
        issuer: CertificateIssuer | None = None,
        parents: Parents | None = None,
    ) -> None:
        self._parents = parents or Parents()
        self._keys = keys
        self._deployment = deployment
        self._targets = targets
        self._issuer = issuer

    async def find(self, uow: UnitOfWork, credential_id: str) -> CredentialFacts | None:
        found = await credential_rows.with_its_key(uow.session, credential_id)
        if found is None:
            return None
        row, key = found
        bounds = await self._parents.bounds(uow, row.parent_id)
        made_by = key.created_by if key else bounds.made_by if bounds else ""
        valid = row.revoked_at is None and row.expires_at > uow.now
        return CredentialFacts(row.id, row.kind, row.identity_id, valid, made_by, tuple(row.chain))

    async def key(self, uow: UnitOfWork, key_id: str) -> CredentialFacts | None:
        """A service account's, or what else a machine came with. None: there is no such thing, so it is a person's
        sign-in. A workload's sign-in is good for what was asked with it until it is revoked, however long ago it ended
        by itself."""
        row = await uow.session.get(ServiceAccountKeyRow, key_id, populate_existing=True)
        bounds = await self._parents.bounds(uow, key_id) if row is None else None
        if bounds is not None:
            return CredentialFacts(key_id, bounds.kind, "", not bounds.revoked, bounds.made_by, bounds.chain)
        if row is None:
            return None
        valid = row.revoked_at is None and row.expires_at > uow.now
        return CredentialFacts(row.id, "service-account key", row.identity_id, valid, row.created_by)

    async def used(self, uow: UnitOfWork, credential_id: str) -> None:
        """A session was opened with it. Nothing happens when it is not known any more."""
        await credential_rows.used(uow.session, credential_id, uow.now)

    async def makers_of_keys(self, uow: UnitOfWork, identity_id: str) -> list[str]:
        """Ids of those who could have kept a key of this machine, or a secret, that is still good."""
        of_keys = await credential_rows.makers_of_keys(uow.session, identity_id, uow.now)
        return sorted({*of_keys, *await self._parents.makers(uow, identity_id)})

    def authorities(self) -> bytes:
        """PEM: what verifies the certificates of agents. Raises NotFoundError."""
        if self._issuer is None:
            raise NotFoundError("this control plane issues no certificates")
        return self._issuer.certificates

    # -------------------------------------------------------------- for oneself

    async def token(
        self,
        uow: UnitOfWork,
        principal: Principal,
        targets: Sequence[str],
        lifetime: timedelta,
        networks: Sequence[str] = (),
    ) -> MintedToken:
        """A PostgreSQL password for the named targets, or for all with `*`."""
        row = await self.issue(uow, principal, "token", Binding.of(targets, networks), lifetime)
        claims = {
            "iss": self._deployment,
            "sub": principal.identity,
            "jti": row.id,
            "aud": row.targets,
            "iat": milliseconds(row.issued_at) // 1000,
            "exp": milliseconds(row.expires_at) // 1000,
        }
        token = (
            self._keys.sign_bound_token({**claims, "net": row.networks}) if networks else self._keys.sign_token(claims)
        )
        if len(token) > _LONGEST_TOKEN:
            raise InvalidError("a token cannot name so many targets and networks; ask for several")
        return MintedToken(row.id, Secret(token), row.expires_at)

    async def certificate(
        self, uow: UnitOfWork, principal: Principal, request: bytes, binding: Binding, lifetime: timedelta
    ) -> MintedCertificate:
        """A client certificate for the key of a PKCS#10 request."""
        if self._issuer is None:
            raise NotFoundError("this control plane issues no certificates")
        row = await self.issue(uow, principal, "certificate", binding, lifetime)
        try:
            issued = self._issuer.issue(request, principal.identity, row.id, uow.now, row.expires_at, binding)
        except CertificateRequestError as error:
            raise InvalidError("the certificate request cannot be signed", [_problem("csr", str(error))]) from error
        return MintedCertificate(row.id, issued)

    async def issue(
        self, uow: UnitOfWork, principal: Principal, kind: str, binding: Binding, lifetime: timedelta
    ) -> CredentialRow:
        """What is known here of a credential of any kind. Raises InvalidError, UnauthenticatedError."""
        await still_stands(uow, principal, self._parents)
        await self._check_targets(uow, binding.targets)
        expires_at = (uow.now + min(lifetime, LONGEST_CREDENTIAL)).replace(microsecond=0)
        key = await uow.session.get(ServiceAccountKeyRow, principal.credential_id)
        if key is not None:
            key.last_used_at = uow.now
        bounds = await self._bounds(uow, principal, binding)
        ends = [expires_at, *([key.expires_at] if key else []), *([bounds.expires_at] if bounds else [])]
        row = CredentialRow(
            id=new_id("crd"),
            identity_id=principal.identity,
            kind=kind,
            parent_id=principal.credential_id,
            targets=list(binding.targets),
            networks=list(binding.networks),
            issued_at=uow.now,
            expires_at=min(ends),
            chain=[dict(one) for one in bounds.chain] if bounds else [],
        )
        uow.session.add(row)
        issued: dict[str, Json] = {"kind": kind, "targets": row.targets, "expires_at": row.expires_at.isoformat()}
        if row.networks:
            issued["networks"] = row.networks
        if row.chain:
            issued["on_behalf_of"] = [one["name"] for one in row.chain]
        uow.audit(AuditEvent("credential.issued", principal.actor, row.id, issued))
        return row

    async def _bounds(self, uow: UnitOfWork, principal: Principal, binding: Binding) -> Bounds | None:
        """Of what it is made with. Raises InvalidError: that reaches less far."""
        bounds = await self._parents.bounds(uow, principal.credential_id)
        beyond = bounds.beyond(binding.targets) if bounds else []
        if bounds is not None and beyond:
            raise InvalidError(f"what you came with is for {', '.join(bounds.targets)}, not for {', '.join(beyond)}")
        return bounds

    async def _check_targets(self, uow: UnitOfWork, targets: Sequence[str]) -> None:
        known = await self._targets.known(uow) | {EVERY_TARGET}
        wrong = [
            _problem(f"targets[{i}]", f"no target {name!r}") for i, name in enumerate(targets) if name not in known
        ]
        if wrong:
            raise InvalidError("there are no such targets", wrong)

    async def page(
        self, uow: UnitOfWork, principal: Principal, paging: Paging
    ) -> tuple[list[CredentialRow], str | None]:
        """One's own that are still good; an admin sees everybody's."""
        whose = None if principal.may(Permission.ADMIN) else principal.identity
        after = single_key(paging, str)
        rows = await credential_rows.credentials_of(uow.session, whose, uow.now, after, paging.limit + 1)
        return paging.page(rows, lambda row: (row.id,))

    async def revoke(self, uow: UnitOfWork, principal: Principal, credential_id: str) -> None:
        """One's own, or anybody's for an admin. Live sessions of it end. Revoking again changes nothing."""
        row = await uow.session.get(CredentialRow, credential_id)
        if row is None or not (row.identity_id == principal.identity or principal.may(Permission.ADMIN)):
            raise NotFoundError(f"there is no credential {credential_id!r}")
        if row.revoked_at is None:
            row.revoked_at = uow.now
            uow.audit(AuditEvent("credential.revoked", principal.actor, row.id))
            await uow.session.flush()
            await uow.snapshot_changed()

    # -------------------------------------------------------------- keys of service accounts

    async def create_key(
        self, uow: UnitOfWork, by: Principal, name: str, description: str, lifetime: timedelta
    ) -> MintedKey:
        """Good until the machine's own end at the latest. Raises BareMachineError, IdentityNotFoundError, InvalidError,
        UnauthenticatedError."""
        identity = await machine_given(uow, by, name, self._parents)
        key = KEY_PREFIX + random_text(_KEY_LENGTH)
        row = ServiceAccountKeyRow(
            id=new_id(_KEY),
            identity_id=identity.id,
            description=description,
            key_hash=credential_rows.hash_of(key),
            created_by=by.identity,
            created_at=uow.now,
            expires_at=min(uow.now + min(lifetime, LONGEST_KEY), identity.ends_at or uow.now),
        )
        uow.session.add(row)
        uow.audit(AuditEvent("service-account-key.created", by.actor, row.id, {"identity": name}))
        return MintedKey(row, name, Secret(key))

    async def keys_page(
        self, uow: UnitOfWork, paging: Paging
    ) -> tuple[list[tuple[ServiceAccountKeyRow, str]], str | None]:
        rows = await credential_rows.keys_page(uow.session, single_key(paging, str), paging.limit + 1)
        kept, cursor = paging.page(rows, lambda row: (row.id,))
        found = await repository.identities_by_id(uow.session, {row.identity_id for row in kept})
        names = {str(identity.id): identity.name for identity in found}
        return [(row, names.get(row.identity_id, "")) for row in kept], cursor

    async def revoke_key(self, uow: UnitOfWork, by: Principal, key_id: str) -> None:
        """And everything that was made with it."""
        row = await uow.session.get(ServiceAccountKeyRow, key_id, with_for_update=True)
        if row is None:
            raise NotFoundError(f"there is no service-account key {key_id!r}")
        if row.revoked_at is None:
            row.revoked_at = uow.now
            await credential_rows.revoke_children(uow.session, row.id, uow.now)
            uow.audit(AuditEvent("service-account-key.revoked", by.actor, row.id))
            await uow.session.flush()
            await uow.snapshot_changed()


def _problem(path: str, message: str) -> FieldProblem:
    return FieldProblem(path=f"$.{path}", message=message)
