"""Redis Streams, on Redis 6.2 or newer and on Valkey: a stream for each lane, and one consumer group."""

from __future__ import annotations

import os
import socket
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from inspect import signature
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from ..errors import BrokerUnavailableError, ConfigurationError, InvalidInputError, MissingExtraError
from ..models.delivery import Lane
from ..ports import BrokerNote, Received, Ticket
from . import without_password
from .url import lane_name, seconds, split_options

try:
    from redis import asyncio as client
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError, ResponseError
except ImportError as error:
    raise MissingExtraError("a broker on Redis", "redis") from error

_GROUP = "workers"
#: A stream is cut to so many entries, or a few more: what is cut off is handed over again by the relay.
_MOST = 100_000
#: Seconds that a connection may take to be made, and that an answer may take beyond the wait.
_CONNECT, _ANSWER = 5, 10
#: Seconds after which a consumer that has nothing is removed.
_GONE = 3600


class RedisBroker:
    """Carries tickets in Redis Streams.

    Tickets of a worker that died are handed to another one after ``redeliver`` seconds.

    Args:
        url: ``redis://host:6379/0``, or ``rediss://`` for TLS.  Options: ``prefix`` of names (``notifykit``),
            and ``redeliver`` (30).

    Raises:
        ConfigurationError: An option cannot be used.
    """

    def __init__(self, url: str) -> None:
        url, options = split_options(url, {"prefix": "notifykit", "redeliver": "30"}, options_of(url))
        self._shown = without_password(url)
        self._prefix = options["prefix"]
        self._redeliver = seconds(options, "redeliver")
        self._redis: Any = client_of(url)
        self._consumer = f"{socket.gethostname()}:{os.getpid()}:{token_hex(4)}"
        self._reclaimed = time.monotonic()

    async def put(self, tickets: Sequence[Ticket]) -> None:
        async with translating(self._shown), self._redis.pipeline(transaction=False) as pipeline:
            for ticket in tickets:
                pipeline.xadd(self._key(ticket.lane), {"t": ticket.to_bytes()}, maxlen=_MOST, approximate=True)
            await pipeline.execute()

    async def receive(self, wanted: Mapping[Lane, int], *, wait: timedelta) -> list[Received]:
        lanes = {self._key(lane): lane for lane in wanted}
        async with translating(self._shown):
            received = await self._reclaim(lanes, wanted)
            return received or await self._read(lanes, min(wanted.values()), wait)

    async def _read(self, lanes: Mapping[str, Lane], count: int, wait: timedelta) -> list[Received]:
        block = int(wait.total_seconds() * 1000) or None  # 0 would mean for ever
        if block is not None:
            block = min(block, _ANSWER * 500)
        streams = dict.fromkeys(lanes, ">")
        try:
            found = await self._redis.xreadgroup(_GROUP, self._consumer, streams, count=count, block=block)
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            await self._make_groups(lanes)
            found = await self._redis.xreadgroup(_GROUP, self._consumer, streams, count=count, block=block)
        received: list[Received] = []
        for key, entries in entries_of(found):
            received += await self._tickets(key, lanes[key], entries)
        return received

    async def _tickets(self, key: str, lane: Lane, entries: Iterable[tuple[bytes, Any]]) -> list[Received]:
        received, foreign = [], []
        for id_, fields in entries:
            try:
                ticket = Ticket.from_bytes((fields or {}).get(b"t", b""), lane)
            except InvalidInputError:
                foreign.append(id_)
            else:
                received.append(Received(ticket, (key, id_)))
        if foreign:
            await self._forget({key: foreign})
        return received

    async def _reclaim(self, lanes: Mapping[str, Lane], wanted: Mapping[Lane, int]) -> list[Received]:
        """Return tickets that another process has received and not acknowledged for a while."""
        if time.monotonic() - self._reclaimed < self._redeliver / 2:
            return []
        self._reclaimed = time.monotonic()
        received: list[Received] = []
        for key, lane in lanes.items():
            try:
                _, entries, *_ = await self._redis.xautoclaim(
                    key, _GROUP, self._consumer, int(self._redeliver * 1000), "0-0", count=wanted[lane]
                )
            except ResponseError as error:
                if not str(error).startswith("NOGROUP"):
                    raise
                continue
            received += await self._tickets(key, lane, [entry for entry in entries if entry[0] is not None])
        return received

    async def _make_groups(self, keys: Iterable[str]) -> None:
        """Make streams and groups that are missing, and remove consumers that are gone."""
        for key in keys:
            try:
                await self._redis.xgroup_create(key, _GROUP, id="0", mkstream=True)
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise
            for each in await self._redis.xinfo_consumers(key, _GROUP):
                if not each["pending"] and each["idle"] > _GONE * 1000:
                    await self._redis.xgroup_delconsumer(key, _GROUP, each["name"])

    async def ack(self, received: Sequence[Received]) -> None:
        ids: defaultdict[str, list[bytes]] = defaultdict(list)
        for one in received:
            key, id_ = one.handle
            ids[key].append(id_)
        async with translating(self._shown):
            await self._forget(ids)

    async def _forget(self, ids: Mapping[str, Sequence[bytes]]) -> None:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for key, its in ids.items():
                pipeline.xack(key, _GROUP, *its)
                pipeline.xdel(key, *its)
            for answer in await pipeline.execute(raise_on_error=False):
                if isinstance(answer, Exception) and not str(answer).startswith("NOGROUP"):
                    raise answer

    async def check(self, lanes: Sequence[Lane]) -> list[BrokerNote]:
        keys = [self._key(lane) for lane in lanes]
        async with translating(self._shown):
            await self._make_groups(keys)
            waiting = sum([await self._redis.xlen(key) for key in keys])
            server, memory = await self._redis.info("server"), await self._redis.info("memory")
        version = server.get("valkey_version") or server["redis_version"]
        notes = [BrokerNote(f"{waiting} tickets wait in {len(keys)} streams (version {version})")]
        if memory.get("maxmemory") and memory.get("maxmemory_policy") != "noeviction":
            notes.append(
                BrokerNote(
                    f"streams are evicted when memory is full (maxmemory-policy {memory['maxmemory_policy']}): "
                    "each eviction delays deliveries by the hold",
                    "set maxmemory-policy to noeviction, or use a server of its own",
                )
            )
        return notes

    async def aclose(self) -> None:
        await self._redis.aclose()

    def _key(self, lane: Lane) -> str:
        return lane_name(self._prefix, lane, ":")


