"""The frequent verbs on SQLite, each a batch in a transaction that its caller owns.

For each row that goes in or comes out one by one, the writer's thread hands the interpreter's
lock over and waits to have it back.  So many rows go in by one statement, and ids stay in the
engine as a JSON list from one statement to the next.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, TypeVar

from ....failpoints import failpoint
from ....models.delivery import FINAL_STATES, Claim, NewDelivery
from ....models.event import StoredEvent, TakenEvent
from ....ports import Appended, Record, Settlement
from ...encoding.readable import each, one_by_one
from ...encoding.rows import (
    CLAIM_COLUMNS,
    EVENT_COLUMNS,
    FIRST_RECHECK,
    LATER_RECHECK,
    PRIORITIES,
    TAKEN_COLUMNS,
    WINDOW,
    attempt_values,
    claim_from,
    event_values,
    micros,
    taken_from,
    with_records,
)
from ..fetching import tolerant
from ..planned import ENDED, KEPT, QUEUED, ended_values, queued_values, recorded_values
from . import digests

T = TypeVar("T")
_log = logging.getLogger("notifykit")

#: Rows of one statement, so that its values are fewer than every SQLite allows, which is 999.
_TOGETHER = 40
#: An instant that no clock shows, in microseconds.
_NEVER = 2**62
#: What ``json_group_array`` makes of no rows.
NOTHING = "[]"

_PRIORITY, _DUE_AT = EVENT_COLUMNS.index("priority"), EVENT_COLUMNS.index("due_at")
_NEW_EVENT = f"INSERT INTO notifykit_events ({', '.join(EVENT_COLUMNS)})"
_EVENT = f"{_NEW_EVENT} VALUES ({', '.join('?' for _ in EVENT_COLUMNS)}) ON CONFLICT DO NOTHING"
_OUTBOX = "INSERT INTO notifykit_outbox (event_id, tenant, priority, due_at, ordering_key)"
_HELD = """
SELECT k.id, k.fingerprint FROM notifykit_events k WHERE k.tenant = :tenant AND k.idempotency_key = :key
UNION ALL SELECT e.id, e.fingerprint FROM notifykit_events e WHERE e.tenant = :tenant AND e.id = :id LIMIT 1
"""
#: The ids of what is due: those that are free, and those that wait behind another one of their group (see ADR 0012).
_APART = "SELECT json_group_array(id) FILTER (WHERE NOT waits), json_group_array(id) FILTER (WHERE waits)"
_DUE_EVENTS = f"""
{_APART} FROM (
  SELECT event_id AS id, ordering_key IS NOT NULL AND EXISTS (SELECT 1 FROM notifykit_outbox b
    WHERE b.tenant = o.tenant AND b.ordering_key = o.ordering_key AND b.event_id < o.event_id) AS waits
  FROM notifykit_outbox o
  WHERE priority = :rank AND due_at BETWEEN :since AND :now AND (taken_until IS NULL OR taken_until <= :now)
    AND tenant NOT IN (SELECT value FROM json_each(:exclude))
  ORDER BY due_at LIMIT :window
)
"""
_RECHECK = f"CASE WHEN blocked THEN {LATER_RECHECK} ELSE {FIRST_RECHECK} END * (1000 + abs(random() % 1000)) / 1000"
_DEFER_EVENTS = f"""
UPDATE notifykit_outbox SET due_at = :now + {_RECHECK}, blocked = 1
WHERE event_id IN (SELECT value FROM json_each(:ids))
"""
_TAKE = """
UPDATE notifykit_outbox SET fence = fence + 1, taken_until = :until, blocked = 0
WHERE event_id IN (SELECT value FROM json_each(:ids))
"""
_UNBLOCK_EVENT = """
UPDATE notifykit_outbox SET due_at = ?, blocked = 0 WHERE blocked AND event_id = (
  SELECT event_id FROM notifykit_outbox WHERE tenant = ? AND ordering_key = ? ORDER BY event_id LIMIT 1)
