"""Credentials while the control plane is away: the agent knows by itself which are good, which not, and why not.

It has the deployment's keys pinned and the list of what is revoked in its newest snapshot, on disk too (invariant 7).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from control_plane.agents.authority import CertificateAuthority
from control_plane.cli import certificates
from control_plane.cli.binding import Bound
from control_plane.cli.client import Api
from control_plane.cli.config import Profile
from control_plane.kit.keys import SigningKeys
from tests.e2e.faults.conftest import account, documents
from tests.support.postgres import PostgresServer
from tests.support.sealing import files_of
from tests.support.stack import REQUESTER, Stack, eventually, running_stack

ELSEWHERE = ("192.0.2.0/24", "2001:db8::/32")
REASONS = {
    "revoked": "the credential is revoked",
    "expired": "the credential has expired",
    "elsewhere": "the credential is for other networks",
    "another": "the credential is for other targets",
    "forged": "a token of another kind, or signed with a key that is not pinned",
}


@pytest.fixture(scope="module")
def alone(postgres: PostgresServer) -> Iterator[Stack]:
    """A control plane of its own, and an agent with a lease that is longer than the tests."""
    served = [*documents(postgres, "treasury"), *documents(postgres, "annex")]
    accounts = {"treasury": account(postgres), "annex": account(postgres)}
    with running_stack(postgres, served, accounts, control_settings={"lease_seconds": "900"}) as running:
        yield running


class Credentials(msgspec.Struct):
    """libpq's settings, by what is wrong with each; `good` is what nothing is wrong with."""

    good: dict[str, dict[str, str]]
    bad: dict[str, dict[str, str]]


def password(token: str) -> dict[str, str]:
    return {"PGPASSWORD": token, "PGSSLMODE": "disable"}


def shown(folder: Path) -> dict[str, str]:
    return {"PGPASSWORD": "", **certificates.client_settings(folder)}


@pytest.fixture(scope="module")
def kept(alone: Stack, tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    """Made while the control plane is there, which then goes away: it is not asked again."""
    key = alone.admin.post("/v1/service-account-keys", {"identity": REQUESTER, "ttl_days": 1})["key"]
    with Api(Profile(alone.control.url, key)) as bot:
        made = Credentials(*_made(bot, alone, tmp_path_factory.mktemp("certificates")))
    for wrong in ("revoked token", "revoked certificate"):
        eventually(lambda one=wrong: works(alone, made.bad[one]) == 2, f"the agent's word on the {wrong}")
    alone.control.kill()
    eventually(lambda: not alone.gauge("link_connected"), "the loss of the link")
    return made


def _made(bot: Api, alone: Stack, folder: Path) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, str]]]:
    here = Bound(("treasury",), ("127.0.0.0/8", "::1"))
    there, another = Bound(("treasury",), ELSEWHERE), Bound(("annex",))
    tokens = {name: bot.post("/v1/tokens", bound.body()) for name, bound in _named(here, there, another).items()}
    issued = {
        name: certificates.obtain(bot, folder / name, bound) for name, bound in _named(here, there, another).items()
    }
    for revoked in (tokens["revoked"], issued["revoked"]):
        alone.admin.delete(f"/v1/credentials/{revoked['credential_id']}")
    (identity,) = [one["id"] for one in alone.admin.pages("/v1/identities", 100) if one["name"] == REQUESTER]
    bad = {f"{name} token": password(one["token"]) for name, one in tokens.items() if name != "good"}
    bad |= {f"{name} certificate": shown(folder / name) for name in issued if name != "good"}
    bad |= {"expired token": password(expired(alone, identity)), "forged token": password(forged(identity))}
    bad |= {"expired certificate": shown(expired_certificate(alone, identity, folder / "expired", folder / "good"))}
    good = {"token": password(tokens["good"]["token"]), "certificate": shown(folder / "good")}
    return good, bad


def _named(here: Bound, there: Bound, another: Bound) -> dict[str, Bound]:
    return {"good": here, "revoked": here, "elsewhere": there, "another": another}


def works(stack: Stack, settings: dict[str, str]) -> int:
    return stack.psql("treasury", "SELECT 1", **settings).returncode


def claims(identity: str, until: datetime) -> dict[str, object]:
    expires_at = int(until.timestamp())
    who = {"iss": "assentry", "sub": identity, "jti": "crd_made_by_a_test", "aud": ["*"]}
    return {**who, "iat": expires_at - 3600, "exp": expires_at}


def expired(stack: Stack, identity: str) -> str:
    """Signed with the deployment's own key, as no request can ask for."""
    keys = SigningKeys.open(stack.control.state / "keys", files_of(stack.control.state))
    return keys.sign_token(claims(identity, datetime.now(UTC) - timedelta(seconds=1)))


def forged(identity: str) -> str:
    """By somebody who knows everything but the key, whose id is public."""
    keys = SigningKeys({"key_forged": Ed25519PrivateKey.generate()})
    return keys.sign_token(claims(identity, datetime.now(UTC) + timedelta(hours=1)))


def expired_certificate(stack: Stack, identity: str, folder: Path, like: Path) -> Path:
    folder.mkdir()
    authority = CertificateAuthority.open(stack.control.state / "ca", datetime.now(UTC), files_of(stack.control.state))
    key, past = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC) - timedelta(hours=2)
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    pem = request.public_bytes(Encoding.PEM)
    certificate = authority.issue(pem, identity, "crd_made_by_a_test", past, past + timedelta(hours=1)).chain_pem
    (folder / certificates.CERTIFICATE).write_text(certificate)
    (folder / certificates.AUTHORITY).write_bytes((like / certificates.AUTHORITY).read_bytes())
    private = folder / certificates.KEY
    private.touch(mode=0o600)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder


def judged(stack: Stack, kept: Credentials) -> dict[str, str]:
    """What psql says of each that ought not to work; empty: it worked."""
    said = {name: stack.psql("treasury", "SELECT 1", **settings) for name, settings in kept.bad.items()}
    return {name: done.stderr if done.returncode else "" for name, done in said.items()}


def test_an_agent_alone_lets_the_good_ones_in_and_no_other(alone: Stack, kept: Credentials) -> None:
    assert [works(alone, settings) for settings in kept.good.values()] == [0, 0]
    for name, said in judged(alone, kept).items():
        assert "FATAL" in said, name
        assert "the credential was not accepted" in said, (name, said)
        assert ("it has expired: get a new one" in said) == name.startswith("expired"), (name, said)
        assert not {"revoked", "network", "target"}.intersection(said.split()), (name, said)


def test_it_knows_them_after_a_restart_too(alone: Stack, kept: Credentials) -> None:
    alone.agent.kill()
    alone.agent.start()
    assert [works(alone, settings) for settings in kept.good.values()] == [0, 0]
    assert all("the credential was not accepted" in said for said in judged(alone, kept).values())


def test_when_the_control_plane_is_back_the_audit_log_tells_why_each_was_refused(
    alone: Stack, kept: Credentials
) -> None:
    alone.control.start()
    eventually(lambda: alone.gauge("link_connected"), "the return of the link", 40)
    wanted = set(REASONS.values())
    eventually(lambda: wanted <= told(alone), "the reports of what was refused", 40)


def told(stack: Stack) -> set[str]:
    reasons = {str(one["data"]["reason"]) for one in stack.audited("session.refused")}
    return {next((known for known in REASONS.values() if reason.startswith(known)), reason) for reason in reasons}
