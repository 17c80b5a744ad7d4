"""Deliveries that are handed over to a broker."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_HANDED = sa.text("handed IS NOT NULL")


def upgrade() -> None:
    """Add a column that is empty, and an index of the rows where it is not."""
    op.add_column("notifykit_queue", sa.Column("handed", sa.BigInteger()))
    op.create_index(
        "notifykit_queue_handed",
        "notifykit_queue",
        ["channel", "priority", "due_at"],
        postgresql_where=_HANDED,
        sqlite_where=_HANDED,
    )


def downgrade() -> None:
    """Make what is handed over due again, because no broker of an older version claims it."""
    op.execute("UPDATE notifykit_queue SET due_at = handed WHERE handed IS NOT NULL")
    op.drop_index("notifykit_queue_handed", "notifykit_queue")
    op.drop_column("notifykit_queue", "handed")
