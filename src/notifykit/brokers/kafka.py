"""Kafka: a topic for each lane, partitioned by tenant or subscriber, and one consumer group."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from ..errors import BrokerUnavailableError, ConfigurationError, InvalidInputError, MissingExtraError
from ..models.delivery import Lane
from ..ports import BrokerNote, Received, Ticket
from . import without_password
from .url import count, lane_name, seconds, split_options

try:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
    from aiokafka.abc import ConsumerRebalanceListener
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic
    from aiokafka.errors import (
        CommitFailedError,
        IllegalStateError,
        KafkaError,
        TopicAlreadyExistsError,
        for_code,
    )
except ImportError as error:
    raise MissingExtraError("a broker on Kafka", "kafka") from error

#: Milliseconds that a request may take, and that the broker may wait for something to fetch.
_REQUEST, _FETCH = 10_000, 2000
#: Milliseconds after which a consumer asks which partitions there are: it is told of no topic that was made again.
_TOPICS_AGE = 5000
#: Seconds that tickets may take to be put or acknowledged: the client tries for ever where a topic is gone.
_PUT, _COMMIT = 20, 5
#: Seconds after which a worker without partitions looks whether it has any.
_UNASSIGNED = 0.2
#: Seconds after which topics are made again if they are gone, while nothing arrives.
_LOOK_EVERY = 15.0
_DEFAULTS = {
    "prefix": "notifykit",
    "partitions": "8",
    "replicas": "1",
    "by": "tenant",
    "session": "10",
    "tls": "false",
    "mechanism": "PLAIN",
}


class KafkaBroker:
    """Carries tickets in Kafka topics.

    Tickets that a worker has not acknowledged when its partitions go to another one are handed out there.

    Args:
        url: ``kafka://user:password@host:9092,host2:9092``.  Options: ``prefix`` of names (``notifykit``),
            ``by`` what to partition (``tenant`` or ``subscriber``), ``partitions`` (8) and ``replicas`` (1) of topics
            that are made, ``session`` until a silent worker's partitions go to others (10), ``tls``, and ``mechanism``
            (``PLAIN``).

    Raises:
        ConfigurationError: An option cannot be used.
    """

    def __init__(self, url: str) -> None:
        rest, options = split_options(url, _DEFAULTS)
        parts = urlsplit(rest)
        self._shown = without_password(url)
        self._prefix = options["prefix"]
        self._partitions, self._replicas = count(options, "partitions", 1000), count(options, "replicas", 9)
        if options["by"] not in {"tenant", "subscriber"}:
            raise ConfigurationError(f"by={options['by'][:80]!r}: partition by tenant or subscriber")
        self._by_tenant = options["by"] == "tenant"
        self._session = int(seconds(options, "session") * 1000)
        self._client = client_options(parts.netloc, options)
        self._producer: Any = None
        self._consumer: Any = None
        self._topics: set[str] = set()
        self._subscribed: dict[str, Lane] = {}
        self._offsets: dict[Any, _Offsets] = {}
        self._looked = 0.0

    # -- putting ---------------------------------------------------------------------------------

    async def put(self, tickets: Sequence[Ticket]) -> None:
        async with self._translating():
            try:
                async with asyncio.timeout(_PUT):
                    await self._put(tickets)
            except TimeoutError:  # what the producer still holds would delay all that follows
                producer, self._producer = self._producer, None
                await stopped(producer)
                raise

    async def _put(self, tickets: Sequence[Ticket]) -> None:
        await self._make_topics({self._topic(ticket.lane) for ticket in tickets})
        if self._producer is None:
            self._producer = await started(AIOKafkaProducer(acks="all", **self._client))
        sent = [
            await self._producer.send(self._topic(ticket.lane), ticket.to_bytes(), key=self._key(ticket))
            for ticket in tickets
        ]
        await self._producer.flush()
        for one in sent:
            await one

    def _key(self, ticket: Ticket) -> bytes:
        return (ticket.tenant if self._by_tenant else ticket.subscriber_id).encode()

    async def _make_topics(self, topics: set[str]) -> None:
        """Make topics that are missing."""
        if not (missing := topics - self._topics):
            return
        admin = AIOKafkaAdminClient(**self._client)
        try:
            await admin.start()
            made = [NewTopic(name, self._partitions, self._replicas) for name in sorted(missing)]
            answer = await admin.create_topics(made)
        finally:
            await admin.close()
        for name, code, *rest in answer.topic_errors:
            if code and not issubclass(for_code(code), TopicAlreadyExistsError):
                raise BrokerUnavailableError(
                    f"{self._shown}: cannot make topic {name}: {rest or for_code(code).__name__}"
                )
        self._topics |= missing

    # -- receiving -------------------------------------------------------------------------------

    async def receive(self, wanted: Mapping[Lane, int], *, wait: timedelta) -> list[Received]:
        async with self._translating():
            consumer = await self._consuming(wanted)
            partitions = [each for each in consumer.assignment() if self._subscribed[each.topic] in wanted]
            milliseconds = int(wait.total_seconds() * 1000)
            if not partitions:  # they are being assigned, or others have all of them
                await asyncio.sleep(min(wait.total_seconds(), _UNASSIGNED))
                return []
            found = await consumer.getmany(*partitions, timeout_ms=milliseconds, max_records=min(wanted.values()))
            received = [one for partition, messages in found.items() for one in self._tickets(partition, messages)]
            if received:
                self._looked = time.monotonic()
            return received

    async def _consuming(self, wanted: Mapping[Lane, int]) -> Any:
        """Return the consumer, subscribed to these lanes and those before."""
        topics = {self._topic(lane): lane for lane in wanted}
        if time.monotonic() - self._looked > _LOOK_EVERY:
            self._topics.clear()
            self._looked = time.monotonic()
        await self._make_topics({*topics, *self._subscribed})
        if self._consumer is None:
            self._consumer = await started(
                AIOKafkaConsumer(
                    group_id=f"{self._prefix}-workers",
                    enable_auto_commit=False,
                    auto_offset_reset="earliest",
                    session_timeout_ms=self._session,
                    heartbeat_interval_ms=self._session // 3,
                    fetch_max_wait_ms=_FETCH,
                    metadata_max_age_ms=_TOPICS_AGE,
                    **self._client,
                )
            )
        if not topics.keys() <= self._subscribed.keys():
            self._subscribed |= topics
            self._consumer.subscribe([*self._subscribed], listener=_Forgetting(self._offsets))
        return self._consumer

    def _tickets(self, partition: Any, messages: Sequence[Any]) -> list[Received]:
        received = []
        offsets = self._offsets.setdefault(partition, _Offsets())
        for message in messages:
            offsets.next = message.offset + 1
            with suppress(InvalidInputError):
                ticket = Ticket.from_bytes(message.value or b"", self._subscribed[partition.topic])
                offsets.open.add(message.offset)
                received.append(Received(ticket, (partition, message.offset)))
        return received

    async def ack(self, received: Sequence[Received]) -> None:
        changed = set()
        for one in received:
            partition, offset = one.handle
            if (offsets := self._offsets.get(partition)) is not None:  # else another worker has the partition
                offsets.open.discard(offset)
                changed.add(partition)
        if self._consumer is None or not changed:
            return
        done = {partition: self._offsets[partition].done for partition in changed}
        async with self._translating(), asyncio.timeout(_COMMIT):
            with suppress(CommitFailedError, IllegalStateError):  # partitions have gone: the tickets come again there
                await self._consumer.commit(done)

    # -- checking --------------------------------------------------------------------------------

    async def check(self, lanes: Sequence[Lane]) -> list[BrokerNote]:
        topics = sorted(map(self._topic, lanes))
        async with self._translating():
            await self._make_topics({*topics})
            admin = AIOKafkaAdminClient(**self._client)
            try:
                await admin.start()
                found = await admin.describe_topics(topics)
            finally:
                await admin.close()
        notes = [BrokerNote(f"{len(topics)} topics, partitioned by {'tenant' if self._by_tenant else 'subscriber'}")]
        for topic in found:
            partitions = topic["partitions"]
            if not partitions:
                raise BrokerUnavailableError(
                    f"{self._shown}: topic {topic['topic']}: {for_code(topic['error_code']).__name__}"
                )
            if len(partitions) < self._partitions:
                notes.append(
                    BrokerNote(
                        f"topic {topic['topic']} has {len(partitions)} partitions, the URL says {self._partitions}: "
                        "more workers than that get nothing",
                        f"kafka-topics.sh --alter --topic {topic['topic']} --partitions {self._partitions}",
                    )
                )
        return notes

    # -- life ------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        producer, consumer, self._producer, self._consumer = self._producer, self._consumer, None, None
        self._topics.clear()
        self._subscribed = {}
        self._offsets.clear()
        for one in (producer, consumer):
            await stopped(one)

    def _topic(self, lane: Lane) -> str:
        return lane_name(self._prefix, lane)

    @asynccontextmanager
    async def _translating(self) -> AsyncIterator[None]:
        try:
            yield
        except (TimeoutError, KafkaError, OSError) as error:
            self._topics.clear()  # they may be gone
            raise BrokerUnavailableError(f"{self._shown}: {str(error) or type(error).__name__}") from error


class _Offsets:
    """What this process has received of one partition; a commit of an offset includes all before it."""

    def __init__(self) -> None:
        self.open: set[int] = set()
        self.next = 0

    @property
    def done(self) -> int:
        """The first offset that is not done with."""
        return min(self.open, default=self.next)


class _Forgetting(ConsumerRebalanceListener):  # type: ignore[misc]
    """Forgets what was received of partitions that go to another worker."""

    def __init__(self, offsets: dict[TopicPartition, _Offsets]) -> None:
        self._offsets = offsets

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        for partition in revoked:
            self._offsets.pop(partition, None)

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Do nothing: the group knows where to go on."""


