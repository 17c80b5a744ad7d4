"""What is particular to the MySQL store: its errors, deadlocks, servers that go away or are read-only, its tables."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import exc, text

from notifykit import SchemaError, StoreError, StoreUnavailableError
from notifykit.ports import Settlement
from notifykit.stores.sql import migrate, reading
from notifykit.stores.sql.upgrade import migrate as upgrade
from notifykit.testing import START, FakeClock, make_delivery, make_event
from notifykit.testing.mysql_servers import MariadbServer
from tests.databases import mysql_connection

pytest.importorskip("asyncmy", reason="needs asyncmy")

import asyncmy

from notifykit.errors import ConfigurationError, ValueRefusedError
from notifykit.stores.sql.mysql import faults
from notifykit.stores.sql.mysql.statements import NAMED
from notifykit.stores.sql.mysql.store import MysqlStore
from notifykit.stores.sql.mysql.verbs import rows

LEASE = timedelta(minutes=1)


@pytest.fixture
async def store(mysql_store_url):
    store = MysqlStore(mysql_store_url)
    await store.open()
    yield store
    await store.aclose()


async def test_tickets_find_their_deliveries_by_their_ids(store):
    """However much waits in the lane, its index is not read."""
    explained = "EXPLAIN " + NAMED.format(unless="AND id IN (%s, %s)")

    (plan,) = await store._write(lambda connection: rows(connection, explained, "webhook", 1, 0, "dlv_1", "dlv_2", 5))

    assert "PRIMARY" == plan["possible_keys"]


@pytest.mark.parametrize("ask", [lambda store: store.next_due(), lambda store: store.stats(now=START)])
async def test_the_first_due_delivery_is_found_without_reading_the_others(store, mysql_store_url, monkeypatch, ask):
    """As often as idle processes and pages ask for it."""
    monkeypatch.setattr(reading, "_COUNT_CAP", 10)
    await store.append([make_event() for _ in range(300)])
    taken = await store.take(300, now=START, lease=LEASE)
    planned = [[make_delivery(make_event()._replace(id=event.id))] for event in taken]
    settlements = [Settlement(event.id, event.fence, new) for event, new in zip(taken, planned, strict=True)]
    await store.settle(settlements, now=START, lease=LEASE, worker="planner-1")

    before = await store._read(_rows_read)
    await ask(store)
    after = await store._read(_rows_read)

    assert after - before < 200


def _rows_read(connection):
    """Return how many rows the connection has read; a test's store has one."""
    found = rows(connection, "SHOW SESSION STATUS LIKE 'Handler_read%%'")
    return sum(int(row["Value"]) for row in found)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (1213, StoreUnavailableError),
        (1205, StoreUnavailableError),
        (1290, StoreUnavailableError),
        (1836, StoreUnavailableError),
        (1040, StoreUnavailableError),
        (1053, StoreUnavailableError),
        (2006, StoreUnavailableError),
        (2013, StoreUnavailableError),
        (1146, SchemaError),
        (1054, SchemaError),
        (1062, ValueRefusedError),
        (1406, ValueRefusedError),
        (1153, ValueRefusedError),
        (1045, StoreError),
        (1142, StoreError),
    ],
)
def test_an_error_is_told_by_its_number(number, kind):
    """What may pass is tried again, what is wrong with a value concerns that alone, tables need an operator."""
    cause = asyncmy.errors.OperationalError(number, "of 'shop.notifykit_events', with 'a private value'")
    error = faults.translated(exc.OperationalError("SELECT 1", {}, cause))

    assert kind is type(error)
    assert number in (1146, 1054, 1045, 1142, 1213, 1205, 1040, 1053, 2006, 2013) or "private" not in str(error)


