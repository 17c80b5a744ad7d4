"""Digests on SQLite, within a transaction that the caller owns."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime

from ....models.delivery import NewDelivery
from ....ports import Record
from ...encoding.rows import micros
from ..digests import DIGEST_COLUMNS, ITEM_COLUMNS, QUEUE_COLUMNS, Joining, from_queue, joined, joinings


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


#: The index that allows one open digest of a key decides whether a digest is opened.
JOIN = f"""
{_insert("notifykit_digests", DIGEST_COLUMNS)}
ON CONFLICT (tenant, key) WHERE open DO UPDATE SET
  closes_at = min(closes_by, max(closes_at, excluded.closes_at)), last_at = max(last_at, excluded.last_at)
RETURNING id, closes_at
"""
_QUEUE, _ITEM = _insert("notifykit_queue", QUEUE_COLUMNS), _insert("notifykit_digest_items", ITEM_COLUMNS)
_RECENT = "SELECT 1 FROM notifykit_digests WHERE tenant = ? AND key = ? AND last_at > ?"
_SLIDE = "UPDATE notifykit_queue SET due_at = ? WHERE id = ? AND state = 'held'"
_KNOWN = """
SELECT 1 FROM notifykit_queue WHERE id = :id
UNION ALL SELECT 1 FROM notifykit_digest_items WHERE tenant = :tenant AND id = :id
UNION ALL SELECT 1 FROM notifykit_deliveries WHERE tenant = :tenant AND id = :id
"""
_CLOSE = """
UPDATE notifykit_digests SET open = 0, last_at = max(last_at, ?)
WHERE open AND id IN (SELECT value FROM json_each(?))
"""
_LEAVE = "DELETE FROM notifykit_queue WHERE id = ? AND fence = ? AND state = 'sending' RETURNING *"


def join(db: sqlite3.Connection, deliveries: Iterable[NewDelivery], now: int) -> None:
    """Have digests collect planned deliveries that are not there yet."""
    for joining in joinings(deliveries):
        was_quiet = _was_quiet(db, joining)
        digest_id, closes_at = db.execute(JOIN, joining.values(now)).fetchone()
        if joining.slides:
            db.execute(_SLIDE, (closes_at, digest_id))
        queued, items = joined(joining, digest_id, closes_at, was_quiet=was_quiet, now=now)
        db.executemany(_QUEUE, queued)
        db.executemany(_ITEM, items)


def _was_quiet(db: sqlite3.Connection, joining: Joining) -> bool:
    since = joining.entry.quiet_since
    return since is None or db.execute(_RECENT, (*joining.key, micros(since))).fetchone() is None


def is_known(db: sqlite3.Connection, new: NewDelivery) -> bool:
    """Tell whether an earlier page of the same event has made a delivery."""
    return db.execute(_KNOWN, {"id": new.id, "tenant": new.tenant}).fetchone() is not None


def close(db: sqlite3.Connection, delivery_ids: Sequence[str], now: int) -> None:
    """Close the digests whose deliveries are claimed."""
    db.execute(_CLOSE, (now, json.dumps(delivery_ids)))


def collect_claimed(db: sqlite3.Connection, records: Iterable[Record]) -> set[str]:
    """Move claimed deliveries whose fences are right from the queue into digests; return their ids."""
    moved: dict[datetime, list[NewDelivery]] = {}
    cursor = db.cursor()
    cursor.row_factory = sqlite3.Row
    for record in records:
        assert record.digest is not None, "it names its digest"
        row = cursor.execute(_LEAVE, (record.delivery_id, record.fence)).fetchone()
        if row is not None:
            moved.setdefault(record.at, []).append(from_queue(row, record.digest, record.at))
    for at, deliveries in moved.items():
        join(db, deliveries, micros(at))
    return {new.id for deliveries in moved.values() for new in deliveries}
