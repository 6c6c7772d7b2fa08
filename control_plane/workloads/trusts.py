"""Which trust a platform's token is taken by. All about a token is proven here, but not that it is the first time.

The issuer that a token claims only chooses whose keys it is verified with; then time, audience, subject and claims must
be as the trust says. Keys are fetched between transactions; whoever writes looks again whether the trust still stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from control_plane.documents.tables import DocumentRow
from control_plane.kit.unit_of_work import UnitOfWork, Units
from control_plane.workloads import chains, claims, tokens, trust_writers
from control_plane.workloads.documents import WorkloadTrust, WorkloadTrustSpec, parse
from control_plane.workloads.errors import RefusedError, not_accepted
from control_plane.workloads.issuers import IssuerKeys
from control_plane.workloads.platforms import issuer_of, single_use, traits_of
from control_plane.workloads.tokens import ReadToken, TokenError
from control_plane.workloads.trust_kind import TrustKind
from control_plane.workloads.trust_writers import Writer

_SPIFFE = "spiffe://"


class Admitted(msgspec.Struct, frozen=True):
    """A token that one trust takes."""

    trust: str
    version: int  # of the trust, as it was when the token was judged
    spec: WorkloadTrustSpec
    written_by: str  # who wrote the trust last: identity id
    writers: Sequence[Writer]  # and all who did
    issuer: str
    subject: str
    token_id: str  # jti
    ends_at: float  # of the token, Unix seconds
    told: Mapping[str, str]
    behind: Sequence[str] = ()  # subjects of the issuer on whose behalf it acts, the first one first


class _Candidate(msgspec.Struct, frozen=True):
    name: str
    version: int
    spec: WorkloadTrustSpec
    written_by: str
    writers: Sequence[Writer]


class Trusts:
    def __init__(self, units: Units, kind: TrustKind, keys: IssuerKeys, own_url: str) -> None:
        self._units = units
        self._kind = kind
        self._keys = keys
        self._own_url = own_url

    async def admit(self, text: str, wanted: str = "") -> Admitted:
        """`wanted`: the trust that was named, if one was. Raises RefusedError."""
        try:
            token = tokens.read(text)
        except TokenError as error:
            raise not_accepted(str(error)) from error
        admitted: list[Admitted] = []
        causes: list[str] = []
        for one in await self._candidates(token, wanted):
            try:
                admitted.append(await self._judged(one, token))
            except TokenError as error:
                causes.append(f"{one.name}: {error}")
        if len(admitted) > 1:
            raise RefusedError("invalid_request", "several trusts take this token: name one of them with `trust`")
        if not admitted:
            issuer = repr(token.claims.get("iss"))[:300]
            raise not_accepted("; ".join(causes) or f"there is no trust {wanted!r} for the issuer {issuer}")
        return admitted[0]

    async def _candidates(self, token: ReadToken, wanted: str) -> Sequence[_Candidate]:
        async with self._units.reading() as uow:
            rows, writers = await self._kind.rows(uow), await trust_writers.of_trusts(uow)
        found = [_candidate(row, writers[row.name]) for row in rows]
        return [one for one in found if _concerns(one.spec, token.claims) and (not wanted or one.name == wanted)]

    async def _judged(self, one: _Candidate, token: ReadToken) -> Admitted:
        """Raises TokenError."""
        spec, traits = one.spec, traits_of(one.spec)
        if token.algorithm not in traits.algorithms or token.type not in traits.types:
            raise TokenError(f"a token of type {token.type[:50]!r}, signed by {token.algorithm}, is of another kind")
        async with self._units.reading() as uow:
            now = uow.now
        tokens.verify(token, await self._keys.keys_for(spec, token, now))
        told = token.claims
        behind = chains.told_subjects(told)
        if problem := claims.time_problem(told, now) or claims.audience_problem(told, spec.audience or self._own_url):
            raise TokenError(problem)
        if behind is None or (behind and not spec.act):
            raise TokenError("it says for whom it acts (`act`), which this trust does not take")
        if problem := claims.mismatch(spec, {**told, "sub": chains.acting_subject(told)}):
            raise TokenError(problem)
        return Admitted(
            trust=one.name,
            version=one.version,
            spec=spec,
            written_by=one.written_by,
            writers=one.writers,
            issuer=issuer_of(spec) or f"{_SPIFFE}{spec.trust_domain}",
            subject=str(chains.acting_subject(told)),
            token_id=_token_id(spec, told),
            ends_at=claims.ends_at(told),
            told=claims.told(told, traits.told),
            behind=behind,
        )

    async def stands(self, uow: UnitOfWork, admitted: Admitted) -> bool:
        """Whether the trust is still as it was when the token was judged. Nobody changes it until this is over."""
        row = await self._kind.held(uow, admitted.trust)
        return row is not None and row.version == admitted.version

    async def documents(self, uow: UnitOfWork) -> list[WorkloadTrust]:
        return [parse(row.json_text) for row in await self._kind.rows(uow)]


def _candidate(row: DocumentRow, writers: Sequence[Writer]) -> _Candidate:
    last = next((one.id for one in writers if one.name == row.updated_by), "")
    return _Candidate(row.name, row.version, parse(row.json_text).spec, last, writers)


def _concerns(spec: WorkloadTrustSpec, told: Mapping[str, Any]) -> bool:
    """By what the token claims of itself: whose keys it is to be verified with."""
    if spec.platform == "spiffe":
        return str(told.get("sub", "")).startswith(f"{_SPIFFE}{spec.trust_domain}/")
    return bool(told.get("iss") == issuer_of(spec))


def _token_id(spec: WorkloadTrustSpec, told: Mapping[str, Any]) -> str:
    found = told.get("jti")
    if isinstance(found, str) and 0 < len(found) <= 512:
        return found
    if single_use(spec):
        raise TokenError("it has no id (jti), and the trust takes each token once; `single_use: false` takes it again")
    return ""
