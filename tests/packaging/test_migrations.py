"""Migrations: Alembic builds what the library uses, from nothing, over data, and from several processes at once."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any, cast

import anyio
import attrs
import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, NullPool, create_engine, make_url, select

from notifykit import (
    ConfigurationError,
    Endpoint,
    Event,
    Notifykit,
    RateLimit,
    SchemaError,
    StaleWriteError,
    StoreUnavailableError,
)
from notifykit.models.access import OPERATORS
from notifykit.models.circuit import OpenCircuit
from notifykit.models.delivery import Attempt, DeliveryState, DigestEntry, Lane, Priority
from notifykit.models.ended_session import EndedSession, ended_id
from notifykit.models.inbox import InboxFilter
from notifykit.models.provider_account import ProviderAccount
from notifykit.models.receipt import ReceiptRecord
from notifykit.models.recipient import Recipient, TenantPreferences
from notifykit.models.subscription import MatchQuery, Subscription
from notifykit.models.worker import WorkerRecord
from notifykit.ports import DeliveryFilter, Digests, Inbox, Move, Outstanding, Record, Settlement
from notifykit.stores.sharded import ShardedStore
from notifykit.stores.sql import migrate
from notifykit.stores.sql.schema import metadata, outbox, subscription_index
from notifykit.stores.sql.upgrade import migrate as upgrade
from notifykit.telemetry import ActionAudited
from notifykit.testing import (
    make_attempt,
    make_delivery,
    make_endpoint,
    make_event,
    make_inbox_item,
    make_receipt,
    make_recipient,
    make_record,
    make_subscription,
)
from notifykit.testing.suites.store.steps import acquire, load, save_circuit
from tests.databases import new_database

ACME = "acme"
LEASE = timedelta(minutes=1)
#: The schema that the newest migration starts from.
BEFORE_HEAD = "0019"


@pytest.fixture(params=["sqlite", "postgres"])
def fresh_url(request, tmp_path):
    """The URL of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'fresh.db'}"
    return request.getfixturevalue("postgres_database")


@pytest.fixture
def connection(fresh_url):
    """A connection to the database without tables, in a transaction that is committed at the end."""
    with _engine(fresh_url).begin() as connection:
        yield connection


def _engine(url: str) -> Engine:
    driver = {"sqlite": "pysqlite", "postgresql": "psycopg"}[make_url(url).get_backend_name()]
    named = make_url(url).set(drivername=f"{make_url(url).get_backend_name()}+{driver}")
    return create_engine(named, poolclass=NullPool)


# ── two ways to the same schema ────────────────────────────────────────────────────────────────


def tables_on_sqlite(file: str) -> dict[str, Any]:
    """Return everything SQLite knows of the schema: the statement of each table and index."""
    with sqlite3.connect(file) as db:
        rows = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
    db.close()
    return {
        f"{kind} {name}": (table, re.sub(r"\s+", " ", (sql or "").replace('"', ""))) for kind, name, table, sql in rows
    }


PG_COLUMNS = """
SELECT c.relname, a.attname, a.attnum, format_type(a.atttypid, a.atttypmod), a.attnotnull, l.collname,
  pg_get_expr(d.adbin, d.adrelid), a.attstorage
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_collation l ON l.oid = a.attcollation
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 ORDER BY 1, 3
"""
PG_RELATIONS = """
SELECT relname, relkind, reloptions, relpersistence, pg_get_indexdef(oid) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i', 'S', 'v')
  AND relname <> 'notifykit_bundles' -- a view for producers of schema 0006, which a new database does not have
ORDER BY 1
"""
PG_CONSTRAINTS = """
SELECT conname, conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace ORDER BY 1
"""


def tables_on_postgres(url: str) -> dict[str, Any]:
    """Return columns, types, collations, defaults, indexes, storage parameters and constraints."""
    with psycopg.connect(url) as connection:
        return {query: connection.execute(query).fetchall() for query in (PG_COLUMNS, PG_RELATIONS, PG_CONSTRAINTS)}


async def create_through_the_store(url: str) -> None:
    async with Notifykit(url, create=True):
        pass


async def test_both_ways_build_the_same_on_sqlite(tmp_path):
    """A database made at once and one migrated script by script have the same statements."""
    made, migrated = tmp_path / "made.db", tmp_path / "migrated.db"

    await create_through_the_store(f"sqlite:///{made}")
    version = await upgrade(f"sqlite:///{migrated}")

    found = tables_on_sqlite(str(made))
    assert found == tables_on_sqlite(str(migrated))
    assert {f"table {name}" for name in metadata.tables} < set(found)
    assert migrate.HEAD == version


async def test_both_ways_build_the_same_on_postgres(postgres_url):
    """Columns, types, collations, defaults, indexes with their predicates, storage parameters, constraints."""
    with new_database(postgres_url) as made, new_database(postgres_url) as migrated:
        await create_through_the_store(made)
        await upgrade(migrated)

        found = tables_on_postgres(made)
        assert found == tables_on_postgres(migrated)

    relations = {name: options for name, _, options, _, _ in found[PG_RELATIONS]}
    assert set(metadata.tables) < set(relations)
    assert "fillfactor=80" in (relations["notifykit_queue"] or [])


def test_alembic_sees_no_difference(connection):
    """What ``alembic revision --autogenerate`` would write is nothing."""
    migrate.upgrade(connection)

    context = MigrationContext.configure(connection, opts={"version_table": migrate.VERSION_TABLE})
    assert [] == compare_metadata(context, metadata)


def test_head_is_the_newest_script():
    """The constant that stamps a database names the one script that nothing follows, and versions sort."""
    scripts = ScriptDirectory.from_config(migrate.alembic_config())

    revisions = [script.revision for script in scripts.walk_revisions()]

    assert [migrate.HEAD] == scripts.get_heads()
    assert sorted(revisions, reverse=True) == revisions


