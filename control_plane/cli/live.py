"""`assentry approvals watch` on a terminal: the requests that wait as a table that keeps itself true, decided by key.

A key never decides on a line of the table: it opens the whole request first, printed complete into the terminal's own
scrollback, and what is decided on is that print, by its digest. Everything else that is typed is ignored.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import termios
import threading
import tty
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from rich.live import Live
from rich.table import Table
from rich.text import Text

from control_plane.cli.client import Api, ApiError, Json, part
from control_plane.cli.errors import CommandError
from control_plane.cli.output import cell, console, say, warn
from control_plane.cli.watching import Watch
from control_plane.kit.clock import Clock

_AGES_CHANGE: Final = 1.0  # seconds
_ENDED_KEPT: Final = 5
_MOVES: Final = {b"j": 1, b"k": -1, b"\x1b[B": 1, b"\x1b[A": -1}
_OPENS: Final = (b"\r", b"\n", b"a", b"d")  # a and d open too: they decide on what is shown in full only
_ENDS: Final = (b"q", b"\x04")
_HELP: Final = "j/k or arrows choose · Enter opens in full, then a approves, d denies · q ends"

Show = Callable[[Json], None]
Decide = Callable[[Json, str], None]
_VERBS: Final = {b"a": "approve", b"d": "deny"}


class Waiting:
    """What the table shows. A request that ends while somebody looks stays for a while: nothing vanishes."""

    def __init__(self) -> None:
        self._pending: dict[str, Json] = {}
        self._ended: deque[Json] = deque(maxlen=_ENDED_KEPT)
        self._chosen = ""

    def heard(self, approval: Json) -> None:
        known = approval["id"] in self._pending
        if approval["state"] == "pending":
            self._pending[approval["id"]] = approval
        elif known or any(one["id"] == approval["id"] for one in self._ended):
            self._pending.pop(approval["id"], None)
            kept = [one for one in self._ended if one["id"] != approval["id"]]
            self._ended = deque([*kept, approval], maxlen=_ENDED_KEPT)

    @property
    def rows(self) -> list[Json]:
        """Oldest first: the order does not change under the finger when another arrives."""
        return sorted(self._pending.values(), key=lambda one: (one["requested_at"], one["id"]))

    @property
    def ended(self) -> list[Json]:
        return list(self._ended)

    @property
    def chosen(self) -> Json | None:
        rows = self.rows
        return next((one for one in rows if one["id"] == self._chosen), rows[0] if rows else None)

    def move(self, by: int) -> None:
        rows, chosen = self.rows, self.chosen
        if chosen is not None:
            at = max(0, min(len(rows) - 1, rows.index(chosen) + by))
            self._chosen = rows[at]["id"]

    def settle(self) -> None:
        """The choice stays on its request, whatever arrives before it."""
        self._chosen = self.chosen["id"] if self.chosen else ""


def table(waiting: Waiting, now: datetime) -> Table:
    shown = Table(box=None, pad_edge=False, header_style="bold", expand=True, caption=_HELP, caption_style="dim")
    for name in ("code", "since", "requester", "target", "operation", "waits for"):
        shown.add_column(name, no_wrap=name in {"code", "since"}, overflow="fold")
    chosen = waiting.chosen
    for one in waiting.rows:
        mine = "[bold yellow]you[/bold yellow]" if one["you"]["may_decide"] else cell(one["waits_for"])
        style = "reverse" if chosen is not None and one["id"] == chosen["id"] else ""
        shown.add_row(*_cells(one, now), mine, style=style)
    for one in waiting.ended:
        shown.add_row(*_cells(one, now), cell(one["state"]), style="dim")
    if not waiting.rows and not waiting.ended:
        shown.add_row("", "", "", "", Text("nothing waits; this fills by itself", style="dim"), "")
    return shown


def _cells(one: Json, now: datetime) -> tuple[str, ...]:
    hidden = f" [dim]({one['hidden_bytes']} bytes hidden)[/dim]" if one["hidden_bytes"] else ""
    age = max(0, int((now - datetime.fromisoformat(one["requested_at"])).total_seconds()))
    since = f"{age // 60}:{age % 60:02}"
    target = f"{cell(one['target'])} [dim]{cell(one['environment'])}[/dim]"
    count = f"[bold]{one['count']} of[/bold] " if one["count"] > 1 else ""
    return cell(one["short_code"]), since, cell(one["requester"]), target, count + cell(one["headline"]) + hidden


class LiveInbox:
    """One terminal. `show` prints a request in full, `decide` asks and sends, or raises CommandError."""

    def __init__(self, api: Api, clock: Clock, show: Show, decide: Decide) -> None:
        self._api = api
        self._clock = clock
        self._watch = Watch(api, self._news)
        self._show = show
        self._decide = decide
        self._waiting = Waiting()
        self._arrived: deque[Json | Exception] = deque()
        self._bell, self._ring = socket.socketpair()

    def run(self) -> None:
        """Until q or Ctrl-C. Raises ApiError when the control plane refuses."""
        threading.Thread(target=self._listen, daemon=True, name="news of approvals").start()
        while (key := self._until_key()) not in _ENDS:
            chosen = self._waiting.chosen
            if key in _OPENS and chosen is not None:
                self._open(chosen)

    def _listen(self) -> None:
        try:
            self._watch.run()
        except Exception as error:  # noqa: BLE001 - told to the thread that owns the terminal
            self._arrived.append(error)
            self._ring.send(b"!")

    def _news(self, approval: Json) -> None:
        self._arrived.append(approval)
        self._ring.send(b"!")

    def _until_key(self) -> bytes:
        """Keeps the table true until a key that the table itself does not take."""
        with keys() as stdin, Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                self._take_in()
                live.update(table(self._waiting, self._clock.now()), refresh=True)
                ready, _, _ = select.select([stdin, self._bell.fileno()], [], [], _AGES_CHANGE)
                if self._bell.fileno() in ready:
                    self._bell.recv(4096)
                if stdin in ready:
                    key = os.read(stdin, 16)
                    if not key:
                        return b"q"
                    if key not in _MOVES:
                        return key
                    self._waiting.move(_MOVES[key])

    def _take_in(self) -> None:
        while self._arrived:
            news = self._arrived.popleft()
            if isinstance(news, Exception):
                raise news
            self._waiting.heard(news)
        self._waiting.settle()

    def _open(self, chosen: Json) -> None:
        try:
            approval = self._api.get(f"/v1/approvals/{part(chosen['id'])}")
            self._show(approval)
            verb = _VERBS.get(_one_key("[bold]a[/bold] approve · [bold]d[/bold] deny · any other key goes back"))
            if verb:
                self._decide(approval, verb)
        except CommandError as error:
            if isinstance(error, ApiError) and not error.status:
                raise
            warn(f"[red]{cell(str(error))}[/red]")
            _one_key("[dim]any key goes back[/dim]")


def _one_key(hint: str) -> bytes:
    """What was typed before the hint was there is forgotten: nobody decides ahead of what is shown."""
    with keys() as stdin:
        say(hint)
        return os.read(stdin, 16)


@contextmanager
def keys() -> Iterator[int]:
    """Standard input key by key, without echo; as it was afterwards."""
    stdin = sys.stdin.fileno()
    before = termios.tcgetattr(stdin)
    tty.setcbreak(stdin)
    try:
        yield stdin
    finally:
        termios.tcsetattr(stdin, termios.TCSADRAIN, before)
