"""Plans of the world's machine `bot`, and the operations that its agent reports later."""

from __future__ import annotations

from typing import Any

import msgspec

from control_plane.approvals.coverage import expected_state
from control_plane.approvals.petitions import Petition
from control_plane.approvals.reports import Answer
from control_plane.approvals.shown import Plan, Rule
from control_plane.kit.access import Principal, permissions_of
from data_plane.identifiers import CredentialId, IdentityId
from tests.control_plane.world import World, operation_of

FIRST, SECOND = "DELETE FROM orders WHERE id = 1", "DELETE FROM orders WHERE id = 2"
STATE = {
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "client_encoding": "UTF8",
    "database": "shop",
    "role": "none",
    "search_path": "agent, public",
    "standard_conforming_strings": "on",
    "user": "agent",
}


def bot(world: World) -> Principal:
    return Principal(
        identity=IdentityId("idn_bot"),
        name="bot",
        kind="machine",
        groups=("ai-agents",),
        permissions=permissions_of({"requester"}),
        credential_id=CredentialId("key_1"),
        authenticated_at=world.clock.now(),
    )


async def submit(world: World, *statements: str, ordered: bool = True, chain: str = "dba") -> str:
    petition = Petition(
        rule=Rule("production", "plans", 0),
        target="orders",
        chain=chain,
        reason="ticket 4711",
        plan=Plan(statements, ordered, expected_state("postgres", "shop", {})),
    )
    async with world.units() as uow:
        return (await world.petitions.ask(uow, bot(world), petition)).id


async def approved_plan(world: World, *statements: str, ordered: bool = True) -> str:
    plan = await submit(world, *statements, ordered=ordered)
    await world.approve("ada", plan)
    return plan


async def hold(world: World, text: str, /, *, session: str = "ses_1", state: Any = (), **changes: Any) -> Answer:
    """What an agent is answered that holds this."""
    operation = operation_of(
        session,
        text=text,
        raw=b"Q" + (len(text) + 5).to_bytes(4) + text.encode() + b"\0",
        session_state=tuple(sorted({**STATE, **dict(state)}.items())),
    )
    return await world.ask(world.request(operation=msgspec.structs.replace(operation, **changes), session_id=session))
