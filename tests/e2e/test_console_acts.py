"""What people do in the console besides the two buttons, in a real browser: comment, stand in, windows, broken glass."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.e2e.test_console import ARGUMENTS
from tests.support.postgres import PostgresServer
from tests.support.stack import Stack, document, policy, running_stack, target

NAME, WAIT = "acting", 60
PEOPLE = ("ada", "bob", "max")
DOCUMENTS = [
    *(document("Identity", name, kind="person", email=f"{name}@example.com") for name in PEOPLE),
    document("Group", "data", members=["ada", "bob"], roles=["reviewer"]),
    document("Group", "emergency", members=["max"], roles=["break-glass"]),
    document(
        "ApprovalChain", "data", stages=[{"people": ["ada"]}], window={"longest": "30m", "most": 5}, break_glass=True
    ),
]  # fmt: skip
RULES = (
    {"name": "reads", "match": {"action": "read"}, "effect": "allow"},
    {"name": "writes", "match": {"action": "write"}, "effect": "hold", "approval": "data", "hold": {"wait": "120s"}},
)


@dataclass
class Scene:
    stack: Stack
    browser: Browser
    passwords: dict[str, str]

    def page(self, who: str, path: str = "/") -> Page:
        page = self.browser.new_context(viewport={"width": 800, "height": 900}).new_page()
        page.goto(f"{self.stack.control.url}{path}")
        page.get_by_label("Name").fill(who)
        page.get_by_label("Password").fill(self.passwords[who])
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("navigation", name="Main")).to_be_visible()
        return page


@pytest.fixture(scope="module")
def scene(postgres: PostgresServer) -> Iterator[Scene]:
    chromium = shutil.which("chromium")
    assert chromium, "chromium is not installed: run `make system`"
    postgres.execute(f"CREATE DATABASE {NAME}")
    postgres.execute("CREATE TABLE orders AS SELECT i AS id FROM generate_series(1, 40) i", database=NAME)
    documents = [*DOCUMENTS, target(NAME, postgres, NAME), policy(NAME, NAME, *RULES)]
    account = {NAME: (postgres.superuser, postgres.password)}
    with running_stack(postgres, documents, account) as stack, sync_playwright() as playwright:
        passwords = {name: stack.control.give_password(name) for name in PEOPLE}
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        yield Scene(stack, browser, passwords)
        browser.close()


def held(scene: Scene, row: int, *more: str) -> tuple[object, dict[str, object]]:
    statement = f"DELETE FROM orders WHERE id = {row}"
    client = scene.stack.start_psql(NAME, statement, *more)
    with scene.stack.reviewer_of("ada", scene.passwords["ada"]) as ada:
        return client, scene.stack.pending(statement, ada)


def test_a_new_hold_is_in_an_open_inbox_within_a_second(scene: Scene) -> None:
    page = scene.page("ada")
    expect(page.get_by_text("Nothing waits")).to_be_visible()
    client, _ = held(scene, 1)
    row = page.get_by_role("row", name="DELETE FROM orders WHERE id = 1")
    expect(row).to_be_visible(timeout=1000)
    row.get_by_role("link").click()
    page.get_by_label("Comment", exact=True).fill("is there a backup?")
    page.get_by_role("button", name="Comment; decides nothing").click()
    expect(page.locator(".comment pre")).to_have_text("is there a backup?")
    expect(page.locator("#state")).to_have_text("pending")
    page.get_by_role("button", name="Approve exactly this").click()
    out, _ = client.communicate(timeout=WAIT)
    assert "DELETE 1" in out


def test_a_window_that_is_chosen_in_the_console_lets_the_next_one_run_and_is_ended_there(scene: Scene) -> None:
    next_ones = ("DELETE FROM orders WHERE id = 3", "SELECT pg_sleep(0)", "DELETE FROM orders WHERE id = 4")
    client, request = held(scene, 2, *next_ones)
    page = scene.page("ada", f"/approvals/{request['id']}")
    page.get_by_text("Approve a window: more operations of this shape").click()
    page.get_by_label("So many operations at most").fill("2")
    page.get_by_role("button", name="Approve this window").click()
    expect(page.get_by_text("2 of 2 used")).to_be_visible(timeout=10_000)
    statement = "DELETE FROM orders WHERE id = 4"
    with scene.stack.reviewer_of("ada", scene.passwords["ada"]) as ada:
        third = scene.stack.pending(statement, ada)
    page.goto(f"{scene.stack.control.url}/approvals/{third['id']}")
    page.get_by_label("Reason, told to the requester").fill("that was enough")
    page.get_by_role("button", name="Deny").click()
    out, error = client.communicate(timeout=WAIT)
    assert out.count("DELETE 1") == 2
    assert "that was enough" in error


def test_what_somebody_has_opened_stays_open_when_the_page_refreshes_itself(scene: Scene) -> None:
    client, request = held(scene, 5)
    page = scene.page("ada", f"/approvals/{request['id']}")
    page.get_by_text("Approve a window: more operations of this shape").click()
    with scene.stack.reviewer_of("bob", scene.passwords["bob"]) as bob:
        bob.post(f"/v1/approvals/{request['id']}/comments", {"text": "look at the invoice first"})
    expect(page.locator(".comment pre")).to_have_text("look at the invoice first")
    expect(page.get_by_label("So many operations at most")).to_be_visible()
    page.get_by_label("Reason, told to the requester").fill("enough")
    page.get_by_role("button", name="Deny").click()
    assert "enough" in client.communicate(timeout=WAIT)[1]


def test_a_place_that_is_handed_over_is_taken_and_taken_back_in_the_console(scene: Scene) -> None:
    page = scene.page("ada", "/delegations")
    page.get_by_label("To", exact=True).fill("bob")
    page.get_by_label("Note").fill("on holiday")
    page.get_by_role("button", name="Hand over").click()
    expect(page.get_by_role("row", name="bob")).to_contain_text("on holiday")
    client, request = held(scene, 5)
    stand_in = scene.page("bob", f"/approvals/{request['id']}")
    expect(stand_in.get_by_text("You decide in the place of ada")).to_be_visible()
    stand_in.get_by_role("button", name="Approve exactly this").click()
    out, _ = client.communicate(timeout=WAIT)
    assert "DELETE 1" in out
    page.get_by_role("button", name="Take back").click()
    expect(page.get_by_text("Nobody has handed a place over")).to_be_visible()


def test_glass_is_broken_with_a_reason_and_reviewed_by_somebody_else(scene: Scene) -> None:
    client, request = held(scene, 6)
    page = scene.page("max", f"/approvals/{request['id']}")
    page.get_by_text("Break glass: override the chain in an emergency").click()
    page.get_by_label("What the emergency is").fill("the shop is down")
    page.get_by_role("button", name="Break glass and let it run").click()
    out, _ = client.communicate(timeout=WAIT)
    assert "DELETE 1" in out
    page.goto(f"{scene.stack.control.url}/break-glass")
    expect(page.get_by_text("You cannot review it")).to_be_visible()
    reviewer = scene.page("ada", "/break-glass")
    reviewer.get_by_label("What you found").fill("it was down indeed")
    reviewer.get_by_role("button", name="It was justified").click()
    expect(reviewer.get_by_text("it was down indeed")).to_be_visible()
