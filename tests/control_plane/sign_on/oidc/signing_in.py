"""A control plane whose people sign in at the real OpenID provider, with two browsers: one here, one there."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import httpx
from sqlmodel import select

from control_plane.assembly import ControlPlane
from control_plane.audit.tables import AuditRow
from control_plane.identities.tables import SignInRow
from control_plane.kit.unit_of_work import SYSTEM
from tests.support.oidc import OidcProvider

HERE = "https://assentry.example.org"
DBA = {"claim": "groups", "map": {"DBA Team": "dba"}}


class Corp:
    """`here` is a browser at the control plane, `there` the same person's at the provider."""

    def __init__(
        self, control_plane: ControlPlane, admin: httpx.AsyncClient, here: httpx.AsyncClient, provider: OidcProvider
    ) -> None:
        self.control_plane, self.admin, self.here, self.provider = control_plane, admin, here, provider
        self.mark = uuid.uuid4().hex[:8]  # the provider is shared by all tests
        self.client_id = f"assentry-{self.mark}"
        self.there = provider.browser()

    def name(self, name: str) -> str:
        """Of somebody there, for this test alone."""
        return f"{name}-{self.mark}"

    def person(self, name: str, *groups: str, **told: Any) -> str:
        self.provider.person(self.name(name), groups, **told)
        return self.name(name)

    def register(self, provider: str = "corp", **metadata: Any) -> None:
        """This control plane's client, at the provider."""
        told = {
            "post_logout_redirect_uris": [f"{HERE}/sign-in"],
            "backchannel_logout_uri": f"{self.provider.issuer}/nowhere",
            "backchannel_logout_session_required": True,
            **metadata,
        }
        self.provider.client(self.client_id, [f"{HERE}/sign-in/oidc/{provider}/callback"], "the secret", **told)

    def document(self, name: str = "corp", oidc: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
        fixed = {"issuer": self.provider.issuer, "client_id": self.client_id, "client_secret": "corp-client"}
        more = {"linking": {"create": True}, "groups": DBA, **spec}
        return {
            "apiVersion": "assentry.dev/v1",
            "kind": "IdentityProvider",
            "metadata": {"name": name},
            "spec": {"oidc": {**fixed, **(oidc or {})}, **more},
        }

    async def apply(self, *documents: dict[str, Any]) -> httpx.Response:
        return await self.admin.post("/v1/documents/apply", json={"documents": list(documents)})

    async def secret(self, value: str) -> httpx.Response:
        """Of this control plane's client, kept here."""
        path = "/v1/secrets/corp-client"
        known = (await self.admin.get(path)).headers.get("etag")
        return await self.admin.put(path, json={"value": value}, headers={"if-match": known} if known else {})

    async def ready(self, **spec: Any) -> None:
        """A provider called corp, a group dba, the client's secret."""
        self.register()
        assert (await self.secret("the secret")).is_success
        assert (await self.admin.put("/v1/groups/dba", json={"roles": ["reviewer"], "members": []})).is_success
        applied = await self.apply(self.document(**spec))
        assert applied.is_success, applied.text

    # -------------------------------------------------------------- the flow

    async def start(self, path: str = "/sign-in/oidc/corp", **query: str) -> str:
        """Where the browser is sent."""
        started = await self.here.get(path, params=query)
        assert started.status_code == 303, started.text
        return started.headers["location"]

    async def signed_in_there(self, url: str, name: str) -> str:
        """Where the provider sends it back to."""
        return await asyncio.to_thread(self.there.sign_in, url, name)

    async def sign_in(self, name: str, **query: str) -> httpx.Response:
        url = await self.signed_in_there(await self.start(**query), name)
        return await self.here.get(url)

    async def who(self) -> dict[str, Any]:
        answer = await self.here.get("/v1/session")
        return dict(answer.json()) if answer.is_success else {}

    # -------------------------------------------------------------- what there is

    async def sign_ins(self) -> list[SignInRow]:
        async with self.control_plane.units.reading() as uow:
            return list((await uow.session.exec(select(SignInRow).where(SignInRow.provider != ""))).all())

    async def audited(self, kind: str) -> list[dict[str, Any]]:
        async with self.control_plane.units.reading() as uow:
            rows = (await uow.session.exec(select(AuditRow).order_by(AuditRow.sequence))).all()
        return [json.loads(row.data) for row in rows if row.kind == kind]

    async def cause(self) -> str:
        """Why the newest sign-in was refused."""
        return str((await self.audited("sign-in.refused"))[-1]["cause"])

    async def disable(self, name: str) -> None:
        async with self.control_plane.units() as uow:
            found = await self.control_plane.identities.named(uow, name)
            await self.control_plane.who.ending.end(uow, SYSTEM, found.id, "a test")


def query_of(url: str) -> dict[str, str]:
    return dict(httpx.URL(url).params)


def changed(url: str, **params: str | None) -> str:
    """The same address with other parameters; None: without it."""
    query = {**query_of(url), **params}
    return str(httpx.URL(url).copy_with(params={name: value for name, value in query.items() if value is not None}))
