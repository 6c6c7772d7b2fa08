"""A CI job with nothing but its platform's word: exchanged at the command line, used by an unmodified psql, and what
reviewers see of whoever stands behind a machine."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from control_plane.cli.client import Api, ApiError
from control_plane.cli.config import Profile
from tests.control_plane.workloads.platforms import Platform, Published, github, published, rsa
from tests.e2e.test_cli import Cli
from tests.support.postgres import PostgresServer
from tests.support.stack import ALLOW_ALL, REVIEWER, Stack, another_agent, document, policy, target

JOB, SECOND = "shop-deploy", "rita"
READS = {**ALLOW_ALL, "name": "reads", "match": {"action": ["read", "session", "unknown"]}}
WRITES = {"name": "writes", "match": {"action": "write"}, "effect": "hold", "approval": "two-people"}


@pytest.fixture(scope="module")
def actions() -> Iterator[Published]:
    """GitHub Actions as a job sees it; a repository's runs have tokens of this issuer."""
    with published(rsa()) as server:
        yield server


@pytest.fixture(scope="module")
def shop(stack: Stack, actions: Published, postgres: PostgresServer) -> Iterator[Stack]:
    """The main branch of acme/shop is `shop-deploy`, which may reach `deployed`, where two people review writes."""
    machine = {"kind": "machine", "owner": "admin", "purpose": "deploys the shop", "ends_at": "2126-01-01T00:00:00Z"}
    stack.control.apply(
        [
            document("Identity", JOB, **machine),
            document("Identity", SECOND, kind="person"),
            document("Group", "deploying", members=[JOB], roles=["requester"]),
            document("Group", "two-people", members=[REVIEWER, SECOND], roles=["reviewer", "requester"]),
            document("ApprovalChain", "two-people", stages=[{"groups": ["two-people"]}]),
            target("deployed", postgres, "open", agent="ci"),
            policy("deployed", "deployed", READS, WRITES),
            document(
                "WorkloadTrust",
                "shop-main",
                platform="github",
                issuer=actions.url,
                subject="repo:acme/shop:ref:refs/heads/main",
                identity=JOB,
                targets=["deployed"],
            ),
        ]
    )
    account = (postgres.superuser, postgres.password)
    with another_agent(stack, "ci", {"deployed": account}) as beside:
        yield beside


@pytest.fixture
def job(shop: Stack, actions: Published, tmp_path: Path) -> Cli:
    """The command line in a job of acme/shop: it has no credential of ours."""
    runs_in(actions, "acme/shop")
    told = {"ACTIONS_ID_TOKEN_REQUEST_URL": f"{actions.url}/token?api-version=2.0", "ASSENTRY_URL": shop.control.url}
    return Cli(tmp_path, **told, ACTIONS_ID_TOKEN_REQUEST_TOKEN="of this job")


def runs_in(actions: Published, repository: str) -> None:
    platform = Platform(actions.url, lambda: datetime.now(UTC))
    actions.mint = lambda audience: github(platform, repository, aud=audience)


def psql(shop: Stack, password: str, *statements: str) -> subprocess.CompletedProcess[str]:
    return shop.psql("deployed", *statements, PGUSER=JOB, PGPASSWORD=password, PGDATABASE="open")


def test_a_job_exchanges_its_githubs_token_and_works_with_psql(shop: Stack, job: Cli) -> None:
    exchanged = job.run("workloads", "exchange", "deployed")
    assert exchanged.returncode == 0, exchanged.stderr
    done = psql(shop, exchanged.stdout.strip(), "SELECT count(*) FROM orders")
    assert (done.returncode, done.stdout) == (0, "60\n"), done.stderr
    (newest, *_) = shop.admin.get("/v1/workload-sign-ins")["items"]
    assert (newest["identity"], newest["claims"]["repository"]) == (JOB, "acme/shop")


