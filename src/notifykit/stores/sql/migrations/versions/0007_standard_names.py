"""Tables, columns and indexes get the field's standard names; PostgreSQL does not compress bodies any more.

A worker of schema 0006 that goes on running stops when it notices; what publishes goes on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

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
_SENDING = sa.text("ordering_key IS NOT NULL AND state = 'sending'")


def upgrade() -> None:
    """Rename; nothing is copied."""
    for old, new in _TABLES.items():
        _rename_table(old, new)
    for table in _ORDERED:
        _rename_column(table, "behind", "blocked")
    _rename_index("notifykit_queue_turn", "notifykit_queue_head")
    _store_bodies("EXTERNAL")


def downgrade() -> None:
    """Rename back."""
    _store_bodies("EXTENDED")
    _rename_index("notifykit_queue_head", "notifykit_queue_turn")
    for table in _ORDERED:
        _rename_column(table, "blocked", "behind")
    for old, new in _TABLES.items():
        _rename_table(new, old)


def _store_bodies(storage: str) -> None:
    """Have PostgreSQL compress new large bodies (``EXTENDED``) or not (``EXTERNAL``)."""
    if op.get_context().dialect.name == "postgresql":
        op.execute(f"ALTER TABLE notifykit_events ALTER body SET STORAGE {storage}")


def _rename_table(old: str, new: str) -> None:
    op.rename_table(old, new)
    _rename_constraints(new, old, new)


def _rename_column(table: str, old: str, new: str) -> None:
    op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
    _rename_constraints(table, f"{table}_{old}", f"{table}_{new}")


def _rename_constraints(table: str, old: str, new: str) -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute(_RENAME_CONSTRAINTS.format(table=table, old=old, new=new))


def _rename_index(old: str, new: str) -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute(f"ALTER INDEX {old} RENAME TO {new}")
        return
    op.drop_index(old)
    op.create_index(new, "notifykit_queue", ["subscriber_id", "ordering_key"], unique=True, sqlite_where=_SENDING)
