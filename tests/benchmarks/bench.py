"""`make bench`: pgbench and a bulk read, direct, through PgBouncer and through Assentry, side by side in one run.

Rounds are interleaved over the endpoints, each in another order, so that a noisy moment of the machine hits all of them;
medians are told.
The table goes into README.md beside this file. `--quick` is for trying a change.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.measure import Endpoint, Sample, bulk, pgbench, ratio_rows
from tests.support.pgbouncer import running_pgbouncer
from tests.support.postgres import PostgresServer, running_postgres
from tests.support.stack import ALLOW_ALL, HOST, REQUESTER, Stack, document, policy, running_stack, target

SCALE = 10
ROWS = SCALE * 100_000
DATABASE = "bench"
BULK = "SELECT aid, bid, abalance, filler FROM pgbench_accounts"
VARIANTS = ("plain", "mask-idle", "mask-column", "detect-idle")
NAMES = ("direct", "pgbouncer", *VARIANTS)
SAYS = {
    "plain": "policy and recording",
    "mask-idle": "and a column mask that matches nothing",
    "mask-column": "and a column that is masked",
    "detect-idle": "and detectors that match nothing",
}
README = Path(__file__).parent / "README.md"
MARK = "<!-- the latest table -->"


def documents(server: PostgresServer) -> list[dict[str, object]]:
    masks = {
        "mask-idle": {"columns": [{"column": "public.pgbench_tellers.filler"}]},
        "mask-column": {"columns": [{"column": "public.pgbench_accounts.abalance"}]},
        "detect-idle": {"detectors": [{"detect": "email"}, {"detect": "card"}, {"detect": "jwt"}]},
    }
    made: list[dict[str, object]] = [document("Mask", name, **spec) for name, spec in masks.items()]
    for name in VARIANTS:
        made.append(target(name, server, DATABASE))
        extra = [{"name": "masked", "mask": [name]}] if name in masks else []
        made.append(policy(name, name, ALLOW_ALL, *extra))
    return made


@contextmanager
def endpoints() -> Iterator[tuple[dict[str, Endpoint], PostgresServer]]:
    with ExitStack() as stack:
        server = stack.enter_context(running_postgres("log_statement=none", "shared_buffers=512MB"))
        server.execute(f"CREATE DATABASE {DATABASE}")
        direct = Endpoint("direct", server.port, server.superuser, server.password, DATABASE)
        command = [str(server.bin / "pgbench"), "-i", "-q", "-s", str(SCALE)]
        subprocess.run(command, env=direct.environment, check=True, capture_output=True)
        port, pid = stack.enter_context(running_pgbouncer(server))
        bouncer = Endpoint("pgbouncer", port, server.superuser, server.password, DATABASE, (pid,))
        accounts = dict.fromkeys(VARIANTS, (server.superuser, server.password))
        running = stack.enter_context(running_stack(server, documents(server), accounts))
        found = {"direct": direct, "pgbouncer": bouncer, **_through(running)}
        beside = (running.agent.plane.process.pid, running.control.plane.process.pid)
        yield {name: replace(endpoint, beside=beside) for name, endpoint in found.items()}, server


def _through(stack: Stack) -> dict[str, Endpoint]:
    pids = (stack.agent.plane.process.pid,)
    return {name: Endpoint(name, stack.port(name), REQUESTER, stack.token, DATABASE, pids) for name in VARIANTS}


def measure(rounds: int, seconds: int) -> dict[str, dict[str, Sample]]:
    """Samples by measurement and endpoint."""
    found: dict[str, dict[str, Sample]] = defaultdict(lambda: defaultdict(Sample))
    with endpoints() as (reached, server):
        plan = [(mode, clients) for mode in ("simple", "prepared") for clients in (1, 8, 32)]
        for number in range(rounds):
            order = NAMES[number % len(NAMES) :] + NAMES[: number % len(NAMES)]
            for mode, clients in plan:
                for name in order:
                    rate, cpu = pgbench(reached[name], server.bin / "pgbench", mode, clients, seconds)
                    _keep(found[f"`-S` {mode}, {clients} clients"][name], rate, cpu)
            for name in order:
                rate, cpu = bulk(reached[name], server.bin / "psql", BULK, ROWS)
                _keep(found["bulk read, rows"][name], rate, cpu)
            sys.stderr.write(".")
            sys.stderr.flush()
    return found


def _keep(sample: Sample, rate: float, cpu: float) -> None:
    sample.rate.append(rate)
    sample.cpu_us.append(cpu)


def table(found: dict[str, dict[str, Sample]]) -> str:
    lines = [f"| per second | {' | '.join(NAMES)} |", f"|---|{'---|' * len(NAMES)}"]
    for name, samples in found.items():
        yardstick = "direct" if name.startswith("bulk") else "pgbouncer"
        lines.append(f"| {name} (× {yardstick}) | {' | '.join(ratio_rows(samples, NAMES, yardstick))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each run of pgbench")
    parser.add_argument("--quick", action="store_true", help="one short round, README untouched")
    options = parser.parse_args()
    found = measure(1, 3) if options.quick else measure(options.rounds, options.seconds)
    text = (
        f"{HOST}, {platform.machine()}, Python {platform.python_version()}; {len(NAMES)} endpoints\n\n{table(found)}\n"
    )
    sys.stdout.write("\n" + text)
    if not options.quick:
        head = README.read_text().split(MARK)[0]
        README.write_text(f"{head}{MARK}\n\n{text}")


if __name__ == "__main__":
    main()
