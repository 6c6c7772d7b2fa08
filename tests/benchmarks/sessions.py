"""Many sessions at one agent of one process: what they cost in memory, and how 2,000 of them are held and approved.

Idle sessions have run one statement. Held ones each wait with a DELETE of their own, and are approved one after the
other as a script would, by REST. The figures go into README.md beside this file; `--quick` is for trying a change.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import uvloop

from control_plane.cli.client import Api
from tests.support.postgres import running_postgres
from tests.support.stack import HOST, REQUESTER, REVIEWER, Stack, policy, running_stack, target

DATABASE = "bench"
OPENING = 20  # connections that are opened at a time
RULES = (
    {"name": "reads", "match": {"action": "read"}, "effect": "allow"},
    {"name": "writes", "match": {"action": "write"}, "effect": "hold", "approval": "dba", "hold": {"wait": "15m"}},
)
# One requester asks for all of them, which is what the limits are against.
NO_PRESSURE = {"requester_waiting": "100000", "requester_per_minute": "100000"}
README = Path(__file__).parent / "README.md"
BEGINS, ENDS = "<!-- the latest sessions -->", "<!-- end of the latest sessions -->"


@dataclass
class Figures:
    sessions: int
    held: int
    idle_mib: float = 0
    session_kib: float = 0
    held_kib: float = 0
    opened_seconds: float = 0
    held_seconds: float = 0
    approved_seconds: float = 0
    cpu_seconds: float = 0
    delays: list[float] = field(default_factory=list)  # from the approval's request to the client's answer

    def delay(self, share: float) -> float:
        """Milliseconds."""
        return sorted(self.delays)[min(len(self.delays) - 1, int(len(self.delays) * share))] * 1e3

    @property
    def table(self) -> str:
        rows = {
            "memory of an agent that has just started": f"{self.idle_mib:.1f} MiB",
            f"memory for each idle session, with {self.sessions:,}": f"{self.session_kib:.0f} KiB",
            f"more for each that is held, with {self.held:,}": f"{self.held_kib:.0f} KiB",
            f"{self.held:,} sessions opened": f"{self.opened_seconds:.1f} s",
            "… held, until the last is pending": f"{self.held_seconds:.1f} s",
            "… approved one by one, until the last has run": f"{self.approved_seconds:.1f} s",
            "CPU of the agent in all three": f"{self.cpu_seconds:.1f} s",
            "approval to answer, median and p99": f"{self.delay(0.5):.0f} and {self.delay(0.99):.0f} ms",
        }
        return "\n".join(["| what | figure |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


@contextmanager
def one_agent(connections: int) -> Iterator[Stack]:
    with running_postgres("log_statement=none", f"max_connections={connections + 50}") as server:
        server.execute(f"CREATE DATABASE {DATABASE}")
        server.execute("CREATE TABLE things AS SELECT generate_series(0, 9999) id", database=DATABASE)
        documents = [target("bench", server, DATABASE), policy("bench", "bench", *RULES)]
        accounts = {"bench": (server.superuser, server.password)}
        with running_stack(server, documents, accounts, control_settings=NO_PRESSURE) as stack:
            yield stack


def agent_kib(stack: Stack) -> float:
    """Memory in RAM of the agent's process."""
    status = Path(f"/proc/{stack.agent.plane.process.pid}/status").read_text()
    return float(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))


def agent_cpu(stack: Stack) -> float:
    fields = Path(f"/proc/{stack.agent.plane.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


class Clients:
    """asyncpg connections through the agent."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._places = asyncio.Semaphore(OPENING)
        self.open: list[asyncpg.Connection[Any]] = []
        self._noticed: set[asyncpg.Connection[Any]] = set()
        self._more_noticed = asyncio.Event()
        self.answered: dict[int, float] = {}

    async def more(self, count: int) -> None:
        await asyncio.gather(*(self._one() for _ in range(count)))

    async def _one(self) -> None:
        async with self._places:
            connection = await asyncpg.connect(
                host=HOST, port=self._stack.port("bench"), user=REQUESTER, password=self._stack.token,
                database=DATABASE, ssl=False, timeout=60,
            )  # fmt: skip
            assert await connection.fetchval("SELECT count(*) FROM things WHERE id = 0") == 1
        connection.add_log_listener(self._heard)
        self.open.append(connection)

    def _heard(self, connection: asyncpg.Connection[Any], _notice: object) -> None:
        """A notice comes when the control plane has the request, and reminders after it."""
        self._noticed.add(connection)
        self._more_noticed.set()

    async def delete(self, number: int) -> None:
        answer = await self.open[number].execute(f"DELETE FROM things WHERE id = {number}")
        self.answered[number] = time.perf_counter()
        assert answer == "DELETE 1"

    async def held(self, count: int) -> None:
        """Returns when so many have been told that their statement waits."""
        while len(self._noticed) < count:
            self._more_noticed.clear()
            await asyncio.wait_for(self._more_noticed.wait(), 60)

    async def close(self) -> None:
        await asyncio.gather(*(connection.close() for connection in self.open))
        self.open.clear()


def approve_all(stack: Stack, count: int) -> dict[int, float]:
    """As a script: reads the list, and each approval before approving it. When each was asked for, by its row."""
    asked: dict[int, float] = {}
    with Api(stack.control.sign_in(REVIEWER, stack.reviewer_password)) as api:
        for item in api.pages("/v1/approvals", 2 * count, show="mine"):
            approval = api.get(f"/v1/approvals/{item['id']}")
            row = int(approval["operation"]["text"].rpartition("=")[2])
            asked[row] = time.perf_counter()
            api.post(f"/v1/approvals/{item['id']}/approve", {"digest": approval["digest"], "channel": "cli"})
    return asked


async def measure(stack: Stack, figures: Figures) -> None:
    clients = Clients(stack)
    figures.idle_mib = agent_kib(stack) / 1024
    await clients.more(1)
    before = agent_kib(stack)
    await clients.more(figures.sessions)
    figures.session_kib = (agent_kib(stack) - before) / figures.sessions
    await clients.close()
    await _held(stack, clients, figures)
    await clients.close()


async def _held(stack: Stack, clients: Clients, figures: Figures) -> None:
    cpu, started = agent_cpu(stack), time.perf_counter()
    await clients.more(figures.held)
    figures.opened_seconds = time.perf_counter() - started
    idle, started = agent_kib(stack), time.perf_counter()
    waiting = [asyncio.ensure_future(clients.delete(number)) for number in range(figures.held)]
    await clients.held(figures.held)
    figures.held_seconds = time.perf_counter() - started
    figures.held_kib = (agent_kib(stack) - idle) / figures.held
    started = time.perf_counter()
    asked = await asyncio.to_thread(approve_all, stack, figures.held)
    assert len(asked) == figures.held, "not all of them were shown to the reviewer"
    await asyncio.wait_for(asyncio.gather(*waiting), 300)
    figures.approved_seconds = time.perf_counter() - started
    figures.cpu_seconds = agent_cpu(stack) - cpu
    figures.delays = [clients.answered[row] - at for row, at in asked.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the sessions, README untouched")
    options = parser.parse_args()
    figures = Figures(100, 200) if options.quick else Figures(1000, 2000)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with one_agent(max(figures.sessions, figures.held)) as stack:
        uvloop.run(measure(stack, figures))
    sys.stdout.write(f"\n{figures.table}\n")
    if not options.quick:
        head, rest = README.read_text().split(BEGINS)
        README.write_text(f"{head}{BEGINS}\n\n{figures.table}\n\n{ENDS}{rest.split(ENDS)[1]}")


if __name__ == "__main__":
    main()
