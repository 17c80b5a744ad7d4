"""Reading of events and deliveries, written once for every database.

Each function works on a SQLAlchemy connection inside a transaction that its caller owns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    bindparam,
    exists,
    func,
    literal,
    literal_column,
    null,
    select,
)

from ...models.delivery import FINAL_STATES, Attempt, Delivery, DeliveryState, Lane
from ...models.event import StoredEvent
from ...models.ids import DELIVERY, EVENT
from ...ports import DeliveryFilter, EventFilter, LaneStats, NextDue, StoreStats
from ..encoding.readable import attempt_from, delivery_from, event_from
from ..encoding.rows import PRIORITIES, NamedRow, Row, due_or_none, last_attempt_values, micros
from . import schema as s
from .fetching import fetch
from .writing import is_mysql

_COUNT_CAP = 10_000
_RANKS = range(3)
#: Written out, because no database sees that a bound value is the one that its partial index is about.
_SENDING: ColumnElement[str] = literal_column("'sending'")
WAITS, IS_SENDING = s.queue.c.state != _SENDING, s.queue.c.state == _SENDING
#: What is being sent has a lease, and a database without partial indexes finds it by that.
_IS_LEASED = s.queue.c.lease_until.is_not(None)

#: The columns that the queue and the ended deliveries share.
SHARED = (
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
    "address",
    "digest",
)


def open_rows(of: Any = s.queue) -> Select[Any]:
    """Return the query for deliveries in the queue, or for those that open digests have collected."""
    due_at = func.coalesce(of.c.handed, of.c.due_at).label("due_at")
    return _rows(of, due_at, null().label("finished_at"))


def ended_rows(of: Any = s.deliveries) -> Select[Any]:
    """Return the query for deliveries that have ended, or for those whose digest has."""
    return _rows(of, null().label("due_at"), of.c.finished_at)


def _rows(of: Any, *more: Any) -> Select[Any]:
    its_event = and_(s.events.c.tenant == of.c.tenant, s.events.c.id == of.c.event_id)
    receipts = s.receipts.c
    its_receipts = select(receipts.kind).where(receipts.tenant == of.c.tenant, receipts.delivery_id == of.c.id)
    strongest = its_receipts.order_by(receipts.rank.desc()).limit(1).scalar_subquery().label("receipt")
    query = select(*(of.c[name] for name in SHARED), *more, strongest, s.events.c.type.label("event_type"))
    return query.join_from(getattr(of, "source", of), s.events, its_event, isouter=True)


class Collected:
    """What digests have collected, as a table like that of the digests' own deliveries.

    Attributes:
        source: The join that it is.
        c: Its columns.
    """

    def __init__(self, carriers: Table, *times: str) -> None:
        items = s.digest_items
        self.source = items.join(
            carriers, and_(carriers.c.tenant == items.c.tenant, carriers.c.id == items.c.digest_id)
        )
        of_item = {name: items.c[name] for name in ("id", "tenant", "event_id", "created_at", "digest_id")}
        self.c = _Columns({name: carriers.c[name] for name in (*SHARED, *times)} | of_item)


class _Columns(dict[str, Any]):
    def __getattr__(self, name: str) -> Any:
        return self[name]


COLLECTED = Collected(s.queue, "due_at", "handed")
COLLECTED_ENDED = Collected(s.deliveries, "finished_at")


def conditions(table: Any, tenant: str, wanted: DeliveryFilter) -> list[ColumnElement[bool]]:
    """Return the conditions of a filter, but for its states."""
    conditions = [table.c.tenant == tenant]
    if wanted.ids is not None:
        conditions.append(table.c.id.in_(sorted(wanted.ids)))
    if wanted.subscriber_id is not None:
        conditions.append(table.c.subscriber_id == wanted.subscriber_id)
    if wanted.event_id is not None:
        conditions += (of_event(table, literal(wanted.event_id)), table.c.event_id == wanted.event_id)
    if wanted.event_type is not None:
        conditions.append(s.events.c.type == wanted.event_type)
    if wanted.since is not None:
        conditions.append(table.c.created_at >= micros(wanted.since))
    if wanted.until is not None:
        conditions.append(table.c.created_at < micros(wanted.until))
    return conditions


def of_event(table: Any, event_id: ColumnElement[str]) -> ColumnElement[bool]:
    """Return the condition for an event's deliveries."""
    # A delivery's id begins with its event's ULID, so the primary key finds an event's deliveries.
    first = literal(DELIVERY) + func.substr(event_id, len(EVENT) + 1)
    return and_(table.c.id >= first, table.c.id < first + "~")