async def test_a_deadlock_is_tried_again(store, mysql_store_url):
    """The transaction that the server chose to end runs again, and its caller notices nothing."""
    ran = 0

    def lock(connection, first, second, pause):
        nonlocal ran
        ran += 1
        connection.execute(text("UPDATE notifykit_tenants SET version = version + 1 WHERE tenant = :t"), {"t": first})
        connection.exec_driver_sql(f"DO SLEEP({pause})")
        connection.execute(text("UPDATE notifykit_tenants SET version = version + 1 WHERE tenant = :t"), {"t": second})

    with mysql_connection(mysql_store_url) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO notifykit_tenants VALUES ('a', 1), ('b', 1)")

    await asyncio.gather(store._write(lambda c: lock(c, "a", "b", 0.3)), store._write(lambda c: lock(c, "b", "a", 0.3)))

    with mysql_connection(mysql_store_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT version FROM notifykit_tenants ORDER BY tenant")
        assert ((3,), (3,)) == cursor.fetchall()
    assert ran >= 3


async def test_keys_differ_by_every_character(store):
    """Capitals, accents and trailing spaces count, as on every other database."""
    keys = ["order 1", "Order 1", "order 1 ", "ördér 1"]
    events = [make_event(at=START, idempotency_key=key) for key in keys]

    answers = await store.append(events)

    assert [False] * 4 == [answer.duplicate for answer in answers]


async def test_a_batch_larger_than_a_packet_is_stored(store):
    """The driver cuts it into statements that the server takes."""
    events = [make_event(at=START, body=bytes(range(256)) * 1000) for _ in range(40)]

    await store.append(events)
    taken = await store.take(100, now=START, lease=LEASE)

    assert {event.body for event in events} == {event.body for event in taken}
    assert len(events) == len(taken)


async def test_a_text_that_is_too_long_is_refused(store):
    """Instead of being cut short, whatever the server's own mode is."""
    with pytest.raises(ValueRefusedError, match="error 1406"):
        await store.append([make_event(at=START, idempotency_key="k" * 300)])


async def test_nothing_waits_for_a_row_that_another_process_claims(store, mysql_store_url):
    """Claims pass over locked rows."""
    events = [make_event(at=START) for _ in range(2)]
    await store.append(events)
    with mysql_connection(mysql_store_url) as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT * FROM notifykit_outbox WHERE event_id = %s FOR UPDATE", (events[0].id,))

        taken = await asyncio.wait_for(store.take(10, now=START, lease=LEASE), 3)

        cursor.execute("ROLLBACK")
    assert [events[1].id] == [event.id for event in taken]


async def test_a_plan_waits_for_no_publish(store, mysql_store_url):
    """Rows of a short table are found by their keys: those that are just being inserted are not looked at."""
    events = [make_event(at=START) for _ in range(3)]
    await store.append(events)
    taken = await store.take(10, now=START, lease=LEASE)
    with mysql_connection(mysql_store_url) as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(
            "INSERT INTO notifykit_outbox (event_id, tenant, priority, due_at) VALUES ('evt_under_way', 'acme', 1, 0)"
        )
        plans = [Settlement(event.id, event.fence, ()) for event in taken]

        settled = await asyncio.wait_for(store.settle(plans, now=START, lease=LEASE, worker="w"), 3)

        cursor.execute("ROLLBACK")
    assert {event.id for event in events} == settled


async def test_results_that_cannot_be_written_are_noticed(store, mysql_store_url):
    """No lease is ended while a table is locked: its worker may live."""
    with mysql_connection(mysql_store_url) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLES notifykit_deliveries READ")

        with pytest.raises(StoreUnavailableError):
            await asyncio.wait_for(store.rescue(10, now=START, max_abandoned=3), 4)

        cursor.execute("UNLOCK TABLES")
    assert [] == await store.rescue(10, now=START, max_abandoned=3)


@pytest.fixture(scope="module")
def server(mysql_url):
    """A server that this module has for itself."""
    del mysql_url  # skips where there is none
    with MariadbServer() as server:
        yield server


@pytest.mark.thorough
@pytest.mark.xdist_group("mysql-server")
class TestServers:
    """A server of one's own."""

    @pytest.fixture
    async def store(self, server):
        store = MysqlStore(server.url, create=True)
        await store.open()
        yield store
        await store.aclose()

    async def test_a_server_that_was_restarted_costs_nothing(self, server, store):
        """Connections that waited in the pool are replaced, and what was stored is there."""
        event = make_event(at=START)
        await store.append([event])
        server.crash()
        with pytest.raises(StoreUnavailableError):
            await store.append([make_event(at=START)])
        server.resume()

        await store.append([make_event(at=START)])

        assert event.id in {one.id for one in await store.take(10, now=START, lease=LEASE)}

    async def test_a_primary_that_becomes_read_only_is_noticed(self, server, store):
        """By what every process asks every few seconds, and a store does not open there."""
        with mysql_connection(server.url) as connection, connection.cursor() as cursor:
            cursor.execute("SET GLOBAL read_only = 1")
            try:
                with pytest.raises(StoreUnavailableError, match="the address of the primary"):
                    await store.next_due()
                with pytest.raises(StoreUnavailableError, match="the address of the primary"):
                    await MysqlStore(server.url).open()
            finally:
                cursor.execute("SET GLOBAL read_only = 0")

        await store.next_due()

    async def test_a_server_that_takes_no_batches_is_refused(self, server):
        """With the setting that has to change."""
        with mysql_connection(server.url) as connection, connection.cursor() as cursor:
            cursor.execute("SET GLOBAL max_allowed_packet = 1048576")
            try:
                with pytest.raises(ConfigurationError, match="max_allowed_packet is 1048576; set it to 16M"):
                    await MysqlStore(server.url).open()
            finally:
                cursor.execute("SET GLOBAL max_allowed_packet = 16777216")

    async def test_a_wrong_password_is_no_outage(self, server):
        """Trying again would not help."""
        with mysql_connection(server.url) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE USER IF NOT EXISTS app IDENTIFIED BY 'right'")

        with pytest.raises(StoreError, match="refused the login") as refused:
            await MysqlStore(server.url.replace("root@", "app:wrong@")).open()

        assert not isinstance(refused.value, StoreUnavailableError)

    async def test_a_server_without_encryption_is_used_if_it_is_preferred_only(self, server):
        """And refused if it is demanded."""
        store = MysqlStore(f"{server.url}?ssl-mode=PREFERRED", create=True)
        await store.open()
        await store.aclose()

        with pytest.raises(StoreUnavailableError, match="SSL"):
            await MysqlStore(f"{server.url}?ssl-mode=REQUIRED").open()


# ── tables ─────────────────────────────────────────────────────────────────────────────────────


async def test_an_empty_database_gets_the_newest_tables(mysql_database):
    """Also if the process that made them before was killed half-way, and again without harm."""
    with mysql_connection(mysql_database) as connection, connection.cursor() as cursor:
        store = MysqlStore(mysql_database, create=True)
        await store.open()
        await store.aclose()
        cursor.execute("DELETE FROM notifykit_alembic")
        cursor.execute("DROP INDEX notifykit_queue_head ON notifykit_queue")
        cursor.execute("DROP TABLE notifykit_digests")

        assert migrate.HEAD == await upgrade(mysql_database)
        assert migrate.HEAD == await upgrade(mysql_database)

        cursor.execute("SHOW INDEX FROM notifykit_queue WHERE Key_name = 'notifykit_queue_head'")
        assert 2 == len(cursor.fetchall())
        cursor.execute("SELECT COUNT(*) FROM notifykit_digests")
        assert ((0,),) == cursor.fetchall()


async def test_migrations_to_come_run(mysql_database, tmp_path, monkeypatch):
    """A script after the newest one is applied to tables with data in them."""
    folder = tmp_path / "versions"
    folder.mkdir()
    (folder / "9999_note.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        f"revision, down_revision, branch_labels, depends_on = '9999', '{migrate.HEAD}', None, None\n\n"
        "def upgrade():\n"
        "    op.add_column('notifykit_queue', sa.Column('note', sa.Text))\n"
        "    op.execute(\"UPDATE notifykit_queue SET note = 'kept'\")\n"
    )
    known = migrate.alembic_config

    def config():
        made = known()
        scripts = made.get_main_option("script_location")
        made.set_main_option("path_separator", "os")
        made.set_main_option("version_locations", f"{scripts}/versions:{folder}")
        return made

    clock = FakeClock()
    store = MysqlStore(mysql_database, create=True)
    await store.open()
    event = make_event(at=clock.now())
    await store.append([event])
    (taken,) = await store.take(1, now=clock.now(), lease=LEASE)
    delivery = make_delivery(event, "end_1")
    await store.settle(
        [Settlement(event.id, taken.fence, [delivery], None, [])], now=clock.now(), lease=LEASE, worker="w"
    )
    await store.aclose()
    monkeypatch.setattr(migrate, "alembic_config", config)

    version = await upgrade(mysql_database)

    assert "9999" == version
    with mysql_connection(mysql_database) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT id, note FROM notifykit_queue")
        assert ((delivery.id, "kept"),) == cursor.fetchall()


async def test_keys_fit_into_their_indexes(store):
    """The longest names that are admitted are stored."""
    event = make_event(at=START, tenant="t" * 128, idempotency_key="ü" * 255, ordering_key="€" * 255)
    await store.append([event])
    (taken,) = await store.take(1, now=START, lease=LEASE)

    assert event.ordering_key == taken.ordering_key


async def test_a_server_that_accepts_and_says_nothing_is_given_up():
    """After ``connect_timeout``, which covers the handshake as well."""
    closed = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        closed.set()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as silent, asyncio.timeout(10):
        port = silent.sockets[0].getsockname()[1]
        store = MysqlStore(f"mysql://app:s@127.0.0.1:{port}/shop?connect_timeout=1&ssl-mode=DISABLED")
        with pytest.raises(StoreUnavailableError, match="does not answer on a new connection"):
            await store.open()
        await closed.wait()
