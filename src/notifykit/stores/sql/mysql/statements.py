"""The frequent verbs as MySQL statements; ``verbs.py`` puts them together.

MySQL has no ``RETURNING``, so a verb locks the rows that it is about, decides by what it has read, and then changes
them by their primary keys.  Rows of other transactions are passed over (``SKIP LOCKED``) where others will do, and
waited for where they are named.  Rows are locked in the order of their primary keys, except due rows, for which no
transaction waits.

Statements that lock rows name their index: a short table would be scanned, and then rows of other transactions are
waited for that the statement is not about, such as events that are just being published.  A ``DELETE`` takes no such
hint; with an order and a limit it reads the index, too.

``{ids}`` and the like stand for as many ``%s`` as there are values, ``{count}`` for how many that is.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...encoding.rows import CLAIM_COLUMNS, EVENT_COLUMNS, FIRST_RECHECK, LATER_RECHECK, TAKEN_COLUMNS
from ..planned import ENDED, KEPT, QUEUED


def insert(table: str, columns: Sequence[str]) -> str:
    """Return the statement that inserts a row; the driver makes one of many."""
    names = ", ".join(f"`{name}`" for name in columns)
    return f"INSERT INTO {table} ({names}) VALUES ({marks(columns)})"


def marks(values: Sequence[object]) -> str:
    """Return a mark for each of the values."""
    return ", ".join(["%s"] * len(values))


#: The narrow tables, read by primary key.
_OUTBOX, _QUEUE = "notifykit_outbox FORCE INDEX (PRIMARY)", "notifykit_queue FORCE INDEX (PRIMARY)"

EVENT = insert("notifykit_events", EVENT_COLUMNS)
OUTBOX = insert("notifykit_outbox", ("event_id", "tenant", "priority", "due_at", "ordering_key"))
#: Events that are stored already, each with its idempotency key.
STORED = "SELECT id, tenant, idempotency_key, fingerprint FROM notifykit_events WHERE tenant = %s AND id IN ({ids})"
STORED_KEYS = """
SELECT id, tenant, idempotency_key, fingerprint FROM notifykit_events
WHERE tenant = %s AND idempotency_key IN ({keys})
"""

DUE_EVENTS = """
SELECT event_id AS id, ordering_key FROM notifykit_outbox FORCE INDEX (notifykit_outbox_due)
WHERE priority = %s AND due_at BETWEEN %s AND %s AND (taken_until IS NULL OR taken_until <= %s) {unless}
ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED
"""
EVENTS_BEHIND = """
SELECT o.event_id FROM notifykit_outbox o WHERE o.event_id IN ({ids}) AND EXISTS (
  SELECT 1 FROM notifykit_outbox b
  WHERE b.tenant = o.tenant AND b.ordering_key = o.ordering_key AND b.event_id < o.event_id)
"""
#: When a blocked row is read again if nothing has unblocked it.
_RECHECK = f"FLOOR(IF(blocked, {LATER_RECHECK}, {FIRST_RECHECK}) * (1 + RAND()))"
DEFER_EVENTS = f"UPDATE {_OUTBOX} SET due_at = %s + {_RECHECK}, blocked = 1 WHERE event_id IN ({{ids}})"
TAKE = f"UPDATE {_OUTBOX} SET fence = fence + 1, taken_until = %s, blocked = 0 WHERE event_id IN ({{ids}})"
TAKEN = f"""
SELECT {TAKEN_COLUMNS} FROM notifykit_outbox o FORCE INDEX (PRIMARY)
JOIN notifykit_events e ON e.tenant = o.tenant AND e.id = o.event_id
LEFT JOIN notifykit_tenants t ON t.tenant = o.tenant WHERE o.event_id IN ({{ids}})
"""

PLANNED = f"SELECT event_id, fence, tenant, ordering_key FROM {_OUTBOX} WHERE event_id IN ({{ids}}) FOR UPDATE"
PLAN = "DELETE FROM notifykit_outbox WHERE event_id IN ({ids}) ORDER BY event_id LIMIT {count}"
PAGE = "UPDATE notifykit_outbox SET `cursor` = %s, taken_until = NULL WHERE event_id = %s"
NEXT_EVENT = "(SELECT MIN(event_id) AS id FROM notifykit_outbox WHERE tenant = %s AND ordering_key = %s)"
#: Also a row that is not blocked: it may be deferred at this moment, and its newest version counts.
UNBLOCK_EVENTS = f"UPDATE {_OUTBOX} SET due_at = IF(blocked, %s, due_at), blocked = 0 WHERE event_id IN ({{ids}})"

QUEUE = insert("notifykit_queue", QUEUED)
END = insert("notifykit_deliveries", ENDED)
IN_QUEUE = "SELECT id FROM notifykit_queue WHERE id IN ({ids})"
HAS_ENDED = "SELECT id FROM notifykit_deliveries WHERE tenant = %s AND id IN ({ids})"
IS_COLLECTED = "SELECT id FROM notifykit_digest_items WHERE tenant = %s AND id IN ({ids})"

DUE = """
SELECT id, ordering_key, tenant, subscriber_id FROM notifykit_queue FORCE INDEX (notifykit_queue_due)
WHERE channel = %s AND priority = %s AND waits_until <= %s {unless}
ORDER BY waits_until LIMIT %s FOR UPDATE SKIP LOCKED
"""
NAMED = """
SELECT id, ordering_key, tenant, subscriber_id FROM notifykit_queue FORCE INDEX (PRIMARY)
WHERE channel = %s AND priority = %s AND state <> 'sending' AND (due_at <= %s OR handed IS NOT NULL) {unless}
ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED
"""
BEHIND = """
SELECT o.id FROM notifykit_queue o WHERE o.id IN ({ids}) AND (
  EXISTS (SELECT 1 FROM notifykit_queue b
    WHERE b.subscriber_id = o.subscriber_id AND b.ordering_key = o.ordering_key AND b.id < o.id)
  OR EXISTS (SELECT 1 FROM notifykit_queue b
    WHERE b.subscriber_id = o.subscriber_id AND b.sending_key = o.ordering_key))