# ── over what is there ─────────────────────────────────────────────────────────────────────────


async def test_an_upgrade_of_what_is_up_to_date_changes_nothing(store_url):
    """Tables with data in them, made at once, are upgraded from nothing to the newest without a change."""
    endpoint = make_endpoint()
    async with Notifykit(store_url) as kit:
        await kit.store.save(endpoint)
        await kit.store.save(make_subscription(endpoint))
        receipt = await kit.apublish(Event(type="a.b", data={"n": 1}), tenant=ACME, idempotency_key="k")
        before = (await kit.store.load_tenants([ACME]))[ACME], await kit.events.get(receipt.event_id, tenant=ACME)

    versions = [await Notifykit(store_url).migrate() for _ in range(2)]

    async with Notifykit(store_url) as kit:
        after = (await kit.store.load_tenants([ACME]))[ACME], await kit.events.get(receipt.event_id, tenant=ACME)
        assert 1 == (await kit.stats()).unplanned
    assert [migrate.HEAD] * 2 == versions
    assert before == after


BEFORE_0002 = """
INSERT INTO notifykit_events (tenant, id, type, version, occurred_at, published_at, due_at, priority, body)
  VALUES ('acme', 'evt_1', 'a.b', 1, 5, 5, 5, 1, '{}');
INSERT INTO notifykit_outbox (event_id, tenant, priority, due_at) VALUES ('evt_1', 'acme', 1, 5);
INSERT INTO notifykit_ailments (endpoint_id, tenant, since, probe_at, probes, reason)
  VALUES ('end_1', 'acme', 1000000, 2000000, 3, 'http_503');
INSERT INTO notifykit_buckets (endpoint_id, tenant, tokens, filled_at) VALUES ('end_1', 'acme', 1.5, 0)
"""


async def test_data_of_schema_0001_is_kept(fresh_url):
    """Waiting deliveries, circuits and rate limits are kept; the same id of another tenant is another endpoint."""
    await upgrade(fresh_url, "0001")
    nothing = "x'7b7d'" if fresh_url.startswith("sqlite") else "'{}'"
    for statement in BEFORE_0002.replace("'{}'", nothing).split(";"):
        _run_sql(fresh_url, statement)
    ours = OpenCircuit(key="end_1", tenant=ACME, since=at(1), probe_at=at(2), probes=3, reason="http_503", version=1)

    with pytest.raises(SchemaError, match="has schema 0001"):
        await Notifykit(fresh_url, create=False).open()
    await upgrade(fresh_url)

    async with Notifykit(fresh_url, create=False) as kit:
        await kit.store.save(make_endpoint(id="end_1", tenant="globex"))
        theirs = await save_circuit(kit.store, attrs.evolve(ours, tenant="globex", version=0))
        circuits = await kit.store.circuits()
        drawn = [
            await acquire(kit.store, tenant, "end_1", 9, RateLimit(per_second=9, burst=9), now=at(0))
            for tenant in (ACME, "globex")
        ]
        (taken,) = await kit.store.take(9, now=at(9), lease=timedelta(minutes=1))
    assert [ours, theirs] == sorted(circuits, key=attrgetter("tenant"))
    assert [1, 9] == drawn
    assert "evt_1" == taken.id


BEFORE_0003 = """
INSERT INTO notifykit_events (tenant, id, type, version, occurred_at, published_at, due_at, priority, body)
  VALUES ('acme', 'evt_1', 'a.b', 1, 5, 5, 5, 1, '{}');
INSERT INTO notifykit_deliveries (tenant, id, event_id, subscription_id, subscriber_id, channel, priority, state,
  reason, attempts, abandoned, generation, fence, created_at, finished_at)
  VALUES ('acme', 'dlv_1', 'evt_1', 'sub_1', 'end_1', 'webhook', 1, 'dead', 'http_404', 1, 0, 0, 1, 5, 9000000);
INSERT INTO notifykit_attempts (delivery_id, number, started_at, took, outcome, reason, status, worker)
  VALUES ('dlv_1', 1, 6000000, 7, 'permanent', 'http_404', 404, 'w')
"""


async def test_attempts_of_schema_0002_survive_up_and_down(fresh_url):
    """An attempt recorded before, and one known only from its delivery, are both read, also after a downgrade."""
    await upgrade(fresh_url, "0002")
    nothing = "x'7b7d'" if fresh_url.startswith("sqlite") else "'{}'"
    for statement in BEFORE_0003.replace("'{}'", nothing).split(";"):
        _run_sql(fresh_url, statement)
    await upgrade(fresh_url)
    async with Notifykit(fresh_url, create=False) as kit:
        await kit.store.move(ACME, DeliveryFilter(ids="dlv_1"), Move.REDRIVE, now=at(10))
        lane = Lane("webhook", Priority.NORMAL)
        (claim,) = await kit.store.claim(lane, 9, now=at(10), lease=timedelta(minutes=1), worker="v")
        second = Attempt(
            delivery_id="dlv_1", number=claim.attempt, started_at=at(11), took=timedelta(0, 1), outcome="accepted",
            status=204, response=b"thanks", worker="v",
        )  # fmt: skip
        ended = Record("dlv_1", claim.fence, DeliveryState.DELIVERED, None, None, at(12), second)
        await kit.store.record([ended])
        made = await kit.store.attempts(ACME, "dlv_1")

    for _ in range(2):
        await _downgrade(fresh_url, "0002")
        await upgrade(fresh_url)

    async with Notifykit(fresh_url, create=False) as kit:
        kept = await kit.store.attempts(ACME, "dlv_1")
    assert [(1, "permanent", 404), (2, "accepted", 204)] == [(one.number, one.outcome, one.status) for one in made]
    assert second == made[1]
    assert made == kept


