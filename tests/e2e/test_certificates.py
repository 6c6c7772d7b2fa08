"""A client certificate as the credential, and TLS between psql and the agent as strict as libpq can be."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from control_plane.agents.authority import CertificateAuthority
from control_plane.cli import certificates
from control_plane.cli.client import Api, ApiError
from control_plane.cli.config import Profile
from control_plane.cli.demo.planes import LocalAgent
from tests.support.sealing import files_of
from tests.support.stack import HOST, REQUESTER, Stack, eventually


class Holder:
    """The requester with a certificate of its own, and its psql."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack, self.folder = stack, folder
        key = stack.admin.post("/v1/service-account-keys", {"identity": REQUESTER, "ttl_days": 1})["key"]
        with Api(Profile(stack.control.url, key)) as api:
            self.issued = certificates.obtain(api, folder)

    @property
    def settings(self) -> dict[str, str]:
        return certificates.client_settings(self.folder)

    def psql(self, *statements: str, **more: str) -> subprocess.CompletedProcess[str]:
        return self.stack.psql("shop", *statements, **{"PGPASSWORD": "", **self.settings, **more})


@pytest.fixture(scope="module")
def holder(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Holder:
    return Holder(stack, tmp_path_factory.mktemp("certificate"))


def test_its_key_is_made_here_and_only_its_owner_can_read_it(holder: Holder) -> None:
    files = [Path(holder.issued[name]) for name in ("key", "certificate", "ca")]
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600] * 3
    names = x509.load_pem_x509_certificate(files[1].read_bytes()).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    (uri,) = names.value.get_values_for_type(x509.UniformResourceIdentifier)
    assert uri.endswith(f":credential:{holder.issued['credential_id']}")


def test_a_certificate_is_all_that_psql_needs(holder: Holder) -> None:
    done = holder.psql("SELECT name, email FROM customers ORDER BY id", PGAPPNAME="with-certificate")
    assert done.returncode == 0, done.stderr
    assert "Ada" in done.stdout
    assert "ada@canary" not in done.stdout
    sessions = holder.stack.sessions
    session = eventually(
        lambda: next((one for one in sessions() if one["application_name"] == "with-certificate"), None), "the session"
    )
    assert (session["requester"], session["credential_id"]) == (REQUESTER, holder.issued["credential_id"])


def test_a_hold_works_the_same_over_tls(holder: Holder) -> None:
    with holder.stack.approving("DELETE FROM orders WHERE id = 16"):
        done = holder.psql("DELETE FROM orders WHERE id = 16")
    assert "DELETE 1" in done.stdout, done.stderr


def test_a_token_travels_inside_verified_tls_too(holder: Holder) -> None:
    done = holder.psql("SELECT 1", PGPASSWORD=holder.stack.token, PGSSLCERT="/nonexistent", PGSSLKEY="/nonexistent")
    assert done.stdout.strip() == "1", done.stderr


def test_a_client_that_checks_the_agent_notices_another_authority(holder: Holder) -> None:
    """The target's authority signed nothing of the agent's."""
    other = holder.folder / "other.crt"
    other.write_text(holder.stack.server.ca_pem)
    done = holder.psql("SELECT 1", PGSSLROOTCERT=str(other))
    assert done.returncode == 2
    assert "certificate verify failed" in done.stderr


@pytest.mark.parametrize("host", ["localhost", HOST])
def test_the_agents_certificate_is_for_the_names_it_is_reached_by(holder: Holder, host: str) -> None:
    done = holder.psql("SELECT 1", PGHOST=host)
    assert done.stdout.strip() == "1", done.stderr


def test_tls_from_the_first_byte_works_where_libpq_can(holder: Holder) -> None:
    """psycopg's own libpq is newer than the system's psql: PostgreSQL 17 brought sslnegotiation=direct."""
    assert psycopg.pq.version() >= 170000
    files = {
        name: holder.issued[own] for name, own in (("sslrootcert", "ca"), ("sslcert", "certificate"), ("sslkey", "key"))
    }
    with psycopg.connect(
        host=HOST, port=holder.stack.port("shop"), user=REQUESTER, dbname="shop", sslmode="verify-full",
        sslnegotiation="direct", **files,
    ) as connection:  # fmt: skip
        assert connection.execute("SELECT count(*) FROM customers").fetchone() == (2,)
        assert connection.pgconn.ssl_in_use


