"""What machines sign in with themselves where no platform speaks for them: key pairs (RFC 7523) and secrets.

Of a key pair only the public half comes here; a secret is shown once and kept as a hash. Both end: a secret after 90
days at the latest, a key pair after a year. A machine that has either needs an owner, a purpose and an end date.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import bindparam
from sqlmodel import col, select

from control_plane.identities import credential_rows
from control_plane.identities.domain import Identity
from control_plane.identities.service import IdentityService
from control_plane.identities.standing import machine_given
from control_plane.kit.access import Principal
from control_plane.kit.errors import ConflictError, FieldProblem, InvalidError, NotFoundError
from control_plane.kit.ids import new_id, random_text
from control_plane.kit.pagination import Paging, single_key
from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import AuditEvent, UnitOfWork
from control_plane.workloads import claims, sign_in_rows, tokens
from control_plane.workloads.errors import not_the_client
from control_plane.workloads.tables import ClientCredentialRow
from control_plane.workloads.tokens import TokenError

SECRET_PREFIX: Final = "assentry_c_"  # noqa: S105 - how one begins
LONGEST_SECRET: Final = timedelta(days=90)
LONGEST_KEY_PAIR: Final = timedelta(days=365)
LONGEST_ASSERTION: Final = timedelta(minutes=10)
_SECRET_LENGTH: Final = 52  # 260 bits
_TYPES: Final = frozenset({"", "jwt", "client-authentication+jwt"})
_NOBODY: Final = "0" * 64  # compared with when nobody is called so: as slow as with somebody
_GOOD = (
    select(ClientCredentialRow)
    .where(
        col(ClientCredentialRow.identity_id) == bindparam("identity_id"),
        col(ClientCredentialRow.revoked_at).is_(None),
        col(ClientCredentialRow.expires_at) > bindparam("now"),
    )
    .order_by(col(ClientCredentialRow.id))
)


class MadeClientCredential(msgspec.Struct, frozen=True):
    row: ClientCredentialRow
    identity: str
    secret: Secret | None = None


class ProvenClient(msgspec.Struct, frozen=True):
    """`token_id`, `ends_at`: of an assertion, which works once."""

    credential_id: str
    kind: str
    identity_id: str
    token_id: str = ""
    ends_at: float = 0.0


class ClientCredentials:
    def __init__(self, identities: IdentityService, own_url: str) -> None:
        self._identities = identities
        self._audiences = (own_url, f"{own_url}/v1/token")

    # -------------------------------------------------------------- kept

    async def add_key_pair(
        self, uow: UnitOfWork, by: Principal, name: str, jwk: Mapping[str, Any], more: Wanted
    ) -> MadeClientCredential:
        machine = await machine_given(uow, by, name)
        key = tokens.public_key(jwk)
        if key is None or "d" in jwk or "k" in jwk:
            problem = (
                "the public half of an RSA (2048 bits or more), EC or Ed25519 key as a JWK, and nothing of the other"
            )
            raise InvalidError("this is no public key", [FieldProblem(path="$.jwk", message=problem)])
        thumbprint = key.thumbprint()
        taken = select(ClientCredentialRow.id).where(col(ClientCredentialRow.thumbprint) == thumbprint)
        if (await uow.session.exec(taken)).first() is not None:
            raise ConflictError("this key is, or was, somebody's already; make another one")
        row = self._row(uow, by, machine, "key-pair", more, LONGEST_KEY_PAIR)
        row.public_jwk = json.dumps({**key.as_dict(private=False), "kid": key.kid or thumbprint}, sort_keys=True)
        row.thumbprint = thumbprint
        return self._made(uow, by, row, name)

    async def add_secret(self, uow: UnitOfWork, by: Principal, name: str, more: Wanted) -> MadeClientCredential:
        machine = await machine_given(uow, by, name)
        secret = SECRET_PREFIX + random_text(_SECRET_LENGTH)
        row = self._row(uow, by, machine, "secret", more, LONGEST_SECRET)
        row.secret_hash = credential_rows.hash_of(secret)
        return self._made(uow, by, row, name, Secret(secret))

    async def page(self, uow: UnitOfWork, paging: Paging) -> tuple[list[tuple[ClientCredentialRow, str]], str | None]:
        """With the names of whose they are."""
        statement = select(ClientCredentialRow).order_by(col(ClientCredentialRow.id)).limit(paging.limit + 1)
        if (after := single_key(paging, str)) is not None:
            statement = statement.where(col(ClientCredentialRow.id) > after)
        rows = list((await uow.session.exec(statement)).all())
        kept, cursor = paging.page(rows, lambda row: (row.id,))
        names = await self._identities.find_all(uow, {row.identity_id for row in kept})
        return [(row, names[row.identity_id].name) for row in kept], cursor

    async def revoke(self, uow: UnitOfWork, by: Principal, credential_id: str) -> None:
        """And everything that was made with it; its sessions end at once."""
        row = await uow.session.get(ClientCredentialRow, credential_id, with_for_update=True)
        if row is None:
            raise NotFoundError(f"there is no client credential {credential_id!r}")
        if row.revoked_at is None:
            row.revoked_at = uow.now
            uow.audit(AuditEvent("client-credential.revoked", by.actor, row.id))
            await sign_in_rows.end_of_client_credential(uow, by.actor, row.id, "its credential was revoked")

    async def makers(self, uow: UnitOfWork, identity_id: str) -> list[str]:
        """Ids of those who could have kept one of this machine's that is still good."""
        rows = await self._good(uow, identity_id)
        return sorted({row.created_by for row in rows})

    def _row(
        self, uow: UnitOfWork, by: Principal, identity: Identity, kind: str, more: Wanted, longest: timedelta
    ) -> ClientCredentialRow:
        return ClientCredentialRow(
            id=new_id("clc"),
            identity_id=identity.id,
            kind=kind,
            description=more.description,
            targets=list(more.targets),
            created_by=by.identity,
            created_at=uow.now,
            expires_at=min(uow.now + min(more.lifetime, longest), identity.ends_at or datetime.max.replace(tzinfo=UTC)),
        )

    def _made(
        self, uow: UnitOfWork, by: Principal, row: ClientCredentialRow, name: str, secret: Secret | None = None
    ) -> MadeClientCredential:
        uow.session.add(row)
        told = {"identity": name, "kind": row.kind, "expires_at": row.expires_at.isoformat()}
        uow.audit(AuditEvent("client-credential.created", by.actor, row.id, told))
        return MadeClientCredential(row, name, secret)

    # -------------------------------------------------------------- proven

    async def by_secret(self, uow: UnitOfWork, name: str, secret: str) -> ProvenClient:
        """Raises RefusedError: one sentence outside, whatever the cause."""
        hashed = credential_rows.hash_of(secret)
        rows = [row for row in await self._named(uow, name) if row.kind == "secret"]
        matching = [row for row in rows if hmac.compare_digest(row.secret_hash, hashed)]
        if not rows:
            hmac.compare_digest(_NOBODY, hashed)
        if not matching:
            raise not_the_client(f"the client {name[:64]!r} has no such secret that is still good")
        return ProvenClient(matching[0].id, "secret", matching[0].identity_id)

    async def by_assertion(self, uow: UnitOfWork, name: str, assertion: str) -> ProvenClient:
        """RFC 7523 §3: issuer and subject are the client. Raises RefusedError."""
        try:
            token = tokens.read(assertion)
            row = await self._signed(uow, _client_of(token, name), token)
            self._check(uow, token.claims)
        except TokenError as error:
            raise not_the_client(f"the assertion: {error}") from error
        told = token.claims
        return ProvenClient(row.id, "key-pair", row.identity_id, str(told["jti"]), claims.ends_at(told))

    async def still_good(self, uow: UnitOfWork, credential_id: str) -> ClientCredentialRow | None:
        """In the transaction that uses it; its last use is noted."""
        row = await uow.session.get(ClientCredentialRow, credential_id, with_for_update=True, populate_existing=True)
        if row is None or row.revoked_at is not None or row.expires_at <= uow.now:
            return None
        row.last_used_at = uow.now
        return row

    async def _signed(self, uow: UnitOfWork, name: str, token: tokens.ReadToken) -> ClientCredentialRow:
        cause = f"the client {name[:64]!r} has no key {token.key_id[:100]!r} that is still good"
        for row in await self._named(uow, name):
            key = tokens.public_key(json.loads(row.public_jwk)) if row.kind == "key-pair" else None
            if key is None or not tokens.knows([key], token):
                continue
            try:
                tokens.verify(token, [key])
            except TokenError as error:
                cause = str(error)
            else:
                return row
        raise TokenError(cause)

    def _check(self, uow: UnitOfWork, told: Mapping[str, Any]) -> None:
        problems = [claims.audience_problem(told, one) for one in self._audiences]
        if all(problems):
            raise TokenError(problems[-1])
        if problem := claims.time_problem(told, uow.now):
            raise TokenError(problem)
        if claims.ends_at(told) > (uow.now + LONGEST_ASSERTION).timestamp() + claims.SKEW_SECONDS:
            raise TokenError(f"it lives longer than {LONGEST_ASSERTION.total_seconds():.0f} s")
        if not isinstance(told.get("jti"), str) or not 0 < len(told["jti"]) <= 512:
            raise TokenError("it has no id (jti)")

    async def _named(self, uow: UnitOfWork, name: str) -> Sequence[ClientCredentialRow]:
        found = await self._identities.find_named(uow, [name])
        return await self._good(uow, found[0].id) if found and found[0].able else []

    async def _good(self, uow: UnitOfWork, identity_id: str) -> Sequence[ClientCredentialRow]:
        told = {"identity_id": identity_id, "now": uow.now}
        return list((await uow.session.exec(_GOOD, params=told)).all())


def _client_of(token: tokens.ReadToken, name: str) -> str:
    """Raises TokenError."""
    issuer = token.claims.get("iss")
    if not isinstance(issuer, str) or token.claims.get("sub") != issuer or (name and name != issuer):
        raise TokenError("its issuer and its subject must both be the client")
    if token.type not in _TYPES:
        raise TokenError(f"it is of type {token.type[:50]!r}")
    return issuer


class Wanted(msgspec.Struct, frozen=True):
    lifetime: timedelta
    description: str = ""
    targets: tuple[str, ...] = ("*",)