"""
DEFER = f"UPDATE {_QUEUE} SET due_at = %s + {_RECHECK}, blocked = 1, handed = NULL WHERE id IN ({{ids}})"
CLAIM = f"""
UPDATE {_QUEUE} SET state = 'sending', reason = NULL, fence = fence + 1, lease_until = %s, worker = %s,
  blocked = 0, handed = NULL
WHERE id IN ({{ids}})
"""
CLAIMED = f"""
SELECT {CLAIM_COLUMNS}, q.due_at FROM notifykit_queue q FORCE INDEX (PRIMARY)
JOIN notifykit_events e ON e.tenant = q.tenant AND e.id = q.event_id
LEFT JOIN notifykit_tenants t ON t.tenant = q.tenant WHERE q.id IN ({{ids}})
"""
HELD = """
SELECT tenant, subscriber_id FROM notifykit_queue
WHERE channel = %s AND priority = %s AND handed IS NOT NULL AND due_at > %s LIMIT %s
"""
HOLD = f"UPDATE {_QUEUE} SET handed = COALESCE(handed, due_at), due_at = %s WHERE id IN ({{ids}})"

SENDING = f"""
SELECT fence, {", ".join(KEPT)} FROM {_QUEUE} WHERE id IN ({{ids}}) AND state = 'sending' FOR UPDATE
"""
LEAVE = "DELETE FROM notifykit_queue WHERE id IN ({ids}) ORDER BY id LIMIT {count}"
NEXT_DELIVERY = "(SELECT MIN(id) AS id FROM notifykit_queue WHERE subscriber_id = %s AND ordering_key = %s)"
UNBLOCK = f"UPDATE {_QUEUE} SET due_at = IF(blocked, %s, due_at), blocked = 0 WHERE id IN ({{ids}})"
#: What became of deliveries that stay in the queue, as a table.
KEPT_ROW = "SELECT %s AS id, %s AS state, %s AS reason, %s AS due_at, %s AS number, %s AS tried"
KEEP = """
UPDATE notifykit_queue q JOIN ({rows}) r ON r.id = q.id SET q.state = r.state, q.reason = r.reason,
  q.due_at = r.due_at, q.lease_until = NULL, q.worker = NULL, q.attempts = COALESCE(r.number, q.attempts),
  q.tries = q.tries + r.tried
"""
ATTEMPT = insert(
    "notifykit_attempts",
    (
        *("delivery_id", "number", "started_at", "took", "outcome", "reason", "status", "retry_at", "response"),
        *("worker", "reference", "account", "cost"),
    ),
)
EXTEND = f"UPDATE {_QUEUE} SET lease_until = %s WHERE id IN ({{ids}})"

#: When the first event of a priority is due that is not taken: behind those that are, at the front of the index.
_NEXT_EVENT = """
SELECT (SELECT due_at FROM notifykit_outbox FORCE INDEX (notifykit_outbox_due)
  WHERE priority = {rank} AND taken_until IS NULL ORDER BY due_at LIMIT 1) AS due_at
"""
NEXT_EVENTS = " UNION ALL ".join(_NEXT_EVENT.format(rank=rank) for rank in (0, 1, 2))

#: The channels of deliveries, one after the other: no statement finds all of them without reading every row.
NEXT_CHANNEL = """
SELECT channel FROM notifykit_queue FORCE INDEX (notifykit_queue_due) WHERE channel > %s ORDER BY channel LIMIT 1
"""
_NO_LANE = "SELECT NULL AS channel, NULL AS priority, NULL AS due_at"
#: Read at the front of an index.
_NEXT_OF_LANE = """
SELECT %s, {rank}, (SELECT waits_until FROM notifykit_queue FORCE INDEX (notifykit_queue_due)
  WHERE channel = %s AND priority = {rank} AND waits_until IS NOT NULL ORDER BY waits_until LIMIT 1)
"""
_NEXT_OF_CHANNEL = [_NEXT_OF_LANE.format(rank=rank) for rank in (0, 1, 2)]
#: A row for each lane with deliveries that wait, and one without a lane if there is none.
_NEXT_DUE = """
SELECT w.event, w.is_open, w.is_read_only, w.schema_version, l.channel, l.priority, l.due_at
FROM (SELECT
    (SELECT MIN(due_at) FROM ({next_events}) o) AS event,
    EXISTS (SELECT 1 FROM notifykit_outbox) OR EXISTS (SELECT 1 FROM notifykit_queue) AS is_open,
    {is_read_only} AS is_read_only, ({stamp}) AS schema_version
) w LEFT JOIN ({lanes}) l ON l.due_at IS NOT NULL
"""


def next_due(channels: int, *, is_read_only: str, stamp: str) -> str:
    """Return the statement that finds what is due next, of so many channels, each of which is given six times."""
    lanes = " UNION ALL ".join([_NO_LANE, *_NEXT_OF_CHANNEL * channels])
    return _NEXT_DUE.format(next_events=NEXT_EVENTS, is_read_only=is_read_only, stamp=stamp, lanes=lanes)
