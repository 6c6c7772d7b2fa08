"""`/healthz`, `/readyz` and `/metrics`."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from data_plane.runtime.metrics import Figures, MetricsServer, of_this_process


class State:
    def __init__(self) -> None:
        self.unready, self.sessions = "no policy snapshot yet", 3


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
def address(state: State) -> Iterator[str]:
    figures = Figures({"open_sessions": ("Sessions that are open", lambda: float(state.sessions))})
    server = MetricsServer(("127.0.0.1", 0), of_this_process(figures), lambda: state.unready)
    yield f"http://127.0.0.1:{server._server.server_port}"
    server.close()


def ask(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_alive_is_not_ready(address: str, state: State) -> None:
    assert ask(f"{address}/healthz") == (200, "ok\n")
    assert ask(f"{address}/readyz") == (503, "no policy snapshot yet\n")
    state.unready = ""
    assert ask(f"{address}/readyz") == (200, "ready\n")


def test_figures_are_asked_for_at_each_scrape(address: str, state: State) -> None:
    assert "assentry_open_sessions 3.0" in ask(f"{address}/metrics")[1]
    state.sessions = 4
    assert "assentry_open_sessions 4.0" in ask(f"{address}/metrics")[1]


def test_other_paths_are_not_found(address: str) -> None:
    assert ask(f"{address}/")[0] == 404
