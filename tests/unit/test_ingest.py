"""Messages of other programs become events, each once, or dead letters with a reason."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta
from typing import Any
from uuid import uuid4

import anyio
import pytest

from notifykit import BrokerUnavailableError, ConfigurationError, Event, InvalidInputError, Notifykit
from notifykit.brokers.feeds import feed_from_url
from notifykit.errors import StoreUnavailableError, ValueRefusedError
from notifykit.ingest import EventMapping, Ingest
from notifykit.ports import EventFilter, Message


def message(number=1, body=None, **fields):
    """Return a message about an order."""
    order = {"shop": "acme", "status": "paid", "order": {"id": number}, "user": 42}
    return Message(str(number), json.dumps(order if body is None else body).encode(), **fields)


class ListFeed:
    """Hands out what it is given; what is not acknowledged by the end is handed out again."""

    def __init__(self, *messages):
        self.waiting = list(messages)
        self.acknowledged = []
        self.dead = []
        self.failures = []

    async def receive(self, limit, *, wait):
        if self.failures:
            raise self.failures.pop()
        if not self.waiting:
            await asyncio.sleep(3600)
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return taken

    async def ack(self, messages):
        self.acknowledged += [message.id for message in messages]

    async def bury(self, message, reason):
        self.dead.append((message.id, reason))

    async def aclose(self):
        pass


async def ingested(feed, mapper, *, publish=None, until=1, told=None):
    """Read a feed until so many messages are acknowledged; return the events and the ingest."""
    async with Notifykit("memory://") as kit:
        ingest = Ingest(
            feed,
            "list:orders",
            mapper,
            publish or kit.apublish,
            (told if told is not None else []).append,
            tenant="acme",
        )
        async with ingest:
            with anyio.fail_after(10):
                while len(feed.acknowledged) < until:
                    await asyncio.sleep(0.005)
        return await kit.store.find_events("acme", EventFilter(), limit=100), ingest


ORDERS = EventMapping(type="order.{status}", tenant="{shop}", topic="order/{order.id}", to="user:{user}", data="order")


async def test_a_message_becomes_an_event():
    """Places stand for what the message says."""
    feed = ListFeed(message(7))

    events, ingest = await ingested(feed, ORDERS)

    (event,) = events
    assert ("order.paid", "acme", "order/7") == (event.type, event.tenant, event.topic)
    assert {"id": 7} == json.loads(event.body)["data"]
    assert "list:orders:7" == event.idempotency_key
    assert (["7"], [], 1) == (feed.acknowledged, feed.dead, ingest.published)


async def test_a_repeated_message_is_one_event():
    """A broker may hand a message out again: its id is the idempotency key."""
    feed = ListFeed(message(1), message(2), message(1))

    events, ingest = await ingested(feed, ORDERS, until=3)

    assert (2, 3) == (len(events), ingest.published)


async def test_a_function_may_make_the_event_or_skip_the_message():
    """What the function leaves out is acknowledged."""
    feed = ListFeed(message(1), message(2))

    def of(given):
        return None if given.id == "1" else Event(type="order.seen", data={"id": given.id})

    events, _ = await ingested(feed, of, until=2)

    assert ["order.seen"] == [event.type for event in events]
    assert ["1", "2"] == feed.acknowledged


async def test_poison_goes_to_the_dead_letters():
    """Each with its reason, and those beside it become events."""
    feed = ListFeed(
        Message("a", b"\xff no JSON"),
        Message("b", b"[1]"),
        message("c", {"shop": "acme"}),
        message("d", {"shop": "acme", "status": "NOT A TYPE", "order": {"id": 1}, "user": 1}),
        message(5),
    )

    events, ingest = await ingested(feed, ORDERS, until=5)

    reasons = dict(feed.dead)
    assert ["a", "b", "c", "d"] == sorted(reasons)
    assert "must be a JSON object" in reasons["b"]
    assert "is missing" in reasons["c"]
    assert "type" in reasons["d"]
    assert (1, 1, 4) == (len(events), ingest.published, ingest.buried)


async def test_nothing_is_acknowledged_before_it_is_durable():
    """While the database is away, the batch is tried again, and its poison is dead once."""
    feed = ListFeed(Message("a", b"no JSON"), message(2))
    told: list[Any] = []
    acknowledged: list[Any] = []

    async def publish(event, **options):
        acknowledged.append(list(feed.acknowledged))
        if len(acknowledged) < 3:
            raise StoreUnavailableError("away")

    _, ingest = await ingested(feed, ORDERS, publish=publish, until=2, told=told)

    assert [[], [], []] == acknowledged
    assert (1, 1) == (ingest.buried, len(feed.dead))
    assert 2 == len(told)


async def test_a_broker_that_is_away_is_asked_again():
    """For ever, with a pause."""
    feed = ListFeed(message(1))
    feed.failures = [BrokerUnavailableError("away")] * 2
    told: list[Any] = []

    events, _ = await ingested(feed, ORDERS, told=told)

    assert 1 == len(events)
    assert ["ingest list:orders"] * 2 == [event.loop for event in told]


async def test_a_reason_fits_into_a_header():
    """Whatever a function raises: brokers refuse long headers, and texts that are no UTF-8."""

    def of(given):
        raise ValueError("\ud800" * 100_000)

    feed = ListFeed(message(1))

    await ingested(feed, of)

    ((_, reason),) = feed.dead
    assert reason.startswith("ValueError: ?")
    assert len(reason.encode()) <= 1000


async def test_what_the_database_refuses_is_a_dead_letter():
    """It would be refused each time."""
    feed = ListFeed(message(1))

    async def publish(event, **options):
        raise ValueRefusedError("too long")

    await ingested(feed, ORDERS, publish=publish)

    assert [("1", "too long")] == feed.dead


async def test_a_bug_is_logged_when_it_ends_the_reading():
    """The block of a program may last for days, and raises only at its end."""
    heard: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))

    async def publish(event, **options):
        raise RuntimeError("bug")

    async def program():
        async with Ingest(ListFeed(message(1)), "list:orders", ORDERS, publish, lambda _: None):
            with anyio.fail_after(10):
                while not heard:
                    await asyncio.sleep(0.005)

    with pytest.raises(RuntimeError, match="bug"):
        await program()

    assert ["notifykit reads list:orders no more"] == [context["message"] for context in heard]


async def test_a_bug_ends_the_ingest():
    """What nobody foresaw is raised to the host, and not swallowed for ever."""
    feed = ListFeed(message(1))

    async def publish(event, **options):
        raise RuntimeError("bug")

    with pytest.raises(RuntimeError, match="bug"):
        await Ingest(feed, "list:orders", ORDERS, publish, lambda _: None).run()

    assert [] == feed.acknowledged


@pytest.mark.parametrize(
    ("mapping", "given", "expected"),
    [
        (EventMapping(type="a.b", topic="k/{@key}"), message(key="K"), "k/K"),
        (EventMapping(type="a.b", topic="{@headers.x}"), message(headers={"x": "y"}), "y"),
        (EventMapping(type="a.b", topic="{@id}/{user}"), message(3), "3/42"),
    ],
)
def test_places_stand_for_values(mapping, given, expected):
    """Also for the message's id, key and headers."""
    assert expected == mapping(given).topic


