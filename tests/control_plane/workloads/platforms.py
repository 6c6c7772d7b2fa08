"""Platforms that speak for their workloads: an issuer with keys of its own, and trusts for what it signs."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

AUDIENCE = "https://assentry.example.org"
GITHUB = "https://token.actions.githubusercontent.com"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
API = "assentry.dev/v1"
Key = RSAKey | ECKey | OKPKey


@cache
def rsa(number: int = 1) -> RSAKey:
    """Making one takes its time, so tests share a few."""
    return RSAKey.generate_key(2048, {"kid": f"rsa-{number}"})


@cache
def ec(number: int = 1) -> ECKey:
    return ECKey.generate_key("P-256", {"kid": f"ec-{number}"})


@cache
def ed(number: int = 1) -> OKPKey:
    return OKPKey.generate_key("Ed25519", {"kid": f"ed-{number}"})


def algorithm(key: Key) -> str:
    return {"RSA": "RS256", "EC": "ES256", "OKP": "Ed25519"}[key.key_type]


def encoded(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def signed(claims: dict[str, Any], key: Key, **header: Any) -> str:
    """`header`: what is other than it should be; None leaves one out."""
    protected = {"alg": algorithm(key), "kid": key.kid, "typ": "JWT", **header}
    protected = {name: value for name, value in protected.items() if value is not None}
    parts = f"{encoded(protected)}.{encoded(claims)}"
    raw = jws.JWSRegistry.algorithms[algorithm(key)].sign(parts.encode(), key)
    return f"{parts}.{encoded(raw)}"


def mac(claims: dict[str, Any], secret: bytes, **header: Any) -> str:
    """Signed with a secret: HS256."""
    parts = f"{encoded({'alg': 'HS256', 'typ': 'JWT', **header})}.{encoded(claims)}"
    return f"{parts}.{encoded(hmac.digest(secret, parts.encode(), hashlib.sha256))}"


def key_set(*keys: Key, **more: Any) -> str:
    return json.dumps({"keys": [{**key.as_dict(private=False), **more} for key in keys]})


class Platform:
    """Signs claims that are good from now on for five minutes, each with an id of its own."""

    def __init__(self, issuer: str, now: Callable[[], datetime], key: Key | None = None) -> None:
        self.issuer = issuer
        self._now = now
        self.key = key or rsa()

    def claims(self, subject: str, /, **claims: Any) -> dict[str, Any]:
        at = int(self._now().timestamp())
        known = {"iss": self.issuer, "sub": subject, "aud": AUDIENCE, "iat": at, "nbf": at, "exp": at + 300}
        told = {**known, "jti": uuid.uuid4().hex, **claims}
        return {name: value for name, value in told.items() if value is not None}

    def token(self, subject: str, /, **claims: Any) -> str:
        return signed(self.claims(subject, **claims), self.key)

    def keys(self) -> str:
        return key_set(self.key)


def github(platform: Platform, repository: str = "acme/shop", ref: str = "refs/heads/main", **claims: Any) -> str:
    """As GitHub Actions shapes them."""
    owner = repository.partition("/")[0]
    told = {
        "repository": repository,
        "repository_owner": owner,
        "repository_owner_id": "1342004",
        "repository_visibility": "private",
        "ref": ref,
        "ref_type": "branch",
        "workflow": "deploy",
        "job_workflow_ref": f"{repository}/.github/workflows/deploy.yml@{ref}",
        "run_id": "1042",
        "run_attempt": "1",
        "actor": "ada",
        "event_name": "push",
        "runner_environment": "github-hosted",
        **claims,
    }
    return platform.token(f"repo:{repository}:ref:{ref}", **told)


def document(kind: str, name: str, /, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec}


def machine(name: str = "deploy-bot", **spec: Any) -> dict[str, Any]:
    known = {"kind": "machine", "owner": "ada", "purpose": "deploys the shop", "ends_at": "2126-12-31T00:00:00Z"}
    return document("Identity", name, **{**known, **spec})


ADA = document("Identity", "ada", kind="person")
BOTS = document("Group", "bots", members=["deploy-bot"], roles=["requester"])


def target(name: str) -> dict[str, Any]:
    return document("Target", name, protocol="postgres", environment=name, agent="demo", address="127.0.0.1:5432")


GROUND = [ADA, machine(), BOTS, target("orders"), target("billing")]


def trust(name: str, platform: Platform, /, **spec: Any) -> dict[str, Any]:
    known = {"identity": "deploy-bot", "issuer": platform.issuer, "jwks": platform.keys(), "lifetime": "15m"}
    known = {name: value for name, value in {**known, **spec}.items() if value is not None}
    return document("WorkloadTrust", name, **known)


async def applied(admin: httpx.AsyncClient, *documents: dict[str, Any]) -> None:
    answer = await admin.post("/v1/documents/apply", json={"documents": documents, "prune": False})
    assert answer.status_code == 200, answer.text


async def exchanged(client: httpx.AsyncClient, token: str, *targets: str, **more: str) -> httpx.Response:
    form = {
        "grant_type": EXCHANGE,
        "subject_token": token,
        "subject_token_type": JWT,
        "audience": list(targets),
        **more,
    }
    return await client.post("/v1/token", data=form)


async def causes(auditor: httpx.AsyncClient) -> list[str]:
    """Of refusals, oldest first."""
    found = await auditor.get("/v1/audit", params={"kind": "workload-sign-in.refused", "limit": 100})
    return [item["data"]["cause"] for item in reversed(found.json()["items"])]


@dataclass
class Published:
    """An issuer on this machine: discovery and keys, which a test changes; what was asked of it."""

    url: str = ""
    keys: str = ""
    discovery: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    asked: list[str] = field(default_factory=list)
    mint: Callable[[str], str] | None = None  # as GitHub Actions gives a job its token, for an audience


@contextlib.contextmanager
def published(*keys: Key) -> Iterator[Published]:
    told = Published(keys=key_set(*keys))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.asked.append(self.path)
            known = {"issuer": told.url, "jwks_uri": f"{told.url}/keys"}
            body = told.keys if self.path == "/keys" else json.dumps({**known, **told.discovery})
            if told.mint is not None and self.path.startswith("/token"):
                if self.headers["authorization"] != "Bearer of this job":
                    self.send_error(401)
                    return
                body = json.dumps({"value": told.mint(str(httpx.URL(self.path).params["audience"]))})
            self.send_response(told.status)
            self.send_header("location", "/elsewhere")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
