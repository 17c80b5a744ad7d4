"""The tables.  Migrations (``migrations/``) build the same ones, and a test holds the two together.

Instants are microseconds since 1970-01-01 UTC in a ``BIGINT``: exact, ordered and
the same on every database (``to_timestamp(due_at / 1e6)`` reads one on PostgreSQL).

These tables carry a delivery through its life:

``outbox``      a narrow row beside each event that is not planned yet;
``queue``       a narrow row for each open delivery, the only one that claims touch;
``deliveries``  a row for each ended delivery, written once.

Rows move from table to table within one transaction.  Deleting a narrow row bloats
a table less than updating a wide one, and history of any size leaves the queue small
(see ADR 0002).
"""

from __future__ import annotations

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    event,
    false,
    text,
    true,
)
from sqlalchemy.dialects import postgresql

#: Ids and keys compare bytewise: cheaper than a locale's order, and the same on every database.
Key = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

metadata = MetaData()


def _on_postgresql(table: Table, change: str) -> None:
    """Alter a table on PostgreSQL as soon as it is made (SQLAlchemy 2.0 has no option for storage parameters)."""
    statement = DDL(f"ALTER TABLE {table.name} {change}")  # type: ignore[no-untyped-call]
    event.listen(table, "after_create", statement.execute_if(dialect="postgresql"))