@pytest.mark.parametrize("name", ["type", "tenant", "topic", "to"])
@pytest.mark.parametrize("text", ["order.{a", "order.a}", "{a{b}}"])
def test_a_brace_that_is_alone_is_refused(name, text):
    """Before anything is read: no message could ever fit."""
    with pytest.raises(ConfigurationError, match=f"{name}: a brace"):
        EventMapping(**{"type": "a.b", name: text})


@pytest.mark.parametrize(
    ("mapping", "problem"),
    [
        (EventMapping(type="a.{order}"), "order: must be a text or a number"),
        (EventMapping(type="a.{order.name}"), "order.name: is missing"),
        (EventMapping(type="a.b", data="user"), "user: must be a JSON object"),
    ],
)
def test_a_place_that_fits_nothing_is_named(mapping, problem):
    """The dead letter says what was wrong."""
    with pytest.raises(InvalidInputError, match=problem):
        mapping(message())


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("pigeon://coop", {"type": "a.b"}, "no feed for 'pigeon' URLs; known: amqp, amqps, kafka"),
        ("coop", {"type": "a.b"}, "is not the URL of a feed"),
        ("redis+stream://queue", {}, "give either map= or type="),
        ("redis+stream://queue", {"type": "a.b", "map": print}, "give either map= or type="),
        ("redis+stream://queue", {"to": "x", "map": print}, "give either map= or type="),
        ("redis+stream://queue", {"map": asyncio.sleep}, "must be a function that is not async"),
        ("redis+stream://queue", {"type": "order paid"}, "no type of an event looks like 'order paid'"),
        ("redis+stream://queue", {"type": "{a}..b"}, "no type of an event"),
        ("redis+stream://queue", {"type": "{a}", "tenant": "my {shop}"}, "no tenant of an event"),
        ("redis+stream://queue?redelver=3", {"type": "a.b"}, "known: prefix, redeliver, and its client's$"),
        ("kafka://queue", {"type": "a.b"}, "a topic of Kafka has at most"),
    ],
)
def test_what_cannot_work_is_refused(url, options, message):
    """Before anything is read."""
    with pytest.raises(ConfigurationError, match=message):
        Notifykit("memory://").ingest(url, topic="all orders", **options)


async def until_published(ingest, kit, count):
    """Wait until so many events exist; return them."""
    end = time.monotonic() + 45
    while len(events := await kit.store.find_events("acme", EventFilter(), limit=100)) < count:
        assert time.monotonic() < end, f"{len(events)} of {count}"
        await asyncio.sleep(0.02)
    return events


