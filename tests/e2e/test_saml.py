"""A person signs in at a real SAML provider in a real browser, the console on another site, over https."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from control_plane.cli.demo.planes import LocalControlPlane
from control_plane.cli.demo.ports import free_port
from tests.e2e.test_console import ARGUMENTS
from tests.support.saml import SamlProvider, running_provider, saml_provider
from tests.support.stack import document
from tests.support.tls_front import tls_front
from tests.support.watching import watched

__all__ = ["running_provider", "saml_provider"]


@pytest.fixture
def console(saml_provider: SamlProvider) -> Iterator[str]:
    """Its address: https, on another site than the provider, so browsers keep cookies apart as they do outside."""
    folder, port = Path(tempfile.mkdtemp(prefix="assentry-saml-console-")), free_port()
    url = f"https://localhost:{port}"
    with watched(folder):
        control = LocalControlPlane(folder / "control-plane", public_url=url)
        try:
            group = document("Group", "dba", roles=["reviewer"])
            told = {"title": "Example Corp", "groups": {"map": {"DBA Team": "dba"}}, "linking": {"create": True}}
            saml = {"metadata": saml_provider.metadata_address, "encrypted": True}
            control.apply([group, document("IdentityProvider", "corp", saml=saml, **told)])
            saml_provider.knows(httpx.get(f"{control.url}/sign-in/saml/corp/metadata").raise_for_status().text)
            saml_provider.behaves(assertion__encryption=True)
            with tls_front(port, control.http_port):
                yield url
        finally:
            control.stop()


@pytest.fixture
def page() -> Iterator[Page]:
    chromium = shutil.which("chromium")
    assert chromium, "chromium is not installed: run `make system`"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        yield browser.new_context(ignore_https_errors=True).new_page()
        browser.close()


def test_a_person_goes_to_the_provider_and_comes_back_to_where_they_wanted(
    console: str, saml_provider: SamlProvider, page: Page
) -> None:
    page.goto(f"{console}/decided")
    page.get_by_role("link", name="Sign in with Example Corp").click()
    assert page.url.startswith(saml_provider.address)
    page.locator("[name=username]").fill("ada")
    page.locator("[name=password]").fill("ada-password")
    page.locator("[name=password]").press("Enter")
    page.wait_for_url(f"{console}/decided")
    expect(page.get_by_text("ada").first).to_be_visible()
    kept = {one["name"]: one for one in page.context.cookies(console)}
    assert list(kept) == ["__Host-assentry"]  # what tied the answer to this browser is gone
    assert kept["__Host-assentry"]["sameSite"] == "Lax"
