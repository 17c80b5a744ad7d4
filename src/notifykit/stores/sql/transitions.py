"""Transitions of deliveries that are rare enough to be written once for every database.

Each function works on a SQLAlchemy connection inside a transaction that its caller
owns.  The frequent ones (take, settle, claim, record) are each database's own: see the
folders ``sqlite`` and ``postgres``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Table,
    and_,
    bindparam,
    delete,
    insert,
    or_,
    select,
    text,
    tuple_,
    update,
)

from ...failpoints import failpoint
from ...models.delivery import Delivery, DeliveryState
from ...models.throttle import AFTER_CAPS, CAP, MAX_PER
from ...ports import CANCELLED, DeliveryFilter, Move
from ..encoding.readable import delivery_from
from ..encoding.rows import Row, last_attempt_values, micros
from . import digests
from . import schema as s
from .fetching import fetch, is_damage
from .reading import IS_SENDING, SHARED, WAITS, conditions, ended_rows, in_states, of_event, open_rows
from .writing import delete_returning, update_returning

_log = logging.getLogger("notifykit")
QUARANTINED, LEASE_EXPIRED = "quarantined", "lease_expired"
#: What a result is written to.
_RECORDED = "notifykit_queue, notifykit_deliveries, notifykit_attempts"
#: What a row keeps on its way to the other table.  The fence goes on growing after a redrive, so
#: that a zombie of an earlier generation cannot record over a new claim.
_MOVED = (*SHARED, "fence")


def end(
    connection: Connection, where: ColumnElement[bool], state: DeliveryState, reason: str, now: datetime
) -> list[str]:
    """Move waiting rows of the queue to ``deliveries``; return their ids."""
    gone = delete_returning(connection, s.queue, and_(WAITS, where))
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
        digests.close(connection, gone, now)
    return [row["id"] for row in gone]


def _unblock_heads(connection: Connection, groups: set[tuple[str, str | None]], now: datetime) -> None:
    """Make the new head of each FIFO group that a delivery has left due at once, if it was blocked."""
    ordered = [{"subscriber": subscriber, "key": key} for subscriber, key in groups if key is not None]
    if ordered:
        connection.execute(_UNBLOCK.values(due_at=micros(now), blocked=False), ordered)


_in_group = s.queue.alias()
_first = (
    select(_in_group.c.id)
    .where(_in_group.c.subscriber_id == bindparam("subscriber"), _in_group.c.ordering_key == bindparam("key"))
    .order_by(_in_group.c.id)
    .limit(1)
)
#: MySQL reads the table that it changes only as a table of its own.
_UNBLOCK = update(s.queue).where(s.queue.c.id == select(_first.subquery().c.id).scalar_subquery(), s.queue.c.blocked)


def move(
    connection: Connection,
    tenant: str,
    wanted: DeliveryFilter,
    to: Move,
    now: datetime,
    limit: int | None,
    reason: str = CANCELLED,
) -> int:
    """Cancel, redrive or wake deliveries; return how many.

    A delivery whose row cannot be read stays where it is and stops no other; if the filter names only that one, the
    error is raised.
    """
    if wanted.means_event(to):
        outbox = s.outbox.c
        is_free = or_(outbox.taken_until.is_(None), outbox.taken_until <= micros(now))
        dropped = drop_unplanned(connection, tenant, and_(outbox.event_id == wanted.event_id, is_free), now)
        # First, so that a planner adds nothing after this.
        return dropped + _move(connection, tenant, wanted, to, now, limit, reason)
    return _move(connection, tenant, wanted, to, now, limit, reason)


def drop_unplanned(connection: Connection, tenant: str, chosen: ColumnElement[bool], now: datetime) -> bool:
    """Take an event out of the outbox, and let the next one of its FIFO group be planned; return whether it was there.

    Args:
        chosen: The row of the outbox.
    """
    its = s.outbox.c
    gone = delete_returning(connection, s.outbox, and_(its.tenant == tenant, chosen))
    for row in gone:
        if row["ordering_key"] is not None:
            waits = and_(its.tenant == tenant, its.ordering_key == row["ordering_key"], its.blocked)
            connection.execute(update(s.outbox).where(waits).values(due_at=micros(now), blocked=False))
    return bool(gone)


def _move(
    connection: Connection,
    tenant: str,
    wanted: DeliveryFilter,
    to: Move,
    now: datetime,
    limit: int | None,
    reason: str,
) -> int:
    table = s.deliveries if to is Move.REDRIVE else s.queue
    chosen = and_(*conditions(table, tenant, wanted), in_states(table, wanted.states_for(to)))
    if not wanted.means_digests(to):
        chosen = and_(chosen, ~_is_digest(table))
    withdrawn = digests.withdraw(connection, tenant, wanted, limit, reason, now) if to is Move.CANCEL else 0
    if limit is not None:
        limit -= withdrawn
    # What is redriven needs the body of its event, which retention may have deleted.
    joined = to is Move.REDRIVE or wanted.event_type is not None
    if joined or limit is not None:
        query = select(table.c.id).where(chosen).order_by(table.c.id).limit(limit)
        if joined:
            its_event = and_(s.events.c.tenant == table.c.tenant, s.events.c.id == table.c.event_id)
            query = query.join(s.events, its_event)
        chosen = and_(table.c.tenant == tenant, table.c.id.in_(select(query.subquery().c.id)))
    if to is Move.WAKE:
        return wake(connection, chosen, now)

    def work(these: ColumnElement[bool]) -> int:
        if to is Move.REDRIVE:
            return _requeue(connection, these, now)
        return len(end(connection, these, DeliveryState.CANCELLED, reason, now))

    names_one = wanted.ids is not None and len(wanted.ids) == 1
    return withdrawn + (work(chosen) if names_one else _isolated(connection, table, chosen, work))


def _is_digest(table: Table) -> ColumnElement[bool]:
    return select(s.digests.c.id).where(s.digests.c.tenant == table.c.tenant, s.digests.c.id == table.c.id).exists()


def _isolated(
    connection: Connection, table: Table, chosen: ColumnElement[bool], work: Callable[[ColumnElement[bool]], int]
) -> int:
    """Move rows together or, if one of them cannot be read, one by one without it; return how many."""
    try:
        with connection.begin_nested():
            return work(chosen)
    except Exception as error:
        if not is_damage(connection, error):
            raise
    moved = 0
    for row in connection.execute(select(table.c.tenant, table.c.id).where(chosen)).all():
        try:
            with connection.begin_nested():
                moved += work(and_(table.c.tenant == row.tenant, table.c.id == row.id))
        except Exception as error:
            if not is_damage(connection, error):
                raise
            _log.error("delivery.unreadable id=%s error=%s", row.id, type(error).__name__)
    return moved


def _requeue(connection: Connection, chosen: ColumnElement[bool], now: datetime) -> int:
    rows = delete_returning(connection, s.deliveries, chosen)
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


def wake(connection: Connection, chosen: ColumnElement[bool], now: datetime) -> int:
    """Make held deliveries due now; return how many."""
    held = and_(chosen, WAITS, s.queue.c.state == "held")
    return connection.execute(
        update(s.queue).where(held).values(state="pending", reason=None, due_at=micros(now))
    ).rowcount


def rescue(connection: Connection, limit: int, now: datetime, max_abandoned: int) -> list[Delivery]:
    """End leases that have run out, oldest first; not while results cannot be written."""
    at = micros(now)
    if connection.dialect.name == "postgresql":  # on SQLite a transaction that writes has the only lock there is
        connection.execute(text(f"LOCK TABLE {_RECORDED} IN ROW EXCLUSIVE MODE NOWAIT"))
    expired = fetch(
        connection,
        select(s.queue.c.id, s.queue.c.fence, s.queue.c.worker, s.queue.c.lease_until)
        .where(IS_SENDING, s.queue.c.lease_until < at)
        .order_by(s.queue.c.lease_until)
        .limit(limit)
        .with_for_update(skip_locked=True),
    )
    if not expired:
        return []
    rows = _end_leases(connection, expired, at)
    poison = [(row["tenant"], row["id"]) for row in rows if row["abandoned"] >= max_abandoned]
    if poison:

        def quarantine(these: ColumnElement[bool]) -> int:
            return len(end(connection, these, DeliveryState.DEAD, QUARANTINED, now))

        _isolated(connection, s.queue, s.queue.c.id.in_([id_ for _, id_ in poison]), quarantine)
    queries = [open_rows().where(s.queue.c.id.in_([row["id"] for row in expired]))]
    queries += [ended_rows().where(these) for these in _of_tenants(s.deliveries, poison)]
    return [delivery_from(row) for query in queries for row in fetch(connection, query)]


def _end_leases(connection: Connection, expired: Sequence[Row], at: int) -> Sequence[RowMapping]:
    """Make deliveries whose lease has run out due at ``at``, and write an abandoned attempt for each; return them."""
    leases = {row["id"]: row for row in expired}
    rows = update_returning(
        connection,
        s.queue,
        and_(s.queue.c.id.in_(leases), s.queue.c.state == "sending", s.queue.c.lease_until < at),
        {
            "state": "pending",
            "due_at": at,
            "lease_until": None,
            "fence": s.queue.c.fence + 1,
            "attempts": s.queue.c.attempts + 1,
            "abandoned": s.queue.c.abandoned + 1,
        },
        (s.queue.c.id, s.queue.c.tenant, s.queue.c.attempts, s.queue.c.abandoned),
    )
    failpoint("sweep.half")
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
    return rows


def purge(connection: Connection, before: datetime, keys_before: datetime, limit: int) -> int:
    """Delete old ended deliveries, then old events that nothing needs."""
    edge = micros(before)
    old = connection.execute(
        select(s.deliveries.c.tenant, s.deliveries.c.id).where(s.deliveries.c.finished_at < edge).limit(limit)
    ).all()
    if old:
        connection.execute(delete(s.attempts).where(s.attempts.c.delivery_id.in_([row.id for row in old])))
        digests.forget(connection, [row.id for row in old])
        failpoint("gc.half")
        for these in _of_tenants(s.deliveries, old):
            connection.execute(delete(s.deliveries).where(these))
        for these in _of_tenants(s.receipts, old, s.receipts.c.delivery_id):
            connection.execute(delete(s.receipts).where(these))
    unused = (
        select(s.events.c.tenant, s.events.c.id)
        .where(
            s.events.c.published_at < edge,
            s.events.c.due_at < edge,
            or_(s.events.c.idempotency_key.is_(None), s.events.c.published_at < micros(keys_before)),
            ~select(s.outbox.c.event_id).where(s.outbox.c.event_id == s.events.c.id).exists(),
            ~select(s.queue.c.id).where(of_event(s.queue, s.events.c.id)).exists(),
            ~select(s.digest_items.c.id)
            .where(s.digest_items.c.tenant == s.events.c.tenant, of_event(s.digest_items, s.events.c.id))
            .exists(),
            ~select(s.deliveries.c.id)
            .where(s.deliveries.c.tenant == s.events.c.tenant, of_event(s.deliveries, s.events.c.id))
            .exists(),
        )
        .limit(max(limit - len(old), 0))
    )
    gone = connection.execute(unused).all()
    for these in _of_tenants(s.events, gone):
        connection.execute(delete(s.events).where(these))
    return len(old) + len(gone) + _forget_full_buckets(connection, before, limit)


def forget_keys(connection: Connection, since: datetime, before: datetime, limit: int) -> int:
    """Delete the idempotency keys of events that were published within a time; return how many."""
    published_at = s.events.c.published_at
    old = connection.execute(
        select(s.events.c.tenant, s.events.c.id)
        .where(s.events.c.idempotency_key.is_not(None), published_at >= micros(since), published_at < micros(before))
        .limit(limit)
    ).all()
    for these in _of_tenants(s.events, old):
        connection.execute(update(s.events).where(these).values(idempotency_key=None, fingerprint=None))
    return len(old)


def _forget_full_buckets(connection: Connection, before: datetime, limit: int) -> int:
    """Delete buckets of people that must be full again, as new ones are; return how many."""
    its = s.buckets.c
    is_full = and_(its.endpoint_id > CAP, its.endpoint_id < AFTER_CAPS, its.filled_at < micros(before - MAX_PER))
    some = select(its.endpoint_id, its.tenant).where(is_full).limit(limit).subquery()
    these = tuple_(its.endpoint_id, its.tenant).in_(select(some.c.endpoint_id, some.c.tenant))
    return connection.execute(delete(s.buckets).where(is_full, these)).rowcount


def _of_tenants(
    table: Table, rows: Iterable[Any], key: ColumnElement[str] | None = None
) -> Iterator[ColumnElement[bool]]:
    """Yield a condition for the rows of each tenant: keys begin with it, and without it every row would be read."""
    by_tenant: dict[str, list[str]] = {}
    for tenant, id_ in rows:
        by_tenant.setdefault(tenant, []).append(id_)
    for tenant, ids in by_tenant.items():
        yield and_(table.c.tenant == tenant, (table.c.id if key is None else key).in_(ids))
