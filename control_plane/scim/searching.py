"""Lists: filter, sort and page over what one client has pushed (RFC 7644 §3.4.2).

A filter is parsed and checked by scim2-models and looked at resource by resource, always whole. What it compares for
equality with an indexed column only narrows the rows that are read, as values bound to a statement, never as its text.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec
from scim2_models import Resource, SearchRequest, TooManyException
from scim2_models.path import CompareOperator, Comparison, FilterNode, LogicalExpr, LogicalOperator
from sqlalchemy import ColumnElement, func
from sqlmodel import and_, col, or_, select

from control_plane.kit.unit_of_work import UnitOfWork
from control_plane.scim import payloads
from control_plane.scim.domain import Client
from control_plane.scim.resources import MOST_RESULTS
from control_plane.scim.tables import ScimGroupRow, ScimUserRow

DEFAULT_RESULTS: Final = 100
_BATCH: Final = 200
_MOST_SORTED: Final = 10_000

R = TypeVar("R", bound=Resource[Any])
Row = TypeVar("Row", ScimUserRow, ScimGroupRow)


class Found(msgspec.Struct, Generic[R], frozen=True):
    total: int
    start: int  # from 1
    page: list[R]


class Listing(msgspec.Struct, Generic[Row, R], frozen=True):
    """What can be listed. `exact` and `folded`: columns by attribute, the second compared whatever the case."""

    row: type[Row]
    exact: dict[str, str]
    folded: dict[str, str]
    alive: ColumnElement[bool]
    resources: Callable[[UnitOfWork, Client, Sequence[Row]], Awaitable[list[R]]]

    async def find(self, uow: UnitOfWork, client: Client, request: SearchRequest[R]) -> Found[R]:
        start = max(0, request.start_index_0 or 0)
        count = DEFAULT_RESULTS if request.count is None else min(request.count, MOST_RESULTS)
        if request.filter is None and request.sort_by is None:
            return await self._page(uow, client, start, count)
        if request.sort_by is not None:
            return await self._sorted(uow, client, request, start, count)
        total, page = 0, []
        async for one in self._matching(uow, client, request):
            if start <= total < start + count:
                page.append(one)
            total += 1
        return Found(total, start + 1, page)

    async def _page(self, uow: UnitOfWork, client: Client, start: int, count: int) -> Found[R]:
        where = self._where(client, None)
        total = (await uow.session.exec(select(func.count()).select_from(self.row).where(*where))).one()
        if count == 0 or start >= total:
            return Found(total, start + 1, [])
        statement = select(self.row).where(*where).order_by(*self._order()).offset(start).limit(count)
        rows = list((await uow.session.exec(statement)).all())
        return Found(total, start + 1, await self.resources(uow, client, rows))

    async def _sorted(
        self, uow: UnitOfWork, client: Client, request: SearchRequest[R], start: int, count: int
    ) -> Found[R]:
        matching: list[R] = []
        async for one in self._matching(uow, client, request):
            matching.append(one)
            if len(matching) > _MOST_SORTED:
                raise TooManyException(detail=f"no more than {_MOST_SORTED} are sorted; leave sortBy out, or filter")
        ordered = request.sort(matching)
        return Found(len(ordered), start + 1, ordered[start : start + count])

    async def _matching(self, uow: UnitOfWork, client: Client, request: SearchRequest[R]) -> AsyncIterator[R]:
        async for rows in self._batches(uow, client, request.filter.ast if request.filter is not None else None):
            for one in await self.resources(uow, client, rows):
                if request.filter is None or request.filter.match(one):
                    yield one
            await asyncio.sleep(0)  # others have their turn between two batches

    async def _batches(self, uow: UnitOfWork, client: Client, tree: FilterNode | None) -> AsyncIterator[list[Row]]:
        statement = select(self.row).where(*self._where(client, tree)).order_by(*self._order()).limit(_BATCH)
        rows = list((await uow.session.exec(statement)).all())
        while rows:
            yield rows
            created, last = col(self.row.created_at), rows[-1]
            after = or_(created > last.created_at, and_(created == last.created_at, col(self.row.id) > last.id))
            rows = list((await uow.session.exec(statement.where(after))).all())

    def _order(self) -> tuple[Any, ...]:
        """What is new comes last, so that pages stay where they are."""
        return (col(self.row.created_at), col(self.row.id))

    def _where(self, client: Client, tree: FilterNode | None) -> list[ColumnElement[bool]]:
        where = [col(self.row.client) == client.name, self.alive]
        for comparison in _conjunction(tree):
            attribute, value = str(comparison.attr_path).lower(), comparison.value
            if comparison.op is CompareOperator.eq and isinstance(value, str):
                if name := self.exact.get(attribute):
                    where.append(getattr(self.row, name) == payloads.exact(value))
                elif name := self.folded.get(attribute):
                    where.append(getattr(self.row, name) == payloads.comparable(value))
        return where


def _conjunction(tree: FilterNode | None) -> list[Comparison]:
    """Comparisons that must hold for the whole to hold."""
    if isinstance(tree, Comparison):
        return [tree]
    if isinstance(tree, LogicalExpr) and tree.op is LogicalOperator.and_:
        return [term for term in tree.terms if isinstance(term, Comparison)]
    return []
