"""Publishing from Django: an event is committed or rolled back with the transaction that it joins."""

from __future__ import annotations

import json
import sys
import threading
from contextlib import contextmanager
from urllib.parse import urlsplit

import attrs
import pytest
from django.db import connections, transaction
from django.db.utils import IntegrityError

import notifykit
from notifykit import (
    CannotJoinError,
    EgressRules,
    Event,
    IdempotencyConflictError,
    InvalidEventError,
    Notifykit,
    SchemaError,
)
from notifykit.contrib.django import publish, publish_many, store_url
from notifykit.errors import ConfigurationError, MissingExtraError
from notifykit.stores.sql.mysql.url import Encrypted, MysqlUrl
from notifykit.stores.sql.postgres.url import PostgresUrl
from notifykit.testing import Outbox, Receiver
from tests.databases import new_database
from tests.unit.contrib.conftest import django_database, mysql_settings


@notifykit.event("order.placed")
@attrs.frozen
class OrderPlaced:
    """A customer has ordered."""

    order_id: str


class OutageError(Exception):
    """Raised in the middle of a transaction."""


@contextmanager
def rolled_back():
    """An ``atomic`` block that an error ends."""
    try:
        with transaction.atomic():
            yield
            raise OutageError
    except OutageError:
        pass


def place(order_id, kit, **options):
    """Do what a view does: save the order and publish."""
    with connections["default"].cursor() as cursor:
        cursor.execute("INSERT INTO orders VALUES (%s)", [order_id])
    return publish(OrderPlaced(order_id), tenant="acme", kit=kit, **options)


def place_twice(order_id, kit):
    """Break the primary key of the orders."""
    place(order_id, kit)
    place(order_id, kit)


def orders():
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT id FROM orders ORDER BY id")
        return [row[0] for row in cursor.fetchall()]


def published(kit):
    events = kit.blocking.events.list(tenant="acme")
    return sorted((event.id, event.body) for event in events)


# ── commit and rollback ───────────────────────────────────────────────────────────────────────────────────


def test_a_commit_publishes(kit):
    """The event is invisible to others before the commit, and visible after it."""
    with transaction.atomic():
        receipt = place("A-1", kit)
        before = published(kit)

    ((event_id, body),) = published(kit)
    assert [] == before
    assert ["A-1"] == orders()
    assert receipt.event_id == event_id
    assert b'"data":{"order_id":"A-1"}' in body


def test_a_rollback_leaves_nothing(kit):
    """Neither the order nor the event survives an error."""
    with rolled_back():
        place("A-1", kit)

    assert ([], []) == (orders(), published(kit))
    assert 0 == kit.blocking.stats().unplanned


def test_a_rolled_back_savepoint_leaves_nothing_and_the_rest_stays(kit):
    """An inner ``atomic`` that fails takes its event with it, and only that one."""
    with transaction.atomic():
        kept = place("A-1", kit)
        with rolled_back():
            place("A-2", kit)

    assert ["A-1"] == orders()
    assert [kept.event_id] == [event_id for event_id, _ in published(kit)]
    assert 1 == kit.blocking.stats().unplanned


def test_outside_of_atomic_the_event_is_stored_at_once(kit):
    """As anything that Django saves: event and outbox row together."""
    publish(OrderPlaced("A-1"), tenant="acme", kit=kit)

    assert 1 == len(published(kit))
    assert 1 == kit.blocking.stats().unplanned


def test_outside_of_atomic_a_failed_half_leaves_no_event(kit, url):
    """The statements of one publish are one step, also where there are two of them."""
    with connections["default"].cursor() as cursor:
        cursor.execute("ALTER TABLE notifykit_outbox RENAME TO notifykit_hidden")

    with pytest.raises(SchemaError, match="notifykit migrate"):
        publish(OrderPlaced("A-1"), tenant="acme", kit=kit)

    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM notifykit_events")
        assert (0,) == cursor.fetchone()


def test_many_events_are_all_stored_or_none(kit):
    """More than fit into one statement are one step all the same."""
    events = [OrderPlaced(f"A-{number}") for number in range(450)]

    receipts = publish_many(events, tenant="acme", kit=kit)
    with pytest.raises(InvalidEventError, match=r"\[450\]"):
        publish_many([*events, "no event"], tenant="acme", kit=kit)

    assert 450 == len({receipt.event_id for receipt in receipts})
    assert 450 == kit.blocking.stats().unplanned


