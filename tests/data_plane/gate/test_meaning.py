"""Two looks at one operation are compared by value; what means something else than people saw is asked about again."""

from __future__ import annotations

import pytest

from data_plane.gate.interface import Allowed, Denied, Subject
from data_plane.gate.meaning import meaning, touched
from tests.data_plane.gate.test_held import soon
from tests.data_plane.gate.test_windows import opened, run
from tests.data_plane.gate.worlds import Listener, World, settled
from tests.support.policies import subject


def delete(*candidates: str, **changed: object) -> Subject:
    return subject("write", "DELETE", tables=(candidates or ("mine.a",),), **changed)  # type: ignore[arg-type]


def test_other_objects_with_the_same_content_mean_the_same() -> None:
    one, other = delete(where=True, also=("read", "exec")), delete(where=True, also=("exec", "read"))
    assert meaning((one,)) == meaning((other,))
    assert meaning((one, other, subject())) == meaning((subject(), other))
    assert meaning((delete("a.t", "b.t"),)) == meaning((delete("b.t", "a.t"),))


@pytest.mark.parametrize(
    "other",
    [
        delete("public.a"),
        delete("mine.a", "public.a"),
        delete("?.a"),
        delete(where=False),
        delete(also=("exec",)),
        delete(understood=False),
        subject("write", "UPDATE", tables=("mine.a",)),
        subject("read", "DELETE", tables=("mine.a",)),
        subject("write", "DELETE", tables=("mine.a", "public.a")),
        subject("write", "DELETE", tables=("mine.a",), functions=("public.f",)),
    ],
)
def test_whatever_is_done_or_touched_otherwise_means_something_else(other: Subject) -> None:
    assert meaning((other,)) != meaning((delete(),))
    assert meaning((other, delete())) != meaning((delete(),))


def test_what_is_touched_leaves_out_what_values_may_change() -> None:
    assert touched((delete(where=True),)) == touched((delete(where=False),))
    assert touched((delete("public.a"),)) != touched((delete(),))


@pytest.mark.parametrize(("name", "runs"), [("mine.a", True), ("public.a", False)])
async def test_a_window_is_for_what_its_operation_touched(name: str, *, runs: bool) -> None:
    world = await opened(subjects=(delete("mine.a"),))
    assert isinstance(await run(world, subjects=(delete(name),)), Allowed) is runs


@pytest.mark.parametrize(("name", "asked"), [("mine.a", 1), ("public.a", 2)])
async def test_a_ticket_is_for_what_the_operation_meant_when_people_were_asked(name: str, asked: int) -> None:
    world, first, second = World(soon(then="ticket")), Listener(), Listener()
    world.hold(first, subjects=(delete("mine.a"),))
    await first.verdict()
    world.approve()
    world.hold(second, subjects=(delete(name),))
    await settled()
    assert isinstance(await second.verdict(), Allowed if asked == 1 else Denied)
    assert world.logged("requested") == ["requested"] * asked
