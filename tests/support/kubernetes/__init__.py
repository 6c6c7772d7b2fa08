"""A real Kubernetes API server for tests (kube-apiserver 1.32 with an etcd in its process, built by install.sh): it keeps
service accounts and signs their tokens. Thrown away after, also when the test process is killed. With the real time."""

from __future__ import annotations

import contextlib
import secrets
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from control_plane.cli.demo.ports import free_port
from tests.support.watching import watched

_INSTALL = Path(__file__).parent / "install.sh"
_PATIENCE = 90.0


@dataclass
class KubernetesApi:
    """`issuer` is its own address: discovery and keys are there, for everybody who trusts `ca`."""

    issuer: str
    ca: str
    admin: httpx.Client

    def service_account(self, namespace: str, name: str) -> None:
        """There, with its namespace, however often it is asked for."""
        self._create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        self._create(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": name}})

    def token(self, namespace: str, name: str, audience: str, seconds: int = 600) -> str:
        """TokenRequest: what a kubelet projects into a pod."""
        body = {"spec": {"audiences": [audience], "expirationSeconds": seconds}}
        answer = self.admin.post(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", json=body)
        return str(answer.raise_for_status().json()["status"]["token"])

    def keys(self) -> str:
        return self.admin.get("/openid/v1/jwks").raise_for_status().text

    def allow_discovery(self) -> None:
        """Whoever asks may read what tokens are verified with."""
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole"}
        body = {
            "metadata": {"name": "discovery-for-everybody"},
            "roleRef": {**role, "name": "system:service-account-issuer-discovery"},
            "subjects": [{"apiGroup": role["apiGroup"], "kind": "Group", "name": "system:unauthenticated"}],
        }
        self._create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", body)

    def _create(self, path: str, body: dict[str, Any]) -> None:
        answer = self.admin.post(path, json=body)
        if answer.status_code != httpx.codes.CONFLICT:
            answer.raise_for_status()


@contextlib.contextmanager
def running_kubernetes_api() -> Iterator[KubernetesApi]:
    binary = subprocess.run(["sh", _INSTALL, "--look"], capture_output=True, text=True, check=False).stdout.strip()
    if not binary:
        pytest.skip(
            "no Kubernetes API server is built: `make kubernetes` builds one (Go, twelve minutes) and runs these"
        )
    folder, port, token = Path(tempfile.mkdtemp(prefix="assentry-kubernetes-")), free_port(), secrets.token_hex()
    issuer = f"https://127.0.0.1:{port}"
    ca = _files(folder, token)
    command = [binary, f"http://127.0.0.1:{free_port()}", str(folder), *_flags(folder, issuer, port)]
    with watched(folder), (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        headers = {"authorization": f"Bearer {token}"}
        try:
            with httpx.Client(
                base_url=issuer, headers=headers, verify=ssl.create_default_context(cadata=ca), timeout=20
            ) as admin:
                _wait(process, admin, folder / "log")
                api = KubernetesApi(issuer, ca, admin)
                api.allow_discovery()
                yield api
        finally:
            process.kill()
            process.wait()


def _files(folder: Path, token: str) -> str:
    """The server's certificate, the key that it signs tokens with, its admin. Returns who signed the certificate."""
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (folder / "tokens.key").write_bytes(pem)
    (folder / "admin.csv").write_text(f'{token},admin,admin,"system:masters"\n')
    return authority.cert_pem.bytes().decode()


def _flags(folder: Path, issuer: str, port: int) -> list[str]:
    return [
        "--bind-address=127.0.0.1",
        "--advertise-address=192.0.2.1",
        f"--secure-port={port}",
        f"--tls-cert-file={folder}/server.pem",
        f"--tls-private-key-file={folder}/server.pem",
        f"--service-account-issuer={issuer}",
        f"--service-account-jwks-uri={issuer}/openid/v1/jwks",
        f"--service-account-key-file={folder}/tokens.key",
        f"--service-account-signing-key-file={folder}/tokens.key",
        f"--token-auth-file={folder}/admin.csv",
        "--authorization-mode=RBAC",
        "--disable-admission-plugins=ServiceAccount",
        "--service-cluster-ip-range=10.0.0.0/24",
    ]


def _wait(process: subprocess.Popen[bytes], admin: httpx.Client, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if admin.get("/readyz").is_success:
                return
        time.sleep(0.2)
    raise RuntimeError(f"the Kubernetes API server does not start: {log.read_text(errors='replace')[-2000:]}")


@pytest.fixture(scope="session")
def kubernetes_api() -> Iterator[KubernetesApi]:
    with running_kubernetes_api() as server:
        yield server