def test_a_revoked_certificate_is_refused_and_its_open_session_ends(stack: Stack, tmp_path: Path) -> None:
    """Invariant 7."""
    holder = Holder(stack, tmp_path)
    files = {
        "sslrootcert": holder.issued["ca"],
        "sslcert": holder.issued["certificate"],
        "sslkey": holder.issued["key"],
    }
    connection = psycopg.connect(
        host=HOST, port=stack.port("shop"), user=REQUESTER, dbname="shop", sslmode="verify-full", **files
    )
    stack.admin.delete(f"/v1/credentials/{holder.issued['credential_id']}")
    eventually(lambda: _is_over(connection), "the end of the session")
    connection.close()
    done = holder.psql("SELECT 1")
    assert done.returncode == 2
    assert "FATAL" in done.stderr


def _is_over(connection: psycopg.Connection[Any]) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.Error:
        return True
    return False


def test_an_expired_certificate_is_refused_in_words(holder: Holder, stack: Stack) -> None:
    """Made with the deployment's own authority, as no request can be: lifetimes begin now."""
    authority = CertificateAuthority.open(stack.control.state / "ca", datetime.now(UTC), files_of(stack.control.state))
    old = holder.folder / "expired.crt"
    (identity,) = [one for one in stack.admin.pages("/v1/identities") if one["name"] == REQUESTER]
    past = datetime.now(UTC) - timedelta(hours=2)
    old.write_text(
        authority.issue(_request_for(holder), identity["id"], "crd_old", past, past + timedelta(hours=1)).chain_pem
    )
    done = holder.psql("SELECT 1", PGSSLCERT=str(old))
    assert done.returncode == 2
    assert "it has expired: get a new one" in done.stderr


def test_a_certificate_of_the_authority_that_names_nobody_is_refused(holder: Holder, stack: Stack) -> None:
    """An agent's own certificate opens the link, not a target."""
    authority = CertificateAuthority.open(stack.control.state / "ca", datetime.now(UTC), files_of(stack.control.state))
    now = datetime.now(UTC)
    pem, _ = authority.agent(_request_for(holder), "agt_x", "demo", now, now + timedelta(hours=1))
    other = holder.folder / "agent.crt"
    other.write_bytes(pem)
    done = holder.psql("SELECT 1", PGSSLCERT=str(other))
    assert done.returncode == 2
    assert "FATAL" in done.stderr


def _request_for(holder: Holder) -> bytes:
    key = load_pem_private_key(Path(holder.issued["key"]).read_bytes(), None)
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return request.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)  # type: ignore[arg-type]


def test_a_person_who_may_not_ask_gets_no_certificate(stack: Stack, tmp_path: Path) -> None:
    with pytest.raises(ApiError) as refused:
        certificates.obtain(stack.reviewer, tmp_path)
    assert refused.value.status == 403
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------- without TLS


@pytest.fixture(scope="module")
def strict(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAgent]:
    """A second instance of the same agent whose endpoint for `shop` demands TLS."""
    account = (stack.server.superuser, stack.server.password)
    agent = StrictAgent(stack.control, tmp_path_factory.mktemp("strict"), {"shop": account})
    yield agent
    agent.stop()


class StrictAgent(LocalAgent):
    def _endpoint(self, target: str, username: str, password: str) -> dict[str, str]:
        return {**super()._endpoint(target, username, password), "client_tls": "required"}


def test_a_token_without_tls_is_accepted_from_this_machine(stack: Stack) -> None:
    assert stack.psql("shop", "SELECT 1", PGSSLMODE="disable").stdout.strip() == "1"


def test_an_endpoint_that_requires_tls_refuses_a_plain_connection(stack: Stack, strict: LocalAgent) -> None:
    done = stack.psql("shop", "SELECT 1", PGPORT=str(strict.ports["shop"]), PGSSLMODE="disable")
    assert done.returncode == 2
    assert "accepts TLS connections only" in done.stderr


def test_an_endpoint_that_requires_tls_serves_a_token_inside_it(stack: Stack, strict: LocalAgent) -> None:
    done = stack.psql("shop", "SELECT 1", PGPORT=str(strict.ports["shop"]), PGSSLMODE="require")
    assert done.stdout.strip() == "1", done.stderr
