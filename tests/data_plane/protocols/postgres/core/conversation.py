"""A session between a scripted client and a scripted target, with a gate that rules by the verb of a statement.

`Conversation` is both sockets: `client(...)` and `target(...)` say something, `take_client()` and `take_target()` give
what arrived since the last look, as readable messages.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from data_plane.gate.interface import (
    Allowed,
    Code,
    Decision,
    Denied,
    Effect,
    Gate,
    Held,
    Operation,
    Pending,
    Permit,
    Requester,
    SessionFacts,
    Subject,
    TargetFacts,
    Verdict,
)
from data_plane.identifiers import ApprovalId, CredentialId, IdentityId, OperationId, SessionId, TargetName
from data_plane.protocols.postgres import answers as a
from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.core import Limits, SessionCore
from data_plane.protocols.postgres.core.binding import read_bind
from data_plane.protocols.postgres.core.parameters import all_shown
from data_plane.protocols.postgres.framing import HEADER, FrameReader, RemoteProtocolError, encode
from data_plane.protocols.postgres.interface import Masking, Names
from data_plane.protocols.postgres.statements import StatementClassifier
from data_plane.recording.interface import Recorder

CLASSIFIER = StatementClassifier()
FACTS = SessionFacts(
    SessionId("ses_1"),
    TargetFacts(TargetName("orders"), "postgres", "production", {}),
    Requester(IdentityId("idn_1"), "agent", "machine", ()),
    CredentialId("crd_1"),
    "127.0.0.1",
    "psql",
)
PARAMETERS = {
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "DateStyle": "ISO, MDY",
    "search_path": '"$user", public',
    "database": "shop",
    "user": "app",
}
HOLD = Decision(Effect.HOLD, ("p/hold",), chain="dba")
PENDING = Pending(ApprovalId("apr_1"), "7F3A", "https://gw/a/7F3A", "1 of group dba", ("p/hold",), 600)


class FakeGate(Gate):
    """DROP is denied, DELETE is held, SESSION and everything else that is understood flows."""

    def __init__(self, masks: tuple[str, ...] = ()) -> None:
        self.judged: list[tuple[int, tuple[Subject, ...], bytes]] = []
        self.executions: list[tuple[bytes, str, str]] = []
        self.permitted: set[bytes] = set()
        self.masks = masks
        self.broken = False
        self.snapshot = "the first"
        self.changed: Denied | None = None  # what has become of an approval meanwhile

    def ground(self) -> object:
        return self.snapshot

    def decide(self, subjects: Sequence[Subject]) -> Decision:
        allowed = all(subject.understood and "DROP" not in subject.verbs for subject in subjects)
        return Decision(Effect.ALLOW if allowed else Effect.DENY, ())

    def permit(self, raw: bytes, most_rows: int | None = None) -> Permit:
        self.permitted.add(raw)
        return Permit(raw, Decision(Effect.ALLOW, ("p/allow",)), most_rows)

    def judge(self, number: int, subjects: Sequence[Subject], raw: bytes) -> Verdict:
        if self.broken:
            raise ValueError("a bug in a rule")
        self.judged.append((number, tuple(subjects), raw))
        verbs = {verb for subject in subjects for verb in subject.verbs}
        if "DROP" in verbs:
            return Denied(Code.POLICY, "not allowed by p/deny", rules=("p/deny",))
        if not all(subject.understood for subject in subjects):
            return Denied(Code.NOT_UNDERSTOOD, "not understood")
        return Held(HOLD) if "DELETE" in verbs else Allowed(self.permit(raw), self.masks)

    def hold(self, operation: Operation, held: Held, raw: bytes, listener: Any, preview: Any = None) -> Any:
        raise AssertionError("the driver holds")

    def stands(self, permit: Permit) -> Denied | None:
        return self.changed

    def executed(self, permit: Permit, outcome: str, detail: str) -> None:
        self.executions.append((permit.raw, outcome, detail))


class FakeRecorder(Recorder):
    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.error: Exception | None = None

    def input(
        self, number: int, text: str, parameters: Sequence[tuple[str, str, str]] = (), bind: bytes = b"",
        types: Sequence[int] = (),
    ) -> None:  # fmt: skip
        if self.error:
            raise self.error
        if bind:
            _, _, formats, values, _ = read_bind(bind)
            parameters = [(one.name, one.type, one.value) for one in all_shown(formats, values, types)]
        self.events.append(("input", number, text, tuple(parameters)))

    def asked(self, number: int, text: str, bind: bytes, types: Any) -> None:
        self.input(number, text, (), bind, types)

    def answered(self, number: int, data: bytes, status: str, rows: int) -> None:
        self.output(number, data)
        self.completed(number, status, rows, rows, len(data))

    def decided(self, number: int, effect: str, action: str, rules: Any, code: str = "", message: str = "") -> None:
        self.events.append(("decided", number, effect, code, message))

    def output(self, number: int, data: bytes) -> None:
        self.events.append(("output", number, data))

    def completed(self, number: int, status: str, rows: int, rows_kept: int, size: int) -> None:
        self.events.append(("completed", number, status, rows, rows_kept))

    def held(self, *_: Any) -> None: ...

    def hold_ended(self, *_: Any) -> None: ...

    def closed(self, reason: str) -> None: ...

    async def durable(self) -> None: ...

    def of(self, kind: str) -> list[tuple[Any, ...]]:
        return [event[1:] for event in self.events if event[0] == kind]

    def outputs(self, number: int) -> bytes:
        return b"".join(data for of, data in self.of("output") if of == number)


class FakeNames(Names):
    def __init__(self) -> None:
        self.paths: list[tuple[str, ...]] = []
        self.changes, self.stale = 0, False
        self.under_way: frozenset[str] = frozenset()
        self.waiting: list[Callable[[], None]] = []
        self.schema = ""  # where every relation is; empty: not known

    def resolve(self, subject: Subject, path: Any) -> Subject:
        self.paths.append(path.schemas)
        return _within(self.schema, subject) if self.schema else subject

    def runs_code(self, types: Iterable[int]) -> bool:
        return 99_999 in types

    def changed(self, by: Collection[Subject], *, names: frozenset[str] = frozenset()) -> None:
        del by, names
        self.changes += 1

    def altering(self, session: object, names: frozenset[str]) -> None:
        del session
        self.under_way = names

    def unsure(self, subjects: Iterable[Subject]) -> bool:
        return bool(subjects)

    def when_loaded(self, tell: Callable[[], None]) -> None:
        self.waiting.append(tell)


def _within(schema: str, subject: Subject) -> Subject:
    known = [replace(one, candidates=tuple(f"{schema}.{name}" for name in one.candidates)) for one in subject.resources]
    return replace(subject, resources=tuple(known))


class Stars:
    """Masks every cell of every row; like the real ones it never raises."""

    def mask_rows(self, rows: bytes) -> bytes:
        return b"".join(a.encode_data_row(stars(frame[HEADER:])) for frame in frames(rows))


def stars(row: bytes) -> list[bytes | None]:
    try:
        return [None if cell is None else b"*" for cell in a.decode_data_row(row)]
    except RemoteProtocolError:
        return [None]


class StarCopy:
    broken = False

    def mask_data(self, data: bytes) -> bytes:
        self.broken = self.broken or b"unreadable" in data
        return b"" if self.broken else b"*\n" * data.count(b"\n")

    def finish(self) -> bytes:
        return b""


class FakeMasking(Masking):
    def __init__(self, *, active: bool = False) -> None:
        self.active = active
        self.asked: list[tuple[Any, ...]] = []

    def result(self, description: bytes, formats: Any, statement: Any, masks: Any) -> Stars | None:
        self.asked.append((description, tuple(formats), statement, masks))
        return Stars()

    def copy(self, statement: Any, masks: Any) -> StarCopy | None:
        return StarCopy()

    def message(self, payload: bytes, *, masked: bool) -> bytes:
        return payload.replace(b"secret", b"masked")

    def launders(self, statement: Any, masks: Any) -> bool:
        return b"ssn" in b" ".join(name.encode() for source in statement.stores.outputs for name in source.columns)

    def hidden(self, names: frozenset[str]) -> None:
        self.asked.append(("hidden", names))

    def in_doubt(self, *, altered: bool) -> None:
        self.asked.append(("in doubt", altered))

    def carries_mark(self, data: bytes) -> bool:
        return "‹masked".encode() in data


class Conversation:
    """Also the core's Output."""

    def __init__(self, *, masking: FakeMasking | None = None, limits: Limits | None = None, row_limit: int = 100,
                 masks: tuple[str, ...] = (), pieces: Callable[[bytes], Iterator[bytes]] | None = None) -> None:  # fmt: skip
        self.gate, self.recorder, self.names = FakeGate(), FakeRecorder(), FakeNames()
        self.masking = masking or FakeMasking()
        self.pieces = pieces or (lambda data: iter((data,)))
        self.to_client_bytes, self.to_target_bytes = bytearray(), bytearray()
        self.permitted, self.controls, self.told = bytearray(), [], 0
        self.operations: list[Operation] = []
        self.ended, self.paused, self.hold_end = "", False, None
        self.lacking: frozenset[str] = frozenset()  # rights that the account of the session has not
        self.account: list[str] = []  # what became of it, and what is being done to it
        numbers = itertools.count(1)
        self.core = SessionCore(
            facts=FACTS, gate=self.gate, classifier=CLASSIFIER, names=self.names, masking=self.masking,
            recorder=self.recorder, output=self, limits=limits or Limits(), masks=masks, row_limit=row_limit,
            parameters=PARAMETERS, new_operation_id=lambda: OperationId(f"op_{next(numbers)}"),
        )  # fmt: skip

    # ------------------------------------------------ Output

    def to_client(self, data: bytes) -> None:
        assert not self.ended
        self.to_client_bytes += data

    def to_target(self, permit: Permit) -> None:
        assert permit.raw in self.gate.permitted, "invariant 1: no byte without a permit"
        self.permitted += permit.raw
        self.to_target_bytes += permit.raw

    def control_to_target(self, data: bytes) -> None:
        self.controls.append(data)
        self.to_target_bytes += data

    def pause_client(self) -> None:
        self.paused = True

    def resume_client(self) -> None:
        self.paused = False

    def hold(self, operation: Operation, held: Held, raw: bytes, limit_seconds: float = 0, preview: Any = None) -> None:
        self.preview = preview
        self.operations.append(operation)
        self.hold_limit = limit_seconds
        self.held_raw = raw

    def hold_ended(self, cancelled: str = "") -> None:
        self.hold_end = cancelled

    def lacks(self, actions: Iterable[str]) -> bool:
        self.asked = frozenset(actions)
        return not self.lacking.isdisjoint(self.asked)

    def widen(self, actions: Iterable[str]) -> None:
        self.account.append(f"widen {' '.join(sorted(actions))}")

    def narrow(self) -> None:
        self.account.append("narrow")

    def tell(self, when: Callable[[Callable[[], None]], None], number: int) -> None:
        when(partial(self.core.told, number))

    def end(self, reason: str) -> None:
        assert not self.ended
        self.ended = reason

    # ------------------------------------------------ the two sockets

    def client(self, *messages: bytes) -> None:
        for piece in self.pieces(b"".join(messages)):
            self.core.client_sent(piece)

    def target(self, *messages: bytes) -> None:
        for piece in self.pieces(b"".join(messages)):
            self.core.target_sent(piece)

    def take_client(self) -> list[str]:
        taken, self.to_client_bytes = bytes(self.to_client_bytes), bytearray()
        return [shown(frame, from_client=False) for frame in frames(taken)]

    def take_target(self) -> list[str]:
        taken, self.to_target_bytes = bytes(self.to_target_bytes), bytearray()
        return [shown(frame, from_client=True) for frame in frames(taken)]

    def approve(self, most_rows: int | None = None) -> None:
        self.core.hold_decided(Allowed(self.gate.permit(self.held_raw, most_rows)))