def at(seconds: int) -> datetime:
    """Return an instant near the epoch."""
    return datetime.fromtimestamp(seconds, UTC)


ENDPOINT_BEFORE_0004 = """
INSERT INTO notifykit_endpoints (tenant, id, url, description, state, secrets, headers, retry, timeout, max_in_flight,
  created_at, updated_at)
VALUES ('acme', 'end_1', 'https://acme.example/', '', 'active', '[]', '{}',
  '{"delays": [], "jitter": 0, "max_retry_after": 0}', 1000000, 4, 5, 5)
"""
SUBSCRIPTION_BEFORE_0004 = """
INSERT INTO notifykit_subscriptions (tenant, id, subscriber_id, channel, event_types, topic, description, enabled,
  created_at, updated_at)
VALUES ('%s', '%s', 'end_1', 'webhook', '%s', %s, '', %s, 5, 5)
"""
#: The patterns of types and the topic of subscriptions, and whether they are enabled.
WISHES_BEFORE_0004 = [
    (["order.paid"], None, True),
    (["order.*", "order.**", "refund.*.paid"], "shop/7", True),
    (["**"], "shop/**", True),
    (["*.paid"], "**", True),
    (["order.paid"], None, False),
    (["order.paid", "w" * 300, ".".join("w" * 40), "a*b", "", 7, "a\x00b"], None, True),
    (["order.paid"], "shop//7", True),
    (["order.paid"], "a*b/c", True),
    ([], None, True),
]


async def test_subscriptions_of_schema_0003_are_found(fresh_url, monkeypatch):
    """Rows that were there are kept where they would be if they were saved now, however many batches it takes."""
    script = ScriptDirectory.from_config(migrate.alembic_config()).get_revision("0004")
    monkeypatch.setattr(script.module, "_BATCH", 4)
    await upgrade(fresh_url, "0003")
    _run_sql(fresh_url, ENDPOINT_BEFORE_0004)
    for tenant in (ACME, "globex"):
        for number, (types, topic, enabled) in enumerate(WISHES_BEFORE_0004):
            values = (
                tenant,
                f"sub_{number}",
                json.dumps(types),
                f"'{topic}'" if topic else "NULL",
                str(enabled).upper(),
            )
            _run_sql(fresh_url, SUBSCRIPTION_BEFORE_0004 % values)

    await upgrade(fresh_url)

    migrated = _index_rows(fresh_url)
    async with Notifykit(fresh_url, create=False) as kit:
        asked = [MatchQuery("order.paid"), MatchQuery("order.paid", "shop/7"), MatchQuery("refund.7.paid", "shop/7")]
        answers = await kit.store.match(ACME, asked, limit=100)
        wishes = await kit.store.page(Subscription, ACME, limit=100)
        for wish in wishes:  # one that is saved again keeps its rows
            await kit.store.save(wish)
        saved = _index_rows(fresh_url)
        for wish in wishes:
            await kit.store.remove(Subscription, ACME, wish.id, now=at(9))
    left = _index_rows(fresh_url)
    found = [{candidate.subscription.id for candidate in answer} for answer in answers]
    assert [{"sub_0", "sub_3", "sub_5"}, {"sub_0", "sub_1", "sub_2", "sub_3", "sub_5"}] == found[:2]
    assert {"sub_1", "sub_2", "sub_3"} == found[2]
    assert migrated == saved
    assert [row for row in migrated if row[0] == "globex"] == left


def _index_rows(url: str) -> list[Any]:
    with _engine(url).connect() as connection:
        return sorted(map(tuple, connection.execute(select(subscription_index))))


#: Three events that share a row, of which the second one is settled; the row was taken once.
BUNDLE_BEFORE_0007 = """
INSERT INTO notifykit_events (id, tenant, type, version, occurred_at, published_at, due_at, priority, body)
SELECT 'evt_' || n, 'acme', 'order.paid', 1, 0, 0, 0, 1, '{}' FROM unnest(ARRAY['a', 'b', 'c', 'd', 'e']) AS n;
INSERT INTO notifykit_bundles (id, tenant, due_at, fence, open, event_ids)
VALUES ('evt_a', 'acme', 1000000, 1, (B'101' || repeat('0', 125)::bit(125))::bit(128), ARRAY['evt_a', 'evt_b', 'evt_c'])
"""
#: What a producer of schema 0006 writes beside events that it stores together.
BUNDLE_OF_A_PRODUCER = """
WITH e AS (SELECT 1), b AS (
  INSERT INTO notifykit_bundles (id, tenant, due_at, open, event_ids)
  SELECT 'evt_d', 'acme', 2000000::bigint, repeat('1', 2)::bit(128), ARRAY['evt_d', 'evt_e']
) SELECT 1 WHERE false
"""


async def test_events_that_share_a_row_get_rows_of_their_own(fresh_url):
    """Those of schema 0006 that are not settled are taken under the next fence, and a producer of that time goes on."""
    await upgrade(fresh_url, "0006")
    if fresh_url.startswith("sqlite"):  # nothing was ever written to the table there
        await upgrade(fresh_url)
        await _downgrade(fresh_url, "0006")
        await upgrade(fresh_url)
        return
    for statement in BUNDLE_BEFORE_0007.split(";"):
        _run_sql(fresh_url, statement)

    await upgrade(fresh_url)
    await _downgrade(fresh_url, "0006")
    await upgrade(fresh_url)
    _run_sql(fresh_url, BUNDLE_OF_A_PRODUCER)

    async with Notifykit(fresh_url, create=False) as kit:
        taken = await kit.store.take(99, now=at(19), lease=LEASE)
    assert {("evt_a", 2), ("evt_c", 2), ("evt_d", 1), ("evt_e", 1)} == {(one.id, one.fence) for one in taken}


