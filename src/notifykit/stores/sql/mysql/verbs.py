"""The frequent verbs on MySQL, each a batch in a transaction that its caller owns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection

from ....failpoints import failpoint
from ....models.delivery import FINAL_STATES, Claim, Lane, NewDelivery
from ....models.event import StoredEvent, TakenEvent
from ....ports import Appended, Outstanding, Record, Settlement, Ticket
from ...encoding.readable import each
from ...encoding.rows import (
    PRIORITIES,
    RANK,
    WINDOW,
    attempt_values,
    claim_from,
    event_values,
    in_key_order,
    micros,
    taken_from,
    with_records,
)
from ..planned import ended_values, queued_values, recorded_values
from . import digests
from . import statements as sql

Row = dict[str, Any]
#: Values that one statement names.
_AT_ONCE = 500
#: Stands for a row that is not there.
_GONE: Row = {"fence": None}


def run(connection: Connection, statement: str, *values: Any) -> None:
    """Run a statement that returns no rows."""
    connection.exec_driver_sql(statement, values)


def rows(connection: Connection, statement: str, *values: Any) -> list[Row]:
    """Return the rows of a statement."""
    result = connection.exec_driver_sql(statement, values)
    names = [*result.keys()]
    return [dict(zip(names, row, strict=True)) for row in result.all()]


def named(statement: str, ids: Sequence[str]) -> str:
    """Return a statement with a mark for each of the ids."""
    return statement.format(ids=sql.marks(ids), keys=sql.marks(ids), count=len(ids))


def _values(connection: Connection, statement: str, ids: Sequence[str], *values: Any) -> Sequence[str]:
    """Return the only column of the rows with some of these ids."""
    return connection.exec_driver_sql(named(statement, ids), (*values, *ids)).scalars().all()


def insert(connection: Connection, statement: str, values: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows; the driver puts as many as fit into one statement."""
    if values:
        connection.exec_driver_sql(statement, [*map(_with_blobs, values)])