events = Table(
    "notifykit_events",
    metadata,
    Column("tenant", Key, primary_key=True),
    Column("id", Key, primary_key=True),
    Column("type", Text, nullable=False),
    Column("version", SmallInteger, nullable=False),
    Column("topic", Text),
    Column("resource_kind", Text),
    Column("resource_id", Text),
    Column("actor", Text),
    Column("occurred_at", BigInteger, nullable=False),
    Column("published_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("priority", SmallInteger, nullable=False),
    Column("ordering_key", Text),
    Column("idempotency_key", Text),
    Column("fingerprint", LargeBinary),
    Column("trace", Text),
    Column("metadata", Text),
    Column("body", LargeBinary, nullable=False),
    #: Of the event's type, as the publisher declared it.
    Column("category", Text),
    Column("purpose", Text),
    #: The recipients that the event is addressed to: JSON text.
    Column("audience", Text),
)
#: Large bodies are stored as they are: to compress one costs the database several times as much as to write it, and
#: encrypted ones do not get smaller.
_on_postgresql(events, "ALTER body SET STORAGE EXTERNAL")
Index(
    "notifykit_events_idempotency",
    events.c.tenant,
    events.c.idempotency_key,
    unique=True,
    postgresql_where=text("idempotency_key IS NOT NULL"),
    sqlite_where=text("idempotency_key IS NOT NULL"),
)

#: For retention only.
Index("notifykit_events_published", events.c.published_at)

outbox = Table(
    "notifykit_outbox",
    metadata,
    Column("event_id", Key, primary_key=True),
    Column("tenant", Key, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("fence", Integer, nullable=False, server_default="0"),
    Column("taken_until", BigInteger),
    Column("cursor", Text),
    Column("ordering_key", Key),
    #: Waits behind an earlier event of its FIFO group; ``due_at`` is when it is read again (see ADR 0012).
    Column("blocked", Boolean, nullable=False, server_default=false()),
)
_on_postgresql(outbox, "SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, fillfactor = 45)")
Index("notifykit_outbox_due", outbox.c.priority, outbox.c.due_at, outbox.c.tenant)
_ordered = text("ordering_key IS NOT NULL")
Index(
    "notifykit_outbox_order",
    outbox.c.tenant,
    outbox.c.ordering_key,
    outbox.c.event_id,
    postgresql_where=_ordered,
    sqlite_where=_ordered,
)

queue = Table(
    "notifykit_queue",
    metadata,
    Column("id", Key, primary_key=True),
    Column("event_id", Key, nullable=False),
    Column("tenant", Key, nullable=False),
    Column("subscription_id", Key, nullable=False),
    Column("subscriber_id", Key, nullable=False),
    Column("channel", Key, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("state", Key, nullable=False),
    Column("reason", Text),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("abandoned", Integer, nullable=False, server_default="0"),
    Column("generation", Integer, nullable=False, server_default="0"),
    Column("ordering_key", Key),
    Column("blocked", Boolean, nullable=False, server_default=false()),
    Column("created_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("fence", Integer, nullable=False, server_default="0"),
    Column("lease_until", BigInteger),
    Column("worker", Text),
    #: Where on its channel it goes; NULL if the record of an endpoint says that.
    Column("address", Text),
    #: The name of the digest that it carries, or that it opened and was sent ahead of.
    Column("digest", Text),
    #: Since when it has been due, if it is handed over to a relay; ``due_at`` is then when its hold runs out.
    Column("handed", BigInteger),
)
_on_postgresql(queue, "SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000)")
_waits = text("state <> 'sending'")
Index(
    "notifykit_queue_due",
    queue.c.channel,
    queue.c.priority,
    queue.c.due_at,
    queue.c.subscriber_id,
    postgresql_where=_waits,
    sqlite_where=_waits,
)
Index("notifykit_queue_subscriber", queue.c.subscriber_id, postgresql_where=_waits, sqlite_where=_waits)
_handed = text("handed IS NOT NULL")
Index(
    "notifykit_queue_handed",
    queue.c.channel,
    queue.c.priority,
    queue.c.due_at,
    postgresql_where=_handed,
    sqlite_where=_handed,
)
Index(
    "notifykit_queue_lease",
    queue.c.lease_until,
    postgresql_where=text("state = 'sending'"),
    sqlite_where=text("state = 'sending'"),
)

Index(
    "notifykit_queue_order",
    queue.c.subscriber_id,
    queue.c.ordering_key,
    queue.c.id,
    postgresql_where=_ordered,
    sqlite_where=_ordered,
)
_sending_ordered = text("ordering_key IS NOT NULL AND state = 'sending'")
#: The database itself ensures that of each FIFO group one delivery at a time is being sent.
Index(
    "notifykit_queue_head",
    queue.c.subscriber_id,
    queue.c.ordering_key,
    unique=True,
    postgresql_where=_sending_ordered,
    sqlite_where=_sending_ordered,
)

deliveries = Table(
    "notifykit_deliveries",
    metadata,
    Column("tenant", Key, primary_key=True),
    Column("id", Key, primary_key=True),
    Column("event_id", Key, nullable=False),
    Column("subscription_id", Key, nullable=False),
    Column("subscriber_id", Key, nullable=False),
    Column("channel", Key, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("state", Key, nullable=False),
    Column("reason", Text),
    Column("attempts", Integer, nullable=False),
    Column("abandoned", Integer, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("ordering_key", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("finished_at", BigInteger, nullable=False),
    #: The attempt that ended it, as in ``attempts``, where only those before are: most deliveries need one.
    Column("last_started_at", BigInteger),
    Column("last_took", BigInteger),
    Column("last_outcome", Text),
    Column("last_reason", Text),
    Column("last_status", SmallInteger),
    Column("last_response", LargeBinary),
    Column("last_worker", Text),
    Column("address", Text),
    #: The provider's id of the message.
    Column("last_reference", Text),
    Column("digest", Text),
    #: The provider's account that carried the message, and what it cost in millionths.
    Column("last_account", Text),
    Column("last_cost", BigInteger),
)
Index("notifykit_deliveries_subscriber", deliveries.c.subscriber_id, deliveries.c.id)
_failed = text("state <> 'delivered'")
Index(
    "notifykit_deliveries_failed",
    deliveries.c.tenant,
    deliveries.c.id,
    postgresql_where=_failed,
    sqlite_where=_failed,
)

#: Where receipts of providers find their delivery: webhooks have neither.
_of_people, _referenced = text("address IS NOT NULL"), text("last_reference IS NOT NULL")
Index("notifykit_deliveries_people", deliveries.c.id, postgresql_where=_of_people, sqlite_where=_of_people)
Index(
    "notifykit_deliveries_reference",
    deliveries.c.last_reference,
    postgresql_where=_referenced,
    sqlite_where=_referenced,
)
Index("notifykit_deliveries_finished", deliveries.c.finished_at)

#: One row for each digest; its delivery has the same id.
digests = Table(
    "notifykit_digests",
    metadata,
    Column("id", Key, primary_key=True),
    Column("tenant", Key, nullable=False),
    Column("key", Key, nullable=False),
    Column("open", Boolean, nullable=False, server_default=true()),
    Column("closes_at", BigInteger, nullable=False),
    #: The latest that ``closes_at`` may be moved to.
    Column("closes_by", BigInteger, nullable=False),
    #: When it was last added to, or closed.
    Column("last_at", BigInteger, nullable=False),
    Column("max_items", Integer, nullable=False),
)
_open = text("open")
#: The database itself ensures that of each key one digest at a time is open.
Index(
    "notifykit_digests_open",
    digests.c.tenant,
    digests.c.key,
    unique=True,
    postgresql_where=_open,
    sqlite_where=_open,
)
Index("notifykit_digests_key", digests.c.tenant, digests.c.key)

#: One row for each delivery that a digest has collected; it has no row in the queue.
digest_items = Table(
    "notifykit_digest_items",
    metadata,
    Column("tenant", Key, primary_key=True),
    Column("id", Key, primary_key=True),
    Column("event_id", Key, nullable=False),
    Column("digest_id", Key, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
Index("notifykit_digest_items_digest", digest_items.c.digest_id, digest_items.c.id)

attempts = Table(
    "notifykit_attempts",
    metadata,
    Column("delivery_id", Key, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("started_at", BigInteger, nullable=False),
    Column("took", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text),
    Column("status", SmallInteger),
    Column("retry_at", BigInteger),
    Column("response", LargeBinary),
    Column("worker", Text),
    Column("reference", Text),
    Column("account", Text),
    Column("cost", BigInteger),
)

_with_reference = text("reference IS NOT NULL")
Index(
    "notifykit_attempts_reference",
    attempts.c.reference,
    postgresql_where=_with_reference,
    sqlite_where=_with_reference,
)

#: What providers report of messages that they accepted.
receipts = Table(
    "notifykit_receipts",
    metadata,
    Column("provider", Key, primary_key=True),
    Column("id", Key, primary_key=True),
    #: Of the delivery; NULL as long as it is not known.
    Column("tenant", Key),
    #: Of the delivery, or what the report says it is.
    Column("delivery_id", Key),
    Column("reference", Key),
    Column("kind", Text, nullable=False),
    Column("rank", SmallInteger, nullable=False),
    Column("permanent", Boolean, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("address", Text),
    Column("code", Text),
    Column("received_at", BigInteger, nullable=False),
    #: When its delivery is looked for again; NULL once it is known.
    Column("look_at", BigInteger),
)
Index("notifykit_receipts_delivery", receipts.c.tenant, receipts.c.delivery_id)
_waiting = text("look_at IS NOT NULL")
Index("notifykit_receipts_waiting", receipts.c.look_at, postgresql_where=_waiting, sqlite_where=_waiting)

endpoints = Table(
    "notifykit_endpoints",
    metadata,
    Column("tenant", Key, primary_key=True),
    Column("id", Key, primary_key=True),
    Column("url", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("state", Key, nullable=False),
    Column("state_reason", Text),
    Column("secrets", Text, nullable=False),
    Column("headers", Text, nullable=False),
    Column("retry", Text, nullable=False),
    Column("timeout", BigInteger, nullable=False),
    Column("max_in_flight", Integer, nullable=False),
    Column("rate_limit", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
)

#: One row for each open circuit.
circuits = Table(
    "notifykit_circuits",
    metadata,
    #: An endpoint's id, or a provider's account, whose tenant is empty.
    Column("key", Key, primary_key=True),
    Column("tenant", Key, primary_key=True),
    Column("since", BigInteger, nullable=False),
    Column("probe_at", BigInteger, nullable=False),
    Column("probes", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
)

#: The token buckets of endpoints with a rate limit.
buckets = Table(
    "notifykit_buckets",
    metadata,
    Column("endpoint_id", Key, primary_key=True),
    Column("tenant", Key, primary_key=True),
    Column("tokens", Float(53), nullable=False),
    Column("filled_at", BigInteger, nullable=False),
)

subscriptions = Table(
    "notifykit_subscriptions",
    metadata,
    Column("tenant", Key, primary_key=True),
    Column("id", Key, primary_key=True),
    Column("subscriber_id", Key, nullable=False),
    Column("channel", Key, nullable=False),
    Column("event_types", Text, nullable=False),
    Column("topic", Text),
    Column("filter", Text),
    Column("description", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("address", Text),
    Column("disabled_reason", Text),
)
Index("notifykit_subscriptions_subscriber", subscriptions.c.tenant, subscriptions.c.subscriber_id)

#: Where the planner finds subscriptions of a tenant with very many (see ``policies/match_keys.py`` and ADR 0016).
subscription_index = Table(
    "notifykit_subscription_index",
    metadata,
    Column("tenant", Key, primary_key=True),
    Column("types", Key, primary_key=True),
    Column("topics", Key, primary_key=True),
    Column("subscription_id", Key, primary_key=True),
)

#: What is known about types of events; the tenant is empty for a type that is declared for all tenants.
event_types = Table(
    "notifykit_event_types",
    metadata,
    Column("tenant", Key, primary_key=True),
    Column("id", Key, primary_key=True),
    Column("details", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
)

#: The persons of a tenant, each as a whole: JSON text.
recipients = Table(
    "notifykit_recipients",
    metadata,
    Column("tenant", Key, primary_key=True),
    Column("id", Key, primary_key=True),
    Column("details", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
)

#: What a tenant says for all of its recipients: one row for each tenant that says something.
tenant_preferences = Table(
    "notifykit_tenant_preferences",
    metadata,
    Column("tenant", Key, primary_key=True),
    Column("id", Key, primary_key=True),
    Column("details", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
)

#: Provider accounts that tenants have themselves: one row for each tenant and channel.
provider_accounts = Table(
    "notifykit_provider_accounts",
    metadata,
    Column("tenant", Key, primary_key=True),
    Column("id", Key, primary_key=True),
    #: Encrypted.
    Column("url", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
)

#: Addresses that a tenant must not use, by a hash of the address: JSON text.
suppressions = Table(
    "notifykit_suppressions",
    metadata,
    Column("tenant", Key, primary_key=True),
    Column("id", Key, primary_key=True),
    Column("details", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
)

#: Templates that tenants have stored, with their revisions: JSON text.
templates = Table(
    "notifykit_templates",
    metadata,
    Column("tenant", Key, primary_key=True),
    Column("id", Key, primary_key=True),
    Column("details", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
)

#: Keys of the REST API: JSON text, with hashes of their secrets.
api_keys = Table(
    "notifykit_api_keys",
    metadata,
    Column("tenant", Key, primary_key=True),
    Column("id", Key, primary_key=True),
    Column("details", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
)

#: What callers of the REST API and of the pages did: JSON text.  All rows are of no tenant; the newest comes first.
audit = Table(
    "notifykit_audit",
    metadata,
    Column("tenant", Key, primary_key=True),
    Column("id", Key, primary_key=True),
    Column("details", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
)

#: Processes that deliver, as they report themselves: JSON text.  All rows are of no tenant.
workers = Table(
    "notifykit_workers",
    metadata,
    Column("tenant", Key, primary_key=True),
    Column("id", Key, primary_key=True),
    Column("details", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
)

#: Sessions of browsers that were signed out, as long as their cookies would be valid.  All rows are of no tenant.
ended_sessions = Table(
    "notifykit_ended_sessions",
    metadata,
    Column("tenant", Key, primary_key=True),
    Column("id", Key, primary_key=True),
    Column("details", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
)

tenants = Table(
    "notifykit_tenants",
    metadata,
    Column("tenant", Key, primary_key=True),
    Column("version", BigInteger, nullable=False),
)

#: One row for each person with items.  Every change of an inbox raises ``last`` first, and holds the row until it
#: commits: so changes become visible in the order of their numbers.
inboxes = Table(
    "notifykit_inboxes",
    metadata,
    Column("tenant", Key, primary_key=True),
    Column("recipient", Key, primary_key=True),
    #: The number before the first change: the time at which the inbox began, so that numbers never come back.
    Column("base", BigInteger, nullable=False),
    #: The number of the last change.
    Column("last", BigInteger, nullable=False),
)

inbox_items = Table(
    "notifykit_inbox_items",
    metadata,
    Column("tenant", Key, primary_key=True),
    Column("recipient", Key, primary_key=True),
    Column("id", Key, primary_key=True),
    Column("event_id", Key, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("category", Text),
    Column("resource_kind", Text),
    Column("resource_id", Text),
    #: Title, body, URL and data as JSON.
    Column("content", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger),
    Column("read_at", BigInteger),
    Column("archived_at", BigInteger),
    Column("snoozed_until", BigInteger),
    Column("number", BigInteger, nullable=False),
    Column("change", BigInteger, nullable=False),
)


def _inbox_index(name: str, column: str, condition: str | None = None) -> None:
    where = None if condition is None else text(condition)
    its = inbox_items.c
    Index(f"notifykit_inbox_{name}", its.tenant, its.recipient, its[column], postgresql_where=where, sqlite_where=where)


_inbox_index("changes", "change")
_inbox_index("active", "number", "archived_at IS NULL")
_inbox_index("archived", "number", "archived_at IS NOT NULL")
_inbox_index("unseen", "number", "archived_at IS NULL AND seen_at IS NULL")
_inbox_index("unread", "number", "archived_at IS NULL AND read_at IS NULL")

#: Where tenants are, in a database that is one of several (see ``stores/sharded/``).  The row without a tenant says
#: which shard this database is.
placements = Table(
    "notifykit_placements",
    metadata,
    Column("tenant", Key, primary_key=True),
    Column("shard", Key, nullable=False),
    #: Where the tenant was before.
    Column("source", Key, nullable=False),
    #: How often the tenant has been moved.
    Column("generation", Integer, nullable=False),
    Column("state", Text, nullable=False),
    #: Grows with every change in this database.
    Column("seq", BigInteger, nullable=False),
    #: Until when the process that moves the tenant is known to be alive.
    Column("lease_until", BigInteger),
    #: Of the row without a tenant: the shards that tenants are dealt to, as JSON text.
    Column("ring", Text),
)
Index("notifykit_placements_seq", placements.c.seq)

#: Open work of a tenant that is being moved: rows of ``outbox``, ``queue`` and ``circuits``, as JSON text.
parked = Table(
    "notifykit_parked",
    metadata,
    Column("tenant", Key, primary_key=True),
    Column("kind", Key, primary_key=True),
    Column("id", Key, primary_key=True),
    Column("row", Text, nullable=False),
)