async def test_events_of_schema_0004_are_delivered(fresh_url):
    """An event that waits in the outbox is taken once the tables are up to date."""
    await upgrade(fresh_url, "0004")
    nothing = "x'7b7d'" if fresh_url.startswith("sqlite") else "'{}'"
    for statement in BEFORE_0002.replace("'{}'", nothing).split(";")[:2]:
        _run_sql(fresh_url, statement)
    await upgrade(fresh_url)

    async with Notifykit(fresh_url, create=False) as kit:
        taken = await kit.store.take(99, now=at(19), lease=LEASE)
    assert ["evt_1"] == [one.id for one in taken]


CIRCUIT_BEFORE_0007 = """
INSERT INTO notifykit_ailments (endpoint_id, tenant, since, probe_at, probes, reason)
VALUES ('end_1', 'acme', 1000000, 2000000, 3, 'http_503')
"""
RECORDS_BEFORE_0006 = {
    "endpoint": ENDPOINT_BEFORE_0004 + "ON CONFLICT (tenant, id) DO UPDATE SET url = 'https://old.example/'",
    "subscription": SUBSCRIPTION_BEFORE_0004 % (ACME, "sub_1", '["**"]', "NULL", "TRUE")
    + "ON CONFLICT (tenant, id) DO UPDATE SET topic = 'old'",
    "circuit": CIRCUIT_BEFORE_0007 + "ON CONFLICT (tenant, endpoint_id) DO UPDATE SET reason = 'old'",
}


async def test_records_of_schema_0005_get_a_version(fresh_url):
    """Existing records get version 1, later changes are checked, and a downgrade and upgrade starts at 1 again."""
    await upgrade(fresh_url, "0005")
    for statement in RECORDS_BEFORE_0006.values():
        _run_sql(fresh_url, statement)
    await upgrade(fresh_url)
    async with Notifykit(fresh_url, create=False) as kit:
        endpoint, subscription, circuit = before = await _records(kit)
        for _ in range(2):
            endpoint = await kit.store.save(endpoint)
        subscription = await kit.store.save(subscription)
        circuit = await save_circuit(kit.store, circuit)
        with pytest.raises(StaleWriteError):
            await kit.store.save(before[0])

    await _downgrade(fresh_url, "0005")
    await upgrade(fresh_url)

    async with Notifykit(fresh_url, create=False) as kit:
        again = await _records(kit)
    assert [1, 1, 1] == [one.version for one in before]
    assert [3, 2, 2] == [one.version for one in (endpoint, subscription, circuit)]
    assert before == again


async def test_a_producer_of_schema_0005_works_beside_newer_workers(fresh_url):
    """Its statements, which have no versions, still insert and replace; newer processes then change the rows."""
    old = [RECORDS_BEFORE_0006[kind] for kind in ("endpoint", "subscription")]
    await upgrade(fresh_url, "0005")
    for statement in RECORDS_BEFORE_0006.values():
        _run_sql(fresh_url, statement)
    await upgrade(fresh_url)
    async with Notifykit(fresh_url, create=False) as kit:
        await kit.store.save((await _records(kit))[0])

        for statement in old:
            _run_sql(fresh_url, statement)

        endpoint, subscription, _ = await _records(kit)
        await kit.store.save(endpoint)
    assert [2, 1] == [one.version for one in (endpoint, subscription)]
    assert ("https://old.example/", "old") == (endpoint.url, subscription.topic)


async def test_what_only_schema_0007_knows_does_not_outlive_a_step_back(fresh_url):
    """Addresses, accounts and references are dropped with what cannot be sent without them; endpoints' rows stay."""
    await upgrade(fresh_url)
    async with Notifykit(fresh_url, create=False) as kit:
        endpoint = await kit.store.save(make_endpoint(id="end_1", at=at(1)))
        kept = await kit.store.save(make_subscription(endpoint, at=at(1)))
        room = make_subscription(endpoint, at=at(1), subscriber_id="room:5", channel="toy", address="toy:room-5")
        await kit.store.save(room)
        for key, tenant in (("end_1", ACME), ("toy:account", "")):
            await save_circuit(kit.store, OpenCircuit(key=key, tenant=tenant, since=at(1), probe_at=at(2)))
        event = make_event(at=at(1), category="chat", purpose="security")
        waiting = [make_delivery(event, "end_1"), make_delivery(event, "room:5", channel="toy", address="toy:room-5")]
        await kit.store.append([event])
        (taken,) = await kit.store.take(9, now=at(2), lease=LEASE)
        await kit.store.settle([Settlement(taken.id, 1, waiting)], now=at(2), lease=LEASE, worker="w")

    await _downgrade(fresh_url, "0006")
    await upgrade(fresh_url)

    async with Notifykit(fresh_url, create=False) as kit:
        config = await load(kit.store, ACME)
        ((match,),) = await kit.store.match(ACME, [MatchQuery("a.b")], limit=9)
        circuits = await kit.store.circuits()
        deliveries = await kit.store.find_deliveries(ACME, DeliveryFilter(), limit=9)
        events = await kit.events.get(event.id, tenant=ACME)
    assert ((kept,), kept) == (config.subscriptions, match.subscription)
    assert ["end_1"] == [circuit.key for circuit in circuits]
    assert [(waiting[0].id, None)] == [(one.id, one.address) for one in deliveries]
    assert event._replace(category=None, purpose=None) == events