"""
_TAKEN = f"""
SELECT {TAKEN_COLUMNS}
FROM json_each(?) c JOIN notifykit_outbox o ON o.event_id = c.value
JOIN notifykit_events e ON e.tenant = o.tenant AND e.id = o.event_id
LEFT JOIN notifykit_tenants t ON t.tenant = o.tenant ORDER BY o.event_id
"""
_PLANNED = "FROM notifykit_outbox WHERE event_id IN (SELECT value FROM json_each(?)) AND fence = ?"
_GROUPS = "json_group_array(json_array(event_id, tenant, ordering_key))"
_PAGED = "UPDATE notifykit_outbox SET cursor = ?, taken_until = NULL WHERE event_id = ? AND fence = ? RETURNING tenant"
_QUEUE = f"""
INSERT INTO notifykit_queue ({", ".join(QUEUED)}) VALUES ({", ".join("?" * len(QUEUED))}) ON CONFLICT (id) DO NOTHING
"""
_ENDED = f"INSERT OR IGNORE INTO notifykit_deliveries ({', '.join(ENDED)})"
_WAITS_IN_GROUP = f"""
{_APART} FROM (
  SELECT id, ordering_key IS NOT NULL AND (EXISTS (SELECT 1 FROM notifykit_queue b
    WHERE b.subscriber_id = o.subscriber_id AND b.ordering_key = o.ordering_key AND b.id < o.id)
    OR EXISTS (SELECT 1 FROM notifykit_queue b
    WHERE b.subscriber_id = o.subscriber_id AND b.ordering_key = o.ordering_key AND b.state = 'sending')) AS waits
  FROM notifykit_queue o {{which}} AND state <> 'sending'
    AND subscriber_id NOT IN (SELECT value FROM json_each(:exclude))
    AND tenant NOT IN (SELECT value FROM json_each(:exclude_tenants))
    AND (:only IS NULL OR subscriber_id IN (SELECT value FROM json_each(:only)))
  ORDER BY due_at LIMIT :window
)
"""
DUE = _WAITS_IN_GROUP.format(
    which="INDEXED BY notifykit_queue_due WHERE channel = :channel AND priority = :rank AND due_at <= :now"
)
#: The plus signs keep the index of the lane out of it: all that waits there would be looked through for each ticket.
NAMED = _WAITS_IN_GROUP.format(
    which="""WHERE id IN (SELECT value FROM json_each(:named)) AND +channel = :channel AND +priority = :rank
    AND (due_at <= :now OR handed IS NOT NULL)"""
)
DEFER = f"""
UPDATE notifykit_queue SET due_at = :now + {_RECHECK}, blocked = 1, handed = NULL
WHERE id IN (SELECT value FROM json_each(:ids))
"""
_CLAIM = """
UPDATE notifykit_queue SET state = 'sending', reason = NULL, fence = fence + 1, lease_until = :until, worker = :worker,
  blocked = 0, handed = NULL
WHERE id IN (SELECT value FROM json_each(:ids))
"""
_UNBLOCK = """
UPDATE notifykit_queue SET due_at = ?, blocked = 0 WHERE blocked AND id = (
  SELECT id FROM notifykit_queue WHERE subscriber_id = ? AND ordering_key = ? ORDER BY id LIMIT 1)
"""
_CLAIMED = f"""
SELECT {CLAIM_COLUMNS} FROM json_each(?) c JOIN notifykit_queue q ON q.id = c.value
JOIN notifykit_events e ON e.tenant = q.tenant AND e.id = q.event_id
LEFT JOIN notifykit_tenants t ON t.tenant = q.tenant ORDER BY q.due_at, q.id
"""
_FINISH = f"""
DELETE FROM notifykit_queue WHERE id IN (SELECT value FROM json_each(?)) AND fence = ? AND state = 'sending'
RETURNING {", ".join(KEPT)}
"""
_KEEP = """
UPDATE notifykit_queue SET state = ?, reason = ?, due_at = ?, lease_until = NULL, worker = NULL,
  attempts = coalesce(?, attempts), tries = tries + ? WHERE id = ? AND fence = ? AND state = 'sending'
"""
_ATTEMPT = """
INSERT INTO notifykit_attempts (delivery_id, number, started_at, took, outcome, reason, status, retry_at, response,
  worker, reference, account, cost)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_EXTEND = "UPDATE notifykit_queue SET lease_until = ? WHERE id = ? AND fence = ? AND state = 'sending'"


def json_list(values: Collection[str]) -> str:
    """Return values as the argument of ``json_each``."""
    return json.dumps(list(values))


def append(db: sqlite3.Connection, events: Sequence[StoredEvent]) -> list[Appended]:
    """Store events that are new."""
    values = [event_values(event) for event in events]
    answers = [Appended(event.id) for event in events]
    if any(event.idempotency_key for event in events) or not _are_new(db, values):
        for at, event in enumerate(events):
            if not db.execute(_EVENT, values[at]).rowcount:
                held = db.execute(_HELD, {"tenant": event.tenant, "key": event.idempotency_key, "id": event.id})
                event_id, fingerprint = held.fetchone()
                answers[at] = Appended(event_id, duplicate=True, fingerprint=fingerprint)
    fresh = [
        (row[0], row[1], row[_PRIORITY], row[_DUE_AT], event.ordering_key)
        for row, event, answer in zip(values, events, answers, strict=True)
        if not answer.duplicate
    ]
    _insert(db, _OUTBOX, fresh)
    failpoint("pub.inserted")
    return answers


