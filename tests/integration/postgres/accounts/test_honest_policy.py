"""An honest policy and a gate that lies: the target itself refuses what policy would not have allowed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from psycopg.errors import InsufficientPrivilege

from data_plane.gate.admission import Admitted, Credential, Refused
from data_plane.gate.policy_admission import PolicyAdmission
from data_plane.identifiers import SessionId, TargetName
from data_plane.policy.snapshot import RawTarget
from tests.data_plane.gate import worlds
from tests.data_plane.gate.test_identity import token
from tests.data_plane.gate.test_policy_admission import Entrance, Reports
from tests.integration.postgres.accounts.gateway import LyingGate, gateway
from tests.integration.postgres.accounts.world import World
from tests.support.policies import ORDERS, READS, WRITES, allow, deny, hold
from tests.support.relaying import FakeRecorder

STATEMENTS = {
    "read": "select count(*) from notes",
    "write": "delete from notes where id = 1",
    "ddl": "create table made (id int)",
}
POLICIES: dict[str, tuple[list[dict[str, Any]], set[str]]] = {
    "reads": ([allow(match=READS), hold(match=WRITES)], {"read"}),
    "all but writes": ([allow(match={"action": ["read", "write"]}), deny(match=WRITES)], {"read"}),
    "writes": ([allow(match={"action": ["read", "write"]}), hold(match={"action": "ddl"})], {"read", "write"}),
    "everything": ([allow()], {"read", "write", "ddl"}),
    "nothing at all": ([allow(match={"action": "session"})], set()),
}


class Lying:
    """Admission by policy, word for word; but the gate of the session lets everything pass."""

    def __init__(self, policy: worlds.World) -> None:
        entrance = Entrance(policy)
        self._sessions = 0
        self._honest = PolicyAdmission(
            policy.services,
            recorders=entrance,
            reports=Reports(entrance),
            new_session_id=self._next,
            end_session=lambda *_: None,
        )

    def _next(self) -> SessionId:
        self._sessions += 1
        return SessionId(f"ses_{self._sessions}")

    async def admit(
        self, credential: Credential, target: TargetName, address: str, application: str, details: Mapping[str, str]
    ) -> Admitted | Refused:
        admitted = await self._honest.admit(credential, target, address, application, details)
        assert isinstance(admitted, Admitted)
        soon = time.time() + 60
        return msgspec.structs.replace(admitted, gate=LyingGate(), recorder=FakeRecorder(), expires_at=soon)


@pytest.mark.parametrize("name", POLICIES)
async def test_the_target_refuses_what_policy_does_not_allow_though_the_gate_lets_it_pass(
    world: World, tmp_path: Path, name: str
) -> None:
    rules, allowed = POLICIES[name]
    spec = msgspec.json.encode(world.spec()).decode()
    policy = worlds.World(rules, targets=(RawTarget(ORDERS.name, ORDERS.labels, spec),))
    async with gateway(world, tmp_path, admission=Lying(policy)) as running:
        running.token = token()
        connection = await running.psycopg()
        passed = set()
        for action, statement in STATEMENTS.items():
            try:
                await connection.execute(statement)
            except InsufficientPrivilege:
                continue
            passed.add(action)
        assert passed == allowed