def test_awkward_characters_arrive_as_they_are(kit):
    """Percent signs, quotes and what is not ASCII pass through the driver untouched."""
    text = "100 % 'sure' \"%s\" %(name)s \\ äöü 🚚"

    publish(OrderPlaced(text), tenant="acme", kit=kit, metadata={"note": "50 %"}, topic="shop/7")

    (event,) = kit.blocking.events.list(tenant="acme")
    assert text == json.loads(event.body)["data"]["order_id"]
    assert ('{"note":"50 %"}', "shop/7") == (event.metadata, event.topic)


# ── idempotency ────────────────────────────────────────────────────────────────────────────────


def test_a_repeat_with_the_same_key_is_a_duplicate(kit):
    """In one transaction, and in a later one."""
    with transaction.atomic():
        first = publish(OrderPlaced("A-1"), tenant="acme", kit=kit, idempotency_key="k")
        second = publish(OrderPlaced("A-1"), tenant="acme", kit=kit, idempotency_key="k")
    third = publish(OrderPlaced("A-1"), tenant="acme", kit=kit, idempotency_key="k")

    assert [False, True, True] == [receipt.duplicate for receipt in (first, second, third)]
    assert {first.event_id} == {receipt.event_id for receipt in (second, third)}
    assert 1 == kit.blocking.stats().unplanned


def test_a_key_of_another_event_is_refused_and_the_transaction_can_go_on(kit):
    """The conflict is found by reading: no statement of the caller's transaction has failed."""
    publish(OrderPlaced("A-1"), tenant="acme", kit=kit, idempotency_key="k")

    with transaction.atomic():
        with pytest.raises(IdempotencyConflictError):
            publish(OrderPlaced("A-2"), tenant="acme", kit=kit, idempotency_key="k")
        place("A-3", kit)

    assert ["A-3"] == orders()
    assert 2 == kit.blocking.stats().unplanned


def test_a_conflict_among_many_leaves_none_of_them(kit):
    """A program that catches the error and commits has not published half of it."""
    publish(OrderPlaced("A-1"), tenant="acme", kit=kit, idempotency_key="k")

    with transaction.atomic(), pytest.raises(IdempotencyConflictError):
        publish_many(
            [
                Event(type="order.placed", data={"order_id": "A-2"}),
                Event(type="order.placed", data={"order_id": "A-3"}, idempotency_key="k"),
            ],
            tenant="acme",
            kit=kit,
        )

    assert 1 == kit.blocking.stats().unplanned


# ── what is refused ────────────────────────────────────────────────────────────────────────────


def test_a_kit_on_another_kind_of_database_is_refused(url, tmp_path):
    """An event that could not join the order's transaction is an error."""
    other = "postgresql://nobody@nowhere/none" if url.startswith("sqlite") else f"sqlite:///{tmp_path / 'other.db'}"

    with pytest.raises(CannotJoinError, match="give the kit the same database"), transaction.atomic():
        place("A-1", Notifykit(other))

    assert [] == orders()


def test_a_kit_on_another_file_is_refused(tmp_path):
    """Two SQLite files are two databases."""
    settings = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "shop.db"}

    with django_database("default", settings), pytest.raises(CannotJoinError, match=r"other\.db"):
        publish(OrderPlaced("A-1"), tenant="acme", kit=Notifykit(f"sqlite:///{tmp_path / 'other.db'}"))


def test_a_database_without_tables_says_what_to_do(tmp_path):
    """The error names the command."""
    settings = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "shop.db"}

    with django_database("default", settings), pytest.raises(SchemaError, match="notifykit migrate"):
        publish(OrderPlaced("A-1"), tenant="acme", kit=Notifykit(f"sqlite:///{tmp_path / 'shop.db'}"))


def test_an_error_that_has_nothing_to_do_with_us_stays_itself(kit):
    """Django's own errors pass through a transaction with an event in it."""
    with pytest.raises(IntegrityError), transaction.atomic():
        place_twice("A-1", kit)

    assert ([], []) == (orders(), published(kit))


