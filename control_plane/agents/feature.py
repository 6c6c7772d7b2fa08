"""Everything of agents, put together from what the other features offer. `assembly` makes one."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from control_plane.agents.authority import CertificateAuthority
from control_plane.agents.errands import Errands
from control_plane.agents.ports import Neighbours
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
        neighbours: Neighbours,
        link_address: str,
        enrolment_address: str = "",
        timing: Timing | None = None,
        certificate_life: timedelta = CERTIFICATE_LIFE,
    ) -> None:
        self.authority = authority
        self.service = AgentService(authority, certificate_life)
        near = neighbours
        self.snapshots = Snapshots(units, keys, deployment, near.documents, near.identities, Encoder())
        intake = ReportIntake(near.approvals, near.sessions, near.accounts)
        self.errands = Errands(units, events, near.served)
        self.secret_calls = SecretCalls(units, self.service, near.secrets, deployment)
        told = near.approvals, near.sessions, self.snapshots, keys, self.errands, near.secrets
        parts = Parts(units, events, self.service, intake, *told, timing or Timing())
        self.server = GrpcServer(
            link_address=link_address,
            enrolment_address=enrolment_address or enrolment_address_beside(link_address),
            authority=authority,
            clock=clock,
            link=LinkServicer(parts, near.recordings, self.secret_calls),
            enrolment=EnrolmentServicer(units, self.service, keys, deployment),
        )
