"""The durable journal of one agent instance: reports that the control plane must get, and open approvals.

Each report gets a number that rises by one for the life of the state directory; it may be sent only when it is on
disk, because a number that was used and then forgotten in a crash would be given to another report and dropped by
the control plane. One thread writes, so that many reports share one sync: approvals at once, decisions and
sessions that begin a moment later. When the disk refuses, decisions raise RecordingError (strict: what cannot be
reported does not go on), everything else waits in memory, and the thread tries again.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import structlog

from data_plane.gate.interface import Requester, SessionFacts, TargetFacts
from data_plane.gate.ports import Clock
from data_plane.identifiers import ApprovalId, CredentialId, IdentityId, SessionId, TargetName
from data_plane.link import messages, wire
from data_plane.link.nonces import Spent, SpentNonces
from data_plane.recording.interface import Decisions, RecordingError, Reported
from data_plane.recording.model import Opened

log = structlog.get_logger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value);
CREATE TABLE IF NOT EXISTS outbox (number INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS approvals (id TEXT PRIMARY KEY, consumed INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS windows (
    id TEXT PRIMARY KEY, consumed INTEGER NOT NULL DEFAULT 0, finished INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY, decisions INTEGER NOT NULL DEFAULT 0, closed INTEGER NOT NULL DEFAULT 0
);
"""
_LEFT = "SELECT id, decisions, closed FROM sessions"
_WINDOW_USED = (
    "INSERT INTO windows (id, consumed) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET consumed = excluded.consumed"
)
_UNSPENT = Spent(b"", here=False)
_UNKNOWN = ("outcome-unknown", "the agent stopped in between")
_GATHER_SECONDS = 0.1  # what nobody waits for waits this long for others
_RETRY_SECONDS = 1.0

_Change = tuple[str, tuple[object, ...]]  # a statement and its arguments


