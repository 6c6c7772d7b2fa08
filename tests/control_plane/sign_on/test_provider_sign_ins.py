"""Whose sign-ins a provider means when it says that somebody has signed out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from control_plane.assembly import ControlPlane
from control_plane.identities.domain import Identity
from control_plane.identities.sign_ins import Proof
from control_plane.identities.tables import ExternalAccountRow
from control_plane.sign_on import provider_sign_ins


@pytest.mark.parametrize(
    ("sessions", "subject", "meant"),
    [
        ((), "", []),
        (("one",), "", ["one", "one"]),
        (("one", "two"), "", ["one", "one", "two"]),
        ((), "a", ["one", "two"]),
        (("one",), "a", ["one"]),
        (("two",), "b", []),
        ((), "nobody", []),
    ],
)
async def test_a_session_of_a_subject_is_both(
    control_plane: ControlPlane,
    person: Callable[..., Awaitable[Identity]],
    sessions: tuple[str, ...],
    subject: str,
    meant: list[str],
):
    for name, held in (("a", ("one", "two")), ("b", ("one",))):
        who = await person(name, "requester")
        async with control_plane.units() as uow:
            linked = {"subject": name, "identity_id": who.id, "created_at": uow.now, "last_used_at": uow.now}
            uow.session.add(ExternalAccountRow(provider="corp", **linked))
            for session in held:
                for provider in ("corp", "other"):
                    await control_plane.sign_ins.open(uow, who, "console", proof=Proof(provider, session))
    async with control_plane.units.reading() as uow:
        rows = await provider_sign_ins.named(uow, "corp", sessions, subject)
    assert sorted(row.provider_session for row in rows) == meant
    assert {row.provider for row in rows} <= {"corp"}