ORDERED_BEFORE_0007 = """
INSERT INTO notifykit_interests (tenant, types, topics, subscription_id) VALUES ('acme', '**', '', 'sub_1');
INSERT INTO notifykit_outbox (event_id, tenant, priority, due_at, ordering_key, behind)
VALUES ('evt_1', 'acme', 1, 1000000, 'a', FALSE), ('evt_2', 'acme', 1, 1000000, 'a', TRUE)
"""


async def test_rows_of_schema_0006_keep_what_they_say_under_new_names(fresh_url):
    """Open circuits, rows of the subscription index and events blocked behind another of their key are kept."""
    await upgrade(fresh_url, "0006")
    for statement in [CIRCUIT_BEFORE_0007, *ORDERED_BEFORE_0007.split(";")]:
        _run_sql(fresh_url, statement)

    await upgrade(fresh_url)
    await _downgrade(fresh_url, "0006")
    await upgrade(fresh_url)

    with _engine(fresh_url).begin() as connection:
        index = connection.execute(select(subscription_index)).fetchall()
        waiting = connection.execute(select(outbox.c.event_id).where(outbox.c.blocked)).scalars().all()
    async with Notifykit(fresh_url, create=False) as kit:
        [circuit] = await kit.store.circuits()
    assert (3, "http_503") == (circuit.probes, circuit.reason)
    assert [("acme", "**", "", "sub_1")] == [tuple(row) for row in index]
    assert ["evt_2"] == waiting


async def test_events_of_schema_0007_are_addressed_to_nobody(fresh_url):
    """One that waits is taken as before, and what only the newer version knows does not outlive a step back."""
    await upgrade(fresh_url, "0007")
    nothing = "x'7b7d'" if fresh_url.startswith("sqlite") else "'{}'"
    for statement in BEFORE_0002.replace("'{}'", nothing).split(";")[:2]:
        _run_sql(fresh_url, statement)
    await upgrade(fresh_url)
    async with Notifykit(fresh_url, create=False) as kit:
        recipient = await kit.store.save(make_recipient(at=at(1)))
        await kit.store.save(TenantPreferences(tenant=ACME, zone="Asia/Tokyo"))
        await kit.store.append([make_event(at=at(1), audience='{"to":["user:42"]}')])

    await _downgrade(fresh_url, "0007")
    await upgrade(fresh_url)

    async with Notifykit(fresh_url, create=False) as kit:
        taken = await kit.store.take(9, now=at(9), lease=LEASE)
        records = [await kit.store.page(kind, ACME, limit=9) for kind in (Recipient, TenantPreferences)]
        again = await kit.store.save(attrs.evolve(recipient, version=0))
    assert (2, {None}) == (len(taken), {event.audience for event in taken})
    assert [[], []] == records
    assert recipient == again


async def test_inboxes_begin_with_schema_0009(fresh_url):
    """Endpoints from before stay, also when a step back has removed the inboxes, which then begin anew."""
    await upgrade(fresh_url, "0008")
    _run_sql(fresh_url, ENDPOINT_BEFORE_0004)
    found = []

    for _ in range(2):
        await upgrade(fresh_url)
        async with Notifykit(fresh_url, create=False) as kit:
            assert isinstance(kit.store, Inbox)
            before = await kit.store.inbox_page(ACME, "user:42", InboxFilter(), now=at(1), limit=9)
            await kit.store.inbox_put([make_inbox_item("user:42", at=at(1))])
            after = await kit.store.inbox_page(ACME, "user:42", InboxFilter(), now=at(1), limit=9)
            found.append((len(before.items), len(after.items), len((await load(kit.store, ACME)).endpoints)))
        await _downgrade(fresh_url, "0008")

    assert [(0, 1, 1)] * 2 == found


async def test_deliveries_of_schema_0009_carry_no_digest(fresh_url):
    """They wait as before; digests, which the schema before cannot send, do not outlive a step back."""
    await upgrade(fresh_url)
    event = make_event(at=at(1))
    plain = make_delivery(event, "user:1", channel="email", address="a@example.org")
    entry = DigestEntry("dlv_digest", "key", "daily", at(5), at(5))
    collected = make_delivery(event, "user:2", channel="email", address="b@example.org", digest=entry)
    async with Notifykit(fresh_url, create=False) as kit:
        await kit.store.append([event])
        (taken,) = await kit.store.take(9, now=at(2), lease=LEASE)
        settlement = Settlement(taken.id, 1, [plain, collected])
        await kit.store.settle([settlement], now=at(2), lease=LEASE, worker="w")
        before = await kit.store.find_deliveries(ACME, DeliveryFilter(), limit=9)

    await _downgrade(fresh_url, "0009")
    await upgrade(fresh_url)

    async with Notifykit(fresh_url, create=False) as kit:
        after = await kit.store.find_deliveries(ACME, DeliveryFilter(), limit=9)
        claims = await kit.store.claim(Lane("email", Priority.NORMAL), 9, now=at(9), lease=LEASE, worker="w")
        assert isinstance(kit.store, Digests)
        digest = await kit.store.collected(ACME, "dlv_digest")
    assert {plain.id, collected.id, "dlv_digest"} == {delivery.id for delivery in before}
    assert [plain.id] == [delivery.id for delivery in after]
    assert [(plain.id, None)] == [(claim.delivery_id, claim.digest) for claim in claims]
    assert digest is None


