"""Ailments and buckets are keyed by tenant too; pages of the outbox have room for each row's update."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

Key = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Widen the keys."""
    _set_keys("endpoint_id", "tenant")
    _set_fillfactor(45)


def downgrade() -> None:
    """Narrow the keys again; what the two tables hold is learned anew."""
    op.execute("DELETE FROM notifykit_ailments")
    op.execute("DELETE FROM notifykit_buckets")
    _set_keys("endpoint_id")
    _set_fillfactor(70)


def _set_fillfactor(percent: int) -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute(f"ALTER TABLE notifykit_outbox SET (fillfactor = {percent})")


def _set_keys(*keys: str) -> None:
    tables: dict[str, list[sa.Column[Any]]] = {
        "notifykit_ailments": [
            sa.Column("since", sa.BigInteger(), nullable=False),
            sa.Column("probe_at", sa.BigInteger(), nullable=False),
            sa.Column("probes", sa.Integer(), nullable=False),
            sa.Column("reason", sa.Text(), nullable=False),
        ],
        "notifykit_buckets": [
            sa.Column("tokens", sa.Float(precision=53), nullable=False),
            sa.Column("filled_at", sa.BigInteger(), nullable=False),
        ],
    }
    for table, rest in tables.items():
        if op.get_context().dialect.name == "postgresql":
            op.drop_constraint(f"{table}_pkey", table)
            op.create_primary_key(f"{table}_pkey", table, list(keys))
            continue
        # SQLite cannot change a key: the rows move to a new table.
        ids = (sa.Column("endpoint_id", Key, nullable=False), sa.Column("tenant", Key, nullable=False))
        columns: list[sa.Column[Any]] = [*ids, *rest]
        names = ", ".join(column.name for column in columns)
        op.rename_table(table, f"{table}_before")
        op.create_table(table, *columns, sa.PrimaryKeyConstraint(*keys))
        op.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM {table}_before")
        op.drop_table(f"{table}_before")