def find_deliveries(
    connection: Connection, tenant: str, wanted: DeliveryFilter, limit: int, before: str | None
) -> list[Delivery]:
    """Return matching deliveries of both tables, newest first."""
    states = frozenset(DeliveryState) if wanted.states is None else wanted.states
    pages: list[Row] = []
    for rows, table, of_table in (
        (open_rows(), s.queue, states - FINAL_STATES),
        (ended_rows(), s.deliveries, states & FINAL_STATES),
        (open_rows(COLLECTED), COLLECTED, states - FINAL_STATES),
        (ended_rows(COLLECTED_ENDED), COLLECTED_ENDED, states & FINAL_STATES),
    ):
        if not of_table:
            continue
        chosen = conditions(table, tenant, wanted)
        if before is not None:
            chosen.append(table.c.id < before)
        chosen.append(in_states(table, of_table))
        page = rows.where(*chosen).order_by(table.c.id.desc()).limit(limit)
        pages += fetch(connection, page)
    found = sorted(pages, key=lambda row: row["id"], reverse=True)
    return [delivery_from(row) for row in found[:limit]]


def in_states(table: Any, states: frozenset[DeliveryState]) -> ColumnElement[bool]:
    """Return the condition for deliveries in one of these states."""
    condition: ColumnElement[bool] = table.c.state.in_([state.value for state in states])
    # lets the partial indexes serve
    if table is s.queue and DeliveryState.SENDING not in states:
        condition = and_(condition, WAITS)
    if table is s.deliveries and DeliveryState.DELIVERED not in states:
        condition = and_(condition, s.deliveries.c.state != "delivered")
    return condition


def attempts(connection: Connection, tenant: str, delivery_id: str) -> list[Attempt]:
    """Return the attempts of a delivery, if it is the tenant's."""
    if not find_deliveries(connection, tenant, DeliveryFilter(ids=frozenset({delivery_id})), 1, None):
        return []
    before = select(s.attempts).where(s.attempts.c.delivery_id == delivery_id).order_by(s.attempts.c.number)
    last = select(s.deliveries).where(
        s.deliveries.c.tenant == tenant, s.deliveries.c.id == delivery_id, s.deliveries.c.last_outcome.is_not(None)
    )
    found = (*fetch(connection, before), *map(last_attempt_values, fetch(connection, last)))
    return [attempt_from(row) for row in found]


def find_events(
    connection: Connection, tenant: str, wanted: EventFilter, limit: int, before: str | None
) -> list[StoredEvent]:
    """Return matching events as they are stored, newest first."""
    query = select(s.events).where(s.events.c.tenant == tenant)
    if wanted.ids is not None:
        query = query.where(s.events.c.id.in_(sorted(wanted.ids)))
    if wanted.type is not None:
        query = query.where(s.events.c.type == wanted.type)
    if wanted.idempotency_key is not None:
        query = query.where(s.events.c.idempotency_key == wanted.idempotency_key)
    if wanted.planned is not None:
        unplanned = exists().where(s.outbox.c.tenant == s.events.c.tenant, s.outbox.c.event_id == s.events.c.id)
        query = query.where(~unplanned if wanted.planned else unplanned)
    if before is not None:
        query = query.where(s.events.c.id < before)
    return [event_from(row) for row in fetch(connection, query.order_by(s.events.c.id.desc()).limit(limit))]


