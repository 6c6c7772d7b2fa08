"""The console's pages: who has access by what, and what one is asked to confirm."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from control_plane.assembly import ControlPlane
from tests.control_plane.access_reviews.conftest import identity


class Browser:
    def __init__(self, client: httpx.AsyncClient, csrf: str) -> None:
        self._client, self._csrf = client, csrf

    async def get(self, path: str) -> httpx.Response:
        return await self._client.get(path)

    async def submit(self, path: str, **form: str) -> httpx.Response:
        return await self._client.post(path, data={"csrf_token": self._csrf, **form}, follow_redirects=True)


@pytest.fixture
async def browsers(app: FastAPI, control_plane: ControlPlane, key: dict[str, str]) -> AsyncIterator[dict[str, Browser]]:
    """Of the admin and of the machine's owner."""
    found: dict[str, Browser] = {}
    clients = []
    for name in ("admin", "lin"):
        who = await identity(control_plane, name)
        async with control_plane.units() as uow:
            opened = await control_plane.sign_ins.open(uow, who, "console")
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        cookies = {control_plane.cookies.name: opened.token.reveal()}
        client = httpx.AsyncClient(transport=transport, base_url="https://assentry.example.org", cookies=cookies)
        found[name] = Browser(client, opened.csrf)
        clients.append(client)
    assert key
    yield found
    for client in clients:
        await client.aclose()


async def test_the_report_shows_machines_with_what_they_have_and_what_to_look_at(browsers: dict[str, Browser]):
    shown = (await browsers["admin"].get("/access")).text
    assert "machine of lin" in shown
    assert "service-account-key" in shown
    assert "in order" in shown
    assert (await browsers["lin"].get("/access")).status_code == 403


async def test_an_owner_confirms_on_the_page_and_sees_it_confirmed(browsers: dict[str, Browser]):
    opened = await browsers["admin"].submit("/access-reviews", name="spring", days="14")
    assert opened.status_code == 200, opened.text
    assert "Still needed" not in opened.text, "an admin confirms nothing for others"
    path = opened.url.path
    asked = (await browsers["lin"].get(path)).text
    assert asked.count("Still needed") == 2
    (number, *_) = re.findall(r"/items/(\d+)", asked)
    kept = (await browsers["lin"].submit(f"{path}/items/{number}", decision="keep", comment="<b>yes</b>")).text
    assert kept.count("Still needed") == 1
    assert "&lt;b&gt;yes&lt;/b&gt;" in kept
    refused = await browsers["admin"].submit(f"{path}/items/{number}", decision="keep")
    assert refused.status_code == 403


async def test_a_cancelled_review_asks_nothing_more(browsers: dict[str, Browser]):
    path = (await browsers["admin"].submit("/access-reviews", name="spring", days="14")).url.path
    assert (await browsers["lin"].submit(f"{path}/cancel")).status_code == 403
    assert "cancelled" in (await browsers["admin"].submit(f"{path}/cancel")).text
    assert "Still needed" not in (await browsers["lin"].get(path)).text


async def test_the_list_shows_what_one_is_asked(browsers: dict[str, Browser]):
    assert "Nothing is asked of you" in (await browsers["lin"].get("/access-reviews")).text
    await browsers["admin"].submit("/access-reviews", name="spring", days="14")
    shown = (await browsers["lin"].get("/access-reviews")).text
    assert "spring" in shown
    assert "Open a review" not in shown
