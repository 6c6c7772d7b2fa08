"""What people do besides approving, while an unmodified psql waits: deny late, take back, stand in, break glass."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from control_plane.cli.client import Api, ApiError
from tests.support.postgres import PostgresServer
from tests.support.stack import Stack, document, eventually, policy, running_stack, target

WAIT = 30
READS = {"name": "reads", "match": {"action": "read"}, "effect": "allow"}
WRITES = {"name": "writes", "match": {"action": "write"}, "effect": "hold", "approval": "two", "hold": {"wait": "60s"}}
PEOPLE = [document("Identity", name, kind="person", email=f"{name}@example.com") for name in ("sam", "tom", "max")]
GROUPS = [
    document("Group", "security", members=["sam"], roles=["reviewer"]),
    document("Group", "web", members=["tom"], roles=["reviewer"]),
    document("Group", "emergency", members=["max"], roles=["break-glass"]),
]
STAGES = [{"groups": ["dba"], "timeout": "5m"}, {"groups": ["security"], "timeout": "5m"}]
TWO = document("ApprovalChain", "two", stages=STAGES, break_glass=True)


@pytest.fixture(scope="module")
def acts(postgres: PostgresServer) -> Iterator[Stack]:
    postgres.execute("CREATE DATABASE acts")
    postgres.execute("CREATE TABLE rows AS SELECT generate_series(1, 20) AS id", database="acts")
    documents = [*PEOPLE, *GROUPS, TWO, target("acts", postgres, "acts"), policy("acts", "acts", READS, WRITES)]
    with running_stack(postgres, documents, {"acts": (postgres.superuser, postgres.password)}) as running:
        yield running


@pytest.fixture
def signed_in(acts: Stack) -> Iterator[dict[str, Api]]:
    people = {name: Api(acts.control.sign_in(name, acts.control.give_password(name))) for name in ("sam", "tom", "max")}
    yield people
    for one in people.values():
        one.close()


def held(acts: Stack, row: int) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """A psql that waits for the first stage, and the request in full."""
    statement = f"DELETE FROM rows WHERE id = {row}"
    client = acts.start_psql("acts", statement, "SELECT 'alive'")
    return client, acts.approval(acts.pending(statement)["id"])


def say(who: Api, card: dict[str, Any], verb: str, **words: Any) -> dict[str, Any]:
    body = {"digest": card["digest"], **words}
    return dict(who.post(f"/v1/approvals/{card['id']}/{verb}", body))


def left(acts: Stack, row: int) -> str:
    return acts.psql("acts", f"SELECT count(*) FROM rows WHERE id = {row}").stdout.strip()


def test_a_denial_at_the_second_stage_reaches_the_client_with_its_reason(
    acts: Stack, signed_in: dict[str, Api]
) -> None:
    client, card = held(acts, 1)
    say(acts.reviewer, card, "approve")
    say(signed_in["sam"], card, "deny", reason="these rows are evidence")
    out, notices = client.communicate(timeout=WAIT)
    assert "denied by a reviewer: these rows are evidence" in notices
    assert "alive" in out
    assert left(acts, 1) == "1"


def test_the_owner_takes_it_back_and_the_client_is_told_and_lives_on(acts: Stack) -> None:
    client, card = held(acts, 2)
    acts.admin.post(f"/v1/approvals/{card['id']}/withdraw", {"reason": "wrong table"})
    out, notices = client.communicate(timeout=WAIT)
    assert "the request was withdrawn: taken back by admin: wrong table" in notices
    assert "alive" in out
    assert left(acts, 2) == "1"


def test_somebody_who_stands_in_lets_it_run(acts: Stack, signed_in: dict[str, Api]) -> None:
    client, card = held(acts, 3)
    say(acts.reviewer, card, "approve")
    with pytest.raises(ApiError):
        say(signed_in["tom"], card, "approve")
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    given = signed_in["sam"].post("/v1/delegations", {"delegate": "tom", "until": until, "chains": ["two"]})
    decided = say(signed_in["tom"], card, "approve")
    out, notices = client.communicate(timeout=WAIT)
    assert "DELETE 1" in out, notices
    assert [(one["name"], one["in_place_of"]) for one in decided["decisions"]] == [("rosa", ""), ("tom", "sam")]
    signed_in["sam"].delete(f"/v1/delegations/{given['id']}")


def test_broken_glass_lets_it_run_and_leaves_a_review(acts: Stack, signed_in: dict[str, Api]) -> None:
    client, card = held(acts, 4)
    with pytest.raises(ApiError, match="owner"):  # the admin owns the bot, and may break no glass for it
        acts.control.apply([document("Group", "emergency", members=["admin", "max"], roles=["break-glass"])])
        say(acts.admin, card, "break-glass", reason="mine")
    say(signed_in["max"], card, "break-glass", reason="the shop is down")
    out, notices = client.communicate(timeout=WAIT)
    assert "DELETE 1" in out, notices
    (review,) = acts.reviewer.get("/v1/break-glass-reviews")["items"]
    assert (review["by"], {one["name"] for one in review["skipped"]}) == ("max", {"rosa", "sam"})
    closed = acts.reviewer.post(
        f"/v1/break-glass-reviews/{card['id']}/close", {"verdict": "justified", "comment": "it was"}
    )
    assert closed["closed_by"] == "rosa"
    # The client had its answer before the outcome was reported.
    eventually(lambda: acts.approval(card["id"])["state"] == "executed", "the outcome")
