"""What several reviewers have chosen together is never more than any of them chose, nor than the chain offers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from control_plane.approvals.domain import Choice, Vote, Window
from control_plane.approvals.domain.choice import agreed, bounded, objection

OFFER = Window(1800, 20)


def vote(choice: Choice | None) -> Vote:
    return Vote("idn_a", "a", 0, 0, "cli", window=choice)


CHOICES = st.none() | st.builds(Choice, st.integers(0, 5000), st.integers(-1, 30))


@given(st.lists(CHOICES, max_size=5), st.integers(0, 5000))
def test_nobody_gets_more_than_anybody_chose(choices: list[Choice | None], now: int) -> None:
    found = agreed([vote(choice) for choice in choices], now)
    if found is None:
        return
    assert all(
        one is not None and one.uses >= found.uses > 1 and one.until_ms >= found.until_ms > now for one in choices
    )
    kept = bounded(found, Window(1, 3), now)
    assert (kept.uses <= 3, kept.until_ms <= now + 1000) == (True, True)


@given(st.builds(Choice, st.integers(-10, 10**7), st.integers(-1, 30)), st.integers(0, 10**6))
def test_a_choice_without_objection_is_within_the_offer(choice: Choice, now: int) -> None:
    if not objection(OFFER, choice, now):
        assert now < choice.until_ms <= now + 1_800_000
        assert 1 <= choice.uses <= 20
    assert objection(None, choice, now)
