"""Receipts of providers, and indexes that find their deliveries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_KEY = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def _partial_index(name: str, table: str, column: str, condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, [column], postgresql_where=where, sqlite_where=where)


def upgrade() -> None:
    """Make a table and three indexes, which are empty for webhooks."""
    op.create_table(
        "notifykit_receipts",
        sa.Column("provider", _KEY, nullable=False),
        sa.Column("id", _KEY, nullable=False),
        sa.Column("tenant", _KEY),
        sa.Column("delivery_id", _KEY),
        sa.Column("reference", _KEY),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("rank", sa.SmallInteger(), nullable=False),
        sa.Column("permanent", sa.Boolean(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.Text()),
        sa.Column("code", sa.Text()),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("look_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("provider", "id"),
    )
    op.create_index("notifykit_receipts_delivery", "notifykit_receipts", ["tenant", "delivery_id"])
    _partial_index("notifykit_receipts_waiting", "notifykit_receipts", "look_at", "look_at IS NOT NULL")
    _partial_index("notifykit_deliveries_people", "notifykit_deliveries", "id", "address IS NOT NULL")
    _partial_index(
        "notifykit_deliveries_reference", "notifykit_deliveries", "last_reference", "last_reference IS NOT NULL"
    )
    _partial_index("notifykit_attempts_reference", "notifykit_attempts", "reference", "reference IS NOT NULL")


def downgrade() -> None:
    """Drop what providers have reported."""
    op.drop_index("notifykit_attempts_reference", "notifykit_attempts")
    op.drop_index("notifykit_deliveries_reference", "notifykit_deliveries")
    op.drop_index("notifykit_deliveries_people", "notifykit_deliveries")
    op.drop_table("notifykit_receipts")