def frames(data: bytes) -> list[bytes]:
    reader = FrameReader([1 << 30] * 256)
    found = list(reader.feed(data))
    assert not reader.buffered, "half a message was left"
    return found


def bytewise(data: bytes) -> Iterator[bytes]:
    return (data[place : place + 1] for place in range(len(data)))


def shown(frame: bytes, *, from_client: bool) -> str:
    """A message as a short sentence."""
    type_, payload = chr(frame[0]), frame[HEADER:]
    if not from_client and type_ in "EN":
        fields = a.decode_notice(payload)
        return f"{'Error' if type_ == 'E' else 'Notice'} {fields['C']} {fields['M']}"
    if type_ == "Z":
        return f"Ready {payload.decode()}"
    if type_ in "QC" and not (from_client and type_ == "C"):
        return f"{'Query' if from_client else 'Complete'} {payload[:-1].decode(errors='replace')}"
    if from_client and type_ == "P":
        fields_ = m.decode_parse(payload)
        return f"Parse {fields_.statement}:{fields_.query.decode()}"
    if from_client and type_ == "B":
        bind = m.decode_bind(payload)
        return f"Bind {bind.portal}:{bind.statement}"
    if not from_client and type_ == "D":
        return "Row " + ",".join("NULL" if cell is None else cell.decode() for cell in a.decode_data_row(payload))
    if not from_client and type_ in "TtGHSA":
        return _TO_CLIENT[type_]
    names = _TO_TARGET if from_client else _TO_CLIENT
    return f"{names[type_]} {payload.rstrip(bytes(1)).decode(errors='replace')}".rstrip()


