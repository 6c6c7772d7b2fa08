"""A real SAML 2.0 identity provider for tests: SimpleSAMLphp under PHP's own server, thrown away after."""

from __future__ import annotations

import contextlib
import html
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

from control_plane.cli.demo.ports import free_port
from tests.support.pgbouncer import wait_for_port
from tests.support.watching import watched

_HERE = Path(__file__).parent
PEOPLE: dict[str, dict[str, list[str]]] = {
    "ada:ada-password": {
        "uid": ["ada"],
        "email": ["ada@example.org"],
        "groups": ["DBA Team", "Everybody"],
    },
    "eve:eve-password": {"uid": ["eve"], "email": ["eve@example.org"], "groups": ["Everybody"]},
}


@dataclass
class Posted:
    """The form that the provider has the browser send."""

    address: str
    fields: dict[str, str]


@dataclass
class SamlProvider:
    """It reads what is written here anew at every request."""

    port: int
    folder: Path
    provider: dict[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def entity(self) -> str:
        return f"{self.address}/entity"

    @property
    def metadata_address(self) -> str:
        return f"{self.address}/simplesaml/saml2/idp/metadata.php"

    def metadata(self) -> str:
        return httpx.get(self.metadata_address).raise_for_status().text

    def behaves(self, **options: Any) -> None:
        """Its own settings, with dots as two underscores: assertion__encryption=True. Without any: as at first."""
        self.provider = {name.replace("__", "."): value for name, value in options.items()}
        self._write()

    def knows(self, services: str) -> None:
        """The metadata of the one service provider that it answers to."""
        (self.folder / "services.xml").write_text(services)

    def browser(self) -> httpx.Client:
        return httpx.Client(timeout=30, follow_redirects=True)

    def sign_in(self, address: str, name: str = "ada", browser: httpx.Client | None = None) -> Posted:
        """What a person's browser does there, begun with the address that the service provider sent it to."""
        with contextlib.ExitStack() as stack:
            client = browser or stack.enter_context(self.browser())
            page = client.get(address)
            if 'name="password"' in page.text:
                form = _form(page)
                given = {"username": name, "password": f"{name}-password"}
                page = client.post(form.address, data={**form.fields, **given})
            return _form(page)

    def add_key(self, name: str) -> None:
        """A key pair in NAME.key and NAME.crt."""
        folder = self.folder / "cert"
        words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256", "-days", "30", "-subj"]
        files = ("-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt")
        subprocess.run(["openssl", *words, f"/CN={name}", *files], check=True, capture_output=True)

    def _write(self) -> None:
        told = {"address": self.address, "provider": self.provider or {"sign.logout": True}}
        fresh = self.folder / "options.fresh"
        fresh.write_text(json.dumps(told))
        fresh.replace(self.folder / "options.json")


def _form(page: httpx.Response) -> Posted:
    """The first form of a page, as it stands there."""
    found = re.search(r'<form[^>]*action="([^"]*)"', page.text)
    if found is None:
        raise AssertionError(f"{page.status_code} at {page.url.path}: {_told(page.text)}")
    fields = {}
    for tag in re.findall(r"<input[^>]*>", page.text):
        said = dict(re.findall(r'(\w+)="([^"]*)"', tag))
        if said.get("type") == "hidden" and "name" in said:
            fields[said["name"]] = html.unescape(said.get("value", ""))
    return Posted(urljoin(str(page.url), html.unescape(found.group(1)) or str(page.url)), fields)


def _told(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text))[:2000]


@contextlib.contextmanager
def running_saml_provider() -> Iterator[SamlProvider]:
    """Raises RuntimeError where it cannot be had."""
    site = subprocess.run(["sh", _HERE / "install.sh"], capture_output=True, text=True, check=False).stdout.strip()
    if not site:
        raise RuntimeError("no SimpleSAMLphp for the tests: run `make system` as a user who may install packages")
    folder, port = Path(tempfile.mkdtemp(prefix="assentry-saml-")), free_port()
    shutil.copytree(_HERE / "site", folder, dirs_exist_ok=True)
    for name in ("cert", "log", "data", "tmp", "sessions"):
        (folder / name).mkdir()
    (folder / "people.json").write_text(json.dumps(PEOPLE))
    provider = SamlProvider(port, folder)
    provider.add_key("first")
    provider.behaves()
    command = ["php", "-d", "display_errors=stderr", "-S", f"127.0.0.1:{port}", folder / "router.php"]
    environment = {**os.environ, "SIMPLESAMLPHP_CONFIG_DIR": str(folder), "PHP_CLI_SERVER_WORKERS": "2"}
    with watched(folder), (folder / "log" / "php").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder)
        try:
            wait_for_port(port)
            yield provider
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def running_provider() -> Iterator[SamlProvider]:
    with running_saml_provider() as provider:
        yield provider


@pytest.fixture
def saml_provider(running_provider: SamlProvider) -> Iterator[SamlProvider]:
    yield running_provider
    running_provider.behaves()