def _with_blobs(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row whose bytes are in the form that is cheap to put into a statement; see ``connections.py``."""
    return tuple([memoryview(value) if type(value) is bytes else value for value in row])


# ── events ─────────────────────────────────────────────────────────────────────────────────────


def append(connection: Connection, events: Sequence[StoredEvent], *, careful: bool) -> list[Appended]:
    """Store events that are new.

    Args:
        careful: Look for those that are stored already; without it the statement fails if any is.
    """
    known = _stored(connection, events) if careful else {}
    fresh: list[StoredEvent] = []
    answers: dict[str, Appended] = {}
    for event in in_key_order(events):
        names = [(event.tenant, "id", event.id)]
        if event.idempotency_key is not None:
            names.append((event.tenant, "key", event.idempotency_key))
        held = next((known[name] for name in names if name in known), None)
        answers[event.id] = Appended(event.id) if held is None else Appended(held[0], True, held[1])
        if held is None:
            fresh.append(event)
            known |= dict.fromkeys(names, (event.id, event.fingerprint))
    insert(connection, sql.EVENT, [event_values(event) for event in fresh])
    insert(
        connection,
        sql.OUTBOX,
        [(event.id, event.tenant, RANK[event.priority], micros(event.due_at), event.ordering_key) for event in fresh],
    )
    failpoint("pub.inserted")
    return [answers[event.id] for event in events]


def has_keys(events: Sequence[StoredEvent]) -> bool:
    """Return whether an event may be stored under its idempotency key, or twice in the batch."""
    return any(event.idempotency_key for event in events) or len({event.id for event in events}) < len(events)


def _stored(connection: Connection, events: Sequence[StoredEvent]) -> dict[tuple[str, str, str], tuple[str, Any]]:
    """Return what is stored of these events, by tenant and id or idempotency key."""
    by_tenant: dict[str, list[StoredEvent]] = {}
    for event in events:
        by_tenant.setdefault(event.tenant, []).append(event)
    found: list[Row] = []
    for tenant, its in by_tenant.items():
        for at in range(0, len(its), _AT_ONCE):
            page = its[at : at + _AT_ONCE]
            ids, keys = [event.id for event in page], [event.idempotency_key for event in page if event.idempotency_key]
            found += rows(connection, named(sql.STORED, ids), tenant, *ids)
            if keys:
                found += rows(connection, named(sql.STORED_KEYS, keys), tenant, *keys)
    known = {}
    for row in found:
        known[row["tenant"], "id", row["id"]] = known[row["tenant"], "key", row["idempotency_key"]] = (
            row["id"],
            row["fingerprint"],
        )
    return known


def take(
    connection: Connection, limit: int, now: int, until: int, exclude: Collection[str], since: int
) -> list[TakenEvent]:
    """Lease due events, urgent first."""
    taken: list[TakenEvent] = []
    unless = f"AND tenant NOT IN ({sql.marks([*exclude])})" if exclude else ""
    for rank in range(len(PRIORITIES)):
        asked = (rank, since, now, now, *exclude)
        due = _Due(sql.DUE_EVENTS.format(unless=unless), asked, sql.EVENTS_BEHIND, sql.DEFER_EVENTS, now)
        ids = [row["id"] for row in _free(connection, limit - len(taken), due)]
        if ids:
            run(connection, named(sql.TAKE, ids), until, *ids)
            found = rows(connection, named(sql.TAKEN, ids), *ids)
            taken += each(taken_from, sorted(found, key=lambda row: row["event_id"]), "event", key="event_id")
        if len(taken) >= limit:
            break
    return taken


class _Due(NamedTuple):
    """What finds due rows, and what defers those that wait behind another one of their FIFO group."""

    find: str
    values: tuple[Any, ...]
    behind: str
    defer: str
    now: int


def _free(connection: Connection, limit: int, due: _Due) -> list[Row]:
    """Lock and return due rows that are free; defer those that are blocked (see ADR 0012).

    The transaction that removes the row ahead waits until this one has committed, and then unblocks what is deferred.
    """
    window = limit
    while True:
        found = rows(connection, due.find, *due.values, window)
        ordered = [row["id"] for row in found if row["ordering_key"] is not None]
        blocked = {*_values(connection, due.behind, ordered)} if ordered else set()
        if blocked:
            run(connection, named(due.defer, [*blocked]), due.now, *sorted(blocked))
        free = [row for row in found if row["id"] not in blocked]
        if free or not blocked:
            return free[:limit]
        window = max(limit, WINDOW)


def settle(
    connection: Connection, settlements: Sequence[Settlement], now: int, until: int, worker: str, *, careful: bool
) -> set[str]:
    """Write plans whose fences are right, with what was sent already.

    Args:
        careful: Look for deliveries that are there already; without it only those of later pages are looked for.
    """
    ids = sorted({settlement.event_id for settlement in settlements})
    waiting = {row["event_id"]: row for row in rows(connection, named(sql.PLANNED, ids), *ids)}
    settled = [one for one in settlements if waiting.get(one.event_id, _GONE)["fence"] == one.fence]
    whole = [one.event_id for one in settled if one.cursor is None]
    if whole:
        run(connection, named(sql.PLAN, whole), *whole)
    for settlement in settled:
        if settlement.cursor is not None:
            run(connection, sql.PAGE, settlement.cursor, settlement.event_id)
    planned: list[tuple[NewDelivery, Record | None]] = []
    rest: list[Record] = []
    for settlement in settled:
        its, left = with_records(settlement)
        planned += _unknown(connection, its) if careful or settlement.fence > 1 else its
        rest += left
    failpoint("fan.half")
    _write_plans(connection, planned, now, until, worker)
    groups = {(waiting[id_]["tenant"], waiting[id_]["ordering_key"]) for id_ in whole}
    _unblock(connection, sql.NEXT_EVENT, sql.UNBLOCK_EVENTS, groups, now)
    if any(settlement.records for settlement in settlements):
        record(connection, rest)
    return {settlement.event_id for settlement in settled}


def _write_plans(
    connection: Connection, planned: Iterable[tuple[NewDelivery, Record | None]], now: int, until: int, worker: str
) -> None:
    queue, ended, collected = [], [], []
    for new, sent in planned:
        if new.digest is not None:
            collected.append(new)
        elif sent is not None or new.state in FINAL_STATES:
            ended.append(ended_values(new, now, sent))
        else:
            queue.append(queued_values(new, now, until, worker))
    insert(connection, sql.QUEUE, queue)
    insert(connection, sql.END, ended)
    digests.join(connection, collected, now)


def _unknown(
    connection: Connection, planned: Sequence[tuple[NewDelivery, Record | None]]
) -> list[tuple[NewDelivery, Record | None]]:
    """Return the deliveries that are not there yet; they are of one tenant."""
    known: set[str] = set()
    for at in range(0, len(planned), _AT_ONCE):
        page = [new for new, _ in planned[at : at + _AT_ONCE]]
        ids = [new.id for new in page]
        tenant = page[0].tenant
        known |= {*_values(connection, sql.IN_QUEUE, ids)}
        known |= {*_values(connection, sql.HAS_ENDED, ids, tenant), *_values(connection, sql.IS_COLLECTED, ids, tenant)}
    return [(new, sent) for new, sent in planned if new.id not in known]


def _unblock(
    connection: Connection, following: str, unblock: str, groups: Collection[tuple[str, str | None]], at: int
) -> None:
    """Make the first row of each FIFO group due that a row has left, if it was blocked."""
    ordered = sorted((owner, key) for owner, key in groups if key is not None)
    for start in range(0, len(ordered), _AT_ONCE // 5):
        page = ordered[start : start + _AT_ONCE // 5]
        firsts = " UNION ALL ".join([following] * len(page))
        found = rows(connection, firsts, *(value for group in page for value in group))
        if ids := sorted(row["id"] for row in found if row["id"] is not None):
            run(connection, named(unblock, ids), at, *ids)


# ── deliveries ─────────────────────────────────────────────────────────────────────────────────


class Lease(NamedTuple):
    """What a claim asks for.

    Attributes:
        now: In microseconds since the epoch.
        only: Of these subscribers alone.
        ids: These deliveries alone.
    """

    lane: Lane
    limit: int
    now: int
    until: datetime
    worker: str
    exclude: Collection[str]
    exclude_tenants: Collection[str]
    only: Collection[str] | None
    ids: Collection[str] | None


def claim(connection: Connection, lease: Lease) -> list[Claim]:
    """Lease what is due in one lane."""
    conditions = [
        ("subscriber_id NOT IN", lease.exclude or None),
        ("tenant NOT IN", lease.exclude_tenants or None),
        ("subscriber_id IN", lease.only),
        ("id IN", lease.ids),
    ]
    if any(values is not None and not values for _, values in conditions):  # of none at all
        return []
    find = sql.DUE if lease.ids is None else sql.NAMED
    ids = [row["id"] for row in _free(connection, lease.limit, _due(find, lease.lane, lease.now, conditions))]
    if not ids:
        return []
    run(connection, named(sql.CLAIM, ids), micros(lease.until), lease.worker, *ids)
    found = rows(connection, named(sql.CLAIMED, ids), *ids)
    found.sort(key=lambda row: (row["due_at"], row["id"]))
    claims = each(lambda row: claim_from(row, lease.until), found, "delivery")
    if closing := [claim.delivery_id for claim in claims if claim.digest is not None]:
        digests.close(connection, closing, lease.now)
    return claims


def _due(find: str, lane: Lane, now: int, conditions: Sequence[tuple[str, Collection[str] | None]]) -> _Due:
    given = [(what, sorted(values)) for what, values in conditions if values is not None]
    unless = " ".join(f"AND {what} ({sql.marks(values)})" for what, values in given)
    values = (lane.channel, RANK[lane.priority], now, *(value for _, values in given for value in values))
    return _Due(find.format(unless=unless), values, sql.BEHIND, sql.DEFER, now)


def hand_off(
    connection: Connection,
    lane: Lane,
    limit: int,
    now: int,
    until: int,
    most: Outstanding,
    left_out: tuple[Collection[str], Collection[str]],
) -> list[Ticket]:
    """Hand over what is due in a lane, as far as not too much is out already.

    Args:
        left_out: Subscribers and tenants.
    """
    held = rows(connection, sql.HELD, lane.channel, RANK[lane.priority], now, most.lane)
    limit = min(limit, most.lane - len(held))
    if limit <= 0:
        return []
    subscribers, tenants = Counter(row["subscriber_id"] for row in held), Counter(row["tenant"] for row in held)
    exclude = {*left_out[0], *(name for name, count in subscribers.items() if count >= most.subscriber)}
    exclude_tenants = {*left_out[1], *(name for name, count in tenants.items() if count >= most.tenant)}
    conditions = [("subscriber_id NOT IN", exclude or None), ("tenant NOT IN", exclude_tenants or None)]
    tickets = []
    for row in _free(connection, limit, _due(sql.DUE, lane, now, conditions)):
        tenant, subscriber = row["tenant"], row["subscriber_id"]
        if tenants[tenant] < most.tenant and subscribers[subscriber] < most.subscriber:
            tenants[tenant] += 1
            subscribers[subscriber] += 1
            tickets.append(Ticket(row["id"], lane, tenant, subscriber))
    if ids := [ticket.delivery_id for ticket in tickets]:
        run(connection, named(sql.HOLD, ids), until, *ids)
    return tickets


def channels(connection: Connection) -> list[str]:
    """Return the channels over which deliveries are sent or wait."""
    found: list[str] = []
    while (name := connection.exec_driver_sql(sql.NEXT_CHANNEL, (found[-1] if found else "",)).scalar()) is not None:
        found.append(name)
    return found


def record(connection: Connection, records: Sequence[Record]) -> set[str]:
    """Write results whose fences are right."""
    if not records:
        return set()
    ids = sorted({record.delivery_id for record in records})
    sending = {(row["id"], row["fence"]): row for row in rows(connection, named(sql.SENDING, ids), *ids)}
    written: dict[str, Record] = {}
    for one in records:
        if (one.delivery_id, one.fence) in sending and one.delivery_id not in written:
            written[one.delivery_id] = one
    collected = {id_: one for id_, one in written.items() if one.digest is not None}
    ended = {id_: one for id_, one in written.items() if one.state in FINAL_STATES and id_ not in collected}
    kept = [one for id_, one in written.items() if id_ not in ended and id_ not in collected]
    if leaving := sorted({*ended, *collected}):
        run(connection, named(sql.LEAVE, leaving), *leaving)
    insert(connection, sql.END, [recorded_values(sending[id_, one.fence], one) for id_, one in ended.items()])
    failpoint("res.half")
    _keep(connection, kept)
    left = [(sending[id_, one.fence], one) for id_, one in ended.items()]
    groups = {(row["subscriber_id"], row["ordering_key"]) for row, _ in left}
    _unblock(connection, sql.NEXT_DELIVERY, sql.UNBLOCK, groups, max((micros(one.at) for _, one in left), default=0))
    if events := [one.event for one in written.values() if one.event is not None]:
        append(connection, events, careful=True)
    digests.collect(connection, [(sending[id_, one.fence], one) for id_, one in collected.items()])
    return {*written}


def _keep(connection: Connection, kept: Sequence[Record]) -> None:
    """Write results of deliveries that stay in the queue, with their attempts."""
    for at in range(0, len(kept), _AT_ONCE // 5):
        page = kept[at : at + _AT_ONCE // 5]
        values: list[Any] = []
        for one in page:
            number, tried = (None, 0) if one.attempt is None else (one.attempt.number, 1)
            values += (one.delivery_id, one.state.value, one.reason, micros(one.due_at or one.at), number, tried)
        run(connection, sql.KEEP.format(rows=" UNION ALL ".join([sql.KEPT_ROW] * len(page))), *values)
    tries = [(one.delivery_id, *attempt_values(one.attempt)) for one in kept if one.attempt is not None]
    insert(connection, sql.ATTEMPT, tries)


def extend(connection: Connection, claims: Sequence[tuple[str, int]], until: int) -> set[str]:
    """Prolong leases that are still held."""
    ids = sorted({id_ for id_, _ in claims})
    held = {(row["id"], row["fence"]) for row in rows(connection, named(sql.SENDING, ids), *ids)}
    still = sorted({id_ for id_, fence in claims if (id_, fence) in held})
    if still:
        run(connection, named(sql.EXTEND, still), until, *still)
    return {*still}
