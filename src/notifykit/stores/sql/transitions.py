"""Moves of deliveries that are rare enough to be written once for every database.

Each function works on a SQLAlchemy connection inside a transaction that its caller
owns.  The frequent moves (take, settle, claim, record) are each database's own:
``sqlite.py`` and ``postgres.py``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal,
    literal_column,
    null,
    or_,
    select,
    text,
    union_all,
    update,
)

from ...failpoints import failpoint
from ...models.delivery import FINAL_STATES, Attempt, Delivery, DeliveryState
from ...models.ids import DELIVERY, EVENT
from ...ports import DeliveryFilter, NextDue, StoreStats
from . import schema as s
from .readable import attempt_from, delivery_from, fetch, first, is_damage
from .rows import Row, due_or_none, last_attempt_values, micros

_log = logging.getLogger("notifykit")
REDRIVABLE = FINAL_STATES - {DeliveryState.DELIVERED}
QUARANTINED, LEASE_EXPIRED = "quarantined", "lease_expired"
#: What a result is written to.
_RECORDED = "notifykit_queue, notifykit_deliveries, notifykit_attempts"
_COUNT_CAP = 10_000
_RANKS = range(3)
#: Written out, because no database sees that a bound value is the one that its partial index is about.
_WAITS = literal_column("state <> 'sending'", Boolean)

_SHARED = (
    "id",
    "event_id",
    "tenant",
    "subscription_id",
    "subscriber_id",
    "channel",
    "priority",
    "state",
    "reason",
    "attempts",
    "abandoned",
    "generation",
    "ordering_key",
    "created_at",
    "expires_at",
)
#: What a row keeps on its way to the other table.  The fence goes on growing after a redrive, so
#: that a zombie of an earlier generation cannot record over a new claim.
_MOVED = (*_SHARED, "fence")


def _open_rows() -> Select[Any]:
    return select(
        *(s.queue.c[name] for name in _SHARED),
        s.queue.c.due_at,
        null().label("finished_at"),
        s.events.c.type.label("event_type"),
    ).join_from(
        s.queue,
        s.events,
        and_(s.events.c.tenant == s.queue.c.tenant, s.events.c.id == s.queue.c.event_id),
        isouter=True,
    )


def _ended_rows() -> Select[Any]:
    return select(
        *(s.deliveries.c[name] for name in _SHARED),
        null().label("due_at"),
        s.deliveries.c.finished_at,
        s.events.c.type.label("event_type"),
    ).join_from(
        s.deliveries,
        s.events,
        and_(s.events.c.tenant == s.deliveries.c.tenant, s.events.c.id == s.deliveries.c.event_id),
        isouter=True,
    )


def _conditions(table: Any, tenant: str, wanted: DeliveryFilter) -> list[ColumnElement[bool]]:
    conditions = [table.c.tenant == tenant]
    if wanted.subscriber_id is not None:
        conditions.append(table.c.subscriber_id == wanted.subscriber_id)
    if wanted.event_id is not None:
        conditions.append(_of_event(table, literal(wanted.event_id)))
    if wanted.event_type is not None:
        conditions.append(s.events.c.type == wanted.event_type)
    if wanted.since is not None:
        conditions.append(table.c.created_at >= micros(wanted.since))
    if wanted.until is not None:
        conditions.append(table.c.created_at < micros(wanted.until))
    return conditions


def _of_event(table: Any, event_id: ColumnElement[str]) -> ColumnElement[bool]:
    # A delivery's id begins with its event's ULID, so the primary key finds an event's deliveries.
    first = literal(DELIVERY) + func.substr(event_id, len(EVENT) + 1)
    return and_(table.c.id >= first, table.c.id < first + "~")


def find(connection: Connection, tenant: str, wanted: DeliveryFilter, limit: int, before: str | None) -> list[Delivery]:
    """Return matching deliveries of both tables, newest first."""
    states = frozenset(DeliveryState) if wanted.states is None else wanted.states
    pages: list[Row] = []
    for rows, table, of_table in (
        (_open_rows(), s.queue, states - FINAL_STATES),
        (_ended_rows(), s.deliveries, states & FINAL_STATES),
    ):
        if not of_table:
            continue
        conditions = _conditions(table, tenant, wanted)
        if before is not None:
            conditions.append(table.c.id < before)
        conditions.append(_in_states(table, of_table))
        page = rows.where(*conditions).order_by(table.c.id.desc()).limit(limit)
        pages += fetch(connection, page)
    found = sorted(pages, key=lambda row: row["id"], reverse=True)
    return [delivery_from(row) for row in found[:limit]]


def _in_states(table: Any, states: frozenset[DeliveryState]) -> ColumnElement[bool]:
    condition: ColumnElement[bool] = table.c.state.in_([state.value for state in states])
    if table is s.deliveries and DeliveryState.DELIVERED not in states:
        condition = and_(condition, s.deliveries.c.state != "delivered")  # lets the partial index serve
    return condition


def get(connection: Connection, tenant: str, delivery_id: str) -> Delivery | None:
    """Return one delivery from the table it is in."""
    for rows, table in ((_open_rows(), s.queue), (_ended_rows(), s.deliveries)):
        row = first(connection, rows.where(table.c.tenant == tenant, table.c.id == delivery_id))
        if row is not None:
            return delivery_from(row)
    return None


def attempts(connection: Connection, tenant: str, delivery_id: str) -> list[Attempt]:
    """Return the attempts of a delivery, if it is the tenant's."""
    if get(connection, tenant, delivery_id) is None:
        return []
    before = select(s.attempts).where(s.attempts.c.delivery_id == delivery_id).order_by(s.attempts.c.number)
    last = select(s.deliveries).where(
        s.deliveries.c.tenant == tenant, s.deliveries.c.id == delivery_id, s.deliveries.c.last_outcome.is_not(None)
    )
    found = (*fetch(connection, before), *map(last_attempt_values, fetch(connection, last)))
    return [attempt_from(row) for row in found]


