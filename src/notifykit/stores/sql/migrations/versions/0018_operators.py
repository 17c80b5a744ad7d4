"""What operators look at: the audit log, and the workers that are alive."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_KEY = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_TABLES = ("notifykit_audit", "notifykit_workers")


def upgrade() -> None:
    """Make the tables."""
    if op.get_context().dialect.name in ("mysql", "mariadb"):
        _upgrade_mysql()
        return
    for name in _TABLES:
        op.create_table(
            name,
            sa.Column("tenant", _KEY, nullable=False),
            sa.Column("id", _KEY, nullable=False),
            sa.Column("details", sa.Text(), nullable=False),
            sa.Column("version", sa.Integer(), server_default="1", nullable=False),
            sa.PrimaryKeyConstraint("tenant", "id"),
        )


def _upgrade_mysql() -> None:
    """Make them with the types and the collation that keys have there; one that an interrupted upgrade made is kept."""
    from notifykit.stores.sql.mysql.tables import metadata

    connection = op.get_bind()
    tables = metadata(is_mariadb=bool(getattr(connection.dialect, "is_mariadb", False))).tables
    for name in _TABLES:
        tables[name].create(connection, checkfirst=True)


def downgrade() -> None:
    """Drop the audit log and the list of workers."""
    for name in _TABLES:
        op.drop_table(name)
