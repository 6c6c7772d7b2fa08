"""One page of figures and one readiness for all workers of an agent, gathered from their Unix sockets at each request.

Figures are added up, but for those where the worst or the largest tells more. An agent is ready when all its workers
are; one that does not answer is not. The number of those that do is a figure of its own.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

_SECONDS: Final = 2.0  # for a worker to answer
_OPEN_SESSIONS: Final = "assentry_open_sessions"
_TOGETHER: Final[Mapping[str, Callable[[float, float], float]]] = {
    "assentry_link_connected": min,
    "assentry_lease_seconds": min,
    "assentry_snapshot_version": min,
    "process_start_time_seconds": min,
    "process_max_fds": max,
    "python_info": max,
}

_Labels = tuple[tuple[str, str], ...]


def worker_socket(state: Path, index: int) -> Path:
    return state / "workers" / f"worker-{index}.metrics"


class WorkerMetrics:
    """`registry` and `unready` are what `metrics.MetricsServer` asks for."""

    def __init__(self, sockets: Sequence[Path]) -> None:
        self._sockets = sockets
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def collect(self) -> Iterable[Metric]:
        pages = {index: page for index, path in enumerate(self._sockets) if (page := _page(path)) is not None}
        yield GaugeMetricFamily("assentry_workers", "Processes of this agent that answer", value=len(pages))
        shares = GaugeMetricFamily("assentry_worker_open_sessions", "Sessions of each process", labels=["worker"])
        together: dict[str, Metric] = {}
        values: dict[str, dict[tuple[str, _Labels], float]] = {}
        for index, page in pages.items():
            for family in text_string_to_metric_families(page):
                together.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                _add(values.setdefault(family.name, {}), family)
                if family.name == _OPEN_SESSIONS:
                    shares.add_metric([str(index)], family.samples[0].value)
        yield shares
        for name, metric in together.items():
            for (sample, labels), value in values[name].items():
                metric.add_sample(sample, dict(labels), value)
            yield metric

    def unready(self) -> str:
        reasons = [f"worker {index}: {reason}" for index, path in enumerate(self._sockets) if (reason := _reason(path))]
        return "; ".join(reasons)


def _add(values: dict[tuple[str, _Labels], float], family: Metric) -> None:
    put_together = _TOGETHER.get(family.name, float.__add__)
    for sample in family.samples:
        key = (sample.name, tuple(sorted(sample.labels.items())))
        values[key] = put_together(values[key], sample.value) if key in values else float(sample.value)


def _page(path: Path) -> str | None:
    try:
        return _asked(path, "/metrics")[1]
    except (OSError, http.client.HTTPException):
        return None


def _reason(path: Path) -> str:
    try:
        status, text = _asked(path, "/readyz")
    except (OSError, http.client.HTTPException):
        return "does not answer"
    return "" if status == http.HTTPStatus.OK else text.strip()


def _asked(path: Path, page: str) -> tuple[int, str]:
    connection = _UnixConnection(path)
    try:
        connection.request("GET", page)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(str(self._path))
