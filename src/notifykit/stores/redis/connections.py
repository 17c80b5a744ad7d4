"""The connections of a Redis store: those that run scripts, and the one that hears notifications."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from inspect import signature
from typing import Any, Final

import attrs

from ...cancellation import kept_cancellation
from ...errors import ConfigurationError, StoreError, StoreUnavailableError
from ...telemetry import why
from .driver import NoBackoff, Retry, client, exceptions, parse_url
from .faults import FAILURES, translated
from .scripts import script
from .url import RedisUrl

NOT_OPEN: Final = "the store is not open: use 'async with' or open()"
#: Seconds that a server may take to answer, which needs milliseconds, and to be connected to.
_ANSWER, _CONNECT = 15, 5
#: Seconds without a message after which the listening connection asks for an answer.
_QUIET: Final = 10
#: So many failures in a row, some seconds apart, are reported: a server that was only restarted is not.
_DEAF_AFTER: Final = 3
#: The oldest release that has everything that the scripts use (``ZADD`` with ``LT``).
_OLDEST: Final = (6, 2)


class Connections:
    """Connections to one server, to the primary that Sentinels know, or to a cluster.

    Args:
        size: Connections that run scripts at the most.

    Raises:
        ConfigurationError: The client does not take an option of the URL.
    """

    def __init__(self, url: RedisUrl, size: int) -> None:
        _refuse_unknown_options(url)
        self.url = url
        self._size = size
        self._client: Any = None

    async def open(self) -> None:
        """Connect; refuse a server that is too old or may evict what is stored."""
        self._client = _client(self.url, self._size)
        info = await self.info()
        _refuse_old(info)
        _refuse_eviction(str(info.get("maxmemory_policy", "noeviction")))

    async def aclose(self) -> None:
        """Close every connection."""
        lent, self._client = self._client, None
        if lent is not None:
            await _close(lent)

    async def run(self, verb: str, *arguments: Any) -> Any:
        """Run the script of a verb; return what it returns."""
        if self._client is None:
            raise StoreUnavailableError(NOT_OPEN)
        its = script(verb)
        try:
            async with kept_cancellation():
                try:
                    return await self._client.evalsha(its.hash, 1, self.url.prefix, *arguments)
                except exceptions.NoScriptError:  # the server was restarted, or is another one by now
                    return await self._client.eval(its.text, 1, self.url.prefix, *arguments)
        except FAILURES as error:
            raise translated(error) from error

    async def info(self) -> dict[str, Any]:
        """Return what the server says of itself; of a cluster the first node."""
        found: dict[str, Any] = await self._ask(lambda: self._client.info(**self._to_one()))
        return found

    async def settings(self, *names: str) -> dict[str, str]:
        """Return settings of the server.

        Raises:
            StoreError: The server does not tell them, as many that are rented do not.
        """
        found: dict[str, str] = await self._ask(lambda: self._client.config_get(*names, **self._to_one()))
        return found

    async def _ask(self, question: Any) -> Any:
        if self._client is None:
            raise StoreUnavailableError(NOT_OPEN)
        try:
            return await question()
        except FAILURES as error:
            raise translated(error) from error

    def _to_one(self) -> dict[str, Any]:
        if self.url.kind != "cluster":
            return {}
        return {"target_nodes": self._client.get_default_node() or client.RedisCluster.RANDOM}

    def listener(self) -> Any:
        """Return a client with a connection of its own, for notifications; any node of a cluster passes them on."""
        if self.url.kind != "cluster":
            return _client(self.url, 1)
        node = random.choice(self.url.hosts)  # noqa: S311 - whichever is up
        return _client(attrs.evolve(self.url, kind="", hosts=(node,)), 1)


def _refuse_unknown_options(url: RedisUrl) -> None:
    kind = client.SSLConnection if url.has_tls else client.Connection
    known = {"max_connections"}.union(*(signature(each).parameters for each in kind.__mro__[:-1]))
    if unknown := sorted(url.options.keys() - known):
        raise ConfigurationError(f"URLs of a Redis store have no option {unknown[0][:80]!r}")
    try:
        parse_url(url.server_url())
    except ValueError as error:
        raise ConfigurationError(f"the URL of the Redis store cannot be used: {error}") from None


def _client(url: RedisUrl, size: int) -> Any:
    """Return a client that never repeats a command by itself."""
    options: dict[str, Any] = {
        "socket_timeout": _ANSWER,
        "socket_connect_timeout": _CONNECT,
        "socket_keepalive": True,
        "retry": None,
    }
    pool = {"max_connections": size, "timeout": _ANSWER}
    match url.kind:
        case "sentinel":
            sentinel = client.Sentinel(  # type: ignore[no-untyped-call]
                list(url.hosts), sentinel_kwargs={"socket_timeout": _CONNECT}, **options, **url.credentials()
            )
            return sentinel.master_for(url.service, db=url.database)
        case "cluster":
            options["retry"] = Retry(NoBackoff(), 1)  # once more, where the slot has gone
            nodes = [client.cluster.ClusterNode(host, port) for host, port in url.hosts]
            return client.RedisCluster(
                startup_nodes=nodes,
                max_connections=size,
                **options,
                **url.credentials(),
            )
        case _:
            return client.Redis.from_pool(client.BlockingConnectionPool.from_url(url.server_url(), **pool, **options))


async def _close(client_: Any) -> None:
    """Close a client, and those of the Sentinels that it asks."""
    pool = getattr(client_, "connection_pool", None)
    manager = getattr(pool, "sentinel_manager", None)
    for each in (client_, *(manager.sentinels if manager else ())):
        with contextlib.suppress(*FAILURES):
            await each.aclose()


def _refuse_old(info: dict[str, Any]) -> None:
    version = str(info.get("valkey_version") or info.get("redis_version") or "")
    try:
        numbers = tuple(int(part) for part in version.split(".")[:2])
    except ValueError:
        return
    if numbers < _OLDEST:
        raise ConfigurationError(f"the server is Redis {version}; the store needs Redis 6.2 or newer, or Valkey")


def _refuse_eviction(policy: str) -> None:
    # The volatile policies evict only keys that expire, and the store has none.
    if policy.startswith("allkeys"):
        raise ConfigurationError(
            f"the server evicts any key when its memory is full (maxmemory-policy {policy}), which would lose events; "
            "set maxmemory-policy to noeviction"
        )


class Listening:
    """Hears notifications, of dispatchers' work and of inboxes, and wakes the calls that wait for them."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._task: asyncio.Task[None] | None = None
        self._waiters: set[asyncio.Future[bool]] = set()
        self._readers: set[asyncio.Future[bool]] = set()
        self._is_kept = False
        self._deaf: StoreUnavailableError | None = None
        #: Whether notifications of other processes are known to arrive.
        self.hears = False
        #: Why they do not; ``None`` if they do, or if that is not known yet.
        self.error: str | None = None

    def start(self) -> None:
        """Begin to listen, on a connection of its own; polling carries on while it is lost."""
        if self._task is None:
            self._task = asyncio.create_task(self._listen(), name="notifykit-listen")

    async def aclose(self) -> None:
        """Stop to listen."""
        task, self._task = self._task, None
        while task is not None and not task.done():
            task.cancel()  # the client loses a cancellation that comes at the moment of an answer
            await asyncio.wait({task}, timeout=0.1)

    def wake(self) -> None:
        """End the waits for work in this process; what comes while none waits ends the next one."""
        self._is_kept = not self._waiters
        _end(self._waiters)

    async def work(self, seconds: float) -> bool:
        """Wait for work."""
        self.start()
        if self._deaf is not None:
            deaf, self._deaf = self._deaf, None
            raise deaf
        if self._is_kept:
            self._is_kept = False
            return True
        return await _notified(self._waiters, seconds)

    def wake_readers(self) -> None:
        """End the waits for changes of inboxes in this process."""
        _end(self._readers)

    async def inboxes(self, seconds: float) -> bool:
        """Wait for a change of any inbox."""
        self.start()
        return await _notified(self._readers, seconds)

    async def _listen(self) -> None:
        failures = 0
        while True:
            listener = self._connections.listener()
            try:
                async with listener.pubsub() as heard:
                    await self._hear(heard)
            except (*FAILURES, StoreError) as error:
                failures = 1 if self.hears else failures + 1
                self.error = why(error)
                if failures == _DEAF_AFTER:
                    self._deaf = StoreUnavailableError(f"notifications cannot be heard, polling goes on: {self.error}")
            finally:
                self.hears = False
                await _close(listener)
            await asyncio.sleep(1 + random.random())  # noqa: S311 - spreads reconnects, hides nothing

    async def _hear(self, heard: Any) -> None:
        """Pass notifications on until the connection is lost."""
        work, inbox = (f"{self._connections.url.prefix}:{name}".encode() for name in ("wake", "inbox"))
        await heard.subscribe(work, inbox)
        last = time.monotonic()
        while True:
            message = await heard.get_message(timeout=_QUIET)
            if message is not None:
                last = time.monotonic()
                if message["type"] == "subscribe":
                    self.hears, self.error = True, None
                    self.wake()  # for what came while no connection listened
                elif message["type"] == "message":
                    self.wake_readers() if message["channel"] == inbox else self.wake()
            elif time.monotonic() - last > 2 * _QUIET:
                raise exceptions.ConnectionError("the server has not answered on the listening connection")
            else:
                await heard.ping()


def _end(waiters: set[asyncio.Future[bool]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(True)


async def _notified(waiters: set[asyncio.Future[bool]], seconds: float) -> bool:
    """Return whether a notification ended the wait."""
    waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    waiters.add(waiter)
    try:
        async with asyncio.timeout(seconds):
            return await waiter
    except TimeoutError:
        return False
    finally:
        waiters.discard(waiter)
