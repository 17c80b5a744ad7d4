"""The kit for sync callers: the same calls, from any thread and in any order."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import anyio
import anyio.to_thread
import pytest

from notifykit import (
    ConfigurationError,
    EgressRules,
    Event,
    IdempotencyConflictError,
    InvalidEventError,
    NotFoundError,
    Notifykit,
    SchemaError,
    StoreUnavailableError,
)
from notifykit.publisher import Publisher
from notifykit.stores.sql.sqlite.store import SqliteStore
from notifykit.testing import FakeClock

ACME = "acme"
SHIPPED = Event(type="order.shipped", data={"order_id": "A-1"})
LOCAL = EgressRules(allow=["127.0.0.0/8"], allow_http=True)
URL = "http://127.0.0.1:8080/hooks"


@pytest.fixture(params=["memory", "sqlite", "postgres", "redis"])
def kit(request):
    url = "memory://" if request.param == "memory" else request.getfixturevalue(f"{request.param}_store_url")
    kit = Notifykit(url, egress=LOCAL)
    yield kit
    kit.close()


@pytest.fixture
def sqlite_kit(sqlite_store_url):
    kit = Notifykit(sqlite_store_url, egress=LOCAL)
    yield kit
    kit.close()


@pytest.fixture
def memory_kit():
    kit = Notifykit("memory://")
    yield kit
    kit.close()


def portals() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "notifykit-portal"]


def test_sync_code_publishes_without_a_loop(kit):
    """The event is durable when ``publish`` returns."""
    receipt = kit.publish(SHIPPED, tenant=ACME)

    assert receipt.event_id == kit.blocking.events.get(receipt.event_id, tenant=ACME).id
    assert 1 == kit.blocking.stats().unplanned


def test_sync_code_publishes_many(kit):
    """A batch, from any iterable, is answered in order."""
    receipts = kit.publish_many((Event(type="order.counted", data={"n": n}) for n in range(600)), tenant=ACME)

    assert 600 == len({receipt.event_id for receipt in receipts}) == kit.blocking.stats().unplanned
    assert b'"n":599' in kit.blocking.events.get(receipts[599].event_id, tenant=ACME).body


def test_eight_threads_at_once_share_one_portal(kit):
    """However many threads begin at the same moment, one loop runs, and every event is stored once."""
    together = threading.Barrier(8)

    def work(number: int) -> list[str]:
        together.wait()
        return [kit.publish(SHIPPED, tenant=ACME, idempotency_key=f"{number}-{n}").event_id for n in range(10)] + [
            kit.blocking.publish(SHIPPED, tenant=ACME, idempotency_key="shared").event_id
        ]

    with ThreadPoolExecutor(8) as threads:
        ids = [id for found in threads.map(work, range(8)) for id in found]

    assert 81 == len(set(ids)) == kit.blocking.stats().unplanned
    assert 1 == len(portals())


def test_threads_share_transactions(sqlite_kit, monkeypatch):
    """What sixteen threads publish while a transaction is under way is one transaction more."""
    sizes = []
    coming = []
    all_came = threading.Event()
    append, publish = SqliteStore.append, Publisher.publish

    async def watched_append(self, events):
        sizes.append(len(events))
        await anyio.to_thread.run_sync(all_came.wait)
        return await append(self, events)

    async def watched_publish(self, event, options):
        coming.append(event)
        if len(coming) == 17:
            all_came.set()
        return await publish(self, event, options)

    monkeypatch.setattr(SqliteStore, "append", watched_append)
    monkeypatch.setattr(Publisher, "publish", watched_publish)
    with ThreadPoolExecutor(17) as threads:
        list(threads.map(lambda _: sqlite_kit.publish(SHIPPED, tenant=ACME), range(17)))

    assert 17 == sum(sizes)
    assert len(sizes) <= 3


def test_every_part_of_the_kit_is_there(sqlite_kit):
    """Methods of the kit and of its parts return their results, not coroutines."""
    blocking = sqlite_kit.blocking

    subscription, endpoint = blocking.subscribe("order.*", tenant=ACME, endpoint=URL)
    paused = blocking.endpoints.pause(endpoint.id, tenant=ACME)

    assert [subscription] == blocking.subscriptions.list(tenant=ACME)
    assert [paused] == blocking.endpoints.list(tenant=ACME)
    assert [] == blocking.deliveries.dead(tenant=ACME)
    with pytest.raises(AttributeError):
        _ = blocking.endpoints.paint


def test_what_is_wrong_reaches_the_caller(kit):
    """Errors of the other thread are raised here, as they are."""
    kit.publish(SHIPPED, tenant=ACME, idempotency_key="k")

    with pytest.raises(InvalidEventError):
        kit.publish(Event(type="not a type", data={}), tenant=ACME)
    with pytest.raises(IdempotencyConflictError):
        kit.publish(Event(type="other", data={}), tenant=ACME, idempotency_key="k")
    with pytest.raises(NotFoundError):
        kit.blocking.endpoints.get("end_unknown", tenant=ACME)


def test_a_store_that_does_not_open_is_tried_again(tmp_path):
    """A failed opening leaves no thread behind, and the next call tries once more."""
    file = tmp_path / "later.db"
    kit = Notifykit(f"sqlite:///{file}", create=False)

    with pytest.raises(SchemaError, match="notifykit migrate"):
        kit.publish(SHIPPED, tenant=ACME)
    left = portals()
    anyio.run(kit.migrate)
    kit.publish(SHIPPED, tenant=ACME)

    kit.close()
    assert [] == left


def test_a_database_that_is_away_is_named_so():
    """No server listens there: that is no bug of the program, and can be tried again."""
    kit = Notifykit("postgresql://nobody@127.0.0.1:1/nowhere")

    with pytest.raises(StoreUnavailableError):
        kit.publish(SHIPPED, tenant=ACME)
    assert [] == portals()


def test_after_a_close_the_next_call_opens_again(kit):
    """Closing ends the thread; what was stored is still there, and parts that were kept go on working."""
    endpoints = kit.blocking.endpoints
    kit.publish(SHIPPED, tenant=ACME)

    kit.close()
    closed = portals()
    kit.publish(SHIPPED, tenant=ACME)

    assert [] == closed
    assert 2 == kit.blocking.stats().unplanned
    assert [] == endpoints.list(tenant=ACME)


def test_closing_twice_or_unused_does_nothing(memory_kit):
    """Closing too often does no harm."""
    memory_kit.close()
    memory_kit.publish(SHIPPED, tenant=ACME)
    memory_kit.close()
    memory_kit.close()

    assert [] == portals()


async def test_sync_and_async_callers_see_the_same_data(kit):
    """A kit that is open in a loop and the same kit in other threads are one store."""

    def in_a_thread() -> str:
        return kit.publish(SHIPPED, tenant=ACME).event_id

    async with kit:
        theirs = await anyio.to_thread.run_sync(in_a_thread)
        mine = await kit.apublish(SHIPPED, tenant=ACME)

        found = {event.id for event in await kit.events.list(tenant=ACME)}

    assert {theirs, mine.event_id} == found
    kit.close()


async def test_a_store_of_one_loop_is_called_in_its_loop(memory_kit):
    """A memory store lives in one loop: other threads are served there, and a call from its own thread is refused."""
    async with memory_kit:
        await anyio.to_thread.run_sync(lambda: memory_kit.publish(SHIPPED, tenant=ACME))
        with pytest.raises(NotFoundError):
            await anyio.to_thread.run_sync(lambda: memory_kit.blocking.events.get("evt_unknown", tenant=ACME))
        with pytest.raises(ConfigurationError, match="await apublish"):
            memory_kit.publish(SHIPPED, tenant=ACME)
        counted = (await memory_kit.stats()).unplanned

    assert 1 == counted
    assert [] == portals()


def test_a_store_of_one_loop_is_not_opened_in_two(memory_kit):
    """While sync callers hold a memory store it cannot be opened in a loop; after ``close`` its data is there."""
    memory_kit.publish(SHIPPED, tenant=ACME)

    with pytest.raises(ConfigurationError, match=r"kit\.close\(\)"):
        anyio.run(memory_kit.open)
    memory_kit.close()

    async def count() -> int:
        async with memory_kit:
            return (await memory_kit.stats()).unplanned

    assert 1 == anyio.run(count)


def test_a_twin_has_the_same_settings_and_data(sqlite_store_url):
    """A kit for another loop: same store, clock, limits, catalog and rules."""
    clock = FakeClock()
    kit = Notifykit(sqlite_store_url, egress=LOCAL, clock=clock, synchronous="NORMAL")
    twin = kit.twin()

    async def publish_and_count() -> tuple[str, int]:
        async with twin:
            receipt = await twin.apublish(SHIPPED, tenant=ACME)
            event = await twin.events.get(receipt.event_id, tenant=ACME)
            assert clock.now() == event.published_at
            return receipt.event_id, (await twin.stats()).unplanned

    id, count = anyio.run(publish_and_count)

    assert (id, 1) == (kit.blocking.events.get(id, tenant=ACME).id, count)
    assert kit.store is not twin.store
    assert (kit.url, kit.egress) == (twin.url, twin.egress)
    assert kit.catalog is twin.catalog
    kit.close()
