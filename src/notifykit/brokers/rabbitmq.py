"""RabbitMQ: a quorum queue for each lane, with publisher confirms."""

from __future__ import annotations

import asyncio
import math
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from ..errors import BrokerUnavailableError, InvalidInputError, MissingExtraError
from ..models.delivery import Lane
from ..ports import BrokerNote, Received, Ticket
from . import without_password
from .arrivals import Arrivals
from .url import count, lane_name, split_options

try:
    import aio_pika
    from aio_pika.exceptions import AMQPError, ChannelInvalidStateError, DeliveryError
    from aiormq.exceptions import InvalidFrameError
except ImportError as error:
    raise MissingExtraError("a broker on RabbitMQ", "rabbitmq") from error

#: Seconds that an answer may take, and between two heartbeats.
_ANSWER, _HEARTBEAT = 5, 10
#: What the client reads of a URL.
CLIENT_OPTIONS = frozenset(
    {"auth", "cadata", "cafile", "capath", "certfile", "heartbeat", "keyfile", "name", "no_verify_ssl", "timeout"}
)
#: A queue keeps so many tickets: what is dropped is handed over again by the relay.
_MOST = 100_000
#: Seconds without tickets after which a lane is consumed anew: a server may not tell the consumers of a quorum queue
#: that it was deleted, and withholds the first messages of its replacement from them.
_QUIET = 10.0


@attrs.define(eq=False)
class _Consumer:
    """What hears of the tickets of a lane.

    Attributes:
        heard: When it was made, or heard last.
        open: The tags of messages that were not acknowledged.
    """

    channel: Any
    heard: float
    open: set[int] = attrs.field(factory=set)
    _acknowledging: asyncio.Lock = attrs.field(factory=asyncio.Lock)

    @property
    def is_quiet(self) -> bool:
        return not self.open and time.monotonic() - self.heard > _QUIET

    async def acknowledge(self, messages: Iterable[Any]) -> None:
        """Acknowledge messages: at one go those before the first one that stays open."""
        async with self._acknowledging:  # a message must not be in the frames of two calls
            its = [message for message in messages if message.delivery_tag in self.open]
            self.open -= {message.delivery_tag for message in its}
            first = min(self.open, default=math.inf)
            its.sort(key=lambda message: message.delivery_tag)
            before = bisect_left(its, first, key=lambda message: message.delivery_tag)
            with suppress(ChannelInvalidStateError):  # they came over a channel that is gone, and come again
                if before:
                    await its[before - 1].ack(multiple=True)
                for message in its[before:]:
                    await message.ack()


class RabbitBroker:
    """Carries tickets in quorum queues.

    Args:
        url: ``amqp://user:password@host:5672/vhost``, or ``amqps://``.  Options: ``prefix`` of names (``notifykit``),
            and ``prefetch`` (1000): how many tickets of a lane a worker may have that it has not claimed.

    Raises:
        ConfigurationError: An option cannot be used.
    """

    def __init__(self, url: str) -> None:
        self._url, options = split_options(url, {"prefix": "notifykit", "prefetch": "1000"}, CLIENT_OPTIONS)
        self._shown = without_password(self._url)
        self._prefix = options["prefix"]
        self._prefetch = count(options, "prefetch", 65_535)
        self._arrivals = Arrivals()
        self._connection: Any = None
        self._connecting = asyncio.Lock()
        self._publishing: Any = None
        self._made: set[Lane] = set()
        self._consumers: dict[Lane, _Consumer] = {}

    async def _connected(self) -> None:
        async with self._connecting:
            if self._connection is not None and not self._publishing.is_closed:
                return
            await self._disconnect()
            self._connection = await aio_pika.connect(self._url, timeout=_ANSWER, heartbeat=_HEARTBEAT)
            self._connection.close_callbacks.add(lambda *_: self._arrivals.wake())
            self._publishing = await self._connection.channel(publisher_confirms=True)

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
            for lane in wanted:
                await self._consume(lane)
            received = await self._arrivals.take(wanted, wait)
            if not received and self._publishing.is_closed:
                raise ConnectionError("the connection was lost")
            return received

    async def _consume(self, lane: Lane) -> None:
        """Have a consumer of a lane, with a channel of its own."""
        consumer = self._consumers.get(lane)
        if consumer is not None and not (consumer.channel.is_closed or consumer.is_quiet):
            return
        if consumer is not None:
            del self._consumers[lane]
            await consumer.channel.close()
        channel = await self._connection.channel()
        await channel.set_qos(prefetch_count=self._prefetch)
        queue = await self._queue(channel, lane)
        consumer = self._consumers[lane] = _Consumer(channel, time.monotonic())
        await queue.consume(partial(self._hear, lane, consumer))

    async def _hear(self, lane: Lane, consumer: _Consumer, message: Any) -> None:
        consumer.heard = time.monotonic()
        consumer.open.add(message.delivery_tag)
        try:
            ticket = Ticket.from_bytes(message.body, lane)
        except InvalidInputError:
            await consumer.acknowledge([message])
        else:
            self._arrivals.add([Received(ticket, (consumer, message))])

    async def ack(self, received: Sequence[Received]) -> None:
        messages: defaultdict[_Consumer, list[Any]] = defaultdict(list)
        for one in received:
            consumer, message = one.handle
            messages[consumer].append(message)
        async with self._translating():
            for consumer, its in messages.items():
                await consumer.acknowledge(its)

    # -- checking --------------------------------------------------------------------------------

    async def check(self, lanes: Sequence[Lane]) -> list[BrokerNote]:
        waiting = consumers = 0
        async with self._translating():
            await self._connected()
            for lane in lanes:
                found = (await self._queue(self._publishing, lane)).declaration_result
                waiting, consumers = waiting + found.message_count, consumers + found.consumer_count
            server = self._connection.transport.connection.server_properties
        note = BrokerNote(
            f"{waiting} tickets wait in quorum queues, {consumers} consumers (RabbitMQ {server['version']})"
        )
        return [note] if lanes else []

    # -- life ------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        await self._disconnect()

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self._made.clear()
        self._consumers.clear()
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
            raise BrokerUnavailableError(f"{self._shown}: {said(error)}") from error


def said(error: BaseException) -> str:
    """Return an error of the client as text; that of a missing virtual host names only a frame of the protocol."""
    if isinstance(error, InvalidFrameError) and "Connection.OpenOk" in str(error):
        return "the server refused the virtual host (/NAME in the URL): is there one, and may this user use it?"
    return str(error) or type(error).__name__


if TYPE_CHECKING:
    from ..ports import Broker

    _conforms: type[Broker] = RabbitBroker
