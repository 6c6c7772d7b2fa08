"""How endpoints get what `assembly` made: by type, from the application.

Service = Annotated[TargetService, provided(TargetService)]
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, TypeVar, cast

from fastapi import Depends, FastAPI, Request

from control_plane.kit.unit_of_work import Units

T = TypeVar("T")


def provide(app: FastAPI, parts: Mapping[type[Any], object]) -> None:
    """Called once, by `app`; every part is an instance of its type."""
    app.state.provided = dict(parts)


def part_of(app: Any, kind: type[T]) -> T:
    return cast("T", app.state.provided[kind])


def provided(kind: type[T]) -> Any:
    return Depends(_provider(kind))


def _provider(kind: type[T]) -> Callable[[Request], Awaitable[T]]:
    async def give(request: Request) -> T:  # a plain function would cost a hop to a thread for each part
        return part_of(request.app, kind)

    return give


UnitsOfWork = Annotated[Units, provided(Units)]
