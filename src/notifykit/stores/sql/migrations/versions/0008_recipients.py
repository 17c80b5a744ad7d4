"""Recipients and tenants' preferences; events say to whom they are addressed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_KEY = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Make two tables, and a column that is empty for events of programs of schema 0007."""
    op.add_column("notifykit_events", sa.Column("audience", sa.Text))
    op.create_table(
        "notifykit_recipients",
        sa.Column("tenant", _KEY, nullable=False),
        sa.Column("id", _KEY, nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    op.create_table(
        "notifykit_tenant_preferences",
        sa.Column("tenant", _KEY, nullable=False),
        sa.Column("id", _KEY, nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )


def downgrade() -> None:
    """Drop recipients; what was addressed to them goes to subscriptions alone."""
    op.drop_table("notifykit_tenant_preferences")
    op.drop_table("notifykit_recipients")
    op.drop_column("notifykit_events", "audience")
