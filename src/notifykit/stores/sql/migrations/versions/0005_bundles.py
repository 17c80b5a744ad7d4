"""A table for ordinary events that were stored together: they share a row; what waits already stays where it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

Key = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
Keys = sa.Text().with_variant(postgresql.ARRAY(postgresql.TEXT(collation="C")), "postgresql")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "notifykit_bundles",
        sa.Column("id", Key, nullable=False),
        sa.Column("tenant", Key, nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.Integer(), server_default="0", nullable=False),
        sa.Column("taken_until", sa.BigInteger()),
        sa.Column("open", sa.Text().with_variant(postgresql.BIT(128), "postgresql"), nullable=False),
        sa.Column("event_ids", Keys, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("notifykit_bundles_due", "notifykit_bundles", ["due_at", "tenant"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "ALTER TABLE notifykit_bundles SET"
            " (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, fillfactor = 45)"
        )
        op.execute("ALTER TABLE notifykit_bundles ALTER event_ids SET STORAGE PLAIN")


def downgrade() -> None:
    """Give each event a row of its own again."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "INSERT INTO notifykit_outbox (event_id, tenant, priority, due_at, fence, taken_until)"
            " SELECT e.id, b.tenant, 1, b.due_at, b.fence, b.taken_until"
            " FROM notifykit_bundles b CROSS JOIN LATERAL unnest(b.event_ids) WITH ORDINALITY AS e(id, at)"
            " WHERE get_bit(b.open, e.at::int - 1) = 1"
        )
    op.drop_table("notifykit_bundles")
