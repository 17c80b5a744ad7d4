"""Endpoints and subscriptions: written once for every database.

Each function works on a SQLAlchemy connection inside a transaction that its caller owns.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, ScalarSelect, Table, and_, delete, func, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ...errors import StaleWriteError
from ...models.delivery import DeliveryState
from ...models.endpoint import Endpoint
from ...models.event import StoredEvent
from ...models.subscription import Subscription, TenantConfig
from . import schema as s
from . import subscription_index, transitions
from .readable import (
    endpoint_from,
    endpoint_values,
    event_from,
    fetch,
    first,
    subscription_from,
    subscription_values,
)

#: Rows that are looked up at a time.
_AT_ONCE = 500


def insert_new(connection: Connection, table: Table, values: dict[str, Any]) -> bool:
    """Insert a row unless there is one with its key; tell whether it was inserted."""
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    return connection.execute(make(table).values(values).on_conflict_do_nothing()).rowcount > 0


def save(connection: Connection, table: Table, values: dict[str, Any], kind: str) -> int:
    """Insert a record of version 0, or replace the one that still has its version; return the new version.

    Raises:
        StaleWriteError: There is none of that version, or one already.
    """
    version = values["version"]
    row = {**values, "version": version + 1}
    if version == 0:
        saved = insert_new(connection, table, row)
    else:
        its = [column == row.pop(column.name) for column in table.primary_key]
        saved = connection.execute(update(table).where(*its, table.c.version == version).values(row)).rowcount > 0
    if not saved:
        raise StaleWriteError(kind, values.get("id") or values["endpoint_id"])
    return int(version) + 1


def touch(connection: Connection, tenant: str) -> None:
    """Raise the tenant's version: caches of its configuration are stale once this commits."""
    done = connection.execute(
        update(s.tenants).where(s.tenants.c.tenant == tenant).values(version=s.tenants.c.version + 1)
    )
    if done.rowcount == 0:
        make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        first: Any = make(s.tenants).values(tenant=tenant, version=1)
        connection.execute(
            first.on_conflict_do_update(index_elements=["tenant"], set_={"version": s.tenants.c.version + 1})
        )


def save_endpoint(connection: Connection, endpoint: Endpoint) -> int:
    """Insert or replace an endpoint; return its new version."""
    version = save(connection, s.endpoints, endpoint_values(endpoint), "endpoint")
    touch(connection, endpoint.tenant)
    return version


def get_endpoint(connection: Connection, tenant: str, endpoint_id: str) -> Endpoint | None:
    """Return one endpoint."""
    where = (s.endpoints.c.tenant == tenant, s.endpoints.c.id == endpoint_id)
    row = first(connection, select(s.endpoints).where(*where))
    return None if row is None else endpoint_from(row)


def find_endpoints(connection: Connection, tenant: str, limit: int, after: str | None) -> list[Endpoint]:
    """Return a page of endpoints in the order of their ids."""
    query = select(s.endpoints).where(s.endpoints.c.tenant == tenant, s.endpoints.c.id > (after or ""))
    return [endpoint_from(row) for row in fetch(connection, query.order_by(s.endpoints.c.id).limit(limit))]


def remove_endpoint(connection: Connection, tenant: str, endpoint_id: str, now: datetime) -> bool:
    """Remove an endpoint, its subscriptions and what waits for it."""
    gone = connection.execute(
        delete(s.endpoints).where(s.endpoints.c.tenant == tenant, s.endpoints.c.id == endpoint_id)
    )
    if gone.rowcount == 0:
        return False
    touch(connection, tenant)  # locks the tenant before its subscriptions, as every writer does
    wishes = connection.execute(
        delete(s.subscriptions)
        .where(s.subscriptions.c.tenant == tenant, s.subscriptions.c.subscriber_id == endpoint_id)
        .returning(s.subscriptions)
    )
    subscription_index.replace(connection, map(subscription_from, wishes.mappings().all()), ())
    for table in (s.circuits, s.buckets):
        connection.execute(delete(table).where(table.c.endpoint_id == endpoint_id, table.c.tenant == tenant))
    waits = and_(s.queue.c.tenant == tenant, s.queue.c.subscriber_id == endpoint_id)
    transitions.end(connection, waits, DeliveryState.CANCELLED, "endpoint_deleted", now)
    return True


def save_subscription(connection: Connection, subscription: Subscription) -> int:
    """Insert or replace a subscription; return its new version."""
    touch(connection, subscription.tenant)  # a lock: no other process changes the tenant's subscriptions until the end
    old = get_subscription(connection, subscription.tenant, subscription.id)
    version = save(connection, s.subscriptions, subscription_values(subscription), "subscription")
    subscription_index.replace(connection, () if old is None else (old,), (subscription,))
    return version