async def test_receipts_find_messages_of_schema_0010(fresh_url):
    """What was sent before is found by its reference; receipts do not outlive a step back."""
    await upgrade(fresh_url)
    event = make_event(at=at(1))
    new = make_delivery(event, "user:1", channel="email", address="a@example.org")
    record = ReceiptRecord(make_receipt(reference="ref-1"), 3, True)
    async with Notifykit(fresh_url, create=False) as kit:
        await kit.store.append([event])
        (taken,) = await kit.store.take(9, now=at(2), lease=LEASE)
        await kit.store.settle([Settlement(taken.id, 1, [new])], now=at(2), lease=LEASE, worker="w")
        (claim,) = await kit.store.claim(Lane("email", Priority.NORMAL), 9, now=at(3), lease=LEASE, worker="w")
        attempt = make_attempt(claim, at=at(3), reference="ref-1")
        await kit.store.record([make_record(claim, DeliveryState.DELIVERED, at=at(3), attempt=attempt)])
        before = await kit.store.record_receipts([record], now=at(4))

    await _downgrade(fresh_url, "0010")
    await upgrade(fresh_url)

    async with Notifykit(fresh_url, create=False) as kit:
        found = [await kit.store.find_deliveries(ACME, DeliveryFilter(), limit=9)]
        after = await kit.store.record_receipts([record], now=at(5))
        found.append(await kit.store.find_deliveries(ACME, DeliveryFilter(), limit=9))
    assert [[new.id], [new.id]] == [[match.delivery.id for match in matches] for matches in (before, after)]
    assert [[None], ["delivered"]] == [[delivery.receipt for delivery in each] for each in found]


async def test_attempts_of_schema_0010_name_no_account(fresh_url):
    """They are read as before; what only the newer version knows does not outlive a step back."""
    await upgrade(fresh_url)
    event = make_event(at=at(1))
    new = make_delivery(event, "user:1", channel="sms", address="+4915100")
    async with Notifykit(fresh_url, create=False) as kit:
        await kit.store.append([event])
        (taken,) = await kit.store.take(9, now=at(2), lease=LEASE)
        await kit.store.settle([Settlement(taken.id, 1, [new])], now=at(2), lease=LEASE, worker="w")
        for number, state in ((1, DeliveryState.PENDING), (2, DeliveryState.DELIVERED)):
            (claim,) = await kit.store.claim(
                Lane("sms", Priority.NORMAL), 9, now=at(2 + number), lease=LEASE, worker="w"
            )
            attempt = Attempt(
                new.id, number, at(3), timedelta(0), "accepted", account="twilio://key-1", cost=Decimal("0.075")
            )
            await kit.store.record([Record(new.id, claim.fence, state, None, at(3), at(3), attempt)])
        before = await kit.store.attempts(ACME, new.id)
        await kit.store.save(ProviderAccount(tenant=ACME, id="sms", url="twilio://A:B@"))

    await _downgrade(fresh_url, "0010")
    await upgrade(fresh_url)

    async with Notifykit(fresh_url, create=False) as kit:
        after = await kit.store.attempts(ACME, new.id)
        accounts = await kit.store.page(ProviderAccount, ACME, limit=9)
    assert [("twilio://key-1", Decimal("0.075"))] * 2 == [(one.account, one.cost) for one in before]
    assert [one._replace(account=None, cost=None) for one in before] == after
    assert [] == accounts


async def test_keys_begin_with_schema_0013(fresh_url):
    """Endpoints from before stay, also when a step back has removed the keys, which then begin anew."""
    await upgrade(fresh_url, "0010")
    _run_sql(
        fresh_url, ENDPOINT_BEFORE_0004.replace("updated_at)", "updated_at, version)").replace("5, 5)", "5, 5, 1)")
    )
    found = []

    for _ in range(2):
        await upgrade(fresh_url)
        async with Notifykit(fresh_url, create=False) as kit:
            before = await kit.api_keys.list(tenant=ACME)
            issued = await kit.api_keys.create(tenant=ACME, role="viewer")
            owner = await kit.api_keys.find(issued.secret)
            found.append((len(before), owner == issued.key, len((await load(kit.store, ACME)).endpoints)))
        await _downgrade(fresh_url, "0010")

    assert [(0, True, 1)] * 2 == found


async def test_what_is_handed_over_is_due_in_schema_0015(fresh_url):
    """A step back makes it due as it was, because that schema knows no broker; nothing is handed over afterwards."""
    await upgrade(fresh_url)
    event, lane = make_event(at=at(1)), Lane("webhook", Priority.NORMAL)
    new = make_delivery(event, due_at=at(1))
    async with Notifykit(fresh_url, create=False) as kit:
        await kit.store.append([event])
        (taken,) = await kit.store.take(9, now=at(2), lease=LEASE)
        await kit.store.settle([Settlement(taken.id, 1, [new])], now=at(2), lease=LEASE, worker="w")
        handed = await kit.store.hand_off(lane, 9, now=at(2), hold=timedelta(days=1), most=Outstanding(9, 9, 9))

    await _downgrade(fresh_url, "0015")
    await upgrade(fresh_url)

    async with Notifykit(fresh_url, create=False) as kit:
        (found,) = await kit.store.find_deliveries(ACME, DeliveryFilter(), limit=9)
        claims = await kit.store.claim(lane, 9, now=at(2), lease=LEASE, worker="w")
    assert [new.id] == [ticket.delivery_id for ticket in handed] == [claim.delivery_id for claim in claims]
    assert at(1) == found.due_at


async def test_one_database_becomes_a_shard_in_schema_0017(fresh_url, tmp_path):
    """A database of schema 0016 with data in it gets the tables, is one of two shards then, and can go back."""
    await upgrade(fresh_url)
    await _downgrade(fresh_url, "0016")
    _run_sql(fresh_url, "INSERT INTO notifykit_tenants VALUES ('acme', 7)")
    await upgrade(fresh_url)
    async with Notifykit(fresh_url, create=False) as kit:
        await kit.store.append([make_event(at=at(1))])

    second = f"sqlite:///{tmp_path / 'second.db'}"
    async with Notifykit(store=ShardedStore({"first": fresh_url, "second": second})) as kit:
        store = cast("ShardedStore", kit.store)
        homes = {store.partition(f"tenant-{number}") for number in range(20)}
        await store.move_tenant(ACME, "second")
        (taken,) = await store.take(9, now=at(2), lease=LEASE)
    down = await _downgrade(fresh_url, "0016")

    assert ({"first"}, 8, "0016") == (homes, taken.tenant_version, down)


