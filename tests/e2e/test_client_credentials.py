"""Credentials that clients get by themselves, with the real clients: psql and others of libpq, kubectl, AWS's own."""

from __future__ import annotations

import base64
import json
import os
import shutil
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from control_plane.agents.authority import CertificateAuthority
from control_plane.cli import aws_credentials, memory_files
from data_plane.gate.identity import Claims, Unaccepted, read_certificate, read_token
from tests.e2e.test_cli import Cli
from tests.support.sealing import files_of
from tests.support.stack import HOST, REQUESTER, Stack, eventually

COMMAND = Path(sys.executable).parent  # where `assentry` is, for what clients run
READ = ("-X", "-A", "-t", "-c", "SELECT name FROM customers WHERE id = 1")


@pytest.fixture
def bot(stack: Stack, tmp_path: Path) -> Cli:
    """The machine at its command line, with a key of its own and the addresses of its targets."""
    key = stack.admin.post("/v1/service-account-keys", {"identity": REQUESTER, "ttl_days": 1})["key"]
    path = f"{COMMAND}:{os.environ['PATH']}"
    return Cli(
        tmp_path, ASSENTRY_URL=stack.control.url, ASSENTRY_TOKEN=key, PATH=path, XDG_RUNTIME_DIR=str(tmp_path / "run")
    )


def claims(stack: Stack, token: str) -> Claims | Unaccepted:
    """As an agent reads it, with the keys that it has pinned."""
    listed = stack.reviewer.get("/v1/audit/public-keys")
    keys = {key["key_id"]: base64.b64decode(key["public_key"]) for key in listed}
    return read_token(token, keys=keys, deployment="assentry", now=datetime.now(UTC).timestamp())


# -------------------------------------------------------------- libpq


def test_psql_runs_with_what_the_helper_printed_and_nothing_was_written(bot: Cli, stack: Stack, tmp_path: Path) -> None:
    address = f"{HOST}:{stack.port('shop')}"
    said = bot.said("credential-helper", "psql", "shop", "--address", address)
    script = f'eval "$1"; exec psql {" ".join(READ[:3])} -c "{READ[4]}"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", said], env=bot.environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "Ada", done.stderr
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["profile.json"]
    assert "eyJ" not in bot.profile.read_text()


