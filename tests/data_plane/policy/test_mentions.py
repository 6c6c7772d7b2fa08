"""What a condition speaks of, read from what the engine has compiled."""

from __future__ import annotations

import pytest

from data_plane.policy.conditions import Condition, compiled
from data_plane.policy.mentions import Mentions, mentions


def condition(text: str) -> Condition:
    made = compiled(text)
    assert isinstance(made, Condition), made
    return made


@pytest.mark.parametrize(
    ("text", "variables", "texts"),
    [
        ("requester . name == 'ada'", {"requester.name"}, {"ada"}),
        (".requester.name == '''ada'''", {"requester.name"}, {"ada"}),
        ("requester.`name` == 'ada' // or \"lin\"", {"requester.name"}, {"ada"}),
        (r"requester.name == '\x61d\u0061'", {"requester.name"}, {"ada"}),
        (r"requester.name == r'a\da'", {"requester.name"}, {r"a\da"}),
        ("requester.name == string(b'ada')", {"requester.name"}, {"ada"}),
        ("requester.name == 'a' + ('d' + 'a')", {"requester.name"}, {"a", "d", "da", "ada"}),
        ("requester.name in {'ada': target.name}", {"requester.name", "target.name"}, {"ada"}),
        ("requester.name == (1.5 < 2.0 && 3u == 3u && -4 < 7 ? 'ada' : 'lin')", {"requester.name"}, {"ada", "lin"}),
        ("target.labels['team'] == 'dba' || has(target.labels.team)", {"target.labels"}, {"team", "dba"}),
        (f"requester.name == '{'é' * 300}'", {"requester.name"}, {"é" * 300}),
        ("requester.name + 's' == 'adas'", {"requester.name"}, {"s", "adas"}),
        ("op.understood", {"op.understood"}, set()),
    ],
)
def test_variables_and_texts_are_found_however_they_are_written(text: str, variables: set[str], texts: set[str]):
    assert mentions(condition(text)) == Mentions(frozenset(variables), frozenset(texts))


def test_those_of_an_inner_expression_count_as_well():
    found = mentions(condition("['ada', requester.name].exists(one, one == 'lin')"))
    assert found.texts == {"ada", "lin"}
    assert "requester.name" in found.variables


def test_what_is_cut_short_is_refused(monkeypatch: pytest.MonkeyPatch):
    made = condition("requester.name == 'ada'")
    whole = made.checked
    for length in range(len(whole)):
        monkeypatch.setattr(Condition, "checked", property(lambda _self, length=length: whole[:length]))
        with pytest.raises(ValueError, match=r"cut short|not enough values"):
            mentions(made)
    monkeypatch.setattr(Condition, "checked", property(lambda _self: b"\x0b"))
    with pytest.raises(ValueError, match="unknown wire type"):
        mentions(made)
