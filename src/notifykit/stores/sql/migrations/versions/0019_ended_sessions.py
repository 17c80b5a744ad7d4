"""Sessions of browsers that were signed out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_KEY = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_TABLE = "notifykit_ended_sessions"


def upgrade() -> None:
    """Make the table; on MySQL with the types that keys have there, unless an interrupted upgrade has made it."""
    if op.get_context().dialect.name in ("mysql", "mariadb"):
        from notifykit.stores.sql.mysql.tables import metadata

        connection = op.get_bind()
        tables = metadata(is_mariadb=bool(getattr(connection.dialect, "is_mariadb", False))).tables
        tables[_TABLE].create(connection, checkfirst=True)
        return
    op.create_table(
        _TABLE,
        sa.Column("tenant", _KEY, nullable=False),
        sa.Column("id", _KEY, nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table(_TABLE)