def end(
    connection: Connection, where: ColumnElement[bool], state: DeliveryState, reason: str, now: datetime
) -> list[str]:
    """Move waiting rows of the queue to ``deliveries``; return their ids."""
    gone = (
        connection.execute(delete(s.queue).where(s.queue.c.state != "sending", where).returning(s.queue))
        .mappings()
        .all()
    )
    if gone:
        connection.execute(
            insert(s.deliveries),
            [
                {
                    **{name: row[name] for name in _MOVED},
                    "state": state.value,
                    "reason": reason,
                    "finished_at": micros(now),
                }
                for row in gone
            ],
        )
        _unblock_heads(connection, {(row["subscriber_id"], row["ordering_key"]) for row in gone}, now)
    return [row["id"] for row in gone]


def _unblock_heads(connection: Connection, groups: set[tuple[str, str | None]], now: datetime) -> None:
    """Let the next delivery of each line out of which one has gone be met at once, if it was set aside."""
    ordered = [{"subscriber": subscriber, "line": key} for subscriber, key in groups if key is not None]
    if ordered:
        connection.execute(_UNBLOCK.values(due_at=micros(now), blocked=False), ordered)


_in_group = s.queue.alias()
_first = (
    select(_in_group.c.id)
    .where(_in_group.c.subscriber_id == bindparam("subscriber"), _in_group.c.ordering_key == bindparam("line"))
    .order_by(_in_group.c.id)
    .limit(1)
)
_UNBLOCK = update(s.queue).where(s.queue.c.id == _first.scalar_subquery(), s.queue.c.blocked)


def cancel(connection: Connection, tenant: str, delivery_ids: Sequence[str], now: datetime) -> int:
    """Cancel waiting deliveries by id."""

    def stop(these: Sequence[str]) -> int:
        where = and_(s.queue.c.tenant == tenant, s.queue.c.id.in_(these))
        return len(end(connection, where, DeliveryState.CANCELLED, "cancelled", now))

    return _each_alone(connection, delivery_ids, stop)


