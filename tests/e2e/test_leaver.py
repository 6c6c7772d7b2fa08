"""A contractor's whole time: pushed by SCIM, signed in by OpenID Connect, psql by a credential helper, and gone.

The provider is a real one (npm's certified oidc-provider), the browser Chromium, the client psql, the push what an
identity provider sends. When the push says that the person has left, a statement waits for a reviewer.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect

from control_plane.cli.config import Profile
from tests.e2e.test_cli import RUN, Cli
from tests.e2e.test_console import browser
from tests.support.oidc import OidcProvider
from tests.support.stack import Stack, document, eventually
from tests.support.terminal import Terminal

__all__ = ["browser"]
NAME, PROVIDER, SECRET = "lin", "corp", "corp-oidc"
LINK = re.compile(r"https?://\S+/device\?code=([A-Z]{4}-[A-Z]{4})")
HELD = "DELETE FROM orders WHERE id = 4712"
AT_MOST_SECONDS = 1.0
WAIT = 30


class Scim:
    """What a provider pushes."""

    def __init__(self, stack: Stack) -> None:
        made = stack.admin.post("/v1/scim-clients", {"name": PROVIDER, "provider": PROVIDER})
        token = stack.admin.post(f"/v1/scim-clients/{PROVIDER}/tokens", {})["token"]
        self._http = httpx.Client(base_url=made["url"], headers={"authorization": f"Bearer {token}"}, timeout=WAIT)

    def send(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        answer = self._http.request(method, path, json=body)
        assert answer.is_success, answer.text
        return dict(answer.json())

    def close(self) -> None:
        self._http.close()


@pytest.fixture(scope="module")
def scim(stack: Stack, oidc_provider: OidcProvider) -> Iterator[Scim]:
    callback = f"{stack.control.url}/sign-in/oidc/{PROVIDER}/callback"
    oidc_provider.client("leaver", [callback], secret="the-console-and-the-provider-share-it")
    oidc_provider.person(NAME, groups=["Contractors"], email="lin@example.com")
    put(stack, f"/v1/secrets/{SECRET}", {"value": "the-console-and-the-provider-share-it"})
    oidc = {"issuer": oidc_provider.issuer, "client_id": "leaver", "client_secret": SECRET}
    stack.control.apply(
        [
            document("Group", "contractors", roles=["requester"]),
            document(
                "IdentityProvider",
                PROVIDER,
                title="Example Corp",
                oidc=oidc,
                groups={"map": {"Contractors": "contractors"}},
            ),
        ]
    )
    made = Scim(stack)
    yield made
    made.close()
    stack.remove("identity-providers", PROVIDER)


def put(stack: Stack, path: str, body: dict[str, Any]) -> None:
    profile = stack.control.admin
    headers = {"Authorization": f"Bearer {profile.token}"}
    httpx.put(profile.url + path, json=body, headers=headers).raise_for_status()


@pytest.fixture
def lin(stack: Stack, scim: Scim, browser: Browser, tmp_path: Path) -> Cli:
    """Signed in at the command line, by a browser that the provider signed in."""
    cli = Cli(tmp_path, Profile(stack.control.url))
    page = browser.new_context().new_page()
    with Terminal([*RUN, "login", "--no-browser"], cli.environment) as terminal:
        link = LINK.search(terminal.until("confirm there that the code is"))
        assert link
        page.goto(link[0])
        page.get_by_role("link", name="Sign in with Example Corp").click()
        page.locator("input[name=name]").fill(NAME)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_label("The code that")).to_have_value(link[1])
        page.get_by_role("button", name="Go on").click()
        page.get_by_role("button", name="Confirm: I began this").click()
        terminal.until("kept in")
        assert terminal.process.wait(WAIT) == 0
    page.context.close()
    return cli


def test_whoever_leaves_in_the_middle_of_a_hold_is_out_within_a_second_and_nothing_ran(
    stack: Stack, scim: Scim, request: pytest.FixtureRequest
) -> None:
    pushed = scim.send("POST", "/Users", userName=NAME, externalId=NAME, active=True)
    lin: Cli = request.getfixturevalue("lin")
    who = lin.json("whoami")
    assert (who["name"], who["groups"]) == (NAME, ["contractors"])

    address = f"127.0.0.1:{stack.port('shop')}"
    lin.said("credential-helper", "psql", "shop", "--address", address)  # remembers the address
    psql = subprocess.Popen(
        ["sh", "-c", f'eval "$({" ".join(map(quoted, RUN))} credential-helper psql shop)" && exec psql -X -c "$0"', HELD],
        env=lin.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    pending = stack.pending(HELD)

    began = time.monotonic()
    scim.send(
        "PATCH", f"/Users/{pushed['id']}",
        schemas=["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        Operations=[{"op": "Replace", "path": "active", "value": "False"}],
    )  # fmt: skip
    _, said = psql.communicate(timeout=WAIT)
    lasted = time.monotonic() - began

    print(f"ended {1000 * lasted:.0f} ms after the push began")
    assert lasted < AT_MOST_SECONDS
    assert psql.returncode != 0, said
    assert stack.approval(pending["id"])["state"] == "voided"
    (ended,) = stack.audited("identity.ended", subject=NAME)
    assert ended["data"]["holds"] == [pending["id"]]
    assert PROVIDER in ended["data"]["reason"]
    kinds = [one["kind"] for one in stack.reviewer.pages("/v1/audit", 100, subject=pending["id"])]
    assert kinds == ["approval.voided", "approval.requested"]
    assert "login` again" in lin.refused("whoami")
    eventually(lambda: not [one for one in stack.sessions(open=True) if one["requester"] == NAME], "no session is left")


def quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"