def test_without_django_the_import_names_the_extra(monkeypatch):
    """The error names the package to install."""
    monkeypatch.setitem(sys.modules, "django.db", None)
    monkeypatch.delitem(sys.modules, "notifykit.contrib.django")

    with pytest.raises(MissingExtraError, match=r"notifykit-sdk\[django\]"):
        __import__("notifykit.contrib.django")


# ── which database ─────────────────────────────────────────────────────────────────────────────


def test_the_kits_url_can_be_taken_from_djangos_settings(url):
    """The kit that is made of it finds what was published."""
    kit = Notifykit(store_url())

    receipt = publish(OrderPlaced("A-1"), tenant="acme", kit=kit)

    assert receipt.event_id == kit.blocking.events.get(receipt.event_id, tenant="acme").id
    assert store_url() == url
    kit.close()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"HOST": "db", "PORT": "5433", "USER": "a b", "PASSWORD": "p@ss/%"},
            "postgresql://a b:p%40ss%2F%25@db:5433/shop",
        ),
        ({}, "postgresql:///shop"),
        ({"HOST": "/run/postgresql"}, "postgresql:///shop?host=%2Frun%2Fpostgresql"),
    ],
)
def test_every_way_to_name_a_server_is_understood(settings, expected):
    """Passwords with special characters, sockets and defaults."""
    from sqlalchemy import make_url

    with django_database("default", {"ENGINE": "django.db.backends.postgresql", "NAME": "shop", **settings}):
        assert make_url(expected) == make_url(store_url())


SERVER = {"ENGINE": "django.db.backends.postgresql", "NAME": "shop", "HOST": "db"}


@pytest.mark.parametrize(
    ("options", "query"),
    [
        ({"sslmode": "require"}, {"sslmode": "require"}),
        (
            {"sslmode": "verify-full", "sslrootcert": "/etc/ca.pem"},
            {"sslmode": "verify-full", "sslrootcert": "/etc/ca.pem"},
        ),
        ({"options": "-c search_path=shop,public"}, {"options": "-c search_path=shop,public"}),
        ({"connect_timeout": 3, "application_name": "shop"}, {"connect_timeout": "3", "application_name": "shop"}),
        ({"service": "shop", "passfile": "~/.pgpass"}, {"service": "shop", "passfile": "~/.pgpass"}),
        ({"assume_role": "shop owner"}, {"options": "-crole=shop\\ owner"}),
        ({"assume_role": "a", "options": "-cgeqo=off"}, {"options": "-cgeqo=off -crole=a"}),
        ({"pool": True, "isolation_level": 3, "server_side_binding": True}, {}),
    ],
)
def test_options_of_djangos_database_come_along(options, query):
    """Options for encryption, schemas and roles apply to the kit, too; what only Django needs does not."""
    from sqlalchemy import make_url

    with django_database("default", {**SERVER, "OPTIONS": options}):
        assert query == make_url(store_url()).query


def test_an_option_that_cannot_be_kept_is_refused():
    """By the kit, which names it: a connection without it would break a setting of Django's."""
    with (
        django_database("default", {**SERVER, "OPTIONS": {"channel_binding": "require"}}),
        pytest.raises(ConfigurationError, match="channel_binding=require"),
    ):
        Notifykit(store_url())


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"HOST": "db", "PORT": "3307", "USER": "a b", "PASSWORD": "p@ss/%"},
            {"host": "db", "port": 3307, "user": "a b", "password": "p@ss/%"},
        ),
        ({"HOST": "/run/mysqld.sock"}, {"socket": "/run/mysqld.sock"}),
        (
            {"HOST": "db", "OPTIONS": {"ssl": {"ca": "/etc/ca.pem"}, "charset": "utf8mb4", "init_command": "SET x=1"}},
            {"files": {"ca": "/etc/ca.pem"}, "encrypted": Encrypted.VERIFY_CA},
        ),
        ({"HOST": "db", "OPTIONS": {"ssl_mode": "REQUIRED"}}, {"encrypted": Encrypted.REQUIRED}),
    ],
)
def test_a_mysql_database_of_django_is_understood(settings, expected):
    """Passwords with special characters, sockets, and options for encryption."""
    of_django = mysql_settings("mysql://host/") | {"NAME": "shop", "USER": "", "PORT": "", **settings}
    with django_database("default", of_django):
        url = MysqlUrl.parse(store_url())

    assert "shop" == url.database
    assert expected == {name: getattr(url, name) for name in expected}


