"""Rows of Slack's messages and interactions, read and written."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement
from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from control_plane.slack.tables import SlackInteractionRow, SlackMessageRow

# ------------------------------------------------------------------ messages


async def messages(session: AsyncSession, approval_id: str) -> Sequence[SlackMessageRow]:
    statement = select(SlackMessageRow).where(col(SlackMessageRow.approval_id) == approval_id)
    return (await session.exec(statement.order_by(col(SlackMessageRow.channel)))).all()


async def message(session: AsyncSession, approval_id: str, channel: str) -> SlackMessageRow | None:
    return await session.get(SlackMessageRow, (approval_id, channel))


# ------------------------------------------------------------------ interactions


async def locked_interaction(session: AsyncSession, interaction_id: str) -> SlackInteractionRow | None:
    return await session.get(SlackInteractionRow, interaction_id, with_for_update=True, populate_existing=True)


async def is_known(session: AsyncSession, interaction_id: str, signature_hash: str | None) -> bool:
    statement = select(SlackInteractionRow.id).where(
        (col(SlackInteractionRow.id) == interaction_id)
        | (col(SlackInteractionRow.signature_hash) == signature_hash if signature_hash else False)
    )
    return (await session.exec(statement)).first() is not None


async def undone_before(session: AsyncSession, received_before_ms: int) -> Sequence[str]:
    """Oldest first."""
    undone = col(SlackInteractionRow.done_at_ms).is_(None)
    statement = select(SlackInteractionRow.id).where(
        undone, col(SlackInteractionRow.received_at_ms) < received_before_ms
    )
    return (await session.exec(statement.order_by(col(SlackInteractionRow.received_at_ms)).limit(100))).all()


async def some_done_before(session: AsyncSession, received_before_ms: int) -> bool:
    statement = select(SlackInteractionRow.id).where(_done_before(received_before_ms)).limit(1)
    return (await session.exec(statement)).first() is not None


async def forget_done_before(session: AsyncSession, received_before_ms: int) -> None:
    await session.exec(delete(SlackInteractionRow).where(_done_before(received_before_ms)))


def _done_before(received_before_ms: int) -> ColumnElement[bool]:
    done = col(SlackInteractionRow.done_at_ms).is_not(None)
    return done & (col(SlackInteractionRow.received_at_ms) < received_before_ms)
