"""The fast lane and what names mean: the catalogue of the moment, temporary relations, and names that are not sure."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.data_plane.protocols.postgres.core import conversation as c
from tests.data_plane.protocols.postgres.core.test_lane import BOUND_ONE, RESULT, RUN, lane, prepared

__all__ = ["lane"]  # a fixture


def ran(session: c.Conversation, asked: bytes, *answers: bytes) -> None:
    session.client(asked)
    session.target(*answers)


def test_a_statement_means_what_the_catalogue_says_now_and_not_what_it_said_before(lane: list[bool]) -> None:
    """Invariant 3: the catalogue has another epoch since somebody made tables, and what was known is not known now."""
    session = prepared()
    session.names.resolve = lambda subject, _: (  # type: ignore[method-assign]
        msgspec.structs.replace(subject, understood=False) if session.names.changes else subject
    )
    ran(session, BOUND_ONE + RUN, c.BOUND + c.COMPLETE("SELECT 0") + c.ready())
    ran(session, c.QUERY("select 1"), RESULT + c.ready())
    ran(session, c.QUERY("create table u (n int)"), c.COMPLETE("CREATE TABLE") + c.ready())
    assert session.names.changes
    sent = bytes(session.permitted)
    for asked in (BOUND_ONE + RUN, c.QUERY("select 1")):
        ran(session, asked, c.error() + c.ready())
        assert not session.gate.judged[-1][1][0].understood
    assert bytes(session.permitted) == sent


def test_names_of_temporary_relations_hide_others_from_when_they_are_there_until_they_are_gone(
    lane: list[bool],
) -> None:
    session, hidden = prepared(), list[frozenset[str]]()

    def resolve(subject: Any, path: Any) -> Any:
        hidden.append(path.temporary)
        return subject

    session.names.resolve = resolve  # type: ignore[method-assign]
    answered = c.BOUND + c.COMPLETE("SELECT 0") + c.ready("T")
    ran(session, c.QUERY("begin"), c.COMPLETE("BEGIN") + c.ready("T"))
    ran(session, BOUND_ONE + RUN, answered)
    assert (lane[-1], hidden[-1]) == (True, frozenset())
    ran(session, c.QUERY("create temporary table t (n int)"), c.COMPLETE("CREATE TABLE") + c.ready("T"))
    ran(session, BOUND_ONE + RUN, answered)
    assert (lane[-1], hidden[-1]) == (True, frozenset({"t"}))
    ran(session, c.QUERY("rollback"), c.COMPLETE("ROLLBACK") + c.ready())
    ran(session, BOUND_ONE + RUN, c.BOUND + c.COMPLETE("SELECT 0") + c.ready())
    assert (lane[-1], hidden[-1]) == (True, frozenset())


def test_nothing_is_taken_between_a_statement_that_makes_names_and_its_answer(lane: list[bool]) -> None:
    """Until then nobody knows what a name means, so that what follows waits."""
    session = prepared()
    session.client(c.QUERY("create temporary table t (n int)"))
    judged = len(session.gate.judged)
    session.client(BOUND_ONE + RUN)
    assert not any(lane)
    assert len(session.gate.judged) == judged


def test_what_runs_the_unnamed_portal_again_waits_for_the_batch_that_binds_it(lane: list[bool]) -> None:
    """Until its answer nobody knows whether the portal is there, and what it means."""
    session = prepared()
    session.client(c.QUERY("begin"))
    session.target(c.COMPLETE("BEGIN") + c.ready("T"))
    session.client(BOUND_ONE + RUN)
    assert lane[-1]
    judged, sent = len(session.gate.judged), bytes(session.permitted)
    session.client(RUN)
    assert (len(session.gate.judged), bytes(session.permitted)) == (judged, sent)
    session.target(c.BOUND + c.COMPLETE("SELECT 0") + c.ready("T"))
    assert len(session.gate.judged) == judged + 1
    assert bytes(session.permitted) == sent + RUN
