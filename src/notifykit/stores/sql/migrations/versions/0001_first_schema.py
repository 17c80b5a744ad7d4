"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

Key = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def _on_postgresql(table: str, *, fillfactor: int, autovacuum_threshold: int) -> None:
    """Set storage parameters, for which SQLAlchemy 2.0 has no option of a table."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"ALTER TABLE {table} SET (fillfactor = {fillfactor}, autovacuum_vacuum_scale_factor = 0,"
            f" autovacuum_vacuum_threshold = {autovacuum_threshold})"
        )


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "notifykit_ailments",
        sa.Column("endpoint_id", Key, nullable=False),
        sa.Column("tenant", Key, nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("probe_at", sa.BigInteger(), nullable=False),
        sa.Column("probes", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("endpoint_id"),
    )
    op.create_table(
        "notifykit_attempts",
        sa.Column("delivery_id", Key, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("took", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("status", sa.SmallInteger(), nullable=True),
        sa.Column("retry_at", sa.BigInteger(), nullable=True),
        sa.Column("response", sa.LargeBinary(), nullable=True),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("delivery_id", "number"),
    )
    op.create_table(
        "notifykit_buckets",
        sa.Column("endpoint_id", Key, nullable=False),
        sa.Column("tenant", Key, nullable=False),
        sa.Column("tokens", sa.Float(precision=53), nullable=False),
        sa.Column("filled_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("endpoint_id"),
    )
    op.create_table(
        "notifykit_deliveries",
        sa.Column("tenant", Key, nullable=False),
        sa.Column("id", Key, nullable=False),
        sa.Column("event_id", Key, nullable=False),
        sa.Column("subscription_id", Key, nullable=False),
        sa.Column("subscriber_id", Key, nullable=False),
        sa.Column("channel", Key, nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("state", Key, nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("abandoned", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("ordering_key", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    op.create_index(
        "notifykit_deliveries_failed",
        "notifykit_deliveries",
        ["tenant", "id"],
        unique=False,
        postgresql_where=sa.text("state <> 'delivered'"),
        sqlite_where=sa.text("state <> 'delivered'"),
    )
    op.create_index(
        "notifykit_deliveries_finished", "notifykit_deliveries", ["finished_at"], unique=False, postgresql_using="brin"
    )
    op.create_index("notifykit_deliveries_subscriber", "notifykit_deliveries", ["subscriber_id", "id"], unique=False)
    op.create_table(
        "notifykit_endpoints",
        sa.Column("tenant", Key, nullable=False),
        sa.Column("id", Key, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("state", Key, nullable=False),
        sa.Column("state_reason", sa.Text(), nullable=True),
        sa.Column("secrets", sa.Text(), nullable=False),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("retry", sa.Text(), nullable=False),
        sa.Column("timeout", sa.BigInteger(), nullable=False),
        sa.Column("max_in_flight", sa.Integer(), nullable=False),
        sa.Column("rate_limit", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    op.create_table(
        "notifykit_events",
        sa.Column("tenant", Key, nullable=False),
        sa.Column("id", Key, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("version", sa.SmallInteger(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=True),
        sa.Column("resource_kind", sa.Text(), nullable=True),
        sa.Column("resource_id", sa.Text(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=True),
        sa.Column("occurred_at", sa.BigInteger(), nullable=False),
        sa.Column("published_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("ordering_key", sa.Text(), nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=True),
        sa.Column("trace", sa.Text(), nullable=True),
        sa.Column("metadata", sa.Text(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    op.create_index(
        "notifykit_events_idempotency",
        "notifykit_events",
        ["tenant", "idempotency_key"],
        unique=True,
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
        sqlite_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_index(
        "notifykit_events_published", "notifykit_events", ["published_at"], unique=False, postgresql_using="brin"
    )
    op.create_table(
        "notifykit_outbox",
        sa.Column("event_id", Key, nullable=False),
        sa.Column("tenant", Key, nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.Integer(), server_default="0", nullable=False),
        sa.Column("taken_until", sa.BigInteger(), nullable=True),
        sa.Column("cursor", sa.Text(), nullable=True),
        sa.Column("ordering_key", Key, nullable=True),
        sa.Column("behind", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    _on_postgresql("notifykit_outbox", fillfactor=70, autovacuum_threshold=20000)
    op.create_index("notifykit_outbox_due", "notifykit_outbox", ["priority", "due_at", "tenant"], unique=False)
    op.create_index(
        "notifykit_outbox_order",
        "notifykit_outbox",
        ["tenant", "ordering_key", "event_id"],
        unique=False,
        postgresql_where=sa.text("ordering_key IS NOT NULL"),
        sqlite_where=sa.text("ordering_key IS NOT NULL"),
    )
    op.create_table(
        "notifykit_queue",
        sa.Column("id", Key, nullable=False),
        sa.Column("event_id", Key, nullable=False),
        sa.Column("tenant", Key, nullable=False),
        sa.Column("subscription_id", Key, nullable=False),
        sa.Column("subscriber_id", Key, nullable=False),
        sa.Column("channel", Key, nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("state", Key, nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("abandoned", sa.Integer(), server_default="0", nullable=False),
        sa.Column("generation", sa.Integer(), server_default="0", nullable=False),
        sa.Column("ordering_key", Key, nullable=True),
        sa.Column("behind", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("fence", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    _on_postgresql("notifykit_queue", fillfactor=80, autovacuum_threshold=20000)
    op.create_index(
        "notifykit_queue_due",
        "notifykit_queue",
        ["channel", "priority", "due_at", "subscriber_id"],
        unique=False,
        postgresql_where=sa.text("state <> 'sending'"),
        sqlite_where=sa.text("state <> 'sending'"),
    )
    op.create_index(
        "notifykit_queue_lease",
        "notifykit_queue",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("state = 'sending'"),
        sqlite_where=sa.text("state = 'sending'"),
    )
    op.create_index(
        "notifykit_queue_order",
        "notifykit_queue",
        ["subscriber_id", "ordering_key", "id"],
        unique=False,
        postgresql_where=sa.text("ordering_key IS NOT NULL"),
        sqlite_where=sa.text("ordering_key IS NOT NULL"),
    )
    op.create_index(
        "notifykit_queue_subscriber",
        "notifykit_queue",
        ["subscriber_id"],
        unique=False,
        postgresql_where=sa.text("state <> 'sending'"),
        sqlite_where=sa.text("state <> 'sending'"),
    )
    op.create_index(
        "notifykit_queue_turn",
        "notifykit_queue",
        ["subscriber_id", "ordering_key"],
        unique=True,
        postgresql_where=sa.text("ordering_key IS NOT NULL AND state = 'sending'"),
        sqlite_where=sa.text("ordering_key IS NOT NULL AND state = 'sending'"),
    )
    op.create_table(
        "notifykit_subscriptions",
        sa.Column("tenant", Key, nullable=False),
        sa.Column("id", Key, nullable=False),
        sa.Column("subscriber_id", Key, nullable=False),
        sa.Column("channel", Key, nullable=False),
        sa.Column("event_types", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=True),
        sa.Column("filter", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    op.create_index(
        "notifykit_subscriptions_subscriber", "notifykit_subscriptions", ["tenant", "subscriber_id"], unique=False
    )
    op.create_table(
        "notifykit_tenants",
        sa.Column("tenant", Key, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant"),
    )


def downgrade() -> None:
    """Drop every table."""
    for table in (
        "notifykit_ailments",
        "notifykit_attempts",
        "notifykit_buckets",
        "notifykit_deliveries",
        "notifykit_endpoints",
        "notifykit_events",
        "notifykit_outbox",
        "notifykit_queue",
        "notifykit_subscriptions",
        "notifykit_tenants",
    ):
        op.drop_table(table)