def redrive(connection: Connection, tenant: str, wanted: DeliveryFilter, now: datetime, limit: int) -> int:
    """Make matching ended deliveries due again."""
    states = REDRIVABLE if wanted.states is None else wanted.states & FINAL_STATES
    conditions = _conditions(s.deliveries, tenant, wanted)
    ids = connection.scalars(
        select(s.deliveries.c.id)
        .join(s.events, and_(s.events.c.tenant == s.deliveries.c.tenant, s.events.c.id == s.deliveries.c.event_id))
        .where(*conditions, _in_states(s.deliveries, states))
        .order_by(s.deliveries.c.id)
        .limit(limit)
    ).all()
    return _each_alone(connection, ids, lambda these: _requeue(connection, tenant, these, now))


def redrive_one(connection: Connection, tenant: str, delivery_id: str, now: datetime) -> bool:
    """Make one ended delivery due again, whatever its end was."""
    return _requeue(connection, tenant, [delivery_id], now) == 1


def _requeue(connection: Connection, tenant: str, ids: Sequence[str], now: datetime) -> int:
    if not ids:
        return 0
    rows = (
        connection.execute(
            delete(s.deliveries)
            .where(s.deliveries.c.tenant == tenant, s.deliveries.c.id.in_(ids))
            .returning(s.deliveries)
        )
        .mappings()
        .all()
    )
    if rows:
        tried = [last_attempt_values(row) for row in rows if row["last_outcome"] is not None]
        if tried:
            connection.execute(insert(s.attempts), tried)
        connection.execute(
            insert(s.queue),
            [
                {
                    **{name: row[name] for name in _MOVED},
                    "state": "pending",
                    "reason": None,
                    "abandoned": 0,
                    "generation": row["generation"] + 1,
                    "expires_at": None,
                    "due_at": micros(now),
                }
                for row in rows
            ],
        )
    return len(rows)


def wake(connection: Connection, tenant: str, subscriber_id: str, now: datetime) -> int:
    """Make held deliveries of a subscriber due now."""
    done = connection.execute(
        update(s.queue)
        .where(s.queue.c.tenant == tenant, s.queue.c.subscriber_id == subscriber_id, s.queue.c.state == "held")
        .values(state="pending", reason=None, due_at=micros(now))
    )
    return done.rowcount


def rescue(connection: Connection, limit: int, now: datetime, max_abandoned: int) -> list[Delivery]:
    """End leases that have run out, oldest first; not while results cannot be written."""
    at = micros(now)
    if connection.dialect.name == "postgresql":  # on SQLite a transaction that writes has the only lock there is
        connection.execute(text(f"LOCK TABLE {_RECORDED} IN ROW EXCLUSIVE MODE NOWAIT"))
    expired = fetch(
        connection,
        select(s.queue.c.id, s.queue.c.fence, s.queue.c.worker, s.queue.c.lease_until)
        .where(s.queue.c.state == "sending", s.queue.c.lease_until < at)
        .order_by(s.queue.c.lease_until)
        .limit(limit)
        .with_for_update(skip_locked=True),
    )
    if not expired:
        return []
    ids = [row["id"] for row in expired]
    rows = (
        connection.execute(
            update(s.queue)
            .where(s.queue.c.id.in_(ids), s.queue.c.state == "sending", s.queue.c.lease_until < at)
            .values(
                state="pending",
                due_at=at,
                lease_until=None,
                fence=s.queue.c.fence + 1,
                attempts=s.queue.c.attempts + 1,
                abandoned=s.queue.c.abandoned + 1,
            )
            .returning(s.queue.c.id, s.queue.c.attempts, s.queue.c.abandoned)
        )
        .mappings()
        .all()
    )
    failpoint("sweep.half")
    leases = {row["id"]: row for row in expired}
    connection.execute(
        insert(s.attempts),
        [
            {
                "delivery_id": row["id"],
                "number": row["attempts"],
                "started_at": leases[row["id"]]["lease_until"],
                "took": 0,
                "outcome": "abandoned",
                "reason": LEASE_EXPIRED,
                "retry_at": at,
                "worker": leases[row["id"]]["worker"],
            }
            for row in rows
        ],
    )
    poison = [row["id"] for row in rows if row["abandoned"] >= max_abandoned]

    def bury(these: Sequence[str]) -> int:
        return len(end(connection, s.queue.c.id.in_(these), DeliveryState.DEAD, QUARANTINED, now))

    _each_alone(connection, poison, bury)
    both = union_all(
        _open_rows().where(s.queue.c.id.in_(ids)), _ended_rows().where(s.deliveries.c.id.in_(poison or [""]))
    )
    return [delivery_from(row) for row in fetch(connection, both)]


