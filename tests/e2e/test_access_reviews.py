"""`assentry identities report` and `assentry access-reviews`, against a running stack."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from tests.e2e.test_cli import Cli
from tests.support.stack import REQUESTER, Stack, document, eventually


@pytest.fixture
def admin(stack: Stack, tmp_path: Path) -> Cli:
    """The owner of the requester too."""
    return Cli(tmp_path, stack.control.sign_in())


def test_the_report_tells_what_a_machine_has_and_that_it_was_used(admin: Cli, stack: Stack) -> None:
    assert stack.psql("shop", "SELECT 1").returncode == 0

    def seen() -> object:
        found = {one["name"]: one for one in admin.json("identities", "report")}[REQUESTER]
        key = next(one for one in found["things"] if one["kind"] == "service-account-key")
        return found if found["used"].get("request") and key["last_used_at"] else None

    assert eventually(seen, "the use is written")
    stack.control.apply([document("Identity", "endless-bot", kind="machine", owner="admin")])
    try:
        table = admin.said("identities", "report", "--findings")
        assert "endless-bot" in table
        assert "no-end" in table
        assert "has no purpose" in admin.refused("identities", "key", "endless-bot")
    finally:
        stack.admin.delete("/v1/identities/endless-bot")
    rows = list(csv.DictReader(io.StringIO(admin.said("identities", "report", "--export", "csv"))))
    assert REQUESTER in {row["identity"] for row in rows}


def test_an_owner_keeps_at_the_command_line_what_is_asked(admin: Cli) -> None:
    opened = admin.json("access-reviews", "open", "spring", "--days", "30")
    try:
        items = admin.json("access-reviews", "show", opened["id"], "--mine")["items"]
        number = next(str(one["number"]) for one in items if one["kind"] == "machine" and one["identity"] == REQUESTER)
        told = admin.said("access-reviews", "keep", opened["id"], number, "--comment", "the tests need it")
        assert told == f"{number} machine of {REQUESTER}: kept\n"
        assert "the tests need it" in admin.said("access-reviews", "show", opened["id"])
        assert "spring" in admin.said("access-reviews", "list")
        assert "the tests need it" in admin.said("access-reviews", "export", opened["id"])
    finally:
        assert admin.said("access-reviews", "cancel", opened["id"]) == "spring is cancelled\n"
    assert "it is cancelled" in admin.refused("access-reviews", "end", opened["id"], number)
