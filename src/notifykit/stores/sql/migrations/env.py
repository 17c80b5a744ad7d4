"""Alembic's entry point: runs on the connection that :func:`notifykit.stores.sql.migrate.upgrade` hands over."""

from __future__ import annotations

from alembic import context

from notifykit.stores.sql import schema
from notifykit.stores.sql.migrate import VERSION_TABLE

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=schema.metadata,
    version_table=VERSION_TABLE,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