def test_elsewhere_the_helper_puts_a_certificate_where_it_goes_with_the_session(
    bot: Cli, stack: Stack, tmp_path: Path
) -> None:
    said = bot.said("credential-helper", "psql", "shop", "--address", f"LOCALHOST:{stack.port('shop')}")
    exported = dict(line.removeprefix("export ").split("=", 1) for line in said.splitlines())
    assert "PGPASSWORD" not in exported
    key = Path(exported["PGSSLKEY"])
    assert key.is_relative_to(tmp_path / "run")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    done = subprocess.run(
        ["psql", *READ], env={**bot.environment, **exported}, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "Ada", done.stderr


def test_connect_elsewhere_keeps_the_certificate_in_memory(bot: Cli, stack: Stack, tmp_path: Path) -> None:
    """`LOCALHOST` is this machine, but nothing that the command takes for it."""
    assert memory_files.available()
    address = f"LOCALHOST:{stack.port('shop')}"
    ask = (
        "-X",
        "-A",
        "-t",
        "-c",
        "SELECT name FROM customers WHERE id = 1",
        "-c",
        "\\conninfo",
        "-c",
        "\\! ls -l $PGSSLKEY",
    )
    done = bot.run_apart("connect", "shop", "--address", address, "--", *ask)
    assert done.stdout.startswith("Ada\n"), done.stderr
    assert "SSL connection" in done.stdout
    assert "memfd:key" in done.stdout
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["profile.json"]
    newest = stack.admin.get("/v1/credentials")["items"]
    mine = [one for one in newest if one["kind"] == "certificate" and one["targets"] == ["shop"]]
    assert eventually(lambda: _used(stack, {one["id"] for one in mine}), "the session's report")


def _used(stack: Stack, ids: set[str]) -> bool:
    listed = stack.admin.pages("/v1/credentials", 1000)
    return any(one["last_used_at"] for one in listed if one["id"] in ids)


def test_connect_starts_any_client_of_libpq(bot: Cli, stack: Stack) -> None:
    address = f"{HOST}:{stack.port('open')}"
    done = bot.run_apart("connect", "open", "--address", address, "--with", "pg_isready")
    assert "accepting connections" in done.stdout, done.stderr
    assert "no-such-client is not installed" in bot.refused("connect", "open", "--with", "no-such-client")


def test_what_connect_prints_runs_in_a_shell(bot: Cli, stack: Stack) -> None:
    address = f"{HOST}:{stack.port('shop')}"
    shown = bot.said("connect", "shop", "--address", address, "--network", "127.0.0.0/8", "--minutes", "5", "--print")
    script = f"{shown.strip()} {' '.join(READ[:3])} -c '{READ[4]}'"
    done = subprocess.run(["sh", "-c", script], env=bot.environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "Ada", done.stderr


def test_a_token_for_another_target_or_network_is_refused_here(bot: Cli, stack: Stack) -> None:
    for words, reason in (
        (["open"], "the credential is for other targets"),
        (["shop", "--network", "192.0.2.0/24"], "the credential is for other networks"),
    ):
        token = bot.said("token", *words).strip()
        done = stack.psql("shop", "SELECT 1", PGPASSWORD=token)
        assert done.returncode == 2
        assert "the credential was not accepted" in done.stderr
        assert "network" not in done.stderr
        eventually(
            lambda why=reason: why in {one["data"]["reason"] for one in stack.audited("session.refused")}, reason
        )


def test_a_certificate_for_another_target_or_network_is_refused_here(bot: Cli, stack: Stack, tmp_path: Path) -> None:
    for words, good in ((["shop"], True), (["open"], False), (["--network", "192.0.2.0/24"], False)):
        issued = bot.json("certificate", *words, "--folder", str(tmp_path / "c"))
        settings = {"PGSSLROOTCERT": issued["ca"], "PGSSLCERT": issued["certificate"], "PGSSLKEY": issued["key"]}
        done = stack.psql("shop", "SELECT 1", PGPASSWORD="", PGSSLMODE="verify-full", **settings)
        assert (done.returncode == 0) == good, done.stderr


# -------------------------------------------------------------- kubectl


class Cluster:
    """What answers kubectl as an agent will: a certificate of the deployment's authority; it keeps what it was shown."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.tokens: list[str] = []
        self.certificates: list[bytes] = []
        state = stack.control.state
        authority = CertificateAuthority.open(state / "ca", datetime.now(UTC), files_of(state))
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        request = builder.add_extension(names, critical=False).sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
        now = datetime.now(UTC)
        certificate, _ = authority.listener(request, "cluster", now, now + timedelta(hours=1))
        (folder / "server.pem").write_bytes(
            certificate + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem")
        context.load_verify_locations(cadata=authority.certificates.decode())
        context.verify_mode = ssl.CERT_OPTIONAL
        self.server = ThreadingHTTPServer((HOST, 0), self._handler())
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://localhost:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def _handler(cluster) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                cluster.tokens.append(self.headers.get("authorization", ""))
                cluster.certificates.append(self.connection.getpeercert(binary_form=True) or b"")
                body = json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Success"}).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        return Handler


@pytest.fixture
def cluster(stack: Stack, tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(stack, tmp_path)
    yield made
    made.server.shutdown()
    made.server.server_close()


def kubectl(bot: Cli, kubeconfig: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("kubectl") is None:
        raise RuntimeError("no kubectl for the tests: install it")
    file = bot.profile.parent / "kubeconfig"
    file.write_text(kubeconfig)
    command = ["kubectl", "--kubeconfig", str(file), "get", "--raw", "/livez"]
    return subprocess.run(command, env=bot.environment, capture_output=True, text=True, check=False, timeout=60)


def test_kubectl_asks_for_a_token_by_the_kubeconfig_that_the_helper_prints(
    bot: Cli, stack: Stack, cluster: Cluster
) -> None:
    kubeconfig = bot.said("credential-helper", "kubernetes", "shop", "--network", "127.0.0.1", "--setup", cluster.url)
    assert "token" not in kubeconfig
    done = kubectl(bot, kubeconfig)
    assert "Success" in done.stdout, done.stderr
    shown = cluster.tokens[-1]
    read = claims(stack, shown.removeprefix("Bearer "))
    assert isinstance(read, Claims), read
    assert (read.targets, read.networks) == (("shop",), ("127.0.0.1/32",))


def test_kubectl_takes_a_certificate_as_well(bot: Cli, cluster: Cluster) -> None:
    kubeconfig = bot.said("credential-helper", "kubernetes", "shop", "--setup", cluster.url)
    done = kubectl(bot, kubeconfig.replace("      - shop\n", "      - shop\n      - --certificate\n"))
    assert "Success" in done.stdout, done.stderr
    read = read_certificate(cluster.certificates[-1], now=datetime.now(UTC).timestamp())
    assert isinstance(read, Claims), read
    assert read.targets == ("shop",)


def test_kubectl_is_answered_in_the_version_that_it_asks_for(bot: Cli) -> None:
    for version in ("v1", "v1beta1"):
        info = json.dumps(
            {"apiVersion": f"client.authentication.k8s.io/{version}", "kind": "ExecCredential", "spec": {}}
        )
        answer = json.loads(bot.said("credential-helper", "kubernetes", "shop", KUBERNETES_EXEC_INFO=info))
        assert (answer["apiVersion"], answer["kind"]) == (f"client.authentication.k8s.io/{version}", "ExecCredential")
        assert set(answer["status"]) == {"expirationTimestamp", "token"}
    for wrong in ("{", '{"apiVersion": "client.authentication.k8s.io/v1alpha1"}', '{"apiVersion": 1}'):
        assert "error" in bot.refused("credential-helper", "kubernetes", "shop", KUBERNETES_EXEC_INFO=wrong)


# -------------------------------------------------------------- AWS


def test_awss_own_library_asks_for_keys_and_signs_with_them(bot: Cli, stack: Stack, monkeypatch: Any) -> None:
    profile = bot.said("credential-helper", "aws", "shop", "--setup", "https://agent.example.com:9443")
    (bot.profile.parent / "aws").write_text(f"{profile}region = eu-central-1\n")
    for name, value in {**bot.environment, "AWS_CONFIG_FILE": str(bot.profile.parent / "aws")}.items():
        monkeypatch.setenv(name, value)
    session = boto3.Session(profile_name="shop")
    assert session.client("s3").meta.endpoint_url == "https://agent.example.com:9443"
    found = session.get_credentials()
    assert found is not None
    frozen = found.get_frozen_credentials()
    read = claims(stack, frozen.token)
    assert isinstance(read, Claims), read
    assert (read.credential_id, read.targets) == (frozen.access_key, ("shop",))
    _signed_with_what_the_token_gives(frozen)


def _signed_with_what_the_token_gives(frozen: Any) -> None:
    """An agent has the token of the request only; the signature that it makes from it is the client's."""
    offline = Credentials(frozen.access_key, aws_credentials.secret_key(frozen.token), frozen.token)
    signatures = []
    for signer in (frozen, offline):
        request = AWSRequest("GET", "https://agent.example.com:9443/bucket", headers={"X-Amz-Date": "20260301T000000Z"})
        SigV4Auth(signer, "s3", "eu-central-1").add_auth(request)
        signatures.append(request.headers["Authorization"].rpartition("Signature=")[2])
    assert signatures[0] == signatures[1]


def test_a_profile_is_for_an_endpoint_inside_tls(bot: Cli) -> None:
    assert "is not the https://" in bot.refused("credential-helper", "aws", "shop", "--setup", "http://agent:80")
    assert "is not the https://" in bot.refused("credential-helper", "kubernetes", "shop", "--setup", "http://agent:80")


def test_helpers_say_nothing_but_one_line_when_nobody_is_signed_in(bot: Cli) -> None:
    for helper in ("aws", "kubernetes", "ssh"):
        done = bot.run("credential-helper", helper, "shop", ASSENTRY_TOKEN="")
        assert (done.returncode, done.stdout) == (1, "")
        assert "login" in done.stderr
