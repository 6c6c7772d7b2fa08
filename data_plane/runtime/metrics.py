"""`/healthz`, `/readyz` and Prometheus `/metrics` on a loopback port, from a thread of its own.

Answers even when the event loop is busy; readiness and figures are asked for at each request. One port for the agent:
with several workers each answers on a Unix socket, and the process that watches them on the port (`worker_metrics`).
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily, Metric

StartResponse = Callable[[str, list[tuple[str, str]]], Any]
_PLAIN = ("Content-Type", "text/plain; charset=utf-8")


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    timeout = 5  # a client that says nothing

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        del format, args


class _UnixServer(_Server):
    """What a process of this name that crashed has left is replaced."""

    address_family = socket.AF_UNIX

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        super().__init__(str(path), _Quiet)  # type: ignore[arg-type]  # the path is the address
        path.chmod(0o600)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", 0
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        return self.socket.accept()[0], ("local", 0)

    def server_close(self) -> None:
        super().server_close()
        Path(str(self.server_address)).unlink(missing_ok=True)


class Figures:
    """Collected at each scrape: name, help and how to ask."""

    def __init__(self, gauges: dict[str, tuple[str, Callable[[], float]]]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        for name, (description, ask) in self._gauges.items():
            yield GaugeMetricFamily(f"assentry_{name}", description, value=ask())


def of_this_process(figures: Figures) -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    registry.register(figures)
    return registry


class MetricsServer:
    """`where`: host and port, or the path of a Unix socket. `unready`: why the agent cannot serve now; empty: it can.
    Raises OSError when it cannot listen there."""

    def __init__(self, where: tuple[str, int] | Path, registry: CollectorRegistry, unready: Callable[[], str]) -> None:
        self._metrics = make_wsgi_app(registry)
        self._unready = unready
        self._server: WSGIServer
        if isinstance(where, Path):
            self._server = _UnixServer(where)
        else:
            self._server = _Server(where, _Quiet)
        self._server.set_app(self._answer)
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                page: Iterable[bytes] = self._metrics(environ, start_response)
                return page
            case "/healthz":
                start_response("200 OK", [_PLAIN])
                return [b"ok\n"]
            case "/readyz":
                reason = self._unready()
                start_response("503 Service Unavailable" if reason else "200 OK", [_PLAIN])
                return [f"{reason or 'ready'}\n".encode()]
        start_response("404 Not Found", [_PLAIN])
        return [b"try /healthz, /readyz or /metrics\n"]
