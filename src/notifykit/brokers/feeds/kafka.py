"""Messages out of a Kafka topic, with a consumer group."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ...errors import BrokerUnavailableError, ConfigurationError, MissingExtraError
from ...ports import Message
from .. import without_password
from ..url import seconds, split_options

try:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
    from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError, MessageSizeTooLargeError
except ImportError as error:
    raise MissingExtraError("a feed from Kafka", "kafka") from error

from ..kafka import client_options, started, stopped

#: Seconds that a commit may take: the client tries for ever where a topic is gone.
_COMMIT = 10
#: Milliseconds after which a consumer asks again which partitions there are: the topic may be new, or grow.
_TOPICS_AGE = 10_000
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
#: Bytes of a dead letter: the broker decides how large messages may be.
_LARGEST = 1 << 30


class KafkaFeed:
    """Reads a topic of other programs.  Dead letters are in the topic ``TOPIC.dead``, with the reason as a header.

    Args:
        url: ``kafka://user:password@host:9092,host2:9092``.  Options: ``tls``, ``mechanism`` and ``session``
            as for :class:`~notifykit.brokers.kafka.KafkaBroker`.
        topic: The topic's name.
        group: The consumer group.

    Raises:
        ConfigurationError: No topic can have this name, or an option cannot be used.
    """

    def __init__(self, url: str, *, topic: str, group: str) -> None:
        if not _TOPIC.fullmatch(topic):
            raise ConfigurationError(
                f"topic={topic[:80]!r}: a topic of Kafka has at most 249 letters, digits, ., - and _"
            )
        defaults = {"prefix": "notifykit", "session": "10", "tls": "false", "mechanism": "PLAIN"}
        rest, options = split_options(url, defaults)
        self._shown = without_password(url)
        self._topic, self._group = topic, group
        self._session = int(seconds(options, "session") * 1000)
        self._client = client_options(urlsplit(rest).netloc, options)
        self._consumer: Any = None
        self._producer: Any = None

    async def receive(self, limit: int, *, wait: timedelta) -> list[Message]:
        async with self._translating():
            if self._consumer is None:
                self._consumer = await started(
                    AIOKafkaConsumer(
                        self._topic,
                        group_id=self._group,
                        enable_auto_commit=False,
                        auto_offset_reset="earliest",
                        session_timeout_ms=self._session,
                        heartbeat_interval_ms=self._session // 3,
                        metadata_max_age_ms=_TOPICS_AGE,
                        **self._client,
                    )
                )
            milliseconds = int(wait.total_seconds() * 1000)
            found = await self._consumer.getmany(timeout_ms=milliseconds, max_records=limit)
        return [
            Message(
                # Offsets alone would come again in a topic that was made anew.
                f"{partition.partition}:{record.offset}:{record.timestamp}",
                record.value or b"",
                None if record.key is None else record.key.decode("utf-8", "replace"),
                {name: value.decode("utf-8", "replace") for name, value in record.headers},
                (partition, record.offset),
            )
            for partition, records in found.items()
            for record in records
        ]

    async def ack(self, messages: Sequence[Message]) -> None:
        offsets: dict[Any, int] = {}
        for message in messages:
            partition, offset = message.handle
            offsets[partition] = max(offsets.get(partition, 0), offset + 1)
        async with self._translating(), asyncio.timeout(_COMMIT):
            with suppress(CommitFailedError, IllegalStateError):  # another process reads the partition now
                await self._consumer.commit(offsets)

    async def bury(self, message: Message, reason: str) -> None:
        async with self._translating():
            if self._producer is None:
                self._producer = await started(AIOKafkaProducer(acks="all", max_request_size=_LARGEST, **self._client))
            texts = {"reason": reason, "id": message.id}
            try:
                await self._put(message, message.body, {**message.headers, **texts})
            except MessageSizeTooLargeError:  # it was as large as it may be; it stays in the topic, at its offset
                await self._put(message, b"", texts | {"left_out": f"{len(message.body)} bytes"})

    async def _put(self, message: Message, body: bytes, texts: Mapping[str, str]) -> None:
        key = None if message.key is None else message.key.encode()
        headers = [(name, text.encode()) for name, text in texts.items()]
        await self._producer.send_and_wait(f"{self._topic}.dead", body, key=key, headers=headers)

    async def aclose(self) -> None:
        parts, self._consumer, self._producer = (self._consumer, self._producer), None, None
        for part in parts:
            await stopped(part)

    @asynccontextmanager
    async def _translating(self) -> AsyncIterator[None]:
        try:
            yield
        except (TimeoutError, KafkaError, OSError) as error:
            raise BrokerUnavailableError(f"{self._shown}: {str(error) or type(error).__name__}") from error


if TYPE_CHECKING:
    from ...ports import Feed

    _conforms: type[Feed] = KafkaFeed
