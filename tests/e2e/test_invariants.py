"""Invariants of the design that only the whole stack can show."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import psycopg
import pytest

from tests.support.folders import contents_of, files_in
from tests.support.stack import HOST, REQUESTER, Stack, eventually

REFUSED = "DELETE FROM orders"


def connect(stack: Stack, application: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(
        host=HOST, port=stack.port("shop"), user=REQUESTER, password=stack.token, dbname="shop", sslmode="disable",
        autocommit=True, application_name=application,
    )  # fmt: skip


def test_no_credential_is_written_down_where_it_does_not_belong(stack: Stack) -> None:
    """Invariant 9: the target's password stays next to the target; tokens are kept nowhere; neither is an argument."""
    assert stack.psql("shop", "SELECT 1").returncode == 0
    stack.psql("shop", "SELECT 1", PGPASSWORD="wrong-token-that-is-long-enough")
    secrets = [stack.server.password.encode(), stack.token.encode(), stack.reviewer_password.encode()]
    allowed = {"shop.password", "open.password"}  # where the agent's own configuration keeps it
    for path, content in contents_of(stack.folder):
        if path.name not in allowed:
            assert not any(secret in content for secret in secrets), path
    arguments = subprocess.run(["ps", "-eo", "args"], capture_output=True, check=True).stdout
    assert not any(secret in arguments for secret in secrets[1:])


def test_private_files_are_private(stack: Stack) -> None:
    """Invariant 9: keys, certificates and journals of both planes are their user's alone."""
    open_to_others = [
        path
        for path, found in files_in(stack.folder)
        if stat.S_ISREG(found.st_mode) and found.st_mode & 0o077 and not _guarded(path, stack.folder)
    ]
    assert open_to_others == []


def _guarded(path: Path, root: Path) -> bool:
    """A folder on the way lets nobody else in."""
    return any(not parent.stat().st_mode & 0o077 for parent in path.parents if parent.is_relative_to(root))


@pytest.mark.parametrize("way", ["simple", "prepared", "sql-prepare", "function-in-cte"])
def test_the_same_operation_is_judged_alike_on_every_way_in(stack: Stack, way: str) -> None:
    """Invariant 15: the same decision, the same error, the same shape in the audit log."""
    application = f"way-{way}"
    with connect(stack, application) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as refused:
            if way == "simple":
                connection.execute(REFUSED)
            elif way == "prepared":
                connection.execute(REFUSED + " WHERE %s", (True,), prepare=True)
            elif way == "sql-prepare":
                connection.execute(f"PREPARE gone AS {REFUSED}")
                connection.execute("EXECUTE gone")
            else:
                connection.execute(f"WITH gone AS ({REFUSED} RETURNING id) SELECT count(*) FROM gone")
        assert "add a WHERE clause" in str(refused.value)
        assert connection.execute("SELECT 1").fetchone() == (1,)
    session = eventually(
        lambda: [one for one in stack.sessions() if one["application_name"] == application and one["denied"]],
        "the session with its denial",
    )[0]
    events = stack.admin.pages("/v1/audit", 50, kind="operation.decided", subject=session["id"])
    parts = [part for event in events for part in event["decisions"] if part["effect"] == "deny"]
    assert [part["rules"] for part in parts] == [["shop/where"]]
    assert parts[0]["action"] == "write"
