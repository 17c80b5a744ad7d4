"""Where tenants are, if they are spread over several databases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_KEY = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables of placements and of parked work."""
    op.create_table(
        "notifykit_placements",
        sa.Column("tenant", _KEY, nullable=False),
        sa.Column("shard", _KEY, nullable=False),
        sa.Column("source", _KEY, nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.BigInteger()),
        sa.Column("ring", sa.Text()),
        sa.PrimaryKeyConstraint("tenant"),
    )
    op.create_index("notifykit_placements_seq", "notifykit_placements", ["seq"])
    op.create_table(
        "notifykit_parked",
        sa.Column("tenant", _KEY, nullable=False),
        sa.Column("kind", _KEY, nullable=False),
        sa.Column("id", _KEY, nullable=False),
        sa.Column("row", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "kind", "id"),
    )


def downgrade() -> None:
    """Drop them; finish every move before, because a tenant that is being moved has its open work there."""
    op.drop_table("notifykit_parked")
    op.drop_table("notifykit_placements")
