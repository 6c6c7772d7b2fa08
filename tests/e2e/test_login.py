"""`assentry login` as people use it: a terminal here, a real browser there; and API tokens of their own after it."""

from __future__ import annotations

import re
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from control_plane.cli.config import Profile
from tests.e2e.test_cli import RUN, Cli
from tests.e2e.test_console import browser
from tests.support.oidc import OidcProvider
from tests.support.stack import REVIEWER, Stack, document
from tests.support.terminal import Terminal

__all__ = ["browser"]
LINK = re.compile(r"https?://\S+/device\?code=([A-Z]{4}-[A-Z]{4})")


@pytest.fixture
def nobody(stack: Stack, tmp_path: Path) -> Cli:
    return Cli(tmp_path, Profile(stack.control.url))


@pytest.fixture
def page(browser: Browser, stack: Stack) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 390, "height": 800})
    opened = context.new_page()
    wrong: list[str] = []

    def said(message: ConsoleMessage) -> None:
        if message.type == "error" and message.location["url"].startswith(stack.control.url):
            wrong.append(message.text)  # what another site's pages say is not ours

    opened.on("console", said)
    yield opened
    context.close()
    assert wrong == [], "the browser's console, the content-security policy among it, complains"


def confirm(page: Page, stack: Stack, link: str, code: str, button: str = "Confirm: I began this") -> None:
    """Somebody who is not signed in yet follows the link."""
    page.goto(link)
    page.get_by_label("Name").fill(REVIEWER)
    page.get_by_label("Password").fill(stack.reviewer_password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_label("The code that")).to_have_value(code)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text(code)).to_be_visible()
    wide = "[...document.querySelectorAll('body, main, form')].filter((e) => e.getBoundingClientRect().right > 390)"
    assert page.evaluate(f"{wide}.length") == 0, "it scrolls sideways on a phone"
    page.get_by_role("button", name=button).click()


def test_a_browser_signs_the_terminal_in_that_has_opened_it(
    nobody: Cli, stack: Stack, page: Page, tmp_path: Path
) -> None:
    opened = tmp_path / "opened"
    looks = tmp_path / "browser"
    looks.write_text(f'#!/bin/sh\necho "$1" > {opened}.new && mv {opened}.new {opened}\n')
    looks.chmod(0o700)
    with Terminal([*RUN, "login"], {**nobody.environment, "BROWSER": f"{looks} %s"}) as terminal:
        link = LINK.search(terminal.until("confirm there that the code is"))
        assert link
        assert link[1] in terminal.until(f"the code is {link[1]}")
        confirm(page, stack, link[0], link[1])
        expect(page.get_by_role("heading", name=f"signed in as {REVIEWER}")).to_be_visible()
        assert f"as {REVIEWER} until" in terminal.until("kept in")
        assert terminal.process.wait(10) == 0
    assert opened.read_text().strip() == link[0]
    assert stat.S_IMODE(nobody.profile.stat().st_mode) == 0o600
    assert nobody.json("whoami")["name"] == REVIEWER
    confirmed = [one for one in stack.audited("device.confirmed") if one["actor"]["name"] == REVIEWER]
    assert confirmed[-1]["data"]["client_address"] == "127.0.0.1"


def test_what_is_refused_in_the_browser_ends_the_command(nobody: Cli, stack: Stack, page: Page) -> None:
    with Terminal([*RUN, "login", "--no-browser"], nobody.environment) as terminal:
        link = LINK.search(terminal.until("confirm there that the code is"))
        assert link
        confirm(page, stack, link[0], link[1], "Refuse")
        expect(page.get_by_role("heading", name="Refused")).to_be_visible()
        terminal.until("the sign-in was refused")
        assert terminal.process.wait(10) == 1
    assert "not signed in" in nobody.refused("whoami")


