"""RabbitMQ: a quorum queue for each lane, with publisher confirms."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import BrokerUnavailableError, InvalidInputError, MissingExtraError
from ..models.delivery import Lane
from ..ports import Received, Ticket
from . import without_password
from .arrivals import Arrivals
from .url import count, lane_name, split_options

try:
    import aio_pika
    from aio_pika.exceptions import AMQPError, ChannelInvalidStateError, DeliveryError
except ImportError as error:
    raise MissingExtraError("a broker on RabbitMQ", "rabbitmq") from error

#: Seconds that an answer may take, and between two heartbeats.
_ANSWER, _HEARTBEAT = 5, 10
#: A queue keeps so many tickets: what is dropped is handed over again by the relay.
_MOST = 100_000
#: Seconds after which queues that are gone are made again, while nothing arrives.
_LOOK_EVERY = 5.0


class RabbitBroker:
    """Carries tickets in quorum queues.

    Args:
        url: ``amqp://user:password@host:5672/vhost``, or ``amqps://``.  Options: ``prefix`` of names (``notifykit``),
            and ``prefetch`` (1000): how many tickets of a lane a worker may have that it has not claimed.

    Raises:
        ConfigurationError: An option cannot be used.
    """

    def __init__(self, url: str) -> None:
        self._url, options = split_options(url, {"prefix": "notifykit", "prefetch": "1000"})
        self._shown = without_password(self._url)
        self._prefix = options["prefix"]
        self._prefetch = count(options, "prefetch", 65_535)
        self._arrivals = Arrivals()
        self._connection: Any = None
        self._connecting = asyncio.Lock()
        self._publishing: Any = None
        self._consuming: Any = None
        self._made: set[Lane] = set()
        self._heard: dict[Lane, Any] = {}
        self._looked = 0.0

    async def _connected(self) -> None:
        async with self._connecting:
            if self._connection is not None and not (self._publishing.is_closed or self._consuming.is_closed):
                return
            await self._disconnect()
            self._connection = await aio_pika.connect(self._url, timeout=_ANSWER, heartbeat=_HEARTBEAT)
            self._connection.close_callbacks.add(lambda *_: self._arrivals.wake())
            self._publishing = await self._connection.channel(publisher_confirms=True)
            self._consuming = await self._connection.channel()
            await self._consuming.set_qos(prefetch_count=self._prefetch)

    # -- putting ---------------------------------------------------------------------------------

    async def put(self, tickets: Sequence[Ticket]) -> None:
        async with self._translating():
            await self._connected()
            lanes = {ticket.lane for ticket in tickets}
            await self._make_queues(lanes - self._made)
            try:
                await self._publish(tickets)
            except DeliveryError:  # a queue is gone
                await self._make_queues(lanes)
                await self._publish(tickets)

    async def _publish(self, tickets: Sequence[Ticket]) -> None:
        exchange = self._publishing.default_exchange
        await asyncio.gather(
            *(
                exchange.publish(aio_pika.Message(ticket.to_bytes()), self._name(ticket.lane), timeout=_ANSWER)
                for ticket in tickets
            )
        )

    async def _make_queues(self, lanes: Collection[Lane]) -> None:
        for lane in lanes:
            await self._queue(self._publishing, lane)
            self._made.add(lane)

    async def _queue(self, channel: Any, lane: Lane) -> Any:
        """Return the queue of a lane, which is made if it is missing."""
        arguments = {"x-queue-type": "quorum", "x-max-length": _MOST}
        return await channel.declare_queue(self._name(lane), durable=True, arguments=arguments, timeout=_ANSWER)

    # -- receiving -------------------------------------------------------------------------------

    async def receive(self, wanted: Mapping[Lane, int], *, wait: timedelta) -> list[Received]:
        async with self._translating():
            await self._connected()
            if time.monotonic() - self._looked > _LOOK_EVERY:
                await self._forget_missing()
            for lane in wanted:
                if lane not in self._heard:
                    queue = await self._queue(self._consuming, lane)
                    await queue.consume(partial(self._hear, lane))
                    self._heard[lane] = queue
            received = await self._arrivals.take(wanted, wait)
            if received:
                self._looked = time.monotonic()
            elif self._consuming.is_closed:
                raise ConnectionError("the connection was lost")
            return received

    async def _forget_missing(self) -> None:
        """Forget queues that were deleted: nothing is heard of them any more."""
        self._looked = time.monotonic()
        for lane in list(self._heard):
            queue = await self._queue(self._consuming, lane)
            if not queue.declaration_result.consumer_count:
                del self._heard[lane]

    async def _hear(self, lane: Lane, message: Any) -> None:
        try:
            self._arrivals.add([Received(Ticket.from_bytes(message.body, lane), message)])
        except InvalidInputError:
            await message.ack()

    async def ack(self, received: Sequence[Received]) -> None:
        async with self._translating():
            with suppress(ChannelInvalidStateError):  # they came over a connection that is gone, and come again
                for one in received:
                    await one.handle.ack()

    # -- life ------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        await self._disconnect()

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self._made.clear()
        self._heard.clear()
        self._arrivals.clear()
        if connection is not None:
            with suppress(AMQPError, OSError, RuntimeError, TimeoutError):
                async with asyncio.timeout(_ANSWER):
                    await connection.close()

    def _name(self, lane: Lane) -> str:
        return lane_name(self._prefix, lane, ".")

    @asynccontextmanager
    async def _translating(self) -> AsyncIterator[None]:
        try:
            yield
        except (TimeoutError, AMQPError, ChannelInvalidStateError, OSError) as error:
            self._made.clear()
            raise BrokerUnavailableError(f"{self._shown}: {str(error) or type(error).__name__}") from error


if TYPE_CHECKING:
    from ..ports import Broker

    _conforms: type[Broker] = RabbitBroker
