"""The console in a real browser: sign in, an inbox that fills by itself, a hold in full, its two buttons, a replay."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from control_plane import web
from tests.support.stack import REVIEWER, Stack

ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
WAIT = 30
STYLE = Path(web.__file__).with_name("static") / "console.css"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium, "chromium is not installed: run `make system`"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        yield opened
        opened.close()


@pytest.fixture
def console(browser: Browser, stack: Stack) -> Iterator[Page]:
    """A reviewer, signed in with name and password."""
    context = browser.new_context(viewport={"width": 420, "height": 800})
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.goto(f"{stack.control.url}/")
    page.get_by_label("Name").fill(REVIEWER)
    page.get_by_label("Password").fill(stack.reviewer_password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Waiting for people")).to_be_visible()
    yield page
    context.close()
    assert wrong == [], "the browser's console, the content-security policy among it, complains"


def test_the_inbox_fills_by_itself_and_a_click_releases_the_client(console: Page, stack: Stack) -> None:
    client = stack.start_psql("shop", "DELETE FROM orders WHERE id = 12")
    link = console.get_by_role("row", name="DELETE FROM orders WHERE id = 12").get_by_role("link")
    expect(link).to_be_visible(timeout=10_000)
    link.click()
    expect(console.locator("pre").first).to_have_text("DELETE FROM orders WHERE id = 12")
    console.get_by_role("button", name="Approve exactly this").click()
    out, _ = client.communicate(timeout=WAIT)
    assert "DELETE 1" in out
    expect(console.locator("#state")).to_have_text("executed", timeout=10_000)


def test_nothing_scrolls_sideways_on_a_phone(console: Page, stack: Stack) -> None:
    long = f"DELETE FROM orders WHERE id = 14 AND customer_id IN ({', '.join(map(str, range(100)))})"
    client = stack.start_psql("shop", long)
    request = stack.pending("DELETE FROM orders WHERE id = 14")
    console.set_viewport_size({"width": 390, "height": 800})
    for path in ("/", f"/approvals/{request['id']}", "/decided", "/sessions"):
        console.goto(stack.control.url + path)
        wide = (
            "[...document.querySelectorAll('body, main, table')].filter((e) => e.getBoundingClientRect().right > 390)"
        )
        assert console.evaluate(f"{wide}.map((e) => e.tagName)") == [], path
        assert "?." not in console.inner_text("main"), "a name that is resolved elsewhere on the page"
        expect(console.locator("time[title*=UTC]").first).to_have_text(re.compile("just now|in .* minute|min"))
    stack.deny("DELETE FROM orders WHERE id = 14", "only a test")
    client.communicate(timeout=WAIT)


def test_a_denial_needs_a_reason_and_hands_it_to_the_client(console: Page, stack: Stack) -> None:
    client = stack.start_psql("shop", "DELETE FROM orders WHERE id = 13")
    pending = stack.pending("DELETE FROM orders WHERE id = 13")
    console.goto(f"{stack.control.url}/approvals/{pending['short_code']}")
    console.get_by_label("Reason").fill("not on a <b>Friday</b>")
    console.get_by_role("button", name="Deny").click()
    _, notices = client.communicate(timeout=WAIT)
    assert "not on a <b>Friday</b>" in notices
    expect(console.locator("#state")).to_have_text("denied")
    expect(console.get_by_text("not on a <b>Friday</b>").first).to_be_visible()


def test_a_page_that_is_open_hears_that_somebody_else_decided(console: Page, stack: Stack) -> None:
    client = stack.start_psql("shop", "DELETE FROM orders WHERE id = 14")
    pending = stack.pending("DELETE FROM orders WHERE id = 14")
    console.goto(f"{stack.control.url}/approvals/{pending['id']}")
    expect(console.locator("#state")).to_have_text("pending")
    stack.approve("DELETE FROM orders WHERE id = 14")
    client.communicate(timeout=WAIT)
    expect(console.locator("#state")).to_have_text("executed", timeout=10_000)


def test_hostile_text_is_shown_and_not_obeyed(console: Page, stack: Stack) -> None:
    """Invariant 2: escaped, and what a screen would hide is written out."""
    hostile = "DELETE FROM orders WHERE id = 15 /* <script>document.title='owned'</script> \u202e */"
    client = stack.start_psql("shop", hostile)
    pending = stack.pending("DELETE FROM orders WHERE id = 15")
    console.goto(f"{stack.control.url}/approvals/{pending['id']}")
    expect(console.locator("pre").first).to_contain_text("<script>")
    expect(console.locator("pre").first).to_contain_text("U+202E")
    assert "owned" not in console.title()
    stack.deny("DELETE FROM orders WHERE id = 15", "hostile")
    client.communicate(timeout=WAIT)


def test_a_session_is_replayed_as_a_timeline(console: Page, stack: Stack) -> None:
    stack.psql("shop", "SELECT name FROM customers ORDER BY id", PGAPPNAME="console-replay")
    stack.recorded("console-replay")
    console.goto(f"{stack.control.url}/sessions")
    console.get_by_role("row", name="console-replay").first.get_by_role("link").click()
    expect(console.locator("pre", has_text="SELECT name FROM customers")).to_be_visible()
    expect(console.locator("td", has_text="Ada")).to_be_visible()


def test_a_one_time_link_signs_a_browser_in_once(browser: Browser, stack: Stack) -> None:
    link = stack.control.url + stack.reviewer.post("/v1/session/links")["path"]
    for expected in ("Waiting for people", "Not signed in"):
        context = browser.new_context()
        page = context.new_page()
        page.goto(link)
        expect(page.get_by_role("heading", name=expected)).to_be_visible()
        assert "assentry_l_" not in page.url
        context.close()


def test_a_form_without_the_csrf_token_is_refused(browser: Browser, console: Page, stack: Stack) -> None:
    answer = console.request.post(f"{stack.control.url}/sign-out", form={"csrf_token": "wrong"})
    assert answer.status == 403


def test_the_inbox_works_from_the_keyboard_and_no_single_key_decides(console: Page, stack: Stack) -> None:
    texts = ["DELETE FROM orders WHERE id = 34", "DELETE FROM orders WHERE id = 35"]
    clients = [stack.start_psql("shop", text) for text in texts]
    requests = [stack.pending(text) for text in texts]
    for text in texts:
        expect(console.get_by_role("row", name=text)).to_be_visible(timeout=10_000)
    first = console.locator(".cards tbody a").first
    newest = next(one for one in requests if first.get_attribute("id") == f"open-{one['id']}")
    console.keyboard.press("j")
    expect(first).to_be_focused()
    console.keyboard.press("Enter")
    expect(console.locator("#state")).to_have_text("pending")
    console.keyboard.press("a")
    expect(console.get_by_role("button", name="Approve exactly this")).to_be_focused()
    assert stack.approval(newest["id"])["state"] == "pending"
    console.keyboard.press("Enter")
    expect(console.locator("#state")).to_have_text(re.compile("approved|execut"), timeout=10_000)
    console.keyboard.press("u")
    expect(console.get_by_role("link", name="For you 1")).to_be_visible()
    stack.deny(next(one["headline"] for one in requests if one is not newest), "only a test")
    for client in clients:
        client.communicate(timeout=WAIT)


@pytest.mark.parametrize("tag", ["pre", "code"])
def test_letters_from_right_to_left_turn_nothing_of_a_statement_around(browser: Browser, tag: str) -> None:
    """`א - 5` would be shown as `5 - א`, with no character that could be written out."""
    page = browser.new_page()
    page.set_content(f"<style>{STYLE.read_text()}</style><{tag}>א - 5</{tag}>")
    places = page.evaluate(
        """tag => [0, 4].map(at => {
            const range = document.createRange(), text = document.querySelector(tag).firstChild;
            range.setStart(text, at); range.setEnd(text, at + 1);
            return range.getBoundingClientRect().x;
        })""",
        tag,
    )
    page.close()
    assert places[0] < places[1]


def test_a_link_signs_in_by_itself_only_where_nobody_is_signed_in(
    console: Page, browser: Browser, stack: Stack
) -> None:
    path = stack.admin.post("/v1/session/links", {})["path"]
    console.goto(stack.control.url + path)
    button = console.get_by_role("button", name=f"Sign in in place of {REVIEWER}")
    expect(button).to_be_visible()
    expect(console).to_have_url(f"{stack.control.url}/sign-in/link")
    button.click()
    expect(console.locator("header").get_by_text("admin", exact=True)).to_be_visible()
    context = browser.new_context()
    page = context.new_page()
    page.goto(stack.control.url + stack.admin.post("/v1/session/links", {})["path"])
    expect(page.locator("header").get_by_text("admin", exact=True)).to_be_visible()
    context.close()
