"""An ended delivery tells of its last attempt itself; attempts that came before stay in their table."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _columns() -> list[sa.Column[object]]:
    return [
        sa.Column("last_started_at", sa.BigInteger()),
        sa.Column("last_took", sa.BigInteger()),
        sa.Column("last_outcome", sa.Text()),
        sa.Column("last_reason", sa.Text()),
        sa.Column("last_status", sa.SmallInteger()),
        sa.Column("last_response", sa.LargeBinary()),
        sa.Column("last_worker", sa.Text()),
    ]


def upgrade() -> None:
    """Make room; attempts that were recorded before stay where they are, and are read from there."""
    for column in _columns():
        op.add_column("notifykit_deliveries", column)


def downgrade() -> None:
    """Move last attempts to the table of all."""
    op.execute(
        "INSERT INTO notifykit_attempts"
        " (delivery_id, number, started_at, took, outcome, reason, status, response, worker)"
        " SELECT id, attempts, last_started_at, last_took, last_outcome, last_reason, last_status, last_response,"
        " last_worker FROM notifykit_deliveries WHERE last_outcome IS NOT NULL"
    )
    for column in _columns():
        op.drop_column("notifykit_deliveries", column.name)
