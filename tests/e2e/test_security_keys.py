"""Security keys in a real browser with Chromium's own virtual authenticator: registered, asked, copied, refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, CDPSession, Page, expect, sync_playwright

from control_plane.cli.client import ApiError
from control_plane.cli.fresh import freshly
from tests.e2e.test_console import ARGUMENTS
from tests.support.postgres import PostgresServer
from tests.support.stack import Stack, document, policy, running_stack, target

NAME, WAIT = "keyed", 60
PEOPLE = ("ada", "max")
DOCUMENTS = [
    *(document("Identity", name, kind="person", email=f"{name}@example.com") for name in PEOPLE),
    document("Group", "keyed", members=["ada"], roles=["reviewer"]),
    document("Group", "emergency", members=["max"], roles=["break-glass"]),
    document(
        "ApprovalChain",
        "keyed",
        stages=[{"people": ["ada"]}],
        window={"longest": "30m", "most": 5},
        break_glass=True,
        reauthenticate={"method": "security-key"},
    ),
]
RULES = (
    {"name": "reads", "match": {"action": "read"}, "effect": "allow"},
    {"name": "writes", "match": {"action": "write"}, "effect": "hold", "approval": "keyed", "hold": {"wait": "120s"}},
)
KEY = {
    "protocol": "ctap2",
    "transport": "usb",
    "hasResidentKey": False,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}
APPROVE = "Approve exactly this, with my security key"


class VirtualKey:
    """What is plugged into one page's browser."""

    def __init__(self, page: Page) -> None:
        self._devtools: CDPSession = page.context.new_cdp_session(page)
        self._devtools.send("WebAuthn.enable")
        self._id = self._send("addVirtualAuthenticator", options=KEY)["authenticatorId"]

    def verifies(self, verified: bool) -> None:
        """Whether its holder gives the right PIN from now on."""
        self._send("setUserVerified", authenticatorId=self._id, isUserVerified=verified)

    def turn_back(self) -> None:
        """As a copy of it that was used less often."""
        (credential,) = self._send("getCredentials", authenticatorId=self._id)["credentials"]
        self._send("clearCredentials", authenticatorId=self._id)
        self._send("addCredential", authenticatorId=self._id, credential={**credential, "signCount": 0})

    def _send(self, what: str, **arguments: Any) -> dict[str, Any]:
        return dict(self._devtools.send(f"WebAuthn.{what}", arguments))


@dataclass
class Scene:
    stack: Stack
    browser: Browser
    passwords: dict[str, str]

    def page(self, who: str, path: str = "/", url: str = "") -> Page:
        page = self.browser.new_context(viewport={"width": 800, "height": 900}).new_page()
        page.goto(f"{url or self.stack.control.public_url}{path}")
        page.get_by_label("Name").fill(who)
        page.get_by_label("Password").fill(self.passwords[who])
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("navigation", name="Main")).to_be_visible()
        return page

    def keyed(self, who: str, name: str) -> tuple[Page, VirtualKey]:
        """Somebody who registers a key; every key that they had is removed by an admin first."""
        for one in self.stack.admin.get(f"/v1/identities/{who}/security-keys"):
            self.stack.admin.delete(f"/v1/identities/{who}/security-keys/{one['id']}")
        page = self.page(who, "/security-keys")
        key = VirtualKey(page)
        page.get_by_label("What you call it").fill(name)
        page.get_by_role("button", name="Add the key").click()
        expect(page.get_by_role("row", name=name)).to_contain_text("never")
        return page, key

    def held(self, row: int) -> tuple[Any, dict[str, Any]]:
        statement = f"DELETE FROM orders WHERE id = {row}"
        client = self.stack.start_psql(NAME, statement)
        with self.stack.reviewer_of("ada", self.passwords["ada"]) as ada:
            return client, self.stack.pending(statement, ada)

    def open(self, page: Page, request: dict[str, Any]) -> None:
        page.goto(f"{self.stack.control.public_url}/approvals/{request['id']}")
        expect(page.locator("#state")).to_have_text("pending")

    def end(self, client: Any, request: dict[str, Any]) -> None:
        with self.stack.reviewer_of("ada", self.passwords["ada"]) as ada:
            shown = ada.get(f"/v1/approvals/{request['id']}")
            assert shown["state"] == "pending"
            assert shown["decisions"] == []
        client.terminate()
        client.communicate(timeout=WAIT)


@pytest.fixture(scope="module")
def scene(postgres: PostgresServer) -> Iterator[Scene]:
    chromium = shutil.which("chromium")
    assert chromium, "chromium is not installed: run `make system`"
    postgres.execute(f"CREATE DATABASE {NAME}")
    postgres.execute("CREATE TABLE orders AS SELECT i AS id FROM generate_series(1, 40) i", database=NAME)
    documents = [*DOCUMENTS, target(NAME, postgres, NAME), policy(NAME, NAME, *RULES)]
    account = {NAME: (postgres.superuser, postgres.password)}
    named = {"public_host": "localhost"}
    with (
        running_stack(postgres, documents, account, control_settings=named) as stack,
        sync_playwright() as playwright,
    ):
        passwords = {name: stack.control.give_password(name) for name in PEOPLE}
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        yield Scene(stack, browser, passwords)
        browser.close()


