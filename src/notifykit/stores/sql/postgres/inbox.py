"""New items of inboxes on PostgreSQL, within a transaction that the caller owns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import schema as s
from ..inbox import number, openings

_TYPES = {"TEXT": "text", "BLOB": "bytea", "BIGINT": "bigint"}


def _batch(columns: Mapping[str, str]) -> str:
    """Return the columns, and the table of the arguments: one array for each."""
    arrays = ", ".join(f"${n}::{type_}[]" for n, type_ in enumerate(columns.values(), 1))
    return f"({', '.join(columns)}) SELECT * FROM unnest({arrays})"


_ITEMS = {column.name: _TYPES[str(column.type)] for column in s.inbox_items.columns}
_INBOXES = {"tenant": "text", "recipient": "text", "base": "bigint", "last": "bigint"}
_OPEN = f"""
INSERT INTO notifykit_inboxes AS i {_batch(_INBOXES)}
ON CONFLICT (tenant, recipient) DO UPDATE SET last = i.last + excluded.last - excluded.base
RETURNING tenant, recipient, last
"""
_ADD = f"INSERT INTO notifykit_inbox_items {_batch(_ITEMS)} ON CONFLICT DO NOTHING"


async def put(pg: Any, rows: Sequence[dict[str, Any]], timeout: float) -> None:
    """Insert items that are new (see :func:`notifykit.stores.sql.inbox.put`)."""
    opened = list(zip(*(opening.values() for opening in openings(rows)), strict=True))
    found = await pg.fetch(_OPEN, *opened, timeout=timeout)
    number(rows, {(row["tenant"], row["recipient"]): row["last"] for row in found})
    await pg.execute(_ADD, *([row[name] for row in rows] for name in _ITEMS), timeout=timeout)
