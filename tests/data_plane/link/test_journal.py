"""The durable journal: numbers, what survives a crash, and what is open."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from assentry.v1 import link_pb2 as pb

from data_plane.gate.interface import Requester, SessionFacts, TargetFacts
from data_plane.identifiers import ApprovalId, CredentialId, IdentityId, SessionId, TargetName
from data_plane.link import journal as journal_module
from data_plane.link import messages
from data_plane.link.journal import Journal
from data_plane.link.nonces import SpentNonces
from data_plane.recording.interface import Decisions, RecordingError
from data_plane.runtime.clock import SystemClock

CLOCK = SystemClock()
ONE_DECISION = Decisions("ses_1", 1, 1, 1, 1, 0, 0, b"")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(file: Path) -> Iterator[Journal]:
    journal = Journal(file, CLOCK)
    yield journal
    journal.close()


def notice(text: str) -> messages.Notice:
    return messages.Notice("test", text)


def facts(session_id: str) -> SessionFacts:
    return SessionFacts(
        SessionId(session_id),
        TargetFacts(TargetName("orders"), "postgres", "production", {}),
        Requester(IdentityId("idn_1"), "bot", "machine", ()),
        CredentialId("crd_1"),
        "127.0.0.1:1",
        "psql",
    )


def reports(journal: Journal, after: int = 0) -> list[pb.Report]:
    return [pb.Report.FromString(body) for _, body in journal.read(after, 10_000, 1 << 30)]


def test_numbers_rise_by_one_also_when_many_threads_report(journal: Journal) -> None:
    def work() -> None:
        for _ in range(100):
            journal.append(notice("x"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert journal.flush(5)
    assert [report.number for report in reports(journal)] == list(range(1, 401))


def test_a_report_that_cannot_be_made_takes_no_number(journal: Journal) -> None:
    """After a gap the control plane takes no report any more."""
    with pytest.raises(ValueError, match="out of range"):
        journal.append(messages.SessionClosed(SessionId("ses_1"), "client-closed", -1))
    assert journal.append(notice("x")) == 1
    assert journal.flush(5)
    assert [report.number for report in reports(journal)] == [1]


def test_a_target_that_answers_with_what_is_not_utf8_keeps_no_report_back(journal: Journal) -> None:
    sqlstate = b"4\xff2P1".decode("utf-8", "surrogateescape")
    journal.append(messages.Finished(ApprovalId("apr_1"), "failed", sqlstate))
    journal.append(notice("the next"))
    assert journal.flush(5)
    first, second = reports(journal)
    assert (first.number, first.operation_finished.detail) == (1, "4\ufffd2P1")
    assert (second.number, second.notice.text) == (2, "the next")


def test_what_is_not_on_disk_is_not_sent(journal: Journal, file: Path) -> None:
    """A number that was told and then forgotten would be given to another report."""
    blocker = sqlite3.connect(file, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    journal.append(notice("waits"))
    assert not journal.flush(0.2)
    assert journal.durable == 0
    assert journal.read(0, 10, 1 << 20) == []
    blocker.execute("COMMIT")
    blocker.close()
    assert journal.flush(5)
    assert journal.durable == 1


def test_a_restart_goes_on_with_the_next_number_even_when_all_were_acknowledged(file: Path) -> None:
    first = Journal(file, CLOCK)
    for _ in range(3):
        first.append(notice("x"))
    first.flush(5)
    first.acknowledge(3)
    first.close()
    second = Journal(file, CLOCK)
    assert second.first_report() == 4
    assert second.append(notice("y")) == 4
    assert second.instance_id == first.instance_id
    assert second.boot_id != first.boot_id
    second.close()


class Between:
    """A connection where something happens right after each statement."""

    def __init__(self, connection: sqlite3.Connection, happens: Callable[[], object]) -> None:
        self._connection = connection
        self._happens = happens

    def execute(self, statement: str) -> sqlite3.Cursor:
        cursor = self._connection.execute(statement)
        found = cursor.fetchone()
        self._happens()
        return self._connection.execute("SELECT ?", found)


def test_what_is_written_while_the_first_report_is_asked_for_is_not_passed_over(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 8: the control plane takes reports before the first for lost."""

    def written() -> None:
        journal.append(notice("x"))
        assert journal.flush(5)

    with monkeypatch.context() as patched:
        patched.setattr(journal, "_reading", Between(journal._reading, written))
        assert journal.first_report() == 1
    assert journal.first_report() == 1


def test_acknowledged_reports_go_and_the_others_stay(journal: Journal) -> None:
    for number in range(5):
        journal.append(notice(str(number)))
    journal.flush(5)
    journal.acknowledge(3)
    journal.flush(5)
    assert [report.number for report in reports(journal)] == [4, 5]
    assert journal.first_report() == 4


