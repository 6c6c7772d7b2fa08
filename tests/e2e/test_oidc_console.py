"""A real browser signs in to the real console at a real OpenID provider of another site, and out on either side."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from control_plane.cli.client import Api
from control_plane.cli.demo.planes import LocalControlPlane
from tests.e2e.test_console import ARGUMENTS
from tests.support.oidc import OidcProvider
from tests.support.stack import document
from tests.support.watching import watched

WAIT = 60_000


@dataclass
class Scene:
    control: LocalControlPlane
    provider: OidcProvider
    browser: Browser
    name: str

    def page(self) -> Page:
        """Signed in by two clicks and a name that the provider asks for."""
        page = self.browser.new_context().new_page()
        page.set_default_timeout(WAIT)
        page.goto(f"{self.control.public_url}/sessions")
        page.get_by_role("link", name="Sign in with Example Corp").click()
        page.locator("input[name=name]").fill(self.name)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="Sessions")).to_be_visible(timeout=WAIT)
        return page


def configured(control: LocalControlPlane, provider: OidcProvider, client_id: str) -> None:
    here = control.public_url
    provider.client(
        client_id,
        [f"{here}/sign-in/oidc/corp/callback"],
        "the secret",
        post_logout_redirect_uris=[f"{here}/sign-in"],
        backchannel_logout_uri=f"{control.url}/sign-in/oidc/corp/backchannel-logout",
        backchannel_logout_session_required=True,
    )
    admin = Api(control.admin)
    admin.put("/v1/secrets/corp-client", {"value": "the secret"})
    oidc = {"issuer": provider.issuer, "client_id": client_id, "client_secret": "corp-client"}
    documents = [
        document("Group", "dba", members=[], roles=["reviewer", "auditor"]),
        document(
            "IdentityProvider",
            "corp",
            title="Example Corp",
            oidc=oidc,
            linking={"create": True},
            groups={"map": {"DBA Team": "dba"}},
        ),
    ]
    admin.post("/v1/documents/apply", {"documents": documents})


@pytest.fixture(scope="module")
def scene(oidc_provider: OidcProvider) -> Iterator[Scene]:
    chromium = shutil.which("chromium")
    assert chromium, "chromium is not installed: run `make system`"
    folder, name = Path(tempfile.mkdtemp(prefix="assentry-oidc-console-")), f"ada-{uuid.uuid4().hex[:8]}"
    with watched(folder), sync_playwright() as playwright:
        control = LocalControlPlane(folder, public_host="localhost")
        configured(control, oidc_provider, f"console-{name}")
        oidc_provider.person(name, ["DBA Team"], f"{name}@example.com")
        opened = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        yield Scene(control, oidc_provider, opened, name)
        opened.close()
        control.stop()


def test_somebody_signs_in_at_the_provider_and_comes_back_where_they_wanted_to_be(scene: Scene) -> None:
    page = scene.page()
    assert page.url == f"{scene.control.public_url}/sessions"
    expect(page.get_by_text(scene.name)).to_be_visible()
    names = {cookie["name"] for cookie in page.context.cookies(scene.control.public_url)}
    assert names == {"assentry"}, "the cookie of the flow is gone"
    page.context.close()


def test_who_signs_out_here_is_led_to_sign_out_there_and_back(scene: Scene) -> None:
    page = scene.page()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{scene.provider.issuer}/**")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{scene.control.public_url}/sign-in*")
    page.goto(f"{scene.control.public_url}/sessions")
    expect(page.get_by_role("link", name="Sign in with Example Corp")).to_be_visible()
    page.context.close()


def test_who_signs_out_there_is_out_here(scene: Scene) -> None:
    page = scene.page()
    there = page.context.new_page()
    there.goto(f"{scene.provider.issuer}/session/end")
    there.get_by_role("button", name="Sign out").click()
    there.wait_for_url(f"{scene.provider.issuer}/session/end/success*")
    page.reload()
    expect(page.get_by_role("link", name="Sign in with Example Corp")).to_be_visible(timeout=WAIT)
    page.context.close()
