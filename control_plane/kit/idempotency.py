"""`Idempotency-Key`: a POST that creates may be sent again and answers what it answered the first time.

The answer is kept in the transaction that created, so there is no moment in which one exists without the
other. A key belongs to its caller and to one request; another request with the same key is refused. What
must not be kept (a secret shown once) is taken out of the answer that a repetition gets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Annotated, TypeVar

import msgspec
from fastapi import Depends, Header, Request
from pydantic import BaseModel
from sqlalchemy import Text
from sqlmodel import Field, col, delete

from control_plane.db.table import Table, UtcDateTime
from control_plane.kit.access import Principal
from control_plane.kit.errors import ConflictError
from control_plane.kit.unit_of_work import UnitOfWork

M = TypeVar("M", bound=BaseModel)

KEPT_FOR = timedelta(hours=24)


class IdempotencyRow(Table, table=True):
    __tablename__ = "idempotency_keys"

    caller: str = Field(primary_key=True, max_length=64)
    key: str = Field(primary_key=True, max_length=255)
    request_hash: str = Field(max_length=64)
    answer: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=UtcDateTime, index=True)


class Idempotency(msgspec.Struct, frozen=True):
    """The key of one request, if it has one."""

    key: str
    request_hash: str

    async def once(
        self,
        uow: UnitOfWork,
        caller: Principal,
        model: type[M],
        create: Callable[[], Awaitable[M]],
        without_secrets: Callable[[M], M] = lambda answer: answer,
    ) -> M:
        if not self.key:
            return await create()
        row = await uow.session.get(IdempotencyRow, (caller.identity, self.key))
        if row is not None and row.created_at > uow.now - KEPT_FOR:
            if row.request_hash != self.request_hash:
                raise ConflictError("this Idempotency-Key belongs to another request; use a new one")
            return model.model_validate_json(row.answer)
        answer = await create()
        kept = without_secrets(answer).model_dump_json()
        await _forget_old(uow)
        uow.session.add(
            IdempotencyRow(
                caller=caller.identity,
                key=self.key,
                request_hash=self.request_hash,
                answer=kept,
                created_at=uow.now,
            )
        )
        return answer


async def _forget_old(uow: UnitOfWork) -> None:
    await uow.session.exec(delete(IdempotencyRow).where(col(IdempotencyRow.created_at) <= uow.now - KEPT_FOR))


async def _idempotency(
    request: Request,
    idempotency_key: Annotated[
        str | None, Header(min_length=1, max_length=255, description="makes repeating this request safe")
    ] = None,
) -> Idempotency:
    if idempotency_key is None:
        return Idempotency("", "")
    hashed = hashlib.sha256(f"{request.method} {request.url.path}\n".encode() + await request.body())
    return Idempotency(idempotency_key, hashed.hexdigest())


# The parameter of an endpoint: `async def create(body: X, idempotency: IdempotencyKey)`.
IdempotencyKey = Annotated[Idempotency, Depends(_idempotency)]