async def test_the_audit_log_begins_with_schema_0018(fresh_url):
    """A database of schema 0017 keeps its endpoints, has an empty log and no workers, and can go back."""
    await upgrade(fresh_url)
    await _downgrade(fresh_url, "0017")
    _run_sql(
        fresh_url, ENDPOINT_BEFORE_0004.replace("updated_at)", "updated_at, version)").replace("5, 5)", "5, 5, 1)")
    )

    await _has_what_operators_look_at(fresh_url, endpoints=1)
    down = await _downgrade(fresh_url, "0017")

    assert "0017" == down


async def test_the_audit_log_begins_with_schema_0018_on_mysql(mysql_database):
    """Where scripts begin with this one; one that was interrupted after the first table goes on."""
    await create_through_the_store(mysql_database)
    _run_sql(mysql_database, "DROP TABLE notifykit_workers")
    _run_sql(mysql_database, f"UPDATE {migrate.VERSION_TABLE} SET version_num = '0017'")

    await _has_what_operators_look_at(mysql_database, endpoints=0)


async def _has_what_operators_look_at(url: str, *, endpoints: int) -> None:
    await upgrade(url)
    async with Notifykit(url, create=False) as kit:
        before = (await kit.audit.page()).entries, await kit.store.page(WorkerRecord, "", limit=9)
        told: dict[str, Any] = {
            "subject": "key_1",
            "role": "operator",
            "tenant": ACME,
            "target": None,
            "request_id": "req_1",
        }
        entry = await kit.audit.add(ActionAudited(action="pause_endpoint", status=200, **told))
        worker = await kit.store.save(WorkerRecord(id="host-1", started_at=at(1), seen_at=at(2)))
        after = (await kit.audit.page()).entries, await kit.store.page(WorkerRecord, "", limit=9)
        assert endpoints == len((await load(kit.store, ACME)).endpoints)
    assert ([], []) == before
    assert ([entry], [worker]) == after


async def test_sessions_are_ended_from_schema_0019(fresh_url):
    """A database of schema 0018 keeps its keys and its audit log, gets the table, and can go back."""
    await upgrade(fresh_url)
    async with Notifykit(fresh_url, create=False) as kit:
        issued = await kit.api_keys.create(tenant=ACME, role="viewer")

    for _ in range(2):
        assert "0018" == await _downgrade(fresh_url, "0018")
        await _sessions_can_be_ended(fresh_url)

    async with Notifykit(fresh_url, create=False) as kit:
        assert issued.key == await kit.api_keys.find(issued.secret)


async def test_sessions_are_ended_from_schema_0019_on_mysql(mysql_database):
    """Also when an upgrade was interrupted after it had made the table."""
    await create_through_the_store(mysql_database)
    set_back = f"UPDATE {migrate.VERSION_TABLE} SET version_num = '0018'"

    _run_sql(mysql_database, set_back)
    await upgrade(mysql_database)
    for statement in ("DROP TABLE notifykit_ended_sessions", set_back):
        _run_sql(mysql_database, statement)

    await _sessions_can_be_ended(mysql_database)


async def _sessions_can_be_ended(url: str) -> None:
    await upgrade(url)
    async with Notifykit(url, create=False) as kit:
        ended = await kit.store.save(EndedSession(id=ended_id("nonce", at(1)), area="portal"))
        assert [ended] == await kit.store.page(EndedSession, OPERATORS, limit=9)


async def test_schema_0020_finds_history_by_time(postgres_database):
    """A database of schema 0019 keeps what has ended, finds it by B-trees, and can go back."""
    await upgrade(postgres_database)
    async with Notifykit(postgres_database, create=False) as kit:
        event = make_event(at=at(1))
        await kit.store.append([event])
        (taken,) = await kit.store.take(9, now=at(1), lease=LEASE)
        new = make_delivery(event, state=DeliveryState.SUPPRESSED)
        await kit.store.settle([Settlement(taken.id, taken.fence, [new])], now=at(1), lease=LEASE, worker="planner-1")

    for kind in ("brin", "btree"):
        if kind == "brin":
            assert "0019" == await _downgrade(postgres_database, "0019")
        else:
            await upgrade(postgres_database)
        assert [(kind,), (kind,)] == _kinds_of_indexes(postgres_database)

    async with Notifykit(postgres_database, create=False) as kit:
        assert 2 == await kit.store.purge(before=at(2), keys_before=at(2), limit=9)


def _kinds_of_indexes(url: str) -> list[tuple[str]]:
    names = ["notifykit_deliveries_finished", "notifykit_events_published"]
    find = """
        SELECT a.amname::text FROM pg_class c JOIN pg_am a ON a.oid = c.relam
        WHERE c.relname = ANY(%s) ORDER BY c.relname
    """
    with psycopg.connect(url) as connection:
        return connection.execute(find, [names]).fetchall()


async def _records(kit: Notifykit) -> tuple[Endpoint, Subscription, OpenCircuit]:
    config = await load(kit.store, ACME)
    return config.endpoints[0], config.subscriptions[0], (await kit.store.circuits())[0]


async def test_a_step_back_makes_the_schema_before(fresh_url):
    """One step down and up again restores the schema."""
    await upgrade(fresh_url)

    down = await _downgrade(fresh_url, "-1")
    up = await upgrade(fresh_url)

    assert (BEFORE_HEAD, migrate.HEAD) == (down, up)
    async with Notifykit(fresh_url, create=False) as kit:
        assert 0 == (await kit.stats()).unplanned


