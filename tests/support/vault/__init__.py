"""A real Vault for tests (1.21, built by install.sh): storage in memory, TLS, thrown away after, also when the test
process is killed. OpenBao, which speaks the same API, cannot be had here."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hvac
import pytest
import trustme

from control_plane.cli.demo.ports import free_port
from tests.support.pgbouncer import wait_for_port
from tests.support.watching import watched

_INSTALL = Path(__file__).parent / "install.sh"


@dataclass
class VaultServer:
    """`root` may do everything."""

    port: int
    folder: Path
    root: hvac.Client
    process: subprocess.Popen[bytes]

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def policy(self, name: str, rules: dict[str, list[str]]) -> None:
        text = "".join(
            f'path "{path}" {{ capabilities = {str(able).replace(chr(39), chr(34))} }}\n'
            for path, able in rules.items()
        )
        self.root.sys.create_or_update_policy(name, text)

    def approle(self, name: str, rules: dict[str, list[str]], **settings: Any) -> tuple[str, Path]:
        """The id of a role that may do as the rules say, and the file with its secret id."""
        self.policy(name, rules)
        self.root.auth.approle.create_or_update_approle(name, token_policies=[name], **settings)
        file = self.folder / f"{name}.secret-id"
        file.write_text(self.root.auth.approle.generate_secret_id(name)["data"]["secret_id"] + "\n")
        return self.root.auth.approle.read_role_id(name)["data"]["role_id"], file

    def token(self, name: str, rules: dict[str, list[str]], **settings: Any) -> Path:
        """The file with a token that may do as the rules say."""
        self.policy(name, rules)
        file = self.folder / f"{name}.token"
        file.write_text(self.root.auth.token.create(policies=[name], **settings)["auth"]["client_token"])
        return file


@contextlib.contextmanager
def running_vault() -> Iterator[VaultServer]:
    """Uninitialised at first; then with kv, transit, database, aws, kubernetes engines and two ways to sign in."""
    binary = subprocess.run(["sh", _INSTALL], capture_output=True, text=True, check=False).stdout.strip()
    if not binary:
        raise RuntimeError("no Vault for the tests, and no Go to build it with: run `make system`")
    folder, port = Path(tempfile.mkdtemp(prefix="assentry-vault-")), free_port()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    with watched(folder), (folder / "log").open("wb") as log:
        command = [binary, f"127.0.0.1:{port}", folder / "server.pem", folder / "server.pem"]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_for_port(port)
            root = hvac.Client(f"https://127.0.0.1:{port}", token="", verify=str(folder / "ca.pem"), timeout=10)
            _begin(root)
            yield VaultServer(port, folder, root, process)
            root.adapter.close()
        finally:
            process.kill()
            process.wait()


def _begin(root: hvac.Client) -> None:
    made = root.sys.initialize(secret_shares=1, secret_threshold=1)
    root.token = made["root_token"]
    root.sys.submit_unseal_key(made["keys"][0])
    for engine in ("transit", "database", "aws", "kubernetes"):
        root.sys.enable_secrets_engine(engine)
    root.sys.enable_secrets_engine("kv", "secret", options={"version": "2"})
    root.sys.enable_auth_method("approle")
    root.sys.enable_auth_method("kubernetes")


@pytest.fixture(scope="session")
def vault() -> Iterator[VaultServer]:
    with running_vault() as server:
        yield server
