"""The exchange: who asks is proven, who acts for whom is settled, and one sign-in of a workload is made.

What it gets never reaches further than the narrowest of all that stand behind it, and ends with any of them. Proving
may ask the network, so it happens between transactions; the one that writes looks again at everything that could have
changed, and uses up what works once. A refusal is always audited with its cause, and told outside in one sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from control_plane.identities import throttle
from control_plane.identities.credentials import CredentialService
from control_plane.identities.service import IdentityService
from control_plane.identities.standing import hold
from control_plane.kit.errors import InvalidError
from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import NOBODY, AuditEvent, UnitOfWork, Units
from control_plane.workloads import chains, sign_in_rows, trust_writers
from control_plane.workloads.acting import PREFIX as ACTING_PREFIX
from control_plane.workloads.acting import ActingTokens
from control_plane.workloads.asking import Asked, Client
from control_plane.workloads.claims import SKEW_SECONDS
from control_plane.workloads.clients import ClientCredentials, ProvenClient
from control_plane.workloads.errors import RefusedError, not_accepted, not_the_client
from control_plane.workloads.opening import Opened, Opening
from control_plane.workloads.parties import Claimed, Party, by_client, by_trust
from control_plane.workloads.platforms import single_use
from control_plane.workloads.ports import Subjects
from control_plane.workloads.trusts import Admitted, Trusts

_LONGEST_CAUSE: Final = 1000


class Granted(msgspec.Struct, frozen=True):
    """`credential_id`: of a token for targets."""

    token: Secret
    expires_at: datetime
    for_targets: bool
    credential_id: str


class _Behalf(msgspec.Struct, frozen=True):
    """On whose behalf somebody acts."""

    chain: Sequence[chains.Link] = ()
    targets: Sequence[Sequence[str]] = ()  # of each who stands behind
    longest: Sequence[timedelta] = ()
    acting_token_id: str = ""


class TokenService:
    def __init__(
        self,
        units: Units,
        trusts: Trusts,
        clients: ClientCredentials,
        acting: ActingTokens,
        identities: IdentityService,
        credentials: CredentialService,
        subjects: Subjects,
    ) -> None:
        self._units = units
        self._trusts = trusts
        self._clients = clients
        self._acting = acting
        self._identities = identities
        self._subjects = subjects
        self._opening = Opening(credentials)

    async def answer(self, asked: Asked) -> Granted:
        """Raises RefusedError."""
        async with self._units.reading() as uow:
            wait = await throttle.locked_for(uow, "", asked.address)
        if wait:
            raise RefusedError("slow_down", f"too many failures from there; try again in {wait} s", retry_after=wait)
        try:
            return await self._answer(asked)
        except RefusedError as refused:
            await self.refused(refused, asked.address)
            raise

    async def refused(self, refused: RefusedError, address: str) -> None:
        """In the audit log, and counted against where it came from."""
        async with self._units() as uow:
            await throttle.failed(uow, "", address)
            cause = chains.printable(refused.cause, _LONGEST_CAUSE)
            told = {"error": refused.code, "cause": cause, "client_address": address}
            uow.audit(AuditEvent("workload-sign-in.refused", NOBODY, "", told))

    async def _answer(self, asked: Asked) -> Granted:
        by_acting_token = asked.subject.startswith(ACTING_PREFIX)
        client = await self._proven(asked.client) if asked.client else None
        subject = (
            await self._trusts.admit(asked.subject, asked.trust) if asked.subject and not by_acting_token else None
        )
        actor = await self._trusts.admit(asked.actor, "" if subject else asked.trust) if asked.actor else client
        async with self._units() as uow:
            await self._hold(uow, [one for one in (actor, subject) if one], asked.subject if by_acting_token else "")
            acts = await self._party(uow, actor) if actor else None
            behind = await self._party(uow, subject) if subject else None
            if acts is None and behind is None:
                raise not_accepted(
                    "an acting token says not who acts: `actor_token` or client authentication is missing"
                )
            who = acts or behind
            assert who is not None  # noqa: S101 - one of them is there
            behalf = _Behalf()
            if acts is not None and by_acting_token:
                behalf = await self._by_acting_token(uow, acts, asked.subject)
            elif acts is not None and behind is not None:
                behalf = _on_behalf_of(acts, behind)
            return await self._grant(uow, asked, who, behalf)

    # -------------------------------------------------------------- who

    async def _proven(self, client: Client) -> ProvenClient:
        async with self._units.reading() as uow:
            if client.assertion:
                return await self._clients.by_assertion(uow, client.name, client.assertion)
            return await self._clients.by_secret(uow, client.name, client.secret)

    async def _hold(self, uow: UnitOfWork, claimed: Sequence[Claimed], acting_token: str) -> None:
        """Everybody who takes part, before anything else is looked at: whoever ends one of them now comes before this
        or after it. In the order in which an end takes hold of things, so that neither waits for the other."""
        ids = set(await self._acting.behind(uow, acting_token)) if acting_token else set()
        for one in claimed:
            if isinstance(one, ProvenClient):
                ids.add(one.identity_id)
                continue
            named = await self._identities.find_named(uow, [one.spec.identity])
            ids.update(found.id for found in named)
            ids.update(writer.id for writer in one.writers)
            behind = [await self._subjects.of_issuer(uow, one.issuer, subject) for subject in one.behind]
            ids.update(known.id for known in behind if known is not None)
        await hold(uow, ids)

    async def _party(self, uow: UnitOfWork, claimed: Claimed) -> Party:
        """In the transaction that writes: as it is now, and for the first time where that matters."""
        if isinstance(claimed, ProvenClient):
            return await self._client(uow, claimed)
        if not await self._trusts.stands(uow, claimed):
            raise not_accepted(f"{claimed.trust}: it was changed at this moment")
        if gone := trust_writers.names_of(await trust_writers.gone(uow, claimed.writers)):
            raise not_accepted(
                f"{claimed.trust}: {', '.join(gone)}, who wrote it, is disabled or gone; it lets nobody in until an"
                " admin applies it again"
            )
        if single_use(claimed.spec) and not await _first(uow, claimed.issuer, claimed.token_id, claimed.ends_at):
            raise not_accepted(f"{claimed.trust}: this token has been used already")
        found = await self._identities.find_named(uow, [claimed.spec.identity])
        if not found:
            raise not_accepted(f"{claimed.trust}: there is no identity {claimed.spec.identity!r}")
        behind = await self._behind(uow, claimed)
        return by_trust(claimed, found[0], claimed.written_by, behind)

    async def _client(self, uow: UnitOfWork, proven: ProvenClient) -> Party:
        row = await self._clients.still_good(uow, proven.credential_id)
        identity = await self._identities.find(uow, proven.identity_id)
        if row is None or identity is None:
            raise not_the_client("its credential ended at this moment")
        if proven.token_id and not await _first(uow, f"client:{identity.id}", proven.token_id, proven.ends_at):
            raise not_the_client(f"{identity.name}: this assertion has been used already")
        return by_client(row, identity, uow.now)

    async def _behind(self, uow: UnitOfWork, admitted: Admitted) -> list[chains.Link]:
        """Subjects of the issuer, as identities of ours where they are linked."""
        links = []
        for subject in admitted.behind:
            known = await self._subjects.of_issuer(uow, admitted.issuer, subject)
            if known is not None and not known.able:
                raise not_accepted(f"{admitted.trust}: it acts for {known.name!r}, who is disabled")
            links.append(chains.link(known) if known else chains.stranger(admitted.issuer, subject))
        return links

    async def _by_acting_token(self, uow: UnitOfWork, actor: Party, token: str) -> _Behalf:
        row = await self._acting.good_for(uow, token, actor.identity)
        if isinstance(row, str):
            raise not_accepted(row)
        left = row.expires_at - uow.now
        return _Behalf(chain=row.chain, targets=[row.targets], longest=[left], acting_token_id=row.id)

    # -------------------------------------------------------------- what

    async def _grant(self, uow: UnitOfWork, asked: Asked, who: Party, behalf: _Behalf) -> Granted:
        opened = Opened(
            party=who,
            chain=[*behalf.chain, *who.behind],
            targets=[who.targets, *behalf.targets],
            longest=min([who.longest, *behalf.longest]),
            asked=asked.targets,
            acting_token_id=behalf.acting_token_id,
            address=asked.address,
        )
        row, token = await self._opening.open(uow, opened)
        if not asked.targets:
            return Granted(token, row.expires_at, for_targets=False, credential_id="")
        try:
            minted = await self._opening.mint(uow, who.identity, row, asked.targets)
        except InvalidError as error:
            raise RefusedError(
                "invalid_target", "a target is not known, or not for this workload", str(error)
            ) from error
        return Granted(minted.token, minted.expires_at, for_targets=True, credential_id=minted.credential_id)


def _on_behalf_of(actor: Party, subject: Party) -> _Behalf:
    """A workload's token beside another's: it must have been said that the one may act for the other."""
    if actor.identity.name not in subject.actors:
        raise not_accepted(f"{subject.trust}: {actor.identity.name!r} is none of its `actors`")
    if not subject.identity.able:
        raise not_accepted(f"{subject.trust}: {subject.identity.name!r} is disabled, or its owner is")
    chain = [*subject.behind, chains.link(subject.identity)]
    return _Behalf(chain=chain, targets=[subject.targets], longest=[subject.longest])


async def _first(uow: UnitOfWork, issuer: str, token_id: str, ends_at: float) -> bool:
    """Kept for as long as the token could be shown again."""
    left = datetime.fromtimestamp(ends_at, UTC) - uow.now + timedelta(seconds=2 * SKEW_SECONDS)
    return await sign_in_rows.use_up(uow, issuer, token_id, left)