def _each_alone(connection: Connection, ids: Sequence[str], move: Callable[[Sequence[str]], int]) -> int:
    """Move deliveries and return how many; one whose row cannot be read stays where it is, and no other with it."""
    if not ids:
        return 0
    try:
        with connection.begin_nested():
            return move(ids)
    except Exception as error:
        if not is_damage(connection, error):
            raise
        if len(ids) == 1:
            _log.error("delivery.unreadable id=%s error=%s", ids[0], type(error).__name__)
            return 0
    return sum(_each_alone(connection, [id_], move) for id_ in ids)


def purge(connection: Connection, before: datetime, keys_before: datetime, limit: int) -> int:
    """Delete old ended deliveries, then old events that nothing needs, then old idempotency keys."""
    edge = micros(before)
    if connection.dialect.name == "postgresql":  # no other scan can use the indexes by time, which are BRIN
        connection.execute(text("SET LOCAL enable_bitmapscan = on"))
    old = connection.execute(
        select(s.deliveries.c.tenant, s.deliveries.c.id).where(s.deliveries.c.finished_at < edge).limit(limit)
    ).all()
    if old:
        connection.execute(delete(s.attempts).where(s.attempts.c.delivery_id.in_([row.id for row in old])))
        failpoint("gc.half")
        for these in _of_tenants(s.deliveries, old):
            connection.execute(delete(s.deliveries).where(these))
    unused = (
        select(s.events.c.tenant, s.events.c.id)
        .where(
            s.events.c.published_at < edge,
            s.events.c.due_at < edge,
            # what is in a bundle was published when the oldest bundle was due, or later
            s.events.c.published_at < func.coalesce(select(func.min(s.bundles.c.due_at)).scalar_subquery(), edge),
            or_(s.events.c.idempotency_key.is_(None), s.events.c.published_at < micros(keys_before)),
            ~select(s.outbox.c.event_id).where(s.outbox.c.event_id == s.events.c.id).exists(),
            ~select(s.queue.c.id).where(_of_event(s.queue, s.events.c.id)).exists(),
            ~select(s.deliveries.c.id)
            .where(s.deliveries.c.tenant == s.events.c.tenant, _of_event(s.deliveries, s.events.c.id))
            .exists(),
        )
        .limit(max(limit - len(old), 0))
    )
    gone = connection.execute(unused).all()
    for these in _of_tenants(s.events, gone):
        connection.execute(delete(s.events).where(these))
    keys = connection.execute(
        select(s.events.c.tenant, s.events.c.id)
        .where(s.events.c.idempotency_key.is_not(None), s.events.c.published_at < micros(keys_before))
        .limit(limit)
    ).all()
    for these in _of_tenants(s.events, keys):
        connection.execute(update(s.events).where(these).values(idempotency_key=None, fingerprint=None))
    return len(old) + len(gone) + len(keys)


def _of_tenants(table: Table, rows: Iterable[Any]) -> Iterator[ColumnElement[bool]]:
    """Yield a condition for the rows of each tenant: keys begin with it, and without it every row would be read."""
    by_tenant: dict[str, list[str]] = {}
    for row in rows:
        by_tenant.setdefault(row.tenant, []).append(row.id)
    for tenant, ids in by_tenant.items():
        yield and_(table.c.tenant == tenant, table.c.id.in_(ids))


