"""The console's page of what agents use at targets, and the button that rotates."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import httpx

from control_plane.assembly import ControlPlane
from tests.control_plane.rotation.test_rotation import TOLD, TURNS, Agent, agent, ended, history, target

__all__ = ["agent"]

BrowserOf = Callable[[str], Awaitable[httpx.AsyncClient]]


async def test_the_page_shows_accounts_ages_and_problems(
    control_plane: ControlPlane, admin: httpx.AsyncClient, browser_of: BrowserOf, agent: Agent
) -> None:
    await target(admin, rotate=TURNS)
    await target(admin, "shared")
    agent.answers["show-credential"] = {**TOLD, "account": "<b>agent</b>\u202e"}
    await control_plane.rotation.keeper.once()
    shown = (await (await browser_of("admin")).get("/credentials")).text
    assert "&lt;b&gt;agent&lt;/b&gt;" in shown
    assert "\u202e" not in shown
    assert "file: orders.password" in shown
    assert "never rotated" in shown
    assert len(re.findall('/rotate"', shown)) == 1, "only what its document lets be rotated"


async def test_the_button_rotates_and_leads_to_the_history(
    admin: httpx.AsyncClient, browser_of: BrowserOf, agent: Agent
) -> None:
    await target(admin, rotate={})
    browser = await browser_of("admin")
    answer = await browser.post("/credentials/orders/rotate")
    assert (answer.status_code, answer.headers["location"]) == (303, "/credentials/orders")
    (begun,) = await history(admin)
    await ended(admin, begun)
    shown = (await browser.get("/credentials/orders")).text
    assert "agent_b" in shown
    assert "2 sessions still under it" in shown


async def test_an_auditor_looks_and_does_not_rotate(
    browser_of: BrowserOf, admin: httpx.AsyncClient, agent: Agent
) -> None:
    await target(admin, rotate={})
    auditor, requester = await browser_of("auditor"), await browser_of("requester")
    shown = await auditor.get("/credentials")
    assert shown.is_success
    assert "Rotate now" not in shown.text
    assert (await auditor.post("/credentials/orders/rotate")).status_code == 403
    assert (await requester.get("/credentials")).status_code == 403