def _are_new(db: sqlite3.Connection, values: Sequence[tuple[Any, ...]]) -> bool:
    """Store events in one go, unless one of them is known."""
    db.execute("SAVEPOINT fresh")
    try:
        _insert(db, _NEW_EVENT, values)
    except sqlite3.IntegrityError:
        db.execute("ROLLBACK TO fresh")
        return False
    finally:
        db.execute("RELEASE fresh")
    return True


def _insert(db: sqlite3.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, a few dozen by each statement and what is left over one by one."""
    if not rows:
        return
    one = f"({', '.join('?' * len(rows[0]))})"
    many = f"{statement} VALUES {', '.join([one] * _TOGETHER)}"
    whole = len(rows) // _TOGETHER * _TOGETHER
    for at in range(0, whole, _TOGETHER):
        db.execute(many, tuple(chain.from_iterable(rows[at : at + _TOGETHER])))
    db.executemany(f"{statement} VALUES {one}", rows[whole:])


def hand_out(db: sqlite3.Connection, limit: int, due: str, defer: str, pick: str, binds: dict[str, Any]) -> str:
    """Pick up to ``limit`` rows and return their ids; defer rows that are due but blocked by another row."""
    window = limit
    while True:
        try:
            free, blocked = db.execute(due, {**binds, "window": window}).fetchone()
        except sqlite3.OperationalError:
            if _withdraw_unreadable(db):
                continue
            raise
        if blocked != NOTHING:
            db.execute(defer, {**binds, "ids": blocked})
        if free != NOTHING:
            ids: str = free if window <= limit else json_list(json.loads(free)[:limit])
            db.execute(pick, {**binds, "ids": ids})
            return ids
        if blocked == NOTHING:
            return NOTHING
        window = max(limit, WINDOW)


def _withdraw_unreadable(db: sqlite3.Connection) -> int:
    """Make rows whose id is not a text in UTF-8 due at no time, because one fails every batch; return how many."""
    count = 0
    for table, key in (("notifykit_outbox", "event_id"), ("notifykit_queue", "id")):
        with tolerant(db):
            found = db.execute(f"SELECT rowid, {key} FROM {table} WHERE due_at < ?", (_NEVER,)).fetchall()
        for rowid, id_ in found:
            if type(id_) is not str:
                _log.error("row.unreadable table=%s rowid=%d", table, rowid)
                count += db.execute(f"UPDATE {table} SET due_at = ? WHERE rowid = ?", (_NEVER, rowid)).rowcount
    return count


def take(db: sqlite3.Connection, limit: int, binds: dict[str, Any]) -> list[TakenEvent]:
    """Lease due events, urgent first."""
    taken: list[TakenEvent] = []
    for rank in range(len(PRIORITIES)):
        ids = hand_out(db, limit - len(taken), _DUE_EVENTS, _DEFER_EVENTS, _TAKE, {**binds, "rank": rank})
        if ids != NOTHING:
            taken += _handed_out(db, _TAKEN, ids, taken_from, "event", "event_id")
        if len(taken) >= limit:
            break
    return taken


def claim(db: sqlite3.Connection, limit: int, binds: dict[str, Any], lease_until: datetime) -> list[Claim]:
    """Lease what is due in one lane."""
    due = DUE if binds["named"] is None else NAMED
    ids = hand_out(db, limit, due, DEFER, _CLAIM, binds)
    if ids == NOTHING:
        return []
    claims = _handed_out(db, _CLAIMED, ids, lambda row: claim_from(row, lease_until), "delivery", "id")
    if closing := [claim.delivery_id for claim in claims if claim.digest is not None]:
        digests.close(db, closing, binds["now"])
    return claims


def _handed_out(
    db: sqlite3.Connection, statement: str, ids: str, decode: Callable[[Any], T], kind: str, key: str
) -> list[T]:
    """Return what was handed out; a row that cannot be read stays leased and is left out."""
    try:
        rows = _rows(db, statement, (ids,))
    except sqlite3.OperationalError:  # a text that is not UTF-8; any other error is raised again
        with tolerant(db):
            rows = _rows(db, statement, (ids,))
        return one_by_one(decode, rows, kind, key=key)
    return each(decode, rows, kind, key=key)


def extend(db: sqlite3.Connection, claims: Sequence[tuple[str, int]], until: int) -> set[str]:
    """Prolong leases that are still held."""
    return {id_ for id_, fence in claims if db.execute(_EXTEND, (until, id_, fence)).rowcount}


def settle(db: sqlite3.Connection, settlements: Sequence[Settlement], now: int, until: int, worker: str) -> set[str]:
    """Write plans whose fences are right, with what was sent already."""
    settled = set()
    queue: list[tuple[Any, ...]] = []
    ended: list[tuple[Any, ...]] = []
    groups = set()
    rest: list[Record] = []
    collected: list[NewDelivery] = []
    gone: dict[tuple[str, int], tuple[str, str | None]] = {}
    for fence, ids in _by_fence((s.event_id, s.fence) for s in settlements if s.cursor is None):
        groups_of = db.execute(f"SELECT {_GROUPS} {_PLANNED}", (ids, fence)).fetchone()[0]
        gone |= {(event_id, fence): (tenant, key) for event_id, tenant, key in json.loads(groups_of)}
        db.execute(f"DELETE {_PLANNED}", (ids, fence))
    for settlement in settlements:
        event_id, fence, _, cursor, _ = settlement
        if cursor is None:
            group = gone.pop((event_id, fence), None)
            if group is None:
                continue
            if group[1] is not None:
                groups.add(group)
        elif not db.execute(_PAGED, (cursor, event_id, fence)).fetchone():
            continue
        settled.add(event_id)
        planned, left = with_records(settlement)
        rest += left
        for new, sent in planned:
            if fence > 1 and digests.is_known(db, new):
                continue  # an earlier page of the same event made it; it waits, or has ended since
            if new.digest is not None:
                collected.append(new)
            elif sent is not None or new.state in FINAL_STATES:
                ended.append(ended_values(new, now, sent))
            else:
                queue.append(queued_values(new, now, until, worker))
    failpoint("fan.half")
    db.executemany(_QUEUE, queue)
    _insert(db, _ENDED, ended)
    digests.join(db, collected, now)
    db.executemany(_UNBLOCK_EVENT, [(now, *group) for group in groups])
    if any(settlement.records for settlement in settlements):
        record(db, rest)
    return settled


def _rows(db: sqlite3.Connection, statement: str, values: tuple[Any, ...]) -> list[sqlite3.Row]:
    """Return the rows of a statement, with columns that are read by name."""
    cursor = db.cursor()
    cursor.row_factory = sqlite3.Row
    return cursor.execute(statement, values).fetchall()


def _by_fence(wanted: Iterable[tuple[str, int]]) -> Iterable[tuple[int, str]]:
    """Return the ids of each fence, of which most are equal."""
    ids: dict[int, list[str]] = {}
    for id_, fence in wanted:
        ids.setdefault(fence, []).append(id_)
    return [(fence, json_list(these)) for fence, these in ids.items()]


def record(db: sqlite3.Connection, records: Sequence[Record]) -> set[str]:
    """Write results whose fences are right."""
    written = set()
    ended = []
    tries = []
    groups = {}
    final = [(record.delivery_id, record.fence) for record in records if record.state in FINAL_STATES]
    gone = {(row["id"], fence): row for fence, ids in _by_fence(final) for row in _rows(db, _FINISH, (ids, fence))}
    collected = [record for record in records if record.digest is not None]
    for one in records:
        delivery_id, fence, state, reason, due_at, at, attempt, event, digest = one
        if digest is not None:
            continue
        if state in FINAL_STATES:
            row = gone.pop((delivery_id, fence), None)
            if row is None:
                continue
            ended.append(recorded_values(row, one))
            if row["ordering_key"] is not None:
                groups[row["subscriber_id"], row["ordering_key"]] = micros(at)
        else:
            number, tried = (None, 0) if attempt is None else (attempt.number, 1)
            due = micros(due_at or at)
            if not db.execute(_KEEP, (state.value, reason, due, number, tried, delivery_id, fence)).rowcount:
                continue
            if attempt is not None:
                tries.append((delivery_id, *attempt_values(attempt)))
        written.add(delivery_id)
        if event is not None:
            append(db, [event])
    _insert(db, _ENDED, ended)
    db.executemany(_UNBLOCK, [(at, *group) for group, at in groups.items()])
    failpoint("res.half")
    db.executemany(_ATTEMPT, tries)
    return written | digests.collect_claimed(db, collected)
