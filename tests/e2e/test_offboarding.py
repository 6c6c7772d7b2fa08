"""A provider says in the middle of a hold that somebody has left: measured from its push to the end of each client.

Both ways in which providers say it, `active: false` and DELETE, and what the person answers for ends with them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.cli.client import Api
from tests.e2e.test_cli import Cli
from tests.support.stack import MACHINES_END, Stack, document, eventually

SCIM, AT_MOST_SECONDS, WAIT = "directory", 1.0, 30
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


@pytest.fixture(scope="module")
def cli(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    return Cli(Path(tmp_path_factory.mktemp("admin")), stack.control.admin)


@pytest.fixture(scope="module")
def directory(stack: Stack, cli: Cli) -> Iterator[httpx.Client]:
    """What pushes. The group that it calls Contractors is one that is here, which may ask for things."""
    stack.control.apply([document("Group", "temporary", roles=["requester"])])
    made = cli.json("scim-clients", "create", SCIM, "--description", "the company's directory")
    assert "Contractors, it is temporary" in cli.said(
        "scim-clients", "link", SCIM, "Contractors", "--by-name", "--group", "temporary"
    )
    headers = {"authorization": f"Bearer {made['token']}"}
    with httpx.Client(base_url=made["url"], headers=headers, timeout=WAIT) as http:
        yield http
    cli.said("scim-clients", "delete", SCIM, "--people", "end")
    for name in ("noa", "ines"):
        stack.admin.delete(f"/v1/identities/{name}-bot")
        stack.admin.delete(f"/v1/identities/{name}")


class Leaver:
    """A person who was pushed, with a machine; each has a psql that waits for a reviewer."""

    def __init__(self, stack: Stack, directory: httpx.Client, name: str, row: int) -> None:
        self.stack, self.name, self.bot, self.row = stack, name, f"{name}-bot", row
        self.id = push(directory, "POST", "/Users", userName=f"{name}@example.com", externalId=name)["id"]
        machine = {"kind": "machine", "owner": name, "purpose": "works for them", "ends_at": MACHINES_END}
        stack.control.apply([document("Identity", self.bot, **machine)])
        self.held = {name: f"DELETE FROM orders WHERE id = {row}", self.bot: f"DELETE FROM orders WHERE id = {row + 1}"}
        self.ended: dict[str, float] = {}

    def begin(self, tokens: dict[str, str]) -> None:
        self.tokens = tokens
        self._clients = {
            who: self.stack.start_psql("shop", statement, PGUSER=who, PGPASSWORD=tokens[who])
            for who, statement in self.held.items()
        }
        self.requests = {who: self.stack.pending(statement)["id"] for who, statement in self.held.items()}
        self._waiting = [threading.Thread(target=self._wait, args=(who,)) for who in self._clients]
        for one in self._waiting:
            one.start()

    def _wait(self, who: str) -> None:
        self._clients[who].communicate()
        self.ended[who] = time.monotonic()

    def seconds_since(self, began: float) -> dict[str, float]:
        for one in self._waiting:
            one.join(WAIT)
        return {who: ended - began for who, ended in self.ended.items()}

    @property
    def statuses(self) -> set[int | None]:
        return {one.returncode for one in self._clients.values()}


def push(directory: httpx.Client, method: str, path: str, **body: Any) -> dict[str, Any]:
    answer = directory.request(method, path, json=body or None)
    assert answer.is_success, answer.text
    return dict(answer.json()) if answer.content else {}


def person_token(stack: Stack, name: str) -> str:
    """For the target, of a person who signs in here."""
    with Api(stack.control.sign_in(name, stack.control.give_password(name))) as api:
        return str(api.post("/v1/tokens", {})["token"])


@pytest.mark.parametrize(
    ("name", "row", "how", "why"),
    [
        ("noa", 41, "not active", "scim:directory says that the person is not active any more"),
        ("ines", 43, "deleted", "scim:directory has deleted the person"),
    ],
)
def test_who_leaves_in_the_middle_of_a_hold_is_out_within_a_second_with_what_they_answer_for(
    stack: Stack, directory: httpx.Client, cli: Cli, name: str, row: int, how: str, why: str
) -> None:
    leaver = Leaver(stack, directory, name, row)
    members = [{"value": leaver.id}]
    found = push(directory, "GET", '/Groups?filter=displayName eq "Contractors"')["Resources"]
    if found:
        add = {"op": "Add", "path": "members", "value": members}
        push(directory, "PATCH", f"/Groups/{found[0]['id']}", schemas=[PATCH], Operations=[add])
    else:
        push(directory, "POST", "/Groups", displayName="Contractors", members=members)
    stack.control.apply([document("Group", "temporary-bots", members=[leaver.bot], roles=["requester"])])
    leaver.begin({name: person_token(stack, name), leaver.bot: stack.control.machine_token(leaver.bot)})

    began = time.monotonic()
    if how == "deleted":
        push(directory, "DELETE", f"/Users/{leaver.id}")
    else:
        disable = {"op": "Replace", "path": "active", "value": False}
        push(directory, "PATCH", f"/Users/{leaver.id}", schemas=[PATCH], Operations=[disable])
    lasted = leaver.seconds_since(began)

    print(f"{how}: ended after {', '.join(f'{who} {1000 * one:.0f} ms' for who, one in lasted.items())}")
    assert set(lasted) == set(leaver.held)
    assert max(lasted.values()) < AT_MOST_SECONDS, lasted
    assert 0 not in leaver.statuses
    _nothing_ran(stack, leaver)
    _the_log_says_why(stack, leaver, why)
    for who, token in leaver.tokens.items():
        again = stack.psql("shop", "SELECT 1", PGUSER=who, PGPASSWORD=token)
        assert again.returncode != 0, who
    listed = {one["name"]: one for one in cli.json("scim-clients", "list")}
    assert (listed[SCIM]["people"], len(listed[SCIM]["tokens"])) == (1, 1)  # whom it has disabled is still its own


def _nothing_ran(stack: Stack, leaver: Leaver) -> None:
    counted = stack.psql("shop", f"SELECT count(*) FROM orders WHERE id IN ({leaver.row}, {leaver.row + 1})")
    assert counted.stdout.strip() == "2"
    for request in leaver.requests.values():
        assert stack.approval(request)["state"] == "voided"
        kinds = [one["kind"] for one in stack.reviewer.pages("/v1/audit", 100, subject=request)]
        assert kinds == ["approval.voided", "approval.requested"]


def _the_log_says_why(stack: Stack, leaver: Leaver, why: str) -> None:
    (ended,) = stack.audited("identity.ended", subject=leaver.name)
    assert (ended["actor"]["name"], ended["data"]["reason"]) == ("scim:directory", why)
    assert set(ended["data"]["holds"]) == set(leaver.requests.values())
    assert ended["data"]["machines"] == [leaver.bot]
    names = {leaver.name, leaver.bot}
    eventually(lambda: not [one for one in stack.sessions(open=True) if one["requester"] in names], "all are closed")
