"""Turns messages of other programs into events, each exactly once.

A message is acknowledged after its event is durable.  If it comes again, its idempotency key, made of the topic and the
message's id, finds the event that exists.  A message that cannot become an event is put into the dead letters.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self

import attrs

from .cancellation import kept_cancellation
from .errors import (
    BrokerUnavailableError,
    ConfigurationError,
    IdempotencyConflictError,
    InvalidInputError,
    StoreUnavailableError,
    ValueRefusedError,
)
from .models.checks import TENANT_GRAMMAR
from .models.event import TYPE_GRAMMAR, Event
from .ports import Feed, Message
from .telemetry import LoopFailed, TelemetryEvent, why

#: Messages that are published in one transaction, and how long to wait for the first.
_BATCH, _WAIT = 200, timedelta(seconds=5)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
#: Characters of a reason: brokers take it as a header, and an error may have the whole message in its text.
_REASON = 1000
_PLACE: Final = re.compile(r"\{([^{}]*)\}")

#: Makes an event of a message; ``None`` stands for a message that is of no interest.
Mapper = Callable[[Message], object | None]


def _has_whole_places(_: object, field: attrs.Attribute[Any], text: str | None) -> None:
    if text and {*"{}"} & {*_PLACE.sub("", text)}:
        raise ConfigurationError(f"{field.name}: a brace of {text[:200]!r} is not closed or not opened: write {{name}}")


def _fits(grammar: str) -> Callable[[object, attrs.Attribute[Any], str | None], None]:
    """Return a validator: whatever stands at its places, a text that does not fit would fail with each message."""

    def check(_: object, field: attrs.Attribute[Any], text: str | None) -> None:
        if text and not re.fullmatch(grammar, _PLACE.sub("x", text)):
            raise ConfigurationError(f"{field.name}: no {field.name} of an event looks like {text[:200]!r}")

    return check


@attrs.frozen(kw_only=True)
class EventMapping:
    """Makes an event of a JSON object.

    Texts may have places: ``{order.id}`` stands for ``id`` in ``order``, ``{@key}`` for the message's key and
    ``{@headers.NAME}`` for one of its headers.

    Attributes:
        type: Of the event: ``order.{status}``.
        tenant: Of the event: ``{shop}``.
        topic: Of the event, if it has one: ``shop/{shop}/order/{id}``.
        to: The recipient who is told, if one is: ``user:{user_id}``.
        data: The path of what becomes the event's data; the whole object by default.

    Raises:
        ConfigurationError: The braces of a text do not belong together, or no event can have such a type or tenant.
    """

    type: str = attrs.field(validator=[_has_whole_places, _fits(TYPE_GRAMMAR)])
    tenant: str | None = attrs.field(default=None, validator=[_has_whole_places, _fits(TENANT_GRAMMAR)])
    topic: str | None = attrs.field(default=None, validator=_has_whole_places)
    to: str | None = attrs.field(default=None, validator=_has_whole_places)
    data: str | None = None

    def __call__(self, message: Message) -> Event:
        """Return the event of a message.

        Raises:
            InvalidInputError: The message is no JSON object, or has nothing at a place.
        """
        try:
            body = json.loads(message.body)
        except ValueError as error:
            raise InvalidInputError([f"body: {error}"]) from error
        if not isinstance(body, dict):
            raise InvalidInputError(["body: must be a JSON object"])
        known = {**body, "@key": message.key, "@headers": message.headers, "@id": message.id}
        data = body if self.data is None else _at(known, self.data)
        texts = {name: getattr(self, name) for name in ("type", "tenant", "topic", "to")}
        filled: dict[str, Any] = {name: _filled(text, known) for name, text in texts.items() if text}
        if not isinstance(data, dict):
            raise InvalidInputError([f"{self.data}: must be a JSON object"])
        return Event(data=data, **filled)


def _filled(text: str, known: Mapping[str, Any]) -> str:
    """Return a text with what stands at its places."""
    return _PLACE.sub(lambda found: _text(known, found[1]), text)


def _at(known: Mapping[str, Any], path: str) -> Any:
    found: Any = known
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
        if found is None:
            raise InvalidInputError([f"{path}: is missing"])
    return found


def _text(known: Mapping[str, Any], path: str) -> str:
    found = _at(known, path)
    if isinstance(found, (dict, list)):
        raise InvalidInputError([f"{path}: must be a text or a number"])
    return found if isinstance(found, str) else json.dumps(found)


class Ingest:
    """Reads a feed and publishes, until it is closed: ``async with kit.ingest(…): …`` or ``await ….run()``.

    Attributes:
        published: How many messages have become events, those that were known already included.
        buried: How many are dead letters.
    """

    def __init__(
        self,
        feed: Feed,
        source: str,
        mapper: Mapper,
        publish: Callable[..., Awaitable[object]],
        emit: Callable[[TelemetryEvent], None],
        *,
        tenant: str | None = None,
    ) -> None:
        self._feed = feed
        self._source = source
        self._map = mapper
        self._publish = publish
        self._emit = emit
        self._tenant: dict[str, Any] = {} if tenant is None else {"tenant": tenant}
        self._running: asyncio.Task[None] | None = None
        #: Of the batch in progress: the messages that are dead letters already.
        self._dead: set[str] = set()
        self.published = self.buried = 0

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self.run(), name="notifykit-ingest")
        self._running.add_done_callback(self._tell)
        return self

    def _tell(self, running: asyncio.Task[None]) -> None:
        """Have the event loop log an error that has ended the reading: the block may last for days."""
        if not running.cancelled() and (error := running.exception()) is not None:
            message = f"notifykit reads {self._source} no more"
            running.get_loop().call_exception_handler({"message": message, "exception": error, "task": running})

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._running is not None
        self._running.cancel()
        await asyncio.wait([self._running])
        if not self._running.cancelled():
            self._running.result()

    async def run(self) -> None:
        """Read and publish until cancelled; go on for ever when the broker or the database was away."""
        pause = _FIRST_PAUSE
        left: list[Message] = []
        try:
            while True:
                try:
                    async with kept_cancellation():
                        left = left or await self._feed.receive(_BATCH, wait=_WAIT)
                        if left:
                            await self._take(left)
                        left, pause = [], _FIRST_PAUSE
                        self._dead.clear()
                except (BrokerUnavailableError, StoreUnavailableError) as error:
                    self._emit(
                        LoopFailed(loop=f"ingest {self._source}", error=why(error), pause=timedelta(seconds=pause))
                    )
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)
        finally:
            await self._feed.aclose()

    async def _take(self, messages: Sequence[Message]) -> None:
        """Publish messages, or put them into the dead letters; then acknowledge them."""
        events: list[tuple[Message, object, str]] = []
        for message in messages:
            if message.id in self._dead:
                continue
            try:
                if message.problem is not None:
                    raise InvalidInputError([message.problem])
                event = self._map(message)
            except Exception as error:  # noqa: BLE001 - whatever a function of the host raises, the others go on
                await self._bury(message, error)
                continue
            if event is not None:
                key = getattr(event, "idempotency_key", None) or f"{self._source}:{message.id}"
                events.append((message, event, key))
        await self._publish_each(events)
        await self._feed.ack(messages)

    async def _publish_each(self, events: Sequence[tuple[Message, object, str]]) -> None:
        """Publish events at the same time, which share a transaction; each is refused by itself."""
        answers = await asyncio.gather(
            *(self._publish(event, idempotency_key=key, **self._tenant_of(event)) for _, event, key in events),
            return_exceptions=True,
        )
        for (message, _, _), answer in zip(events, answers, strict=True):
            if isinstance(answer, (InvalidInputError, IdempotencyConflictError, ValueRefusedError)):
                await self._bury(message, answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                self.published += 1

    def _tenant_of(self, event: object) -> dict[str, Any]:
        return {} if getattr(event, "tenant", None) else self._tenant

    async def _bury(self, message: Message, error: Exception) -> None:
        reason = why(error).encode("utf-8", "replace").decode()  # halves of surrogate pairs cannot be sent
        await self._feed.bury(message, reason[:_REASON])
        self._dead.add(message.id)
        self.buried += 1
