"""A client of the gateway as a test needs one: what it asked for and has not heard of yet, and when it was cut off."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from tests.support.stack import Stack

WAIT = 30


class Client:
    """psycopg, unmodified, in autocommit. `start` asks in a thread of its own; one statement at a time."""

    def __init__(self, stack: Stack, target: str, token: str = "", name: str = "") -> None:
        dsn = stack.dsn(target) if not token else stack.dsn(target).replace(stack.token, token)
        self.connection = psycopg.connect(dsn, autocommit=True, application_name=name or "faults")
        self.notices: list[str] = []
        self.connection.add_notice_handler(lambda notice: self.notices.append(str(notice.message_primary)))
        self._asking: threading.Thread | None = None

    def ask(self, statement: str) -> Any:
        """The first value of the answer; the status when there is none. Raises psycopg.Error."""
        cursor = self.connection.execute(statement)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else cursor.statusmessage

    def start(self, statement: str) -> Future[Any]:
        future: Future[Any] = Future()

        def work() -> None:
            try:
                future.set_result(self.ask(statement))
            except BaseException as error:  # told to whoever asks the future
                future.set_exception(error)

        self._asking = threading.Thread(target=work, daemon=True)
        self._asking.start()
        return future

    def close(self) -> None:
        """Goes away, also in the middle of a statement: libpq does not bear to be closed while another thread is in it,
        so that one is sent away first."""
        if self._asking is not None and self._asking.is_alive():
            with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(self.connection.fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)
            self._asking.join(WAIT)
        self.connection.close()

    def hears(self, seconds: float = WAIT) -> float:
        """When something comes from the gateway that nobody asked for; the monotonic clock."""
        readable, _, _ = select.select([self.connection.fileno()], [], [], seconds)
        assert readable, "nothing came from the gateway"
        return time.monotonic()

    def farewell(self) -> psycopg.Error:
        """What an idle session that was ended says to its next statement."""
        return failure(self.start("SELECT 'after the end'"))


def failure(asked: Future[Any], seconds: float = WAIT) -> psycopg.Error:
    """The error that the statement ended with; an answer is none."""
    error = asked.exception(seconds)
    assert isinstance(error, psycopg.Error), f"no error but {asked.result() if error is None else error!r}"
    return error


def refusal(stack: Stack, target: str, token: str = "", within: float = 0.0) -> str:
    """Why a new connection is refused: now, or after so many seconds at the latest."""
    until = time.monotonic() + within
    while True:
        try:
            Client(stack, target, token).close()
        except psycopg.OperationalError as error:
            return str(error)
        assert time.monotonic() < until, "the connection was not refused"


@contextmanager
def connected(stack: Stack, target: str, token: str = "", name: str = "") -> Iterator[Client]:
    client = Client(stack, target, token, name)
    try:
        yield client
    finally:
        client.close()