_TO_TARGET = {"S": "Sync", "H": "Flush", "E": "Execute", "D": "Describe", "C": "Close", "X": "Terminate",
              "d": "CopyData", "c": "CopyDone", "f": "CopyFail"}  # fmt: skip
_TO_CLIENT = {"1": "Parsed", "2": "Bound", "3": "Closed", "n": "NoData", "I": "Empty", "s": "Suspended",
              "G": "CopyIn", "H": "CopyOut", "d": "CopyData", "c": "CopyDone", "T": "Described",
              "t": "Parameters", "S": "Status", "A": "Notification"}  # fmt: skip

# ------------------------------------------------ what people say

QUERY, PARSE, BIND = m.encode_query, m.encode_parse, m.encode_bind
EXECUTE, SYNC, FLUSH = m.encode_execute, m.SYNC, m.FLUSH
DESCRIBE, CLOSE = m.encode_describe, m.encode_close
PARSED, BOUND = encode(m.ParseComplete), encode(m.BindComplete)
CLOSED, NO_DATA = encode(m.CloseComplete), encode(m.NoData)
SUSPENDED, EMPTY = encode(m.PortalSuspended), encode(m.EmptyQueryResponse)
COMPLETE, ROW = a.encode_command_complete, a.encode_data_row
DESCRIPTION = a.encode_row_description([a.Column("n", 16400, 1, 25, -1, -1, 0)])
SYNTAX_ERROR = a.encode_error("42601", 'syntax error at or near "assentry"')
COPY_IN = a.encode_copy_response(m.CopyInResponse, a.CopyFormat(0, (0,)))
COPY_OUT = a.encode_copy_response(m.CopyOutResponse, a.CopyFormat(0, (0,)))


def ready(status: str = "I") -> bytes:
    return a.encode_ready_for_query(ord(status))


def error(sqlstate: str = "22012", message: str = "division by zero", severity: str = "ERROR") -> bytes:
    return a.encode_error(sqlstate, message, severity=severity)


def selected(*values: str, tag: str | None = None, status: str = "I") -> bytes:
    rows = b"".join(ROW([value.encode()]) for value in values)
    return DESCRIPTION + rows + COMPLETE(tag or f"SELECT {len(values)}") + ready(status)