async def test_a_redis_stream_is_read(redis_url):
    """Entries with one field or several; a second reader of the group gets nothing again; poison is kept apart."""
    import redis.asyncio

    topic = f"test-{uuid4().hex[:12]}"
    url = redis_url.replace("redis://", "redis+stream://") + "?redeliver=0.2"
    async with redis.asyncio.from_url(redis_url) as client, Notifykit("memory://") as kit:
        await client.xadd(topic, {"data": message(1).body})
        await client.xadd(topic, {"status": "paid", "shop": "acme"})
        await client.xadd(topic, {"data": "no JSON"})
        mapping: Any = {"type": "order.{status}", "tenant": "{shop}"}

        async with kit.ingest(url, topic=topic, **mapping) as ingest:
            await until_published(ingest, kit, 2)
            while ingest.buried < 1:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
        pending: Any = await client.xpending(topic, "notifykit")
        dead: Any = await client.xrange(f"{topic}:dead")
        await client.xadd(topic, {"data": message(4).body})
        async with kit.ingest(url, topic=topic, **mapping) as again:
            await until_published(again, kit, 3)

        def mended(given):
            return Event(type="order.mended", data={"body": given.body.decode()}, tenant="acme")

        async with kit.ingest(url, topic=f"{topic}:dead", map=mended) as third:
            events = await until_published(third, kit, 4)
        await client.delete(topic, f"{topic}:dead")

    assert 0 == pending["pending"]
    assert b"no JSON" == dead[0][1][b"body"]
    assert ["no JSON"] == [json.loads(each.body)["data"]["body"] for each in events if each.type == "order.mended"]
    assert dead[0][1][b"reason"]
    assert 1 == again.published


@pytest.mark.thorough
@pytest.mark.parametrize(
    "server",
    [
        pytest.param("kafka_url", id="kafka", marks=pytest.mark.xdist_group("kafka")),
        pytest.param("apache_kafka_url", id="apache", marks=pytest.mark.xdist_group("apache-kafka")),
    ],
)
async def test_a_kafka_topic_is_read(server, request):
    """With keys and headers; what was committed is not read again."""
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

    topic, kafka_url = f"test-{uuid4().hex[:12]}", request.getfixturevalue(server)
    servers = kafka_url.removeprefix("kafka://")
    producer = AIOKafkaProducer(bootstrap_servers=servers)
    await producer.start()
    mapping: Any = {"type": "order.{status}", "tenant": "{shop}", "event_topic": "key/{@key}/{@headers.h}"}
    async with Notifykit("memory://") as kit:
        await producer.send_and_wait(topic, message(1).body, key=b"k", headers=[("h", b"v")])
        await producer.send_and_wait(topic, b"no JSON", key=b"k", headers=[("h", b"v")])
        async with kit.ingest(f"{kafka_url}?session=1", topic=topic, **mapping) as ingest:
            (event,) = await until_published(ingest, kit, 1)
            while ingest.buried < 1:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.5)
        await producer.send_and_wait(topic, message(2).body, key=b"k", headers=[("h", b"v")])
        async with kit.ingest(f"{kafka_url}?session=1", topic=topic, **mapping) as again:
            await until_published(again, kit, 2)
    await producer.stop()
    consumer = AIOKafkaConsumer(f"{topic}.dead", bootstrap_servers=servers, auto_offset_reset="earliest")
    await consumer.start()
    dead = await consumer.getone()
    await consumer.stop()

    assert "key/k/v" == event.topic
    assert (1, 0) == (again.published, again.buried)
    assert b"no JSON" == dead.value
    assert {"h", "reason", "id"} == {name for name, _ in dead.headers}
    assert b"k" == dead.key


@pytest.mark.thorough
@pytest.mark.xdist_group("apache-kafka")
async def test_a_dead_letter_that_kafka_takes_no_more_has_no_body(apache_kafka_url):
    """A message as large as a topic takes must not stop the others: it stays at its offset."""
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

    topic, servers = f"test-{uuid4().hex[:12]}", apache_kafka_url.removeprefix("kafka://")
    producer = AIOKafkaProducer(bootstrap_servers=servers, max_request_size=2**21)
    await producer.start()
    await producer.send_and_wait(topic, b"x" * (2**20 - 100), key=b"k")
    await producer.stop()
    feed = feed_from_url(apache_kafka_url, topic=topic, group="notifykit")
    found: list[Message] = []
    with anyio.fail_after(30):
        while not found:
            found = await feed.receive(10, wait=timedelta(seconds=1))
    await feed.bury(found[0], "too large, " * 50)
    await feed.aclose()
    consumer = AIOKafkaConsumer(f"{topic}.dead", bootstrap_servers=servers, auto_offset_reset="earliest")
    await consumer.start()
    dead = await consumer.getone()
    await consumer.stop()

    assert (0, b"k") == (len(dead.value), dead.key)
    assert (b"1048476 bytes", found[0].id.encode()) == (dict(dead.headers)["left_out"], dict(dead.headers)["id"])
