"""The fast lane uses the unit of the last statement again for its next execution, and nothing else of it."""

from __future__ import annotations

import pytest

from data_plane.protocols.postgres import messages as m
from tests.data_plane.protocols.postgres.core import conversation as c
from tests.data_plane.protocols.postgres.core.test_lane import BOUND_ONE, RESULT, RUN, lane, prepared

__all__ = ["lane"]  # a fixture


def test_what_was_answered_is_let_go_and_never_what_a_portal_still_stands_on(lane: list[bool]) -> None:
    session, context = prepared(), lambda: session.core._context
    for state in "IITT":
        session.client(BOUND_ONE + RUN)
        assert context().spare is None, "it is in use"
        session.target(c.BOUND + c.ROW([b"1"]) + c.COMPLETE("SELECT 1") + c.ready(state))
        if spare := context().spare:
            assert (spare.raw, spare.bind, spare.masks) == (b"", b"", ())
            before = spare.portal
    portals = context().tables.portals
    assert (portals[""] is before, context().spare, lane[-4:]) == (False, None, [True] * 4)


def test_nothing_is_kept_of_a_query_that_was_answered(lane: list[bool]) -> None:
    session = prepared()
    session.client(c.QUERY("select 1"))
    assert lane[-1]
    session.target(RESULT + c.ready())
    spare = session.core._context.spare
    assert (spare.raw, spare.texts, spare.told) == (b"", (), "")


@pytest.mark.parametrize(
    "between",
    [
        BOUND_ONE + c.DESCRIBE(b"P", "") + RUN,
        m.encode_bind("", "x", [b"7"], (), [1]) + RUN,
        m.encode_bind("", "z", [b"7"]) + RUN,
        c.QUERY("select n from t where n = $1"),
    ],
)
def test_a_unit_is_used_again_for_the_very_same_kind_of_execution_only(lane: list[bool], between: bytes) -> None:
    session = prepared()
    session.client(c.PARSE("z", "select n from t where n = $1") + c.SYNC)
    session.target(c.PARSED + c.ready())
    used = []
    for asked in (BOUND_ONE + RUN, BOUND_ONE + RUN, between, BOUND_ONE + RUN):
        session.client(asked)
        used.append(session.core._pipeline.head)
        bound = c.BOUND if asked[0] == m.Bind else b""
        session.target(bound + (b"" if bound and c.DESCRIBE(b"P", "") not in asked else c.DESCRIPTION) + c.COMPLETE("SELECT 0") + c.ready())  # fmt: skip
    assert [lane[-4:], used[0] is used[1], used[2] is used[0], used[3] is used[0]] == [[True] * 4, True, False, False]
