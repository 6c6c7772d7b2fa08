"""Who may see the accounts of sessions, and what of them: in the API and in the console."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx

from control_plane.accounts.reports import EndedReport, LeasedReport
from control_plane.assembly import ControlPlane
from control_plane.sessions.reports import Reporter

REPORTER = Reporter("demo", "ins_one", "boot-1")


async def reported(control_plane: ControlPlane) -> None:
    async with control_plane.units() as uow:
        for number, outcome in enumerate(("", "disabled", "gone")):
            name = f"lease{number}"
            leased = LeasedReport(
                name, 1_000 + number, f"ses_{number}", "orders", "postgres-roles", f"gw_{name}", 31_000
            )
            await control_plane.accounts.leased(uow, REPORTER, leased)
            if outcome:
                end = EndedReport(name, 2_000, outcome, "owns <b>public.x</b>\u202e", "orders", f"gw_{name}")
                await control_plane.accounts.ended(uow, REPORTER, end)


async def test_accounts_are_listed_by_what_became_of_them(
    control_plane: ControlPlane, auditor: httpx.AsyncClient
) -> None:
    await reported(control_plane)

    async def accounts(**query: str) -> list[tuple[str, str, bool]]:
        answer = await auditor.get("/v1/accounts", params=query)
        assert answer.status_code == 200
        return [(one["account"], one["state"], one["stuck"]) for one in answer.json()["items"]]

    stuck, open_ = ("gw_lease1", "disabled", True), ("gw_lease0", "open", False)
    assert await accounts() == [stuck, open_]
    assert await accounts(show="stuck") == [stuck]
    assert await accounts(show="open") == [open_]
    assert await accounts(show="all") == [("gw_lease2", "gone", False), stuck, open_]
    assert await accounts(show="all", session="ses_1") == [stuck]
    assert await accounts(target="bank") == []
    assert (await auditor.get("/v1/accounts", params={"show": "some"})).status_code == 422


async def test_what_a_target_says_is_safe_to_print(control_plane: ControlPlane, auditor: httpx.AsyncClient) -> None:
    await reported(control_plane)
    (stuck,) = (await auditor.get("/v1/accounts", params={"show": "stuck"})).json()["items"]
    assert "\u202e" not in stuck["detail"]


async def test_whoever_may_not_see_sessions_sees_no_accounts(
    requester: httpx.AsyncClient, anonymous: httpx.AsyncClient
) -> None:
    assert (await requester.get("/v1/accounts")).status_code == 403
    assert (await anonymous.get("/v1/accounts")).status_code == 401
    assert (await requester.get("/accounts")).status_code == 403


async def test_the_page_shows_what_would_not_go_away_first(
    control_plane: ControlPlane, browser_of: Callable[[str], Awaitable[httpx.AsyncClient]]
) -> None:
    auditor = await browser_of("auditor")
    assert "No session has an account now." in (await auditor.get("/accounts")).text
    await reported(control_plane)
    shown = (await auditor.get("/accounts")).text
    assert shown.index("gw_lease1") < shown.index("gw_lease0")
    assert "gw_lease2" not in shown
    assert "<b>public.x</b>" not in shown
