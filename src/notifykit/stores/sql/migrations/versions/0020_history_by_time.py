"""B-trees in place of BRIN indexes.

A block of a table is used again once what was in it has been purged.  A BRIN index remembers the oldest row that each
block has ever had: after one retention it finds every block whenever a purge looks for what is old.
"""

from __future__ import annotations

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_INDEXES = (
    ("notifykit_events_published", "notifykit_events", "published_at"),
    ("notifykit_deliveries_finished", "notifykit_deliveries", "finished_at"),
)


def upgrade() -> None:
    """Make the indexes anew; only on PostgreSQL they were others."""
    _make("btree")


def downgrade() -> None:
    """Make them as they were."""
    _make("brin")


def _make(kind: str) -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    for name, table, column in _INDEXES:
        op.drop_index(name, table)
        op.create_index(name, table, [column], postgresql_using=kind)