#: The first row of each lane; a minimum over all, or over ``max(due_at, taken_until)``, would read every row.  So would
#: a minimum on PostgreSQL whose plan was made while the table was empty.
#: A row for each lane with deliveries that wait, and one without a lane if there is none.
NEXT_DUE = """
WITH RECURSIVE channels(name) AS (
  SELECT (SELECT channel FROM notifykit_queue WHERE state <> 'sending' ORDER BY channel LIMIT 1)
  UNION ALL
  SELECT (SELECT q.channel FROM notifykit_queue q WHERE q.state <> 'sending' AND q.channel > c.name
    ORDER BY q.channel LIMIT 1)
  FROM channels c WHERE c.name IS NOT NULL
), ranks(rank) AS (VALUES (0), (1), (2)), lanes AS (
  SELECT c.name AS channel, r.rank AS priority, (SELECT due_at FROM notifykit_queue
    WHERE state <> 'sending' AND channel = c.name AND priority = CAST(r.rank AS smallint)
    ORDER BY due_at LIMIT 1) AS due_at
  FROM channels c CROSS JOIN ranks r
), work AS (
  SELECT
    (SELECT min(o.at) FROM (SELECT (SELECT due_at FROM notifykit_outbox
      WHERE priority = CAST(r.rank AS smallint) AND taken_until IS NULL ORDER BY due_at LIMIT 1) AS at FROM ranks r
      ) o) AS event,
    EXISTS (SELECT 1 FROM notifykit_outbox) OR EXISTS (SELECT 1 FROM notifykit_queue) AS is_open
)
SELECT w.event, w.is_open, l.channel, l.priority, l.due_at FROM work w LEFT JOIN lanes l ON l.due_at IS NOT NULL
"""


def next_due(connection: Connection) -> NextDue:
    """Return the earliest instants at which rows of the outbox and the queue become due."""
    return next_due_from(connection.exec_driver_sql(NEXT_DUE).mappings().all())


def next_due_from(rows: Sequence[NamedRow]) -> NextDue:
    """Return the answer of the rows of :data:`NEXT_DUE`."""
    lanes: dict[Lane, datetime] = {}
    for row in rows:
        due_at = due_or_none(row["due_at"])
        if due_at is not None:
            lanes[Lane(row["channel"], PRIORITIES[row["priority"]])] = due_at
    return NextDue(due_or_none(rows[0]["event"]), lanes, bool(rows[0]["is_open"]))


def _first(column: ColumnElement[Any]) -> Select[Any]:
    """Return the query for the least value, as in :data:`NEXT_DUE`."""
    return select(column).order_by(column).limit(1)


def _lanes(connection: Connection) -> Iterator[Lane]:
    """Yield the lanes of the channels over which any delivery waits."""
    channel = ""
    following = _first(s.queue.c.channel).where(WAITS, s.queue.c.channel > bindparam("channel"))
    while (found := connection.scalar(following, {"channel": channel})) is not None:
        channel = str(found)
        yield from (Lane(channel, priority) for priority in PRIORITIES)


def stats(connection: Connection, now: datetime) -> StoreStats:
    """Return capped counts of what waits."""

    def capped(statement: Select[Any]) -> int:
        return connection.scalar(select(func.count()).select_from(statement.limit(_COUNT_CAP).subquery())) or 0

    def overdue(*firsts: Select[Any]) -> datetime | None:
        found = [at for first in firsts for at in connection.execute(first).scalars()]
        return due_or_none(min((at for at in found if isinstance(at, int) and at <= micros(now)), default=None))

    def of_lane(lane: Lane) -> LaneStats:
        its = (s.queue.c.channel == lane.channel, s.queue.c.priority == PRIORITIES.index(lane.priority))
        # The first row of each lane; a minimum over all would read the whole queue.
        first = _first(due_at).select_from(s.queue).where(WAITS, due_at.is_not(None), *its)
        handed = select(func.min(s.queue.c.handed)).where(s.queue.c.handed.is_not(None), *its)
        return LaneStats(capped(select(one).select_from(s.queue).where(WAITS, *its)), overdue(first, handed))

    one = literal(1)
    # On MySQL the index has a column that is NULL in what is being sent.
    due_at: ColumnElement[Any] = literal_column("waits_until") if is_mysql(connection) else s.queue.c.due_at
    lanes = {lane: found for lane in _lanes(connection) if (found := of_lane(lane)).waiting}
    unplanned = overdue(*(_first(s.outbox.c.due_at).where(s.outbox.c.priority == rank) for rank in _RANKS))
    oldest = (unplanned, *(lane.oldest_due for lane in lanes.values()))
    return StoreStats(
        unplanned=capped(select(one).select_from(s.outbox)),
        waiting=min(sum(lane.waiting for lane in lanes.values()), _COUNT_CAP),
        sending=capped(select(one).select_from(s.queue).where(IS_SENDING, _IS_LEASED)),
        dead=capped(
            select(one)
            .select_from(s.deliveries)
            .where(s.deliveries.c.state == "dead", s.deliveries.c.state != "delivered")
        ),
        oldest_due=min((at for at in oldest if at is not None), default=None),
        lanes=lanes,
    )
