"""`assentry login` as people use it: a terminal here, a real browser there; and API tokens of their own after it."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from control_plane.cli.config import Profile
from tests.e2e.test_cli import RUN, Cli
from tests.e2e.test_console import browser
from tests.support.stack import REVIEWER, Stack
from tests.support.terminal import Terminal

__all__ = ["browser"]
LINK = re.compile(r"https?://\S+/device\?code=([A-Z]{4}-[A-Z]{4})")


@pytest.fixture
def nobody(stack: Stack, tmp_path: Path) -> Cli:
    return Cli(tmp_path, Profile(stack.control.url))


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 390, "height": 800})
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
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
    assert [one["data"]["client_address"] for one in stack.audited("device.confirmed")] == ["127.0.0.1"]


def test_what_is_refused_in_the_browser_ends_the_command(nobody: Cli, stack: Stack, page: Page) -> None:
    with Terminal([*RUN, "login", "--no-browser"], nobody.environment) as terminal:
        link = LINK.search(terminal.until("confirm there that the code is"))
        assert link
        confirm(page, stack, link[0], link[1], "Refuse")
        expect(page.get_by_role("heading", name="Refused")).to_be_visible()
        terminal.until("the sign-in was refused")
        assert terminal.process.wait(10) == 1
    assert "not signed in" in nobody.refused("whoami")


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
