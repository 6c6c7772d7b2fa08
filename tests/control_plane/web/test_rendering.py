"""How the console words instants and facts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from control_plane.web.rendering import _relative, _telling

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "just now"),
        (0, "just now"),
        (-60, "1 min ago"),
        (-3599, "59 min ago"),
        (-7300, "2 h ago"),
        (-200_000, "2 d ago"),
        (20, "in less than a minute"),
        (900, "in 15 min"),
    ],
)
def test_an_instant_is_told_by_its_distance_and_whole_in_the_title(seconds: int, said: str) -> None:
    instant = NOW + timedelta(seconds=seconds)
    shown = _relative(instant, NOW)
    assert f">{said}</time>" in shown
    assert f'title="{instant:%Y-%m-%d %H:%M:%S} UTC"' in shown
    assert f'datetime="{instant.isoformat()}"' in shown


def test_no_instant_is_nothing() -> None:
    assert _relative(None, NOW) == ""


def test_facts_are_told_in_words_and_a_missing_where_is_one() -> None:
    facts = {"command": "DELETE", "has_where": False, "locks": False, "explain": True, "columns": ["id", "total"]}
    assert _telling(facts) == "command: DELETE; explain: yes; columns: id, total; has_where: no"
