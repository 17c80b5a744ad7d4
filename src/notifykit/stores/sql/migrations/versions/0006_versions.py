"""Endpoints, subscriptions and ailments have a version, which every change of one checks and raises."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TABLES = ("notifykit_endpoints", "notifykit_subscriptions", "notifykit_ailments")


def upgrade() -> None:
    """Start at 1.

    A process of schema 0005 that goes on running inserts rows without the column and gets the default; its
    changes leave the version as it is.
    """
    for table in _TABLES:
        op.add_column(table, sa.Column("version", sa.Integer(), server_default="1", nullable=False))


def downgrade() -> None:
    """Forget versions."""
    for table in _TABLES:
        op.drop_column(table, "version")
