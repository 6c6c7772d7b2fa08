"""A session answers as a plain server would on which every text that was refused fails, whatever is held, guarded,
widened, masked or pipelined: the same messages in the same order, the same records, and nothing left behind.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from data_plane.gate.interface import Code, Denied
from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.answers import encode_notice
from data_plane.protocols.postgres.core.ports import Limits
from data_plane.protocols.postgres.core.states import Phase
from tests.data_plane.protocols.postgres.core import conversation as c
from tests.data_plane.protocols.postgres.core.plain_server import Server
from tests.data_plane.protocols.postgres.core.test_fuzz import POISON

TEXTS = ("select %d", "insert into t values (%d)", "delete from t where a = %d", "delete from t where a = %d",
         "delete from t where a = %d returning n", "delete from t where a = %d returning fail", "select zap(%d)",
         "drop table t%d", "select %d as fail", "begin /*%d*/", "begin /*%d*/", "commit /*%d*/", "rollback /*%d*/", "set a.b = %d",
         "prepare x as select %d", "prepare p as delete from t where a = %d", "execute x /*%d*/", "execute p /*%d*/",
         "deallocate x /*%d*/", "declare x cursor for select %d from t", "fetch x /*%d*/", "close x /*%d*/",
         "copy t%d to stdout", "create table c%d (a int)")  # fmt: skip
NAMES = ("", "", "x", "p")
OWN = re.compile(rb"assentry_(account|guard)")
PLENTY = 3_000


def script(choice: random.Random) -> Iterator[list[bytes]]:
    """Units: what is judged, skipped or passed on as one."""
    texts = (choice.choice(TEXTS) % number for number in range(1_000))
    for number in range(choice.randint(1, 8)):
        kind, copy = choice.random(), f"copy d{number} from stdin"
        batch = [each for _ in range(choice.choice((1, 1, 2, 3))) for each in messages(choice, next(texts))]
        if kind < 0.1:  # a transaction that begins or ends without Sync
            yield [c.PARSE("", choice.choice(("begin", "commit"))), c.BIND("", ""), c.EXECUTE(""), c.FLUSH]
            yield [c.QUERY(f"delete from d{number} returning {choice.choice(('n', 'fail'))}")]
        elif kind < 0.4:
            yield [c.QUERY("; ".join(next(texts) for _ in range(choice.choice((1, 1, 1, 2, 3)))))]
        elif kind < 0.8:
            yield [*batch, choice.choice((c.SYNC, c.FLUSH))]
        else:
            extended = [c.CLOSE(b"S", "c"), c.PARSE("c", copy), c.BIND("c", "c"), c.EXECUTE("c"), c.FLUSH]
            yield [c.QUERY(copy + choice.choice(("", f"; select {number}")))] if kind < 0.9 else extended
            data = [m.encode_copy_data(choice.choice((b"1\n", b"1\n", b"bad"))) for _ in range(choice.randint(0, 3))]
            yield from ([one] for one in (*data, choice.choice((m.COPY_DONE, m.encode_copy_fail("no")))))
            yield [c.SYNC]
    yield [c.SYNC]


def messages(choice: random.Random, text: str) -> list[bytes]:
    statement, portal, rows = choice.choice(NAMES), choice.choice(NAMES), choice.choice((0, 0, 1, 2))
    run = [c.PARSE(statement, text), c.BIND(portal, statement), c.EXECUTE(portal, rows)]
    closed = [c.CLOSE(choice.choice((b"S", b"P")), statement)]
    plain = [c.PARSE("", text), c.BIND("", ""), c.EXECUTE("")]
    return choice.choice((plain, plain, plain, run, run, closed + run, run[1:], run[2:], run[:1]))


class Run:
    """One conversation in which `choice` says what happens next."""

    def __init__(self, choice: random.Random) -> None:
        self.choice = choice
        self.masked = choice.random() < 0.3
        limits = {"backlog_bytes": choice.choice((30, 1 << 20)), "withheld_bytes": choice.choice((1_000, 1_000, 1 << 20)),
                  "in_flight": choice.choice((1, 3, 1_000)), "batch_messages": choice.choice((5, 1_000))}  # fmt: skip
        self.talk = c.Conversation(
            masking=c.FakeMasking(active=self.masked and choice.random() < 0.5), limits=Limits(**limits)
        )
        self.talk.gate.masks = ("pii",) if self.masked and not self.talk.masking.active else ()
        self.talk.lacking = frozenset({"write"} if choice.random() < 0.3 else ())
        self.talk.names.stale = choice.random() < 0.3
        self.server, self.changes, self.approvals = Server(), 0, 0
        self.sent: list[bytes] = []  # to the server, so far
        self.to_server: list[bytes] = []
        self.to_relay = bytearray()
        self.units = list(script(choice))
        self.patient, self.to_come = choice.random() < 0.3, list(self.units)  # it waits for all answers to each
        self.to_say = bytearray(b"".join(frame for unit in self.units for frame in unit))

    def possible(self) -> Iterator[str]:
        if self.to_say and not self.talk.paused and not (self.patient and (self.to_server or self.to_relay)):
            yield "say"
        if self.to_server:
            yield from ("serve",) * 2
        if self.to_relay:
            yield from ("relay", "relay", "notice" if self.choice.random() < 0.1 else "relay")
        if self.talk.core.held:
            yield from ("approve", "deny", "cancel", "overdue", "withdrawn", "remind", *("guard",) * 3)
        if self.talk.names.waiting:
            yield from ("load", "cancel")
        if self.changes < len(self.talk.account):
            yield "change"

    def happens(self, what: str) -> None:
        talk, core = self.talk, self.talk.core
        talk.gate.changed = Denied(Code.WITHDRAWN, "no") if what == "withdrawn" else None
        if what == "say":
            core.client_sent(self.piece_of(self.to_say, len(b"".join(self.to_come.pop(0))) if self.patient else 0))
        elif what == "serve":
            self.to_relay += self.server.answers(self.to_server.pop(0))
        elif what == "relay":
            core.target_sent(self.piece_of(self.to_relay))
        elif what in ("approve", "guard", "withdrawn"):
            self.approvals += 1
            talk.approve(self.choice.choice((0, 9)) if what == "guard" else None)
        elif what == "deny":
            core.hold_decided(Denied(Code.DENIED, "no"))
        elif what == "cancel":
            core.cancel_requested()
        elif what == "overdue":
            core.hold_overdue()
        elif what == "notice":
            self.to_relay += encode_notice("at any time")
        elif what == "remind":
            core.remind()
        elif what == "change":
            self.changes += 1
            fails = talk.account[-1] != "narrow" and self.choice.random() < 0.2
            core.account_changed("no" if fails else "")
        else:
            talk.names.stale = self.choice.random() < 0.5
            waiting, talk.names.waiting = talk.names.waiting, []
            for tell in waiting:
                tell()
        new = c.frames(bytes(talk.to_target_bytes))
        talk.to_target_bytes.clear()
        self.sent += new
        self.to_server += new
        self.look()

    def look(self) -> None:
        """A session that is idle may be ended: nothing is under way, and nothing would be rolled back."""
        if self.talk.core.idle:
            under_way = [frame for frame in self.to_server if frame[:1] not in (b"d", b"c", b"f", b"H")]
            server = self.server
            assert (under_way, server.copying, server.skips, server.status, server.unsynced) == (
                [], b"", False, "I", False,
            )  # fmt: skip

    def piece_of(self, data: bytearray, size: int = 0) -> bytes:
        most = self.choice.choice((len(data), min(len(data), 60)))
        size = size or self.choice.randint(1, most)
        piece = bytes(data[:size])
        del data[:size]
        return piece


def plain_answers(run: Run) -> list[bytes]:
    """By unit, what a server says to what the client sent, where what was refused, or undone, fails."""
    server, answers, sent = Server(), list[bytes](), without_own(run.sent)
    beyond = {number for number, status, *_ in run.talk.recorder.of("completed") if status.startswith("row guard")}
    undone = {
        b"".join(without_own(c.frames(operation.parts[-1])))
        for operation in run.talk.operations
        if operation.number in beyond
    }
    for unit in run.units:
        told, raw, inside = bytearray(), b"".join(unit), server.status != "I"
        if unit[0][:1] in (b"d", b"c", b"f") or server.copying:
            answers.append(server.answers(unit[0]))
            continue
        goes = [frame for frame in unit if frame != c.FLUSH]
        refused = bool(sent) and sent[0] in POISON
        if refused:
            goes = goes[-1:] if goes and goes[-1] == c.SYNC else []
            told += server.answers(sent.pop(0))
        skipped = server.skips and not refused and sent[: len(goes)] != goes
        for frame in goes[-1:] * (goes[-1:] == [c.SYNC]) if skipped else goes:
            assert sent.pop(0) == frame, "what the client sent, in its order"
            told += server.answers(frame) if raw not in undone else b""
        if raw in undone and not refused:
            told += b"".join(map(server.answers, (POISON[0],) if unit[-1][:1] == b"Q" else (POISON[1], c.SYNC)))
            del sent[: 2 * inside]  # the server was made to fail its transaction
        answers.append(bytes(told))
    assert not sent
    return answers


def without_own(sent: list[bytes]) -> list[bytes]:
    """Without what the gateway says of its own, up to its Sync, and Describe; nor data of COPY, and Flush, which asks for
    nothing."""
    kept, own = [], False
    for frame in sent:
        own = own or (frame[:1] == b"C" and OWN.search(frame) is not None)
        if not own and frame[:1] not in (b"d", b"c", b"f", b"D") and frame != c.FLUSH:
            kept.append(frame)
        own = own and frame != c.SYNC
    return kept


def told(data: bytes) -> list[str]:
    """Errors, rows and data are told by the gateway in its own words."""
    shown = (c.shown(frame, from_client=False) for frame in c.frames(data))
    return [one.split()[0] if one[:3] in ("Err", "Row", "Cop") else one for one in shown if one[:6] != "Notice"]


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_a_session_answers_as_a_plain_server_would(seed: int) -> None:
    run = Run(random.Random(seed))
    for _ in range(PLENTY):
        possible = list(run.possible())
        if not possible or run.talk.ended:
            break
        run.happens(run.choice.choice(possible))
    talk, core = run.talk, run.talk.core
    assert (talk.ended, core._phase, len(core._backlog), len(core._pipeline), talk.paused, run.to_say) == (
        "", Phase.READY, 0, 0, False, bytearray(),
    )  # fmt: skip
    answers = plain_answers(run)
    assert told(bytes(talk.to_client_bytes)) == told(b"".join(answers))
    judged = {number for number, *_ in talk.recorder.of("input")}
    assert sorted(number for number, *_ in talk.recorder.of("completed")) == sorted(judged)
    assert len(talk.gate.executions) == run.approvals, "what becomes of an approval is told once"
