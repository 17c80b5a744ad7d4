"""Fill a store with what a year of use would leave in it, in seconds: past the public API.

Only the data around a measurement is made here; what is measured always goes through the public API.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import attrs
from sqlalchemy import insert, text

from notifykit import RetryPolicy
from notifykit.models.endpoint import Endpoint, EndpointSecret
from notifykit.models.ids import ENDPOINT, SUBSCRIPTION, new_id
from notifykit.models.recipient import Recipient, RecipientAddress
from notifykit.models.subscription import PEOPLE, Subscription
from notifykit.signing import generate_secret
from notifykit.stores import store_from_url
from notifykit.stores.encoding.config_rows import endpoint_values, subscription_values
from notifykit.stores.encoding.encryption import secret_context
from notifykit.stores.encoding.recipient_rows import recipient_values
from notifykit.stores.encoding.rows import micros
from notifykit.stores.sql import schema as s
from notifykit.stores.sql.subscription_index import index_rows_of
from notifykit.stores.sql.vault import vault_for

from .stores import Database

#: Rows of one statement.
_CHUNK = 250_000
#: The content of old events; their size makes no difference to what is measured.
_BODY = json.dumps({"type": "order.t0", "data": {"order_id": "A-1", "note": "long ago " * 12}}).encode()
#: Subscriptions that are compared with an event and do not match, however many others there are.
_NEAR = 20
_MONTH = 29 * 24 * 3600 * 1_000_000  # within the default retention: nothing is cleaned up while it is measured


@attrs.frozen(kw_only=True)
class Planned:
    """An endpoint to be made, or another subscription of the one before.

    Attributes:
        url: ``None`` for a further subscription.
    """

    url: str | None
    types: str
    filter: Mapping[str, Any] | None = None


def subscribers(
    lent: Database, tenant: str, plans: Iterable[Planned], *, retry: RetryPolicy, max_in_flight: int = 384
) -> None:
    """Make endpoints and subscriptions; call it once for a tenant, before the first worker reads."""
    if lent.kind == "redis":
        asyncio.run(_save_subscribers(lent.url, tenant, plans, retry, max_in_flight))
        return
    ring = vault_for(lent.url, None, None).ring
    now = datetime.now(UTC)
    template = Endpoint(
        id="", tenant=tenant, url="", retry=retry, max_in_flight=max_in_flight, created_at=now, updated_at=now
    )
    columns = endpoint_values(template)
    endpoint_id = ""
    rest = iter(plans)
    with lent.engine().begin() as connection:
        connection.execute(insert(s.tenants).values(tenant=tenant, version=1))
        while batch := list(islice(rest, 10_000)):
            endpoints, subscriptions, subscription_index = [], [], []
            for planned in batch:
                if planned.url is not None:
                    endpoint_id = new_id(ENDPOINT)
                    encrypted = ring.encrypt(generate_secret().encode(), context=secret_context(tenant, endpoint_id))
                    kept = json.dumps([[encrypted, micros(now), None]])
                    endpoints.append({**columns, "id": endpoint_id, "url": planned.url, "secrets": kept})
                subscription = _subscription(tenant, endpoint_id, planned, now)
                subscriptions.append(subscription_values(subscription))
                subscription_index += index_rows_of(subscription)
            if endpoints:
                connection.execute(insert(s.endpoints), endpoints)
            connection.execute(insert(s.subscriptions), subscriptions)
            connection.execute(insert(s.subscription_index), subscription_index)
    _tidy(lent, "notifykit_endpoints", "notifykit_subscriptions", "notifykit_subscription_index")


async def _save_subscribers(
    url: str, tenant: str, plans: Iterable[Planned], retry: RetryPolicy, max_in_flight: int
) -> None:
    """Make endpoints and subscriptions through the store's own verbs."""
    now, endpoint_id = datetime.now(UTC), ""
    store = store_from_url(url)
    await store.open()
    try:
        rest = iter(plans)
        while batch := list(islice(rest, 1000)):
            endpoints, subscriptions = [], []
            for planned in batch:
                if planned.url is not None:
                    endpoint_id = new_id(ENDPOINT)
                    secret = EndpointSecret(value=generate_secret(), created_at=now)
                    endpoints.append(
                        Endpoint(
                            id=endpoint_id, tenant=tenant, url=planned.url, retry=retry, max_in_flight=max_in_flight,
                            secrets=(secret,), created_at=now, updated_at=now,
                        )
                    )  # fmt: skip
                subscriptions.append(_subscription(tenant, endpoint_id, planned, now))
            await store.save_many(endpoints)
            await store.save_many(subscriptions)
    finally:
        await store.aclose()


