"""Both planes and a PostgreSQL, as their own processes: what end-to-end tests and benchmarks talk to."""

from __future__ import annotations

import copy
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from control_plane.cli.client import Api, ApiError
from control_plane.cli.config import client_environment
from control_plane.cli.demo.planes import LocalAgent, LocalControlPlane
from tests.support.postgres import PostgresServer
from tests.support.watching import watched

HOST = "127.0.0.1"
REQUESTER, REVIEWER = "bot", "rosa"
API = "assentry.dev/v1"


def document(kind: str, name: str, /, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec}


def target(name: str, server: PostgresServer, database: str, **spec: Any) -> dict[str, Any]:
    """A target of its own environment, so that a policy may select it alone."""
    address = f"{server.host}:{server.port}"
    fixed = {"protocol": "postgres", "environment": name, "agent": "demo", "address": address, "database": database}
    return document("Target", name, **{**fixed, "tls": {"mode": "disable"}, **spec})


def policy(name: str, environment: str, *rules: Mapping[str, Any]) -> dict[str, Any]:
    return document("Policy", name, targets={"environment": environment}, rules=list(rules))


ALLOW_ALL = {
    "name": "everything",
    "match": {"action": ["read", "write", "ddl", "admin", "exec", "session", "unknown"]},
    "effect": "allow",
}
MACHINES_END = "2126-01-01T00:00:00Z"
PEOPLE = [
    document("Identity", REVIEWER, kind="person", email="rosa@example.com"),
    document("Identity", REQUESTER, kind="machine", owner="admin", purpose="is tested with", ends_at=MACHINES_END),
    document("Group", "dba", members=[REVIEWER], roles=["reviewer", "auditor"]),
    document("Group", "bots", members=[REQUESTER], roles=["requester"]),
    document("ApprovalChain", "dba", stages=[{"groups": ["dba"], "require": 1, "timeout": "15m"}]),
]