async def started(one: Any) -> Any:
    """Return a client of aiokafka that is started; one that cannot start is closed."""
    try:
        await one.start()
    except BaseException:
        await one.stop()
        raise
    return one


async def stopped(one: Any) -> None:
    """Stop a client of aiokafka, if there is one, whatever it still waits for."""
    if one is not None:
        with suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(_COMMIT):
                await one.stop()


def client_options(netloc: str, options: Mapping[str, str]) -> dict[str, Any]:
    """Return what every client of aiokafka takes."""
    login, _, hosts = netloc.rpartition("@")
    tls = options["tls"].lower() in {"1", "true", "yes", "on"}
    security = ("SASL_SSL" if tls else "SASL_PLAINTEXT") if login else ("SSL" if tls else "PLAINTEXT")
    client: dict[str, Any] = {
        "bootstrap_servers": [host if ":" in host else f"{host}:9092" for host in (hosts or "localhost").split(",")],
        "request_timeout_ms": _REQUEST,
        "security_protocol": security,
    }
    if tls:
        client["ssl_context"] = ssl.create_default_context()
    if login:
        user, _, password = login.partition(":")
        client |= {"sasl_mechanism": options["mechanism"], "sasl_plain_username": unquote(user)}
        client["sasl_plain_password"] = unquote(password)
    return client


if TYPE_CHECKING:
    from ..ports import Broker

    _conforms: type[Broker] = KafkaBroker
