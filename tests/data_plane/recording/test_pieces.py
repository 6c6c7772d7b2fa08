"""Decisions in runs: whatever was decided, what is unpacked is that, and the batches keep to their limits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.audit.sealed import Decision, opened
from data_plane.recording import pieces
from data_plane.recording.pieces import Batch, enter
from data_plane.recording.writer import Compressor
from tests.data_plane.recording.chains import unpacked

RULES = (("p/r",), (), ("p/r", "q/s"))
AT_MS = 1_700_000_000_000

decided = st.tuples(
    st.sampled_from([1, 1, 1, 2, 5]),  # operations later
    st.sampled_from([0, 0, 1, 255, 256, -1]),  # ms later
    st.sampled_from(["allow", "allow", "hold", "deny"]),
    st.sampled_from(["read", "write"]),
    st.sampled_from(RULES),
    st.sampled_from(["", "", "POLICY"]),
)


def made(steps: list[Any]) -> list[list[Any]]:
    found, number, at_ms = [], 0, AT_MS
    for operations, after, effect, action, rules, code in steps:
        number += operations
        at_ms += after
        found.append([number, at_ms, effect, action, list(rules), code])
    return found


def sealed(batch: Batch) -> bytes:
    runs, entries = batch.encoded()
    return Compressor().pack_encoded(runs, entries)


def told(batch: Batch) -> dict[str, object]:
    allowed = batch.count - batch.held - batch.denied
    numbers = {"first_operation": batch.first, "last_operation": batch.last, "count": batch.count}
    return {**numbers, "allowed": allowed, "held": batch.held, "denied": batch.denied}


@given(st.lists(decided, min_size=1, max_size=60), st.integers(0, 60))
def test_what_is_decided_is_what_the_control_plane_opens(steps: list[Any], cut: int) -> None:
    first: list[Batch] = []
    later: list[Batch] = []
    decisions = made(steps)
    for index, decision in enumerate(decisions):
        enter(first if index < cut else later, *decision[:4], steps[index][4], decision[5])
    assert len(first) < 2
    assert len(later) < 2
    if first and later:
        assert first[0].room_for(later[0])
        first[0].append(later[0])
    [batch] = first or later
    assert unpacked(sealed(batch)) == decisions
    assert opened(sealed(batch), told(batch)) == tuple(
        Decision(*decision[:4], tuple(decision[4]), decision[5]) for decision in decisions
    )


def test_a_run_takes_a_byte_for_each_decision() -> None:
    batches: list[Batch] = []
    for number in range(1, 1001):
        enter(batches, number, AT_MS + number, "allow", "read", RULES[0], "")
    [batch] = batches
    assert batch.encoded()[0] == 1
    assert len(batch.encoded()[1]) < 1050


def test_a_refusal_with_a_code_is_no_part_of_a_run() -> None:
    batches: list[Batch] = []
    enter(batches, 1, AT_MS, "deny", "read", (), "POLICY")
    enter(batches, 2, AT_MS, "deny", "read", (), "")
    assert [entry[5] for entry in unpacked(sealed(batches[0]))] == ["POLICY", ""]


def test_a_batch_is_full_after_so_many_decisions() -> None:
    batches: list[Batch] = []
    for number in range(1, 2 * pieces.MOST_DECISIONS + 2):
        enter(batches, number, AT_MS, "allow", "read", RULES[0], "")
    assert [batch.count for batch in batches] == [pieces.MOST_DECISIONS, pieces.MOST_DECISIONS, 1]
    assert [batch.first for batch in batches] == [1, pieces.MOST_DECISIONS + 1, 2 * pieces.MOST_DECISIONS + 1]


@pytest.mark.parametrize("rules", [("r" * 300_000,), ("r" * (2 << 20),)])
def test_a_batch_is_full_before_it_is_too_large_but_one_decision_is_never_cut(rules: tuple[str, ...]) -> None:
    batches: list[Batch] = []
    for number in range(1, 10):
        enter(batches, number, AT_MS, "allow", "read" if number % 2 else "write", rules, "")
    for batch in batches:
        assert batch.count == 1 or len(batch.encoded()[1]) <= pieces.MOST_DECISION_BYTES
    assert [entry[0] for batch in batches for entry in unpacked(sealed(batch))] == list(range(1, 10))