def options_of(url: str) -> set[str]:
    """Return the options that the client reads of a URL, such as ``ssl_ca_certs``."""
    kind = client.SSLConnection if url.lower().startswith("rediss") else client.Connection
    return {"max_connections"}.union(*(signature(each).parameters for each in kind.__mro__[:-1]))


def client_of(url: str) -> Any:
    """Return a client that never repeats a command by itself.

    Raises:
        ConfigurationError: The URL cannot be used.
    """
    try:
        return client.Redis.from_url(
            url, socket_connect_timeout=_CONNECT, socket_timeout=_ANSWER, retry=Retry(NoBackoff(), 0)
        )
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{without_password(url)!r} is not a URL that Redis' client reads: {error}") from None


@asynccontextmanager
async def translating(server: str) -> AsyncIterator[None]:
    """Raise what the client raises as an error of ours, with the URL of the server (without its password)."""
    try:
        yield
    except (TimeoutError, RedisError, OSError) as error:
        raise BrokerUnavailableError(f"{server}: {str(error) or type(error).__name__}") from error


def entries_of(answer: Any) -> Iterator[tuple[str, list[Any]]]:
    """Yield the entries of each stream that an answer has: newer protocols have other shapes."""
    for name, entries in answer.items() if isinstance(answer, dict) else answer or ():
        is_nested = entries and entries[0] and isinstance(entries[0][0], (list, tuple))
        yield name.decode(), entries[0] if is_nested else entries


if TYPE_CHECKING:
    from ..ports import Broker

    _conforms: type[Broker] = RedisBroker
