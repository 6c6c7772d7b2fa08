"""Who takes part in a request for a token, as far as it is proven: a workload by a trust, or a machine by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec

from control_plane.identities.domain import Identity
from control_plane.workloads import chains
from control_plane.workloads.clients import ProvenClient
from control_plane.workloads.documents import lifetime_of
from control_plane.workloads.tables import ClientCredentialRow
from control_plane.workloads.trusts import Admitted

LONGEST: Final = timedelta(hours=1)
Method = Literal["trust", "key-pair", "secret"]
Claimed = Admitted | ProvenClient


class Party(msgspec.Struct, frozen=True):
    """One of our machines, and what it may get by the way in which it proved itself."""

    identity: Identity
    method: Method
    targets: Sequence[str]
    longest: timedelta
    made_by: str  # who wrote the trust or made the credential: identity id
    api: bool = True
    trust: str = ""
    client_credential_id: str = ""
    issuer: str = ""
    subject: str = ""
    told: Mapping[str, str] = {}
    actors: Sequence[str] = ()
    needs_somebody: bool = False  # only on behalf of a person
    behind: Sequence[chains.Link] = ()  # on whose behalf it acts, as its own issuer says


def by_trust(admitted: Admitted, identity: Identity, made_by: str, behind: Sequence[chains.Link]) -> Party:
    spec = admitted.spec
    return Party(
        identity=identity,
        method="trust",
        targets=spec.targets,
        longest=min(timedelta(seconds=lifetime_of(spec)), LONGEST),
        made_by=made_by,
        api=spec.api,
        trust=admitted.trust,
        issuer=admitted.issuer,
        subject=admitted.subject,
        told=admitted.told,
        actors=spec.actors,
        needs_somebody=spec.on_behalf == "required",
        behind=behind,
    )


def by_client(row: ClientCredentialRow, identity: Identity, now: datetime) -> Party:
    return Party(
        identity=identity,
        method="secret" if row.kind == "secret" else "key-pair",
        targets=row.targets,
        longest=min(row.expires_at - now, LONGEST),
        made_by=row.created_by,
        client_credential_id=row.id,
    )
