"""Digests: which are open, and what they have collected."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_KEY = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_OPEN = sa.text("open")


def upgrade() -> None:
    """Make two tables, and columns that are empty for deliveries that carry no digest."""
    for table in ("notifykit_queue", "notifykit_deliveries"):
        op.add_column(table, sa.Column("digest", sa.Text))
    op.create_table(
        "notifykit_digests",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("tenant", _KEY, nullable=False),
        sa.Column("key", _KEY, nullable=False),
        sa.Column("open", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("closes_at", sa.BigInteger(), nullable=False),
        sa.Column("closes_by", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("max_items", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "notifykit_digests_open",
        "notifykit_digests",
        ["tenant", "key"],
        unique=True,
        postgresql_where=_OPEN,
        sqlite_where=_OPEN,
    )
    op.create_index("notifykit_digests_key", "notifykit_digests", ["tenant", "key"])
    op.create_table(
        "notifykit_digest_items",
        sa.Column("tenant", _KEY, nullable=False),
        sa.Column("id", _KEY, nullable=False),
        sa.Column("event_id", _KEY, nullable=False),
        sa.Column("digest_id", _KEY, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    op.create_index("notifykit_digest_items_digest", "notifykit_digest_items", ["digest_id", "id"])


def downgrade() -> None:
    """Drop digests with what they have collected: nothing of schema 0008 could send it."""
    op.execute("DELETE FROM notifykit_queue WHERE digest IS NOT NULL")
    op.drop_table("notifykit_digest_items")
    op.drop_table("notifykit_digests")
    for table in ("notifykit_queue", "notifykit_deliveries"):
        op.drop_column(table, "digest")
