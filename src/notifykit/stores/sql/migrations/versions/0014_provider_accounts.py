"""Provider accounts of tenants; attempts say over which account a message went, and what it cost."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_KEY = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Make a table, and columns that are empty for attempts of before and for webhooks."""
    op.add_column("notifykit_deliveries", sa.Column("last_account", sa.Text))
    op.add_column("notifykit_deliveries", sa.Column("last_cost", sa.BigInteger()))
    op.add_column("notifykit_attempts", sa.Column("account", sa.Text))
    op.add_column("notifykit_attempts", sa.Column("cost", sa.BigInteger()))
    op.create_table(
        "notifykit_provider_accounts",
        sa.Column("tenant", _KEY, nullable=False),
        sa.Column("id", _KEY, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )


def downgrade() -> None:
    """Drop tenants' accounts: their messages go over the operator's again."""
    op.drop_table("notifykit_provider_accounts")
    for table, columns in (
        ("notifykit_attempts", ("cost", "account")),
        ("notifykit_deliveries", ("last_cost", "last_account")),
    ):
        for column in columns:
            op.drop_column(table, column)