#: The first row of each lane; a minimum over all, or over ``max(due_at, taken_until)``, would read every row.
NEXT_DUE = """
WITH RECURSIVE channels(name) AS (
  SELECT min(channel) FROM notifykit_queue WHERE state <> 'sending'
  UNION ALL
  SELECT (SELECT min(q.channel) FROM notifykit_queue q WHERE q.state <> 'sending' AND q.channel > c.name)
  FROM channels c WHERE c.name IS NOT NULL
), ranks(rank) AS (VALUES (0), (1), (2))
SELECT
  (SELECT min(o.at) FROM (SELECT (SELECT min(due_at) FROM notifykit_outbox
    WHERE priority = CAST(r.rank AS smallint) AND taken_until IS NULL) AS at FROM ranks r
    UNION ALL SELECT min(due_at) FROM notifykit_bundles WHERE taken_until IS NULL) o) AS event,
  (SELECT min(q.at) FROM (SELECT (SELECT min(due_at) FROM notifykit_queue
    WHERE state <> 'sending' AND channel = c.name AND priority = CAST(r.rank AS smallint)) AS at
    FROM channels c CROSS JOIN ranks r) q) AS delivery
"""


def next_due(connection: Connection) -> NextDue:
    """Return the earliest instants at which rows of the outbox and the queue become due."""
    return NextDue(*map(due_or_none, connection.exec_driver_sql(NEXT_DUE).one()))


HAS_WORK = """
SELECT EXISTS (SELECT 1 FROM notifykit_outbox) OR EXISTS (SELECT 1 FROM notifykit_bundles)
  OR EXISTS (SELECT 1 FROM notifykit_queue)
"""


def has_work(connection: Connection) -> bool:
    """Return whether the outbox or the queue has rows."""
    return bool(connection.exec_driver_sql(HAS_WORK).scalar_one())


def _first_of_lanes(connection: Connection) -> Iterator[Select[Any]]:
    """Yield, for each lane, what finds the due time of its first row; a minimum over all would read the whole queue."""
    channel = ""
    following = select(func.min(s.queue.c.channel)).where(_WAITS, s.queue.c.channel > bindparam("channel"))
    while (found := connection.scalar(following, {"channel": channel})) is not None:
        channel = str(found)
        for rank in _RANKS:
            yield select(func.min(s.queue.c.due_at)).where(
                _WAITS, s.queue.c.channel == channel, s.queue.c.priority == rank
            )


def stats(connection: Connection, now: datetime) -> StoreStats:
    """Return capped counts of what waits."""

    def capped(statement: Select[Any]) -> int:
        return connection.scalar(select(func.count()).select_from(statement.limit(_COUNT_CAP).subquery())) or 0

    one = literal(1)
    oldest = connection.execute(
        union_all(
            *(select(func.min(s.outbox.c.due_at)).where(s.outbox.c.priority == rank) for rank in _RANKS),
            select(func.min(s.bundles.c.due_at)),
            *_first_of_lanes(connection),
        )
    ).scalars()
    overdue = min((at for at in oldest if isinstance(at, int) and at <= micros(now)), default=None)
    open_ones = func.bit_count if connection.dialect.name == "postgresql" else func.length  # there are none elsewhere
    sizes = select(open_ones(s.bundles.c.open).label("size")).limit(_COUNT_CAP).subquery()
    bundled = connection.scalar(select(func.sum(sizes.c.size))) or 0
    return StoreStats(
        unplanned=min(capped(select(one).select_from(s.outbox)) + bundled, _COUNT_CAP),
        waiting=capped(select(one).select_from(s.queue).where(_WAITS)),
        sending=capped(select(one).select_from(s.queue).where(s.queue.c.state == "sending")),
        dead=capped(
            select(one)
            .select_from(s.deliveries)
            .where(s.deliveries.c.state == "dead", s.deliveries.c.state != "delivered")
        ),
        oldest_due=due_or_none(overdue),
    )
