"""NATS JetStream: one stream, a subject and a durable consumer for each lane."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ..errors import BrokerUnavailableError, InvalidInputError, MissingExtraError
from ..models.delivery import Lane
from ..ports import BrokerNote, Received, Ticket
from . import without_password
from .arrivals import Arrivals
from .url import count, lane_name, seconds, split_options

try:
    import nats
    from nats.errors import Error as NatsError
    from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
    from nats.js.errors import APIError, NoStreamResponseError, NotFoundError
except ImportError as error:
    raise MissingExtraError("a broker on NATS", "nats") from error

#: Seconds that an answer may take, and for which a request for tickets stays open at the server.
_ANSWER, _OPEN = 5, 10
#: The stream keeps so many tickets, and for so many seconds: what is dropped is handed over again by the relay.
_MOST, _LONGEST = 200_000, 3600
#: Statuses of a request whose consumer is not there any more.
_GONE = ("409", "503")
#: How many acknowledgements a consumer may wait for.
_MOST_OPEN = 100_000


class NatsBroker:
    """Carries tickets in a JetStream stream, in the server's memory.

    Tickets that were not acknowledged are handed to another worker after ``redeliver`` seconds.

    Args:
        url: ``nats://user:password@host:4222``, or ``tls://``.  Options: ``prefix`` of names (``notifykit``),
            ``redeliver`` (30), and ``replicas`` of the stream (1).

    Raises:
        ConfigurationError: An option cannot be used.
    """

    def __init__(self, url: str) -> None:
        self._url, options = split_options(url, {"prefix": "notifykit", "redeliver": "30", "replicas": "1"})
        self._shown = without_password(self._url)
        self._prefix = options["prefix"]
        self._redeliver = seconds(options, "redeliver")
        self._replicas = count(options, "replicas", 5)
        self._nats: Any = None
        self._connecting = asyncio.Lock()
        self._arrivals = Arrivals()
        #: The lanes with a consumer, and until when a request of each is open.
        self._lanes: dict[Lane, float] = {}
        self._inboxes: dict[Lane, str] = {}
        #: How many tickets the open request of a lane may still bring.
        self._left: defaultdict[Lane, int] = defaultdict(int)

    async def _connected(self) -> Any:
        async with self._connecting:
            if self._nats is None or self._nats.is_closed:
                self._lanes.clear()
                self._arrivals.clear()
                self._nats = await connected(self._url)
        return self._nats

    # -- putting ---------------------------------------------------------------------------------

    async def put(self, tickets: Sequence[Ticket]) -> None:
        async with self._translating():
            stream = (await self._connected()).jetstream(timeout=_ANSWER)
            messages = [(self._subject(ticket.lane), ticket.to_bytes()) for ticket in tickets]
            try:
                await asyncio.gather(*(stream.publish(*message) for message in messages))
            except NoStreamResponseError:
                await self._make_stream()
                await asyncio.gather(*(stream.publish(*message) for message in messages))

    async def _make_stream(self) -> None:
        config = StreamConfig(
            name=self._prefix,
            subjects=[f"{self._prefix}.>"],
            retention=RetentionPolicy.WORK_QUEUE,
            storage=StorageType.MEMORY,
            discard=DiscardPolicy.OLD,
            max_msgs=_MOST,
            max_age=_LONGEST,
            num_replicas=self._replicas,
        )
        await self._nats.jetstream(timeout=_ANSWER).add_stream(config)

    # -- receiving -------------------------------------------------------------------------------

    async def receive(self, wanted: Mapping[Lane, int], *, wait: timedelta) -> list[Received]:
        async with self._translating():
            connection = await self._connected()
            for lane, most in wanted.items():
                if lane not in self._lanes:
                    await self._make_consumer(connection, lane)
                if not self._arrivals.waiting(lane) and self._lanes[lane] <= time.monotonic():
                    await self._ask(connection, lane, most)
            received = await self._arrivals.take(wanted, wait)
            if connection.is_closed and not received:
                raise ConnectionError("the connection was lost")
            return received

    async def _make_consumer(self, connection: Any, lane: Lane) -> None:
        """Make what is missing of a lane, and hear what comes for it."""
        config = ConsumerConfig(
            durable_name=self._name(lane),
            filter_subject=self._subject(lane),
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self._redeliver,
            max_ack_pending=_MOST_OPEN,
        )
        stream = connection.jetstream(timeout=_ANSWER)
        try:
            await stream.add_consumer(self._prefix, config)
        except (APIError, NoStreamResponseError):
            await self._make_stream()
            await stream.add_consumer(self._prefix, config)

        async def hear(message: Any) -> None:
            if (message.headers or {}).get("Status"):  # the request is over, or the consumer is gone
                if message.headers["Status"] in _GONE:
                    self._lanes.pop(lane, None)
                    await heard.unsubscribe()
                elif lane in self._lanes:
                    self._lanes[lane] = 0.0
                self._arrivals.wake()
                return
            self._left[lane] -= 1
            if self._left[lane] <= 0 and lane in self._lanes:  # a request that got all it asked for ends silently
                self._lanes[lane] = 0.0
            try:
                self._arrivals.add([Received(Ticket.from_bytes(message.data, lane), message)])
            except InvalidInputError:
                await message.ack()

        inbox = connection.new_inbox()
        heard = await connection.subscribe(inbox, cb=hear)
        self._inboxes[lane] = inbox
        self._lanes[lane] = 0.0

    async def _ask(self, connection: Any, lane: Lane, most: int) -> None:
        """Ask the server for so many tickets of a lane, which it sends as they come."""
        request = {"batch": most, "expires": _OPEN * 1_000_000_000}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._prefix}.{self._name(lane)}"
        await connection.publish(subject, json.dumps(request).encode(), reply=self._inboxes[lane])
        self._lanes[lane], self._left[lane] = time.monotonic() + _OPEN + 1, most

    async def ack(self, received: Sequence[Received]) -> None:
        async with self._translating():
            for one in received:
                await one.handle.ack()

    # -- checking --------------------------------------------------------------------------------

    async def check(self, lanes: Sequence[Lane]) -> list[BrokerNote]:
        async with self._translating():
            connection = await self._connected()
            stream = connection.jetstream(timeout=_ANSWER)
            try:
                about = await stream.stream_info(self._prefix)
            except NotFoundError:
                await self._make_stream()
                about = await stream.stream_info(self._prefix)
            for lane in lanes:
                await self._make_consumer(connection, lane)
        config = about.config
        notes = [
            BrokerNote(f"{about.state.messages} tickets wait in the stream {self._prefix!r}, {config.storage} storage")
        ]
        if config.retention != RetentionPolicy.WORK_QUEUE or config.discard != DiscardPolicy.OLD:
            notes.append(
                BrokerNote(
                    f"the stream has retention {config.retention} and discards {config.discard} messages: it fills up",
                    f"delete the stream {self._prefix!r}, it is made anew, or use another ?prefix=",
                )
            )
        if (config.num_replicas or 1) != self._replicas:
            notes.append(
                BrokerNote(
                    f"the stream has {config.num_replicas} replicas, the URL says {self._replicas}",
                    f"nats stream edit {self._prefix} --replicas {self._replicas}",
                )
            )
        return notes

    # -- life ------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        connection, self._nats = self._nats, None
        if connection is not None and not connection.is_closed:
            with suppress(NatsError, OSError, TimeoutError):
                async with asyncio.timeout(_ANSWER):
                    await connection.flush()
            await connection.close()

    def _name(self, lane: Lane) -> str:
        return lane_name("lane", lane)

    def _subject(self, lane: Lane) -> str:
        return lane_name(self._prefix, lane, ".")

    @asynccontextmanager
    async def _translating(self) -> AsyncIterator[None]:
        try:
            yield
        except (TimeoutError, NatsError, OSError) as error:
            if not isinstance(error, APIError) and self._nats is not None:
                await self._nats.close()  # the next call connects again
            raise BrokerUnavailableError(f"{self._shown}: {str(error) or type(error).__name__}") from error


async def connected(url: str) -> Any:
    """Return a connection that does not connect again by itself: the next call does."""
    return await nats.connect(
        url,
        connect_timeout=_ANSWER,
        allow_reconnect=False,
        max_reconnect_attempts=1,
        reconnect_time_wait=0,
        ping_interval=_ANSWER,
        max_outstanding_pings=2,
        error_cb=_ignored,
    )


async def _ignored(error: Exception) -> None:
    """Errors are raised by the calls that they concern."""


if TYPE_CHECKING:
    from ..ports import Broker

    _conforms: type[Broker] = NatsBroker