def get_subscription(connection: Connection, tenant: str, subscription_id: str) -> Subscription | None:
    """Return one subscription."""
    where = (s.subscriptions.c.tenant == tenant, s.subscriptions.c.id == subscription_id)
    row = first(connection, select(s.subscriptions).where(*where))
    return None if row is None else subscription_from(row)


def find_subscriptions(
    connection: Connection, tenant: str, subscriber_id: str | None, limit: int, after: str | None
) -> list[Subscription]:
    """Return a page of subscriptions in the order of their ids."""
    query = select(s.subscriptions).where(s.subscriptions.c.tenant == tenant, s.subscriptions.c.id > (after or ""))
    if subscriber_id is not None:
        query = query.where(s.subscriptions.c.subscriber_id == subscriber_id)
    page = fetch(connection, query.order_by(s.subscriptions.c.id).limit(limit))
    return [subscription_from(row) for row in page]


def remove_subscription(connection: Connection, tenant: str, subscription_id: str) -> bool:
    """Remove one subscription."""
    if get_subscription(connection, tenant, subscription_id) is None:
        return False
    touch(connection, tenant)
    old = get_subscription(connection, tenant, subscription_id)
    if old is None:  # another process removed it before the tenant was locked
        return False
    where = (s.subscriptions.c.tenant == tenant, s.subscriptions.c.id == subscription_id)
    connection.execute(delete(s.subscriptions).where(*where))
    subscription_index.replace(connection, (old,), ())
    return True


def load_tenant(connection: Connection, tenant: str) -> TenantConfig:
    """Return a tenant's configuration."""
    # The version first: rows newer than it only mean one reload more.
    version = connection.scalar(select(s.tenants.c.version).where(s.tenants.c.tenant == tenant)) or 0
    endpoints = fetch(connection, select(s.endpoints).where(s.endpoints.c.tenant == tenant))
    found = tuple(endpoint_from(row) for row in endpoints)
    subscriptions = fetch(
        connection, select(s.subscriptions).where(s.subscriptions.c.tenant == tenant).order_by(s.subscriptions.c.id)
    )
    return TenantConfig(tenant, version, found, tuple(subscription_from(row) for row in subscriptions))


def load_small_tenant(connection: Connection, tenant: str, most: int) -> TenantConfig | None:
    """Return a tenant's configuration, unless it has more than so many endpoints or subscriptions."""

    def count(table: Table) -> ScalarSelect[int]:
        some = select(literal(1)).select_from(table).where(table.c.tenant == tenant).limit(most + 1).subquery()
        return select(func.count()).select_from(some).scalar_subquery()

    counts = connection.execute(select(count(s.endpoints), count(s.subscriptions))).one()
    return None if max(counts) > most else load_tenant(connection, tenant)


def pick_endpoints(connection: Connection, tenant: str, endpoint_ids: Collection[str]) -> list[Endpoint]:
    """Return endpoints by their ids."""
    ids = sorted({*endpoint_ids})
    found: list[Endpoint] = []
    for at in range(0, len(ids), _AT_ONCE):
        where = (s.endpoints.c.tenant == tenant, s.endpoints.c.id.in_(ids[at : at + _AT_ONCE]))
        found += [endpoint_from(row) for row in fetch(connection, select(s.endpoints).where(*where))]
    return found


def tenants(connection: Connection) -> list[str]:
    """Return the tenants that have or had a configuration."""
    return list(connection.scalars(select(s.tenants.c.tenant).order_by(s.tenants.c.tenant)))


def get_event(connection: Connection, tenant: str, event_id: str) -> StoredEvent | None:
    """Return one event."""
    where = (s.events.c.tenant == tenant, s.events.c.id == event_id)
    row = first(connection, select(s.events).where(*where))
    return None if row is None else event_from(row)


def find_events(
    connection: Connection, tenant: str, type_: str | None, limit: int, before: str | None
) -> list[StoredEvent]:
    """Return a page of events, newest first."""
    query = select(s.events).where(s.events.c.tenant == tenant)
    if type_ is not None:
        query = query.where(s.events.c.type == type_)
    if before is not None:
        query = query.where(s.events.c.id < before)
    return [event_from(row) for row in fetch(connection, query.order_by(s.events.c.id.desc()).limit(limit))]


def is_planned(connection: Connection, tenant: str, event_id: str) -> bool:
    """Tell whether the event has left the outbox."""
    where = (s.outbox.c.event_id == event_id, s.outbox.c.tenant == tenant)
    return connection.execute(select(s.outbox.c.event_id).where(*where)).first() is None
