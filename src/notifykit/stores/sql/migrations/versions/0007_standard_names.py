"""Standard names, a row of the outbox for each event, event types, destinations that are no endpoints, plain bodies.

A worker of schema 0006 that goes on running stops when it notices the new version.  A program of schema 0006 can
still publish: on PostgreSQL a view stands where it writes events that share a row.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_KEY = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_KEYS = sa.Text().with_variant(postgresql.ARRAY(postgresql.TEXT(collation="C")), "postgresql")
_TABLES = {"notifykit_ailments": "notifykit_circuits", "notifykit_interests": "notifykit_subscription_index"}
#: Constraints are named after their table; since PostgreSQL 18 those that forbid NULL have names, too.
_RENAME_CONSTRAINTS = """
DO $$ DECLARE name text; BEGIN
  FOR name IN SELECT conname FROM pg_constraint WHERE conrelid = '{table}'::regclass AND conname LIKE '%{old}%' LOOP
    EXECUTE format('ALTER TABLE {table} RENAME CONSTRAINT %I TO %I', name, replace(name, '{old}', '{new}'));
  END LOOP;
END $$
"""
_ORDERED = ("notifykit_outbox", "notifykit_queue")
#: What is known of a destination without an endpoint's record, of a provider's answer, and of an event's type.
_NEW_COLUMNS = {
    "notifykit_events": ("category", "purpose"),
    "notifykit_queue": ("address",),
    "notifykit_deliveries": ("address", "last_reference"),
    "notifykit_attempts": ("reference",),
    "notifykit_subscriptions": ("address", "disabled_reason"),
}
_SENDING = sa.text("ordering_key IS NOT NULL AND state = 'sending'")


#: Where a program of schema 0006 writes events that share a row: each event gets a row of its own instead.
_BUNDLES = """
CREATE VIEW notifykit_bundles AS SELECT
  NULL::text AS id, NULL::text AS tenant, NULL::bigint AS due_at, NULL::bit(128) AS open, NULL::text[] AS event_ids
WHERE false
"""
_UNBUNDLE = """
CREATE FUNCTION notifykit_unbundle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO notifykit_outbox (event_id, tenant, priority, due_at)
  SELECT event_id, NEW.tenant, 1, NEW.due_at FROM unnest(NEW.event_ids) AS event_id;
  RETURN NEW;
END $$
"""
_TRIGGER = """
CREATE TRIGGER notifykit_unbundle INSTEAD OF INSERT ON notifykit_bundles
FOR EACH ROW EXECUTE FUNCTION notifykit_unbundle()
"""


def upgrade() -> None:
    """Rename and add columns that may be empty, which copies nothing; give each event a row of its own."""
    _unbundle()
    op.create_table(
        "notifykit_event_types",
        sa.Column("tenant", _KEY, nullable=False),
        sa.Column("id", _KEY, nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    for old, new in _TABLES.items():
        _rename_table(old, new)
    for table in _ORDERED:
        _rename_column(table, "behind", "blocked")
    _rename_index("notifykit_queue_turn", "notifykit_queue_head")
    _rename_column("notifykit_circuits", "endpoint_id", "key")
    for table, names in _NEW_COLUMNS.items():
        for name in names:
            op.add_column(table, sa.Column(name, sa.Text))
    _store_bodies("EXTERNAL")


def downgrade() -> None:
    """Rename back; events keep rows of their own.

    What only the newer version knows is deleted: it cannot be sent, or means something else there.
    """
    _store_bodies("EXTENDED")
    op.execute("DELETE FROM notifykit_circuits WHERE tenant = ''")
    op.execute(
        "DELETE FROM notifykit_subscription_index WHERE EXISTS (SELECT 1 FROM notifykit_subscriptions s WHERE"
        " s.tenant = notifykit_subscription_index.tenant AND s.id = notifykit_subscription_index.subscription_id"
        " AND s.address IS NOT NULL)"
    )
    for table in ("notifykit_queue", "notifykit_subscriptions"):
        op.execute(f"DELETE FROM {table} WHERE address IS NOT NULL")
    for table, names in _NEW_COLUMNS.items():
        for name in names:
            op.drop_column(table, name)
    _rename_column("notifykit_circuits", "key", "endpoint_id")
    op.drop_table("notifykit_event_types")
    if _is_postgresql():
        op.execute("DROP VIEW notifykit_bundles")
        op.execute("DROP FUNCTION notifykit_unbundle()")
    _create_bundles()
    _rename_index("notifykit_queue_head", "notifykit_queue_turn")
    for table in _ORDERED:
        _rename_column(table, "blocked", "behind")
    for old, new in _TABLES.items():
        _rename_table(new, old)


def _unbundle() -> None:
    if not _is_postgresql():  # the table is always empty there
        op.drop_table("notifykit_bundles")
        return
    op.execute(
        "INSERT INTO notifykit_outbox (event_id, tenant, priority, due_at, fence, taken_until)"
        " SELECT e.id, b.tenant, 1, b.due_at, b.fence, b.taken_until"
        " FROM notifykit_bundles b CROSS JOIN LATERAL unnest(b.event_ids) WITH ORDINALITY AS e(id, at)"
        " WHERE get_bit(b.open, e.at::int - 1) = 1"
    )
    op.drop_table("notifykit_bundles")
    for statement in (_BUNDLES, _UNBUNDLE, _TRIGGER):
        op.execute(statement)


def _create_bundles() -> None:
    op.create_table(
        "notifykit_bundles",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("tenant", _KEY, nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.Integer(), server_default="0", nullable=False),
        sa.Column("taken_until", sa.BigInteger()),
        sa.Column("open", sa.Text().with_variant(postgresql.BIT(128), "postgresql"), nullable=False),
        sa.Column("event_ids", _KEYS, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("notifykit_bundles_due", "notifykit_bundles", ["due_at", "tenant"], unique=False)
    if _is_postgresql():
        op.execute(
            "ALTER TABLE notifykit_bundles SET"
            " (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, fillfactor = 45)"
        )
        op.execute("ALTER TABLE notifykit_bundles ALTER event_ids SET STORAGE PLAIN")


def _store_bodies(storage: str) -> None:
    """Have PostgreSQL compress new large bodies (``EXTENDED``) or not (``EXTERNAL``)."""
    if _is_postgresql():
        op.execute(f"ALTER TABLE notifykit_events ALTER body SET STORAGE {storage}")


def _is_postgresql() -> bool:
    return op.get_context().dialect.name == "postgresql"


def _rename_table(old: str, new: str) -> None:
    op.rename_table(old, new)
    _rename_constraints(new, old, new)


def _rename_column(table: str, old: str, new: str) -> None:
    op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
    _rename_constraints(table, f"{table}_{old}", f"{table}_{new}")


def _rename_constraints(table: str, old: str, new: str) -> None:
    if _is_postgresql():
        op.execute(_RENAME_CONSTRAINTS.format(table=table, old=old, new=new))


def _rename_index(old: str, new: str) -> None:
    if _is_postgresql():
        op.execute(f"ALTER INDEX {old} RENAME TO {new}")
        return
    op.drop_index(old)
    op.create_index(new, "notifykit_queue", ["subscriber_id", "ordering_key"], unique=True, sqlite_where=_SENDING)
