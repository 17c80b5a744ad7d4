"""The frequent verbs as PostgreSQL statements: one each, batches as columns.

The order of arguments is the order of the ``$n``; ``columns.py`` fills them.

``(x IN (SELECT …)) IS TRUE`` is written like this on purpose: it is answered by a hash table,
where a join of two batches would be a nested loop, because our connections switch
hash joins off (see ``connections.py``).

A column that has the same value in every row comes as one value, not as an array: that is cheaper for the client to
encode and for the server to read.  So a statement depends on its batch, and there is a function which writes it
(see :func:`_batch`).

``= ANY(array)`` finds the rows of a batch in one scan of an index.  A join would cost a search for each row; and
a plan for it that was made while the table was nearly empty compares every row with every other.

``ANY(ARRAY(SELECT …))`` and ``unnest((SELECT $n))`` hide from the server how long an argument is:
it makes a new plan for each call as long as one for this call's values promises to be much cheaper than a general one.
For the same reason a statement leaves out what its batch does not need (see :class:`Planned`).

``coalesce(q.state, '')`` keeps the index of leases out of ``RECORD`` and ``EXTEND``: by the statistics of a quiet
hour it is nearly empty, and then a plan compares every result with every lease instead of looking ids up.

``TAKE``, ``CLAIM`` and ``HAND_OFF`` find rows that are due but wait behind an earlier row of their
FIFO group.  They defer these rows (``blocked``), so that the next call does not read them again;
the statement that removes the row in front makes the next one due (see ADR 0012).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Self

from ...encoding.rows import CLAIM_COLUMNS, EVENT_COLUMNS, FIRST_RECHECK, LATER_RECHECK, TAKEN_COLUMNS

_EVENT_TYPES = {
    "version": "smallint",
    "priority": "smallint",
    "occurred_at": "bigint",
    "published_at": "bigint",
    "due_at": "bigint",
    "expires_at": "bigint",
    "fingerprint": "bytea",
    "body": "bytea",
}
_EVENTS = {name: _EVENT_TYPES.get(name, "text") for name in EVENT_COLUMNS}
#: What is stored of an empty column (see ``columns.event_columns``).
_STORED = {name: f"coalesce({name}, published_at)" for name in ("occurred_at", "due_at")}


def _batch(columns: Mapping[str, str], varying: int, first: int = 1) -> str:
    """Return a table of the arguments from ``$first`` on.

    Args:
        columns: The type of each column by its name.
        varying: Which of them are arrays: bit 0 is set if the first one is.
        first: The number of the first argument.
    """
    arrays, names, values = [], [], []
    for bit, (name, type_) in enumerate(columns.items()):
        if varying >> bit & 1:
            arrays.append(f"${first + bit}::{type_}[]")
            names.append(name)
            values.append(f"u.{name}")
        else:
            values.append(f"${first + bit}::{type_} AS {name}")
    return f"(SELECT {', '.join(values)} FROM unnest({', '.join(arrays)}) AS u({', '.join(names)}))"


APPEND = """
WITH e AS (
  INSERT INTO notifykit_events ({columns}) SELECT {values} FROM {events} AS given
  {unless_known} RETURNING id, tenant, priority, due_at, ordering_key
), o AS (
  INSERT INTO notifykit_outbox (event_id, tenant, priority, due_at, ordering_key)
  SELECT id, tenant, priority, due_at, ordering_key FROM e RETURNING event_id
)
SELECT {answer}
"""
#: Written by one of two statements, of which the careful one returns what it has stored.
_ANSWERS = {
    (False, False): "1 WHERE false",
    (False, True): "pg_notify('notifykit', '')",
    (True, False): "event_id FROM o",
    (True, True): "o.event_id, h.sent FROM o, (SELECT pg_notify('notifykit', '') AS sent) h",
}


@lru_cache
def append(varying: int, *, careful: bool, notify: bool) -> str:
    """Return the statement that stores events.

    Args:
        varying: Which columns of the events vary.
        careful: Leave out what is stored already, and answer with the ids of the others.  To find that out costs
            as much as a fifth of the statement; without it the statement fails if any event is stored already.
        notify: Wake processes that wait for events.
    """
    return APPEND.format(
        columns=", ".join(EVENT_COLUMNS),
        values=", ".join(_STORED.get(name, name) for name in EVENT_COLUMNS),
        events=_batch(_EVENTS, varying),
        unless_known="ON CONFLICT DO NOTHING" if careful else "",
        answer=_ANSWERS[careful, notify],
    )


HELD = """
SELECT k.id, true, k.fingerprint FROM notifykit_events k WHERE k.tenant = $1 AND k.idempotency_key = $2
UNION ALL SELECT e.id, true, e.fingerprint FROM notifykit_events e WHERE e.tenant = $1 AND e.id = $3 LIMIT 1
"""

#: When a blocked row is read again if nothing has unblocked it.
_RECHECK = f"(CASE WHEN o.blocked THEN {LATER_RECHECK} ELSE {FIRST_RECHECK} END * (1 + random()))::bigint"

TAKE = f"""
WITH due AS MATERIALIZED (
  SELECT o.* FROM (VALUES (0::smallint), (1::smallint), (2::smallint)) p(rank)
  CROSS JOIN LATERAL (
    SELECT event_id, tenant, ordering_key, priority, due_at FROM notifykit_outbox o
    WHERE priority = p.rank AND due_at BETWEEN $5 AND $1 AND (taken_until IS NULL OR taken_until <= $1)
      AND tenant <> ALL($4::text[])
    ORDER BY due_at LIMIT $6 FOR NO KEY UPDATE SKIP LOCKED
  ) o LIMIT $6
), fifo AS MATERIALIZED (
  SELECT d.event_id, (SELECT b.event_id FROM notifykit_outbox b
    WHERE b.tenant = d.tenant AND b.ordering_key = d.ordering_key AND b.event_id < d.event_id
    ORDER BY b.event_id LIMIT 1) AS ahead
  FROM due d WHERE d.ordering_key IS NOT NULL
), blocked AS MATERIALIZED (
  -- under the lock the row ahead stays until this ends: the statement that removes it sees that this one is blocked
  SELECT event_id AS ahead FROM notifykit_outbox WHERE event_id = ANY(ARRAY(SELECT ahead FROM fifo))
  FOR KEY SHARE SKIP LOCKED
), deferred AS (
  UPDATE notifykit_outbox o SET blocked = true, due_at = $1 + {_RECHECK}
  WHERE o.event_id = ANY(ARRAY(SELECT event_id FROM fifo WHERE (ahead IN (SELECT ahead FROM blocked)) IS TRUE))
  RETURNING o.event_id
), picked AS MATERIALIZED (
  SELECT event_id FROM due WHERE (event_id IN (SELECT event_id FROM fifo WHERE ahead IS NOT NULL)) IS NOT TRUE LIMIT $2
), taken AS (
  UPDATE notifykit_outbox o SET fence = o.fence + 1, taken_until = $3, blocked = false
  WHERE o.event_id = ANY(ARRAY(SELECT event_id FROM picked)) RETURNING o.event_id, o.fence, o.tenant, o.cursor
)
SELECT {TAKEN_COLUMNS}, a.deferred
FROM (SELECT count(*) AS deferred FROM deferred) a LEFT JOIN taken o ON true
LEFT JOIN notifykit_events e ON e.tenant = o.tenant AND e.id = o.event_id
LEFT JOIN notifykit_tenants t ON t.tenant = o.tenant
"""

#: When the first event was due that is of none of these tenants: read in indexes, where ``TAKE`` would read every row.
FIRST_OF_OTHERS = """
SELECT min(o.first) FROM (VALUES (0::smallint), (1::smallint), (2::smallint)) p(rank) CROSS JOIN LATERAL (
  SELECT min(due_at) AS first FROM notifykit_outbox WHERE priority = p.rank AND tenant <> ALL($1::text[])
) o
"""

_SETTLED = {"event_id": "text", "fence": "int", "cursor": "text"}
#: The columns of planned deliveries; those from ``attempts`` on are of one that was sent before it was settled.
_PLANNED = {
    "id": "text",
    "event_id": "text",
    "tenant": "text",
    "subscription_id": "text",
    "subscriber_id": "text",
    "channel": "text",
    "priority": "smallint",
    "state": "text",
    "reason": "text",
    "due_at": "bigint",
    "expires_at": "bigint",
    "ordering_key": "text",
    "address": "text",
    "final": "bool",
    "first": "bool",
    "attempts": "int",
    "ended_at": "bigint",
    "started_at": "bigint",
    "took": "bigint",
    "outcome": "text",
    "code": "text",
    "status": "int",
    "response": "bytea",
    "worker": "text",
    "reference": "text",
    "account": "text",
    "cost": "bigint",
}
#: How many arguments of :func:`settle` come before the columns of planned deliveries, and how many are of events.
_BEFORE_PLANNED, _OF_EVENTS = 6, len(_SETTLED)
_FINAL = list(_PLANNED).index("final")

SETTLE = """
WITH s AS (
  SELECT * FROM {settled} AS s
), gone AS (
  DELETE FROM notifykit_outbox o WHERE o.event_id = ANY(ARRAY(SELECT event_id FROM s)) AND {is_whole}
  RETURNING o.event_id, o.tenant, o.ordering_key
), next AS MATERIALIZED (
  SELECT n.event_id FROM (SELECT DISTINCT tenant, ordering_key FROM gone WHERE ordering_key IS NOT NULL) g
  CROSS JOIN LATERAL (
    SELECT b.event_id FROM notifykit_outbox b WHERE b.tenant = g.tenant AND b.ordering_key = g.ordering_key
      AND (b.event_id IN (SELECT event_id FROM gone)) IS NOT TRUE ORDER BY b.event_id LIMIT 1
  ) n
), unblocked AS (
  -- also if it is not blocked: it may be deferred at this moment, and the newest version of the row counts
  UPDATE notifykit_outbox o SET due_at = CASE WHEN o.blocked THEN $1 ELSE o.due_at END, blocked = false
  FROM next n WHERE o.event_id = n.event_id
), paged AS (
  UPDATE notifykit_outbox o SET cursor = s.cursor, taken_until = NULL FROM s
  WHERE o.event_id = s.event_id AND o.fence = s.fence AND s.cursor IS NOT NULL RETURNING o.event_id
), ok AS MATERIALIZED (
  SELECT event_id FROM gone UNION ALL SELECT event_id FROM paged
){planned}
SELECT event_id FROM ok
"""
#: Whether a row of the outbox has the right fence, and its event is planned to the end: if fences or cursors vary …
IS_WHOLE = "((o.event_id, o.fence) IN (SELECT s.event_id, s.fence FROM s WHERE s.cursor IS NULL)) IS TRUE"
#: … and if they do not.
ALL_ARE_WHOLE = "o.fence = $3::int AND $4::text IS NULL"
_PLAN = """, d AS {once} (
  SELECT d.*, $5::bigint AS until, $6::text AS sender FROM {deliveries} AS d
  WHERE (event_id IN (SELECT event_id FROM ok)) IS TRUE{unless_made}
)"""
#: Only a later page can meet a delivery that an earlier one made; it waits, or has ended since.
_UNLESS_MADE = """
  AND (first OR NOT EXISTS (SELECT 1 FROM notifykit_deliveries h WHERE h.tenant = d.tenant AND h.id = d.id)
    AND NOT EXISTS (SELECT 1 FROM notifykit_queue w WHERE w.id = d.id))"""
_QUEUE = """, q AS (
  INSERT INTO notifykit_queue (id, event_id, tenant, subscription_id, subscriber_id, channel, priority, state, reason,
    created_at, due_at, expires_at, ordering_key, fence, lease_until, worker, address)
  SELECT id, event_id, tenant, subscription_id, subscriber_id, channel, priority, state, reason,
    CASE WHEN state = 'sending' THEN due_at ELSE $1 END, due_at, expires_at,
    ordering_key, (state = 'sending')::int, CASE WHEN state = 'sending' THEN until END,
    CASE WHEN state = 'sending' THEN sender END, address
  FROM d WHERE {waits} {unless_queued}
)"""
_END = """, f AS (
  INSERT INTO notifykit_deliveries (id, event_id, tenant, subscription_id, subscriber_id, channel, priority, state,
    reason, attempts, abandoned, generation, fence, ordering_key, created_at, expires_at, finished_at, last_started_at,
    last_took, last_outcome, last_reason, last_status, last_response, last_worker, last_reference, address,
    last_account, last_cost)
  SELECT id, event_id, tenant, subscription_id, subscriber_id, channel, priority, state, reason, coalesce(attempts, 0),
    0, 0, (ended_at IS NOT NULL)::int, ordering_key, CASE WHEN ended_at IS NULL THEN $1 ELSE due_at END, expires_at,
    coalesce(ended_at, $1), started_at, took, outcome, code, status, response, worker, reference, address,
    account, cost
  FROM d WHERE {ends} {unless_known}
)"""


class Planned(NamedTuple):
    """What is the same for all planned deliveries, and so is not asked of each.

    A statement that asks has a general plan so dear that the server makes a new one for each call.

    Attributes:
        ends: Whether they have ended; ``None`` if some have.
        first: All are of events that were taken for the first time.
    """

    ends: bool | None
    first: bool

    @classmethod
    def of(cls, columns: Sequence[Sequence[Any]]) -> Self:
        """Return what is the same in these columns (see ``columns.planned_columns``)."""
        final, first = columns[_FINAL : _FINAL + 2]
        return cls(all(final) or (None if any(final) else False), all(first))


@lru_cache
def settle(varying: int, planned: Planned | None, *, careful: bool) -> str:
    """Return the statement that settles events.

    Args:
        varying: Which columns vary: first those of the events, then those of the planned deliveries.
        planned: What is the same for all deliveries, if there are any.
        careful: Leave out deliveries that are there already; without it the statement fails if there are any.
    """
    return SETTLE.format(
        settled=_batch(_SETTLED, varying, 2),
        is_whole=IS_WHOLE if varying & 0b110 else ALL_ARE_WHOLE,
        planned=_plan(varying >> _OF_EVENTS, planned, careful=careful) if planned else "",
    )


def _plan(varying: int, planned: Planned, *, careful: bool) -> str:
    statement = _PLAN + ("" if planned.ends else _QUEUE) + ("" if planned.ends is False else _END)
    return statement.format(
        # where there is but one insert, it needs no copy
        once="MATERIALIZED" if planned.ends is None else "NOT MATERIALIZED",
        deliveries=_batch(_PLANNED, varying, _BEFORE_PLANNED + 1),
        unless_made="" if planned.first else _UNLESS_MADE,
        waits="NOT final" if planned.ends is None else "true",
        ends="final" if planned.ends is None else "true",
        unless_queued="ON CONFLICT (id) DO NOTHING" if careful else "",
        unless_known="ON CONFLICT DO NOTHING" if careful else "",
    )


_DUE = """
  SELECT id, tenant, subscriber_id, ordering_key, due_at FROM notifykit_queue
  WHERE channel = $1 AND priority = $2 AND state <> 'sending' AND due_at <= $3 AND subscriber_id <> ALL($7::text[])
    AND tenant <> ALL($8::text[])"""
#: The lane and the state are asked for in a way that no index can answer: the planner, which takes the table for almost
#: empty, would look through all that waits for each ticket.
_NAMED = """
  SELECT id, tenant, subscriber_id, ordering_key, due_at FROM notifykit_queue
  WHERE id = ANY($10::text[]) AND channel || '' = $1 AND priority + 0 = $2 AND coalesce(state, '') <> 'sending'
    AND (due_at <= $3 OR handed IS NOT NULL) AND subscriber_id <> ALL($7::text[]) AND tenant <> ALL($8::text[])"""
_ONLY = "AND ($9::text[] IS NULL OR subscriber_id = ANY($9))"

#: Of the rows that are due those that are free (``due`` without ``fifo.ahead``); those that are blocked are deferred.
_FREE = f"""
), fifo AS MATERIALIZED (
  SELECT d.id, coalesce(
    (SELECT b.id FROM notifykit_queue b
      WHERE b.subscriber_id = d.subscriber_id AND b.ordering_key = d.ordering_key AND b.id < d.id
      ORDER BY b.id LIMIT 1),
    (SELECT b.id FROM notifykit_queue b
      WHERE b.subscriber_id = d.subscriber_id AND b.ordering_key = d.ordering_key AND b.state = 'sending')) AS ahead
  FROM due d WHERE d.ordering_key IS NOT NULL
), blocked AS MATERIALIZED (
  -- under the lock the row ahead stays until this ends: the statement that removes it sees that this one is blocked
  SELECT id AS ahead FROM notifykit_queue WHERE id = ANY(ARRAY(SELECT ahead FROM fifo)) FOR KEY SHARE SKIP LOCKED
), deferred AS (
  UPDATE notifykit_queue o SET blocked = true, handed = NULL, due_at = $3 + {_RECHECK}
  WHERE o.id = ANY(ARRAY(SELECT id FROM fifo WHERE (ahead IN (SELECT ahead FROM blocked)) IS TRUE)) RETURNING o.id
)"""
_IS_FREE = "(id IN (SELECT id FROM fifo WHERE ahead IS NOT NULL)) IS NOT TRUE"

_CLAIM = f"""
WITH due AS MATERIALIZED ({{due}} {_ONLY}
  ORDER BY due_at LIMIT {{window}} FOR NO KEY UPDATE SKIP LOCKED{_FREE}, picked AS MATERIALIZED (
  SELECT id FROM due WHERE {_IS_FREE} LIMIT $4
), q AS (
  UPDATE notifykit_queue q SET state = 'sending', reason = NULL, fence = q.fence + 1, lease_until = $5, worker = $6,
    blocked = false, handed = NULL
  WHERE q.id = ANY(ARRAY(SELECT id FROM picked)) RETURNING q.*
), closing AS MATERIALIZED (
  SELECT id FROM notifykit_digests WHERE id = ANY(ARRAY(SELECT id FROM q WHERE digest IS NOT NULL)) AND open
  ORDER BY tenant, key FOR NO KEY UPDATE -- as they are joined: neither waits for the other
), closed AS (
  UPDATE notifykit_digests SET open = false, last_at = greatest(last_at, $3)
  WHERE id = ANY(ARRAY(SELECT id FROM closing))
)
SELECT {CLAIM_COLUMNS}, a.deferred FROM (SELECT count(*) AS deferred FROM deferred) a LEFT JOIN q ON true
LEFT JOIN notifykit_events e ON e.tenant = q.tenant AND e.id = q.event_id
LEFT JOIN notifykit_tenants t ON t.tenant = q.tenant ORDER BY q.due_at, q.id
"""
CLAIM = _CLAIM.format(due=_DUE, window="$10")
CLAIM_NAMED = _CLAIM.format(due=_NAMED, window="$11")

HAND_OFF = f"""
WITH held AS MATERIALIZED (
  SELECT tenant, subscriber_id FROM notifykit_queue
  WHERE channel = $1 AND priority = $2 AND handed IS NOT NULL AND due_at > $3 LIMIT $6
), of_tenant AS MATERIALIZED (
  SELECT tenant, count(*) AS held FROM held GROUP BY tenant
), of_subscriber AS MATERIALIZED (
  SELECT subscriber_id, count(*) AS held FROM held GROUP BY subscriber_id
), due AS MATERIALIZED ({_DUE}
    AND tenant <> ALL(ARRAY(SELECT tenant FROM of_tenant WHERE held >= $9::int))
    AND subscriber_id <> ALL(ARRAY(SELECT subscriber_id FROM of_subscriber WHERE held >= $10::int))
  ORDER BY due_at LIMIT CASE WHEN (SELECT count(*) FROM held) < $6 THEN $11 ELSE 0 END
  FOR NO KEY UPDATE SKIP LOCKED{_FREE}, ranked AS (
  SELECT id, row_number() OVER (PARTITION BY tenant ORDER BY due_at)
    + coalesce((SELECT held FROM of_tenant o WHERE o.tenant = due.tenant), 0) AS of_tenant,
    row_number() OVER (PARTITION BY subscriber_id ORDER BY due_at)
    + coalesce((SELECT held FROM of_subscriber o WHERE o.subscriber_id = due.subscriber_id), 0) AS of_subscriber
  FROM due WHERE {_IS_FREE}
), picked AS MATERIALIZED (
  SELECT id FROM ranked WHERE of_tenant <= $9::int AND of_subscriber <= $10::int
  LIMIT least($4, $6 - (SELECT count(*) FROM held))
), q AS (
  UPDATE notifykit_queue q SET handed = coalesce(q.handed, q.due_at), due_at = $5
  WHERE q.id = ANY(ARRAY(SELECT id FROM picked)) RETURNING q.id, q.tenant, q.subscriber_id, q.fence, q.handed
)
SELECT q.*, a.deferred FROM (SELECT count(*) AS deferred FROM deferred) a LEFT JOIN q ON true ORDER BY q.handed, q.id
"""

_RESULTS = {
    "id": "text",
    "fence": "int",
    "state": "text",
    "reason": "text",
    "due_at": "bigint",
    "at": "bigint",
    "final": "bool",
    "number": "int",
    "started_at": "bigint",
    "took": "bigint",
    "outcome": "text",
    "code": "text",
    "status": "int",
    "retry_at": "bigint",
    "response": "bytea",
    "worker": "text",
    "reference": "text",
    "account": "text",
    "cost": "bigint",
}

RECORD = """
WITH r AS MATERIALIZED (
  SELECT * FROM {results} AS r
), gone AS (
  DELETE FROM notifykit_queue q USING r
  WHERE r.final AND q.id = r.id AND q.fence = r.fence AND coalesce(q.state, '') = 'sending'
  RETURNING q.id, q.event_id, q.tenant, q.subscription_id, q.subscriber_id, q.channel, q.priority, r.state, r.reason,
    coalesce(r.number, q.attempts) AS attempts, q.abandoned, q.generation, q.fence, q.ordering_key, q.created_at,
    q.expires_at, r.at, r.started_at, r.took, r.outcome, r.code, r.status, r.response, r.worker,
    r.reference, q.address, q.digest, r.account, r.cost
), next AS MATERIALIZED (
  SELECT n.id, g.at FROM (
    SELECT subscriber_id, ordering_key, max(at) AS at FROM gone WHERE ordering_key IS NOT NULL GROUP BY 1, 2
  ) g CROSS JOIN LATERAL (
    SELECT b.id FROM notifykit_queue b WHERE b.subscriber_id = g.subscriber_id AND b.ordering_key = g.ordering_key
      AND (b.id IN (SELECT id FROM gone)) IS NOT TRUE ORDER BY b.id LIMIT 1
  ) n
), unblocked AS (
  -- also if it is not blocked: it may be deferred at this moment, and the newest version of the row counts
  UPDATE notifykit_queue q SET due_at = CASE WHEN q.blocked THEN n.at ELSE q.due_at END, blocked = false
  FROM next n WHERE q.id = n.id
), kept AS (
  UPDATE notifykit_queue q SET state = r.state, reason = r.reason, due_at = coalesce(r.due_at, r.at),
    lease_until = NULL, worker = NULL, attempts = coalesce(r.number, q.attempts),
    tries = q.tries + (r.number IS NOT NULL)::int
  FROM r WHERE NOT r.final AND q.id = r.id AND q.fence = r.fence AND coalesce(q.state, '') = 'sending' RETURNING q.id
), ended AS (
  INSERT INTO notifykit_deliveries (id, event_id, tenant, subscription_id, subscriber_id, channel, priority, state,
    reason, attempts, abandoned, generation, fence, ordering_key, created_at, expires_at, finished_at, last_started_at,
    last_took, last_outcome, last_reason, last_status, last_response, last_worker, last_reference, address, digest,
    last_account, last_cost)
  SELECT * FROM gone
), tried AS (
  INSERT INTO notifykit_attempts (delivery_id, number, started_at, took, outcome, reason, status, retry_at, response,
    worker, reference, account, cost)
  SELECT id, number, started_at, took, outcome, code, status, retry_at, response, worker, reference, account, cost
  FROM r WHERE number IS NOT NULL AND (id IN (SELECT id FROM kept)) IS TRUE
)
SELECT id FROM gone UNION ALL SELECT id FROM kept
"""


@lru_cache
def record(varying: int) -> str:
    """Return the statement that writes what became of claimed deliveries."""
    return RECORD.format(results=_batch(_RESULTS, varying))


# A row that is locked is being recorded, perhaps in another order: to wait for it could be a deadlock.
EXTEND = """
WITH held AS MATERIALIZED (
  SELECT id FROM notifykit_queue WHERE id = ANY($1::text[]) AND coalesce(state, '') = 'sending'
    AND ((id, fence) IN (SELECT c.id, c.fence FROM unnest($1::text[], $2::int[]) AS c(id, fence))) IS TRUE
  FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE notifykit_queue q SET lease_until = $3 WHERE q.id = ANY(ARRAY(SELECT id FROM held)) RETURNING q.id
"""


@lru_cache
def get(table: str) -> str:
    """Return the statement that reads records by their ids."""
    return f"SELECT * FROM {table} WHERE tenant = $1 AND id = ANY($2::text[])"
