"""What brings messages of other programs, which become events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, Protocol


class Message(NamedTuple):
    """A message of another program.

    Attributes:
        id: Of the message in its topic: the same whenever it is handed out.
        body: Its bytes.
        key: What the topic is partitioned by, if the broker knows that.
        headers: Texts that came with it.
        handle: What the feed needs to have it acknowledged.
        problem: Why it cannot become an event, if the feed knows that: it has no identity.
    """

    id: str
    body: bytes
    key: str | None = None
    headers: Mapping[str, str] = {}
    handle: Any = None
    problem: str | None = None


class Feed(Protocol):
    """Hands out the messages of one topic, each to one of the processes that share a group.

    It connects at its first call and again after a connection was lost, and never retries by itself.  Its errors are
    :class:`~notifykit.errors.BrokerUnavailableError`.
    """

    async def receive(self, limit: int, *, wait: timedelta) -> list[Message]:
        """Return up to ``limit`` messages in their order, as soon as there are any; none after about ``wait``."""
        ...

    async def ack(self, messages: Sequence[Message]) -> None:
        """Tell the broker that these messages, the last ones received, are done with."""
        ...

    async def bury(self, message: Message, reason: str) -> None:
        """Put a message that cannot become an event into the dead letters of its topic, with the reason."""
        ...

    async def aclose(self) -> None:
        """Disconnect; what was not acknowledged is handed out again."""
        ...
