"""Messages of RabbitMQ, NATS and SQS become events, on real servers and on what simulates SQS and SNS."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import anyio
import httpx
import pytest

from notifykit import BrokerUnavailableError, ConfigurationError, Notifykit
from notifykit.brokers.feeds import feed_from_url
from notifykit.ports import EventFilter

MAPPING: Any = {"type": "order.{status}", "tenant": "{shop}"}


def body(number=1):
    """Return a message about an order."""
    return json.dumps({"shop": "acme", "status": "paid", "number": number}).encode()


class Anonymous(str):
    """An empty id which the client does not replace with a random one, as it does otherwise."""

    __slots__ = ()

    def __bool__(self):
        return True


class RabbitSource:
    """A queue of RabbitMQ."""

    def __init__(self, url):
        self.url = url
        self.topic = f"test-{uuid4().hex[:12]}"

    @asynccontextmanager
    async def _channel(self):
        import aio_pika

        async with await aio_pika.connect(self.url) as connection:
            yield await connection.channel()

    async def make(self):
        async with self._channel() as channel:
            await channel.declare_queue(self.topic, durable=True, arguments={"x-queue-type": "quorum"})

    async def send(self, message, id_):
        import aio_pika

        async with self._channel() as channel:
            made = aio_pika.Message(message, headers={"h": "v"})
            made.message_id = id_ or Anonymous()
            await channel.default_exchange.publish(made, self.topic)

    async def dead(self):
        async with self._channel() as channel:
            queue = await channel.declare_queue(f"{self.topic}.dead", passive=True)
            found = await queue.get()
            return found.body, found.headers

    async def left(self):
        async with self._channel() as channel:
            queue = await channel.declare_queue(self.topic, passive=True)
            return queue.declaration_result.message_count

    async def delete(self):
        async with self._channel() as channel:
            await channel.queue_delete(self.topic)
            await channel.queue_delete(f"{self.topic}.dead")


class NatsSource:
    """A subject of a JetStream stream."""

    def __init__(self, url):
        self.server = url
        self.url = f"{url}?redeliver=1"
        self.stream = f"test-{uuid4().hex[:12]}"
        self.topic = f"{self.stream}.>"

    @asynccontextmanager
    async def _jetstream(self):
        import nats

        connection = await nats.connect(self.server)
        yield connection.jetstream()
        await connection.close()

    async def make(self):
        from nats.js.api import StreamConfig

        async with self._jetstream() as jetstream:
            await jetstream.add_stream(StreamConfig(name=self.stream, subjects=[self.topic]))

    async def send(self, message, id_):
        async with self._jetstream() as jetstream:
            await jetstream.publish(f"{self.stream}.{id_}", message, headers={"h": "v"})

    async def dead(self):
        async with self._jetstream() as jetstream:
            found = await jetstream.get_last_msg(f"{self.stream}-dead", f"{self.stream}-dead")
            return found.data, found.headers

    async def left(self):
        async with self._jetstream() as jetstream:
            about = await jetstream.consumer_info(self.stream, "notifykit")
            return about.num_pending + about.num_ack_pending

    async def delete(self):
        async with self._jetstream() as jetstream:
            for name in await jetstream.streams_info():
                if name.config.name.startswith(self.stream):
                    await jetstream.delete_stream(name.config.name)


class SqsSource:
    """A queue of SQS."""

    end = ""

    def __init__(self, url):
        self.endpoint = url
        self.url = f"sqs://key:secret@?region=eu-west-1&endpoint={url}&redeliver=2"
        self.name = f"test-{uuid4().hex[:12]}"
        self.topic = f"{self.name}{self.end}"

    async def call(self, action, service="sqs", **arguments):
        headers = {
            "content-type": "application/x-amz-json-1.0",
            "x-amz-target": f"AmazonSQS.{action}",
            "authorization": f"AWS4-HMAC-SHA256 Credential=key/20260101/eu-west-1/{service}/aws4_request",
        }
        async with httpx.AsyncClient() as http:
            if service == "sns":
                del headers["x-amz-target"], headers["content-type"]
                response = await http.post(self.endpoint, headers=headers, data={"Action": action, **arguments})
            else:
                response = await http.post(self.endpoint, headers=headers, json=arguments)
            assert response.status_code == 200, response.text
            return response.json() if service == "sqs" else response.text

    def url_of(self, name):
        return f"{self.endpoint}/123456789012/{name}"

    async def make(self):
        await self.call("CreateQueue", QueueName=self.topic, Attributes={"FifoQueue": "true"} if self.end else {})

    async def send(self, message, id_):
        about = {"h": {"DataType": "String", "StringValue": "v"}}
        ordered = {"MessageGroupId": "orders", "MessageDeduplicationId": id_} if self.end else {}
        url = self.url_of(self.topic)
        await self.call("SendMessage", QueueUrl=url, MessageBody=message.decode(), MessageAttributes=about, **ordered)

    async def dead(self):
        url = self.url_of(f"{self.name}-dead{self.end}")
        answer = await self.call("ReceiveMessage", QueueUrl=url, MessageAttributeNames=["All"])
        (found,) = answer["Messages"]
        return found["Body"].encode(), {name: text["StringValue"] for name, text in found["MessageAttributes"].items()}

    async def left(self):
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        url = self.url_of(self.topic)
        found = (await self.call("GetQueueAttributes", QueueUrl=url, AttributeNames=names))["Attributes"]
        return sum(map(int, found.values()))

    async def delete(self):
        answer = await self.call("ListQueues", QueueNamePrefix=self.name)
        for url in answer.get("QueueUrls", ()):
            await self.call("DeleteQueue", QueueUrl=url)


class FifoSource(SqsSource):
    """A FIFO queue of SQS."""

    end = ".fifo"


SOURCES = [
    pytest.param(RabbitSource, "rabbitmq_url", id="rabbitmq", marks=pytest.mark.xdist_group("rabbitmq")),
    pytest.param(NatsSource, "nats_url", id="nats", marks=pytest.mark.xdist_group("nats")),
    pytest.param(SqsSource, "aws_url", id="sqs", marks=pytest.mark.xdist_group("sqs")),
    pytest.param(FifoSource, "aws_url", id="fifo", marks=pytest.mark.xdist_group("sqs")),
]


@pytest.fixture
async def source(request):
    """A place where other programs put messages; it does not exist yet."""
    kind, url = request.param
    made = kind(request.getfixturevalue(url))
    yield made
    await made.delete()


def for_sources(*sources):
    """Run a test with each of these sources."""
    return pytest.mark.parametrize(
        "source",
        [pytest.param(one.values, id=one.id, marks=one.marks) for one in sources],
        indirect=True,
    )


async def until(done, seconds=90):
    """Wait until something is so; a message that an answer lost comes again after a minute."""
    with anyio.fail_after(seconds):
        while not await done():
            await asyncio.sleep(0.02)


def published(kit, count):
    """Return what says whether there are so many events."""

    async def are_there():
        return count <= len(await kit.store.find_events("acme", EventFilter(), limit=100))

    return are_there


@pytest.mark.thorough
@for_sources(*SOURCES)
async def test_messages_become_events(source):
    """Poison is kept with its reason; what was acknowledged is gone, and a later reader gets what is new."""
    await source.make()
    async with Notifykit("memory://") as kit:
        await source.send(body(1), "a")
        await source.send(b"no JSON", "b")
        await source.send(body(2), "c")
        async with kit.ingest(source.url, topic=source.topic, event_topic="h/{@headers.h}", **MAPPING) as ingest:
            await until(published(kit, 2))

            async def none_is_left():
                return ingest.buried == 1 and await source.left() == 0

            await until(none_is_left)
        dead, about = await source.dead()
        await source.send(body(3), "d")
        async with kit.ingest(source.url, topic=source.topic, **MAPPING) as again:
            await until(published(kit, 3))
        events = await kit.store.find_events("acme", EventFilter(), limit=100)

    assert b"no JSON" == dead
    assert "body" in about["reason"]
    assert "v" == about["h"]
    assert (1, 0) == (again.published, again.buried)
    assert "h/v" in {event.topic for event in events}


@pytest.mark.thorough
@for_sources(*SOURCES)
async def test_a_message_that_was_not_acknowledged_is_the_same_event(source):
    """A process that dies after its publish leaves the message to another one: it has the same identity."""
    await source.make()
    await source.send(body(), "a")
    feed, other = (feed_from_url(source.url, topic=source.topic, group="notifykit") for _ in range(2))

    (first,) = await received(feed)
    await feed.aclose()
    (second,) = await received(other)
    await other.ack([second])
    await other.aclose()

    assert (first.id, first.body) == (second.id, second.body)
    assert 0 == await source.left()


async def received(feed, count=1, seconds=30):
    """Receive so many messages."""
    found: list[Any] = []
    with anyio.fail_after(seconds):
        while len(found) < count:
            found += await feed.receive(100, wait=timedelta(seconds=1))
    return found


@pytest.mark.thorough
@for_sources(*SOURCES)
async def test_many_messages_are_read(source):
    """More than one request brings, each once."""
    await source.make()
    for number in range(25):
        await source.send(body(number), str(number))
    feed = feed_from_url(source.url, topic=source.topic, group="notifykit")

    found: list[Any] = []
    while len(found) < 25:
        found += (some := await received(feed))
        await feed.ack(some)
    nothing = await feed.receive(100, wait=timedelta(seconds=0.05))
    await feed.aclose()

    assert {body(number) for number in range(25)} == {message.body for message in found}
    assert (25, []) == (len(found), nothing)


@pytest.mark.thorough
@for_sources(*SOURCES[:3])
async def test_what_is_missing_is_said_and_read_once_it_is_there(source):
    """The error says what to make; when that was done the reader goes on."""
    feed = feed_from_url(source.url, topic=source.topic, group="notifykit")

    with pytest.raises(BrokerUnavailableError, match=r"no (queue|stream)") as problem:
        await feed.receive(10, wait=timedelta(seconds=0.1))
    await source.make()
    await source.send(body(), "a")
    found = await received(feed)
    await feed.aclose()

    assert source.topic in str(problem.value)
    assert [body()] == [message.body for message in found]


@pytest.mark.thorough
@for_sources(SOURCES[1])
async def test_a_dead_letter_without_room_for_its_reason_has_no_body(source):
    """A message as large as NATS takes must not stop the others."""
    await source.make()
    feed = feed_from_url(source.url, topic=source.topic, group="notifykit")
    await source.send(b"x" * (2**20 - 100), "a")

    (message,) = await received(feed)
    await feed.bury(message, "too large")
    await feed.aclose()
    dead, about = await source.dead()

    assert (None, "1048476 bytes", message.id) == (dead, about["left_out"], about["id"])


@pytest.mark.thorough
@for_sources(SOURCES[0])
async def test_a_message_of_rabbitmq_needs_an_identity(source):
    """Without a message_id it is a dead letter that says what to do, unless its body identifies it."""
    await source.make()
    await source.send(body(), None)
    async with Notifykit("memory://") as kit:
        async with kit.ingest(source.url, topic=source.topic, **MAPPING) as ingest:
            await until(lambda: asyncio.sleep(0, ingest.buried == 1))
        _, about = await source.dead()
        await source.send(body(), None)
        await source.send(body(), None)
        async with kit.ingest(f"{source.url}?identity=body", topic=source.topic, **MAPPING) as ingest:
            await until(lambda: asyncio.sleep(0, ingest.published == 2))
        events = await kit.store.find_events("acme", EventFilter(), limit=100)

    assert "?identity=body" in about["reason"]
    assert 1 == len(events)


@pytest.mark.thorough
@for_sources(SOURCES[2])
@pytest.mark.parametrize("raw", [False, True], ids=["enveloped", "raw"])
async def test_what_was_published_to_a_topic_is_read(source, raw):
    """SNS fans it out to the queue, in an envelope or raw: the event is that of the message inside."""
    await source.make()
    topic = (await source.call("CreateTopic", "sns", Name=source.name)).partition("<TopicArn>")[2].partition("<")[0]
    about = {"Protocol": "sqs", "Endpoint": f"arn:aws:sqs:eu-west-1:123456789012:{source.topic}"}
    rawly = {"Attributes.entry.1.key": "RawMessageDelivery", "Attributes.entry.1.value": "true"} if raw else {}
    await source.call("Subscribe", "sns", TopicArn=topic, **about, **rawly)
    attribute = {"Name": "h", "Value.DataType": "String", "Value.StringValue": "v"}
    attributes = {f"MessageAttributes.entry.1.{name}": value for name, value in attribute.items()}

    async with Notifykit("memory://") as kit:
        await source.call("Publish", "sns", TopicArn=topic, Message=body().decode(), **attributes)
        await source.call("Publish", "sns", TopicArn=topic, Message="no JSON")
        async with kit.ingest(source.url, topic=source.topic, event_topic="h/{@headers.h}", **MAPPING) as ingest:
            await until(published(kit, 1))
            await until(lambda: asyncio.sleep(0, ingest.buried == 1))
        (event,) = await kit.store.find_events("acme", EventFilter(), limit=100)
        dead, _ = await source.dead()

    assert ("order.paid", "h/v") == (event.type, event.topic)
    assert b"no JSON" == dead


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("sqs://key:secret@", {}, "needs a region"),
        ("amqp://host/?identity=mood", {}, "use message_id or body"),
        ("nats://host", {"group": "a.b"}, "has no dots"),
    ],
)
def test_what_cannot_work_is_refused(url, options, message, monkeypatch):
    """Before anything is read."""
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)

    with pytest.raises(ConfigurationError, match=message):
        Notifykit("memory://").ingest(url, topic="orders", type="a.b", **options)


@pytest.mark.parametrize(
    "url",
    ["amqp://guest:guest@127.0.0.1:1/", "nats://127.0.0.1:1", "sqs://k:s@?region=x&endpoint=http://127.0.0.1:1"],
)
async def test_a_server_that_is_away_is_reported(url):
    """The password is not."""
    feed = feed_from_url(url, topic="orders", group="notifykit")

    with pytest.raises(BrokerUnavailableError, match=r"127\.0\.0\.1") as problem:
        await feed.receive(10, wait=timedelta(seconds=0.1))
    await feed.aclose()

    assert ":guest@" not in str(problem.value)
