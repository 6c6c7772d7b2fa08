"""Roles belong to the server: that a session's database is gone, or never was, keeps none of them."""

from __future__ import annotations

import msgspec
import pytest

from data_plane.credentials.ports import CredentialError
from tests.integration.postgres.accounts.world import World


async def test_the_role_of_a_session_whose_database_was_dropped_goes(world: World) -> None:
    doomed = world.server.fresh_database()
    spec = msgspec.structs.replace(world.spec(), database="")
    lease = msgspec.structs.replace(world.lease(spec=spec), database=doomed)
    await world.accounts.create(lease, msgspec.structs.replace(world.need(lease, "read"), database=doomed))
    await world.accounts.close()
    await world.do(f"drop database {doomed}")

    await world.provider().remove(lease)  # as the next process of the agent does
    assert not await world.exists(lease)


async def test_a_client_that_asks_for_no_database_of_the_target_gets_a_role_and_the_targets_own_word(
    world: World,
) -> None:
    lease = msgspec.structs.replace(world.lease(), database="nowhere")
    made = await world.provider().create(lease, msgspec.structs.replace(world.need(lease, "read"), database="nowhere"))
    assert made.principal == lease.principal
    await world.accounts.remove(lease)
    assert not await world.exists(lease)


async def test_a_wrong_password_is_not_tried_everywhere(world: World) -> None:
    world.own = msgspec.structs.replace(world.own, password=type(world.own.password)("wrong"))
    lease = msgspec.structs.replace(world.lease(), database="nowhere")
    with pytest.raises(CredentialError, match="database nowhere"):
        await world.provider().remove(lease)
