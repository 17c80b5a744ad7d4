"""Messages out of a Redis stream, with a consumer group."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from ...errors import MissingExtraError
from ...ports import Message
from .. import without_password
from ..redis import client_of, entries_of, options_of, translating
from ..url import seconds, split_options

try:
    from redis.exceptions import ResponseError
except ImportError as error:
    raise MissingExtraError("a feed from Redis", "redis") from error


#: Seconds that an answer may take.
_ANSWER = 10
#: The end of the key of a stream of dead letters.
_DEAD = ":dead"


class RedisFeed:
    """Reads a stream of other programs; what it has acknowledged stays in the stream, for other groups.

    An entry with one field has its value as the body; of several fields a JSON object is made.  Messages of a process
    that died are handed to another one after ``redeliver`` seconds (60).  Dead letters are in the stream
    ``TOPIC:dead``.

    Args:
        url: ``redis+stream://host:6379/0``, or ``rediss+stream://`` for TLS.
        topic: The stream's key.
        group: The consumer group.
    """

    def __init__(self, url: str, *, topic: str, group: str) -> None:
        scheme, _, rest = url.partition("+stream")
        url = scheme + rest
        url, options = split_options(url, {"prefix": "notifykit", "redeliver": "60"}, options_of(url))
        self._shown = without_password(url)
        self._topic, self._group = topic, group
        self._redeliver = seconds(options, "redeliver")
        self._redis: Any = client_of(url)
        self._consumer = f"{socket.gethostname()}:{os.getpid()}:{token_hex(4)}"
        self._reclaimed = float("-inf")

    async def receive(self, limit: int, *, wait: timedelta) -> list[Message]:
        async with translating(self._shown):
            try:
                return await self._reclaim(limit) or await self._read(limit, wait)
            except ResponseError as error:
                if not str(error).startswith("NOGROUP"):
                    raise
                await self._redis.xgroup_create(self._topic, self._group, id="0", mkstream=True)
                return await self._read(limit, wait)

    async def _reclaim(self, limit: int) -> list[Message]:
        """Return messages that a process has received and not acknowledged for long."""
        if time.monotonic() - self._reclaimed < self._redeliver / 2:
            return []
        self._reclaimed = time.monotonic()
        _, entries, *_ = await self._redis.xautoclaim(
            self._topic, self._group, self._consumer, int(self._redeliver * 1000), "0-0", count=limit
        )
        return self._messages(entries)

    async def _read(self, limit: int, wait: timedelta) -> list[Message]:
        block = min(max(1, int(wait.total_seconds() * 1000)), _ANSWER * 500)
        found = await self._redis.xreadgroup(self._group, self._consumer, {self._topic: ">"}, count=limit, block=block)
        return [message for _, entries in entries_of(found) for message in self._messages(entries)]

    def _messages(self, entries: Iterable[tuple[bytes | None, Any]]) -> list[Message]:
        is_dead = self._topic.endswith(_DEAD)  # what was put there by `bury`
        return [
            Message(id_.decode(), fields[b"body"] if is_dead and b"body" in fields else _body(fields), handle=id_)
            for id_, fields in entries
            if id_ is not None and fields
        ]

    async def ack(self, messages: Sequence[Message]) -> None:
        async with translating(self._shown):
            await self._redis.xack(self._topic, self._group, *(message.handle for message in messages))

    async def bury(self, message: Message, reason: str) -> None:
        entry = {"body": message.body, "reason": reason, "id": message.id}
        async with translating(self._shown):
            await self._redis.xadd(f"{self._topic}{_DEAD}", entry)

    async def aclose(self) -> None:
        await self._redis.aclose()


def _body(fields: dict[bytes, bytes]) -> bytes:
    if len(fields) == 1:
        return next(iter(fields.values()))
    texts = {name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, value in fields.items()}
    return json.dumps(texts).encode()


if TYPE_CHECKING:
    from ...ports import Feed

    _conforms: type[Feed] = RedisFeed
