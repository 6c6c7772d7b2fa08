"""Which group roles a session gets, and what it lacks."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from data_plane.policy.model import RoleAction, SessionRoles
from data_plane.protocols.postgres.accounts.rights import Rights

ROLES: Mapping[RoleAction, tuple[str, ...]] = {"read": ("ro",), "write": ("rw", "ro"), "exec": ("run",)}


def rights(*actions: str, owner: str = "own", **more: tuple[str, ...]) -> Rights:
    return Rights.of(SessionRoles(roles={**ROLES, **more}, owner=owner), frozenset(actions))  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("actions", "given"),
    [
        ((), set()),
        (("session", "unknown", "connect", "admin"), set()),
        (("read",), {"ro"}),
        (("read", "write", "exec"), {"ro", "rw", "run"}),
        (("ddl",), {"own"}),
    ],
)
def test_a_session_gets_the_roles_of_its_actions(actions: tuple[str, ...], given: set[str]) -> None:
    assert rights(*actions).given == given


def test_it_lacks_what_its_roles_do_not_cover_and_nothing_that_has_no_role() -> None:
    session = rights("read")
    assert session.lacking(["write"]) == {"rw"}
    assert session.lacking(["read", "session", "admin"]) == frozenset()
    assert session.lacking(["ddl"]) == {"own"}


def test_the_owner_is_the_first_role_of_ddl_when_none_is_named() -> None:
    session = rights("ddl", owner="", ddl=("first", "second"))
    assert (session.owner, session.runs_as, session.given) == ("first", "first", {"first", "second"})


def test_without_an_owner_nothing_is_handed_over() -> None:
    session = rights("ddl", owner="")
    assert (session.runs_as, session.handover.owner, session.may_make(["ddl"])) == ("", "", False)


def test_only_a_session_that_may_do_ddl_runs_as_the_owner_and_hands_over_everything() -> None:
    assert (rights("read", "write").runs_as, rights("read", "write").handover.everything) == ("", False)
    assert (rights("ddl").runs_as, rights("ddl").handover.everything) == ("own", True)


def test_a_session_that_runs_as_the_owner_lacks_nothing_that_could_be_given_to_it() -> None:
    session = rights("ddl")
    assert session.lacking(["write", "exec"]) == frozenset()
    assert not session.may_make(["ddl"])
