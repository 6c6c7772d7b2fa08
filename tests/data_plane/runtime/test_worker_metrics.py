"""One port for all workers: figures are put together, and the agent is as ready as the least ready of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from data_plane.runtime.metrics import Figures, MetricsServer, of_this_process
from data_plane.runtime.worker_metrics import WorkerMetrics
from tests.data_plane.runtime.test_metrics import ask


class Worker:
    def __init__(self, path: Path, sessions: int, lease: int) -> None:
        self.unready = ""
        figures = {
            "open_sessions": ("Sessions that are open", lambda: float(sessions)),
            "lease_seconds": ("How long the lease still runs", lambda: float(lease)),
        }
        self.server = MetricsServer(path, of_this_process(Figures(figures)), lambda: self.unready)


class Agent:
    def __init__(self, folder: Path) -> None:
        self.paths = [folder / f"worker-{index}.metrics" for index in range(2)]
        self.workers = [Worker(self.paths[0], 3, 50), Worker(self.paths[1], 4, 40)]
        both = WorkerMetrics(self.paths)
        self.server = MetricsServer(("127.0.0.1", 0), both.registry, both.unready)
        self.url = f"http://127.0.0.1:{self.server._server.server_port}"

    def figures(self) -> dict[str, float]:
        lines = [line for line in ask(f"{self.url}/metrics")[1].splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    agent = Agent(tmp_path)
    with ExitStack() as stack:
        for server in (agent.server, *(worker.server for worker in agent.workers)):
            stack.callback(server.close)
        yield agent


def test_figures_are_added_up_or_the_worst_is_told(agent: Agent) -> None:
    figures = agent.figures()
    assert figures["assentry_workers"] == 2
    assert figures["assentry_open_sessions"] == 7
    assert figures["assentry_lease_seconds"] == 40
    assert [figures[f'assentry_worker_open_sessions{{worker="{index}"}}'] for index in (0, 1)] == [3, 4]
    assert figures["process_cpu_seconds_total"] > 0
    assert [value for name, value in figures.items() if name.startswith("python_info")] == [1]


def test_the_agent_is_ready_when_every_worker_is(agent: Agent) -> None:
    assert ask(f"{agent.url}/readyz") == (200, "ready\n")
    agent.workers[1].unready = "draining"
    assert ask(f"{agent.url}/readyz") == (503, "worker 1: draining\n")
    assert ask(f"{agent.url}/healthz") == (200, "ok\n")


def test_a_worker_that_does_not_answer_is_told_and_left_out(agent: Agent) -> None:
    agent.workers.pop().server.close()
    assert ask(f"{agent.url}/readyz") == (503, "worker 1: does not answer\n")
    assert (agent.figures()["assentry_workers"], agent.figures()["assentry_open_sessions"]) == (1, 3)


def test_the_socket_of_a_crashed_worker_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "worker-0.metrics"
    path.touch()
    worker = Worker(path, 1, 1)
    assert WorkerMetrics([path]).unready() == ""
    worker.server.close()
    assert not path.exists()
