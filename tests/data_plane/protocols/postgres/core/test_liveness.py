"""Whatever is approved, denied, cancelled or loaded meanwhile, in whatever pieces the answers come: all that the client
sends is taken in its order and answered, and nothing is left behind.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from data_plane.gate.interface import Code, Denied
from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.core.states import Phase
from tests.data_plane.protocols.postgres.core.conversation import (
    BIND,
    EXECUTE,
    FLUSH,
    PARSE,
    QUERY,
    SYNC,
    Conversation,
    frames,
)
from tests.data_plane.protocols.postgres.core.small_server import SmallServer

# Allowed, held, not understood, denied, failing, in and out of a transaction.
TEXTS = ("select %d", "insert into t values (%d)", "delete from t where a = %d", "select zap(%d)", "drop table t%d",
         "select %d as fail", "set a.b = %d", "begin --%d", "commit --%d", "rollback --%d")  # fmt: skip
PLENTY = 2_000


def script(choice: random.Random) -> Iterator[tuple[str, bytes, int]]:
    """Text, messages, and how many ReadyForQuery they ask for. Each text stands once."""
    for number in range(choice.randint(1, 8)):
        text = choice.choice(TEXTS) % number
        batch = PARSE("", text) + BIND("", "") + EXECUTE("")
        copy = f"copy t{number} from stdin"
        data = m.encode_copy_data(b"1\n") + m.encode_copy_data(b"2\n") + m.COPY_DONE
        yield choice.choice([
            (text, QUERY(text), 1),
            (text, batch + SYNC, 1),
            (text, batch + FLUSH + SYNC, 1),
            (copy, QUERY(copy) + data, 1),
            (copy, PARSE("", copy) + BIND("", "") + EXECUTE("") + FLUSH + data + SYNC, 1),
        ])  # fmt: skip


class Run:
    """One conversation in which `choice` says what happens next."""

    def __init__(self, choice: random.Random) -> None:
        self.choice = choice
        self.talk, self.server = Conversation(), SmallServer()
        self.talk.names.stale = choice.random() < 0.7
        self.to_server: list[bytes] = []
        self.to_relay = bytearray()
        self.said = list(script(choice))
        self.to_say = bytearray(b"".join(said for _, said, _ in self.said))

    def possible(self) -> Iterator[str]:
        if self.to_say:
            yield "say"
        if self.to_server:
            yield from ("serve",) * 2
        if self.to_relay:
            yield from ("relay",) * 2
        if self.talk.core.held:
            yield from ("approve", "deny", "cancel", "overdue")
        if self.talk.names.waiting:
            yield from ("load", "cancel")

    def happens(self, what: str) -> None:
        core = self.talk.core
        if what == "say":
            core.client_sent(self.piece_of(self.to_say))
        elif what == "serve":
            self.to_relay += self.server.answers(self.to_server.pop(0))
        elif what == "relay":
            core.target_sent(self.piece_of(self.to_relay))
        elif what == "approve":
            self.talk.approve()
        elif what == "deny":
            core.hold_decided(Denied(Code.DENIED, "no"))
        elif what == "cancel":
            core.cancel_requested()
        elif what == "overdue":
            core.hold_overdue()
        else:
            self.talk.names.stale = self.choice.random() < 0.5
            waiting, self.talk.names.waiting = self.talk.names.waiting, []
            for tell in waiting:
                tell()
        self.to_server += frames(bytes(self.talk.to_target_bytes))
        self.talk.to_target_bytes.clear()

    def piece_of(self, data: bytearray) -> bytes:
        size = self.choice.randint(1, min(len(data), 60))
        piece = bytes(data[:size])
        del data[:size]
        return piece


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**32))
def test_all_that_was_sent_is_answered_in_its_order_and_nothing_is_left(seed: int) -> None:
    run = Run(random.Random(seed))
    for _ in range(PLENTY):
        possible = list(run.possible())
        if not possible:
            break
        run.happens(run.choice.choice(possible))
    core = run.talk.core
    assert (run.talk.ended, core._phase, len(core._backlog), len(core._pipeline), run.talk.paused) == (
        "", Phase.READY, 0, 0, False,
    )  # fmt: skip
    assert in_order(run.server.log, [text for text, *_ in run.said])
    told = [frame[:1] for frame in frames(bytes(run.talk.to_client_bytes))]
    assert told.count(b"Z") == sum(asked for *_, asked in run.said)
    judged = {number for number, *_ in run.talk.recorder.of("input")}
    assert {number for number, *_ in run.talk.recorder.of("completed")} == judged


def in_order(ran: list[str], sent: Collection[str]) -> bool:
    """Each at most once."""
    rest = iter(sent)
    return all(text in rest for text in ran)
