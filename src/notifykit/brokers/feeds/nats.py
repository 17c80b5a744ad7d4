"""Messages out of a JetStream stream, with a durable consumer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ...errors import BrokerUnavailableError, ConfigurationError, MissingExtraError
from ...ports import Message
from .. import without_password
from ..url import seconds, split_options

try:
    from nats.errors import Error as NatsError
    from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamConfig
    from nats.js.errors import APIError, NotFoundError
except ImportError as error:
    raise MissingExtraError("a feed from NATS", "nats") from error

from ..nats import connected

#: Seconds that an answer may take.
_ANSWER = 5
#: How many messages the group may have that are not acknowledged.
_MOST_OPEN = 10_000
_NOT_IN_A_NAME = frozenset(". *>/\\\t\r\n")


class NatsFeed:
    """Reads a subject of a JetStream stream; what it has acknowledged stays there, if the stream keeps messages.

    Messages of a process that died are handed to another one after ``redeliver`` seconds.  Dead letters are in the
    stream ``STREAM-dead``.

    Args:
        url: ``nats://user:password@host:4222``, or ``tls://``.  Option: ``redeliver`` (60).
        topic: The subject, such as ``orders.>``, of which a stream exists.
        group: The durable consumer.

    Raises:
        ConfigurationError: A consumer cannot have the group's name, or an option cannot be used.
    """

    def __init__(self, url: str, *, topic: str, group: str) -> None:
        if not group or _NOT_IN_A_NAME & {*group}:
            raise ConfigurationError(f"group={group[:80]!r}: a consumer's name has no dots, spaces, *, > or slashes")
        self._url, options = split_options(url, {"prefix": "notifykit", "redeliver": "60"})
        self._shown = without_password(self._url)
        self._topic, self._group = topic, group
        self._redeliver = seconds(options, "redeliver")
        self._nats: Any = None
        self._stream = ""
        self._consumer: Any = None

    async def receive(self, limit: int, *, wait: timedelta) -> list[Message]:
        async with self._translating():
            if self._consumer is None or self._nats.is_closed:
                await self._subscribe()
            try:
                found = await self._consumer.fetch(limit, timeout=max(wait.total_seconds(), 0.01))
            except TimeoutError:
                if self._nats.is_closed:
                    raise ConnectionError("the connection was lost") from None
                # A consumer that was deleted is not told from one with nothing to do.
                await self._consumer.consumer_info()
                return []
        return [_message(each) for each in found]

    async def _subscribe(self) -> None:
        if self._nats is None or self._nats.is_closed:
            self._nats = await connected(self._url)
        jetstream = self._nats.jetstream(timeout=_ANSWER)
        try:
            self._stream = await jetstream.find_stream_name_by_subject(self._topic)
        except NotFoundError as error:
            raise BrokerUnavailableError(
                f"{self._shown}: no stream keeps the subject {self._topic!r}: make one, "
                f"as with 'nats stream add ORDERS --subjects {self._topic!r}'"
            ) from error
        config = ConsumerConfig(
            filter_subject=self._topic,
            ack_policy=AckPolicy.EXPLICIT,
            deliver_policy=DeliverPolicy.ALL,
            ack_wait=self._redeliver,
            max_ack_pending=_MOST_OPEN,
        )
        self._consumer = await jetstream.pull_subscribe(
            self._topic, durable=self._group, stream=self._stream, config=config
        )

    async def ack(self, messages: Sequence[Message]) -> None:
        async with self._translating():
            for message in messages:
                await message.handle.ack()

    async def bury(self, message: Message, reason: str) -> None:
        name = f"{self._stream}-dead"
        given = {key: text for key, text in message.headers.items() if not key.startswith("Nats-")}  # the server's own
        about = {"reason": " ".join(reason.split()), "id": message.id, "subject": message.key or ""}
        body, headers = message.body, {**given, **about}
        async with self._translating():
            jetstream = self._nats.jetstream(timeout=_ANSWER)
            try:
                await jetstream.stream_info(name)
            except NotFoundError:
                await jetstream.add_stream(StreamConfig(name=name, subjects=[name]))
            if len(body) + _size(headers) > self._nats.max_payload:  # the message was as large as one may be
                body, headers = b"", {**about, "left_out": f"{len(body)} bytes"}
            await jetstream.publish(name, body, headers=headers)

    async def aclose(self) -> None:
        connection, self._nats, self._consumer = self._nats, None, None
        if connection is not None and not connection.is_closed:
            with suppress(NatsError, OSError, TimeoutError):
                async with asyncio.timeout(_ANSWER):
                    await connection.flush()
            await connection.close()

    @asynccontextmanager
    async def _translating(self) -> AsyncIterator[None]:
        try:
            yield
        except (TimeoutError, NatsError, OSError) as error:
            self._consumer = None
            if not isinstance(error, APIError) and self._nats is not None:
                await self._nats.close()  # the next call connects again
            raise BrokerUnavailableError(f"{self._shown}: {str(error) or type(error).__name__}") from error


def _size(headers: Mapping[str, str]) -> int:
    """Return how many bytes headers take, and a few more."""
    return 100 + sum(len(f"{name}: {text}".encode()) + 2 for name, text in headers.items())


def _message(message: Any) -> Message:
    """Return a message; its number alone would come again in a stream that was made anew."""
    about = message.metadata
    id_ = f"{about.sequence.stream}-{int(about.timestamp.timestamp() * 1_000_000)}"
    # Beside fast-mail-parser the client returns a list of the values of each name.
    headers = {
        name: value if isinstance(value, str) else ", ".join(value) for name, value in (message.headers or {}).items()
    }
    return Message(id_, message.data, message.subject, headers, message)


if TYPE_CHECKING:
    from ...ports import Feed

    _conforms: type[Feed] = NatsFeed
