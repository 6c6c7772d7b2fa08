"""What reviewers are told of undoing an operation, by its kind, its verbs and whether the client holds a transaction."""

from __future__ import annotations

import pytest

from control_plane.approvals.undo import undo_of
from data_plane.gate.interface import Action


@pytest.mark.parametrize(
    ("action", "verbs", "in_transaction", "possible", "word"),
    [
        ("read", ("SELECT",), False, True, "nothing to undo"),
        ("session", ("SET",), False, True, "nothing to undo"),
        ("write", ("DELETE",), False, False, "what it removes is gone"),
        ("write", ("UPDATE",), False, False, "commits by itself"),
        ("write", ("DELETE",), True, True, "rolled back by the client"),
        ("write", ("DELETE", "COMMIT"), True, False, "for good"),
        ("ddl", ("DROP",), False, False, "what it removes is gone"),
        ("write", ("TRUNCATE",), True, True, "until it commits"),
        ("ddl", ("CREATE",), False, False, "commits by itself"),
        ("admin", ("CHECKPOINT",), True, False, "for good"),
        ("admin", ("GRANT",), True, None, "nobody can tell"),
        ("exec", ("DO",), True, None, "nobody can tell"),
        ("unknown", (), False, None, "nobody can tell"),
        ("something new", (), False, None, "nobody can tell"),
    ],
)
def test_whether_it_can_be_undone(
    action: str, verbs: tuple[str, ...], in_transaction: bool, possible: bool | None, word: str
) -> None:
    found = undo_of(action, verbs, in_transaction=in_transaction)
    assert found.possible is possible
    assert word in found.how


def test_every_action_of_the_agents_has_words() -> None:
    kinds = {undo_of(action, (), in_transaction=False).kind for action in Action}
    assert len(kinds) == len(Action)