def test_several_hosts_of_djangos_database_come_along():
    """As libpq takes them."""
    with django_database("default", {**SERVER, "HOST": "a,b", "PORT": "1,2"}):
        url = PostgresUrl.parse(store_url())

    assert (("a", "b"), (1, 2)) == (url.hosts, url.ports)


def test_both_work_in_the_schema_of_djangos_options(postgres_url):
    """What Django publishes to one schema, the kit finds there."""
    with new_database(postgres_url) as database:
        parts = urlsplit(database)
        settings = {
            **SERVER,
            "HOST": parts.hostname,
            "PORT": parts.port,
            "USER": parts.username,
            "NAME": parts.path[1:],
            "OPTIONS": {"options": "-c search_path=shop,public"},
        }
        with django_database("default", settings):
            with connections["default"].cursor() as cursor:
                cursor.execute("CREATE SCHEMA shop")
            kit = Notifykit(store_url(), create=True)
            before = kit.blocking.stats().unplanned
            publish(OrderPlaced("A-1"), tenant="acme", kit=kit)
            with connections["default"].cursor() as cursor:
                cursor.execute("SELECT count(*) FROM shop.notifykit_outbox")
                stored = cursor.fetchone()
            after = kit.blocking.stats().unplanned
            kit.close()

    assert (0, (1,), 1) == (before, stored, after)


def test_a_database_that_has_no_store_is_refused():
    """Django's dummy stands for the databases that notifykit does not know."""
    dummy = {"ENGINE": "django.db.backends.dummy", "NAME": "shop"}

    with django_database("default", dummy), pytest.raises(ConfigurationError, match="PostgreSQL, MySQL or SQLite"):
        store_url()


def test_another_alias_is_another_transaction(kit, url):
    """``using`` selects the transaction."""
    with django_database("reports", {**connections.databases["default"]}), rolled_back():
        publish(OrderPlaced("A-1"), tenant="acme", kit=kit, using="reports")

    assert 1 == kit.blocking.stats().unplanned


# ── end to end ──────────────────────────────────────────────────────────────────────────────


async def test_what_django_committed_is_delivered(url):
    """From a view's thread to a verified request at the receiver."""
    egress = EgressRules(allow=("127.0.0.0/8",), allow_http=True)
    async with Receiver() as receiver, Notifykit(url, egress=egress) as kit:
        await kit.subscribe("order.*", tenant="acme", endpoint=receiver.url, secret=receiver.secret)

        def view():
            with transaction.atomic():
                place("A-1", kit)
            connections["default"].close()  # Django's connections belong to their thread

        async with kit.dispatcher():
            thread = threading.Thread(target=view)
            thread.start()
            await receiver.aexpect(1)
            thread.join()

    (event,) = receiver.events
    assert ("order.placed", {"order_id": "A-1"}) == (event.type, event.data)


# ── in a host's tests ──────────────────────────────────────────────────────────────────────────


class TestOutboxUnderDjango:
    """A host's tests see what its views publish, also in a test transaction that never commits."""

    @pytest.fixture
    def outbox(self):
        with Outbox() as outbox:
            yield outbox

    def test_events_of_a_test_that_never_commits_are_seen_and_delivered(self, url, outbox):
        """As in a ``TestCase``, which wraps each test in a transaction and rolls it back."""
        outbox.subscribe(tenant="acme")

        with rolled_back():
            with transaction.atomic():
                place("A-1", None)
            outbox.deliver()
            seen = outbox.one(OrderPlaced("A-1"))

        assert "delivered" == seen.state.value

    def test_events_of_a_rolled_back_block_are_not_seen(self, url, outbox):
        """A host can test that an error publishes nothing."""
        with transaction.atomic():
            place("A-1", None)
            with rolled_back():
                place("A-2", None)
        with rolled_back():
            place("A-3", None)
        publish(OrderPlaced("A-4"), tenant="acme")

        outbox.subscribe(tenant="acme")
        outbox.deliver()

        assert ["A-1", "A-4"] == [event.data["order_id"] for event in outbox.events]
        assert ["A-1", "A-4"] == [delivery.json()["data"]["order_id"] for delivery in outbox.deliveries]