class Journal:
    """Every method may be called from any thread."""

    def __init__(self, file: Path, clock: Clock) -> None:
        self._clock = clock
        self._writing = _open(file)
        self._reading = _open(file)
        self._read_lock = threading.Lock()
        self._condition = threading.Condition()
        self._changes: list[_Change] = []
        self._taken = 0  # changes before those, which the writing thread has had
        self._written = 0  # how many of them are on disk
        self._urgent = False
        self._closing = False
        self._failure = ""
        self._listener: Callable[[], None] = _nothing
        self.boot_id = f"boot_{secrets.token_hex(10)}"
        self.instance_id = self._stable_instance_id()
        self._number = self._highest_number()
        self._durable = self._number
        self._open_approvals = {str(row[0]) for row in self._reading.execute("SELECT id FROM approvals")}
        self._left = {row[0]: Reported(row[1], bool(row[2])) for row in self._reading.execute(_LEFT)}
        self._sessions: dict[str, int] = {}  # of this boot: 0, or the number of the report that closed it
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------ writing

    def append(self, report: messages.Report, at_ms: int = 0) -> int:
        """Its number. Never fails: while the disk refuses, it waits in memory. `at_ms`: now, unless told."""
        with self._condition:
            number = self._number + 1
            at_ms = at_ms or int(self._clock.now() * 1000)
            body = wire.report(number, at_ms, report, self.boot_id)
            self._number = number  # not before: after a gap the control plane takes no report any more
            self._changes.append(("INSERT INTO outbox VALUES (?, ?)", (self._number, body)))
            self._follow(report)
            if not isinstance(report, Decisions | messages.SessionOpened):
                self._urgent = True
            self._condition.notify()
            return self._number

    def decisions(self, batch: Decisions) -> None:
        """Implements `recording.interface.DecisionReports`."""
        if self._failure:
            raise RecordingError(f"the agent's journal cannot be written: {self._failure}")
        self.append(batch)

    def closed(self, session_id: str, reason: str, operations: int, recording_hash: bytes) -> None:
        """Implements `recording.interface.DecisionReports`."""
        self.append(messages.SessionClosed(SessionId(session_id), reason, operations, recording_hash))

    def opened(self, session: SessionFacts, snapshot_version: int) -> None:
        """Implements `gate.ports.SessionReports`. Raises RecordingError: what cannot be reported now is not let in;
        that it began is reported with its end, later."""
        self.append(messages.SessionOpened(session, snapshot_version))
        if self._failure:
            raise RecordingError(f"the agent's journal cannot be written: {self._failure}")

    def refused(self, target: str, reason: str, client_address: str, requester_id: str) -> None:
        """Implements `gate.ports.SessionReports`."""
        self.append(messages.SessionRefused(target, reason, client_address, requester_id))

    def acknowledge(self, through: int) -> None:
        """The control plane has everything up to this number."""
        with self._condition:
            through = min(through, self._durable)
            self._changes.append(("DELETE FROM outbox WHERE number <= ?", (through,)))
            self._changes.append(("INSERT OR REPLACE INTO facts VALUES ('acknowledged', ?)", (through,)))
            self._sessions = {one: closed for one, closed in self._sessions.items() if not 0 < closed <= through}
            self._condition.notify()

    def settled(self, approval_id: str) -> None:
        """The control plane decided against it: nothing is left to report."""
        with self._condition:
            self._forget(approval_id)
            self._condition.notify()

    def _follow(self, report: messages.Report) -> None:
        """Keeps the open approvals in the same transaction as the report about them."""
        match report:
            case messages.Requested(request):
                self._open_approvals.add(request.id)
                self._changes.append(("INSERT OR IGNORE INTO approvals (id) VALUES (?)", (request.id,)))
            case messages.Consumed(approval_id, use=use):  # another worker may have asked for it
                self._open_approvals.add(approval_id)
                self._changes.append(("INSERT OR REPLACE INTO approvals VALUES (?, 1)", (approval_id,)))
                if use:
                    self._changes.append((_WINDOW_USED, (approval_id, use)))
            case messages.Finished(approval_id, use=use) if use:  # its window is open until it is cancelled
                self._changes.append(("UPDATE windows SET finished = ? WHERE id = ?", (use, approval_id)))
            case messages.SessionOpened(session):
                self._sessions[session.id] = 0
                self._changes.append(("INSERT OR IGNORE INTO sessions (id) VALUES (?)", (session.id,)))
            case Decisions(session_id):
                added = (report.count, session_id)
                self._changes.append(("UPDATE sessions SET decisions = decisions + ? WHERE id = ?", added))
            case messages.SessionClosed(session_id):
                self._sessions[session_id] = self._number
                self._changes.append(("UPDATE sessions SET closed = 1 WHERE id = ?", (session_id,)))
            case messages.Cancelled(approval_id) | messages.Finished(approval_id):
                self._forget(approval_id)

    def _forget(self, approval_id: str) -> None:
        self._open_approvals.discard(approval_id)
        self._changes.append(("DELETE FROM approvals WHERE id = ?", (approval_id,)))
        self._changes.append(("DELETE FROM windows WHERE id = ?", (approval_id,)))

    # ------------------------------------------------------------ reading

    @property
    def durable(self) -> int:
        """The highest number that is on disk and may be sent."""
        return self._durable

    @property
    def failure(self) -> str:
        """Why nothing can be written now; empty: all is well."""
        return self._failure

    @property
    def open_approvals(self) -> tuple[str, ...]:
        with self._condition:
            return tuple(sorted(self._open_approvals))

    @property
    def sessions(self) -> tuple[str, ...]:
        """Those of this boot whose end the control plane has not taken yet: all others of this instance are over."""
        with self._condition:
            return tuple(self._sessions)

    def first_report(self) -> int:
        """The oldest report that is still here, or the number that the next one gets."""
        following = self._durable + 1  # before looking: what is written meanwhile must not be passed over
        with self._read_lock:
            row = self._reading.execute("SELECT min(number) FROM outbox").fetchone()
        return int(row[0]) if row[0] is not None else following

    def read(self, after: int, most: int, most_bytes: int) -> list[tuple[int, bytes]]:
        """Durable reports in order. At least one when there is any, however large."""
        found: list[tuple[int, bytes]] = []
        size = 0
        with self._read_lock:
            query = "SELECT number, body FROM outbox WHERE number > ? ORDER BY number LIMIT ?"
            for number, body in self._reading.execute(query, (after, most)):
                size += len(body)
                if found and size > most_bytes:
                    break
                found.append((number, body))
        return found

    def listen(self, listener: Callable[[], None]) -> None:
        """Called from the writing thread whenever `durable` has risen or `failure` has changed."""
        self._listener = listener

    # ------------------------------------------------------------ start and end

    def recover(self, nonces: SpentNonces, tickets: Collection[str] = (), used: Collection[str] = ()) -> None:
        """Reports what became of the approvals that were open when the agent stopped. Invariant 6: an operation
        whose nonce was spent may have run; it is never run again and its outcome is unknown.

        `tickets`: those that clients may come back for. `used`: those that others had asked for and this one ran."""
        rows = dict(self._reading.execute("SELECT id, consumed FROM approvals").fetchall())
        rows = dict.fromkeys(used, 0) | rows
        spent = nonces.spent_for(list(rows))
        for approval_id, consumed in rows.items():
            by = spent.get(approval_id, _UNSPENT)
            if by.nonce and not by.here:
                self.settled(approval_id)  # by another worker, which reports what becomes of it
            elif by.uses:
                self._recover_window(ApprovalId(approval_id), by)
            elif consumed or by.nonce:
                if not consumed:
                    self.append(messages.Consumed(ApprovalId(approval_id), by.nonce))
                self.append(messages.Finished(ApprovalId(approval_id), *_UNKNOWN))
            elif approval_id not in tickets:
                self.append(messages.Cancelled(ApprovalId(approval_id), "agent-restarted"))

    def _recover_window(self, approval_id: ApprovalId, spent: Spent) -> None:
        """Its session is over, and so is the window; the last of its uses may have run."""
        row = self._reading.execute("SELECT consumed, finished FROM windows WHERE id = ?", (approval_id,)).fetchone()
        consumed, finished = row or (0, 0)
        if spent.uses > consumed:
            self.append(messages.Consumed(approval_id, spent.nonce, spent.uses))
        if spent.uses > finished:
            self.append(messages.Finished(approval_id, *_UNKNOWN, spent.uses))
        self.append(messages.Cancelled(approval_id, "agent-restarted"))

    def reported(self, session_id: str) -> Reported | None:
        """Implements `recording.interface.SalvageReports`."""
        return self._left.get(session_id)

    def opened_before(self, opened: Opened) -> None:
        """Implements `recording.interface.SalvageReports`. Of what the report does not tell nothing is known here."""
        facts = SessionFacts(
            SessionId(opened.session_id),
            TargetFacts(TargetName(opened.target), opened.protocol, "", {}),
            Requester(IdentityId(opened.requester_id), opened.requester, "", ()),
            CredentialId(opened.credential_id),
            opened.client_address,
            opened.application_name,
        )
        self.append(messages.SessionOpened(facts, opened.snapshot_version), opened.started_at_ms)

    def forget_reported(self, but: Collection[str]) -> None:
        """Implements `recording.interface.SalvageReports`."""
        for session_id in self._left.keys() - set(but):
            self.stored(session_id)
        self._left = {}

    def stored(self, session_id: str) -> None:
        """Its recording has left the spool, so nobody will ask what was reported of it."""
        with self._condition:
            self._changes.append(("DELETE FROM sessions WHERE id = ?", (session_id,)))
            self._condition.notify()

    def flush(self, seconds: float) -> bool:
        """Waits until everything appended so far is on disk; False when it is not in time."""
        with self._condition:
            wanted = self._taken + len(self._changes)
            if self._changes:  # else what comes next would not wait for others
                self._urgent = True
                self._condition.notify_all()
            return self._condition.wait_for(lambda: self._written >= wanted, seconds)

    def close(self) -> None:
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        self._thread.join()
        self._writing.close()
        with self._read_lock:  # a stream that was cancelled may be reading still: SQLite would crash
            self._reading.close()

    def _stable_instance_id(self) -> str:
        fresh = f"inst_{secrets.token_hex(10)}"
        self._writing.execute("INSERT OR IGNORE INTO facts VALUES ('instance', ?)", (fresh,))
        return str(self._writing.execute("SELECT value FROM facts WHERE name = 'instance'").fetchone()[0])

    def _highest_number(self) -> int:
        last = self._reading.execute("SELECT max(number) FROM outbox").fetchone()[0]
        acknowledged = self._reading.execute("SELECT value FROM facts WHERE name = 'acknowledged'").fetchone()
        return max(last or 0, int(acknowledged[0]) if acknowledged else 0)

    # ------------------------------------------------------------ the writing thread

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            through, changes = batch
            while not self._commit(changes):
                if self._wait_for_retry():
                    return
            with self._condition:
                self._durable = max(self._durable, through)
                self._written += len(changes)
                self._condition.notify_all()
            self._listener()

    def _next_batch(self) -> tuple[int, Sequence[_Change]] | None:
        with self._condition:
            self._condition.wait_for(lambda: self._changes or self._closing)
            if not self._urgent and not self._closing:
                self._condition.wait_for(lambda: self._urgent or self._closing, _GATHER_SECONDS)
            if not self._changes:
                return None
            changes, self._changes, self._urgent = self._changes, [], False
            self._taken += len(changes)
            return self._number, changes

    def _commit(self, changes: Sequence[_Change]) -> bool:
        try:
            self._writing.execute("BEGIN IMMEDIATE")
            for statement, arguments in changes:
                self._writing.execute(statement, arguments)
            self._writing.execute("COMMIT")
        except sqlite3.Error as error:
            if self._writing.in_transaction:
                self._writing.execute("ROLLBACK")
            self._failed(str(error))
            return False
        self._failed("")
        return True

    def _failed(self, failure: str) -> None:
        if failure == self._failure:
            return
        self._failure = failure
        if failure:
            log.error("the journal cannot be written; free space or repair the disk", error=failure)
            self._listener()

    def _wait_for_retry(self) -> bool:
        """True when the agent ends meanwhile."""
        with self._condition:
            return self._condition.wait_for(lambda: self._closing, _RETRY_SECONDS)


def _nothing() -> None:
    """Nobody listens yet."""


def _open(file: Path) -> sqlite3.Connection:
    file.touch(mode=0o600)
    database = sqlite3.connect(file, timeout=10, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.executescript(_SCHEMA)
    return database