def _subscription(tenant: str, endpoint_id: str, planned: Planned, now: datetime) -> Subscription:
    return Subscription(
        id=new_id(SUBSCRIPTION),
        tenant=tenant,
        event_types=(planned.types,),
        subscriber_id=endpoint_id,
        filter=planned.filter,
        created_at=now,
        updated_at=now,
    )


def recipients(lent: Database, tenant: str, count: int, *, subscribed: str | None = None) -> None:
    """Make the recipients ``user:1`` to ``user:COUNT``, with a mailbox each.

    Args:
        subscribed: A pattern of event types that all of them are subscribed to.
    """
    now = datetime.now(UTC)
    one = Recipient(
        id="user:NNN",
        tenant=tenant,
        name="Ada Lovelace",
        locale="en-GB",
        zone="Europe/London",
        traits={"plan": "pro"},
        addresses=(RecipientAddress(channel="email", address="NNN@example.org"),),
        created_at=now,
        updated_at=now,
        version=1,
    )
    rows: list[tuple[str, Mapping[str, Any]]] = [("notifykit_recipients", recipient_values(one))]
    if subscribed is not None:
        its = Subscription(
            id="sub_00H0000WWW",
            tenant=tenant,
            event_types=(subscribed,),
            subscriber_id="user:NNN",
            channel=PEOPLE,
            created_at=now,
            updated_at=now,
            version=1,
        )
        rows.append(("notifykit_subscriptions", subscription_values(its)))
        rows += [("notifykit_subscription_index", row) for row in index_rows_of(its)]
    with lent.engine().begin() as connection:
        connection.execute(insert(s.tenants).values(tenant=tenant, version=1))
        for table, values in rows:
            given = {name: value for name, value in values.items() if value is not None}
            copied = ", ".join(_numbered(name, value) for name, value in given.items())
            connection.execute(
                text(f"{_SERIES}INSERT INTO {table} ({', '.join(given)}) SELECT {copied} FROM series"),
                {"first": 1, "last": count, **given},
            )
    _tidy(lent, *{table for table, _ in rows})


def _numbered(name: str, value: object) -> str:
    """Return a bound value; in a text the number of the row replaces ``NNN``, and with nineteen digits ``WWW``."""
    if not isinstance(value, str):
        return f":{name}"
    return f"REPLACE(REPLACE(CAST(:{name} AS TEXT), 'WWW', w), 'NNN', CAST(n AS TEXT))"


def unmatched(count: int) -> Iterator[Planned]:
    """Yield subscriptions of one endpoint that no ``order.t…`` event matches.

    Of each three, one names a type, one a pattern and one a type with a filter.  The first
    few name the event's own type, and only their filters exclude it.
    """
    unmatching = {"customer": {"name": ["nobody"]}}
    for at in range(count):
        if at < _NEAR:
            yield Planned(url=None, types="order.**", filter=unmatching)
        elif at % 3 == 0:
            yield Planned(url=None, types=f"invoice.i{at}")
        elif at % 3 == 1:
            yield Planned(url=None, types=f"stock{at // 30}.**")
        else:
            yield Planned(url=None, types=f"order.s{at // 30}", filter=unmatching)


def history(lent: Database, tenant: str, rows: int) -> None:
    """Make ``rows`` events of the last month that were delivered at the first attempt."""
    started = micros(datetime.now(UTC)) - _MONTH
    for first in range(1, rows + 1, _CHUNK):
        _fill(
            lent,
            first,
            min(first + _CHUNK - 1, rows),
            (_OLD_EVENTS, _OLD_DELIVERIES),
            tenant=tenant,
            started=started,
            step=_MONTH // rows,
        )
    _tidy(lent, "notifykit_events", "notifykit_deliveries")


