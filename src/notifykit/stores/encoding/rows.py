"""Rows of events, deliveries and attempts: their columns, to values and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from operator import itemgetter
from typing import Any, Protocol

from ...models.delivery import (
    FINAL_STATES,
    NO_DETAILS,
    Attempt,
    Claim,
    Delivery,
    DeliveryState,
    EventDetails,
    NewDelivery,
    Priority,
)
from ...models.event import StoredEvent, TakenEvent
from ...ports import Record, Settlement


class NamedRow(Protocol):
    """A row whose columns are read by name, of whichever driver."""

    def __getitem__(self, name: str, /) -> Any: ...


class Row(NamedRow, Protocol):
    """A row of SQLAlchemy, or values by the names of its columns."""

    def keys(self) -> Iterable[str]: ...

    def values(self) -> Iterable[Any]: ...


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICRO = timedelta(microseconds=1)
_MILLION = 1_000_000
#: The first and the last instant that Python knows, less a day, so that a duration can be added.
_EARLIEST, _LATEST = -62_135_510_400_000_000, 253_402_214_400_000_000
PRIORITIES = (Priority.HIGH, Priority.NORMAL, Priority.LOW)
RANK = {priority: rank for rank, priority in enumerate(PRIORITIES)}
#: Microseconds until a blocked row is read again although nothing has unblocked it: soon the
#: first time, since the row in front may have ended at that moment, and rarely from then on.  Each is
#: stretched by up to itself, so that rows that were deferred together do not become due together.
FIRST_RECHECK, LATER_RECHECK = 2_000_000, 300_000_000
#: Rows that are deferred at once when there was nothing else to hand out.
WINDOW = 1000


def micros(instant: datetime) -> int:
    """Return the microseconds since the epoch."""
    return (instant - EPOCH) // MICRO


def micros_or_none(instant: datetime | None) -> int | None:
    """Return the microseconds since the epoch, if there is an instant."""
    return None if instant is None else (instant - EPOCH) // MICRO


def instant(value: int) -> datetime:
    """Return the instant ``value`` microseconds after the epoch."""
    return EPOCH + value * MICRO


def instant_or_none(value: int | None) -> datetime | None:
    """Return the instant, if there is one."""
    return None if value is None else EPOCH + value * MICRO


def due_or_none(value: Any) -> datetime | None:
    """Return when something is due; for a time out of range (a damaged row) the nearest instant, or none."""
    return instant(min(max(value, _EARLIEST), _LATEST)) if isinstance(value, int) else None


def event_values(event: StoredEvent) -> tuple[Any, ...]:
    """Return the columns of ``events`` in the order of :data:`EVENT_COLUMNS`."""
    published_at = micros(event.published_at)
    return (
        *event[:8],
        # most events happen, and are due, as they are published
        published_at if event.occurred_at is event.published_at else micros(event.occurred_at),
        published_at,
        published_at if event.due_at is event.published_at else micros(event.due_at),
        micros_or_none(event.expires_at),
        RANK[event.priority],
        *event[13:],
    )


#: The fields of an event are its columns.
EVENT_COLUMNS = StoredEvent._fields


def in_key_order(events: Sequence[StoredEvent]) -> Sequence[StoredEvent]:
    """Return ``events`` so that two writers with the same idempotency keys never wait for each other."""
    if len(events) == 1 or not any(event.idempotency_key for event in events):
        return events
    return sorted(events, key=lambda event: (event.tenant, event.idempotency_key or ""))


def event_from(row: Row) -> StoredEvent:
    """Return the event of a row of ``events``."""
    return StoredEvent(
        id=row["id"],
        tenant=row["tenant"],
        type=row["type"],
        version=row["version"],
        topic=row["topic"],
        resource_kind=row["resource_kind"],
        resource_id=row["resource_id"],
        actor=row["actor"],
        occurred_at=instant(row["occurred_at"]),
        published_at=instant(row["published_at"]),
        due_at=instant(row["due_at"]),
        expires_at=instant_or_none(row["expires_at"]),
        priority=PRIORITIES[row["priority"]],
        ordering_key=row["ordering_key"],
        idempotency_key=row["idempotency_key"],
        fingerprint=row["fingerprint"],
        trace=row["trace"],
        metadata=row["metadata"],
        body=bytes(row["body"]),
        category=row["category"],
        purpose=row["purpose"],
        audience=row["audience"],
    )


#: The fields of :class:`EventDetails`, of ``events`` (e).
DETAIL_COLUMNS = ", ".join(f"e.{name}" for name in EventDetails._fields)
_DETAILS = itemgetter(*EventDetails._fields)


def details_from(row: NamedRow) -> EventDetails:
    """Return what an event says of itself; most say nothing, and share one value: this is done for each row."""
    values = _DETAILS(row)
    return NO_DETAILS if values == NO_DETAILS else EventDetails._make(values)


#: What :func:`taken_from` reads of a row, at one go: this is done for each event.
_TAKEN = itemgetter(
    "event_id", "fence", "tenant", "type", "topic", "priority", "ordering_key", "published_at", "expires_at", "body",
    "cursor", "version", "audience",
)  # fmt: skip


def taken_from(row: NamedRow) -> TakenEvent:
    """Return the taken event of a row with the columns of :data:`TAKEN_COLUMNS`."""
    id_, fence, tenant, type_, topic, rank, ordering_key, published_at, expires_at, body, cursor, version, audience = (
        _TAKEN(row)
    )
    if type(body) is not bytes:
        raise TypeError("body")
    return TakenEvent(
        id_,
        fence,
        tenant,
        type_,
        topic,
        PRIORITIES[rank],
        ordering_key,
        EPOCH + published_at * MICRO,
        None if expires_at is None else EPOCH + expires_at * MICRO,
        body,
        cursor,
        version or 0,
        details_from(row),
        audience,
    )


#: Of ``outbox`` (o), ``events`` (e) and ``tenants`` (t); see :func:`taken_from`.
TAKEN_COLUMNS = (
    "o.event_id, o.fence, o.tenant, e.type, e.priority, e.ordering_key, e.published_at, e.expires_at,"
    f" e.body, o.cursor, t.version, e.audience, {DETAIL_COLUMNS}"
)


def planned_values(new: NewDelivery) -> tuple[Any, ...]:
    """Return the columns of a planned delivery from ``id`` to ``priority``, which its first fields are."""
    return (*new[:6], RANK[new.priority])


def ended_by(settlement: Settlement) -> dict[str, Record]:
    """Return the records that are written with the plan, of deliveries that have ended, by the delivery's id."""
    return {r.delivery_id: r for r in settlement.records if r.state in FINAL_STATES and r.event is None}