def test_an_acknowledgement_of_more_than_was_sent_forgets_nothing_that_comes(journal: Journal) -> None:
    journal.append(notice("x"))
    journal.flush(5)
    journal.acknowledge(1_000_000)
    journal.append(notice("y"))
    journal.flush(5)
    assert [report.notice.text for report in reports(journal)] == ["y"]


def test_one_report_is_read_however_large_and_then_batches_are_bounded(journal: Journal) -> None:
    for _ in range(3):
        journal.append(notice("x" * 1000))
    journal.flush(5)
    assert len(journal.read(0, 10, 10)) == 1
    assert len(journal.read(0, 10, 2500)) == 2
    assert len(journal.read(0, 2, 1 << 20)) == 2


class Slow:
    """A connection that says when it has read one row, and reads the next when it may."""

    def __init__(self, connection: sqlite3.Connection, reading: threading.Event, closed: threading.Event) -> None:
        self._connection, self._reading, self._closed = connection, reading, closed

    def execute(self, statement: str, values: tuple[object, ...]) -> Iterator[tuple[int, bytes]]:
        for row in self._connection.execute(statement, values):
            yield row
            self._reading.set()
            self._closed.wait(0.1)

    def close(self) -> None:
        self._connection.close()


def test_a_journal_is_not_closed_under_the_thread_that_reads_it(file: Path) -> None:
    """A stream that is cancelled leaves its reading thread behind; SQLite ends the process that closes under it."""
    journal, reading, closed = Journal(file, CLOCK), threading.Event(), threading.Event()
    for number in range(3):
        journal.append(notice(str(number)))
    assert journal.flush(5)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(journal, "_reading", Slow(journal._reading, reading, closed))
        with ThreadPoolExecutor(1) as threads:
            found = threads.submit(journal.read, 0, 10, 1 << 20)
            assert reading.wait(5)
            journal.close()
            closed.set()
            assert [number for number, _ in found.result()] == [1, 2, 3]