class Stack:
    """What runs. `endpoint(name)` is where a client connects; its password is `token`."""

    def __init__(self, folder: Path, control: LocalControlPlane, agent: LocalAgent, server: PostgresServer) -> None:
        self.folder, self.control, self.agent, self.server = folder, control, agent, server
        self.reviewer_password = control.give_password(REVIEWER)
        self.reviewer = Api(control.sign_in(REVIEWER, self.reviewer_password))
        self.admin = Api(control.admin)
        self.token = control.machine_token(REQUESTER)

    def port(self, name: str) -> int:
        return self.agent.ports[name]

    def environment(self, name: str, database: str = "", **more: str) -> dict[str, str]:
        """For a libpq client. The database of the target's own when none is named."""
        return client_environment(
            **{
                "PGHOST": HOST,
                "PGPORT": str(self.port(name)),
                "PGUSER": REQUESTER,
                "PGPASSWORD": self.token,
                "PGDATABASE": database or name,
                "PGSSLMODE": "disable",
                "LC_ALL": "C.UTF-8",
                **more,
            }
        )

    def psql(self, name: str, *statements: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.psql_command(*statements), env=self.environment(name, **more), capture_output=True, text=True,
            check=False, timeout=60,
        )  # fmt: skip

    def start_psql(self, name: str, *statements: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.psql_command(*statements), env=self.environment(name, **more), text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip

    def psql_command(self, *statements: str) -> list[str]:
        words = [str(self.server.bin / "psql"), "-X", "-A", "-t"]
        return [*words, *(word for statement in statements for word in ("-c", statement))]

    def dsn(self, name: str) -> str:
        """For psycopg."""
        account = f"user={REQUESTER} password={self.token} dbname={name}"
        return f"host={HOST} port={self.port(name)} {account} sslmode=disable connect_timeout=20"

    # -------------------------------------------------------------- as the reviewer

    def reviewer_of(self, name: str, password: str) -> Api:
        """Another person, at the command line."""
        return Api(self.control.sign_in(name, password))

    def pending(self, text: str, reviewer: Api | None = None) -> dict[str, Any]:
        """The request whose text begins so, once it has arrived."""
        asking = reviewer or self.reviewer

        def found() -> Any:
            waiting = asking.pages("/v1/approvals", 100, show="mine")
            return next((item for item in waiting if item["headline"].startswith(text)), None)

        return dict(eventually(found, f"a request for {text}"))

    def approve(self, text: str) -> dict[str, Any]:
        return self._decide(text, "approve")

    def deny(self, text: str, reason: str) -> dict[str, Any]:
        return self._decide(text, "deny", reason=reason)

    def _decide(self, text: str, verb: str, **words: str) -> dict[str, Any]:
        approval = self.reviewer.get(f"/v1/approvals/{self.pending(text)['id']}")
        body = {"digest": approval["digest"], "channel": "cli", **words}
        return dict(self.reviewer.post(f"/v1/approvals/{approval['id']}/{verb}", body))

    @contextmanager
    def approving(self, *texts: str) -> Iterator[None]:
        """Approves these, in this order, as they arrive, while a client runs in the block."""
        failures: list[BaseException] = []

        def work() -> None:
            try:
                for text in texts:
                    self.approve(text)
            except BaseException as error:  # told to the test below
                failures.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            thread.join()
        if failures:
            raise failures[0]

    def audited(self, kind: str, subject: str = "") -> list[dict[str, Any]]:
        """Oldest first."""
        return list(self.reviewer.pages("/v1/audit", 1000, kind=kind, subject=subject))[::-1]

    def remove(self, kind: str, name: str) -> None:
        """A document, whatever its version."""
        profile = self.control.admin
        headers = {"Authorization": f"Bearer {profile.token}", "If-Match": "*"}
        httpx.delete(f"{profile.url}/v1/{kind}/{name}", headers=headers).raise_for_status()

    def gauge(self, name: str) -> float:
        """One of the agent's own figures."""
        page = httpx.get(f"http://{HOST}:{self.agent.metrics_port}/metrics").text
        return next(float(line.split()[1]) for line in page.splitlines() if line.startswith(f"assentry_{name} "))

    def approval(self, approval_id: str) -> dict[str, Any]:
        return dict(self.reviewer.get(f"/v1/approvals/{approval_id}"))

    def sessions(self, **query: Any) -> list[dict[str, Any]]:
        return list(self.reviewer.pages("/v1/sessions", 100, **query))

    def recorded(self, application: str) -> list[dict[str, Any]]:
        """The replay of the newest session of this application, once it is closed and has arrived whole."""

        def complete() -> Any:
            found = [one for one in self.sessions() if one["application_name"] == application and not one["open"]]
            page = self._timeline(found[0]["id"]) if found else None
            return page["events"] if page and page["status"] == "complete" else None

        return list(eventually(complete, f"the recording of {application}"))

    def _timeline(self, session_id: str) -> Any:
        try:
            return self.reviewer.get(f"/v1/sessions/{session_id}/timeline")
        except ApiError as error:
            if error.status != 404:
                raise
            return None  # nothing of it has arrived yet


def eventually(ask: Callable[[], Any], what: str, seconds: float = 20) -> Any:
    """The first true answer of something that no event announces to this process."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := ask():
            return answer
        time.sleep(0.03)
    raise AssertionError(f"{what} did not happen in {seconds} s")


@contextmanager
def running_stack(
    server: PostgresServer,
    documents: Sequence[Mapping[str, Any]],
    accounts: Mapping[str, tuple[str, ...]],
    *,
    control_settings: Mapping[str, str] | None = None,
    dialling: Callable[[LocalControlPlane], Mapping[str, Any]] = lambda control: {},
    **agent_settings: Any,
) -> Iterator[Stack]:
    """`accounts`: for each target the account that the agent uses there. `dialling`: its settings that depend on
    where the control plane is."""
    folder = Path(tempfile.mkdtemp(prefix="assentry-stack-"))
    with ExitStack() as stack:
        stack.enter_context(watched(folder))
        control = LocalControlPlane(folder / "control-plane", **(control_settings or {}))
        stack.callback(control.stop)
        control.apply([*PEOPLE, *documents])
        agent = LocalAgent(control, folder / "agent", accounts, **{**agent_settings, **dialling(control)})
        stack.callback(agent.stop)
        running = Stack(folder, control, agent, server)
        stack.callback(running.reviewer.close)
        stack.callback(running.admin.close)
        yield running


@contextmanager
def another_agent(stack: Stack, name: str, accounts: Mapping[str, tuple[str, ...]], **settings: Any) -> Iterator[Stack]:
    """The same control plane and people with an agent of this name, which serves other targets."""
    beside = copy.copy(stack)
    beside.agent = LocalAgent(stack.control, stack.folder / name, accounts, name=name, **settings)
    try:
        yield beside
    finally:
        beside.agent.stop()