def with_records(settlement: Settlement) -> tuple[list[tuple[NewDelivery, Record | None]], list[Record]]:
    """Return planned deliveries, each with the record that has ended it already, and the records left to write."""
    _, _, deliveries, _, records = settlement
    if not records:
        return [(new, None) for new in deliveries], []
    if len(deliveries) == len(records) == 1 and records[0].state in FINAL_STATES and records[0].event is None:
        return [(deliveries[0], records[0])], []
    ended = ended_by(settlement)
    left = [record for record in records if record.delivery_id not in ended]
    leased = {record.delivery_id for record in left}
    return [
        (new._replace(state=DeliveryState.SENDING) if new.id in leased else new, ended.get(new.id))
        for new in deliveries
    ], left


def leaves_work(settlements: Sequence[Settlement]) -> bool:
    """Tell whether settlements leave work that is due: a page, or a delivery that its planner does not send."""
    for settlement in settlements:
        if settlement.cursor is not None:
            return True
        pending = [new.id for new in settlement.deliveries if new.state is DeliveryState.PENDING]
        if pending and not ended_by(settlement).keys() >= {*pending}:
            return True
    return False


def delivery_from(row: Row) -> Delivery:
    """Return the delivery of a row of ``queue`` or ``deliveries`` (with its event's type beside it)."""
    return Delivery(
        id=row["id"],
        event_id=row["event_id"],
        event_type=row["event_type"] or "",
        tenant=row["tenant"],
        subscription_id=row["subscription_id"],
        subscriber_id=row["subscriber_id"],
        channel=row["channel"],
        priority=PRIORITIES[row["priority"]],
        state=DeliveryState(row["state"]),
        reason=row["reason"],
        attempts=row["attempts"],
        abandoned=row["abandoned"],
        generation=row["generation"],
        ordering_key=row["ordering_key"],
        created_at=instant(row["created_at"]),
        due_at=instant_or_none(row["due_at"]),
        expires_at=instant_or_none(row["expires_at"]),
        finished_at=instant_or_none(row["finished_at"]),
        address=row["address"],
        digest=row["digest"],
        receipt=row["receipt"],
    )


