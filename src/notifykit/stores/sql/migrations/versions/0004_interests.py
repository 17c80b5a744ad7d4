"""A table that finds the subscriptions which an event may concern, filled from those that are there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

Key = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

#: Subscriptions that are read at a time.
_BATCH = 5000

_PAGE = """
SELECT tenant, id, event_types, topic, enabled FROM notifykit_subscriptions
WHERE tenant > :tenant OR (tenant = :tenant AND id > :id) ORDER BY tenant, id LIMIT :batch
"""


def upgrade() -> None:
    """Create the table and fill it."""
    table = op.create_table(
        "notifykit_interests",
        sa.Column("tenant", Key, nullable=False),
        sa.Column("types", Key, nullable=False),
        sa.Column("topics", Key, nullable=False),
        sa.Column("subscription_id", Key, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "types", "topics", "subscription_id"),
    )
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        # Processes that change a subscription meanwhile wait, so that none is missed.
        op.execute("LOCK TABLE notifykit_subscriptions IN SHARE MODE")
    last = {"tenant": "", "id": ""}
    while rows := connection.execute(sa.text(_PAGE), {**last, "batch": _BATCH}).mappings().all():
        interests = [values for row in rows for values in _interests(row)]
        if interests:
            connection.execute(sa.insert(table), interests)
        last = {"tenant": rows[-1]["tenant"], "id": rows[-1]["id"]}


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("notifykit_interests")


# ── the places of a subscription, as they were when this script was written ────────────────────

_TYPE_WORD = re.compile(r"[A-Za-z0-9_]+")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def _interests(row: Any) -> Iterator[dict[str, str]]:
    topics = "**" if row["topic"] is None else _place(row["topic"], "/")
    if not row["enabled"] or topics is None:
        return
    topics = "" if topics == "**" else topics
    for types in {_place(pattern, ".") for pattern in json.loads(row["event_types"])}:
        if types is not None:
            yield {"tenant": row["tenant"], "types": types, "topics": topics, "subscription_id": row["id"]}


def _place(pattern: Any, separator: str) -> str | None:
    """Return a literal pattern itself, of another one what is before its first wildcard; ``None`` if it is neither."""
    if not isinstance(pattern, str) or len(pattern) > 256:
        return None
    words = pattern.split(separator)
    if len(words) > 32 or not all(word in ("*", "**") or _is_literal(word, separator) for word in words):
        return None
    wild = next((at for at, word in enumerate(words) if word in ("*", "**")), None)
    return pattern if wild is None else separator.join([*words[:wild], "**"])


def _is_literal(word: str, separator: str) -> bool:
    if not word or "*" in word:
        return False
    return bool(_TYPE_WORD.fullmatch(word)) if separator == "." else not _UNPRINTABLE.search(word)
