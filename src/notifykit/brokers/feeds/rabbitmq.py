"""Messages out of a queue of RabbitMQ."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ...errors import BrokerUnavailableError, ConfigurationError, MissingExtraError
from ...ports import Message
from .. import without_password
from ..url import split_options

try:
    import aio_pika
    from aio_pika.exceptions import AMQPError, ChannelInvalidStateError, ChannelNotFoundEntity
except ImportError as error:
    raise MissingExtraError("a feed from RabbitMQ", "rabbitmq") from error

from ..rabbitmq import CLIENT_OPTIONS, said

#: Seconds that an answer may take, and between two heartbeats.
_ANSWER, _HEARTBEAT = 5, 10
#: How many messages the server sends ahead.
_PREFETCH = 1000
#: Seconds without messages after which the queue is consumed anew: a server may not tell the consumers of a quorum
#: queue that it was deleted.
_QUIET = 10.0
_NO_IDENTITY = "message_id: is missing; set it in the program that sends, or read with ?identity=body"


class RabbitFeed:
    """Reads a queue, which the programs that read it share.  Dead letters are in the queue ``TOPIC.dead``.

    A message is known by its ``message_id``.  What a server hands out again has no other identity.

    Args:
        url: ``amqp://user:password@host:5672/vhost``, or ``amqps://``.  Option: ``identity`` (``message_id``);
            with ``body``, messages without a ``message_id`` are the same if their bodies are.
        topic: The queue's name.
        group: Not used: a program of its own needs a queue of its own.

    Raises:
        ConfigurationError: An option cannot be used.
    """

    def __init__(self, url: str, *, topic: str, group: str) -> None:
        del group
        self._url, options = split_options(url, {"prefix": "notifykit", "identity": "message_id"}, CLIENT_OPTIONS)
        if options["identity"] not in {"message_id", "body"}:
            raise ConfigurationError(f"identity={options['identity'][:80]!r}: use message_id or body")
        self._by_body = options["identity"] == "body"
        self._shown = without_password(self._url)
        self._topic = topic
        self._connection: Any = None
        self._channel: Any = None
        self._publishing: Any = None
        self._arrived: deque[Any] = deque()
        self._changed = asyncio.Event()
        self._heard = 0.0

    async def receive(self, limit: int, *, wait: timedelta) -> list[Message]:
        async with self._translating():
            await self._consume()
            self._changed.clear()
            if not self._arrived:
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait.total_seconds()):
                        await self._changed.wait()
            if not self._arrived and self._channel.is_closed:
                raise ConnectionError("the connection was lost")
        return [self._message(self._arrived.popleft()) for _ in range(min(limit, len(self._arrived)))]

    async def _consume(self) -> None:
        """Have a consumer of the queue."""
        is_quiet = not self._arrived and time.monotonic() - self._heard > _QUIET
        if self._channel is not None and not self._channel.is_closed:
            if not is_quiet:
                return
            await self._channel.close()
        self._arrived.clear()
        self._channel = channel = await (await self._connected()).channel()
        channel.close_callbacks.add(lambda *_: self._changed.set())
        await channel.set_qos(prefetch_count=_PREFETCH)
        queue = await channel.declare_queue(self._topic, passive=True, timeout=_ANSWER)

        async def hear(message: Any) -> None:
            if channel is self._channel:
                self._heard = time.monotonic()
                self._arrived.append(message)
                self._changed.set()

        self._heard = time.monotonic()
        await queue.consume(hear)

    async def _connected(self) -> Any:
        if self._connection is None or self._connection.is_closed:
            self._publishing = None
            self._connection = await aio_pika.connect(self._url, timeout=_ANSWER, heartbeat=_HEARTBEAT)
        return self._connection

    def _message(self, message: Any) -> Message:
        id_, problem = message.message_id, None
        if not id_ and self._by_body:
            id_ = hashlib.sha256(message.body).hexdigest()
        elif not id_:
            id_, problem = uuid4().hex, _NO_IDENTITY
        headers = {name: _text(value) for name, value in message.headers.items()}
        return Message(id_, message.body, message.routing_key, headers, (self._channel, message), problem)

    async def ack(self, messages: Sequence[Message]) -> None:
        ours = [message.handle[1] for message in messages if message.handle[0] is self._channel]
        if ours:
            async with self._translating():
                with suppress(ChannelInvalidStateError):  # they came over a channel that is gone, and come again
                    await max(ours, key=lambda one: one.delivery_tag).ack(multiple=True)

    async def bury(self, message: Message, reason: str) -> None:
        name = f"{self._topic}.dead"
        async with self._translating():
            if self._publishing is None or self._publishing.is_closed:
                self._publishing = await self._dead_letters(name)
            headers: dict[str, Any] = {**message.headers, "reason": reason, "id": message.id}
            dead = aio_pika.Message(
                message.body, headers=headers, message_id=message.id, delivery_mode=aio_pika.DeliveryMode.PERSISTENT
            )
            await self._publishing.default_exchange.publish(dead, name, timeout=_ANSWER)

    async def _dead_letters(self, name: str) -> Any:
        """Return a channel for putting into the queue of dead letters, which is made if it is missing."""
        connection = await self._connected()
        channel = await connection.channel(publisher_confirms=True)
        try:
            await channel.declare_queue(name, passive=True, timeout=_ANSWER)
        except ChannelNotFoundEntity:
            channel = await connection.channel(publisher_confirms=True)
            await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum"}, timeout=_ANSWER)
        return channel

    async def aclose(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        self._arrived.clear()
        if connection is not None:
            with suppress(AMQPError, OSError, RuntimeError, TimeoutError):
                async with asyncio.timeout(_ANSWER):
                    await connection.close()

    @asynccontextmanager
    async def _translating(self) -> AsyncIterator[None]:
        try:
            yield
        except ChannelNotFoundEntity as error:
            raise BrokerUnavailableError(
                f"{self._shown}: there is no queue {self._topic!r}: declare it, and bind it to what is to be read"
            ) from error
        except (TimeoutError, AMQPError, ChannelInvalidStateError, OSError) as error:
            raise BrokerUnavailableError(f"{self._shown}: {said(error)}") from error


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


if TYPE_CHECKING:
    from ...ports import Feed

    _conforms: type[Feed] = RabbitFeed