def test_a_key_signs_exactly_what_was_shown_and_the_client_goes_on(scene: Scene) -> None:
    page, _ = scene.keyed("ada", "blue key")
    client, request = scene.held(1)
    scene.open(page, request)
    digest = page.get_by_text("Digest").locator("xpath=following-sibling::dd").inner_text()
    page.get_by_role("button", name=APPROVE).click()
    out, _ = client.communicate(timeout=WAIT)
    assert "DELETE 1" in out
    (decision,) = scene.stack.approval(request["id"])["decisions"]
    assert f'"operation":"{digest}"' in decision["signature"]["statement"]
    assert decision["signature"]["origin"] == scene.stack.control.public_url
    expect(page.locator("main")).to_contain_text("signed with a security key")


def test_a_window_and_identical_requests_are_signed_as_they_were_chosen(scene: Scene) -> None:
    page, _ = scene.keyed("ada", "green key")
    client, request = scene.held(2)
    scene.open(page, request)
    page.get_by_text("Approve a window: more operations of this shape").click()
    page.get_by_label("So many operations at most").fill("3")
    page.get_by_role("button", name="Approve this window").click()
    assert "DELETE 1" in client.communicate(timeout=WAIT)[0]
    (decision,) = scene.stack.approval(request["id"])["decisions"]
    assert '"window":{"uses":3,"minutes":15' in decision["signature"]["statement"]


def test_a_holder_whom_the_key_does_not_verify_approves_nothing(scene: Scene) -> None:
    page, key = scene.keyed("ada", "red key")
    key.verifies(False)
    client, request = scene.held(3)
    scene.open(page, request)
    page.get_by_role("button", name=APPROVE).click()
    expect(page.get_by_role("status")).to_contain_text("The key did not answer")
    scene.end(client, request)


def test_a_page_at_another_address_gets_no_signature(scene: Scene) -> None:
    """The same control plane, called by its number: for the browser that is another site."""
    scene.keyed("ada", "grey key")
    client, request = scene.held(4)
    page = scene.page("ada", f"/approvals/{request['id']}", scene.stack.control.url)
    VirtualKey(page)
    page.get_by_role("button", name=APPROVE).click()
    expect(page.get_by_role("status")).to_contain_text("open the console at its own address")
    scene.end(client, request)


def test_a_copied_key_is_found_out_and_blocked(scene: Scene) -> None:
    page, key = scene.keyed("ada", "copied key")
    client, request = scene.held(5)
    scene.open(page, request)
    key.turn_back()
    page.get_by_role("button", name=APPROVE).click()
    expect(page.get_by_text("the security key was not accepted")).to_be_visible()
    page.goto(f"{scene.stack.control.public_url}/security-keys")
    expect(page.get_by_role("row", name="copied key")).to_contain_text("blocked: there is a copy of it")
    scene.end(client, request)


def test_without_a_key_the_page_leads_to_registering_one(scene: Scene) -> None:
    scene.keyed("ada", "lost key")
    (lost,) = scene.stack.admin.get("/v1/identities/ada/security-keys")
    scene.stack.admin.delete(f"/v1/identities/ada/security-keys/{lost['id']}")
    client, request = scene.held(6)
    page = scene.page("ada", f"/approvals/{request['id']}")
    page.get_by_role("button", name=APPROVE).click()
    expect(page.get_by_role("status")).to_contain_text("you have no security key that works")
    page.get_by_role("link", name="register one").click()
    expect(page.get_by_role("heading", name="Your security keys")).to_be_visible()
    scene.end(client, request)


def test_the_command_line_is_sent_to_the_console(scene: Scene) -> None:
    client, request = scene.held(7)
    path = f"/v1/approvals/{request['id']}"
    with scene.stack.reviewer_of("ada", scene.passwords["ada"]) as ada, pytest.raises(ApiError) as refused:
        freshly(ada, f"{path}/approve", {"digest": ada.get(path)["digest"], "channel": "cli"})
    assert "through console only, not through cli" in str(refused.value)
    assert str(refused.value).endswith(f": {scene.stack.control.url}/approvals/{request['id']}")
    scene.end(client, request)


def test_glass_is_broken_with_a_key_too(scene: Scene) -> None:
    page, _ = scene.keyed("max", "emergency key")
    client, request = scene.held(8)
    scene.open(page, request)
    page.get_by_text("Break glass: override the chain in an emergency").click()
    page.get_by_label("What the emergency is").fill("the shop is down")
    page.get_by_role("button", name="Break glass and let it run").click()
    assert "DELETE 1" in client.communicate(timeout=WAIT)[0]
    (entry,) = scene.stack.audited("approval.glass-broken", request["id"])
    assert '"verb":"break-glass"' in entry["data"]["signature"]["statement"]


def test_keys_are_added_and_removed_with_a_key(scene: Scene) -> None:
    page, _ = scene.keyed("ada", "first key")
    expect(page.get_by_role("button", name="Remove")).to_have_count(0)
    page.get_by_role("button", name="Prove it with my security key").click()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("You have no security key yet.")).to_be_visible()
