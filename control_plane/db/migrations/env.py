"""Alembic's environment: migrations run on the connection that `db.migrate` hands over, never from a shell."""

from __future__ import annotations

from alembic import context

from control_plane.db.table import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,
    compare_type=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
