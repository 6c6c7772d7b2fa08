"""Documents that say nothing of it do not enable whom something else has ended."""

from __future__ import annotations

import httpx

from control_plane.assembly import ControlPlane
from control_plane.kit.unit_of_work import SYSTEM
from tests.control_plane.workloads.platforms import applied, document


async def test_applying_the_same_documents_again_enables_nobody(
    control_plane: ControlPlane, admin: httpx.AsyncClient
) -> None:
    joe = document("Identity", "joe", kind="person")
    await applied(admin, joe)

    async def changes(sent: object) -> list[str]:
        answer = await admin.post("/v1/documents/plan", json={"documents": [sent]})
        assert answer.is_success, answer.text
        return [one["change"] for one in answer.json()["changes"]]

    async def able() -> bool:
        async with control_plane.units.reading() as uow:
            return (await control_plane.identities.named(uow, "joe")).able

    async def exported() -> object:
        found = (await admin.get("/v1/documents/export")).json()["documents"]
        return next(one for one in found if one["metadata"]["name"] == "joe")["spec"].get("disabled")

    enabled = document("Identity", "joe", kind="person", disabled=False)
    assert await changes(enabled) == ["unchanged"]
    assert await exported() is None
    async with control_plane.units() as uow:
        who = await control_plane.identities.named(uow, "joe")
        await control_plane.who.ending.end(uow, SYSTEM, who.id, "the provider said so")
    assert await exported() is True
    assert await changes(joe) == ["unchanged"]
    await applied(admin, joe)
    await applied(admin, document("Identity", "joe", kind="person", email="joe@example.org"))
    assert not await able()
    assert await changes(enabled) == ["update"]
    await applied(admin, document("Identity", "joe", kind="person", disabled=False))
    assert await able()