def backlog(lent: Database, rows: int) -> None:
    """Make ``rows`` copies of the one event that was published, all waiting to be planned."""
    for first in range(1, rows + 1, _CHUNK):
        _fill(lent, first, min(first + _CHUNK - 1, rows), (_COPIES, _WAITING))
    _tidy(lent, "notifykit_events", "notifykit_outbox")


def _fill(lent: Database, first: int, last: int, statements: Sequence[str], **binds: Any) -> None:
    blob = "BLOB" if lent.kind == "sqlite" else "BYTEA"
    given = {"first": first, "last": last, "body": _BODY, **binds}
    with lent.engine().begin() as connection:
        for statement in statements:
            whole = text(_SERIES + statement.replace("BLOB", blob))
            connection.execute(whole, {name: given[name] for name in whole.compile().params})


def _tidy(lent: Database, *tables: str) -> None:
    """Do now what the database would otherwise do in the middle of the measurement."""
    with lent.engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if lent.kind == "sqlite":
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
        elif lent.kind == "mysql":
            connection.execute(text(f"ANALYZE TABLE {', '.join(tables)}"))
        else:
            connection.execute(text(f"VACUUM (ANALYZE) {', '.join(tables)}"))
            connection.execute(text("CHECKPOINT"))


#: ``(n)`` counts from ``first`` to ``last``; ``(w)`` is ``n`` with nineteen digits.
_SERIES = """
WITH RECURSIVE counted(n) AS (
  SELECT CAST(:first AS BIGINT) UNION ALL SELECT n + 1 FROM counted WHERE n < CAST(:last AS BIGINT)
), series(n, w) AS (SELECT n, CAST(1000000000000000000 + n AS TEXT) FROM counted)
"""
_AT = "CAST(:started AS BIGINT) + n * CAST(:step AS BIGINT)"
_OLD_EVENTS = f"""
INSERT INTO notifykit_events (tenant, id, type, version, occurred_at, published_at, due_at, priority, body)
SELECT CAST(:tenant AS TEXT), 'evt_00H0000' || w, 'order.t0', 1, {_AT}, {_AT}, {_AT}, 1, CAST(:body AS BLOB) FROM series
"""
_OLD_DELIVERIES = f"""
INSERT INTO notifykit_deliveries (tenant, id, event_id, subscription_id, subscriber_id, channel, priority, state,
  attempts, abandoned, generation, fence, created_at, finished_at, last_started_at, last_took, last_outcome,
  last_status, last_worker)
SELECT CAST(:tenant AS TEXT), 'dlv_00H0000' || w || '0123456789ABC', 'evt_00H0000' || w,
  'sub_00H00000000000000000000000', 'end_00H00000000000000000000' || CAST(100 + n % 200 AS TEXT), 'webhook', 1,
  'delivered', 1, 0, 0, 1, {_AT}, {_AT} + 4000, {_AT} + 1000, 3000, 'accepted', 204, 'long-gone' FROM series
"""
_COPIES = """
INSERT INTO notifykit_events (tenant, id, type, version, occurred_at, published_at, due_at, priority, body)
SELECT tenant, 'evt_00P0000' || w, type, version, occurred_at, published_at, due_at, priority, body
FROM (SELECT * FROM notifykit_events WHERE id > 'evt_01' LIMIT 1) one CROSS JOIN series
"""
_WAITING = """
INSERT INTO notifykit_outbox (event_id, tenant, priority, due_at)
SELECT 'evt_00P0000' || w, one.tenant, one.priority, one.due_at
FROM (SELECT * FROM notifykit_events WHERE id > 'evt_01' LIMIT 1) one CROSS JOIN series
"""
#: How soon a refused attempt is made again in these measurements.
SOON = RetryPolicy(delays=(timedelta(milliseconds=200),) * 5)
NEVER = RetryPolicy(delays=())
