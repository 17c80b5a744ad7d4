"""Erasing a person: everything that the tables say of them, in one transaction."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, or_, select, update

from ...codec import dumps
from ...models.event import OPERATIONAL
from ...models.throttle import buckets_of
from ...policies.admit import body_without_data
from ..encoding.rows import instant
from . import schema as s
from .reading import of_event
from .records import remove_subscriptions, touch
from .transitions import drop_unplanned
from .writing import delete_returning

_DELIVERIES = (s.queue, s.deliveries)
#: Rows that are looked up by one statement.
_PAGE = 500


def erase(connection: Connection, tenant: str, recipient_id: str, now: datetime) -> int:
    """Delete what is a person's, and take the person out of what is others', too; return how many rows."""
    touch(connection, tenant)  # planners must not match the subscriptions any more
    count = remove_subscriptions(connection, tenant, recipient_id)
    record = and_(s.recipients.c.tenant == tenant, s.recipients.c.id == recipient_id)
    count += connection.execute(delete(s.recipients).where(record)).rowcount
    prefix = buckets_of(recipient_id)
    key = s.buckets.c.endpoint_id
    theirs = or_(key == recipient_id, and_(key > prefix, key < prefix + "~"))
    count += connection.execute(delete(s.buckets).where(s.buckets.c.tenant == tenant, theirs)).rowcount
    for table in _DELIVERIES:
        count += _delete_deliveries(connection, table, tenant, recipient_id)
    for event_id, audience in _addressed(connection, tenant, recipient_id):
        count += _take_out(connection, tenant, event_id, recipient_id, audience, now)
    caused = and_(s.events.c.tenant == tenant, s.events.c.actor == recipient_id)
    _empty_operational(connection, tenant, caused)
    return count + connection.execute(update(s.events).where(caused).values(actor=None)).rowcount


def _empty_operational(connection: Connection, tenant: str, caused: ColumnElement[bool]) -> None:
    """Take their data out of operational events: the person is named there."""
    its = s.events.c
    found = select(its.id, its.type, its.occurred_at).where(caused, its.topic == OPERATIONAL)
    for row in connection.execute(found).all():
        event = and_(its.tenant == tenant, its.id == row.id)
        body = body_without_data(row.type, instant(row.occurred_at))
        connection.execute(update(s.events).where(event).values(body=body))


def _delete_deliveries(connection: Connection, table: Table, tenant: str, recipient_id: str) -> int:
    """Delete deliveries and then what belongs to them, to which a worker may have added something until now."""
    its = and_(table.c.tenant == tenant, table.c.subscriber_id == recipient_id)
    gone = [row["id"] for row in delete_returning(connection, table, its)]
    count = len(gone)
    for at in range(0, len(gone), _PAGE):
        ids = gone[at : at + _PAGE]
        statements = (
            delete(s.attempts).where(s.attempts.c.delivery_id.in_(ids)),
            delete(s.receipts).where(s.receipts.c.tenant == tenant, s.receipts.c.delivery_id.in_(ids)),
            delete(s.digest_items).where(s.digest_items.c.tenant == tenant, s.digest_items.c.digest_id.in_(ids)),
            delete(s.digests).where(s.digests.c.tenant == tenant, s.digests.c.id.in_(ids)),
        )
        count += sum(connection.execute(statement).rowcount for statement in statements)
    return count


def _addressed(connection: Connection, tenant: str, recipient_id: str) -> Iterator[tuple[str, str]]:
    """Yield ids and audiences of the events that name the recipient."""
    named = s.events.c.audience.contains(dumps(recipient_id).decode(), autoescape=True)
    last = ""
    while True:
        query = select(s.events.c.id, s.events.c.audience).where(
            s.events.c.tenant == tenant, s.events.c.id > last, named
        )
        found = connection.execute(query.order_by(s.events.c.id).limit(_PAGE)).all()
        for row in found:
            yield row.id, row.audience
        if len(found) < _PAGE:
            return
        last = found[-1].id


def _take_out(
    connection: Connection, tenant: str, event_id: str, recipient_id: str, audience: str, now: datetime
) -> int:
    """Take a recipient out of an event's audience, or delete the event; planners that have it must take it again."""
    event = and_(s.events.c.tenant == tenant, s.events.c.id == event_id)
    outbox = and_(s.outbox.c.tenant == tenant, s.outbox.c.event_id == event_id)
    fields = json.loads(audience)
    named = fields.get("to", ())
    others = [each for each in named if each != recipient_id]
    if len(others) == len(named):  # only something that looks like the id
        return 0
    if others or _has_deliveries(connection, tenant, event_id):
        left = dumps({**fields, "to": others}).decode() if others else None
        connection.execute(update(s.outbox).where(outbox).values(fence=s.outbox.c.fence + 1, taken_until=None))
        return connection.execute(update(s.events).where(event).values(audience=left)).rowcount
    drop_unplanned(connection, tenant, s.outbox.c.event_id == event_id, now)
    return connection.execute(delete(s.events).where(event)).rowcount


def _has_deliveries(connection: Connection, tenant: str, event_id: str) -> bool:
    its = or_(
        *(
            select(table.c.id).where(table.c.tenant == tenant, of_event(table, s.events.c.id)).exists()
            for table in (*_DELIVERIES, s.digest_items)
        )
    )
    found = select(s.events.c.id).where(s.events.c.tenant == tenant, s.events.c.id == event_id, its)
    return connection.execute(found).first() is not None
