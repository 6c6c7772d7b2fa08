"""Runs pgbench and bulk reads against one endpoint and reads what the process in between used of the CPU."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median

TICKS = os.sysconf("SC_CLK_TCK")
LOOK_SECONDS = 0.5
IDLE = 0.05  # of a core: what processes at rest use at most
PATIENCE_SECONDS = 15.0
_PROGRESS = re.compile(r"progress: ([\d.]+) s, ([\d.]+) tps")


@dataclass(frozen=True)
class Endpoint:
    """Where pgbench connects. `pids`: the processes in between, whose CPU time is charged to the operations.
    `beside`: those that must have come to rest before anything is measured."""

    name: str
    port: int
    user: str
    password: str
    database: str
    pids: tuple[int, ...] = ()
    beside: tuple[int, ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGDATABASE": self.database,
            "PGSSLMODE": "disable",
        }

    def cpu_seconds(self) -> float:
        """User and system time of the processes in between so far."""
        return _cpu_seconds(self.pids)

    def rest(self) -> None:
        """What ended sessions leave to do (recordings are sealed, shipped and stored) is no part of what comes next."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.beside and time.monotonic() < deadline:
            before = _cpu_seconds(self.beside)
            time.sleep(LOOK_SECONDS)
            if _cpu_seconds(self.beside) - before <= IDLE * LOOK_SECONDS:
                return


def _cpu_seconds(pids: Sequence[int]) -> float:
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


@dataclass
class Sample:
    """Rounds of one measurement at one endpoint: operations per second, and CPU µs per operation in between."""

    rate: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    @property
    def median_rate(self) -> float:
        return median(self.rate)

    @property
    def median_cpu_us(self) -> float:
        return median(self.cpu_us)


def pgbench(endpoint: Endpoint, binary: Path, mode: str, clients: int, seconds: int) -> tuple[float, float]:
    """`pgbench -S` for a while: (transactions per second, CPU µs per transaction in between).

    Counted from its first report of progress to its last: then every session is open and none is being closed."""
    endpoint.rest()
    command = [binary, "-n", "-S", "-P", 1, "-M", mode, "-c", clients, "-j", min(clients, 2), "-T", seconds]
    reports: list[tuple[float, float, float]] = []  # seconds, transactions in each since the one before, CPU so far
    said: list[str] = []
    with subprocess.Popen(
        [str(word) for word in command],
        env=endpoint.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        for line in running.stderr or ():
            said.append(line)
            if found := _PROGRESS.match(line):
                reports.append((float(found[1]), float(found[2]), endpoint.cpu_seconds()))
    if running.returncode or len(reports) < 2:
        raise RuntimeError(f"pgbench against {endpoint.name} failed: {''.join(said)[-2000:]}")
    count = sum((at - before) * rate for (before, _, _), (at, rate, _) in pairwise(reports))
    (began, _, used_before), (ended, _, used) = reports[0], reports[-1]
    return count / (ended - began), (used - used_before) / count * 1e6


def bulk(endpoint: Endpoint, psql: Path, query: str, rows: int) -> tuple[float, float]:
    """One big result, thrown away: (rows per second, CPU µs per row in between)."""
    endpoint.rest()
    before, started = endpoint.cpu_seconds(), time.perf_counter()
    command = [str(psql), "-X", "-q", "-A", "-t", "-o", "/dev/null", "--set", "FETCH_COUNT=0", "-c", query]
    done = subprocess.run(command, env=endpoint.environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"bulk read against {endpoint.name} failed: {done.stderr[-2000:]}")
    elapsed = time.perf_counter() - started
    return rows / elapsed, (endpoint.cpu_seconds() - before) / rows * 1e6


def ratio_rows(samples: dict[str, Sample], names: Sequence[str], yardstick: str) -> list[str]:
    """Markdown cells of one measurement: rate and CPU µs, each with its ratio to the yardstick. A ratio is the median of
    those of the rounds: what the machine does to a round it does to both sides of it."""
    beside = samples[yardstick]
    cells = []
    for name in names:
        sample = samples[name]
        cell = f"{sample.median_rate:,.0f} ({_ratio(sample.rate, beside.rate)})"
        if sample.median_cpu_us:
            ratio = f" ({_ratio(sample.cpu_us, beside.cpu_us)})" if beside.median_cpu_us else ""
            cell += f", {sample.median_cpu_us:.1f} µs{ratio}"
        cells.append(cell)
    return cells


def _ratio(values: Sequence[float], beside: Sequence[float]) -> str:
    return f"{median(one / other for one, other in zip(values, beside, strict=True)):.2f}×"
