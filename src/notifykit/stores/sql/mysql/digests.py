"""Digests on MySQL, within a transaction that the caller owns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from ....models.delivery import NewDelivery
from ....ports import Record
from ...encoding.rows import NamedRow, micros
from ..digests import DIGEST_COLUMNS, ITEM_COLUMNS, QUEUE_COLUMNS, Joining, from_queue, joined, joinings
from .statements import insert, marks

#: The index that allows one open digest of a key decides whether a digest is opened.
JOIN = f"""
{insert("notifykit_digests", DIGEST_COLUMNS)} ON DUPLICATE KEY UPDATE
  closes_at = LEAST(closes_by, GREATEST(closes_at, VALUES(closes_at))), last_at = GREATEST(last_at, VALUES(last_at))
"""
_JOINED = "SELECT id, closes_at FROM notifykit_digests WHERE tenant = %s AND open_key = %s"
_QUEUE, _ITEM = insert("notifykit_queue", QUEUE_COLUMNS), insert("notifykit_digest_items", ITEM_COLUMNS)
_RECENT = "SELECT 1 FROM notifykit_digests WHERE tenant = %s AND `key` = %s AND last_at > %s LIMIT 1"
#: A row that is locked is being claimed: it closes now, with these items.  To wait for it would be a deadlock.
_SLIDES = "SELECT id FROM notifykit_queue WHERE id = %s AND state = 'held' FOR UPDATE SKIP LOCKED"
_SLIDE = "UPDATE notifykit_queue SET due_at = %s WHERE id = %s"
#: Locked as they are joined, in the order of their keys: neither waits for the other.
_CLOSING = "SELECT id FROM notifykit_digests WHERE id IN ({ids}) AND `open` ORDER BY tenant, `key` FOR UPDATE"
_CLOSE = "UPDATE notifykit_digests SET `open` = 0, last_at = GREATEST(last_at, %s) WHERE id IN ({ids})"


def join(connection: Connection, deliveries: Iterable[NewDelivery], now: int) -> None:
    """Have digests collect planned deliveries that are not there yet."""
    for joining in joinings(deliveries):
        was_quiet = _was_quiet(connection, joining)
        connection.exec_driver_sql(JOIN, joining.values(now))
        digest_id, closes_at = connection.exec_driver_sql(_JOINED, joining.key).one()
        if joining.slides and connection.exec_driver_sql(_SLIDES, (digest_id,)).first() is not None:
            connection.exec_driver_sql(_SLIDE, (closes_at, digest_id))
        written = joined(joining, digest_id, closes_at, was_quiet=was_quiet, now=now)
        for statement, values in ((_QUEUE, written.queued), (_ITEM, written.items)):
            if values:
                connection.exec_driver_sql(statement, values)


def _was_quiet(connection: Connection, joining: Joining) -> bool:
    since = joining.entry.quiet_since
    return since is None or connection.exec_driver_sql(_RECENT, (*joining.key, micros(since))).first() is None


def close(connection: Connection, delivery_ids: Sequence[str], now: int) -> None:
    """Close the digests whose deliveries are claimed."""
    found = connection.exec_driver_sql(_CLOSING.format(ids=marks(delivery_ids)), tuple(delivery_ids))
    if ids := [row[0] for row in found]:
        connection.exec_driver_sql(_CLOSE.format(ids=marks(ids)), (now, *ids))


def collect(connection: Connection, claimed: Sequence[tuple[NamedRow, Record]]) -> None:
    """Have digests collect claimed deliveries that have left the queue."""
    moved: dict[datetime, list[NewDelivery]] = {}
    for row, record in claimed:
        entry: Any = record.digest
        moved.setdefault(record.at, []).append(from_queue(row, entry, record.at))
    for at, deliveries in sorted(moved.items()):
        join(connection, deliveries, micros(at))