def claim_from(row: NamedRow, lease_until: datetime) -> Claim:
    """Return the claim of a row with the columns of :data:`CLAIM_COLUMNS`."""
    if type(row["body"]) is not bytes:
        raise TypeError("body")
    return Claim(
        row["id"],
        row["fence"],
        row["attempts"] + 1,
        row["tries"],
        row["abandoned"],
        row["tenant"],
        row["event_id"],
        row["type"],
        row["subscription_id"],
        row["subscriber_id"],
        row["channel"],
        PRIORITIES[row["priority"]],
        row["ordering_key"],
        instant(row["published_at"]),
        instant_or_none(row["expires_at"]),
        lease_until,
        row["body"],
        row["version"] or 0,
        row["address"],
        details_from(row),
        row["digest"],
    )


#: Of ``queue`` (q), ``events`` (e) and ``tenants`` (t); see :func:`claim_from`.
CLAIM_COLUMNS = (
    "q.id, q.fence, q.attempts, q.tries, q.abandoned, q.tenant, q.event_id, e.type, q.subscription_id, "
    "q.subscriber_id, q.channel, q.priority, q.ordering_key, e.published_at, q.expires_at, e.body, t.version, "
    f"q.address, q.digest, {DETAIL_COLUMNS}"
)


def attempt_values(attempt: Attempt) -> tuple[Any, ...]:
    """Return what the databases keep of an attempt: number, start, time taken, outcome, reason, status, and so on."""
    return (
        attempt.number,
        micros(attempt.started_at),
        attempt.took // MICRO,
        attempt.outcome,
        attempt.reason,
        attempt.status,
        micros_or_none(attempt.retry_at),
        attempt.response or None,
        attempt.worker,
        attempt.reference,
        attempt.account,
        millionths(attempt.cost),
    )


def last_values(attempt: Attempt | None) -> tuple[Any, ...]:
    """Return what a delivery keeps of the attempt that ended it: number, start, and so on, and no time of a retry."""
    if attempt is None:
        return (None,) * 11
    values = attempt_values(attempt)
    return values[:6] + values[7:]


def last_attempt_values(row: Row) -> dict[str, Any]:
    """Return the last attempt of a row of ``deliveries`` as a row of ``attempts``."""
    last = {
        name: row[f"last_{name}"]
        for name in ("started_at", "took", "outcome", "reason", "status", "response", "worker")
    }
    return {
        "delivery_id": row["id"],
        "number": row["attempts"],
        **last,
        "retry_at": None,
        "reference": row["last_reference"],
        "account": row["last_account"],
        "cost": row["last_cost"],
    }


def attempt_from(row: Row) -> Attempt:
    """Return the attempt of a row of ``attempts``."""
    return Attempt(
        delivery_id=row["delivery_id"],
        number=row["number"],
        started_at=instant(row["started_at"]),
        took=timedelta(microseconds=row["took"]),
        outcome=row["outcome"],
        reason=row["reason"],
        status=row["status"],
        retry_at=instant_or_none(row["retry_at"]),
        response=bytes(row["response"] or b""),
        worker=row["worker"] or "",
        reference=row["reference"],
        account=row["account"],
        cost=None if row["cost"] is None else Decimal(row["cost"]) / _MILLION,
    )


def millionths(cost: Decimal | None) -> int | None:
    """Return a cost as it is stored."""
    return None if cost is None else round(cost * _MILLION)
