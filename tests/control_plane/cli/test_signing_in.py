"""`assentry login` in a browser: what is printed and opened, how it waits, and how it ends. No network here."""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path
from typing import Any

import pytest

from control_plane.cli import signing_in
from control_plane.cli.client import ApiError
from control_plane.cli.config import DEFAULT_URL, Profile, load_profile, shows_a_browser
from control_plane.cli.errors import CommandError
from control_plane.cli.signing_in import confirmed

ASKED = {"device_code": "assentry_d_x", "interval": 5, "expires_in": 600}
OPENED = {"access_token": "assentry_s_x", "name": "ada"}
SCREEN = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION")


def said(error: str, status: int = 400) -> ApiError:
    return ApiError(error, status, {"error": error})


class Told:
    """An Api that answers so, one after the other; the last one for ever. Time passes only by sleeping."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.asked: list[dict[str, str]] = []
        self.slept: list[float] = []

    def form(self, path: str, **fields: str) -> Any:
        self.asked.append({"path": path, **fields})
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wait(self) -> Any:
        return confirmed(self, ASKED, self.slept.append, lambda: sum(self.slept))  # type: ignore[arg-type]


def test_it_waits_as_long_as_it_is_told_and_longer_from_then_on_when_it_was_too_quick() -> None:
    api = Told(said("authorization_pending"), said("slow_down"), said("authorization_pending"), OPENED)
    assert api.wait() == OPENED
    assert api.slept == [5, 5, 10, 10]
    assert {one["device_code"] for one in api.asked} == {"assentry_d_x"}


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("access_denied", "was refused"),
        ("expired_token", "nobody confirmed it in time"),
        ("invalid_grant", "invalid_grant"),
    ],
)
def test_a_refusal_ends_it_at_once(error: str, told: str) -> None:
    api = Told(said(error))
    with pytest.raises(CommandError, match=told):
        api.wait()
    assert len(api.asked) == 1


def test_it_gives_up_when_the_codes_are_too_old() -> None:
    api = Told(said("authorization_pending"))
    with pytest.raises(CommandError, match="nobody confirmed it in time"):
        api.wait()
    assert sum(api.slept) == 600


def test_a_control_plane_that_restarts_is_asked_again_less_and_less_often() -> None:
    away = ApiError("cannot reach the control plane")
    api = Told(away, away, ApiError("busy", 503), away, OPENED)
    assert api.wait() == OPENED
    assert api.slept == [5, 10, 20, 40, 60]


def test_another_refusal_is_told_as_it_is() -> None:
    api = Told(ApiError("'corp' says who you are, but nobody here is linked to that", 403))
    with pytest.raises(ApiError, match="nobody here is linked"):
        api.wait()


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the browser was opened with, by somebody at a terminal of a machine with a screen."""
    opened: list[str] = []
    for name in SCREEN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(signing_in, "on_a_terminal", lambda: True)
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(signing_in, "confirmed", lambda _api, _asked: OPENED)
    return opened


def begin(link: str = "https://here.example/device?code=WDJB-MJHT", *, open_it: bool = True) -> Told:
    api = Told({**ASKED, "user_code": "WDJB-MJHT", "verification_uri_complete": link})
    signing_in._by_browser(api, "", open_it=open_it)  # type: ignore[arg-type]
    return api


def test_where_there_is_a_screen_the_link_is_opened_and_printed_too(screen: list[str], capsys) -> None:
    begin()
    assert screen == ["https://here.example/device?code=WDJB-MJHT"]
    printed = capsys.readouterr().out
    assert "https://here.example/device?code=WDJB-MJHT" in printed
    assert "WDJB-MJHT" in printed


def test_no_browser_is_opened_when_the_output_is_no_terminal(screen: list[str], monkeypatch) -> None:
    monkeypatch.setattr(signing_in, "on_a_terminal", lambda: False)
    begin()
    assert screen == []


def test_no_browser_is_opened_when_that_is_not_wanted(screen: list[str]) -> None:
    begin(open_it=False)
    assert screen == []


def test_a_sign_in_makes_the_profile_that_is_named(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ASSENTRY_PROFILE", str(tmp_path / "new" / "profile.json"))
    monkeypatch.delenv("ASSENTRY_URL", raising=False)
    monkeypatch.delenv("ASSENTRY_TOKEN", raising=False)
    opened = {**OPENED, "token": "assentry_s_x", "expires_at": "2026-03-01T12:00:00Z"}
    monkeypatch.setattr(signing_in, "_by_browser", lambda _api, _provider, open_it: opened)
    signing_in.login()
    assert load_profile() == Profile(DEFAULT_URL, "assentry_s_x")


@pytest.mark.parametrize("link", ["file:///etc/passwd", "javascript:alert(1)", "-remote", ""])
def test_only_a_page_is_opened(screen: list[str], link: str) -> None:
    begin(link)
    assert screen == []


def test_what_a_control_plane_prints_moves_no_cursor(screen: list[str], capsys) -> None:
    begin("https://here.example/\x1b[2J[bold]x")
    assert "\x1b[2J" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({}, False),
        ({"DISPLAY": ":0"}, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, True),
        ({"DISPLAY": "localhost:10.0", "SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}, False),
        ({"BROWSER": "firefox", "SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}, True),
    ],
)
def test_a_browser_is_shown_where_somebody_sees_it(monkeypatch, environment: dict[str, str], shown: bool) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for name in SCREEN:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert shows_a_browser() is shown
