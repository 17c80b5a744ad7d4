"""In-app inboxes of people."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_KEY = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
#: The last column of each index behind tenant and recipient, and which rows it has.
_INDEXES = {
    "changes": ("change", None),
    "active": ("number", "archived_at IS NULL"),
    "archived": ("number", "archived_at IS NOT NULL"),
    "unseen": ("number", "archived_at IS NULL AND seen_at IS NULL"),
    "unread": ("number", "archived_at IS NULL AND read_at IS NULL"),
}


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "notifykit_inboxes",
        sa.Column("tenant", _KEY, nullable=False),
        sa.Column("recipient", _KEY, nullable=False),
        sa.Column("base", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "recipient"),
    )
    op.create_table(
        "notifykit_inbox_items",
        sa.Column("tenant", _KEY, nullable=False),
        sa.Column("recipient", _KEY, nullable=False),
        sa.Column("id", _KEY, nullable=False),
        sa.Column("event_id", _KEY, nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("category", sa.Text()),
        sa.Column("resource_kind", sa.Text()),
        sa.Column("resource_id", sa.Text()),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger()),
        sa.Column("read_at", sa.BigInteger()),
        sa.Column("archived_at", sa.BigInteger()),
        sa.Column("snoozed_until", sa.BigInteger()),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("change", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "recipient", "id"),
    )
    for name, (column, condition) in _INDEXES.items():
        where = None if condition is None else sa.text(condition)
        op.create_index(
            f"notifykit_inbox_{name}",
            "notifykit_inbox_items",
            ["tenant", "recipient", column],
            postgresql_where=where,
            sqlite_where=where,
        )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("notifykit_inbox_items")
    op.drop_table("notifykit_inboxes")