def test_the_same_job_of_another_repository_is_refused_and_told_nothing(
    shop: Stack, job: Cli, actions: Published
) -> None:
    runs_in(actions, "mallory/shop")
    refused = job.run("workloads", "exchange", "deployed")
    assert refused.returncode == 1
    assert "the token is not accepted here; the audit log says why" in refused.stderr
    (cause,) = [one["data"]["cause"] for one in shop.audited("workload-sign-in.refused")[-1:]]
    assert cause == "shop-main: the subject is 'repo:mallory/shop:ref:refs/heads/main'"


def test_a_jobs_token_is_for_its_targets_only(stack: Stack, shop: Stack, job: Cli) -> None:
    assert job.run("workloads", "exchange", "shop").returncode == 1
    token = job.run("workloads", "exchange", "deployed").stdout.strip()
    assert stack.psql("shop", "SELECT 1", PGUSER=JOB, PGPASSWORD=token).returncode != 0


def test_a_job_waits_with_the_bearer_and_gets_more_tokens_by_it_but_none_for_more(shop: Stack, job: Cli) -> None:
    bearer = job.run("workloads", "exchange").stdout.strip()
    with Api(Profile(shop.control.url, bearer)) as itself:
        assert itself.get("/v1/session")["name"] == JOB
        assert itself.post("/v1/tokens", {"targets": ["deployed"]})["token"]
        with pytest.raises(ApiError, match="not for"):
            itself.post("/v1/tokens", {"targets": ["shop"]})
        with pytest.raises(ApiError):
            itself.get("/v1/identities")


def test_whoever_a_machine_acts_for_is_shown_and_does_not_approve(shop: Stack, job: Cli, tmp_path: Path) -> None:
    rosa = Cli(tmp_path / "rosa", shop.control.sign_in(REVIEWER, shop.reviewer_password))
    rita = shop.reviewer_of(SECOND, shop.control.give_password(SECOND))
    acting = rosa.run("workloads", "delegate", JOB).stdout.strip()
    token = job.run("workloads", "exchange", "deployed", ASSENTRY_ACTING_TOKEN=acting).stdout.strip()
    statement = "UPDATE orders SET total = 1 WHERE id = 4242"
    account = {"PGUSER": JOB, "PGPASSWORD": token, "PGDATABASE": "open"}
    waiting = shop.start_psql("deployed", statement, **account)
    request = rita.get(f"/v1/approvals/{shop.pending(statement, rita)['id']}")
    assert [(one["name"], one["kind"]) for one in request["requested_by"]["on_behalf_of"]] == [(REVIEWER, "person")]
    assert f"{REVIEWER} (person) → {JOB}" in rosa.run("approvals", "show", request["short_code"]).stdout
    decision: dict[str, Any] = {"digest": request["digest"], "channel": "cli"}
    with pytest.raises(ApiError, match="owner of the requesting credential"):
        shop.reviewer.post(f"/v1/approvals/{request['id']}/approve", decision)
    rita.post(f"/v1/approvals/{request['id']}/approve", decision)
    out, said = waiting.communicate(timeout=30)
    assert (waiting.returncode, out) == (0, "UPDATE 0\n"), said
    rita.close()


def test_a_machine_signs_in_with_its_own_key_until_that_is_revoked(shop: Stack, tmp_path: Path) -> None:
    admin = Cli(tmp_path, shop.control.admin)
    key = tmp_path / "job.pem"
    made = admin.run("workloads", "key-pair", JOB, "--file", str(key), "--target", "deployed")
    assert made.returncode == 0, made.stderr
    assert key.stat().st_mode & 0o077 == 0
    itself = Cli(tmp_path / "itself", ASSENTRY_URL=shop.control.url)
    by_key = ("workloads", "exchange", "deployed", "--key", str(key), "--machine", JOB)
    token = itself.run(*by_key).stdout.strip()
    assert psql(shop, token, "SELECT 1").stdout == "1\n"
    (kept,) = [one for one in shop.admin.get("/v1/client-credentials")["items"] if one["revoked_at"] is None]
    assert admin.run("workloads", "revoke", kept["id"]).returncode == 0
    assert "invalid_client" in itself.run(*by_key).stderr
    refused = psql(shop, token, "SELECT 1")
    assert refused.returncode != 0
