"""A control plane at the present instant, because a real provider's assertions are, and what its sign-ins leave."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI
from sqlmodel import select

from control_plane.assembly import ControlPlane
from control_plane.audit import repository as audit
from control_plane.identities.tables import SignInRow
from tests.control_plane.conftest import ManualClock
from tests.support.saml import Posted, SamlProvider, running_provider, saml_provider
from tests.support.stack import document

__all__ = ["running_provider", "saml_provider"]
HOME = "https://assentry.example.org"


@pytest.fixture
def clock() -> ManualClock:
    made = ManualClock()
    made.instant = datetime.now(UTC).replace(microsecond=0)
    return made


class SignIns:
    """One browser at the console, and what the admin does and sees."""

    def __init__(self, admin: httpx.AsyncClient, browser: httpx.AsyncClient, control_plane: ControlPlane) -> None:
        self.admin, self.browser, self.control_plane = admin, browser, control_plane

    async def provider(self, metadata: str, name: str = "corp", **spec: Any) -> None:
        saml = {"metadata": metadata, **spec.pop("saml", {})}
        fixed = {"linking": {"create": True}, "groups": {"claim": "groups", "map": {"DBA Team": "dba"}}}
        await self.apply(document("IdentityProvider", name, **{**fixed, **spec}, saml=saml))

    async def apply(self, *documents: dict[str, Any]) -> None:
        answer = await self.admin.post("/v1/documents/apply", json={"documents": documents, "prune": False})
        assert answer.status_code == 200, answer.text

    async def begin(self, name: str = "corp", path: str = "/") -> str:
        """The address at the provider."""
        answer = await self.browser.get(f"/sign-in/saml/{name}", params={"next": path})
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    async def bring(self, posted: Posted, browser: httpx.AsyncClient | None = None) -> httpx.Response:
        """The provider's form, sent on."""
        assert posted.address.startswith(HOME)
        return await (browser or self.browser).post(urlsplit(posted.address).path, data=posted.fields)

    async def session(self) -> dict[str, Any]:
        return (await self.browser.get("/v1/session")).raise_for_status().json()

    async def forget_how_fresh_it_is(self) -> None:
        """As if everybody had signed in an hour ago."""
        async with self.control_plane.units() as uow:
            for row in (await uow.session.exec(select(SignInRow))).all():
                row.authenticated_at = uow.now - timedelta(hours=1)

    async def audited(self, kind: str) -> list[dict[str, Any]]:
        """The data of these events, oldest first."""
        async with self.control_plane.units.reading() as uow:
            rows = await audit.newest(uow.session, audit.Filter(), None, 1000)
        return [json.loads(row.data) for row in reversed(rows) if row.kind == kind]

    async def refused(self, answer: httpx.Response) -> str:
        """The cause in the audit log of what was just refused, of which the answer tells nothing."""
        assert answer.status_code == 403, answer.text
        assert "cannot be taken" in answer.text
        assert (await self.browser.get("/v1/session")).status_code == 401
        cause = (await self.audited("sign-in.refused"))[-1]["cause"]
        assert cause not in answer.text
        return str(cause)


@pytest.fixture
async def sign_ins(admin: httpx.AsyncClient, anonymous: httpx.AsyncClient, control_plane: ControlPlane) -> SignIns:
    made = SignIns(admin, anonymous, control_plane)
    await made.apply(document("Group", "dba", roles=["reviewer"]))
    return made


@pytest.fixture
async def another_browser(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=HOME) as client:
        yield client


@pytest.fixture
async def corp(sign_ins: SignIns, saml_provider: SamlProvider) -> Callable[..., Awaitable[None]]:
    """The real provider and the control plane know each other."""

    async def acquaint(**spec: Any) -> None:
        await sign_ins.provider(saml_provider.metadata_address, **spec)
        saml_provider.knows((await sign_ins.browser.get("/sign-in/saml/corp/metadata")).raise_for_status().text)

    return acquaint
