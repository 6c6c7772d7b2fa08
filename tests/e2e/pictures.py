"""Takes the pictures of the console that the README shows, from a running stack and a real browser.

`python -m tests.e2e.pictures [FOLDER]`; without a folder those of the README are made anew.
"""

from __future__ import annotations

import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from control_plane.cli.client import Api
from tests.e2e.test_console import ARGUMENTS
from tests.support.postgres import PostgresServer, running_postgres
from tests.support.stack import REVIEWER, Stack, document, eventually, policy, running_stack, target

FOLDER = Path(__file__).parents[2] / "deploy" / "pictures"
WIDE, PHONE = {"width": 1100, "height": 800}, {"width": 390, "height": 780}
APP, LOOKER = ("shop_app", "app-password"), ("shop_looker", "looker-password")
SCHEMA = """
CREATE TABLE customers (id integer PRIMARY KEY, name text NOT NULL, email text);
CREATE TABLE orders (id integer PRIMARY KEY, customer_id integer, status text NOT NULL DEFAULT 'open');
INSERT INTO customers VALUES (1, 'Ada', 'ada@shop.example'), (2, 'Grace', 'grace@shop.example');
INSERT INTO orders SELECT i, 1 + i % 2, CASE WHEN i % 3 = 0 THEN 'cancelled' ELSE 'open' END FROM generate_series(1, 1200) i;
ANALYZE;
GRANT ALL ON customers, orders TO shop_app;
GRANT SELECT ON customers, orders TO shop_looker;
"""
MASK = document("Mask", "mails", columns=[{"column": "public.customers.email", "strategy": "partial"}])
STAGES = [
    {"name": "database", "groups": ["dba"], "require": 1, "timeout": "15m"},
    {
        "name": "release",
        "all": [{"groups": ["security"]}, {"any": [{"groups": ["leads"]}, {"people": ["olga"]}]}],
        "timeout": "10m",
        "on_timeout": {"escalate": {"groups": ["leads"], "timeout": "5m"}},
    },
]
PEOPLE = [
    *(document("Identity", name, kind="person", email=f"{name}@shop.example") for name in ("sam", "olga", "lea")),
    document("Group", "security", members=["sam"], roles=["reviewer"]),
    document("Group", "leads", members=["lea", "olga"], roles=["reviewer"]),
    document("ApprovalChain", "release", stages=STAGES, row_guard={"margin_percent": 10}),
]
READS = {"name": "reads-flow", "match": {"action": "read"}, "effect": "allow"}
MASKED = {"name": "customers-are-masked", "match": {"tables": ["public.customers"]}, "mask": ["mails"]}
DELETES = {
    "name": "deletes-are-released", "match": {"verbs": ["DELETE"]}, "effect": "hold", "approval": "release",
    "hold": {"wait": "10m", "preview": ["facts", "estimate", "count"]},
}  # fmt: skip
WRITES = {"name": "writes-need-a-dba", "match": {"verbs": ["INSERT", "UPDATE"]}, "effect": "hold", "approval": "dba", "hold": {"wait": "10m"}}  # fmt: skip
DROPS = {"name": "no-drops", "match": {"verbs": ["DROP"]}, "effect": "deny", "message": "ask the owner of the table"}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as opened:
        server = opened.enter_context(running_postgres())
        stack = opened.enter_context(_stack(server))
        playwright = opened.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(ARGUMENTS))
        opened.callback(browser.close)
        _take(stack, browser, folder)


def _stack(server: PostgresServer):
    roles = (f"CREATE ROLE {name} LOGIN PASSWORD '{word}'" for name, word in (APP, LOOKER))
    server.execute("CREATE DATABASE shop", *roles)
    server.execute(SCHEMA, database="shop")
    documents = [*PEOPLE, MASK, target("shop", server, "shop", environment="production")]
    documents.append(policy("shop", "production", READS, MASKED, DELETES, WRITES, DROPS))
    return running_stack(server, documents, {"shop": (*APP, *LOOKER)})


def _take(stack: Stack, browser: Browser, folder: Path) -> None:
    reason = "SET assentry.reason = 'nightly clean-up, ticket SHOP-4711'"
    words = ("SELECT id, name, email FROM customers", "DROP TABLE customers", reason)
    clients = [
        stack.start_psql("shop", *words, "DELETE FROM orders WHERE status = 'cancelled'"),
        stack.start_psql("shop", "UPDATE orders SET status = 'open' WHERE id = 7"),
    ]
    for text in ("DELETE FROM orders", "UPDATE orders"):
        stack.pending(text)
    page = _signed_in(browser, stack, "light", WIDE)
    page.wait_for_selector("table")
    page.screenshot(path=folder / "inbox.png")
    request = stack.pending("DELETE FROM orders")
    _hold(stack, page, folder, request["id"])
    _phone(stack, browser, folder, request["id"])
    stack.deny("UPDATE orders", "only a picture")
    session = _let_it_run(stack, request["id"])
    for client in clients:
        client.communicate(timeout=60)
    _replay(stack, page, folder, session)


def _hold(stack: Stack, page: Page, folder: Path, request: str) -> None:
    page.goto(f"{stack.control.url}/approvals/{request}")
    page.screenshot(path=folder / "hold.png", full_page=True)
    stack.approve("DELETE FROM orders")
    page.wait_for_selector(".stages > li.agreed")
    page.locator("section", has=page.get_by_label("Stages of the chain")).screenshot(path=folder / "chain.png")


def _phone(stack: Stack, browser: Browser, folder: Path, request: str) -> None:
    page = _signed_in(browser, stack, "dark", PHONE)
    page.goto(f"{stack.control.url}/approvals/{request}")
    page.screenshot(path=folder / "phone.png")


def _let_it_run(stack: Stack, request: str) -> str:
    """Approves what is missing; the session of the request."""
    for name in ("sam", "lea"):
        with Api(stack.control.sign_in(name, stack.control.give_password(name))) as person:
            card = person.get(f"/v1/approvals/{request}")
            person.post(f"/v1/approvals/{request}/approve", {"digest": card["digest"], "channel": "cli"})
    return str(max(stack.sessions(), key=lambda one: one["operations"])["id"])


def _replay(stack: Stack, page: Page, folder: Path, session: str) -> None:
    def complete() -> bool:
        page.goto(f"{stack.control.url}/sessions/{session}")
        return "complete" in page.inner_text("main")

    eventually(complete, "the recording", 30)
    page.screenshot(path=folder / "replay.png", full_page=True)


def _signed_in(browser: Browser, stack: Stack, scheme: str, size: dict[str, int]) -> Page:
    page = browser.new_context(viewport=size, color_scheme=scheme, device_scale_factor=1).new_page()
    page.goto(f"{stack.control.url}/")
    page.get_by_label("Name").fill(REVIEWER)
    page.get_by_label("Password").fill(stack.reviewer_password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector(".tabs")
    return page


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
