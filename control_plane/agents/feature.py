"""Everything of agents, put together from what the other features offer. `assembly` makes one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from control_plane.agents.authority import CertificateAuthority
from control_plane.agents.errands import Errands
from control_plane.agents.ports import Accounts, Approvals, Documents, Identities, Recordings, Secrets, Served, Sessions
from control_plane.agents.reports import ReportIntake
from control_plane.agents.secret_calls import SecretCalls
from control_plane.agents.server import GrpcServer, enrolment_address_beside
from control_plane.agents.service import CERTIFICATE_LIFE, AgentService
from control_plane.agents.servicer import EnrolmentServicer, LinkServicer
from control_plane.agents.snapshots import Snapshots
from control_plane.agents.stream import Parts, Timing
from control_plane.agents.wire import Encoder
from control_plane.kit.clock import Clock
from control_plane.kit.events import Events
from control_plane.kit.keys import SigningKeys
from control_plane.kit.sealing import FileSeal
from control_plane.kit.unit_of_work import Units


def open_authority(state_dir: Path, clock: Clock, seal: FileSeal) -> CertificateAuthority:
    """The deployment's CA; identities need it too, as their `CertificateIssuer`."""
    return CertificateAuthority.open(state_dir / "ca", clock.now(), seal)


class AgentsFeature:
    """`service` and `authority` are parts for the endpoints; `server` is started after the migrations."""

    def __init__(
        self,
        *,
        units: Units,
        events: Events,
        clock: Clock,
        keys: SigningKeys,
        deployment: str,
        authority: CertificateAuthority,
        documents: Sequence[Documents],
        identities: Identities,
        approvals: Approvals,
        sessions: Sessions,
        accounts: Accounts,
        recordings: Recordings,
        served: Served,
        secrets: Secrets,
        link_address: str,
        enrolment_address: str = "",
        timing: Timing | None = None,
        certificate_life: timedelta = CERTIFICATE_LIFE,
    ) -> None:
        self.authority = authority
        self.service = AgentService(authority, certificate_life)
        self.snapshots = Snapshots(units, keys, deployment, documents, identities, Encoder())
        intake = ReportIntake(approvals, sessions, accounts)
        timing = timing or Timing()
        self.errands = Errands(units, events, served)
        self.secret_calls = SecretCalls(units, self.service, secrets, deployment)
        parts = Parts(
            units,
            events,
            self.service,
            intake,
            approvals,
            sessions,
            self.snapshots,
            keys,
            self.errands,
            secrets,
            timing,
        )
        self.server = GrpcServer(
            link_address=link_address,
            enrolment_address=enrolment_address or enrolment_address_beside(link_address),
            authority=authority,
            clock=clock,
            link=LinkServicer(parts, recordings, self.secret_calls),
            enrolment=EnrolmentServicer(units, self.service, keys, deployment),
        )
