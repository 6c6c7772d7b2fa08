"""How long a reviewer's decision takes to the first byte at the target.

A recorder of arrivals stands between the agent and PostgreSQL. Each statement is held through a chain of two stages; the
clock runs from the request of the last approval, before it is sent, to the arrival of the statement's bytes. The figures
go into README.md beside this file; `--quick` is for trying a change.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from control_plane.cli.client import Api
from tests.support.postgres import PostgresServer, running_postgres
from tests.support.stack import HOST, Stack, document, eventually, policy, running_stack, target

NAME = "bench"
SECOND = "sam"
README = Path(__file__).parent / "README.md"
BEGINS, ENDS = "<!-- the latest decisions -->", "<!-- end of the latest decisions -->"
PEOPLE = [
    document("Identity", SECOND, kind="person", email="sam@example.com"),
    document("Group", "security", members=[SECOND], roles=["reviewer"]),
    document(
        "ApprovalChain", "both",
        stages=[{"groups": ["dba"], "timeout": "15m"}, {"groups": ["security"], "timeout": "15m"}],
    ),
]  # fmt: skip
RULES = (
    {"name": "reads", "match": {"action": "read"}, "effect": "allow"},
    {"name": "writes", "match": {"action": "write"}, "effect": "hold", "approval": "both", "hold": {"wait": "15m"}},
)


@dataclass
class Arrivals:
    """A relay to PostgreSQL on a loop of its own; `at` says when the DELETE of a row arrived."""

    server: PostgresServer
    at: dict[int, float] = field(default_factory=dict)
    port: int = 0

    async def _relayed(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self.server.host, self.server.port)
        await asyncio.gather(self._pass(reader, back, noticed=True), self._pass(there, writer, noticed=False))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, noticed: bool) -> None:
        while data := await reader.read(65_536):
            found = re.search(rb"DELETE FROM things WHERE id = (\d+)", data) if noticed else None
            if found:
                self.at[int(found[1])] = time.perf_counter()
            writer.write(data)
        writer.close()

    @contextmanager
    def running(self) -> Iterator[None]:
        loop = asyncio.new_event_loop()
        server = loop.run_until_complete(asyncio.start_server(self._relayed, HOST, 0))
        self.port = server.sockets[0].getsockname()[1]
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()


@contextmanager
def stack_with_arrivals() -> Iterator[tuple[Stack, Arrivals]]:
    with ExitStack() as stack:
        server = stack.enter_context(running_postgres("log_statement=none"))
        server.execute(f"CREATE DATABASE {NAME}")
        server.execute("CREATE TABLE things AS SELECT generate_series(0, 9999) id", database=NAME)
        arrivals = Arrivals(server)
        stack.enter_context(arrivals.running())
        reached = target(NAME, server, NAME, address=f"{HOST}:{arrivals.port}")
        documents = [*PEOPLE, reached, policy(NAME, NAME, *RULES)]
        account = {NAME: (server.superuser, server.password)}
        yield stack.enter_context(running_stack(server, documents, account)), arrivals


def measure(count: int) -> list[float]:
    """Seconds, one for each decision."""
    with stack_with_arrivals() as (stack, arrivals):
        second = Api(stack.control.sign_in(SECOND, stack.control.give_password(SECOND)))
        delays = []
        with second, psycopg.connect(stack.dsn(NAME), autocommit=True) as client:
            for row in range(count):
                asked = _decided(stack, second, client, row)
                delays.append(arrivals.at[row] - asked)
    return delays


def _decided(stack: Stack, second: Api, client: psycopg.Connection[object], row: int) -> float:
    text = f"DELETE FROM things WHERE id = {row}"
    waiting = threading.Thread(target=client.execute, args=(text.encode(),), daemon=True)
    waiting.start()
    request = stack.pending(text)
    shown = stack.reviewer.get(f"/v1/approvals/{request['id']}")
    word = {"digest": shown["digest"], "channel": "cli"}
    stack.reviewer.post(f"/v1/approvals/{request['id']}/approve", word)
    eventually(lambda: stack.approval(request["id"])["stages"][1]["state"] == "waiting", "the second stage")
    asked = time.perf_counter()
    second.post(f"/v1/approvals/{request['id']}/approve", word)
    waiting.join()
    return asked


def _time() -> tuple[int, int]:
    """Of all processors since they started, in ticks: time in which they ran or could have run, and of it the time in which
    their host ran something else (proc(5), `steal`)."""
    fields = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _waiting, interrupts, soft, stolen = fields
    return user + nice + system + interrupts + soft + stolen, stolen


def table(delays: list[float], stolen: float) -> str:
    """`stolen`: the share of the time in which the machine could not work because its host ran others."""
    in_ms = sorted(delay * 1e3 for delay in delays)
    p99 = in_ms[min(len(in_ms) - 1, int(len(in_ms) * 0.99))]
    return "\n".join(
        [
            f"| last of two approvals to the first byte at the target, {len(in_ms)} decisions | |",
            "|---|---|",
            f"| median | {statistics.median(in_ms):.0f} ms |",
            f"| p99 (budget 50 ms) | {p99:.0f} ms |",
            f"| longest | {in_ms[-1]:.0f} ms |",
            f"| of the machine's busy time meanwhile, taken by its neighbours | {stolen:.0%} |",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="twenty decisions, README untouched")
    options = parser.parse_args()
    busy, stolen = _time()
    delays = measure(20 if options.quick else 200)
    busy, stolen = (now - before for now, before in zip(_time(), (busy, stolen), strict=True))
    text = table(delays, stolen / busy)
    sys.stdout.write(f"\n{text}\n")
    if not options.quick:
        head, rest = README.read_text().split(BEGINS)
        README.write_text(f"{head}{BEGINS}\n\n{text}\n\n{ENDS}{rest.split(ENDS)[1]}")


if __name__ == "__main__":
    main()
