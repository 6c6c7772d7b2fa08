"""What the gates of all sessions of one process share; `assembly.py` makes it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from data_plane.gate.grants import GrantDecoder
from data_plane.gate.ports import Approvals, Clock, Lease, Nonces
from data_plane.gate.tickets import Tickets
from data_plane.identifiers import ApprovalId
from data_plane.policy.snapshot import PolicyState


class GateServices(msgspec.Struct, frozen=True, eq=False):
    state: PolicyState
    lease: Lease
    approvals: Approvals
    nonces: Nonces
    clock: Clock
    decode_grant: GrantDecoder
    agent_instance: str
    new_approval_id: Callable[[], ApprovalId]  # unguessable
    tickets: Tickets
