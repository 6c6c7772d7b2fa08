"""The end of an identity: nothing of it acts any more, from this transaction on.

Its sign-ins are gone and its credentials and keys revoked for good, with those that were given to others on its
behalf: who is enabled again begins anew. The agents hear of it at once and end live sessions; what other features
must end they end as a Consequence. One audit event tells all of it. The end is never refused because somebody is
needed: the first admin can be made anew. Signing somebody out ends as much as was made with those sign-ins, and nothing
else; what other features keep of that they end as Dependents. Of a machine that is given another owner ends what the
former one made for it: others' keys work on, so that a machine can be handed over while it works.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from control_plane.identities import credential_rows, repository
from control_plane.identities.ports import Consequence, Dependents, Handover, SignedOut
from control_plane.identities.tables import IdentityRow
from control_plane.kit.unit_of_work import Actor, AuditEvent, Json, UnitOfWork


class Ending:
    def __init__(self, consequences: Sequence[Consequence] = ()) -> None:
        self._consequences = list(consequences)
        self._dependents: list[Dependents] = []
        self._handovers: list[Handover] = []

    def follow(self, consequence: Consequence) -> None:
        self._consequences.append(consequence)

    def follow_sign_outs(self, dependents: Dependents) -> None:
        self._dependents.append(dependents)

    def follow_handovers(self, handover: Handover) -> None:
        self._handovers.append(handover)

    async def end(self, uow: UnitOfWork, by: Actor, identity_id: str, reason: str, *, source: str = "") -> None:
        """Disables the identity; one that is disabled already, or gone, stays as it is. `source`: whose word alone it
        is, so that the same source may enable it again; not so once anybody else has disabled it too."""
        row = await self._switch(uow, identity_id, disabled=True)
        if row is not None:
            row.ended_by = source or by.name
            await self._sweep(uow, by, row, "identity.ended", reason)
        elif not source:
            await self._keep_ended(uow, by, identity_id, reason)

    async def begin_anew(self, uow: UnitOfWork, by: Actor, identity_id: str, *, source: str = "") -> None:
        """Enables it again; for a source, only what this source has ended and what has no end date behind it.
        What came about while nobody looked, as it was being ended, does not come to life."""
        if source and not await self._may_enable(uow, source, identity_id):
            return
        row = await self._switch(uow, identity_id, disabled=False)
        if row is not None:
            row.ended_by = ""
            await self._sweep(uow, by, row, "identity.enabled", "it was disabled")

    async def hand_over(self, uow: UnitOfWork, by: Actor, machine_id: str, former_owner_id: str) -> None:
        """The machine has another owner from now on."""
        row = await uow.session.get(IdentityRow, machine_id, with_for_update=True)
        former = await uow.session.get(IdentityRow, former_owner_id)
        if row is None or former is None:
            return
        reason = f"{former.name}, who made it, is the owner of {row.name} no more"
        ended: dict[str, Json] = {"former_owner": former.name}
        for handover in self._handovers:
            ended.update(await handover.handed_over(uow, by, row.id, former.id, reason))
        uow.audit(AuditEvent("identity.handed-over", by, row.name, ended))
        await uow.session.flush()
        await uow.snapshot_changed()

    async def sign_out(
        self,
        uow: UnitOfWork,
        by: Actor,
        identity_id: str,
        reason: str,
        sign_ins: Collection[str] | None = None,
        keep: str = "",
    ) -> None:
        """Ends these sign-ins of it, what rests on them, and whatever was made with any; live sessions of that end at
        once. None: all but `keep`, and what was made with those that are over already. It may sign in again. None of
        them are its: nothing happens."""
        row = await uow.session.get(IdentityRow, identity_id, with_for_update=True)
        if row is None:
            return
        over = await self._over(uow, identity_id, sign_ins, keep)
        await credential_rows.delete_sign_ins(uow.session, over)
        ended: dict[str, Json] = {"sign_ins": list(over)}
        ended["credentials"] = await credential_rows.revoke_made_with(uow.session, over, uow.now)
        which = SignedOut(identity_id, None if sign_ins is None else tuple(over), keep)
        for dependents in self._dependents:
            ended.update(await dependents.signed_out(uow, by, which, reason))
        if any(ended.values()):
            uow.audit(AuditEvent("identity.signed-out", by, row.name, {"reason": reason, **ended}))
            await uow.session.flush()
            await uow.snapshot_changed()

    async def _over(
        self, uow: UnitOfWork, identity_id: str, sign_ins: Collection[str] | None, keep: str
    ) -> Sequence[str]:
        found = set(await credential_rows.sign_ins_of(uow.session, [identity_id]))
        if sign_ins is None:
            found |= set(await credential_rows.sign_ins_behind(uow.session, identity_id, uow.now))
            found -= {keep}
        else:
            found &= set(sign_ins)
        return sorted({*found, *await credential_rows.resting_on(uow.session, sorted(found))})

    async def _keep_ended(self, uow: UnitOfWork, by: Actor, identity_id: str, reason: str) -> None:
        """Whichever source ended it, it stays so whatever that source says from now on."""
        row = await uow.session.get(IdentityRow, identity_id, with_for_update=True, populate_existing=True)
        if row is None or row.ended_by == by.name:
            return
        row.ended_by = by.name
        uow.session.add(row)
        uow.audit(AuditEvent("identity.kept-disabled", by, row.name, {"reason": reason}))
        await uow.session.flush()

    async def _may_enable(self, uow: UnitOfWork, source: str, identity_id: str) -> bool:
        row = await uow.session.get(IdentityRow, identity_id, with_for_update=True, populate_existing=True)
        over = row is not None and row.ends_at is not None and row.ends_at <= uow.now
        return row is not None and row.ended_by == source and not over

    async def _switch(self, uow: UnitOfWork, identity_id: str, *, disabled: bool) -> IdentityRow | None:
        """None: it is so already, or there is no such identity."""
        row = await uow.session.get(IdentityRow, identity_id, with_for_update=True, populate_existing=True)
        if row is None or row.disabled == disabled:
            return None
        row.disabled, row.updated_at, row.version = disabled, uow.now, row.version + 1
        uow.session.add(row)
        await uow.session.flush()
        return row

    async def _sweep(self, uow: UnitOfWork, by: Actor, row: IdentityRow, kind: str, reason: str) -> None:
        machines = await repository.ids_of_machines(uow.session, row.id)
        ids = [row.id, *machines]
        ended: dict[str, Json] = {"reason": reason, "machines": sorted(machines.values())}
        ended["sign_ins"] = sign_ins = await credential_rows.sign_ins_of(uow.session, ids)
        await credential_rows.delete_sign_ins(uow.session, sign_ins)
        ended["credentials"] = await credential_rows.revoke_credentials_of(uow.session, ids, uow.now)
        ended["keys"] = await credential_rows.revoke_keys_of(uow.session, ids, uow.now)
        await uow.session.flush()
        for consequence in self._consequences:
            ended.update(await consequence.ended(uow, by, ids, reason))
        uow.audit(AuditEvent(kind, by, row.name, ended))
        await uow.session.flush()
        await uow.snapshot_changed()
