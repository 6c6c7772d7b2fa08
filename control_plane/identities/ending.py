"""The end of an identity: nothing of it acts any more, from this transaction on.

Its sign-ins are gone and its credentials and keys revoked for good: who is enabled again begins anew. The agents hear
of it with the next snapshot and end live sessions; what other features must end they end as a Consequence. One audit
event tells all of it. The end is never refused because somebody is needed: the first admin can be made anew.
"""

from __future__ import annotations

from collections.abc import Sequence

from control_plane.identities import credential_rows, repository
from control_plane.identities.ports import Consequence
from control_plane.identities.tables import IdentityRow
from control_plane.kit.unit_of_work import Actor, AuditEvent, Json, UnitOfWork


class Ending:
    def __init__(self, consequences: Sequence[Consequence] = ()) -> None:
        self._consequences = list(consequences)

    def follow(self, consequence: Consequence) -> None:
        self._consequences.append(consequence)

    async def end(self, uow: UnitOfWork, by: Actor, identity_id: str, reason: str) -> None:
        """Disables the identity. An identity that is disabled already, or gone, stays as it is."""
        row = await uow.session.get(IdentityRow, identity_id, with_for_update=True)
        if row is None or row.disabled:
            return
        row.disabled, row.updated_at, row.version = True, uow.now, row.version + 1
        uow.session.add(row)
        machines = await repository.ids_of_machines(uow.session, row.id)
        ended: dict[str, Json] = {"reason": reason, "machines": sorted(machines.values())}
        ids = [row.id, *machines]
        for one in ids:
            await credential_rows.end_sign_ins(uow.session, one)
        ended["credentials"] = await credential_rows.revoke_all_of(uow.session, ids, uow.now)
        await uow.session.flush()
        for consequence in self._consequences:
            ended.update(await consequence.ended(uow, by, ids, reason))
        uow.audit(AuditEvent("identity.ended", by, row.name, ended))
        await uow.session.flush()
        await uow.snapshot_changed()
