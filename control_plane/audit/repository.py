"""Reads and appends rows of the audit log. Knows no rule beyond their form."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec
from sqlalchemy import insert, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from control_plane.audit.chain import GENESIS, Entry, canonical
from control_plane.audit.tables import AuditRow, CheckpointRow

_APPEND_LOCK = 4_741_190_002
_LAST = select(AuditRow.sequence, AuditRow.hash).order_by(col(AuditRow.sequence).desc()).limit(1)
_APPEND = insert(AuditRow)


class Filter(msgspec.Struct, frozen=True):
    """Empty fields match everything. `kind` matches whole or, ending in a dot, as a beginning."""

    kind: str = ""
    actor: str = ""  # id or name
    subject: str = ""
    since_ms: int | None = None
    until_ms: int | None = None


async def lock_end(session: AsyncSession) -> None:
    """Until the transaction ends nobody else appends. On SQLite the writer is alone already."""
    if session.get_bind().dialect.name == "postgresql":
        connection = await session.connection()
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _APPEND_LOCK})


async def end(session: AsyncSession) -> tuple[int, bytes]:
    """Sequence and hash of the last entry; 0 and the genesis when there is none."""
    row = (await session.exec(_LAST)).first()
    return (0, GENESIS) if row is None else (row[0], bytes.fromhex(row[1]))


async def hash_at(session: AsyncSession, sequence: int) -> str:
    if sequence == 0:
        return GENESIS.hex()
    found = (await session.exec(select(AuditRow.hash).where(col(AuditRow.sequence) == sequence))).first()
    return found or ""


def row_of(entry: Entry, entry_hash: bytes) -> AuditRow:
    return AuditRow(
        sequence=entry.sequence,
        at_ms=entry.at_ms,
        kind=entry.kind,
        actor_id=entry.actor["id"],
        actor_name=entry.actor["name"],
        actor_kind=entry.actor["kind"],
        subject=entry.subject,
        data=canonical(entry.data).decode("ascii"),
        sealed=entry.sealed or None,
        hash=entry_hash.hex(),
    )


def entry_of(row: AuditRow) -> Entry:
    actor = {"id": row.actor_id, "name": row.actor_name, "kind": row.actor_kind}
    return Entry(row.sequence, row.at_ms, row.kind, actor, row.subject, json.loads(row.data), row.sealed or b"")


async def append(session: AsyncSession, rows: Sequence[AuditRow]) -> None:
    """As one statement: a busy agent's reports bring many at a time."""
    connection = await session.connection()
    await connection.execute(_APPEND, [row.model_dump() for row in rows])


async def newest(session: AsyncSession, wanted: Filter, before: int | None, limit: int) -> list[AuditRow]:
    statement = select(AuditRow).order_by(col(AuditRow.sequence).desc()).limit(limit)
    if before is not None:
        statement = statement.where(col(AuditRow.sequence) < before)
    if wanted.kind.endswith("."):
        statement = statement.where(col(AuditRow.kind).startswith(wanted.kind, autoescape=True))
    elif wanted.kind:
        statement = statement.where(col(AuditRow.kind) == wanted.kind)
    if wanted.actor:
        statement = statement.where(
            (col(AuditRow.actor_id) == wanted.actor) | (col(AuditRow.actor_name) == wanted.actor)
        )
    if wanted.subject:
        statement = statement.where(col(AuditRow.subject) == wanted.subject)
    if wanted.since_ms is not None:
        statement = statement.where(col(AuditRow.at_ms) >= wanted.since_ms)
    if wanted.until_ms is not None:
        statement = statement.where(col(AuditRow.at_ms) < wanted.until_ms)
    return list((await session.exec(statement)).all())


async def following(session: AsyncSession, after: int, through: int, limit: int) -> list[AuditRow]:
    place = col(AuditRow.sequence)
    statement = select(AuditRow).where(place > after, place <= through).order_by(place).limit(limit)
    return list((await session.exec(statement)).all())


async def checkpoints(session: AsyncSession, after: int, through: int) -> list[CheckpointRow]:
    place = col(CheckpointRow.sequence)
    statement = select(CheckpointRow).where(place > after, place <= through).order_by(place)
    return list((await session.exec(statement)).all())


async def last_checkpoint(session: AsyncSession) -> CheckpointRow | None:
    return (await session.exec(select(CheckpointRow).order_by(col(CheckpointRow.sequence).desc()).limit(1))).first()
