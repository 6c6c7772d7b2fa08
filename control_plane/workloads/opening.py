"""Makes a workload's sign-in and what it gets, once it is settled who acts for whom."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import msgspec

from control_plane.identities import credential_rows
from control_plane.identities.credentials import CredentialService, MintedToken
from control_plane.identities.domain import Identity, bareness
from control_plane.identities.parents import EVERY_TARGET
from control_plane.identities.tables import IdentityRow
from control_plane.kit.access import Permission, permissions_of
from control_plane.kit.ids import new_id, random_text
from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import AuditEvent, Json, UnitOfWork
from control_plane.workloads import bearer, chains, sign_in_rows
from control_plane.workloads.errors import RefusedError, not_accepted
from control_plane.workloads.parties import Party
from control_plane.workloads.tables import SIGN_IN, WorkloadSignInRow
from data_plane.identifiers import CredentialId, IdentityId

_SHORTEST: Final = timedelta(seconds=10)
_LENGTH: Final = 52  # 260 bits


class Opened(msgspec.Struct, frozen=True):
    """What is settled. `targets`: what each who takes part may reach."""

    party: Party
    chain: Sequence[chains.Link]
    targets: Sequence[Sequence[str]]
    longest: timedelta
    asked: Sequence[str]
    acting_token_id: str = ""
    address: str = ""


class Opening:
    def __init__(self, credentials: CredentialService) -> None:
        self._credentials = credentials

    async def open(self, uow: UnitOfWork, opened: Opened) -> tuple[WorkloadSignInRow, Secret]:
        """The sign-in, and the bearer for this API if no targets are asked for. Raises RefusedError."""
        party = opened.party
        _check_identity(uow, party)
        _check_chain(party, opened.chain)
        within = _within(opened)
        token = bearer.PREFIX + random_text(_LENGTH)
        row = WorkloadSignInRow(
            id=new_id(SIGN_IN),
            identity_id=party.identity.id,
            method=party.method,
            trust=party.trust,
            client_credential_id=party.client_credential_id,
            acting_token_id=opened.acting_token_id,
            issuer=chains.printable(party.issuer, 255),
            subject=chains.printable(party.subject, 512),
            claims={name: chains.printable(text, 200) for name, text in party.told.items()},
            chain=list(opened.chain),
            targets=list(within),
            made_by=party.made_by,
            token_hash=None if opened.asked else credential_rows.hash_of(token),
            created_at=uow.now,
            expires_at=uow.now + _lifetime(uow, opened),
        )
        await sign_in_rows.forget_old(uow)
        uow.session.add(row)
        seen = await uow.session.get(IdentityRow, party.identity.id)
        if seen is not None:
            seen.last_seen_at = uow.now
        await uow.session.flush()
        uow.audit(AuditEvent("workload-sign-in.opened", party.identity.actor, row.id, _told(row, opened)))
        return row, Secret(token)

    async def mint(
        self, uow: UnitOfWork, identity: Identity, row: WorkloadSignInRow, targets: Sequence[str]
    ) -> MintedToken:
        """A token for targets. Raises InvalidError."""
        principal = identity.principal(CredentialId(row.id), "workload", uow.now)
        chain = tuple(IdentityId(one) for one in chains.ids(row.chain))
        principal = msgspec.structs.replace(principal, chain=chain, provider=row.trust)
        return await self._credentials.token(uow, principal, targets, row.expires_at - uow.now)


def _check_identity(uow: UnitOfWork, party: Party) -> None:
    """Whoever proved it knows no more than that it is not accepted."""
    one = party.identity
    if not one.able:
        raise not_accepted(f"{one.name!r} is disabled, or its owner is")
    if problem := bareness(one):
        raise not_accepted(f"{one.name!r} {problem}")
    if one.ends_at is not None and one.ends_at <= uow.now:
        raise not_accepted(f"the end date of {one.name!r} has come")


def _check_chain(party: Party, chain: Sequence[chains.Link]) -> None:
    if len(chain) > chains.MOST or party.identity.id in chains.ids(chain):
        raise not_accepted(f"a chain has at most {chains.MOST} identities, each of them once")
    somebody = bool(chain) and chain[0]["kind"] == "person" and bool(chain[0]["id"])
    if party.needs_somebody and not somebody:
        raise not_accepted(
            f"{party.trust}: it acts only on behalf of a person (`on_behalf: required`), and none is told"
        )


def _within(opened: Opened) -> Sequence[str]:
    """What it may reach: of everybody who takes part, the narrowest."""
    party = opened.party
    if not opened.asked and not party.api:
        told = "name targets by `audience`: this workload gets no bearer for the API"
        raise RefusedError("invalid_target", told, f"{party.trust}: `api: false`, and no target was asked for")
    if opened.asked and Permission.REQUEST not in permissions_of(set(party.identity.roles)):
        cause = f"{party.identity.name!r} is in no group that lets it connect (role requester)"
        raise RefusedError("invalid_target", "this workload may not connect to targets", cause)
    limits = [set(one) for one in opened.targets if EVERY_TARGET not in one]
    within = sorted(set.intersection(*limits)) if limits else [EVERY_TARGET]
    beyond = [one for one in opened.asked if limits and one not in within]
    if beyond:
        cause = f"{party.identity.name!r} may not have {', '.join(beyond)} here, but {', '.join(within) or 'nothing'}"
        raise RefusedError("invalid_target", "a target is not known, or not for this workload", cause)
    return within


def _lifetime(uow: UnitOfWork, opened: Opened) -> timedelta:
    ends_at = opened.party.identity.ends_at
    left = opened.longest if ends_at is None else min(opened.longest, ends_at - uow.now)
    if left < _SHORTEST:
        raise not_accepted("what it could get would end at once")
    return left


def _told(row: WorkloadSignInRow, opened: Opened) -> dict[str, Json]:
    told: dict[str, Json] = {
        "method": row.method,
        "trust": row.trust,
        "client_credential": row.client_credential_id,
        "acting_token": row.acting_token_id,
        "issuer": row.issuer,
        "subject": row.subject,
        "claims": row.claims,
        "chain": [one["name"] for one in row.chain],
        "targets": list(opened.asked),
        "expires_at": row.expires_at.isoformat(),
        "client_address": opened.address,
    }
    return {name: value for name, value in told.items() if value}
