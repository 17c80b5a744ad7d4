"""Digests on PostgreSQL, within a transaction that the caller owns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from ....models.delivery import NewDelivery
from ....ports import Record
from ...encoding.rows import micros
from ..digests import DIGEST_COLUMNS, ITEM_COLUMNS, QUEUE_COLUMNS, Joining, from_queue, joined, joinings


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(f'${n + 1}' for n in range(len(columns)))})"


#: The index that allows one open digest of a key decides whether a digest is opened.  The rows are locked in the order
#: of the keys, so that two processes never wait for each other.
JOIN = f"""
INSERT INTO notifykit_digests AS d ({", ".join(DIGEST_COLUMNS)})
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::int[])
  AS g({", ".join(DIGEST_COLUMNS)}) ORDER BY tenant COLLATE "C", key COLLATE "C"
ON CONFLICT (tenant, key) WHERE open DO UPDATE SET
  closes_at = least(d.closes_by, greatest(d.closes_at, excluded.closes_at)),
  last_at = greatest(d.last_at, excluded.last_at)
RETURNING tenant, key, id, closes_at
"""
_QUEUE, _ITEM = _insert("notifykit_queue", QUEUE_COLUMNS), _insert("notifykit_digest_items", ITEM_COLUMNS)
_RECENT = """
SELECT u.tenant, u.key FROM unnest($1::text[], $2::text[], $3::bigint[]) AS u(tenant, key, since)
WHERE EXISTS (SELECT 1 FROM notifykit_digests d WHERE d.tenant = u.tenant AND d.key = u.key AND d.last_at > u.since)
"""
#: A row that is locked is being claimed: it closes now, with these items.  To wait for it would be a deadlock.
_SLIDE = """
UPDATE notifykit_queue q SET due_at = u.closes_at FROM (
  SELECT w.id, s.closes_at FROM unnest($1::text[], $2::bigint[]) AS s(id, closes_at)
  JOIN notifykit_queue w ON w.id = s.id WHERE w.state = 'held' FOR NO KEY UPDATE OF w SKIP LOCKED
) u WHERE q.id = u.id
"""
_KNOWN = """
SELECT u.id FROM unnest($1::text[], $2::text[]) AS u(tenant, id)
WHERE EXISTS (SELECT 1 FROM notifykit_digest_items i WHERE i.tenant = u.tenant AND i.id = u.id)
  OR EXISTS (SELECT 1 FROM notifykit_queue w WHERE w.id = u.id)
  OR EXISTS (SELECT 1 FROM notifykit_deliveries h WHERE h.tenant = u.tenant AND h.id = u.id)
"""
_LEAVE = """
DELETE FROM notifykit_queue q USING unnest($1::text[], $2::int[]) AS r(id, fence)
WHERE q.id = r.id AND q.fence = r.fence AND coalesce(q.state, '') = 'sending' RETURNING q.*
"""


async def join(pg: Any, deliveries: Iterable[NewDelivery], now: int, timeout: float) -> None:
    """Have digests collect planned deliveries that are not there yet."""
    found = joinings(deliveries)
    recent = await _recent(pg, found, timeout)
    columns = list(zip(*(joining.values(now) for joining in found), strict=True))
    held = {(row["tenant"], row["key"]): row for row in await pg.fetch(JOIN, *columns, timeout=timeout)}
    queued: list[tuple[Any, ...]] = []
    items: list[tuple[Any, ...]] = []
    slid: list[tuple[str, int]] = []
    for joining in found:
        digest_id, closes_at = held[joining.key]["id"], held[joining.key]["closes_at"]
        if joining.slides:
            slid.append((digest_id, closes_at))
        result = joined(joining, digest_id, closes_at, was_quiet=joining.key not in recent, now=now)
        queued += result.queued
        items += result.items
    if slid:
        await pg.execute(_SLIDE, *zip(*slid, strict=True), timeout=timeout)
    for statement, rows in ((_QUEUE, queued), (_ITEM, items)):
        if rows:
            await pg.executemany(statement, rows, timeout=timeout)


async def _recent(pg: Any, found: Sequence[Joining], timeout: float) -> set[tuple[str, str]]:
    """Return the keys of digests that had something within the time that they look back on."""
    asked = [
        (*joining.key, micros(joining.entry.quiet_since)) for joining in found if joining.entry.quiet_since is not None
    ]
    if not asked:
        return set()
    rows = await pg.fetch(_RECENT, *zip(*asked, strict=True), timeout=timeout)
    return {(row["tenant"], row["key"]) for row in rows}


async def known(pg: Any, deliveries: Sequence[NewDelivery], timeout: float) -> set[str]:
    """Return the ids of those deliveries that an earlier page of the same event has made."""
    tenants, ids = [new.tenant for new in deliveries], [new.id for new in deliveries]
    return {row["id"] for row in await pg.fetch(_KNOWN, tenants, ids, timeout=timeout)}


async def collect_claimed(pg: Any, records: Sequence[Record], timeout: float) -> set[str]:
    """Move claimed deliveries whose fences are right from the queue into digests; return their ids."""
    of = {record.delivery_id: record for record in records}
    ids, fences = [record.delivery_id for record in records], [record.fence for record in records]
    moved: dict[datetime, list[NewDelivery]] = {}
    for row in await pg.fetch(_LEAVE, ids, fences, timeout=timeout):
        record = of[row["id"]]
        assert record.digest is not None, "it names its digest"
        moved.setdefault(record.at, []).append(from_queue(row, record.digest, record.at))
    for at, deliveries in sorted(moved.items()):
        await join(pg, deliveries, micros(at), timeout)
    return {new.id for deliveries in moved.values() for new in deliveries}
