"""Where a workload finds what proves who it is, and its exchange for a token of ours (RFC 8693, RFC 7523).

GitHub Actions gives a token to whoever asks its own address (`permissions: id-token: write`), GitLab in a variable,
Kubernetes in a file of the pod, SPIFFE in a file that its helper writes. A machine without a platform signs with its
own key. Nothing of it is printed or kept.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from control_plane.cli.client import Json
from control_plane.cli.errors import CommandError
from control_plane.kit.clock import SystemClock

VARIABLE: Final = "ASSENTRY_ID_TOKEN"
FILE_VARIABLE: Final = "ASSENTRY_ID_TOKEN_FILE"
ACTING_VARIABLE: Final = "ASSENTRY_ACTING_TOKEN"
PROJECTED: Final = Path("/var/run/secrets/assentry/token")  # where the README projects a pod's token
_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_CLIENT: Final = "client_credentials"
_JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_GITHUB_URL: Final = "ACTIONS_ID_TOKEN_REQUEST_URL"
_GITHUB_TOKEN: Final = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"  # noqa: S105 - a variable's name
_SECONDS: Final = 20
_ASSERTION_SECONDS: Final = 120


def platform_token(environment: Mapping[str, str], audience: str, file: Path | None = None) -> str:
    """What the platform says of this workload, for this audience. Raises CommandError."""
    if file is not None:
        return _read(file)
    if environment.get(VARIABLE):
        return environment[VARIABLE].strip()
    if environment.get(FILE_VARIABLE):
        return _read(Path(environment[FILE_VARIABLE]))
    if environment.get(_GITHUB_URL) and environment.get(_GITHUB_TOKEN):
        return _of_github(environment[_GITHUB_URL], environment[_GITHUB_TOKEN], audience)
    if PROJECTED.exists():
        return _read(PROJECTED)
    raise CommandError(
        f"no platform's token here: on GitHub Actions set `permissions: id-token: write`, on GitLab an id token called "
        f"{VARIABLE}, in Kubernetes project a token to {PROJECTED}; or name one with --token-file, or a key with --key"
    )


def exchange(url: str, token: str, targets: Sequence[str], trust: str = "", acting: str = "") -> Json:
    """`acting`: by which it acts on behalf of somebody. Raises CommandError."""
    subject, actor = (acting, token) if acting else (token, "")
    told = {"grant_type": _EXCHANGE, "subject_token": subject, "subject_token_type": _JWT, "trust": trust}
    if actor:
        told |= {"actor_token": actor, "actor_token_type": _JWT}
    return _asked(url, told, targets)


def by_key(url: str, client: str, key_file: Path, targets: Sequence[str], acting: str = "") -> Json:
    """For a machine that signs with its own key. Raises CommandError."""
    told = {"grant_type": _CLIENT, "client_assertion_type": _ASSERTION}
    if acting:
        told |= {"grant_type": _EXCHANGE, "subject_token": acting, "subject_token_type": _JWT}
    return _asked(url, {**told, "client_assertion": _assertion(url, client, key_file)}, targets)


def public_jwk(key: Ed25519PrivateKey) -> dict[str, str]:
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return {"kty": "OKP", "crv": "Ed25519", "x": _base64url(raw)}


def _asked(url: str, told: Mapping[str, str], targets: Sequence[str]) -> Json:
    form = [(name, value) for name, value in told.items() if value] + [("audience", one) for one in targets]
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    try:
        answer = httpx.post(f"{url}/v1/token", content=urlencode(form), headers=headers, timeout=_SECONDS)
        body = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise CommandError(f"{url} does not answer as a control plane: {error}; ASSENTRY_URL names another") from error
    if not answer.is_success:
        raise CommandError(
            f"{body.get('error', answer.status_code)}: {body.get('error_description', 'no reason told')}"
        )
    return dict(body)


def _of_github(url: str, token: str, audience: str) -> str:
    address = httpx.URL(url).copy_merge_params({"audience": audience})
    try:
        answer = httpx.get(address, headers={"authorization": f"Bearer {token}"}, timeout=_SECONDS).raise_for_status()
        return str(answer.json()["value"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise CommandError(f"GitHub Actions gives no token: {type(error).__name__}") from None


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file}: no token can be read there: {error}") from None


def _assertion(url: str, client: str, key_file: Path) -> str:
    try:
        key = load_pem_private_key(key_file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise CommandError(f"{key_file}: no private key can be read there: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise CommandError(f"{key_file}: an Ed25519 key, as `assentry workloads key-pair` makes it")
    at = int(SystemClock().now().timestamp())
    claims = {"iss": client, "sub": client, "aud": f"{url}/v1/token", "iat": at, "exp": at + _ASSERTION_SECONDS}
    parts = [{"alg": "Ed25519", "typ": "JWT"}, {**claims, "jti": secrets.token_urlsafe(24)}]
    signed = ".".join(_base64url(json.dumps(one).encode()) for one in parts)
    return f"{signed}.{_base64url(key.sign(signed.encode()))}"


def _base64url(data: Any) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