def test_a_disk_that_refuses_stops_decisions_and_keeps_the_rest_for_later(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = threading.Event()
    journal.listen(told.set)
    whole = journal._commit

    def full(changes) -> bool:
        journal._failed("database or disk is full")
        return False

    monkeypatch.setattr(journal, "_commit", full)
    monkeypatch.setattr("data_plane.link.journal._RETRY_SECONDS", 0.01)
    journal.append(notice("kept"))
    assert told.wait(5)
    assert "full" in journal.failure
    with pytest.raises(RecordingError, match="full"):
        journal.decisions(ONE_DECISION)
    with pytest.raises(RecordingError, match="full"):
        journal.opened(facts("ses_1"), 1)
    journal.closed("ses_1", "refused: RecordingError", 0, b"")
    monkeypatch.setattr(journal, "_commit", whole)
    assert journal.flush(5)
    kinds = [report.WhichOneof("report") for report in reports(journal)]
    assert kinds == ["notice", "session_opened", "session_closed"], "a session that was not let in has an end"
    assert journal.failure == ""
    journal.decisions(ONE_DECISION)


def test_waiting_for_the_disk_is_for_what_was_there_and_not_for_what_comes(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy agent has always something to write; and not all of it has a number."""
    journal.append(notice("first"))
    assert journal.flush(5)
    begun, go_on, whole = threading.Event(), threading.Event(), journal._commit

    def slow(changes) -> bool:
        begun.set()
        assert go_on.wait(10)
        done = whole(changes)
        journal.append(notice("always one more"))
        return done

    monkeypatch.setattr(journal, "_commit", slow)
    journal.stored("ses_1")
    assert begun.wait(5)
    assert not journal.flush(0.01), "it is not on disk, though no number waits for it"
    go_on.set()
    assert journal.flush(5)
    monkeypatch.setattr(journal, "_commit", whole)


def test_sessions_that_begin_share_a_sync_and_wait_for_no_longer_than_whatever_is_urgent(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_GATHER_SECONDS", 3600)
    written = threading.Semaphore(0)
    journal.listen(written.release)
    assert journal.flush(5), "nothing to wait for, and nobody is hurried by it"
    for name in ("ses_1", "ses_2", "ses_3"):
        journal.opened(facts(name), 1)
        assert not written.acquire(timeout=0.02)
    journal.append(notice("urgent"))
    assert written.acquire(timeout=10)
    assert journal.durable == 4


def test_sessions_stand_until_the_control_plane_has_taken_their_end(journal: Journal) -> None:
    journal.opened(facts("ses_1"), 1)
    journal.opened(facts("ses_2"), 1)
    journal.closed("ses_1", "client-closed", 3, b"")
    journal.flush(5)
    assert set(journal.sessions) == {"ses_1", "ses_2"}
    journal.acknowledge(2)
    assert set(journal.sessions) == {"ses_1", "ses_2"}
    journal.acknowledge(3)
    assert set(journal.sessions) == {"ses_2"}


async def test_what_was_open_at_a_crash_is_told_by_what_became_of_it(tmp_path: Path) -> None:
    """Invariant 6: a spent nonce means that the outcome is unknown; an unspent one, that nothing ran."""
    from tests.contract.stack import approval_request

    nonces = SpentNonces(tmp_path / "nonces.db", CLOCK)
    before = Journal(tmp_path / "journal.db", CLOCK)
    asked = [approval_request(facts("ses_1")) for _ in range(4)]
    for request in asked:
        before.append(messages.Requested(request, 0))
    waiting, spent, reported, done = (request.id for request in asked)
    await nonces.spend(b"s" * 16, spent)
    await nonces.spend(b"r" * 16, reported)
    before.append(messages.Consumed(reported, b"r" * 16))
    before.append(messages.Finished(done, "done"))
    before.flush(5)
    last = before.durable
    before.close()
    after = Journal(tmp_path / "journal.db", CLOCK)
    after.recover(nonces)
    after.flush(5)
    told = {(one.WhichOneof("report"), _approval(one)) for one in reports(after, last)}
    assert told == {
        ("approval_cancelled", waiting),
        ("grant_consumed", spent),
        ("operation_finished", spent),
        ("operation_finished", reported),
    }
    outcomes = {one.operation_finished.outcome for one in reports(after, last) if one.HasField("operation_finished")}
    assert outcomes == {"outcome-unknown"}
    assert after.open_approvals == ()
    after.close()
    nonces.close()


async def test_a_ticket_stays_open_over_a_restart_unless_another_worker_has_used_it(tmp_path: Path) -> None:
    from tests.contract.stack import approval_request

    here, there = (SpentNonces(tmp_path / "nonces.db", CLOCK, name) for name in ("ins_1", "ins_2"))
    before = Journal(tmp_path / "journal.db", CLOCK)
    kept, used = (approval_request(facts("ses_1")) for _ in range(2))
    for request in (kept, used):
        before.append(messages.Requested(request, 0))
    await there.spend(b"u" * 16, used.id)
    await here.spend(b"f" * 16, ApprovalId("apr_foreign"))
    before.flush(5)
    last = before.durable
    before.close()
    after = Journal(tmp_path / "journal.db", CLOCK)
    after.recover(here, [kept.id, used.id], ["apr_foreign"])
    after.flush(5)
    told = [(one.WhichOneof("report"), _approval(one)) for one in reports(after, last)]
    assert told == [("grant_consumed", "apr_foreign"), ("operation_finished", "apr_foreign")]
    assert after.open_approvals == (kept.id,)
    after.close()
    here.close()
    there.close()


def _approval(report: pb.Report) -> str:
    return getattr(report, report.WhichOneof("report")).approval_id


async def test_a_nonce_is_spent_once_over_two_journals_and_a_restart(tmp_path: Path) -> None:
    """Invariant 6."""
    one, two = (SpentNonces(tmp_path / "nonces.db", CLOCK) for _ in range(2))
    nonces = [bytes([number]) * 16 for number in range(40)]
    spent = await asyncio.gather(
        *(journal.spend(nonce, ApprovalId("apr_1")) for nonce in nonces for journal in (one, two, one))
    )
    assert spent.count(True) == len(nonces)
    one.close()
    two.close()
    again = SpentNonces(tmp_path / "nonces.db", CLOCK)
    assert not await again.spend(nonces[0], ApprovalId("apr_2"))
    again.close()


async def test_a_nonce_is_spent_once_over_processes(tmp_path: Path) -> None:
    """Invariant 6: the workers of one agent share the file."""
    import sys

    script = (
        "import asyncio, pathlib, sys\n"
        "from data_plane.link.nonces import SpentNonces\n"
        "from data_plane.runtime.clock import SystemClock\n"
        "async def main():\n"
        "    nonces = SpentNonces(pathlib.Path(sys.argv[1]), SystemClock())\n"
        "    sys.stdin.read(1)\n"
        "    won = [n for n in range(100) if await nonces.spend(bytes([n]) * 16, 'apr_1')]\n"
        "    sys.stdout.write(str(len(won)))\n"
        "asyncio.run(main())\n"
    )
    file = str(tmp_path / "nonces.db")
    workers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, file, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(2)
    ]
    won = await asyncio.gather(*(worker.communicate(b"g") for worker in workers))
    assert sum(int(out) for out, _ in won) == 100
