"""`/healthz`, `/readyz` and Prometheus `/metrics` on a loopback port, from a thread of its own.

Answers even when the event loop is busy; readiness and figures are asked for at each request. With several workers
each serves its own figures on the next port after the first one's, in the order of the workers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

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


class Figures:
    """Collected at each scrape: name, help and how to ask."""

    def __init__(self, gauges: dict[str, tuple[str, Callable[[], float]]]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        for name, (description, ask) in self._gauges.items():
            yield GaugeMetricFamily(f"assentry_{name}", description, value=ask())


class MetricsServer:
    """`unready`: why the agent cannot serve now; empty: it can."""

    def __init__(self, host: str, port: int, figures: Figures, unready: Callable[[], str]) -> None:
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        registry.register(figures)
        self._metrics = make_wsgi_app(registry)
        self._unready = unready
        self._server = make_server(host, port, self._answer, server_class=_Server, handler_class=_Quiet)
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