@pytest.fixture
def corp(stack: Stack, oidc_provider: OidcProvider) -> Iterator[str]:
    """Somebody at a real OpenID provider, whom this control plane does not know yet. With the test its button is gone
    from the sign-in page."""
    mark = uuid.uuid4().hex[:8]
    client = {"issuer": oidc_provider.issuer, "client_id": f"login-{mark}", "device": True}
    oidc_provider.client(f"login-{mark}", [f"{stack.control.url}/sign-in/oidc/corp/callback"])
    oidc_provider.person(f"ada-{mark}", amr=["otp"])
    spec = {"title": "Example Corp", "oidc": client, "linking": {"create": True}}
    stack.control.apply([document("IdentityProvider", "corp", **spec)])
    yield f"ada-{mark}"
    stack.control.apply([document("IdentityProvider", "corp", **spec, disabled=True)])


def test_whoever_signs_in_at_the_provider_in_the_browser_signs_the_terminal_in(
    nobody: Cli, stack: Stack, page: Page, corp: str
) -> None:
    with Terminal([*RUN, "login", "--no-browser"], nobody.environment) as terminal:
        link = LINK.search(terminal.until("confirm there that the code is"))
        assert link
        page.goto(link[0])
        page.get_by_role("link", name="Sign in with Example Corp").click()
        page.locator("input[name=name]").fill(corp)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="Go on").click()
        page.get_by_role("button", name="Confirm: I began this").click()
        assert f"as {corp} until" in terminal.until("kept in")
    assert nobody.json("whoami")["name"] == corp
    opened = [one["data"] for one in stack.audited("sign-in.opened") if one["actor"]["name"] == corp]
    assert [(one["channel"], one["provider"]) for one in opened] == [("console", "corp"), ("cli", "corp")]


def test_the_terminal_is_signed_in_by_the_providers_own_device_flow(
    nobody: Cli, corp: str, oidc_provider: OidcProvider
) -> None:
    with Terminal([*RUN, "login", "--provider", "corp", "--no-browser"], nobody.environment) as terminal:
        printed = terminal.until("confirm there that the code is")
        code = re.search(r"user_code=(\S+)", printed)
        assert code
        assert oidc_provider.issuer in printed
        oidc_provider.browser().approve(f"{oidc_provider.issuer}/device", code[1], corp)
        assert f"as {corp} until" in terminal.until("kept in")
    assert nobody.json("whoami")["name"] == corp


def test_a_provider_that_is_not_there_is_one_line(nobody: Cli) -> None:
    assert "'nowhere'" in nobody.refused("login", "--provider", "nowhere")


def test_ways_that_exclude_each_other_are_wrong_use(nobody: Cli) -> None:
    assert nobody.run("login", "--name", "ada", "--provider", "corp").returncode == 2
    assert nobody.run("login", "--password-file", "x").returncode == 2


def test_a_script_uses_an_api_token_until_it_is_revoked(stack: Stack, tmp_path: Path) -> None:
    rosa = Cli(tmp_path, stack.control.sign_in(REVIEWER, stack.reviewer_password))
    made = rosa.json("api-tokens", "create", "nightly report", "-p", "audit", "--for", "2h")
    script = Cli(tmp_path / "script", None, ASSENTRY_URL=stack.control.url, ASSENTRY_TOKEN=made["token"])
    assert script.json("whoami")["permissions"] == ["audit", "self"]
    assert script.run("audit", "list", "-o", "json").returncode == 0
    assert "not taken here" in script.refused("api-tokens", "create", "another", "-p", "audit")
    assert "not taken here" in script.refused("console")
    assert made["id"] in rosa.said("api-tokens", "list")
    assert made["token"] not in rosa.said("api-tokens", "list")
    rosa.said("api-tokens", "revoke", made["id"])
    assert "login` again" in script.refused("whoami")


@pytest.mark.parametrize(
    "arguments", [("-p", "review"), ("-p", "audit", "--for", "31d"), ("-p", "audit", "--for", "x")]
)
def test_a_token_that_cannot_be_is_refused(stack: Stack, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    rosa = Cli(tmp_path, stack.control.sign_in(REVIEWER, stack.reviewer_password))
    assert rosa.run("api-tokens", "create", "x", *arguments).returncode in (1, 2)