async def test_lists_and_templates_are_added_beside_what_is_there(fresh_url):
    """A database of schema 0010 with people in it gets the tables; going back drops only these."""
    await upgrade(fresh_url)
    async with Notifykit(fresh_url, create=False) as kit:
        ada = await kit.recipients.save("user:42", tenant=ACME, email="ada@example.org")
        await kit.suppressions.add("email", "ada@example.org", tenant=ACME)

    down = await _downgrade(fresh_url, "0010")
    await upgrade(fresh_url)

    async with Notifykit(fresh_url, create=False) as kit:
        kept, listed = await kit.recipients.get("user:42", tenant=ACME), await kit.suppressions.page(tenant=ACME)
        added = await kit.suppressions.add("email", "ada@example.org", tenant=ACME, reason="complaint")
        found = await kit.suppressions.check("email", "ADA@example.org", tenant=ACME)
        templates = await kit.templates.list(tenant=ACME)
    assert ("0010", ada, [], added, []) == (down, kept, listed, found, templates)


async def test_a_downgraded_schema_can_be_upgraded_again(fresh_url):
    """Down to nothing and up again, by script or at once: the version table that is left does no harm."""
    await upgrade(fresh_url)
    gone = await _downgrade(fresh_url)
    with pytest.raises(SchemaError, match="no notifykit tables"):
        await Notifykit(fresh_url, create=False).open()

    await create_through_the_store(fresh_url)

    async with Notifykit(fresh_url, create=False) as kit:
        assert 0 == (await kit.stats()).unplanned
    assert gone == "none"


async def _downgrade(url: str, revision: str = "base") -> str:
    from alembic import command

    from notifykit.stores import store_from_url

    def work(connection: Connection) -> str:
        config = migrate.alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
        return migrate.version(connection) or "none"

    return await store_from_url(url).upgrade(work)  # type: ignore[attr-defined]


async def test_a_database_that_cannot_be_migrated_is_named(tmp_path):
    """A memory store has no migrations; an unavailable database or a file that is no database is our error."""
    with pytest.raises(ConfigurationError, match="memory store has no migrations"):
        await upgrade("memory://")
    with pytest.raises(StoreUnavailableError):
        await upgrade("postgresql://nobody@127.0.0.1:1/nowhere")
    with pytest.raises(StoreUnavailableError):
        await upgrade(f"sqlite:///{tmp_path}")


# ── which versions may open it ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("stamp", "message"),
    [
        (None, "no notifykit tables; run: notifykit migrate"),
        ("0000", "has schema 0000, this version needs .*; run: notifykit migrate"),
        ("9999", "has schema 9999, newer than .*: upgrade notifykit"),
    ],
    ids=["missing", "older", "newer"],
)
async def test_a_schema_of_another_version_is_refused(store_url, stamp, message):
    """The error says whether the database or the program is behind, and what to do."""
    table = migrate.VERSION_TABLE
    statement = f"DELETE FROM {table}" if stamp is None else f"UPDATE {table} SET version_num = '{stamp}'"
    _run_sql(store_url, statement)

    try:
        with pytest.raises(SchemaError, match=message):
            await Notifykit(store_url, create=False).open()
    finally:
        _run_sql(store_url, f"DELETE FROM {table}")
        _run_sql(store_url, f"INSERT INTO {table} VALUES ('{migrate.HEAD}')")


def _run_sql(url: str, statement: str) -> None:
    if url.startswith("postgres"):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement.encode())
        return
    if url.startswith("mysql"):
        engine = create_engine(make_url(url).set(drivername="mysql+pymysql"), poolclass=NullPool)
        with engine.begin() as mysql:
            mysql.exec_driver_sql(statement)
        return
    db = sqlite3.connect(make_url(url).database or "")
    with db:
        db.execute(statement)
    db.close()


# ── several processes at once ─────────────────────────────────────────────────────────────────────────────────

#: Imports once and forks, because eight interpreters take longer to start than everything else here.
_CROWD = """
import os, sys, traceback, anyio
import alembic.command
from notifykit import Event, Notifykit
from notifykit.stores.sql import migrate, upgrade
from notifykit.stores.sql.postgres import store
from notifykit.stores.sql.sqlite import store

count, url, what = sys.argv[1:]

async def main():
    if what == "migrate":
        await Notifykit(url).migrate()
    async with Notifykit(url, create=what == "create") as kit:
        await kit.apublish(Event(type="a.b", data={}), tenant="acme")

waiting, go = os.pipe()
children = []
for _ in range(int(count)):
    children.append(os.fork())
    if children[-1] == 0:
        os.close(go)
        os.read(waiting, 1)  # until the parent closes the other end
        status = 1
        try:
            anyio.run(main)
            status = 0
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(status)  # clearing up eight copies of the interpreter would take longer than the test
os.close(go)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""


def in_processes(count: int, url: str, what: str) -> tuple[str, str]:
    """Start processes at the same moment; return their exit codes and their error output."""
    command = [sys.executable, "-c", _CROWD, str(count), url, what]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
    return done.stdout, done.stderr[-2000:]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("what", ["create", "migrate"])
def test_eight_processes_make_one_database(fresh_url, what):
    """A first start of several processes at once: one makes the tables, the others wait, and all can publish."""
    ends = in_processes(8, fresh_url, what)

    async def count() -> int:
        async with Notifykit(fresh_url, create=False) as kit:
            return (await kit.stats()).unplanned

    assert (f"{[0] * 8}\n", "") == ends
    assert 8 == anyio.run(count)
