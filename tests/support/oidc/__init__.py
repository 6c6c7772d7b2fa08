"""A real OpenID provider for tests: npm's certified oidc-provider (server.mjs), fetched once by install.sh.

One company's: people with groups, several clients, machines; code with PKCE, refresh, the device flow, client
credentials as JWTs, back-channel logout, new keys on demand. Over plain HTTP on loopback, with the real time.
Everybody who tests shares it: call clients and people so that they are yours.

    oidc_provider.client("console-1", ["https://here.example/callback"], secret="…")
    oidc_provider.person("ada", groups=["DBA Team"], email="ada@example.com")
    back = oidc_provider.browser().sign_in(authorization_url, "ada")   # where the browser is sent, off the provider
    jwt = oidc_provider.machine_token("ci-1", "https://assentry.example.org", repository="acme/shop")
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

from tests.support.watching import watched

_HERE = Path(__file__).parent
_GRANTS = (
    "authorization_code",
    "refresh_token",
    "client_credentials",
    "urn:ietf:params:oauth:grant-type:device_code",
)
_FIELD = re.compile(r'<input type="hidden" name="(?P<name>\w+)" value="(?P<value>[^"]*)"')
_FORM = re.compile(r'action="(?P<action>[^"]*)"')
_MOST_STEPS = 20


class Browser:
    """One browser with its cookies, at the provider only."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._http = httpx.Client(base_url=issuer, timeout=20)

    def sign_in(self, url: str, name: str) -> str:
        """Follows where the provider leads, signs in when it asks; the first address that is not the provider's."""
        answer = self._http.get(url)
        for _ in range(_MOST_STEPS):
            if answer.is_redirect:
                url = urljoin(str(answer.url), answer.headers["location"])
                if not url.startswith(f"{self._issuer}/"):
                    return url
                answer = self._http.get(url)
            elif "/interaction/" in str(answer.url):
                answer = self._http.post(str(answer.url), data={"name": name})
            else:
                raise AssertionError(f"the provider says {answer.status_code}: {answer.text}")
        raise AssertionError("the provider leads nowhere")

    def approve(self, verification_uri: str, user_code: str, name: str) -> str:
        """The device flow's other side; what the provider says in the end."""
        answer = self._post_form(self._http.get(verification_uri), user_code=user_code)
        answer = self._post_form(answer)
        for _ in range(_MOST_STEPS):
            if answer.is_redirect:
                answer = self._http.get(answer.headers["location"])
            elif "/interaction/" in str(answer.url):
                answer = self._http.post(str(answer.url), data={"name": name})
            else:
                return answer.text
        raise AssertionError("the provider leads nowhere")

    def refuse(self, verification_uri: str, user_code: str) -> None:
        """Says no to the device."""
        answer = self._post_form(self._http.get(verification_uri), user_code=user_code)
        self._post_form(answer, without=("confirm",), abort="yes")

    def sign_out(self, url: str = "/session/end") -> str:
        """At the provider; where it leads in the end, empty when it shows a page of its own."""
        answer = self._post_form(self._http.get(url), logout="yes")
        return str(answer.headers.get("location", ""))

    def close(self) -> None:
        self._http.close()

    def _post_form(self, page: httpx.Response, without: Sequence[str] = (), **more: str) -> httpx.Response:
        form = _FORM.search(page.text)
        assert form, f"no form: {page.status_code} {page.text}"
        fields = {found["name"]: found["value"] for found in _FIELD.finditer(page.text) if found["name"] not in without}
        return self._http.post(form["action"], data={**fields, **more})


class OidcProvider:
    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self._browsers: list[Browser] = []
        self._http = httpx.Client(base_url=issuer, timeout=20)

    def client(self, client_id: str, redirect_uris: Sequence[str] = (), secret: str = "", **metadata: Any) -> None:
        """Registered, or changed. Without a secret: a public client."""
        grants = [grant for grant in _GRANTS if (redirect_uris or "code" not in grant or "device" in grant)]
        if not secret:
            grants.remove("client_credentials")
        told = {
            "client_id": client_id,
            "redirect_uris": list(redirect_uris),
            "grant_types": grants,
            "response_types": ["code"] if redirect_uris else [],
            **({"client_secret": secret} if secret else {"token_endpoint_auth_method": "none"}),
            **metadata,
        }
        self._order("client", told)

    def person(
        self,
        name: str,
        groups: Sequence[str] = (),
        email: str = "",
        *,
        verified: bool = True,
        acr: str = "",
        amr: Sequence[str] = ("pwd",),
        overage: bool = False,
        disabled: bool = False,
        **claims: Any,
    ) -> None:
        """Somebody who can sign in, or is changed. The name is the subject. `overage`: groups by userinfo only."""
        told = {"groups": list(groups), **({"email": email, "email_verified": verified} if email else {}), **claims}
        self._order(
            "person",
            {
                "name": name,
                "claims": told,
                "acr": acr,
                "amr": list(amr),
                "overage": overage,
                "disabled": disabled,
            },
        )

    def machine_token(self, client_id: str, audience: str, **claims: Any) -> str:
        """A signed access token by client credentials: `sub` is the client, `aud` the audience (an absolute URI)."""
        secret = f"secret-of-{client_id}"
        self.client(client_id, (), secret)
        self._order("machine", {"client_id": client_id, "claims": claims})
        body = {"grant_type": "client_credentials", "resource": audience, "scope": "use"}
        answer = self._http.post("/token", data=body, auth=(client_id, secret))
        assert answer.status_code == httpx.codes.OK, answer.text
        return str(answer.json()["access_token"])

    def new_keys(self, *, keep: bool = False) -> None:
        """Signs with new keys from now on; the old ones are announced beside them, or gone."""
        self._order("keys", {"keep": keep})

    def browser(self) -> Browser:
        made = Browser(self.issuer)
        self._browsers.append(made)
        return made

    def _order(self, what: str, told: dict[str, Any]) -> None:
        self._http.post(f"/test/{what}", json=told).raise_for_status()

    def close(self) -> None:
        self._http.close()
        for browser in self._browsers:
            browser.close()


@contextlib.contextmanager
def running_oidc_provider() -> Iterator[OidcProvider]:
    script = subprocess.run(["sh", _HERE / "install.sh"], capture_output=True, text=True, check=False)
    modules = script.stdout.strip()
    if not modules:
        raise RuntimeError(f"no OpenID provider for the tests: run `make system`; {script.stderr}")
    folder = Path(tempfile.mkdtemp(prefix="assentry-oidc-"))
    with watched(folder), (folder / "log").open("wb") as log:
        command: list[str | Path] = ["node", _HERE / "server.mjs", modules, folder]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise RuntimeError((folder / "log").read_text())
            provider = OidcProvider(json.loads(line)["issuer"])
            yield provider
            provider.close()
        finally:
            process.kill()
            process.communicate()


@pytest.fixture(scope="session")
def oidc_provider() -> Iterator[OidcProvider]:
    with running_oidc_provider() as server:
        yield server
